"""The results of a check: one JSON file, and the same as Markdown tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import Line
from benchmarks.gpu.runner import Outcome
from lenscore.files import write_json, written_whole

NO_GPU = (
    "This check ran on a CPU in the GPU's place: it shows that the check itself works, and proves nothing about a GPU."
)


@dataclass(frozen=True)
class Check:
    """What a check is about.

    Attributes:
        device: ``cuda`` or ``cpu``.
        started: date and time.
        seconds: time limit of the whole.
        wheels: brought along, and used.
    """

    device: str
    started: str
    seconds: float
    wheels: Sequence[str]


def write_report(folder: Path, check: Check, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Write ``gpu-check.json`` and ``gpu-check.md``, each whole.

    Args:
        folder: where to.
        check: what it is about.
        outcomes: of the parts so far.
        seconds: since the start.
    """
    parts = [{**asdict(outcome), "failed": outcome.failed} for outcome in outcomes]
    write_json(folder / "gpu-check.json", {**asdict(check), "seconds_taken": seconds, "parts": parts})
    with written_whole(folder / "gpu-check.md") as beside:
        beside.write_text("\n".join(_markdown(check, outcomes, seconds)) + "\n", encoding="utf-8")


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Return in a sentence whether something failed."""
    failed = [outcome.part for outcome in outcomes if outcome.failed]
    late = [outcome.part for outcome in outcomes if outcome.status == "out of time"]
    said = f"Failed: {', '.join(failed)}." if failed else "Nothing failed."
    return f"{said} Out of time: {', '.join(late)}." if late else said


def _markdown(check: Check, outcomes: Sequence[Outcome], seconds: float) -> Iterator[str]:
    yield "# GPU check"
    yield ""
    if check.device != "cuda":
        yield from (NO_GPU, "")
    yield f"{check.started}, {seconds:.0f} of at most {check.seconds:.0f} s. {verdict(outcomes)}"
    yield f"Wheels that were brought along and used: {', '.join(check.wheels) or 'none'}."
    yield ""
    yield from _table(_PARTS, [asdict(outcome) | {"failed": outcome.failed} for outcome in outcomes])
    for outcome in outcomes:
        yield from ("", f"## {outcome.part}", "")
        if outcome.error:
            yield from (f"**Crashed:** `{outcome.error}`", "")
        for kind, columns in _COLUMNS.items():
            if lines := [line for line in outcome.lines if line["kind"] == kind]:
                yield from _table(columns, lines)
                yield ""
        for line in outcome.lines:
            if line["kind"] == "machine":
                yield from (f"- {name.replace('_', ' ')}: {value}" for name, value in line.items() if name != "kind")


@dataclass(frozen=True)
class _Column:
    """A column of a table: its header, the key of its values, and how one is written."""

    header: str
    key: str
    written: Callable[[Any], str] = str


def _table(columns: Iterable[_Column], lines: Sequence[Line]) -> Iterator[str]:
    """Yield a table's lines; columns that no line has are left out."""
    shown = [column for column in columns if any(line.get(column.key) is not None for line in lines)]
    yield f"| {' | '.join(column.header for column in shown)} |"
    yield f"|{'|'.join('---' if column.written is str else '--:' for column in shown)}|"
    for line in lines:
        values = (line.get(column.key) for column in shown)
        cells = ("" if value is None else column.written(value) for column, value in zip(shown, values, strict=True))
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _tenths(value: float) -> str:
    return f"{value:,.1f}"


def _hundredths(value: float) -> str:
    return f"{value:,.2f}"


def _small(value: float) -> str:
    return f"{value:.1e}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _yes(value: bool) -> str:
    return "yes" if value else "**NO**"


def _tera(value: float) -> str:
    return f"{value / 1e12:,.2f}"


_AGREEMENT = (
    _Column("rows", "rows", _whole),
    _Column("same top-1", "same_top1", _whole),
    _Column("ties", "ties", _whole),
    _Column("other top-1", "other_top1", _whole),
    _Column("largest difference, nats", "largest_difference", _small),
    _Column("mean", "mean_difference", _small),
    _Column("allowed", "allowed", _small),
    _Column("holds", "holds", _yes),
)
_PARTS = (
    _Column("part", "part"),
    _Column("status", "status"),
    _Column("seconds", "seconds", _tenths),
    _Column("limit", "limit", _tenths),
    _Column("failed", "failed", lambda failed: "**yes**" if failed else "no"),
)
_WORK = (_Column("model", "model"), _Column("dtype", "dtype"), _Column("documents × positions", "workload"))
_COLUMNS: dict[str, tuple[_Column, ...]] = {
    "rate": (_Column("what", "what"), _Column("10¹² a second", "per_second", _tera), _Column("of", "unit")),
    "parity": (_Column("family", "family"), _Column("case", "case"), _Column("prefixes", "sharing"), *_AGREEMENT),
    "records": (
        _Column("weights", "weights"),
        _Column("reference", "reference"),
        _Column("attention", "attention"),
        _Column("prefixes", "sharing"),
        *_AGREEMENT,
        _Column("entropy differs by", "entropy_difference", _small),
        _Column("KL", "kl_difference", _small),
        _Column("JSD", "jsd_difference", _small),
        _Column("other ranks", "other_ranks", _whole),
    ),
    "event": (_Column("event", "case"), _Column("", "detail"), *_AGREEMENT),
    "speed": (
        *_WORK,
        _Column("contestant", "contestant"),
        _Column("contexts", "contexts", _whole),
        _Column("of them run", "contexts_run", _whole),
        _Column("seconds", "seconds", _hundredths),
        _Column("tokens/s", "tokens_per_second", _whole),
        _Column("unique tokens/s", "unique_tokens_per_second", _whole),
        _Column("of the product rate", "share_of_product_rate", _share),
        _Column("lens", "lens_share", _share),
        _Column("peak, GB", "peak_gb", _tenths),
        _Column("above weights, GB", "peak_above_weights_gb", _tenths),
        _Column("prefixes", "sharing"),
        *_AGREEMENT,
    ),
    "aim": (
        *_WORK,
        _Column("contestant", "contestant"),
        _Column("what", "what"),
        _Column("measured", "measured", _hundredths),
        _Column("aim", "aim"),
        _Column("met", "met", _yes),
    ),
    "fault": (*_WORK, _Column("case", "case"), _Column("error", "error"), _Column("holds", "holds", _yes)),
}
