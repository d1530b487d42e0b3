"""How far accuracy and depth depend on the documents: contexts compared with their controls, token by token."""

import numpy as np
import pandas as pd

from lenscore.analysis.linearised import corrected, own_range, ratio_errors, student_interval
from lenscore.analysis.means import question_sums
from lenscore.analysis.measures import MEASURES

CONTROLS = ("closed_book", "shuffled_gold", "oracle")
COMPARED = ("accuracy", "target_logprob", *MEASURES)

_KEYS = ["model", "context_set", "lens"]
_TOKEN = ["question_id", "answer_index"]


def controls(tokens: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Compare contexts with documents and their controls on the same answer tokens.

    A token's value among n documents is its mean over the gold document's positions, and so is its value for
    ``shuffled_gold``; ``closed_book`` and ``oracle`` have a single value. A token counts where both sides have a value:
    for a measure of the answer's token, where it counts in both. A difference is the value among n documents less the
    control's, paired by token, with Student's interval from its linearised error over questions, as that of a curve's
    contrasts (docs/shape-tests.md), within the range of the questions' own differences.

    Args:
        tokens: rows of :func:`lenscore.analysis.tokens.answer_tokens`. Only the first order of the distractors counts.
        confidence: of the intervals.

    Returns:
        One row a model × context set × lens × number of documents × ``control`` × ``measure``, with ``mean`` (among
        the documents), ``control_mean``, ``difference``, ``low``, ``high``, ``n_questions`` and ``n_tokens``.
    """
    first = tokens[tokens["distractor_order"] == 0]
    values = first.assign(
        accuracy=first["final_right"].astype(float),
        **{name: measure.of(first) for name, measure in MEASURES.items()},
    )
    rows = []
    for names, of_lens in values.groupby(_KEYS):
        with_gold = of_lens[of_lens["condition"] == "documents"]
        for n_documents, among in with_gold.groupby("n_documents"):
            for control in CONTROLS:
                of_control = of_lens[of_lens["condition"] == control]
                if control == "shuffled_gold":
                    of_control = of_control[of_control["n_documents"] == n_documents]
                for measure in COMPARED:
                    compared = _compare(among, of_control, measure, confidence)
                    if compared is not None:
                        rows.append((*names, n_documents, control, measure, *compared))
    columns = ["n_documents", "control", "measure", "mean", "control_mean", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*_KEYS, *columns, "n_questions", "n_tokens"])


def _compare(
    among: pd.DataFrame, control: pd.DataFrame, measure: str, confidence: float
) -> tuple[float, float, float, float, float, int, int] | None:
    pairs = pd.concat(
        {"among": among.groupby(_TOKEN)[measure].mean(), "control": control.groupby(_TOKEN)[measure].mean()}, axis=1
    ).dropna()
    if pairs.empty:
        return None
    difference = (pairs["among"] - pairs["control"]).rename("difference").reset_index().assign(n=1, cell=0)
    _, (sums, counts) = question_sums(difference, ["difference", "n"], ["cell"])
    n_questions = int(np.count_nonzero(counts))
    estimate = sums.sum(axis=0) / counts.sum(axis=0)
    error = corrected(ratio_errors(sums, counts), n_questions)
    low, high = np.clip(student_interval(estimate, error, n_questions, confidence), *own_range(sums, counts))
    means = pairs.mean()
    return (
        float(means["among"]), float(means["control"]), float(difference["difference"].mean()),
        float(low[0]), float(high[0]), n_questions, len(pairs),
    )  # fmt: skip
