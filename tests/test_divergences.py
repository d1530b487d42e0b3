"""How far lenses are from their models: tables by hand, and against plain code over a made study."""

import math
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.divergences import lens_divergence
from lenscore.report.page.lens_sentences import about_divergence, about_overlap, about_seeds
from tests.conftest import ROOT

BOOTSTRAP = Bootstrap(resamples=300, confidence=0.95, seed=0)
HELD_OUT = pd.DataFrame(
    [
        {"model": "m", "lens": "tuned", "training": training, "layer": layer, "logit_kl": 9.0 - layer, "lens_kl": kl,
         "best_step": None if layer else 8, "n_tokens": 20}
        for training, kls in enumerate([(3.0, 0.0), (4.0, 0.0), (5.0, 0.0)])
        for layer, kl in enumerate(kls)
    ]
)  # fmt: skip
ANSWERS = pd.DataFrame(
    [
        {"model": "m", "context_set": name, "lens": lens, "question_id": question, "layer": layer,
         "n_tokens": 2, "sum_kl": kl * (1 - layer)}
        for name in ("main", "short")
        for lens in ("logit", "tuned")
        for question, kl in (("a", 10.0), ("b", 20.0))
        for layer in (0, 1)
    ]
)  # fmt: skip


def row(table: pd.DataFrame, lens: str, measured_on: str, layer: int) -> pd.Series:
    at = (table["lens"] == lens) & (table["measured_on"] == measured_on) & (table["layer"] == layer)
    (found,) = [one for _, one in table[at].iterrows()]
    return found


def test_the_table_by_hand() -> None:
    table = lens_divergence(HELD_OUT, ANSWERS, BOOTSTRAP)
    assert len(table) == 8
    tuned = row(table, "tuned", "held_out", 0)
    # The study's lens is the first training; 3, 4 and 5 have a standard deviation of 1.
    assert (tuned["kl"], tuned["sd_seeds"], tuned["n_seeds"], tuned["best_step"], tuned["n_tokens"]) == (3, 1, 3, 8, 20)
    logit = row(table, "logit", "held_out", 0)
    assert (logit["kl"], logit["n_tokens"]) == (9, 20)
    assert logit[["low", "sd_seeds", "best_step", "n_seeds"]].isna().all()
    answers = row(table, "tuned", "answers", 0)
    # 60 nats over 8 tokens; a and b alone have 5 and 10.
    assert (answers["kl"], answers["low"], answers["high"]) == (7.5, 5, 10)
    assert (answers["n_tokens"], answers["n_questions"]) == (8, 2)


def test_one_training_has_no_spread_and_no_trained_lens_no_held_out_rows() -> None:
    one = lens_divergence(HELD_OUT[HELD_OUT["training"] == 0], ANSWERS, BOOTSTRAP)
    assert math.isnan(row(one, "tuned", "held_out", 0)["sd_seeds"])
    none = lens_divergence(HELD_OUT.iloc[:0], ANSWERS[ANSWERS["lens"] == "logit"], BOOTSTRAP)
    assert none["measured_on"].unique().tolist() == ["answers"]
    assert lens_divergence(HELD_OUT.iloc[:0], ANSWERS.iloc[:0], BOOTSTRAP).empty


def test_the_sentences_say_what_the_rows_say() -> None:
    table = lens_divergence(HELD_OUT, ANSWERS, BOOTSTRAP)
    inner = table[(table["lens"] == "tuned") & (table["layer"] < 1)]
    said = about_divergence("m", "tuned", inner)
    assert "it is 7.50 nats from the model at the study's answers, and 3.00 on held-out documents" in said
    assert said.endswith("at layer 0: 7.50 (5.00 to 10.00) against 3.00.")
    assert about_divergence("m", "tuned", inner[inner["measured_on"] == "answers"]) == ""
    assert "over 3 trainings with different seeds" in about_seeds("m", "tuned", inner)
    assert about_seeds("m", "logit", table[(table["lens"] == "logit")]) == ""
    overlap = {"model": "m", "lens": "tuned", "context_set": "main", "n_places": 2000, "n_trained_on": 1700,
               "n_stopped_by": 60, "n_measured_on": 40}  # fmt: skip
    assert about_overlap(overlap) == (
        "m: of 2,000 places of distractors, 1,700 (85%) hold a passage that the tuned lens was trained on, and "
        "100 (5%) one that said when to stop its training or on which it was measured."
    )
    assert "none holds" in about_overlap({**overlap, "n_trained_on": 0, "n_stopped_by": 0, "n_measured_on": 0})


@pytest.fixture
def database(page_file: Path) -> Path:
    (file,) = page_file.parent.parent.glob("*.duckdb")
    return file


@pytest.mark.slow
def test_the_view_of_answers_is_that_of_plain_code(database: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        contexts = connection.sql("select * from contexts where condition = 'documents'").df().set_index("context_id")
        records = connection.sql("select * from layer_records").df()
        divergences = connection.sql("select * from answer_divergences").df()
    sums: dict[tuple[object, ...], list[float]] = {}
    for one in records.itertuples():
        if one.context_id in contexts.index:
            question = contexts.loc[one.context_id, "question_id"]
            total = sums.setdefault((one.model, one.lens, question, one.layer), [0, 0.0])
            total[0] += 1
            total[1] += one.kl_to_final
    assert len(divergences) == len(sums) > 0
    for one in divergences.itertuples():
        assert (one.n_tokens, one.sum_kl) == pytest.approx(sums[one.model, one.lens, one.question_id, one.layer])


VIEW = ROOT / "lenscore/store/views/12_lens_overlap.sql"


def test_places_of_texts_of_the_lens_are_counted_by_hand() -> None:
    """Contexts of a question: the gold document g, and x, y, x2, z, of which x and x2 have one text."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table contexts(context_set varchar, condition varchar, gold_index int, document_ids varchar[]);
            insert into contexts values
                ('main', 'documents', 0, ['g', 'x', 'y', 'x2']), ('main', 'documents', 2, ['y', 'z', 'g']),
                ('main', 'oracle', 0, ['g']), ('main', 'closed_book', null, []), ('short', 'documents', 1, ['z', 'g']);
            create table documents(document_id varchar, document_text varchar);
            insert into documents values ('g', 'G'), ('x', 'X'), ('x2', 'X'), ('y', 'Y'), ('z', 'Z');
            create table lens_texts(
                model varchar, lens varchar, part varchar, document_id varchar, document_text varchar
            );
            insert into lens_texts values
                ('m', 'tuned', 'train', 'g', 'G'), ('m', 'tuned', 'train', 'a', 'X'), ('m', 'tuned', 'train', 'b', 'X'),
                ('m', 'tuned', 'validation', 'y', 'Y'), ('m', 'tuned', 'held_out', 'c', 'C');
            """
        )
        connection.execute(VIEW.read_text(encoding="utf-8"))
        rows = connection.execute("select * exclude (model, lens) from lens_overlap order by context_set").fetchall()
    # main: x, y, x2, y, z, of which the lens was trained on x and x2 (a gold document is no distractor).
    assert rows == [("main", 5, 2, 2, 0), ("short", 1, 0, 0, 0)]
