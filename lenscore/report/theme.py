"""One look for all charts."""

import altair as alt

# Okabe & Ito's palette (2008), told apart by colour-blind readers; ordered for contrast on white and on black.
CATEGORIES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"


@alt.theme.register("lenscore", enable=True)
def lenscore_theme() -> alt.theme.ThemeConfig:
    """Return the theme: plain axes, light grid, one palette."""
    return alt.theme.ThemeConfig(
        config={
            "font": FONT,
            "background": "white",
            "view": {"stroke": None},
            "axis": {
                "labelFontSize": 11,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
                "gridColor": "#e6e6e6",
                "domainColor": "#888888",
                "tickColor": "#888888",
            },
            "legend": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "symbolStrokeWidth": 3},
            "header": {"labelFontSize": 12, "titleFontSize": 12, "labelFontWeight": "bold"},
            "title": {"fontSize": 13, "anchor": "start", "fontWeight": "bold"},
            "range": {"category": CATEGORIES},
        }
    )
