"""How much a depth varies with the order of the distractors, compared with the position of the gold document."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.measures import MEASURES

COMPARED = ("target_logprob", *MEASURES)

_KEYS = ["model", "context_set", "lens", "n_documents"]
_TOKEN = ["question_id", "answer_index"]


def order_variance(tokens: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Split the variance of an answer token's values into the parts due to position and to order.

    Every token has a value at each of P positions × k orders: a two-way layout without replication. MS are its mean
    squares, averaged over tokens. The variance components are those of the random-effects model (Searle, Casella &
    McCulloch 1992, ch. 4): position (MS_position − MS_rest) / k, and order at a given position
    ((MS_order − MS_rest) / P) + MS_rest. The rest counts as an effect of the order, because the model is deterministic.

    Args:
        tokens: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × ``measure`` that has at least two orders and two
        positions: ``n_orders``, ``n_positions``, ``n_tokens`` and ``n_questions`` of the tokens with a value everywhere
        (for a measure of the answer's token, those that count everywhere), ``sd_position`` and ``sd_order`` in the
        measure's unit (a component below zero counts as 0) with ``…_low`` and ``…_high``, a percentile bootstrap over
        questions.
    """
    placed = tokens[tokens["condition"] == "documents"]
    placed = placed.assign(**{name: measure.of(placed) for name, measure in MEASURES.items()})
    rows = []
    for names, group in placed.groupby(_KEYS):
        n_orders, n_positions = group["distractor_order"].nunique(), group["gold_index"].nunique()
        if n_orders < 2 or n_positions < 2:
            continue
        for measure in COMPARED:
            wide = group.pivot_table(index=_TOKEN, columns=["gold_index", "distractor_order"], values=measure).dropna()
            if wide.shape[0] == 0 or wide.shape[1] != n_orders * n_positions:
                continue
            squares = mean_squares(wide.to_numpy(float).reshape(len(wide), n_positions, n_orders))
            by_question = pd.DataFrame(squares, index=wide.index).groupby("question_id")
            sums, counts = by_question.sum().to_numpy(float), by_question.count().to_numpy(float)
            found = _deviations(sums.sum(axis=0) / counts.sum(axis=0), n_positions, n_orders)
            draws = _deviations(bootstrap.resampled_means(sums, counts), n_positions, n_orders)
            low, high = bootstrap.interval(draws)
            rows.append(
                (*names, measure, n_orders, n_positions, len(sums), len(wide),
                 found[0], low[0], high[0], found[1], low[1], high[1])
            )  # fmt: skip
    columns = ["measure", "n_orders", "n_positions", "n_questions", "n_tokens"]
    columns += [f"sd_{part}{end}" for part in ("position", "order") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*_KEYS, *columns])


def mean_squares(values: Float[np.ndarray, "tokens positions orders"]) -> Float[np.ndarray, "tokens 3"]:
    """Return each token's mean squares of position, order and rest in the two-way layout without replication."""
    _, n_positions, n_orders = values.shape
    mean = values.mean(axis=(1, 2), keepdims=True)
    of_position = values.mean(axis=2, keepdims=True) - mean
    of_order = values.mean(axis=1, keepdims=True) - mean
    rest = values - mean - of_position - of_order
    return np.stack(
        [
            n_orders * (of_position**2).sum(axis=(1, 2)) / (n_positions - 1),
            n_positions * (of_order**2).sum(axis=(1, 2)) / (n_orders - 1),
            (rest**2).sum(axis=(1, 2)) / ((n_positions - 1) * (n_orders - 1)),
        ],
        axis=1,
    )


def _deviations(
    squares: Float[np.ndarray, "*draws 3"], n_positions: int, n_orders: int
) -> Float[np.ndarray, "*draws 2"]:
    position, order, rest = squares[..., 0], squares[..., 1], squares[..., 2]
    variances = np.stack([(position - rest) / n_orders, (order - rest) / n_positions + rest], axis=-1)
    return np.asarray(np.sqrt(np.maximum(variances, 0.0)))
