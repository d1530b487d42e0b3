"""Regions: equal parts of the gold document's relative position."""

import pandas as pd


def region_names(regions: int) -> list[str]:
    """Return the names of the regions, from the first position to the last."""
    known = {1: ["everywhere"], 2: ["first half", "second half"], 3: ["start", "middle", "end"]}
    return known.get(regions, [f"{part}/{regions}" for part in range(1, regions + 1)])


def region_of(relative_position: pd.Series, regions: int) -> pd.Series:
    """Return the name of each relative position's region; null where there is no position."""
    part = (relative_position * regions).clip(upper=regions - 1)
    return part.map(lambda value: None if pd.isna(value) else region_names(regions)[int(value)])


def with_regions(rows: pd.DataFrame, regions: int) -> pd.DataFrame:
    """Return every row in the region ``all``, and each row that has a position once more in the region of it."""
    placed = rows.assign(region=region_of(rows["relative_position"], regions)).dropna(subset="region")
    return pd.concat([rows.assign(region="all"), placed], ignore_index=True)


def region_order(names: pd.Series, regions: int) -> pd.Series:
    """Return a sort key of region names: ``all`` first, then by position."""
    return names.map(["all", *region_names(regions)].index)
