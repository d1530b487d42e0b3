"""Training of a tuned lens: each layer's translator is fitted so that the lens says what the model will say.

The loss is KL(model's final distribution ‖ lens's distribution), averaged over tokens (Belrose et al. 2023, arXiv
2303.08112, eq. 8). Translators start from the least-squares map of a layer's states to those of layer L, each token
weighted by what the final norm makes of it. That costs a second a layer and takes most of the way; gradient
descent on the loss does the rest.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
import transformers
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lenscore.contexts.questions import Document
from lenscore.errors import ContextError
from lenscore.jobs.spent import spent_on
from lenscore.lenses.divergences import LENS_DIVERGENCES
from lenscore.lenses.files import TrainedLens
from lenscore.lenses.texts import LensTexts
from lenscore.lenses.tuned import Translators
from lenscore.models.causal import refuse_not_causal
from lenscore.models.device import resolve_device, use_threads
from lenscore.models.finite import first_not_finite, not_finite
from lenscore.models.loading import LoadedModel, load_model
from lenscore.models.residuals import residual_states
from lenscore.models.unembedding import Unembedding
from lenscore.records import refuse_too_many_blocks
from lenscore.sources.pretrained import load_tokenizer
from lenscore.study.tuned_lens import TunedLensSpec

_log = logging.getLogger(__name__)

# Steps between two looks at the validation texts.
STEPS_BETWEEN_LOOKS = 8
# A layer that has not become better goes back to where it was best, and on from there in steps so much shorter;
_SHORTER = 0.25
# after so many such looks in a row it is done.
_PATIENCE = 3
# As a share of each coordinate's own variance: keeps least squares sane where there are fewer tokens than dimensions.
_RIDGE = 1e-3
# Logits that are made at once: larger arrays are given back to the system and asked of it anew each time, which
# cost a quarter of the time.
_LOGITS = 6_000_000

States = Float[Tensor, "layers tokens width"]


@dataclass(frozen=True)
class LensTraining:
    """A trained lens, and how good it is.

    Attributes:
        translators: of layers 0 to L − 1, on the CPU.
        logit_kl: KL(model ‖ logit lens) of layers 0 to L on the held-out tokens, nats.
        lens_kl: KL(model ‖ tuned lens), the same.
        steps: the step at which each layer's translator was best on the validation tokens; 0: least squares.
        n_tokens: how many tokens were trained on, validated on, held out.
        others: trainings with other seeds, where the settings ask for some.
    """

    translators: Translators
    logit_kl: Float[Tensor, " layers"]
    lens_kl: Float[Tensor, " layers"]
    steps: list[int]
    n_tokens: tuple[int, int, int]
    others: "tuple[OneSeed, ...]" = ()


class OneSeed(NamedTuple):
    """What comes of a training with one seed, measured on held-out tokens that all seeds share.

    Attributes:
        lens_kl: as in :class:`LensTraining`.
        steps: as in :class:`LensTraining`.
    """

    lens_kl: Float[Tensor, " layers"]
    steps: list[int]


def train(
    model_folder: Path, texts: LensTexts, settings: TunedLensSpec, *, dtype: str, device: str, threads: int
) -> TrainedLens:
    """Load a model and train its tuned lens.

    Args:
        model_folder: safetensors, config, tokenizer and manifest.
        texts: what to train on, to stop by, and to measure on.
        settings: of the training.
        dtype: precision of weights and states.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: CPU threads.

    Raises:
        ArchitectureError: a part of the model was not found.
        ContextError: the texts have no tokens, or the device that is asked for does not exist.
        SelfCheckError: the model is not causal.
    """
    use_threads(threads)
    loaded = load_model(model_folder, dtype, resolve_device(device))
    refuse_too_many_blocks(loaded.name, loaded.n_layers)
    tokenizer = load_tokenizer(model_folder)
    training = train_lens(loaded, tokenizer, texts, settings)
    n_layers, n_held_out = training.translators.n_layers, training.n_tokens[2]
    trainings = [OneSeed(training.lens_kl, training.steps), *training.others]
    columns = [
        {
            "training": [number] * (n_layers + 1),
            "layer": list(range(n_layers + 1)),
            "logit_kl": training.logit_kl.tolist(),
            "lens_kl": made.lens_kl.tolist(),
            "best_step": [*made.steps, None],
            "n_tokens": [n_held_out] * (n_layers + 1),
        }
        for number, made in enumerate(trainings)
    ]
    table = pa.concat_tables(pa.Table.from_pydict(of_one, schema=LENS_DIVERGENCES) for of_one in columns)
    facts = {
        "model": json.loads((model_folder / "manifest.json").read_text(encoding="utf-8")),
        "settings": settings.model_dump(mode="json"),
        "dtype": dtype,
        "device": loaded.device.type,
        "threads": torch.get_num_threads(),
        "train": [document.document_id for document in texts.train],
        "validation": [document.document_id for document in texts.validation],
        "held_out": [document.document_id for document in texts.held_out],
        "tokens": dict(zip(("train", "validation", "held_out"), training.n_tokens, strict=True)),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    return TrainedLens(training.translators.tensors, table, facts)


def train_lens(
    loaded: LoadedModel, tokenizer: PreTrainedTokenizerBase, texts: LensTexts, settings: TunedLensSpec
) -> LensTraining:
    """Train a tuned lens for a model.

    Args:
        loaded: the model, in the precision and on the device in which it is to be studied; its weights do not change.
        tokenizer: the model's.
        texts: what to train on, to stop by, and to measure on.
        settings: steps, batch, learning rate, tokens a document, seed, and how many seeds.

    Raises:
        ContextError: the texts have no tokens.
        SelfCheckError: the model is not causal.
        NotFiniteError: states, or what the lens makes of them, have NaN or infinity.
    """
    loaded.model.requires_grad_(False)
    longest = max(texts.train, key=lambda document: len(document.text))
    refuse_not_causal(loaded, _ids(loaded, tokenizer, longest), f"the document {longest.document_id}")
    generator = torch.Generator().manual_seed(settings.seed)
    parts = [
        _states(loaded, tokenizer, part, settings, generator)
        for part in (texts.train, texts.validation, texts.held_out)
    ]
    train, validation, held_out = parts
    _log.info("%d tokens to train on, %d to stop by, %d held out", *(part.shape[1] for part in parts))
    with spent_on("lens", loaded.device):
        logit_kl = _held_out_kl(loaded, None, held_out)
        translators, made = _fit(loaded, train, validation, held_out, settings, generator)
    others = []
    for number in range(1, settings.seeds):
        # Tokens and batches are drawn anew; the held-out tokens stay, so that all are measured on the same.
        other = torch.Generator().manual_seed(settings.seed + number)
        train, validation = (
            _states(loaded, tokenizer, part, settings, other) for part in (texts.train, texts.validation)
        )
        with spent_on("lens", loaded.device):
            others.append(_fit(loaded, train, validation, held_out, settings, other)[1])
    n_train, n_validation, n_held_out = (part.shape[1] for part in parts)
    n_tokens = (n_train, n_validation, n_held_out)
    return LensTraining(
        translators.to(torch.device("cpu")), logit_kl, made.lens_kl, made.steps, n_tokens, tuple(others)
    )


def _fit(
    loaded: LoadedModel,
    train: Float[Tensor, "layers tokens width"],
    validation: Float[Tensor, "layers looked_at width"],
    held_out: Float[Tensor, "layers measured width"],
    settings: TunedLensSpec,
    generator: torch.Generator,
) -> tuple[Translators, OneSeed]:
    """Return translators that are fitted with one seed, and what is found of them."""
    fitter = _Fitter(loaded.unembedding, train, validation, settings)
    translators = fitter.fit(generator)
    return translators, OneSeed(_held_out_kl(loaded, translators, held_out), fitter.best_steps)


def _held_out_kl(loaded: LoadedModel, translators: Translators | None, held_out: States) -> Float[Tensor, " layers"]:
    kl = divergences(loaded.unembedding, translators, held_out)
    if held_out.shape[1] and (at := first_not_finite(kl)) is not None:
        raise not_finite(loaded.name, loaded.dtype, f"in a lens's distribution at layer {at[0]}")
    return kl


def _states(
    loaded: LoadedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    settings: TunedLensSpec,
    generator: torch.Generator,
) -> States:
    """Return the states of all layers at some tokens of each text, on the CPU in the model's precision.

    A text's first token is left out: with nothing before it, many models use it as a place to rest attention on, and
    its states are larger than any other's by orders of magnitude.
    """
    found = [torch.empty(loaded.n_layers + 1, 0, loaded.width, dtype=loaded.dtype)]
    for document in documents:
        ids = _ids(loaded, tokenizer, document)
        if len(ids) < 2:
            continue
        chosen = 1 + torch.randperm(len(ids) - 1, generator=generator)[: settings.tokens_per_document]
        inputs = {"input_ids": torch.tensor([ids], device=loaded.device)}
        # Cloned outside of inference mode, so that gradients may be taken through what is made of them.
        found.append(residual_states(loaded, inputs, chosen.sort().values.to(loaded.device)).cpu().clone())
        if (at := first_not_finite(found[-1])) is not None:
            place = f"at layer {at[0]} of the document {document.document_id}, which its tuned lens is to be trained on"
            raise not_finite(loaded.name, loaded.dtype, place)
    states = torch.cat(found, dim=1)
    if documents and states.shape[1] == 0:
        raise ContextError("the documents that the tuned lens is to be trained on have no two tokens")
    return states


def _ids(loaded: LoadedModel, tokenizer: PreTrainedTokenizerBase, document: Document) -> list[int]:
    window = loaded.n_positions
    # A special token in a document's words is plain text, as in contexts.
    encoded = tokenizer(document.text, truncation=window is not None, max_length=window, split_special_tokens=True)
    return list(encoded["input_ids"])


class _Fitter:
    """Fits all layers' translators beside one another: a batch's target is computed once for all of them."""

    def __init__(
        self,
        unembedding: Unembedding,
        train: Float[Tensor, "layers tokens width"],
        validation: Float[Tensor, "layers looked_at width"],
        settings: TunedLensSpec,
    ):
        self.best_steps: list[int] = []
        self._unembedding = unembedding
        self._train = train
        self._validation = validation
        self._settings = settings
        self._device = next(unembedding.head.parameters()).device

    def fit(self, generator: torch.Generator) -> Translators:
        """Return translators that are best on the validation tokens: of least squares, or of some later step."""
        start = least_squares(self._train).to(self._device)
        weights = [weight.clone().requires_grad_() for weight in start.weights]
        biases = [bias.clone().requires_grad_() for bias in start.biases]
        optimisers = [
            torch.optim.Adam([weight, bias], lr=self._settings.learning_rate)
            for weight, bias in zip(weights, biases, strict=True)
        ]
        best, best_kl = start, self._validate(start)
        n_layers = start.n_layers
        self.best_steps = [0] * n_layers
        n_worse, scale = [0] * n_layers, [1.0] * n_layers
        active = set(range(n_layers))
        for step in range(1, self._settings.steps + 1):
            rate = self._settings.learning_rate * (1 - (step - 1) / self._settings.steps)
            for layer in active:
                optimisers[layer].param_groups[0]["lr"] = rate * scale[layer]
            self._descend(sorted(active), weights, biases, optimisers, generator)
            if step % STEPS_BETWEEN_LOOKS and step != self._settings.steps:
                continue
            now = Translators(torch.stack([w.detach() for w in weights]), torch.stack([b.detach() for b in biases]))
            kl = self._validate(now, sorted(active))
            for layer in active:
                if kl[layer] < best_kl[layer]:
                    best.weights[layer], best.biases[layer] = now.weights[layer], now.biases[layer]
                    best_kl[layer], self.best_steps[layer], n_worse[layer] = kl[layer], step, 0
                    continue
                with torch.no_grad():
                    weights[layer].copy_(best.weights[layer])
                    biases[layer].copy_(best.biases[layer])
                optimisers[layer].state.clear()
                scale[layer] *= _SHORTER
                n_worse[layer] += 1
            active = {layer for layer in active if n_worse[layer] < _PATIENCE}
            _log.info(
                "step %d of %d: mean KL on the validation tokens %.3f nats; %d of %d layers go on",
                step, self._settings.steps, best_kl.mean(), len(active), n_layers,
            )  # fmt: skip
            if not active:
                break
        return best

    def _descend(
        self,
        layers: Sequence[int],
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        optimisers: Sequence[torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        chosen = torch.randint(self._train.shape[1], (self._settings.batch,), generator=generator)
        for batch in self._train[:, chosen].split(_rows_at_once(self._unembedding), dim=1):
            on_device = batch.to(self._device)
            with torch.no_grad():
                target = torch.softmax(self._unembedding(on_device[-1]), dim=-1)
            for layer in layers:
                own = on_device[layer].float()
                translated = (own + own @ weights[layer] + biases[layer]).to(batch.dtype)
                loss: Tensor = _CrossEntropy.apply(self._unembedding(translated), target)  # type: ignore[no-untyped-call]
                (loss.sum() / len(chosen)).backward()
        for layer in layers:
            optimisers[layer].step()
            optimisers[layer].zero_grad()

    def _validate(self, translators: Translators, layers: Sequence[int] | None = None) -> Float[Tensor, " layers"]:
        return divergences(self._unembedding, translators, self._validation, layers)[:-1]


class _CrossEntropy(torch.autograd.Function):
    """−Σ p log softmax(z) of each row, whose gradient is that of KL(p ‖ softmax(z)): softmax(z) − p.

    Written out, it holds one array of the vocabulary's size for the way back, where autograd would hold three.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        log_sum = torch.logsumexp(logits, dim=-1)
        ctx.save_for_backward(torch.softmax(logits, dim=-1).sub_(target))
        return log_sum - (target * logits).sum(dim=-1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (difference,) = ctx.saved_tensors
        return difference * gradient[..., None], None


def _rows_at_once(unembedding: Unembedding) -> int:
    return max(1, _LOGITS // len(next(unembedding.head.parameters())))


def least_squares(states: States) -> Translators:
    """Return the translators of ridge regression of layer L's states on each layer's.

    A token's squared error is divided by the mean square of its state of layer L, since a final norm divides by
    about that; without it the largest states would decide alone. In float64.
    """
    final = states[-1].double()
    weight = final.square().mean(dim=-1).clamp(min=torch.finfo(torch.float32).tiny).rsqrt()[:, None]
    weights, biases = [], []
    for of_layer in states[:-1]:
        own = of_layer.double()
        inputs = torch.cat([own, torch.ones(len(own), 1, dtype=own.dtype)], dim=1) * weight
        gram = inputs.T @ inputs
        gram.diagonal().mul_(1 + _RIDGE).add_(torch.finfo(torch.float32).eps)
        solution = torch.linalg.solve(gram, inputs.T @ ((final - own) * weight)).float()
        weights.append(solution[:-1])
        biases.append(solution[-1])
    return Translators(torch.stack(weights), torch.stack(biases))


@torch.no_grad()
def divergences(
    unembedding: Unembedding, translators: Translators | None, states: States, layers: Sequence[int] | None = None
) -> Float[Tensor, " layers"]:
    """Return KL(model ‖ lens) of each layer 0 to L, averaged over tokens, in nats; 0 at L.

    Args:
        unembedding: the model's own.
        translators: None for the logit lens.
        states: of layers 0 to L.
        layers: those that are wanted; the others are NaN. All where it is left out.
    """
    n_layers, n_tokens, _ = states.shape
    device = next(unembedding.head.parameters()).device
    wanted = range(n_layers - 1) if layers is None else layers
    sums = torch.full((n_layers,), torch.nan, dtype=torch.float64)
    sums[list(wanted)] = 0.0
    sums[-1] = 0.0
    for rows in states.split(_rows_at_once(unembedding), dim=1):
        on_device = rows.to(device)
        log_final = torch.log_softmax(unembedding(on_device[-1]), dim=-1)
        final = log_final.exp()
        for layer in wanted:
            state = on_device[layer] if translators is None else translators.translate(on_device[layer], layer)
            log_lens = torch.log_softmax(unembedding(state), dim=-1)
            sums[layer] += (final * (log_final - log_lens)).sum(dim=-1).double().sum().cpu()
    return (sums / n_tokens).float()
