"""Tables as files, each whole or absent."""

from pathlib import Path

import pandas as pd

from lenscore.files import written_whole


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write a table as CSV."""
    with written_whole(file) as beside:
        table.to_csv(beside, index=False)


def write_parquet(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet."""
    with written_whole(file) as beside:
        table.to_parquet(beside, index=False)
