"""The columns of the findings' tables: cells rounded and written as the page's sentences write their numbers."""

from collections.abc import Callable, Mapping
from typing import Any

from lenscore.report.findings.finding import Column, Row
from lenscore.report.names import (
    CONTRASTS,
    CONTROLS,
    MEASURE_NAMES,
    POPULATIONS,
    SCOPES,
    TOKENS,
    curve_name,
    model_name,
)

Write = Callable[[Any], str]


def signed(value: float) -> str:
    """Return a value with its sign and two decimals; never −0.00."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")


def plain(value: float) -> str:
    """Return a value with two decimals."""
    return f"{value:.2f}".replace("-", "−")


def share(value: float) -> str:
    """Return a share in percent."""
    return f"{value:.0%}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points."""
    rounded = round(100 * value)
    return f"{rounded:+d}".replace("-", "−") if rounded else "0"


def p_value(value: float) -> str:
    """Return a p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def cell(name: str, title: str, write: Write = str) -> Column:
    """Return the column of one value; empty where it is missing."""
    return Column(title, lambda row: "" if row.get(name) is None else write(row[name]))


def estimate(name: str, title: str, write: Write = signed, ends: tuple[str, str] | None = None) -> Column:
    """Return the column of an estimate with its interval.

    Args:
        name: of the estimate.
        title: of the column.
        write: writes the estimate and both ends.
        ends: names of the interval's ends; by default ``<name>_low`` and ``<name>_high``.
    """
    low, high = ends or (f"{name}_low", f"{name}_high")

    def written(row: Row) -> str:
        if row.get(name) is None:
            return ""
        if row.get(low) is None:
            return write(row[name])
        return f"{write(row[name])} ({write(row[low])} to {write(row[high])})"

    return Column(title, written)


def mean(title: str, write: Write = plain) -> Column:
    """Return the column of a mean with its interval, whose ends are ``low`` and ``high``."""
    return estimate("mean", title, write, ("low", "high"))


def named(name: str, title: str, names: Mapping[str, str]) -> Column:
    """Return the column of a value that the report has a name for."""
    return Column(title, lambda row: names.get(row[name], str(row[name])))


def level(settings: Row) -> str:
    """Return the words for the level of the intervals."""
    return f"{settings['confidence']:.0%} interval"


CURVE = Column("curve", curve_name)
MODEL = Column("model", model_name)
DOCUMENTS = cell("n_documents", "documents")
LENS = cell("lens", "lens")
MEASURE = named("measure", "measure", MEASURE_NAMES)
WAY_TOKENS = named("tokens", "tokens", TOKENS)
WAY_POPULATION = named("population", "population", POPULATIONS)
CONTROL = named("control", "less", CONTROLS)
SCOPE = named("scope", "where", SCOPES)
CONTRAST = named("contrast", "contrast", {**CONTRASTS, "last_first": "last less first"})
PLACE = Column("place", lambda row: "" if row["gold_index"] is None else str(row["gold_index"] + 1))
RELATIVE_POSITION = cell("relative_position", "relative position", plain)


def shape_columns(settings: Row) -> list[Column]:
    """Return the columns of the table ``shapes`` that the sentences on a curve are made of."""
    interval = level(settings)

    def verdict(row: Row) -> str:
        support = row["supporting_tests"]
        tests = "" if support is None else f" ({support} of three tests)"
        return f"{row['verdict']}{tests}" + ("" if row["reason"] is None else f": {row['reason']}")

    def extreme(name: str, title: str) -> Column:
        return Column(title, lambda row: f"{plain(row[name])} at {plain(row[f'{name}_position'])}")

    def furthest(row: Row) -> str:
        return "" if row["deviation"] is None else f"{signed(row['deviation'])} at {plain(row['deviation_position'])}"

    return [
        CURVE, Column("verdict", verdict), cell("n_tokens", "observations"), cell("n_questions", "questions"),
        extreme("lowest", "least mean, at"), extreme("highest", "greatest mean, at"),
        estimate("middle", f"middle − ends ({interval})"), cell("middle_p_holm", "p", p_value),
        estimate("slope", f"last − first, by the slope ({interval})"), cell("slope_p_holm", "p", p_value),
        estimate("first", f"first − others ({interval})"), cell("first_p_holm", "p", p_value),
        estimate("last", f"last − others ({interval})"), cell("last_p_holm", "p", p_value),
        Column("furthest from the mean, at", furthest), cell("deviation_most", "none further than", plain),
        cell("smallest_effect", "smallest effect ±", plain), cell("smallest_middle", "middle − ends found", plain),
    ]  # fmt: skip


def cause_columns(settings: Row) -> list[Column]:
    """Return the columns of the table ``lens_against_cause`` that its sentences are made of."""
    return [
        MODEL, LENS, named("observation", "order by", {
            "mean_rise": "rise", "share_settled": "settled", "share_first_right": "first right",
        }), SCOPE, cell("replacement", "replacement"), cell("n_blocks", "blocks"), cell("n_questions", "questions"),
        estimate("tau", f"τ ({level(settings)})", ends=("low", "high")),
        cell("tau_without_first", "τ without block 1", signed), cell("p_corrected", "corrected p", p_value),
    ]  # fmt: skip
