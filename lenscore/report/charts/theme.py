"""The theme of all charts: colours for light and dark backgrounds, fonts, axes."""

from typing import Any

import altair as alt

# Okabe & Ito's palette (2008), which colour-blind readers can tell apart; ordered for contrast on white and on black.
CATEGORIES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

# Styles of marks that are no data series. They have names so that the page can recolour them on a dark background.
REFERENCE = "reference"  # to compare with: bars over all positions
QUIET = "quiet"  # explaining text and rules

# For marks without a category among marks that have one; visible on light and dark backgrounds.
MUTED = "#7d858e"

_LIGHT = {"ink": "#333333", "soft": "#555555", "axis": "#888888", "grid": "#e6e6e6", "reference": "#c8c8c8"}
_DARK = {"ink": "#e8eaed", "soft": "#b4bac2", "axis": "#7d858e", "grid": "#33383f", "reference": "#5b636c"}


def _colours(shades: dict[str, str]) -> dict[str, dict[str, object]]:
    """Return the part of Vega-Lite's config that depends on the background."""
    ink, soft = shades["ink"], shades["soft"]
    return {
        "axis": {
            "gridColor": shades["grid"], "domainColor": shades["axis"], "tickColor": shades["axis"],
            "labelColor": soft, "titleColor": ink,
        },
        "legend": {"labelColor": soft, "titleColor": ink},
        "header": {"labelColor": ink, "titleColor": ink},
        "title": {"color": ink},
        "style": {
            REFERENCE: {"color": shades["reference"], "fill": shades["reference"]},
            QUIET: {"color": soft, "stroke": soft},
            f"{QUIET}-text": {"color": soft, "fill": soft},
        },
    }  # fmt: skip


# The same hues, lighter where they would be too dark on a dark background.
_DARK_CATEGORIES = ["#4DA9E0", "#F08A45", "#2FC497", "#E3A1C6", "#F2B93B", "#9AD4F5", "#B4BAC2"]

# The page merges this into a chart's own config on a dark background.
DARK = {"background": None, "range": {"category": _DARK_CATEGORIES}, **_colours(_DARK)}


@alt.theme.register("lenscore", enable=True)
def lenscore_theme() -> alt.theme.ThemeConfig:
    """Return the theme: plain axes, light grid, one palette."""
    colours = _colours(_LIGHT)
    sizes: dict[str, dict[str, object]] = {
        "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"},
        "legend": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "symbolStrokeWidth": 3},
        "header": {"labelFontSize": 12, "titleFontSize": 12, "labelFontWeight": "bold"},
        "title": {"fontSize": 13, "anchor": "start", "fontWeight": "bold"},
        "style": {},
    }
    config: Any = {
        "font": FONT,
        "background": "white",
        "view": {"stroke": None},
        "range": {"category": CATEGORIES},
        **{part: {**colours[part], **size} for part, size in sizes.items()},
    }
    return {"config": config}


# Tables of large studies have more rows than Altair's guard for notebooks allows; the page has a limit of its own.
alt.data_transformers.enable("default", max_rows=None)
