"""Make a Markdown table of the benchmark's JSON lines: ``python -m benchmarks.lens.table < lines.jsonl``."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

_HEADER = (
    "| documents × positions | contestant | tokens/s (min–max) | lenscore's speed over its | peak memory, MB "
    "| above the weights, MB | same top-1 | log-probabilities within |"
)
_RULE = "|---|---|--:|--:|--:|--:|--:|--:|"


def table(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table, and of what is to be said below it."""
    by_kind: dict[str, list[dict[str, Any]]] = {"contestant": [], "workload": [], "ratios": [], "machine": []}
    for line in lines:
        by_kind[line["kind"]].append(line)
    ratios = {line["workload"]: line["times_as_fast_as"].get("lenscore", {}) for line in by_kind["ratios"]}
    yield _HEADER
    yield _RULE
    for line in by_kind["contestant"]:
        yield _row(line, ratios[line["workload"]].get(line["contestant"]))
    yield ""
    for line in by_kind["workload"]:
        shares = [
            other["share_of_float32_products"]["median"]
            for other in by_kind["contestant"]
            if other["workload"] == line["workload"] and other["contestant"] == "lenscore"
        ]
        yield _about_workload(line, shares)
    yield ""
    for line in by_kind["machine"]:
        yield _about_machine(line)


def _row(line: dict[str, Any], ratio: dict[str, float] | None) -> str:
    speed, agreement = line["tokens_per_second"], line["agreement"]
    cells = [
        _words(line["workload"]),
        line["contestant"],
        f"{speed['median']:,.0f} ({speed['min']:,.0f}–{speed['max']:,.0f})",
        f"{ratio['median']:.1f} ({ratio['min']:.1f}–{ratio['max']:.1f})" if ratio else "",
        f"{line['peak_mb']:,.0f}",
        f"{line['peak_above_weights_mb']:,.0f}",
        f"{agreement['top1_agreement']:.2%}" if agreement else "reference",
        f"{agreement['largest_difference']:.1e}" if agreement else "",
    ]
    return f"| {' | '.join(cells)} |"


def _about_workload(line: dict[str, Any], shares: list[float]) -> str:
    text = (
        f"- {_words(line['workload'])}: questions {line['questions']}, contexts {line['contexts']}, tokens "
        f"{line['tokens']:,}, {line['unique_tokens']:,} of them unique; {line['engine_flop'] / 1e9:,.0f} GFLOP"
    )
    for share in shares:
        rate = line["product_flop_per_second"]["float32"]["median"]
        text += f", done by lenscore at {share:.0%} of the float32 products' {rate / 1e9:,.0f} GFLOP/s"
    return f"{text}."


def _about_machine(line: dict[str, Any]) -> str:
    rates = ", ".join(
        f"{precision} {rate['median'] / 1e9:,.0f} (at best {rate['max'] / 1e9:,.0f}) GFLOP/s"
        for precision, rate in line["product_flop_per_second"].items()
    )
    return (
        f"{line['processor']} ({', '.join(line['flags'])}), {line['threads']} of {line['cores']} cores; matrix "
        f"products: {rates}. Python {line['python']}, torch {line['torch']}, transformers {line['transformers']}."
    )


def _words(workload: str) -> str:
    return workload.replace(",", ", ").replace("x", " × ")


if __name__ == "__main__":
    print("\n".join(table(map(json.loads, sys.stdin))))
