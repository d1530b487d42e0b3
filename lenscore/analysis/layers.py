"""What happens at each layer: answer tokens that are right, become right, settle or are lost, and what they gain.

All from views ``context_layers`` and ``frequent_top1``, which hold counts and sums, one row a context × lens × layer.
"""

import itertools

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import ratios_with_intervals
from lenscore.analysis.pooling import ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION, POSITION, at_pooling_levels
from lenscore.analysis.regions import region_order, with_regions

_GROUP = ["model", "context_set", "lens"]
FREQUENT = (10, 100)
"""Ranks up to which a token is called frequent."""

_EVENTS = {"first_correct": "n_first_right", "settled": "n_settled"}
_FLIPS = {"lost": "n_lost", "regained": "n_regained"}


def with_rises(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``sum_rise``: how far ``sum_logprob`` rises over the layer before (nats; NaN at layer 0).

    Args:
        layers: rows of view ``context_layers``, the layers of each context in order from 0 to L.
    """
    return layers.assign(sum_rise=layers["sum_logprob"].diff().where(layers["layer"] > 0))


def layers_reached(layers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how many answer tokens first become right and how many settle at each layer.

    Over the answer tokens that layer L gets right, in contexts with documents.

    Args:
        layers: rows of view ``context_layers``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × gold index × event × layer 0…L, and one pooled
        over positions (``gold_index`` null): ``n``, ``n_right`` (the tokens that layer L gets right), ``share``
        (n / n_right, which sums to 1 over layers) with ``low`` and ``high``, and ``n_questions``.
    """
    tables = []
    for event, column in _EVENTS.items():
        table = _ratios(layers, column, "n_right", bootstrap, PER_N_DOCUMENTS, PER_POSITION)
        tables.append(table.rename(columns={column: "n", "ratio": "share"}).assign(event=event))
    table = pd.concat(tables, ignore_index=True)
    columns = [*_GROUP, *POSITION, "event", "layer", "n", "n_right", "share", "low", "high", "n_questions"]
    return _in_order(table[table["n_right"] > 0].astype({"n": int}), ["event"])[columns]


def right_by_layer(layers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how often each layer's top-1 is the answer token, by position, over all answer tokens.

    Args:
        layers: rows of view ``context_layers``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × gold index × layer, with ``share_right``, ``low``,
        ``high``, ``mean_probability`` (of the answer token), ``n_tokens`` and ``n_questions``.
    """
    cells = [*POSITION, "layer"]
    table = ratios_with_intervals(layers, "n_top1", "n_tokens", _GROUP, cells, bootstrap)
    sums = layers.groupby([*_GROUP, *cells], dropna=False, as_index=False)["sum_probability"].sum()
    both = table.merge(sums, on=[*_GROUP, *cells])
    both["mean_probability"] = both["sum_probability"] / both["n_tokens"]
    columns = [*_GROUP, *cells, "share_right", "low", "high", "mean_probability", "n_tokens", "n_questions"]
    return _in_order(both.rename(columns={"ratio": "share_right"}))[columns]


def entropy_by_layer(layers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how uncertain each layer's distribution is, by position, over all answer tokens.

    The profile by layer is that of Ali et al. 2025, "Entropy-Lens" (arXiv 2502.16570), at the tokens that predict the
    answer.

    Args:
        layers: rows of view ``context_layers``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × gold index × layer, and rows pooled over positions
        and over all contexts (null): ``entropy`` (mean, in nats), ``low``, ``high``, ``n_tokens`` and ``n_questions``.
    """
    table = _ratios(layers, "sum_entropy", "n_tokens", bootstrap, ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION)
    columns = [*_GROUP, *POSITION, "layer", "entropy", "low", "high", "n_tokens", "n_questions"]
    return _in_order(table.rename(columns={"ratio": "entropy"}))[columns]


def frequent_top1(layers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how often each layer's top-1 is a frequent token, over all answer tokens.

    Gupta et al. 2025 (arXiv 2510.18871) find that early layers promote frequent tokens. Frequent is here a rank of at
    most 10, or 100, among the tokens of the study's documents.

    Args:
        layers: rows of view ``frequent_top1``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × gold index × ``most`` (10 or 100: the largest rank)
        × layer, and rows pooled over positions and over all contexts (null): ``n``, ``share``, ``low``, ``high``,
        ``n_tokens`` and ``n_questions``.
    """
    tables = []
    for most in FREQUENT:
        count = f"n_frequent_{most}"
        found = _ratios(layers, count, "n_tokens", bootstrap, ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION)
        tables.append(found.rename(columns={count: "n", "ratio": "share"}).assign(most=most))
    columns = [*_GROUP, *POSITION, "most", "layer", "n", "share", "low", "high", "n_tokens", "n_questions"]
    return _in_order(pd.concat(tables, ignore_index=True).astype({"n": int}), ["most"])[columns]


def flips_by_layer(layers: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return at which layers right tokens are lost, and at which lost tokens are regained.

    Args:
        layers: rows of view ``context_layers``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × number of documents × gold index × layer 1…L, and rows pooled over
        positions and over all contexts (null): ``n_tokens``, ``n_right_before``, ``n_lost``, ``n_lost_before``,
        ``n_regained`` (as in the view), ``lost`` and ``regained`` (shares of all answer tokens) with ``_low`` and
        ``_high``; ``share_lost`` (of the tokens that are right at the layer before) and ``share_regained`` (of those
        that are wrong there but were right at some earlier layer), null where there are none.
    """
    above = layers[layers["layer"] > 0]
    columns = [*_GROUP, *POSITION, "layer"]
    table = _summed(above, ["n_tokens", "n_right_before", "n_lost_before"], columns)
    for name, count in _FLIPS.items():
        found = _ratios(above, count, "n_tokens", bootstrap, ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION)
        named = found.rename(columns={"ratio": name, "low": f"{name}_low", "high": f"{name}_high"})
        table = table.merge(named.astype({count: int}).drop(columns=["n_tokens", "n_questions"]), on=columns)
    table["share_lost"] = table["n_lost"] / table["n_right_before"].where(table["n_right_before"] > 0)
    table["share_regained"] = table["n_regained"] / table["n_lost_before"].where(table["n_lost_before"] > 0)
    return _in_order(table)


def essential_layers(layers: pd.DataFrame, regions: int) -> pd.DataFrame:
    """Return the essential-layer table: what each layer does, by region of the gold document's position.

    Over the answer tokens that layer L gets right, in contexts with documents.

    Args:
        layers: rows of view ``context_layers``, with their rises.
        regions: number of equal parts of the relative position.

    Returns:
        One row a model × context set × lens × region × layer, with ``n_right``, ``share_first_right``,
        ``share_settled`` and ``mean_rise``; the region ``all`` holds every position. These rows are over all contexts;
        further rows are per number of documents (``n_documents``) and per position (``gold_index``).
    """
    counts = ["n_right", "n_first_right", "n_settled", "sum_rise"]
    sums = _summed(with_regions(layers, regions), counts, [*_GROUP, *POSITION, "region", "layer"])
    # A single position is in one region, so its row for the region "all" would say the same twice.
    sums = sums[(sums["n_right"] > 0) & ~((sums["region"] == "all") & sums["gold_index"].notna())]
    table = sums.assign(
        share_first_right=sums["n_first_right"] / sums["n_right"],
        share_settled=sums["n_settled"] / sums["n_right"],
        mean_rise=(sums["sum_rise"] / sums["n_right"]).where(sums["layer"] > 0),
    )
    columns = [*_GROUP, *POSITION, "region", "layer", "n_right", "share_first_right", "share_settled", "mean_rise"]
    return _in_order(table.assign(_region=region_order(table["region"], regions)), ["_region"])[columns]


def _ratios(
    layers: pd.DataFrame, numerator: str, denominator: str, bootstrap: Bootstrap, *levels: list[str]
) -> pd.DataFrame:
    """Return the ratio of two counts at each layer, with its interval, at each level of pooling."""

    def ratios(level: list[str]) -> pd.DataFrame:
        return ratios_with_intervals(layers, numerator, denominator, _GROUP, [*level, "layer"], bootstrap)

    return at_pooling_levels(ratios, *levels)


def _summed(rows: pd.DataFrame, counts: list[str], columns: list[str]) -> pd.DataFrame:
    """Return the sums of the counts at every level of pooling."""

    def sums(level: list[str]) -> pd.DataFrame:
        by = [column for column in columns if column not in POSITION or column in level]
        return rows.groupby(by, dropna=False, as_index=False)[counts].sum()

    return at_pooling_levels(sums, ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION)


def _in_order(table: pd.DataFrame, within: list[str] | None = None) -> pd.DataFrame:
    """Sort the rows, pooled ones first."""
    keys = [*_GROUP, "n_documents", "gold_index", *(within or []), "layer"]
    return table.sort_values(keys, na_position="first", ignore_index=True)


# The scope and replacement that are shown next to the observations, where a study has several.
_PREFERRED = tuple(
    itertools.product(
        ("all", "answer", "documents", "gold", "question", "examples"),
        ("skip", "mean", "resample"),
    )
)
_CAUSES = [
    "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high", "logprob_drop", "logprob_drop_low", "logprob_drop_high",
    "n_ablated",
]  # fmt: skip


def with_causes(essential: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Join what ablating a block costs to what the lens shows at its output, the layer of the same number.

    Args:
        essential: the table of :func:`essential_layers`.
        effects: the table of :func:`lenscore.analysis.ablation.block_effects`, over the same regions and positions.

    Returns:
        The essential-layer table with ``accuracy_drop`` and ``logprob_drop``, their ``_low`` and ``_high``, and
        ``n_ablated`` (answer tokens), for one ``scope`` and ``replacement``: the first that the effects have of
        all/skip, all/mean, answer/skip and so on. NaN where nothing was ablated, and at layer 0, which no block
        outputs.
    """
    for scope, replacement in _PREFERRED:
        shown = effects[(effects["scope"] == scope) & (effects["replacement"] == replacement)]
        if not shown.empty:
            break
    keys = ["model", "context_set", *POSITION, "region", "layer"]
    causes = shown.rename(columns={"block": "layer", "n_tokens": "n_ablated"})[
        [*keys, "scope", "replacement", *_CAUSES]
    ]
    # The columns of an empty table have no numeric types.
    typed = causes.astype(
        {name: essential[name].dtype for name in [*POSITION, "layer"]} | dict.fromkeys(_CAUSES, float)
    )
    return essential.merge(typed, how="left", on=keys)
