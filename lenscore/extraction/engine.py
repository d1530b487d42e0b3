"""A model ready for the lens: loaded once for a job, checked against itself, then run over questions' contexts."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lenscore.errors import ContextError
from lenscore.extraction.self_check import OwnPass, difference
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.lens import Lens, LogitLens
from lenscore.models.architecture import find_architecture
from lenscore.models.packed_linears import pack_linears
from lenscore.models.unembedding import Unembedding
from lenscore.prefix_tree.limits import too_small
from lenscore.prefix_tree.sharing import ContextStates, States
from lenscore.study.models import Matmul

_log = logging.getLogger(__name__)

LensOf = Callable[[Unembedding], Lens]
LOGIT: Mapping[str, LensOf] = MappingProxyType({"logit": LogitLens})


def load_model(folder: Path, dtype: str, device: str) -> PreTrainedModel:
    """Load a model's safetensors for inference."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), device_map=device, use_safetensors=True, local_files_only=True
    )
    model.eval()
    return model


def resolve_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.

    Raises:
        ContextError: a GPU is asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ContextError("extraction.device: cuda is asked for, but PyTorch finds no GPU here; set it to auto or cpu")
    return "cuda" if wanted == "cuda" or (wanted == "auto" and available) else "cpu"


def use_threads(threads: int) -> None:
    """Let PyTorch use as many threads as a job was given, but no more than it has processors.

    ``snakemake --cores 4`` gives four on a machine of two. Threads of linear algebra wait for one another busily:
    solving a layer's least squares with four on two processors took a hundred times as long as with two.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    torch.set_num_threads(min(threads, processors))


class LensEngine:
    """Runs the lenses over every layer of a model, at the answer tokens of questions' contexts.

    The first contexts are run by the model's own code too, before any of it is replaced: states that
    do not agree end prefix sharing, logits that do not agree end the job.

    Attributes:
        model: its linear layers are packed once the first contexts have come.
        n_layers: L, the number of blocks.
        self_check_difference: largest |lens at layer L − model's own logit|; None before the first contexts.
    """

    def __init__(self, model: PreTrainedModel, matmul: Matmul = "exact"):
        self.model = model
        self.n_layers = len(find_architecture(model).blocks)
        self.self_check_difference: float | None = None
        self._matmul = matmul
        self._run: ContextStates | None = None

    @classmethod
    def load(cls, folder: Path, dtype: str = "float32", matmul: Matmul = "exact", device: str = "auto") -> "LensEngine":
        """Load a model's safetensors.

        Raises:
            ContextError: the device or the products that are asked for are not there.
            ArchitectureError: a part of the model was not found.
        """
        return cls(load_model(folder, dtype, resolve_device(device)), matmul)

    @property
    def prefix_sharing(self) -> str:
        """``shared``, or why contexts are run one by one, or that none have been run."""
        if self._run is None:
            return "nothing was run"
        return self._run.unshared or "shared"

    def statistics(
        self, questions: Sequence[Sequence[TokenisedContext]], lenses: Mapping[str, LensOf] = LOGIT, top_k: int = 5
    ) -> Iterator[list[Mapping[str, LensStatistics]]]:
        """Yield, question by question, each context's statistics by the lens's name.

        Args:
            questions: each one's contexts, one or more.
            lenses: by name, what makes a lens of the model's unembedding.
            top_k: how many of the most probable tokens to keep.

        Raises:
            SelfCheckError: the lens at the last layer is not the model.
            ContextError: the model does not fit its processor.
        """
        if not questions:
            return
        own = self._prepared(questions[0]) if self._run is None else None
        assert self._run is not None
        unembedding = Unembedding.of(find_architecture(self.model))
        by_name = {name: lens_of(unembedding) for name, lens_of in lenses.items()}
        ahead: list[Mapping[str, LensStatistics]] = []
        following = iter(questions)
        for contexts, states in self._run(questions):
            if own is not None:
                states = self._checked(own, contexts, states)
                own = None
            targets = torch.tensor([token for context in contexts for token in context.answer_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {name: lens_statistics(lens, states, targets, top_k).split(sizes) for name, lens in by_name.items()}
            ahead += [{name: found[name][index] for name in found} for index in range(len(contexts))]
            while ahead:
                n_contexts = len(next(following))
                yield ahead[:n_contexts]
                ahead = ahead[n_contexts:]

    def _prepared(self, question: Sequence[TokenisedContext]) -> OwnPass:
        """Run the model's own code on one of a question's contexts, and then make the model ready."""
        # In a tree the one whose tokens come last: only it has followed tokens of others.
        last = max(question, key=lambda context: context.ids)
        architecture = find_architecture(self.model)
        try:
            own = OwnPass.of(self.model, architecture, last)
        except torch.OutOfMemoryError:
            raise too_small(len(last.ids)) from None
        pack_linears(self.model, architecture.blocks, self._matmul)
        self._run = ContextStates(self.model, find_architecture(self.model))
        return own

    def _checked(self, own: OwnPass, contexts: Sequence[TokenisedContext], states: States) -> States:
        """Prove on one context that nothing but speed has changed; return states that are proved."""
        assert self._run is not None
        before = sum(len(context.answer_ids) for context in contexts[: contexts.index(own.context)])
        of_own = slice(before, before + len(own.context.answer_ids))
        rounded = self._matmul == "bf16"
        # Rounded products move the states from the model's own: what sharing must not move are the rounded ones.
        expected = self._run.alone(own.context) if rounded else own.states
        if self._run.unshared is None:
            if apart := difference(states[:, of_own], expected, rounded):
                self._run.do_without(f"its states in a tree differ by {apart} from those of a context alone")
                states = self._run.of(contexts)
            else:
                _log.info("contexts share their prefixes: states agree with those of a context alone")
        unembedding = Unembedding.of(find_architecture(self.model))
        self.self_check_difference = own.check_last_layer(unembedding, own.states if rounded else states[:, of_own])
        _log.info(
            "self-check: the lens at the last layer is within %.1e of the model's logits", self.self_check_difference
        )
        return states
