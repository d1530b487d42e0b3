"""A grid of layers and tokens, drawn as HTML and for terminals."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.style import Style
from rich.table import Table
from rich.text import Text

from lenscore.report.charts.token_text import visible_text

_LONGEST = 14  # characters of a token in a cell
# From no probability to certainty: white to the blue of the report's charts.
_PALE, _FULL = (255, 255, 255), (31, 119, 180)
_DARK_FROM = 0.55  # the probability from which on the text is white
_HEADS = {"prompt": "", "answer": "answer: ", "own": "the model's own: "}


@dataclass(frozen=True)
class Cell:
    """One layer at one token.

    Attributes:
        text: the most probable token.
        probability: of the token that the column is about; it gives the colour.
        right: the most probable token is the column's.
        said: all numbers, in words.
    """

    text: str
    probability: float
    right: bool
    said: str


@dataclass(frozen=True)
class Grid:
    """Rows of cells, with their heads.

    Attributes:
        title: what is drawn.
        columns: the tokens.
        parts: of each token what it is a part of: prompt, answer, own.
        layers: of each row its layer.
        rows: the cells.
    """

    title: str
    columns: Sequence[str]
    parts: Sequence[str]
    layers: Sequence[int]
    rows: Sequence[Sequence[Cell]]


def html_of(grid: Grid) -> str:
    """Return the grid as HTML that needs nothing else: numbers are told on hover, and to screen readers."""
    heads = "".join(
        f'<th scope="col" title="{escape(_HEADS[part])}{escape(repr(token))}">{escape(_short(token))}</th>'
        for token, part in zip(grid.columns, grid.parts, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{layer}</th>{"".join(map(_html_cell, cells))}</tr>'
        for layer, cells in zip(grid.layers, grid.rows, strict=True)
    )
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:12px">'
        f'<caption style="text-align:left">{escape(grid.title)}. Colour: the probability of the token above; '
        "framed where it is the most probable.</caption>"
        f'<thead><tr><th scope="col">layer</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def rich_of(grid: Grid) -> Table:
    """Return the grid for a terminal: underlined and bold where a layer's most probable token is the column's."""
    table = Table(
        title=f"{grid.title}; colour: the probability of the token above", title_justify="left", pad_edge=False
    )
    table.add_column("layer", justify="right")
    for token in grid.columns:
        table.add_column(Text(_short(token)), no_wrap=True)
    for layer, cells in zip(grid.layers, grid.rows, strict=True):
        table.add_row(str(layer), *map(_rich_cell, cells))
    return table


def _html_cell(cell: Cell) -> str:
    red, green, blue = _colour(cell.probability)
    text = "#fff" if cell.probability > _DARK_FROM else "#111"
    frame = "2px solid #d62728" if cell.right else "1px solid #ddd"
    style = f"background:rgb({red},{green},{blue});color:{text};border:{frame};padding:1px 4px;white-space:pre"
    return f'<td style="{style}" title="{escape(cell.said)}">{escape(_short(cell.text))}</td>'


def _rich_cell(cell: Cell) -> Text:
    red, green, blue = _colour(cell.probability)
    text = "white" if cell.probability > _DARK_FROM else "black"
    style = Style(color=text, bgcolor=f"rgb({red},{green},{blue})", bold=cell.right, underline=cell.right)
    return Text(_short(cell.text), style=style)


def _colour(probability: float) -> tuple[int, int, int]:
    red, green, blue = (round(pale + (full - pale) * probability) for pale, full in zip(_PALE, _FULL, strict=True))
    return red, green, blue


def _short(token: str) -> str:
    text = visible_text(token)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
