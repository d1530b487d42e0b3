"""The charts: each a function from a table of ``lenscore.analysis`` to an Altair chart.

Looks may be changed freely; a chart states no number that its table does not have.

Usable in a notebook::

    from lenscore.report import charts
    charts.refinement_curve(pandas.read_parquet("results/default/tables/refinement_curve.parquet"))
"""

from collections.abc import Callable

import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.comparisons import controls, depth_by_group
from lenscore.report.charts.curves import (
    accuracy_curve,
    depth_curves,
    depth_shares,
    other_measures,
    populations,
    refinement_curve,
)
from lenscore.report.charts.grid import lens_grid
from lenscore.report.charts.layers import (
    entropy_by_layer,
    essential_layers,
    flips,
    frequent_top1,
    layers_reached,
    lens_divergence,
    right_by_layer,
)
from lenscore.report.charts.specifications import specification_curve

# By the names of ``lenscore.report.contents``.
CHART_FUNCTIONS: dict[str, Callable[[pd.DataFrame], ChartType]] = {
    chart.__name__: chart
    for chart in (
        refinement_curve, accuracy_curve, depth_curves, other_measures, depth_shares, layers_reached,
        right_by_layer, entropy_by_layer, frequent_top1, lens_grid, essential_layers, populations,
        specification_curve, controls, depth_by_group, flips, lens_divergence,
    )
}  # fmt: skip

__all__ = [
    "CHART_FUNCTIONS", "accuracy_curve", "controls", "depth_by_group", "depth_curves", "depth_shares",
    "entropy_by_layer", "essential_layers", "flips", "frequent_top1", "layers_reached", "lens_divergence", "lens_grid",
    "other_measures", "populations", "refinement_curve", "right_by_layer", "specification_curve",
]  # fmt: skip
