"""A loaded model that prompts are read with: at every layer through a lens, or with blocks taken away."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pandas as pd
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from lenscore.ablation.engine import AblationEngine, variants_of
from lenscore.contexts.context import Segment
from lenscore.errors import ConfigError, ContextError, shown
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.statistics import OWN_TOKEN, LensStatistics
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.lenses.lens import Lens
from lenscore.lenses.registry import LensSource, load_lenses
from lenscore.models.loading import LoadedModel
from lenscore.notebook.reading import Reading, ReadToken
from lenscore.study.lenses import LENSES

if TYPE_CHECKING:
    from lenscore.study.ablation import Scope

# One turn of a chat: {"role": "user", "content": "..."}.
Turn = Mapping[str, str]
Prompt = str | Sequence[Turn]

# Prompts whose readings are in memory together, before they become numbers.
_TOGETHER = 32
_MOST_KEPT = 1000  # tokens of a distribution


@dataclass(frozen=True)
class _OpenContext(TokenisedContext):
    """A prompt that no answer follows. Its last token only holds a place: the model's own token is asked for there."""

    @property
    def target_ids(self) -> list[int]:
        return [*self.answer_ids[:-1], OWN_TOKEN]


class Model:
    """A causal language model, read layer by layer. :func:`lenscore.load` makes one.

    A model that was in hand stays as it was found: its modules, its mode, its attention.
    """

    def __init__(self, name: str, run: CheckedRun, tokenizer: ContextTokenizer, folder: Path | None):
        self._name = name
        self._run = run
        self._tokenizer = tokenizer
        self._folder = folder

    @property
    def name(self) -> str:
        """Its name on the Hub, that of its folder, or of its class where it was in hand."""
        return self._name

    @property
    def n_layers(self) -> int:
        """L, the number of its blocks."""
        return self._run.loaded.n_layers

    def __repr__(self) -> str:
        loaded = self._run.loaded
        dtype = str(loaded.dtype).removeprefix("torch.")
        return f"<Model {self.name}: {self.n_layers} blocks of width {loaded.width}, {dtype}, on {loaded.device}>"

    def read(
        self,
        prompt: Prompt,
        answer: str | None = None,
        *,
        lens: str | Path | Lens = "logit",
        tokens: str = "answer",
        top_k: int = 5,
    ) -> Reading:
        """Read a prompt through a lens at every layer.

        Args:
            prompt: a text; or a chat: a list of turns with ``role`` and ``content``, which the model's template joins.
            answer: the text that follows, with its leading space. Without one the model's own next token is read.
            lens: ``logit``; ``trimmed``; the safetensors of a tuned lens that was trained for this model; or a
                :class:`lenscore.lenses.lens.Lens` of one's own.
            tokens: which tokens to read: the ``answer``'s; or ``all``, each as what the state before it predicts.
            top_k: how many of the most probable tokens to keep.

        Raises:
            LenscoreError: ContextError for a prompt or answer that cannot be tokenised or is longer than the model's
                window, SelfCheckError if the lens at the last layer is not the model, NotFiniteError for NaN or
                infinity, ConfigError and SourceError for a lens that is none of this model.
        """
        return self.read_all([prompt], [answer], lens=lens, tokens=tokens, top_k=top_k)[0]

    def read_all(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str | None] | None = None,
        *,
        lens: str | Path | Lens = "logit",
        tokens: str = "answer",
        top_k: int = 5,
    ) -> list[Reading]:
        """Read several prompts; what they have in common at their beginnings is computed once.

        Args:
            prompts: as :meth:`read` takes them.
            answers: one for each prompt, or None.
            lens: as :meth:`read` takes it.
            tokens: as :meth:`read` takes it.
            top_k: as :meth:`read` takes it.

        Returns:
            Their readings, in the order of the prompts.

        Raises:
            LenscoreError: as :meth:`read`.
        """
        answers = [None] * len(prompts) if answers is None else answers
        if isinstance(prompts, str) or isinstance(answers, str):
            raise ConfigError("prompts, answers: must be lists; read(prompt, answer) takes one of each")
        if len(answers) != len(prompts):
            raise ConfigError(f"answers: {len(answers)} are given for {len(prompts)} prompts; give one each, or None")
        if tokens not in ("answer", "all"):
            raise ConfigError(f"tokens: must be answer or all; found {shown(tokens)}")
        if not 1 <= top_k <= _MOST_KEPT:
            raise ConfigError(f"top_k: must be a whole number from 1 to {_MOST_KEPT}; found {shown(top_k)}")
        asked = [
            self._asked(f"prompt {number}", prompt, answer, whole=tokens == "all")
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
        ]
        statistics = self._statistics([one.context for one in asked], lens, top_k)
        return [self._reading(one, found, _name_of(lens)) for one, found in zip(asked, statistics, strict=True)]

    def ablate(self, prompt: Prompt, answer: str, *, scope: str = "all") -> pd.DataFrame:
        """Return what each block's absence costs an answer: the block is skipped, as if it added nothing.

        Args:
            prompt: a text, or a chat.
            answer: the text that follows it, with its leading space.
            scope: where blocks are skipped: at every token, or at those alone that predict the answer.

        Returns:
            A row a block × answer token: ``block`` (1 to L), ``index``, ``token``, ``probability`` and ``rank`` without
            the block, ``intact_probability``, ``cost`` (the log-probability that the token loses, in nats) and ``kl``,
            the divergence KL(intact ‖ ablated) in nats.

        Raises:
            LenscoreError: as :meth:`read`.
        """
        if scope not in ("all", "answer"):
            raise ConfigError(f"scope: must be all or answer; found {shown(scope)}")
        where = cast("Scope", scope)
        context = self._asked("the prompt", prompt, answer, whole=False).context
        # Whether blocks can be taken away is checked with the first contexts of a run.
        self._run = self._run.anew()
        with self._left_as_found():
            found = next(AblationEngine(self._run).predictions([[context]], [where], ["skip"]))[where]
        *ablated, _ = variants_of(self.n_layers, ["skip"])
        intact = found.target_logprob[-1]
        return pd.DataFrame(
            {
                "block": variant.block,
                "index": index,
                "token": self._tokenizer.token_text(token),
                "probability": float(found.target_logprob[row, index].exp()),
                "rank": int(found.target_rank[row, index]),
                "intact_probability": float(intact[index].exp()),
                "cost": float(intact[index] - found.target_logprob[row, index]),
                "kl": float(found.kl_to_final[row, index]),
            }
            for row, variant in enumerate(ablated)
            for index, token in enumerate(context.answer_ids)
        )

    def _asked(self, name: str, prompt: Prompt, answer: str | None, *, whole: bool) -> "_Asked":
        segments = _segments(prompt)
        if answer is None:
            ids = self._tokenizer.prompt_ids(segments)
            n_prompt, merged = len(ids), False
            context: TokenisedContext = _OpenContext([*ids, ids[-1]], 1 if whole else n_prompt, merged, name=name)
        else:
            found = self._tokenizer.tokenise(segments, answer)
            n_prompt, merged = found.answer_start, found.border_merged
            context = TokenisedContext(found.ids, 1 if whole else n_prompt, merged, name=name)
        window = self._run.loaded.n_positions
        if window is not None and len(context.ids) > window:
            raise ContextError(
                f"{name} has {len(context.ids):,} tokens with the answer, but the model reads {window:,} at most; "
                "shorten it"
            )
        return _Asked(context, n_prompt)

    def _statistics(
        self, contexts: Sequence[TokenisedContext], lens: str | Path | Lens, top_k: int
    ) -> list[LensStatistics]:
        """Return the statistics of contexts, those with a common beginning from one pass."""
        order = sorted(range(len(contexts)), key=lambda index: contexts[index].ids)
        groups = [order[start : start + _TOGETHER] for start in range(0, len(order), _TOGETHER)]

        def make(loaded: LoadedModel) -> Mapping[str, Lens]:
            return {"lens": self._lens(lens, loaded)}

        found: dict[int, LensStatistics] = {}
        with self._left_as_found(), tqdm(total=len(contexts), unit=" prompts", delay=2, leave=False) as progress:
            questions = [[contexts[index] for index in group] for group in groups]
            by_group = LensEngine(self._run).statistics(questions, make, top_k) if groups else ()
            for group, of_group in zip(groups, by_group, strict=True):
                found.update((index, by_lens["lens"]) for index, by_lens in zip(group, of_group, strict=True))
                progress.update(len(group))
        return [found[index] for index in range(len(contexts))]

    def _lens(self, lens: str | Path | Lens, loaded: LoadedModel) -> Lens:
        if not isinstance(lens, str | Path):
            return lens
        untrained = {name: entry.module for name, entry in LENSES.items() if entry.training is None}
        if lens in untrained:
            return load_lenses({"lens": LensSource(untrained[str(lens)])}, self._folder or Path(), loaded)["lens"]
        file = Path(lens)
        if file.suffix != ".safetensors":
            raise ConfigError(
                f"lens: must be {', '.join(untrained)}, the .safetensors of a trained lens, or a Lens; found "
                f"{shown(str(lens))}"
            )
        if self._folder is None:
            raise ConfigError(
                f"lens: {file}: a trained lens is compared with the files of its model, and this model was in hand; "
                "load the model from its folder or by its name"
            )
        trained = next(entry.module for entry in LENSES.values() if entry.training is not None)
        return load_lenses({"lens": LensSource(trained, file)}, self._folder, loaded)["lens"]

    def _reading(self, asked: "_Asked", statistics: LensStatistics, lens: str) -> Reading:
        context = asked.context
        ids = list(context.target_ids)
        if ids[-1] == OWN_TOKEN:
            ids[-1] = int(statistics.top1_id[-1, -1])
        tokens = tuple(
            ReadToken(position, token, self._tokenizer.token_text(token), asked.part_of(position))
            for position, token in zip(context.answer_positions, ids, strict=True)
        )
        in_statistics = {*statistics.top1_id.unique().tolist(), *statistics.topk_ids.unique().tolist()}
        texts = {token: self._tokenizer.token_text(token) for token in in_statistics}
        return Reading(self.name, lens, tokens, statistics, texts)

    @contextmanager
    def _left_as_found(self) -> Iterator[None]:
        """Run the model in its evaluation mode, and put each of its modules back into its own."""
        model = self._run.loaded.model
        training = {module: module.training for module in model.modules()}
        model.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode


@dataclass(frozen=True)
class _Asked:
    """A context to be read.

    Attributes:
        context: its predicting positions are those that are read.
        n_prompt: how many of its tokens are the prompt's.
    """

    context: TokenisedContext
    n_prompt: int

    def part_of(self, position: int) -> Literal["prompt", "answer", "own"]:
        if position < self.n_prompt:
            return "prompt"
        return "own" if isinstance(self.context, _OpenContext) else "answer"


def _segments(prompt: Prompt) -> list[Segment]:
    if isinstance(prompt, str):
        return [Segment("frame", None, None, prompt)]
    turns = []
    for turn in prompt:
        if set(turn) != {"role", "content"} or not all(isinstance(value, str) for value in turn.values()):
            raise ConfigError(f'prompt: a turn must be {{"role": ..., "content": ...}}, both text; found {shown(turn)}')
        turns.append(Segment("frame", None, turn["role"], turn["content"]))
    return turns


def _name_of(lens: str | Path | Lens) -> str:
    return Path(lens).stem if isinstance(lens, str | Path) else type(lens).__name__
