"""What happens at each layer: how many answer tokens are right, become right, settle and are lost, and what they gain.

All from view ``context_layers``: counts and sums, a row a context × lens × layer.
"""

import pandas as pd

from lenscore.analysis.means import ALL, BY_LENGTH, BY_PLACE, PLACE, at_each_join, ratios_with_intervals
from lenscore.study.analysis import AnalysisSpec

_GROUP = ["model", "context_set", "lens"]
_EVENTS = {"first_correct": "n_first_right", "settled": "n_settled"}
_FLIPS = {"lost": "n_lost", "regained": "n_regained"}


def with_rises(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``sum_rise``: how far ``sum_logprob`` rises over the layer before (nats; NaN at layer 0).

    Args:
        layers: rows of view ``context_layers``, a context's layers from 0 to L one after the other.
    """
    return layers.assign(sum_rise=layers["sum_logprob"].diff().where(layers["layer"] > 0))


def layers_reached(layers: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return how many answer tokens first become right and how many settle at each layer.

    Over the answer tokens that layer L gets right, in contexts with documents.

    Args:
        layers: rows of view ``context_layers``.
        settings: the bootstrap over questions.

    Returns:
        One row a model × context set × lens × number of documents × gold index × event × layer 0…L, and one with
        positions joined (``gold_index`` null): ``n``, ``n_right`` (the tokens that layer L gets right there), ``share``
        (n of n_right: an event's shares sum to 1) with ``low`` and ``high``, and ``n_questions``.
    """
    tables = []
    for event, column in _EVENTS.items():
        table = _ratios(layers, column, "n_right", settings, BY_LENGTH, BY_PLACE)
        tables.append(table.rename(columns={column: "n", "ratio": "share"}).assign(event=event))
    table = pd.concat(tables, ignore_index=True)
    columns = [*_GROUP, *PLACE, "event", "layer", "n", "n_right", "share", "low", "high", "n_questions"]
    return _in_order(table[table["n_right"] > 0].astype({"n": int}), ["event"])[columns]


def right_by_layer(layers: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return how often each layer's top-1 is the answer token, by position, over all answer tokens.

    Args:
        layers: rows of view ``context_layers``.
        settings: the bootstrap over questions.

    Returns:
        One row a model × context set × lens × number of documents × gold index × layer, with ``share_right``, ``low``,
        ``high``, ``mean_probability`` (of the answer token), ``n_tokens`` and ``n_questions``.
    """
    cells = [*PLACE, "layer"]
    table = ratios_with_intervals(layers, "n_top1", "n_tokens", _GROUP, cells, settings)
    sums = layers.groupby([*_GROUP, *cells], dropna=False, as_index=False)["sum_probability"].sum()
    both = table.merge(sums, on=[*_GROUP, *cells])
    both["mean_probability"] = both["sum_probability"] / both["n_tokens"]
    columns = [*_GROUP, *cells, "share_right", "low", "high", "mean_probability", "n_tokens", "n_questions"]
    return _in_order(both.rename(columns={"ratio": "share_right"}))[columns]


def flips_by_layer(layers: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return between which layers right tokens are lost, and won back.

    Args:
        layers: rows of view ``context_layers``.
        settings: the bootstrap over questions.

    Returns:
        One row a model × context set × lens × number of documents × gold index × layer 1…L, and those with
        positions and with all joined (null): ``n_tokens``, ``n_right_before``, ``n_lost``, ``n_lost_before``,
        ``n_regained`` (as in the view), ``lost`` and ``regained`` (shares of all answer tokens) with ``_low`` and
        ``_high``; ``share_lost`` (of the tokens that are right at the layer before) and ``share_regained`` (of those
        that are wrong there but were right at some layer below), null where there are none.
    """
    above = layers[layers["layer"] > 0]
    columns = [*_GROUP, *PLACE, "layer"]
    table = _summed(above, ["n_tokens", "n_right_before", "n_lost_before"], columns)
    for name, count in _FLIPS.items():
        found = _ratios(above, count, "n_tokens", settings, ALL, BY_LENGTH, BY_PLACE)
        named = found.rename(columns={"ratio": name, "low": f"{name}_low", "high": f"{name}_high"})
        table = table.merge(named.astype({count: int}).drop(columns=["n_tokens", "n_questions"]), on=columns)
    table["share_lost"] = table["n_lost"] / table["n_right_before"].where(table["n_right_before"] > 0)
    table["share_regained"] = table["n_regained"] / table["n_lost_before"].where(table["n_lost_before"] > 0)
    return _in_order(table)


def region_names(regions: int) -> list[str]:
    """Return the names of the equal parts of the relative position."""
    known = {1: ["everywhere"], 2: ["first half", "second half"], 3: ["start", "middle", "end"]}
    return known.get(regions, [f"{part}/{regions}" for part in range(1, regions + 1)])


def region_of(relative_position: pd.Series, regions: int) -> pd.Series:
    """Return the region's name of each relative position; null where there is no position."""
    part = (relative_position * regions).clip(upper=regions - 1)
    return part.map(lambda value: None if pd.isna(value) else region_names(regions)[int(value)])


def essential_layers(layers: pd.DataFrame, regions: int) -> pd.DataFrame:
    """Return the essential-layer table: what each layer does, by region of the gold document's position.

    Over the answer tokens that layer L gets right, in contexts with documents.

    Args:
        layers: rows of view ``context_layers``, with their rises.
        regions: number of equal parts of the relative position.

    Returns:
        One row a model × context set × lens × region × layer, with ``n_right``, ``share_first_right``,
        ``share_settled`` and ``mean_rise``; the region ``all`` holds every position. These are over all contexts; the
        same follows for each number of documents (``n_documents``), and for each place (``gold_index``).
    """
    counts = ["n_right", "n_first_right", "n_settled", "sum_rise"]
    sums = _summed(with_regions(layers, regions), counts, [*_GROUP, *PLACE, "region", "layer"])
    # A place lies in one region alone: all positions are no region of its.
    sums = sums[(sums["n_right"] > 0) & ~((sums["region"] == "all") & sums["gold_index"].notna())]
    table = sums.assign(
        share_first_right=sums["n_first_right"] / sums["n_right"],
        share_settled=sums["n_settled"] / sums["n_right"],
        mean_rise=(sums["sum_rise"] / sums["n_right"]).where(sums["layer"] > 0),
    )
    columns = [*_GROUP, *PLACE, "region", "layer", "n_right", "share_first_right", "share_settled", "mean_rise"]
    return _in_order(table.assign(_region=table["region"].map(["all", *region_names(regions)].index)), ["_region"])[
        columns
    ]


def with_regions(rows: pd.DataFrame, regions: int) -> pd.DataFrame:
    """Return the rows twice: once in the region ``all``, and, those that have a position, once in the region of it."""
    placed = rows.assign(region=region_of(rows["relative_position"], regions)).dropna(subset="region")
    return pd.concat([rows.assign(region="all"), placed], ignore_index=True)


def _ratios(layers: pd.DataFrame, part: str, whole: str, settings: AnalysisSpec, *joins: list[str]) -> pd.DataFrame:
    """Return the ratio of two counts at each layer, with its interval, at each join."""

    def ratios(join: list[str]) -> pd.DataFrame:
        return ratios_with_intervals(layers, part, whole, _GROUP, [*join, "layer"], settings)

    return at_each_join(ratios, *joins)


def _summed(rows: pd.DataFrame, counts: list[str], columns: list[str]) -> pd.DataFrame:
    """Return the sums of the counts over all contexts, by number of documents, and by place."""

    def sums(join: list[str]) -> pd.DataFrame:
        by = [column for column in columns if column not in PLACE or column in join]
        return rows.groupby(by, dropna=False, as_index=False)[counts].sum()

    return at_each_join(sums, ALL, BY_LENGTH, BY_PLACE)


def _in_order(table: pd.DataFrame, within: list[str] | None = None) -> pd.DataFrame:
    """Sort the rows: what is joined first."""
    keys = [*_GROUP, "n_documents", "gold_index", *(within or []), "layer"]
    return table.sort_values(keys, na_position="first", ignore_index=True)


# Which way of ablating stands beside the observations, where a study has several.
_PREFERRED = (("all", "skip"), ("all", "mean"), ("answer", "skip"), ("answer", "mean"))
_CAUSES = [
    "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high", "logprob_drop", "logprob_drop_low", "logprob_drop_high",
    "n_ablated",
]  # fmt: skip


def with_causes(essential: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Put what ablating a block costs beside what the lens shows at its output, the layer of the same number.

    Args:
        essential: the table of :func:`essential_layers`.
        effects: the table of :func:`lenscore.analysis.ablation.block_effects`, over the same regions and places.

    Returns:
        The essential-layer table with ``scope`` and ``replacement``, the first that the effects have in the order
        all/skip, all/mean, answer/skip, answer/mean, and its ``accuracy_drop`` and ``logprob_drop`` with ``_low``
        and ``_high``, over ``n_ablated`` answer tokens. NaN where nothing was ablated, and at layer 0, which is no
        block's output.
    """
    present = set(zip(effects["scope"], effects["replacement"], strict=True))
    chosen = next((way for way in _PREFERRED if way in present), None)
    found = (
        effects if chosen is None else effects[(effects["scope"] == chosen[0]) & (effects["replacement"] == chosen[1])]
    )
    keys = ["model", "context_set", *PLACE, "region", "layer"]
    causes = found.rename(columns={"block": "layer", "n_tokens": "n_ablated"})[
        [*keys, "scope", "replacement", *_CAUSES]
    ]
    # Without effects the columns have no types of their own.
    typed = causes.astype({name: essential[name].dtype for name in [*PLACE, "layer"]} | dict.fromkeys(_CAUSES, float))
    return essential.merge(typed, how="left", on=keys)
