"""Blocks on layers: where a lens points, what a block's ablation costs, how far a lens is from the model."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lenscore.analysis.stated import STATED_CAUSE, STATED_OBSERVATIONS
from lenscore.report.findings.columns import (
    LENS,
    MODEL,
    SCOPE,
    cause_columns,
    cell,
    estimate,
    level,
    plain,
    points,
    share,
    signed,
)
from lenscore.report.findings.finding import Block, Column, Finding, Row
from lenscore.report.findings.results import Results, chosen, grouped
from lenscore.report.findings.sentences import about_block, about_costs, about_entropy, about_frequent
from lenscore.report.names import SCOPES
from lenscore.report.page.lens_sentences import about_divergence, about_overlap, about_seeds
from lenscore.report.page.sentences import about_cause, about_layers
from lenscore.report.page.tables import records

# How many blocks the sentences on costs are on.
_COSTLIEST = 5
_MODEL_AND_LENS = ("model", "context_set", "lens")


def busiest_layers(results: Results) -> Block:
    """Return the layers at which a lens shows most."""
    names = {"share_first_right": "first right", "share_settled": "settled", "mean_rise": "rise (nats)"}

    def value(row: Row) -> str:
        return f"{row['value']:+.2f}" if row["measure"] == "mean_rise" else share(row["value"])

    return Block(
        [
            MODEL, LENS, Column("what", lambda row: names[row["measure"]]), cell("layer", "layer"),
            cell("n_layers", "of"), Column("value", value),
        ],
        [
            Finding(about_layers(found), [
                {**found, "layer": layer, "value": value}
                for layer, value in zip(found["layers"], found["values"], strict=True)
            ])
            for found in results.findings()["busiest_layers"]
        ],
    )  # fmt: skip


def causes(results: Results) -> Block:
    """Return whether each lens points to the blocks whose ablation costs most."""
    settings = results.settings()
    rows = [
        row for row in results.rows("lens_against_cause", cause=STATED_CAUSE)
        if row["observation"] in STATED_OBSERVATIONS
    ]  # fmt: skip
    return Block(cause_columns(settings), [Finding(about_cause(row, settings), [row]) for row in rows])


def costs(results: Results) -> Block:
    """Return the blocks that cost most, at each part of the prompt."""
    found = []
    for way in grouped(_effects(results), "model", "context_set", "scope", "replacement"):
        costliest = _costliest(way)
        if costliest:
            found.append(Finding(about_costs(costliest), costliest))
    return Block(_cost_columns(results), found)


def costs_by_scope(results: Results) -> Block:
    """Return, of the blocks that cost most at every token, what each costs at each part of the prompt."""
    found = []
    for way in grouped(_effects(results), "model", "context_set", "replacement"):
        if len({row["scope"] for row in way}) > 1:
            for costly in _costliest(chosen(way, scope="all")):
                of_block = chosen(way, block=costly["block"])
                found.append(Finding(about_block(of_block), of_block))
    return Block(_cost_columns(results), found)


def _effects(results: Results) -> list[dict[str, Any]]:
    """Return what each block costs, over all ablated contexts."""
    return results.rows("block_effects", region="all", n_documents=None)


def _costliest(rows: Sequence[Row]) -> list[Row]:
    costly = [row for row in rows if row["logprob_drop"] > 0]
    return sorted(costly, key=lambda row: -row["logprob_drop"])[:_COSTLIEST]


def _cost_columns(results: Results) -> list[Column]:
    interval = level(results.settings())
    return [
        MODEL, SCOPE, cell("replacement", "replacement"), cell("block", "block"),
        estimate("logprob_drop", f"log p lost, nats ({interval})"),
        estimate("accuracy_drop", f"accuracy lost, percentage points ({interval})", points),
        cell("mean_kl", "KL from the intact model, nats", plain), cell("n_questions", "questions"),
    ]  # fmt: skip


def all_layers(results: Results) -> Block:
    """Return what each lens shows at every layer, beside what its block costs at each part of the prompt."""
    shown = results.rows("essential_layers", region="all", n_documents=None)
    cost = _effects(results)
    lenses = list(dict.fromkeys(row["lens"] for row in shown))
    ways = list(dict.fromkeys((row["scope"], row["replacement"]) for row in cost))
    columns = [MODEL, cell("layer", "layer, block")]
    for lens in lenses:
        columns += [
            cell(f"{lens} share_first_right", f"{lens}: first right", "{:.1%}".format),
            cell(f"{lens} share_settled", "settled", "{:.1%}".format),
            cell(f"{lens} mean_rise", "rise (nats)", signed),
        ]
    columns += [
        estimate(f"{scope} {replacement}", f"log p lost, {replacement} {SCOPES[scope]} (nats)")
        for scope, replacement in ways
    ]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in shown:
        key = (row["model"], row["context_set"], row["layer"])
        values = {f"{row['lens']} {name}": row[name] for name in ("share_first_right", "share_settled", "mean_rise")}
        rows.setdefault(key, {"model": key[0], "context_set": key[1], "layer": key[2]}).update(values)
    for row in cost:
        name = f"{row['scope']} {row['replacement']}"
        values = {f"{name}{end}": row[f"logprob_drop{end}"] for end in ("", "_low", "_high")}
        rows.get((row["model"], row["context_set"], row["block"]), {}).update(values)
    return Block(columns, rows=list(rows.values()))


def lens_error(results: Results) -> Block:
    """Return how far each lens is from the model, at the answers and on held-out documents, and over seeds."""
    table = results.table("lens_divergence")
    found, rows = [], []
    for (model, lens), of_lens in table.groupby(["model", "lens"]):
        inner = of_lens[of_lens["layer"] < of_lens["layer"].max()]
        own = _errors_by_layer(str(model), str(lens), inner)
        rows += own
        words = [about_divergence(str(model), str(lens), inner), about_seeds(str(model), str(lens), inner)]
        found += [Finding(sentence, _outstanding(own)) for sentence in words if sentence]
    interval = level(results.settings())
    return Block(
        [
            cell("model", "model"), LENS, cell("layer", "layers"),
            estimate("kl", f"KL at the answers, nats ({interval})", plain, ("low", "high")),
            cell("held_out", "KL on held-out documents, nats", plain),
            cell("sd_seeds", "standard deviation over seeds, nats", "{:.3f}".format), cell("n_seeds", "seeds"),
        ],
        found, rows,
    )  # fmt: skip


def _errors_by_layer(model: str, lens: str, inner: pd.DataFrame) -> list[Row]:
    """Return a row a layer, with its errors at the answers and on held-out documents, and one of their means."""
    rows: dict[Any, dict[str, Any]] = {}
    for row in records(inner.sort_values("layer")):
        own = rows.setdefault(row["layer"], {"model": model, "lens": lens, "layer": row["layer"]})
        if row["measured_on"] == "answers":
            own |= {key: row[key] for key in ("kl", "low", "high")}
        else:
            own |= {"held_out": row["kl"], "sd_seeds": row["sd_seeds"], "n_seeds": row["n_seeds"]}
    layers = f"mean of {inner['layer'].min()} to {inner['layer'].max()}"
    mean = inner.groupby("measured_on")["kl"].mean()
    over_all = {
        "model": model, "lens": lens, "layer": layers, "kl": mean.get("answers"), "held_out": mean.get("held_out"),
    }  # fmt: skip
    return [*rows.values(), over_all]


def _outstanding(errors: list[Row]) -> list[Row]:
    """Return the row of the means, and those at which answers and held-out documents, or seeds, differ most."""
    *layers, over_all = errors
    both = [row for row in layers if row.get("kl") is not None and row.get("held_out") is not None]
    seeds = [row for row in layers if row.get("sd_seeds") is not None]
    furthest = [max(both, key=lambda row: abs(row["kl"] - row["held_out"]))] if both else []
    return [*furthest, *([max(seeds, key=lambda row: row["sd_seeds"])] if seeds else []), over_all]


def lens_error_in_short(results: Results) -> Block:
    """Return the sentences of :func:`lens_error` with the layers that they name alone."""
    whole = lens_error(results)
    return Block(whole.columns, whole.findings)


def overlap(results: Results) -> Block:
    """Return how many of the contexts' distractors a lens was trained on."""

    def counted(row: Row, *names: str) -> str:
        count = sum(row[name] for name in names)
        return f"{count:,} ({count / row['n_places']:.0%})"

    return Block(
        [
            MODEL, LENS, Column("places of distractors", lambda row: f"{row['n_places']:,}"),
            Column("trained on", lambda row: counted(row, "n_trained_on")),
            Column("stopped by or measured on", lambda row: counted(row, "n_stopped_by", "n_measured_on")),
        ],
        [Finding(about_overlap(row), [row]) for row in results.rows("lens_overlap")],
    )  # fmt: skip


def entropy(results: Results) -> Block:
    """Return how uncertain each layer's distribution is."""
    rows = results.rows("entropy_by_layer", n_documents=None)
    return Block(
        [
            MODEL, LENS, cell("layer", "layer"),
            estimate("entropy", f"entropy, nats ({level(results.settings())})", plain, ("low", "high")),
        ],
        [_extreme(about_entropy, layers, "entropy") for layers in grouped(rows, *_MODEL_AND_LENS)],
        rows,
    )  # fmt: skip


def frequent_top1(results: Results) -> Block:
    """Return how often each layer's top choice is a frequent token."""
    rows = results.rows("frequent_top1", n_documents=None)
    return Block(
        [
            MODEL, LENS, cell("most", "among the most frequent"), cell("layer", "layer"),
            estimate("share", f"share of the answer tokens ({level(results.settings())})", share, ("low", "high")),
        ],
        [_extreme(about_frequent, layers, "share") for layers in grouped(rows, *_MODEL_AND_LENS, "most")],
    )  # fmt: skip


def _extreme(write: Callable[[Row, Row], str], layers: list[Row], name: str) -> Finding:
    """Return the sentence on the layer with the greatest value and the last layer."""
    greatest, last = max(layers, key=lambda row: row[name]), max(layers, key=lambda row: row["layer"])
    return Finding(write(greatest, last), [greatest, last])
