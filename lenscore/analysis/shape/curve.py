"""One curve: the values of answer tokens by the position of the gold document."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

# Only questions whose values vary with the position carry information on the shape. With fewer of them, standard errors
# clustered by question are unreliable (Cameron & Miller 2015 call even 20 few), and one question can shape a curve by
# chance.
FEWEST_VARYING_QUESTIONS = 10


@dataclass(frozen=True)
class Curve:
    """The answer tokens of one curve, one by one and summed by question and position.

    Attributes:
        places: relative positions that have a token, in ascending order.
        sums: per question and position, the sum of the tokens' values.
        counts: how many tokens that is; 0 where a question has none at a position.
        question: each token's row in ``sums``.
        place: each token's relative position.
        value: each token's value, such as a depth in layers.
    """

    places: Float[np.ndarray, " positions"]
    sums: Float[np.ndarray, "questions positions"]
    counts: Float[np.ndarray, "questions positions"]
    question: Int[np.ndarray, " tokens"]
    place: Float[np.ndarray, " tokens"]
    value: Float[np.ndarray, " tokens"]

    @classmethod
    def from_rows(cls, rows: pd.DataFrame, value: str) -> "Curve":
        """Return the curve of a table that has one row an answer token.

        Args:
            rows: with columns ``question_id``, ``relative_position`` and ``value``. Rows without a position or a value
                are left out.
            value: the column that the curve averages.
        """
        kept = rows[["question_id", "relative_position", value]].dropna()
        question, _ = pd.factorize(kept["question_id"], sort=True)
        return cls.from_tokens(
            np.asarray(question, dtype=np.int64),
            kept["relative_position"].to_numpy(float),
            kept[value].to_numpy(float),
        )

    @classmethod
    def from_tokens(
        cls,
        question: Int[np.ndarray, " tokens"],
        place: Float[np.ndarray, " tokens"],
        value: Float[np.ndarray, " tokens"],
    ) -> "Curve":
        """Return the curve of tokens given as arrays; any whole numbers can name the questions."""
        names, row = np.unique(question, return_inverse=True)
        places, column = np.unique(place, return_inverse=True)
        shape = (len(names), len(places))
        cell = row * len(places) + column
        sums = np.bincount(cell, weights=value, minlength=shape[0] * shape[1]).reshape(shape)
        counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        return cls(places, sums, counts, row.astype(np.int64), place, value)

    def without(self, place: float) -> "Curve":
        """Return the curve of the tokens at all other places."""
        kept = self.place != place
        return Curve.from_tokens(self.question[kept], self.place[kept], self.value[kept])

    @property
    def means(self) -> Float[np.ndarray, " positions"]:
        """The curve: at each position, the mean over its tokens."""
        return np.asarray(self.sums.sum(axis=0) / self.counts.sum(axis=0))

    @property
    def n_varying_questions(self) -> int:
        """Number of questions whose means differ between positions."""
        seen = self.counts > 0
        means = np.divide(self.sums, self.counts, out=np.zeros_like(self.sums), where=seen)
        lowest = np.where(seen, means, np.inf).min(axis=1)
        highest = np.where(seen, means, -np.inf).max(axis=1)
        return int((highest > lowest).sum())

    def why_untestable(self) -> str | None:
        """Return in words what the curve lacks for a test of its shape; None if it can be tested."""
        if len(self.places) < 3:
            return f"observations at {len(self.places)} of the positions, of which a shape needs three"
        missing = [name for end, name in ((0, "first"), (1, "last")) if end not in self.places[[0, -1]]]
        if missing:
            return f"no observation at the {' and the '.join(missing)} position"
        if np.ptp(self.value) == 0:
            return "all values are the same"
        if self.n_varying_questions < FEWEST_VARYING_QUESTIONS:
            n, fewest = self.n_varying_questions, FEWEST_VARYING_QUESTIONS
            return f"{n} questions whose values differ between positions, fewer than {fewest}"
        return None
