"""The charts: each a function from a table of ``lenscore.analysis`` to an Altair chart.

Usable in a notebook::

    from lenscore.report import charts
    charts.refinement_curve(pandas.read_parquet("results/default/tables/refinement_curve.parquet"))
"""

from collections.abc import Callable

import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.comparisons import controls, depth_by_group
from lenscore.report.charts.curves import accuracy_curve, populations, refinement_curve
from lenscore.report.charts.layers import essential_layers, flips, layers_reached, lens_divergence

# By the names of ``lenscore.report.contents``.
CHARTS: dict[str, Callable[[pd.DataFrame], ChartType]] = {
    chart.__name__: chart
    for chart in (
        refinement_curve, populations, accuracy_curve, controls, layers_reached, flips, essential_layers,
        lens_divergence, depth_by_group,
    )
}  # fmt: skip

__all__ = [
    "CHARTS", "accuracy_curve", "controls", "depth_by_group", "essential_layers", "flips", "layers_reached",
    "lens_divergence", "populations", "refinement_curve",
]  # fmt: skip
