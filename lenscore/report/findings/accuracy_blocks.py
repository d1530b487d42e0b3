"""Blocks on what was asked and how often it is answered: the study, accuracy, controls, kinds of tokens."""

from collections.abc import Callable
from typing import Any

from lenscore.report.findings.columns import (
    CONTROL,
    CURVE,
    DOCUMENTS,
    LENS,
    MEASURE,
    MODEL,
    PLACE,
    cell,
    estimate,
    level,
    mean,
    named,
    plain,
    points,
    share,
    signed,
)
from lenscore.report.findings.finding import Block, Column, Finding, Row
from lenscore.report.findings.results import Results, chosen, grouped
from lenscore.report.findings.sentences import (
    GROUPINGS,
    about_aliases,
    about_control,
    about_depth_by_lens,
    about_groups,
    about_model,
    about_prompts,
    about_right_tokens,
    about_space,
    about_whole_answers,
)
from lenscore.report.names import CONTROLS, FIRST_TOKEN, SCOPES, condition_name, listed, questions
from lenscore.report.page.accuracy_sentences import about_white_space, accuracy_sentences
from lenscore.report.page.design import summary
from lenscore.report.page.sentences import about_coverage

_CURVE = ("model", "context_set", "n_documents")
_CONDITION = Column("contexts", condition_name)
_GROUP = [MODEL, LENS, named("grouping", "by", GROUPINGS), cell("group", "group")]
# In what each measure of the table ``controls`` is written where it is not layers.
_UNITS: dict[str, tuple[Callable[[float], str], Callable[[float], str], str]] = {
    "accuracy": (share, points, "percentage points"),
    "target_logprob": (signed, signed, "nats"),
}


def study(results: Results) -> Block:
    """Return what the study was: its design and its size."""
    config, provenance = results.config(), results.provenance()
    counts, trained = provenance["counts"], set(config["lenses"]) - {"logit"}
    facts = [
        ("questions", f"{counts['questions']}, of {config['questions']} that were asked for"),
        ("contexts", f"{counts['contexts']:,}"),
        ("answer tokens", f"{counts['answer_tokens']:,}"),
        ("layer records", f"{counts['layer_records']:,}"),
        ("seed of the questions", str(config["seed"])),
        *((f"context set {name}", _design(spec)) for name, spec in config["context_sets"].items()),
        *((f"model {row['model']}", f"{row['n_layers']} layers, {row['dtype']}") for row in provenance["models"]),
        *([("trainings of the trained lens", str(config["tuned_lens"]["seeds"]))] if trained else []),
        ("ablation", _ablation(config["ablation"])),
        *(
            (f"jobs of {job['model']}, {job['context_set']}", f"{job['shards']}, {job['device']}; the lens at the last "
             f"layer within {job['difference']:.1e} of the model's logits")
            for job in provenance["extractions"]
        ),
    ]  # fmt: skip
    rows = [{"fact": fact, "value": value} for fact, value in facts]
    return Block(
        [cell("fact", "what"), cell("value", "value")], [Finding(summary(config, counts["questions"]), rows)], rows
    )


def _design(spec: Row) -> str:
    several = {key: listed([str(value).replace("_", " ") for value in spec[key]]) for key in ("documents", "controls")}
    positions = spec["positions"]
    places = listed(list(map(str, positions))) if isinstance(positions, list) else positions
    return (
        f"{several['documents']} documents; gold document at positions: {places}; distractors {spec['distractors']}, "
        f"order {spec['order']}; prompt {spec['prompt']}; controls: {several['controls']}"
    )


def _ablation(spec: Row) -> str:
    if not spec["questions"]:
        return "none"
    among = "all numbers of" if spec["documents"] is None else listed(list(map(str, spec["documents"])))
    return (
        f"first {questions(spec['questions'])}, {among} documents; {listed(spec['replacements'])}; "
        f"{listed([SCOPES[scope] for scope in spec['scopes']])}"
    )


def coverage(results: Results) -> Block:
    """Return what was cut, skipped or left out, and how long the contexts are."""
    rows = results.rows("coverage")
    columns = [
        MODEL, _CONDITION, cell("n_contexts", "contexts"), cell("n_whole", "whole"), cell("n_cut", "cut"),
        cell("n_skipped", "skipped"), cell("n_questions", "questions"),
        cell("n_questions_skipped", "questions skipped"), cell("n_questions_left_out", "questions left out"),
        cell("mean_tokens", "mean tokens", "{:.0f}".format), cell("most_tokens", "most tokens"),
        cell("mean_tokens_cut", "mean tokens cut", "{:.0f}".format),
        cell("n_distractors_with_answer", "distractors with an answer, kept"),
        cell("n_distractors_dropped", "distractors with an answer, dropped"),
    ]  # fmt: skip
    return Block(columns, [Finding(sentence, rows) for sentence in about_coverage(rows)], rows)


def accuracy(results: Results) -> Block:
    """Return how often first tokens are right, by position, against closed book."""
    settings = results.settings()
    rows = _of_one_lens(results.rows("accuracy_curve", measure="first_token"))
    closed_book = chosen(rows, condition="closed_book")
    found = []
    for curve in grouped(chosen(rows, condition="documents"), *_CURVE):
        carried = [*curve, *(row for row in closed_book if _same_contexts(row, curve[0]))]
        found += [Finding(said["words"], carried) for said in accuracy_sentences(carried, settings)]
    interval = level(settings)
    return Block(
        [
            MODEL, _CONDITION, DOCUMENTS, PLACE,
            mean(f"{FIRST_TOKEN[settings['first_token']]} right ({interval})", share),
            estimate(
                "above_closed_book", f"above closed book, percentage points ({interval})", points,
                ("above_low", "above_high"),
            ),
        ],
        found, rows,
    )  # fmt: skip


def right_tokens(results: Results) -> Block:
    """Return which share of the right tokens follows a right beginning."""
    settings = results.settings()
    rows = _of_one_lens(results.rows("accuracy_curve", measure="right_in_first_right", condition="documents"))
    return _by_position(
        [Finding(about_right_tokens(curve, settings), curve) for curve in grouped(rows, *_CURVE)],
        f"share of right tokens ({level(settings)})", "right tokens",
    )  # fmt: skip


def whole_answers(results: Results) -> Block:
    """Return how often every token of an answer is right."""
    rows = _of_one_lens(results.rows("accuracy_curve", measure="whole_answer", condition="documents"))
    return _by_position(
        [Finding(about_whole_answers(curve), curve) for curve in grouped(rows, *_CURVE)],
        f"whole answer right ({level(results.settings())})", "answers",
    )  # fmt: skip


def _by_position(findings: list[Finding], title: str, counted: str) -> Block:
    return Block([MODEL, DOCUMENTS, PLACE, mean(title, share), cell("n_tokens", counted)], findings)


def controls(results: Results) -> Block:
    """Return contexts with documents against each control."""
    primary = results.settings()["primary"]
    table = [row for row in results.rows("controls") if row["difference"] is not None]
    rows = _of_one_lens([row for row in table if row["measure"] in _UNITS])
    rows += [row for row in table if row["measure"] in {primary["measure"], "refinement_depth"}]

    def written(name: str, row: Row) -> str:
        of_mean, of_difference, unit = _UNITS.get(row["measure"], (plain, signed, "layers"))
        if name != "difference":
            return of_mean(row[name])
        if row["low"] is None:
            return f"{of_difference(row[name])} {unit}"
        return f"{of_difference(row[name])} ({of_difference(row['low'])} to {of_difference(row['high'])}) {unit}"

    return Block(
        [
            CURVE, CONTROL, Column("measure", lambda row: row["measure"].replace("_", " ")),
            Column("with the documents", lambda row: written("mean", row)),
            Column("control", lambda row: written("control_mean", row)),
            Column(f"difference ({level(results.settings())})", lambda row: written("difference", row)),
            cell("n_tokens", "answer tokens"),
        ],
        [Finding(about_control(row), [row]) for row in rows],
    )  # fmt: skip


def white_space(results: Results) -> Block:
    """Return how many answer tokens are white space alone."""
    settings = results.settings()
    found, rows = [], []
    for classes in grouped(results.rows("token_classes"), "model", "context_set"):
        counts = ("n_tokens", "n_opening", "n_first_content")
        total = {**classes[0], "token_class": "all", **{name: sum(row[name] for row in classes) for name in counts}}
        rows += [*classes, total]
        space = chosen(classes, token_class="space")
        if space:
            found.append(Finding(about_white_space(classes, settings), [*space, total]))
    columns = [
        MODEL, cell("token_class", "class"), cell("n_tokens", "answer tokens"), cell("n_opening", "very first tokens"),
        cell("n_first_content", "first content tokens"),
    ]  # fmt: skip
    return Block(columns, found, rows)


def groups(results: Results) -> Block:
    """Return depth by frequency, class and place of the token and by kind of answer, over all contexts."""
    interval, table = level(results.settings()), _groups(results)
    rows = [row for row in chosen(table, measure=_group_measure(results, table)) if row["mean"] is not None]
    found = []
    for group in grouped(rows, "model", "context_set", "lens", "grouping"):
        if len(group) > 1:
            least, greatest = (end(group, key=lambda row: row["mean"]) for end in (min, max))
            found.append(Finding(about_groups(least, greatest), [least, greatest]))
    return Block([*_GROUP, MEASURE, mean(f"mean, layers ({interval})"), cell("n_tokens", "tokens")], found, rows)


def groups_right(results: Results) -> Block:
    """Return by the same groups how many tokens are right, and how many right ones are lost again."""
    interval, names = level(results.settings()), {"accuracy": "right", "lost_again": "right, then lost again"}
    rows = [row for row in _groups(results) if row["measure"] in names]
    return Block([*_GROUP, named("measure", "share", names), mean(f"mean ({interval})", share)], rows=rows)


def space_tokens(results: Results) -> Block:
    """Return how often white space is right, and how deep it is, beside the starts of words."""
    interval, table = level(results.settings()), _groups(results)
    shown = _group_measure(results, table)
    found = []
    for of_lens in grouped(chosen(table, grouping="token_class"), "model", "context_set", "lens"):
        right = {row["group"]: row for row in chosen(of_lens, measure="accuracy")}
        depth = {row["group"]: row for row in chosen(of_lens, measure=shown) if row["mean"] is not None}
        if {"space", "word start"} <= set(right) & set(depth):
            space, start = (
                {**depth[group], "accuracy": right[group]["mean"], "n_all": right[group]["n_tokens"]}
                for group in ("space", "word start")
            )
            found.append(Finding(about_space(space, start), [space, start]))
    return Block(
        [
            *_GROUP, cell("accuracy", "right", share), cell("n_all", "tokens"), MEASURE,
            mean(f"mean, layers ({interval})"), cell("n_tokens", "of tokens"),
        ],
        found,
    )  # fmt: skip


def depth_by_lens(results: Results) -> Block:
    """Return the settled layer and the primary measure of the right tokens of all contexts, through every lens."""
    rows = [row for row in results.rows("depth_by_group", n_documents=None, grouping="all") if row["mean"] is not None]
    measures = dict.fromkeys(["settled_layer", _group_measure(results, rows)])
    found = []
    for measure in measures:
        for lenses in grouped(chosen(rows, measure=measure), "model", "context_set"):
            found.append(Finding(about_depth_by_lens(lenses), lenses))
    interval = level(results.settings())
    return Block([MODEL, LENS, MEASURE, mean(f"mean, layers ({interval})"), cell("n_tokens", "tokens")], found)


def _groups(results: Results) -> list[dict[str, Any]]:
    """Return the rows of ``depth_by_group`` over all contexts."""
    return [row for row in results.rows("depth_by_group", n_documents=None) if row["grouping"] in GROUPINGS]


def _group_measure(results: Results, table: list[dict[str, Any]]) -> str:
    """Return the primary measure if groups have it, else refinement depth."""
    measure: str = results.settings()["primary"]["measure"]
    return measure if any(row["measure"] == measure for row in table) else "refinement_depth"


def models(results: Results) -> Block:
    """Return how large the models are, and how often they are right with the gold document alone."""
    oracle = _of_one_lens(results.rows("accuracy_curve", measure="whole_answer", condition="oracle"))
    sizes = {row["model"]: row for row in results.provenance()["models"]}
    rows = [{**{key: sizes[row["model"]][key] for key in ("n_layers", "hidden_size")}, **row} for row in oracle]
    return Block(
        [
            MODEL, cell("n_layers", "blocks"), cell("hidden_size", "dimensions"), named("condition", "in", CONTROLS),
            mean(f"whole answer right ({level(results.settings())})", share),
        ],
        [Finding(about_model(row), [row]) for row in rows],
    )  # fmt: skip


def aliases(results: Results) -> Block:
    """Return how many questions have more accepted answers than one."""
    row = results.aliases()
    columns = [
        cell("n_questions", "questions"), cell("n_several", "with several accepted answers"),
        cell("mean_answers", "accepted answers, mean", plain), cell("most", "most"),
    ]  # fmt: skip
    return Block(columns, [Finding(about_aliases(row), [row])])


def prompts(results: Results) -> Block:
    """Return the prompts that the study's contexts are written in."""
    named_prompts = sorted({str(spec["prompt"]) for spec in results.config()["context_sets"].values()})
    row = {"n_prompts": len(named_prompts), "prompts": listed(named_prompts)}
    return Block([cell("n_prompts", "prompts"), cell("prompts", "names")], [Finding(about_prompts(row), [row])])


def _of_one_lens(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the first lens: what the last layer does is the same through every lens."""
    return chosen(rows, lens=rows[0]["lens"]) if rows else []


def _same_contexts(row: Row, other: Row) -> bool:
    return all(row[key] == other[key] for key in ("model", "context_set"))
