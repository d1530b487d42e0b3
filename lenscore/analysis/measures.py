"""The measures of depth: what each is called, what it is of, and over which answer tokens it is averaged.

Tables, charts and sentences go by this list. All measures are in layers; docs/definitions.md defines them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

RANKS = (5, 10)
"""A layer may also count as right where the answer token's rank is at most this."""


@dataclass(frozen=True)
class Measure:
    """A way of saying at which layer, or over how many layers, an answer appears.

    Attributes:
        name: its column in the rows of ``lenscore.analysis.tokens``; all but ``jsd_settled_layer`` are columns of view
            ``token_depths``.
        target: of what it is a depth: the answer's token (``gold``), or the model's own token, its top-1 at layer L
            (``own``), which needs no right answer.
        words: its name in a sentence.
        title: its name at an axis, in lines.
        counts_where: a column; a token counts where it has a value. None: every token counts.
        unit: of its values, in words.
    """

    name: str
    target: Literal["gold", "own"]
    words: str
    title: str
    counts_where: str | None = None
    unit: str = "layers"

    def of(self, tokens: pd.DataFrame) -> pd.Series:
        """Return the measure of each answer token; NaN where the token does not count."""
        values = tokens[self.name].astype(float)
        return values if self.counts_where is None else values.where(tokens[self.counts_where].notna())

    def counted(self, tokens: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the answer tokens that count."""
        return tokens if self.counts_where is None else tokens[tokens[self.counts_where].notna()]


def _of_gold() -> Iterator[Measure]:
    for rank in (1, *RANKS):
        suffix, among = ("", "") if rank == 1 else (f"_top{rank}", f" at top {rank}")
        lines = among.replace(" ", "\n", 1)
        settled = f"settled_layer{suffix}"
        yield Measure(f"refinement_depth{suffix}", "gold", f"refinement depth{among}",
                      f"refinement depth{lines} (layers)", settled)  # fmt: skip
        yield Measure(f"first_correct_layer{suffix}", "gold", f"first-correct layer{among}",
                      f"first-correct layer{among}", settled)  # fmt: skip
        yield Measure(settled, "gold", f"settled layer{among}", f"settled layer{among}", settled)
    yield Measure("soft_depth", "gold", "soft depth", "soft depth (layers)", "settled_layer")


_OWN = (
    Measure("own_token_refinement_depth", "own", "own-token refinement depth", "own-token\nrefinement depth (layers)"),
    Measure("prediction_depth", "own", "prediction depth", "prediction depth (layer)"),
    Measure("own_token_soft_depth", "own", "own-token soft depth", "own-token\nsoft depth (layers)"),
    Measure("jsd_settled_layer", "own", "divergence-settled layer", "divergence-\nsettled layer"),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in (*_of_gold(), *_OWN)}
"""All measures by name, those of the answer's token first."""

TARGETS = ("refinement_depth", "own_token_refinement_depth")
"""The paper's measure and its counterpart for the model's own token: tested for all tokens and for first ones alone."""


def by_tokens_that_count() -> list[list[Measure]]:
    """Return all measures, those together that are over the same tokens."""
    of_column: dict[str | None, list[Measure]] = {}
    for measure in MEASURES.values():
        of_column.setdefault(measure.counts_where, []).append(measure)
    return list(of_column.values())
