"""The findings: no sentence without the rows that carry its numbers, and no number that is typed by hand."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lenscore.report.contents import CHARTS
from lenscore.report.findings import __main__ as command
from lenscore.report.findings.columns import plain, shape_columns, signed
from lenscore.report.findings.documents import BLOCKS, DOCUMENTS, TEMPLATES, rendered, write_documents
from lenscore.report.findings.finding import (
    NOTHING,
    Block,
    Column,
    Finding,
    UnsupportedNumberError,
    check_numbers,
)
from lenscore.report.findings.results import Results
from lenscore.report.page.sentences import about_shape
from tests.conftest import ROOT
from tests.test_report import RULES, SHAPE

pytestmark = pytest.mark.slow

# Of the made study, which has no oracle contexts, no white space, and no curves with different verdicts.
EMPTY_IN_MADE = {"populations", "models", "space_tokens"}
# Blocks that are tables alone.
WITHOUT_SENTENCES = {"means", "all_layers", "groups_right"}
# A chart's file, a footnote, what is written by hand.
BY_HAND = "## What changed since the last edition"


def numbers(text: str) -> set[str]:
    """Return the numbers of a text, told apart by their surroundings; written without the module's own pattern."""
    words = re.split(r"[\s()|:;“”–±]+|,(?!\d)", re.sub(r"\]\([^)]*\)", "]", text))
    stripped = (word.rstrip(".,").replace(",", "") for word in words)
    return {word for word in stripped if re.fullmatch(r"[+−]?\d+(\.\d+)?%?", word)}


def statements(text: str) -> Iterator[tuple[str, str]]:
    """Yield each numbered sentence of a document with its own rows and the head of its table, as one text."""
    pending: dict[str, str] = {}
    head = ""
    rows: dict[str, list[str]] = {}
    for line in [*text.splitlines(), ""]:
        numbered = re.match(r"(\d+)\. (.*)", line)
        if numbered and not head:
            pending[numbered[1]] = numbered[2]
        elif line.startswith("|") and pending:
            first, _, rest = line.strip("| ").partition(" | ")
            if not head:
                assert first == "sentence", line
                head = rest
            for place in first.split(", "):
                rows.setdefault(place, []).append(rest)
        elif head:
            assert set(pending) <= set(rows), "a sentence that no row carries"
            yield from ((sentence, " | ".join([head, *rows[place]])) for place, sentence in pending.items())
            pending, head, rows = {}, "", {}
    assert not pending, "sentences without a table"


def prose(text: str) -> str:
    """Return what is neither a numbered sentence, a table nor a heading, up to what is written by hand."""
    lines = text.partition(BY_HAND)[0].splitlines()
    return "\n".join(line for line in lines if not re.match(r"\d+\. |\||#|<!--", line))


def unsupported(text: str) -> list[tuple[str, set[str]]]:
    """Return the sentences of a document with numbers that their own rows do not have, with or without a sign."""
    found = []
    for sentence, rows in statements(text.partition(BY_HAND)[0]):
        carried = numbers(rows)
        carried |= {number.lstrip("+−") for number in carried} | {number.removeprefix("+") for number in carried}
        carried |= {f"+{number}" for number in carried if number[0].isdigit() and f"−{number}" not in carried}
        if numbers(sentence) - carried:
            found.append((sentence, numbers(sentence) - carried))
    return found


@pytest.mark.parametrize(
    ("sentence", "row"),
    [
        ("It lies 0.20 layers above the ends (+0.04 to +0.35).", "+0.20 (+0.04 to +0.35)"),
        ("It lies 0.20 layers below the ends.", "−0.20"),
        ("of 1,234 places", "1234"),
        ("+3 and −4 percentage points", "3 | −4"),
        ("rank 101–1,000", "rank 101–1,000"),
        ("smollm2-135m, gpt2 and w7 have no number", ""),
        ("p < 0.001", "< 0.001"),
    ],
)
def test_a_number_that_a_row_has_is_supported(sentence: str, row: str) -> None:
    check_numbers(sentence, row.split(" | "))


@pytest.mark.parametrize(
    ("sentence", "row", "missing"),
    [
        ("by 0.20 layers", "+0.2", "0.20"),
        ("by +0.20 layers", "−0.20", "+0.20"),
        ("by −0.20 layers", "0.20", "−0.20"),
        ("right in 15%", "0.15", "15%"),
        ("in 15 of 20", "15", "20"),
        ("layers 12 and 17.", "120 | 1.7 | 12", "17"),
        ("smollm2-135m has 135", "smollm2-135m", "135"),
    ],
)
def test_a_number_that_no_row_has_is_refused(sentence: str, row: str, missing: str) -> None:
    with pytest.raises(UnsupportedNumberError, match=f"^{re.escape(missing)}: in none of the rows"):
        check_numbers(sentence, row.split(" | "))


WRITTEN = [Column("layer", lambda row: str(row["layer"])), Column("nats | lost", lambda row: signed(row["lost"])),
           Column("never", lambda _: "")]  # fmt: skip


def test_a_block_names_the_sentences_that_a_row_carries() -> None:
    twelve, thirteen, none = ({"layer": layer, "lost": lost} for layer, lost in ((12, 1.3), (13, -0.004), (14, 2.0)))
    both = Finding("Layers 12 and 13 differ.", [twelve, thirteen])
    block = Block(WRITTEN, [Finding("Layer 12 costs 1.30 nats.", [twelve]), both], [twelve, thirteen, none])
    assert block.markdown() == (
        "1. Layer 12 costs 1.30 nats.\n2. Layers 12 and 13 differ.\n\n"
        "| sentence | layer | nats \\| lost |\n| --- | --- | --- |\n"
        "| 1, 2 | 12 | +1.30 |\n| 2 | 13 | +0.00 |\n|  | 14 | +2.00 |"
    )
    assert Block(WRITTEN).markdown() == NOTHING
    # Layer 14 is in the table, but not in a row of the sentence's own.
    with pytest.raises(UnsupportedNumberError, match="14"):
        Block(WRITTEN, [Finding("Layer 14 costs.", [twelve])], [twelve, none]).markdown()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"supporting_tests": 1, "size": "within"},
        {"form": "U", "middle": -0.8, "supporting_tests": 2, "size": "beyond"},
        {"form": "falling", "slope": -1.3},
        {"form": "recency step down"},
        {"form": "primacy step up", "first": 0.9},
        {"verdict": "flat"},
        {"verdict": "undecided"},
        {"verdict": "undecided", "middle": None, "reason": "2 questions whose values differ, fewer than 10"},
    ],
)
def test_every_verdict_stands_beside_its_numbers(changes: dict[str, Any]) -> None:
    row = {**SHAPE, **changes}
    block = Block(shape_columns(RULES), [Finding(about_shape(row, RULES), [row])])
    ((sentence, _),) = statements(block.markdown())
    assert sentence == about_shape(row, RULES)
    assert not unsupported(block.markdown())
    # The same sentence beside another study's row.
    other = {**row, "lowest": 1.01}
    with pytest.raises(UnsupportedNumberError, match=r"^1\.00"):
        Block(shape_columns(RULES), [Finding(about_shape(row, RULES), [other])]).markdown()


@pytest.fixture(scope="module")
def made(page_file: Path) -> Results:
    study = page_file.parent.parent
    return Results(study / "study.duckdb", study / "tables")


def changed(made: Results, folder: Path, changes: dict[str, Callable[[pd.DataFrame], pd.DataFrame]]) -> Results:
    """Return the results with some tables changed."""
    shutil.copytree(made.tables, folder)
    for name, change in changes.items():
        change(pd.read_parquet(folder / f"{name}.parquet")).to_parquet(folder / f"{name}.parquet")
    return Results(made.database, folder)


def test_each_sentence_of_the_made_study_has_its_numbers_in_its_rows(made: Results) -> None:
    for name in DOCUMENTS:
        text = rendered(name, made)
        assert len(list(statements(text))) > 15
        assert not unsupported(text)
    empty = {name for name, block in BLOCKS.items() if block(made).markdown() == NOTHING}
    assert empty == EMPTY_IN_MADE
    without = {name for name, block in BLOCKS.items() if not block(made).findings}
    assert without - EMPTY_IN_MADE == WITHOUT_SENTENCES | {"coverage", "white_space"}


def rich_shapes(shapes: pd.DataFrame) -> pd.DataFrame:
    """Return the shapes with a verdict of each kind on the primary curves."""
    forms = ["inverted U", "falling", "recency step down", "primacy step up"]
    rows = shapes.astype({"supporting_tests": object}).to_dict("records")
    kept = ("model", "context_set", "lens", "n_documents", "measure", "tokens", "population")
    for form, row in zip(forms, [row for row in rows if row["primary"]], strict=True):
        size, supporting = ("open", 2) if form == "inverted U" else ("beyond", None)
        row.update({key: value for key, value in SHAPE.items() if key not in kept})
        row.update(form=form, size=size, verdict=f"{form}, size {size}", supporting_tests=supporting)
    return pd.DataFrame(rows).astype({"supporting_tests": "Int64"})


def with_oracle(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies with an oracle, and places where the model is not shown to be above closed book."""
    oracle = accuracy[accuracy["condition"] == "closed_book"].assign(condition="oracle", mean=0.226)
    below = accuracy.assign(above_low=accuracy["above_low"].where(accuracy["gold_index"] != 1, -0.02))
    return pd.concat([below, oracle], ignore_index=True)


RICH: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "shapes": rich_shapes,
    "accuracy_curve": with_oracle,
    "token_classes": lambda table: pd.concat(
        [table, table[table["token_class"] == "word start"].assign(token_class="space", n_opening=36)]
    ),
    "depth_by_group": lambda table: table.assign(group=table["group"].replace("word part", "space")),
    "coverage": lambda table: table.assign(n_cut=5, mean_tokens_cut=41.2, n_skipped=3, n_questions_skipped=1,
                                           n_questions_left_out=2, n_distractors_with_answer=4),
    "lens_divergence": lambda table: table.assign(
        sd_seeds=table["layer"].where(table["measured_on"] == "held_out") / 70, n_seeds=3
    ),
    "lens_against_cause": lambda table: table.assign(p_corrected=[0.0004, 0.03, 1.0] * (len(table) // 3)),
    "depth_decomposition": lambda table: table.assign(within=table["within"].where(table["n_documents"] == 3)),
    "lens_overlap": lambda table: table.assign(n_places=12_345, n_trained_on=1_234, n_stopped_by=0, n_measured_on=2),
}  # fmt: skip


@pytest.fixture(scope="module")
def rich(made: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The made study with all that a sentence can be on."""
    results = changed(made, tmp_path_factory.mktemp("rich") / "tables", RICH)
    found = made.findings()
    ways = [("refinement_depth", "all", "each_position"), ("refinement_depth", "content", "answer_right")]
    curve = {key: SHAPE[key] for key in ("model", "context_set", "lens", "n_documents", "smallest_effect")}
    found["disagreements"] = [
        {**curve, "verdicts": [
            {"verdict": "flat", "form": "none shown", "size": "within", "ways": ways * 3},
            {"verdict": "falling, size open", "form": "falling", "size": "open", "ways": ways},
        ]},
    ]  # fmt: skip
    (results.tables / "findings.json").write_text(json.dumps(found))
    return results


def test_each_kind_of_sentence_has_its_numbers_in_its_rows(rich: Results) -> None:
    for name, block in BLOCKS.items():
        made_of = block(rich)
        assert bool(made_of.findings) == (name not in WITHOUT_SENTENCES), name
        assert not unsupported(made_of.markdown())
    words = " ".join(finding.sentence for block in BLOCKS.values() for finding in block(rich).findings)
    for said in (
        "are beyond 1.96 standard errors", "a recency step", "not shown to turn", "6 of 8 of them",
        "were skipped because", "not shown to be right more often than without documents", "over 3 trainings",
        "The lens points", "so it cannot be split", "1,234 (10%) hold a passage", "of the very first token of 36 of",
    ):  # fmt: skip
        assert said in words, said


def raised(*columns: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**{column: table[column] + 1.25 for column in columns})


@pytest.mark.parametrize(
    ("block", "table", "change"),
    [
        ("curves", "shapes", raised("lowest")),
        ("headline", "shapes", lambda table: table.assign(verdict="flat", smallest_effect=0.75)),
        ("primary_measure_by_population", "shapes", lambda table: table.assign(verdict="flat")),
        ("divergence_curves", "shapes", raised("highest")),
        ("ways", "specification_curve", raised("median")),
        ("decomposition", "depth_decomposition", raised("within")),
        ("distance", "refinement_curve", raised("gold_distance")),
        ("accuracy", "accuracy_curve", raised("above_closed_book")),
        ("right_tokens", "accuracy_curve", raised("mean")),
        ("whole_answers", "accuracy_curve", raised("mean")),
        ("models", "accuracy_curve", raised("mean")),
        ("controls", "controls", raised("low")),
        ("white_space", "token_classes", lambda table: table.assign(n_tokens=table["n_tokens"] + 1)),
        ("groups", "depth_by_group", raised("mean")),
        ("space_tokens", "depth_by_group", raised("mean")),
        ("depth_by_lens", "depth_by_group", raised("high")),
        ("causes", "lens_against_cause", raised("tau_without_first")),
        ("costs_by_scope", "block_effects", raised("logprob_drop")),
        ("lens_error_in_short", "lens_divergence", lambda table: table.assign(n_seeds=4)),
        ("costs", "block_effects", raised("logprob_drop_high")),
        ("lens_error", "lens_divergence", raised("kl")),
        ("overlap", "lens_overlap", lambda table: table.assign(n_trained_on=7)),
        ("entropy", "entropy_by_layer", raised("entropy")),
        ("frequent_top1", "frequent_top1", raised("share")),
        ("coverage", "coverage", lambda table: table.assign(n_cut=6)),
    ],
)
def test_a_changed_row_changes_its_sentences(
    rich: Results, tmp_path: Path, block: str, table: str, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    before = [finding.sentence for finding in BLOCKS[block](rich).findings]
    after = BLOCKS[block](changed(rich, tmp_path / "tables", {table: change}))
    sentences = [finding.sentence for finding in after.findings]
    assert len(sentences) == len(before)
    assert any(new != old for new, old in zip(sentences, before, strict=True))
    assert not unsupported(after.markdown())


def test_the_page_and_the_findings_say_the_same(made: Results, page_file: Path) -> None:
    page = " ".join(unescape(page_file.read_text(encoding="utf-8")).split())
    shared = ("headline", "curves", "ways", "decomposition", "accuracy", "busiest_layers", "causes", "lens_error",
              "overlap", "study")  # fmt: skip
    for name in shared:
        for finding in BLOCKS[name](made).findings:
            assert finding.sentence in page, name


def test_the_study_and_its_questions_are_counted_in_the_database(made: Results) -> None:
    text = BLOCKS["study"](made).markdown()
    # Twelve questions; three and five documents at every place, and closed book; two answer tokens and two models.
    for fact, value in (("contexts", 12 * 9), ("answer tokens", 12 * 9 * 2 * 2)):
        assert f"| 1 | {fact} | {value} |" in text
    assert made.aliases() == {"n_questions": 12, "n_several": 0, "most": 1, "mean_answers": 1.0}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_templates_have_no_number_of_their_own(document: str, rich: Results) -> None:
    assert not numbers(prose((TEMPLATES / f"{document}.j2").read_text(encoding="utf-8")))
    assert not numbers(prose(rendered(document, rich)))
    assert not re.search(r"\{\{(?! (block\(\"\w+\"\)|study|changes) \}\})", (TEMPLATES / f"{document}.j2").read_text())


def test_templates_link_to_documents_and_charts_that_there_are() -> None:
    text = "".join((TEMPLATES / f"{document}.j2").read_text(encoding="utf-8") for document in DOCUMENTS)
    links = set(re.findall(r"\]\(([^)]*)\)", text))
    charts = {link for link in links if link.startswith("findings/")}
    assert {Path(chart).stem for chart in charts} <= set(CHARTS)
    there = {file.name for file in (ROOT / "docs").glob("*.md")} | set(DOCUMENTS)
    assert links - charts <= there


def test_a_study_that_ablates_nothing_has_findings_too(small_page_file: Path) -> None:
    study = small_page_file.parent.parent
    results = Results(study / "study.duckdb", study / "tables")
    for name in DOCUMENTS:
        assert NOTHING in rendered(name, results)
        assert not unsupported(rendered(name, results))


def test_the_command_writes_documents_and_the_charts_that_they_show(
    made: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, docs = tmp_path / "small", tmp_path / "docs"
    shutil.copytree(made.tables, study / "tables")
    (study / "charts").mkdir()
    (docs / "findings").mkdir(parents=True)
    (docs / "findings/changes.md").write_text(f"{BY_HAND}, and why\n\nOld: 0.20.\n")
    monkeypatch.setattr("sys.argv", ["findings", str(study), str(docs)])
    assert command.main() == 1
    assert "small.duckdb is not there; is the study finished?" in capsys.readouterr().err
    shutil.copy(made.database, study / "small.duckdb")
    assert command.main() == 1  # nor are the charts
    assert "no findings were written" in capsys.readouterr().err
    assert not (docs / "findings.md").exists()
    for place in ("refinement_curve.svg", "accuracy_curve.svg", "specification_curve.svg", "lens_divergence.svg"):
        (study / "charts" / place).write_text(place)
    (study / "charts/essential_layers.png").write_bytes(b"png")
    (study / "charts/flips.svg").write_text("shown nowhere")
    assert command.main() == 0
    assert {file.name for file in (docs / "findings").iterdir()} == {
        "changes.md", "refinement_curve.svg", "accuracy_curve.svg", "specification_curve.svg", "lens_divergence.svg",
        "essential_layers.png",
    }  # fmt: skip
    findings = (docs / "findings.md").read_text(encoding="utf-8")
    assert findings.endswith("and why\n\nOld: 0.20.\n")
    assert findings == rendered("findings.md", made, f"{BY_HAND}, and why\n\nOld: 0.20.")
    assert (docs / "limits.md").read_text(encoding="utf-8") == rendered("limits.md", made)


def test_nothing_is_written_where_a_sentence_has_no_row(
    made: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrue = Block([Column("value", lambda row: plain(row["value"]))], [Finding("It is 2.00.", [{"value": 1.0}])])
    monkeypatch.setitem(BLOCKS, "entropy", lambda _: untrue)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedNumberError, match=r"2\.00"):
        write_documents(made, tmp_path, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_project_s_own_findings_have_their_numbers_in_their_rows(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    assert len(list(statements(text.partition(BY_HAND)[0]))) > 15
    assert all((ROOT / "docs" / chart).is_file() for chart in re.findall(r"\]\((findings/[^)]*)\)", text))
    assert not unsupported(text)
    assert not numbers(prose(text))
