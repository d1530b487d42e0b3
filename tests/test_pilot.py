"""Studies drawn from a pilot: what of it they take, and that a pilot drawn whole has its own verdicts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.shape.pilot import Pilot, drawn, n_unique, part_of, row, shapes, simulated, unique_share
from lenscore.analysis.shape.study_shapes import shapes_of_study
from lenscore.study.analysis import AnalysisSpec, PrimaryAnalysis, SmallestEffect
from tests.small_study import SmallStudy
from tests.test_analysis import depth_row, nothing_right

N_QUESTIONS = 20
SETTINGS = AnalysisSpec(
    permutations=199,
    smallest_effect=SmallestEffect(layers=0.5),
    primary=PrimaryAnalysis(measure="soft_depth", lens="logit"),
)


def pilot_of(height: float) -> Pilot:
    """A pilot of 5 documents whose middle lies so much higher (layers); one question is nowhere right."""
    draw = np.random.default_rng(0)
    rows, contexts = [], []
    for question in range(N_QUESTIONS + 1):
        for place in range(5):
            name, bent = f"q{question}", height if place == 2 else 0.0
            depth = {"soft_depth": bent + draw.normal(3, 0.1)}
            found = depth_row(name, place, 0, 0, 3, n_documents=5, **depth)
            nowhere = {**found, **nothing_right(), "final_right": False}
            rows.append(found if question < N_QUESTIONS else nowhere)
            # Of 50 characters of documents and 10 of question, a context shares what stands before the gold document.
            prompt = "d" * 10 * place + "G" * 10 + "d" * (40 - 10 * place) + "Q" * 10
            contexts.append((name, "documents", 5, place, prompt, 60))
        contexts.append((name, "closed_book", 0, None, "Q" * 10, 10))
    columns = ["question_id", "condition", "n_documents", "gold_index", "prompt", "n_tokens"]
    return Pilot(pd.DataFrame(rows), pd.DataFrame(contexts, columns=columns), SETTINGS, extraction_seconds=126.0)


def test_a_finished_study_is_read_with_the_time_of_its_own_jobs(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path / "study")
    study.load()
    (study.folder / "tables").mkdir()
    (study.folder / "tables/findings.json").write_text(json.dumps({"settings": SETTINGS.model_dump(mode="json")}))
    # Another context set was extracted once, and is of the study no more.
    for job, seconds in {"main/0000": 20.5, "main/0001": 30.25, "earlier/0000": 1000}.items():
        file = study.folder / f"benchmarks/extract_shard/tiny/{job}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tcpu_time\n99.0\t{seconds}\n")
    pilot = Pilot.read(study.folder)
    assert pilot.extraction_seconds == 50.75
    assert pilot.settings == SETTINGS
    assert pilot.questions == ["q0", "q1", "q2", "q3"]
    assert len(pilot.contexts) == 8
    assert pilot.contexts["n_tokens"].tolist() == [9] * 8
    assert set(pilot.contexts["prompt"]) == {"say say "}
    assert len(pilot.tokens) == 16  # two answer tokens a context


def test_a_pilot_drawn_whole_has_the_shapes_of_its_study() -> None:
    pilot = pilot_of(height=1.0)
    part = part_of(pilot, [5], 5)
    of_study = shapes_of_study(pilot.tokens, SETTINGS)
    expected = of_study[of_study["primary"]].reset_index(drop=True)
    found = shapes(pilot, drawn(part.tokens, pilot.questions))
    assert len(expected) == 1
    assert expected["form"].tolist() == ["inverted U"]
    pd.testing.assert_frame_equal(found, expected[found.columns])


def test_a_question_drawn_twice_is_two_questions() -> None:
    part = part_of(pilot_of(height=0.0), [5], 5)
    found = drawn(part.tokens, ["q3", "q1", "q3"])
    assert found.groupby("question_id").size().tolist() == [5, 5, 5]
    twice = [rows["soft_depth"].tolist() for _, rows in found.groupby("question_id")]
    assert twice[0] == twice[2] != twice[1]


def test_with_fewer_positions_more_tokens_are_right_at_all_of_them() -> None:
    pilot = pilot_of(height=0.0)
    wrong = (pilot.tokens["question_id"] == "q0") & (pilot.tokens["gold_index"] == 1)
    pilot.tokens.loc[wrong, "final_right"] = False
    assert "q0" not in set(part_of(pilot, [5], 5).tokens["question_id"])
    three = part_of(pilot, [5], 3)
    assert sorted(three.tokens.loc[three.tokens["question_id"] == "q0", "gold_index"]) == [0, 2, 4]
    assert len(three.contexts) == 4 * (N_QUESTIONS + 1)  # three positions and closed book


def test_what_the_pilot_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no contexts .*\(10, 0\)"):
        part_of(pilot_of(height=0.0), [5, 10], 3)


def test_a_pilot_without_a_token_that_counts_is_refused() -> None:
    pilot = pilot_of(height=0.0)
    pilot.tokens.loc[:, "final_right"] = pilot.tokens["gold_index"] != 4
    with pytest.raises(ValueError, match="no token among 3 positions"):
        part_of(pilot, [5], 3)


def test_common_beginnings_count_once() -> None:
    assert n_unique(["abcx", "abdy", "abc", "z"]) == 7  # a b c x d y z
    # In tens of characters: of the gold document at 4 all 6; at 3, 2, 1 and 0 what follows the common documents, 3, 4,
    # 5 and 6; closed book 1. That is 25 of 31.
    assert unique_share(pilot_of(height=0.0).contexts) == pytest.approx(25 / 31)


def test_a_row_says_what_the_studies_said_and_what_they_take() -> None:
    pilot = pilot_of(height=1.0)
    part = part_of(pilot, [5], 5)
    studies = simulated(pilot, part, 42, draws=4)
    assert len({round(float(study["middle"].iloc[0]), 9) for study in studies}) == 4
    cells = [cell.strip() for cell in row(pilot, part, studies, 5, 42).strip("|").split("|")]
    # Twice the pilot's 21 questions: 6 contexts of 310 tokens each, 250 of them unique; twice its 126 seconds.
    assert cells[:8] == ["5", "5", "42", "0.5", "252", "13,020", "10,500", "4.2"]
    # The middle is three positions, of which one is a layer higher: a third of a layer, and the bound is half a layer.
    assert cells[8:10] == ["100%", "5: inverted U within the bound 100%"]


def test_a_smaller_effect_of_interest_is_exceeded() -> None:
    pilot = pilot_of(height=1.0).with_smallest_effect(0.2)
    studies = simulated(pilot, part_of(pilot, [5], 5), 21, draws=2)
    assert [study["verdict"].tolist() for study in studies] == [["inverted U beyond the bound"]] * 2


def test_a_study_with_a_curve_that_cannot_be_tested_is_not_decided() -> None:
    pilot = pilot_of(height=1.0)
    part = part_of(pilot, [5], 5)
    nine = drawn(part.tokens, pilot.questions[:9])  # fewer than ten questions that vary
    cells = [cell.strip() for cell in row(pilot, part, [shapes(pilot, nine)], 5, 9).strip("|").split("|")]
    assert cells[8:10] == ["0%", "5: undecided 100%"]
