"""What happens at each layer: how many answer tokens first become right and settle there, and what they gain."""

import pandas as pd

_GROUP = ["model", "context_set", "lens"]
_PLACE = ["n_documents", "gold_index", "relative_position"]


def layers_reached(depths: pd.DataFrame, n_layers: dict[str, int]) -> pd.DataFrame:
    """Return how many answer tokens first become right and how many settle at each layer, by gold index.

    Over the answer tokens that layer L gets right, in contexts with documents.

    Args:
        depths: rows of view ``token_depths``.
        n_layers: L of each model.

    Returns:
        One row a model × context set × lens × number of documents × gold index × event × layer 0…L, with ``n``
        and ``share`` (of the tokens that layer L gets right there; the shares of an event sum to 1).
    """
    right = depths[(depths["condition"] == "documents") & depths["final_right"]]
    rows = []
    for names, group in right.groupby([*_GROUP, *_PLACE], dropna=False):
        for event in ("first_correct", "settled"):
            counts = group[f"{event}_layer"].value_counts()
            rows += [
                (*names, event, layer, int(counts.get(layer, 0)), counts.get(layer, 0) / len(group))
                for layer in range(n_layers[str(names[0])] + 1)
            ]
    return pd.DataFrame(rows, columns=[*_GROUP, *_PLACE, "event", "layer", "n", "share"])


def region_names(regions: int) -> list[str]:
    """Return the names of the equal parts of the relative position."""
    known = {1: ["everywhere"], 2: ["first half", "second half"], 3: ["start", "middle", "end"]}
    return known.get(regions, [f"{part}/{regions}" for part in range(1, regions + 1)])


def region_of(relative_position: pd.Series, regions: int) -> pd.Series:
    """Return the region's name of each relative position; null where there is no position."""
    part = (relative_position * regions).clip(upper=regions - 1)
    return part.map(lambda value: None if pd.isna(value) else region_names(regions)[int(value)])


def essential_layers(rises: pd.DataFrame, regions: int) -> pd.DataFrame:
    """Return the essential-layer table: what each layer does, by region of the gold document's position.

    Args:
        rises: rows of view ``layer_rises``: one a relative position × layer (and model, context set,
            lens), with the numbers of answer tokens that layer L gets right (``n_right``), that are first
            right at the layer (``n_first_right``), that settle there (``n_settled``), and the sum of the rise of the
            target's log-probability over the layer before (``sum_rise``, nats; null at layer 0).
        regions: number of equal parts of the relative position.

    Returns:
        One row a model × context set × lens × region × layer, with ``n_right``, ``share_first_right``,
        ``share_settled`` and ``mean_rise``; the region ``all`` holds every position.
    """
    by_region = rises.assign(region=region_of(rises["relative_position"], regions)).dropna(subset="region")
    both = pd.concat([rises.assign(region="all"), by_region], ignore_index=True)
    sums = both.groupby([*_GROUP, "region", "layer"], as_index=False)[
        ["n_right", "n_first_right", "n_settled", "sum_rise"]
    ].sum(min_count=1)
    table = sums.assign(
        share_first_right=sums["n_first_right"] / sums["n_right"],
        share_settled=sums["n_settled"] / sums["n_right"],
        mean_rise=sums["sum_rise"] / sums["n_right"],
    )
    order = table["region"].map(["all", *region_names(regions)].index)
    columns = [*_GROUP, "region", "layer", "n_right", "share_first_right", "share_settled", "mean_rise"]
    return table.assign(_order=order).sort_values([*_GROUP, "_order", "layer"])[columns].reset_index(drop=True)


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
        effects: the table of :func:`lenscore.analysis.ablation.block_effects`, over the same regions.

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
    keys = ["model", "context_set", "region", "layer"]
    causes = found.rename(columns={"block": "layer", "n_tokens": "n_ablated"})[
        [*keys, "scope", "replacement", *_CAUSES]
    ]
    # Without effects the columns have no types of their own.
    typed = causes.astype({"layer": essential["layer"].dtype} | dict.fromkeys(_CAUSES, float))
    return essential.merge(typed, how="left", on=keys)
