"""Tables at several levels of pooling: over all contexts, per number of documents, per position."""

from collections.abc import Callable

import pandas as pd

POSITION = ["n_documents", "gold_index", "relative_position"]
"""The columns that say where the gold document is."""

ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION = POSITION[:0], POSITION[:1], POSITION
"""Levels of pooling, each named by the columns of ``POSITION`` that it keeps apart."""


def at_pooling_levels(make: Callable[[list[str]], pd.DataFrame], *levels: list[str]) -> pd.DataFrame:
    """Return a table computed at several levels of pooling, one below the other.

    Args:
        make: returns the table at one level, grouped by the level's columns.
        levels: any of ``ALL_CONTEXTS``, ``PER_N_DOCUMENTS``, ``PER_POSITION``.

    Returns:
        The tables of all levels. The columns that a row pools over are null in it: ``gold_index`` and
        ``relative_position`` where positions are pooled, ``n_documents`` too where numbers of documents are.
    """
    tables = [make(list(level)).assign(**{name: None for name in POSITION if name not in level}) for level in levels]
    table = pd.concat([table.astype({name: "Float64" for name in POSITION}) for table in tables], ignore_index=True)
    return table.astype({"n_documents": "Int64", "gold_index": "Int64", "relative_position": float})
