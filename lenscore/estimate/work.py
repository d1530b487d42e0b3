"""How much work a study is, counted on some of its questions and multiplied."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from lenscore.extraction.tokens import TokenisedContext
from lenscore.prefix_tree.tree import n_unique_tokens
from lenscore.study.ablation import AblationSpec
from lenscore.study.tuned_lens import TunedLensSpec

# How often the lens's training goes through a row of logits: the translation's way there, and the way back.
_ROWS_OF_A_STEP = 3


@dataclass(frozen=True)
class Counts:
    """What some contexts come to; of several questions, the sum. Floats, since they are multiplied.

    Attributes:
        contexts: how many there are.
        tokens: of all contexts.
        unique_tokens: of the trees of common prefixes, a question at a time.
        answer_tokens: positions at which lenses are read.
    """

    contexts: float = 0.0
    tokens: float = 0.0
    unique_tokens: float = 0.0
    answer_tokens: float = 0.0

    @classmethod
    def of(cls, question: Sequence[TokenisedContext]) -> "Counts":
        """Count one question's contexts."""
        return cls(
            contexts=float(len(question)),
            tokens=float(sum(len(context.ids) for context in question)),
            unique_tokens=float(n_unique_tokens([context.predicting_ids for context in question])),
            answer_tokens=float(sum(len(context.answer_ids) for context in question)),
        )

    @classmethod
    def sum(cls, parts: Iterable["Counts"]) -> "Counts":
        """Return the counts of all parts together."""
        listed = list(parts)
        return cls(*(sum((getattr(part, field.name) for part in listed), 0.0) for field in fields(cls)))

    def times(self, factor: float) -> "Counts":
        """Return the counts of so many times as much."""
        return Counts(*(getattr(self, field.name) * factor for field in fields(self)))


@dataclass(frozen=True)
class Work:
    """What a job does, in the units whose seconds are measured.

    Attributes:
        token_blocks: tokens × blocks that they go through.
        rows: distributions over the vocabulary.
    """

    token_blocks: float = 0.0
    rows: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.token_blocks + other.token_blocks, self.rows + other.rows)


def extraction_work(counts: Counts, n_layers: int, n_lenses: int, shares: bool) -> Work:
    """Return the work of reading lenses at all layers.

    Args:
        counts: of the contexts.
        n_layers: L.
        n_lenses: how many lenses are read.
        shares: whether contexts share their prefixes.
    """
    return Work(_read(counts, shares) * n_layers, counts.answer_tokens * (n_layers + 1) * n_lenses)


def ablation_work(counts: Counts, n_layers: int, spec: AblationSpec, shares: bool) -> Work:
    """Return the work of ablating every block in turn.

    At all tokens or those of a part of the prompt, each variant runs the blocks from the ablated one on. At the
    answer's tokens alone, one pass serves all variants: the prompt once, the predicting tokens once a variant. To
    resample takes a pass over as many contexts more.
    """
    n_replacements, n_variants = len(spec.replacements), len(spec.replacements) * n_layers + 1
    read = _read(counts, shares)
    in_turn = n_layers + n_replacements * n_layers * (n_layers - 1) / 2
    in_one_pass = (read + n_variants * counts.answer_tokens) * n_layers
    token_blocks = sum(in_one_pass if scope == "answer" and shares else read * in_turn for scope in spec.scopes)
    if "resample" in spec.replacements:
        token_blocks += read * n_layers
    return Work(token_blocks, counts.answer_tokens * n_variants * len(spec.scopes))


def means_work(counts: Counts, n_layers: int) -> Work:
    """Return the work of taking the blocks' means over a reference set, whose contexts run one by one."""
    return Work(counts.tokens * n_layers)


def training_work(text_tokens: float, n_layers: int, spec: TunedLensSpec, steps_between_looks: int) -> Work:
    """Return the work of training a lens: the texts' states, the steps, and looks at validation and held-out tokens.

    Args:
        text_tokens: of all texts.
        n_layers: L.
        spec: of the training.
        steps_between_looks: how many steps there are between two looks at the validation tokens.
    """
    half = spec.held_out // 2
    looks = 1 + -(-spec.steps // steps_between_looks)
    looked_at = spec.tokens_per_document * (looks * half + 2 * (spec.held_out - half))
    rows = n_layers * (spec.steps * spec.batch * _ROWS_OF_A_STEP + looked_at)
    # Trainings with further seeds read the held-out documents once only; that little is counted for each.
    return Work(spec.seeds * text_tokens * n_layers, float(spec.seeds * rows))


def _read(counts: Counts, shares: bool) -> float:
    return counts.unique_tokens if shares else counts.tokens
