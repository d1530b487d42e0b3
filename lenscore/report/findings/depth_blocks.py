"""Blocks on depth and the gold document's position: the primary analysis, and the same asked in other ways."""

from collections.abc import Mapping
from typing import Any

from lenscore.report.findings.columns import (
    CONTRAST,
    CURVE,
    DOCUMENTS,
    LENS,
    MEASURE,
    MODEL,
    PLACE,
    RELATIVE_POSITION,
    WAY_POPULATION,
    WAY_TOKENS,
    cell,
    estimate,
    level,
    mean,
    p_value,
    plain,
    shape_columns,
    signed,
)
from lenscore.report.findings.finding import Block, Column, Finding, Row
from lenscore.report.findings.results import Results, chosen, grouped
from lenscore.report.findings.sentences import about_distance
from lenscore.report.names import MEASURE_NAMES, POPULATIONS, TOKENS
from lenscore.report.page.sentences import (
    about_decomposition,
    about_disagreement,
    about_shape,
    about_verdicts,
    about_ways,
)

_MODEL_AND_LENS = ("model", "context_set", "lens")
# Shown beside the primary measure, over the same tokens.
_BESIDE = ("refinement_depth", "first_correct_layer", "settled_layer")


def headline(results: Results) -> Block:
    """Return the verdicts of the primary analysis."""
    interval = level(results.settings())
    curves = results.rows("shapes", primary=True)
    return Block(
        [
            MODEL, LENS, DOCUMENTS, MEASURE, WAY_TOKENS, WAY_POPULATION, cell("verdict", "verdict"),
            estimate("middle", f"middle − ends ({interval})"),
            estimate("slope", f"last − first, by the slope ({interval})"),
            cell("smallest_effect", "smallest effect ±", plain),
        ],
        [Finding(about_verdicts(rows), rows) for rows in grouped(curves, *_MODEL_AND_LENS)],
    )  # fmt: skip


def curves(results: Results) -> Block:
    """Return the tests of the primary analysis, curve by curve."""
    return _shapes(results, results.rows("shapes", primary=True))


def divergence_curves(results: Results) -> Block:
    """Return the tests of the divergence-settled layer over all tokens of the primary population, by every lens."""
    # The analysis tests measures that are neither primary nor the paper's over all tokens alone.
    population = results.settings()["primary"]["population"]
    return _shapes(results, results.rows("shapes", measure="jsd_settled_layer", tokens="all", population=population))


def _shapes(results: Results, shapes: list[dict[str, Any]]) -> Block:
    settings = results.settings()
    return Block(
        [MEASURE, WAY_TOKENS, WAY_POPULATION, *shape_columns(settings)],
        [Finding(about_shape(row, settings), [row]) for row in shapes],
    )


def means(results: Results) -> Block:
    """Return the means of the primary measure, and of the two layers of refinement depth, at each position."""
    measures = list(dict.fromkeys((results.settings()["primary"]["measure"], *_BESIDE)))
    rows = [row for row in results.rows("refinement_curve", primary_tokens=True) if row["measure"] in measures]
    keys = ("model", "context_set", "lens", "n_documents", "gold_index")
    return Block(
        [
            CURVE, PLACE, RELATIVE_POSITION, cell("n_tokens", "observations"),
            *(estimate(name, MEASURE_NAMES[name], plain) for name in measures),
        ],
        rows=[_side_by_side(position) for position in grouped(rows, *keys)],
    )  # fmt: skip


def _side_by_side(rows: list[Row]) -> Row:
    """Return the rows of several measures at one position as one row, each mean under its measure's name."""
    values: dict[str, Any] = {}
    for row in rows:
        ends = {f"{row['measure']}_{end}": row[end] for end in ("low", "high")}
        values |= {row["measure"]: row["mean"], **ends}
    return {**rows[0], **values}


def populations(results: Results) -> Block:
    """Return the curves whose verdict depends on target, tokens or population."""

    def of_verdict(finding: Row, verdict: Mapping[str, Any]) -> Row:
        total = sum(len(other["ways"]) for other in finding["verdicts"])
        return {**finding, **verdict, "n_ways": len(verdict["ways"]), "of": total}

    def ways(row: Row) -> str:
        return "; ".join(f"{MEASURE_NAMES[measure]}, {TOKENS[tokens]}, {POPULATIONS[population]}"
                         for measure, tokens, population in row["ways"])  # fmt: skip

    return Block(
        [
            CURVE, cell("verdict", "verdict"), cell("n_ways", "ways"), cell("of", "of"),
            cell("smallest_effect", "smallest effect ±", plain), Column("measure, tokens, population", ways),
        ],
        [
            Finding(about_disagreement(found), [of_verdict(found, verdict) for verdict in found["verdicts"]])
            for found in results.findings()["disagreements"]
        ],
    )  # fmt: skip


def primary_measure_by_population(results: Results) -> Block:
    """Return the verdicts on the primary measure for every choice of tokens and population, through every lens."""
    interval = level(results.settings())
    rows = results.rows("shapes", measure=results.settings()["primary"]["measure"])
    return Block(
        [
            CURVE, MEASURE, WAY_TOKENS, WAY_POPULATION, cell("n_tokens", "observations"), cell("verdict", "verdict"),
            cell("smallest_effect", "smallest effect ±", plain),
            estimate("middle", f"middle − ends ({interval})"), cell("middle_p_holm", "p", p_value),
            estimate("slope", f"last − first, by the slope ({interval})"), cell("slope_p_holm", "p", p_value),
        ],
        [Finding(about_verdicts(of_way), of_way) for of_way in grouped(rows, *_MODEL_AND_LENS, "tokens", "population")],
    )  # fmt: skip


def ways(results: Results) -> Block:
    """Return the specification curve's summary with its joint test."""
    rows = results.rows("specification_curve")
    return Block(
        [
            MODEL, DOCUMENTS, CONTRAST, cell("n_ways", "ways"), cell("median", "median (layers)", signed),
            cell("median_p", "joint p of the median", p_value),
            cell("n_significant", "beyond 1.96 standard errors in one direction"),
            cell("n_significant_p", "joint p of their number", p_value),
        ],
        [Finding(about_ways(row), [row]) for row in chosen(rows, place=0)],
    )  # fmt: skip


def decomposition(results: Results) -> Block:
    """Return what differences between positions are made of: which tokens are right, and how deep they are."""
    interval = level(results.settings())
    measures = {results.settings()["primary"]["measure"], "refinement_depth"}
    rows = [row for row in results.rows("depth_decomposition") if row["measure"] in measures]
    return Block(
        [
            CURVE, MEASURE, CONTRAST, estimate("difference", f"difference ({interval})"),
            estimate("within", f"within the same tokens ({interval})"),
            estimate("composition", f"by which tokens are right ({interval})"), cell("n_stayers", "same tokens"),
            cell("n_tokens", "observations"),
        ],
        [Finding(about_decomposition(row), [row]) for row in rows],
    )  # fmt: skip


def distance(results: Results) -> Block:
    """Return the gold document's distance in tokens at each position, beside the primary measure."""
    rows = results.rows("refinement_curve", primary=True)
    return Block(
        [
            CURVE, PLACE, RELATIVE_POSITION, cell("gold_distance", "distance (tokens)", "{:.0f}".format), MEASURE,
            mean(f"mean ({level(results.settings())})"),
        ],
        [
            Finding(about_distance(curve[0], curve[-1]), [curve[0], curve[-1]])
            for curve in grouped(rows, *_MODEL_AND_LENS, "n_documents")
            if curve[0]["gold_distance"] is not None
        ],
        rows,
    )  # fmt: skip
