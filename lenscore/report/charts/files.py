"""The charts' files: each chart of a study as Vega-Lite, SVG and PNG."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert

from lenscore.files import folder_written_whole, written_whole
from lenscore.report.charts import CHART_FUNCTIONS
from lenscore.report.contents import CHARTS

# The version of Vega-Lite that Altair writes, as vl_convert names it: 6.1.0 is v6_1.
VEGA_LITE = "_".join(alt.SCHEMA_VERSION.split(".")[:2])

_PIXELS_PER_UNIT = 2
_GRADIENT = re.compile(r'(<linearGradient id="|(?:fill|stroke)="url\(#)gradient_(\d+)')


def write_charts(tables: Mapping[str, Path], charts: Path) -> None:
    """Draw every chart of the report in this process, each table read once.

    Args:
        tables: by name, the Parquet file of each of the study's tables.
        charts: the folder to write the files of :func:`write_chart` to. It takes the place of an older one when all
            charts are drawn.
    """
    with folder_written_whole(charts) as folder:
        for table in dict.fromkeys(chart.table for chart in CHARTS.values()):
            rows = pd.read_parquet(tables[table])
            for name, chart in CHARTS.items():
                if chart.table == table:
                    write_chart(name, rows, folder)


def write_chart(name: str, table: pd.DataFrame, folder: Path) -> None:
    """Write ``<name>.json`` (Vega-Lite), ``<name>.svg`` and ``<name>.png``.

    The bytes depend on the chart and its table alone, not on what this process drew before.

    Args:
        name: of the chart in ``lenscore.report.contents``.
        table: the table that it draws.
        folder: where the files go.
    """
    spec = CHART_FUNCTIONS[name](table).to_dict()
    svg = _numbered_from_zero(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))
    # Made from the SVG: drawing the chart a second time would take as long again.
    png = vl_convert.svg_to_png(svg, scale=_PIXELS_PER_UNIT)
    for suffix, content in (("json", json.dumps(spec).encode()), ("svg", svg.encode()), ("png", png)):
        with written_whole(folder / f"{name}.{suffix}") as beside:
            beside.write_bytes(content)


def _numbered_from_zero(svg: str) -> str:
    """Return the SVG with its gradients numbered from 0: Vega goes on counting from one chart to the next."""
    numbers: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        return f"{found[1]}gradient_{numbers.setdefault(found[2], len(numbers))}"

    return _GRADIENT.sub(renumber, svg)
