"""How far each lens is from its model, layer by layer: on documents outside the study, and at its answers."""

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import ratios_with_intervals

_COLUMNS = [
    "model", "lens", "measured_on", "layer", "kl", "low", "high", "n_tokens", "n_questions", "best_step", "sd_seeds",
    "n_seeds",
]  # fmt: skip


def lens_divergence(held_out: pd.DataFrame, answers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return KL(model ‖ lens) of every layer, where it is held out and where it matters.

    Args:
        held_out: the database's ``lens_divergences``: a row a model × trained lens × training × layer. Empty without a
            trained lens.
        answers: view ``answer_divergences``: sums a question × layer.
        bootstrap: gives the intervals.

    Returns:
        One row a model × lens × ``measured_on`` × layer, with ``kl`` (mean over ``n_tokens`` tokens, nats).
        ``measured_on`` is ``held_out``, tokens of documents outside the study, with ``best_step`` (of the training;
        null in the logit lens and at L) and ``sd_seeds`` (standard deviation of kl over ``n_seeds`` trainings with
        different seeds; null where there is one); or ``answers``, the answer tokens of all contexts with documents,
        with an interval ``low`` to ``high`` over ``n_questions`` questions. All lenses of a model have the same
        held-out tokens.
    """
    tables = [table for table in (_held_out(held_out), _at_answers(answers, bootstrap)) if not table.empty]
    if not tables:
        return pd.DataFrame(columns=_COLUMNS)
    table = pd.concat(tables, ignore_index=True).reindex(columns=_COLUMNS)
    counts = ["n_tokens", "n_questions", "best_step", "n_seeds"]
    ordered = table.sort_values(["model", "lens", "measured_on", "layer"], ignore_index=True)
    return ordered.astype({name: "Int64" for name in counts} | {name: float for name in ("low", "high", "sd_seeds")})


def _held_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the study's lenses, the first training of each, and of the logit lens beside them."""
    keys = ["model", "lens", "layer"]
    first = rows[rows["training"] == 0].rename(columns={"lens_kl": "kl"})
    # The standard deviation of one value is NaN.
    spread = rows.groupby(keys, as_index=False).agg(sd_seeds=("lens_kl", "std"), n_seeds=("lens_kl", "size"))
    trained = first.merge(spread, on=keys)
    logit = first.drop_duplicates(["model", "layer"]).assign(lens="logit", kl=lambda one: one["logit_kl"])
    logit = logit.drop(columns="best_step")
    return pd.concat([trained, logit], ignore_index=True).assign(measured_on="held_out")


def _at_answers(answers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    table = ratios_with_intervals(answers, "sum_kl", "n_tokens", ["model", "lens"], ["layer"], bootstrap)
    return table.rename(columns={"ratio": "kl"}).assign(measured_on="answers")
