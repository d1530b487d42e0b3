"""The benchmark's own arithmetic: what it counts, whom it believes, and that its processes work."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.lens.compare import DisagreementError, compare
from benchmarks.lens.contestants import ENGINE, REFERENCE
from benchmarks.lens.exchange import (
    Answers,
    Context,
    read_questions,
    read_results,
    write_questions,
    write_results,
)
from benchmarks.lens.flops import LlamaShape, Tokens, lens_flops
from benchmarks.lens.lines import machine_line, workload_lines
from benchmarks.lens.measure import Setting, measure
from benchmarks.lens.precision import TokenRecords
from benchmarks.lens.protocol import WorkerError
from benchmarks.lens.table import table
from benchmarks.lens.workers import transformers_worker
from tests.tiny_models import LAYERS, tiny_model, token_ids

# Two questions; contexts of the first share a prefix, and their lengths differ.
_SHARED = token_ids(12)[0].tolist()
QUESTIONS = [
    [Context([*_SHARED, *token_ids(9, seed)[0].tolist()[:length]], 14) for seed, length in ((5, 4), (6, 9), (7, 6))],
    [Context(token_ids(11, 8)[0].tolist(), 10)],
]


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    tiny_model("llama").save_pretrained(folder)
    return folder


def answers(**changes: list[list[float]]) -> Answers:
    """Two layers, two answer tokens; at layer 1 the first one's race is close."""
    values = {
        "top1_id": [[3, 4], [5, 6]],
        "target_logprob": [[-9.0, -8.0], [-1.0, -0.5]],
        "runner_up_id": [[7, 7], [8, 8]],
        "lead": [[0.5, 0.5], [5e-5, 0.5]],
    } | changes
    return Answers(**{name: np.array(value) for name, value in values.items()})


def test_counting_by_hand() -> None:
    shape = LlamaShape(layers=2, width=4, heads=2, groups=1, head_width=2, mlp_width=8, vocabulary=10)
    # Read are 1 2 3 4 and 1 2 5: five tokens differ, the states of 4 and of 2 and 5 predict.
    tokens = Tokens.of_workload([[Context([1, 2, 3, 4, 9], 4), Context([1, 2, 5, 9], 2)]])
    assert tokens == Tokens(read=7, unique=5, predicting=3, visible=1 + 2 + 3 + 4 + 3, visible_to_predicting=4 + 2 + 3)
    keys_and_values = 2 * (2 * 4 * 2)  # two matrices of 4 × 2
    others = 2 * (2 * 4 * 4) + 3 * (2 * 4 * 8)  # queries and output 4 × 4; gate, up and down 4 × 8
    first_block = 5 * (keys_and_values + others) + 13 * (2 * 2) * 4
    last_block = 5 * keys_and_values + 3 * others + 9 * (2 * 2) * 4
    assert lens_flops(shape, tokens) == first_block + last_block + 3 * 3 * (2 * 4 * 10)


def test_counts_of_questions_add_up() -> None:
    both = Tokens.of_workload(QUESTIONS)
    assert both == Tokens.of_workload(QUESTIONS[:1]) + Tokens.of_workload(QUESTIONS[1:])
    assert both.unique == both.read - 2 * len(_SHARED)


def test_counts_are_those_of_torch(tiny_llama: Path) -> None:
    # Where every state predicts there is nothing to leave out, but for the keys that a mask hides.
    context = Context(token_ids(20)[0].tolist(), 1)
    lens = transformers_worker.load(str(tiny_llama), torch.get_num_threads(), 1)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        lens([[context]])
    by_module = counter.get_flop_counts()
    rotation = sum(sum(flops.values()) for name, flops in by_module.items() if name.endswith("rotary_emb"))
    length = len(context.input_ids)
    unmasked = replace(Tokens.of_workload([[context]]), visible=length**2, visible_to_predicting=length**2)
    shape = LlamaShape.of(tiny_model("llama").config)
    assert lens_flops(shape, unmasked) == counter.get_total_flops() - rotation


def test_equal_answers_agree() -> None:
    agreement = compare("it", [[answers()]], [[answers()]], 1e-4)
    assert (agreement.rows, agreement.top1_agreement, agreement.ties) == (4, 1.0, 0)
    assert agreement.largest_difference == 0


def test_a_tie_may_go_either_way() -> None:
    agreement = compare("it", [[answers(top1_id=[[3, 4], [8, 6]])]], [[answers()]], 1e-4)
    assert (agreement.top1_agreement, agreement.ties) == (0.75, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top1_id": [[3, 4], [7, 6]]}, "context 0, layer 1, answer token 0: top-1 7, but the reference has 5"),
        ({"top1_id": [[3, 4], [5, 8]]}, "layer 1, answer token 1: top-1 8, but the reference has 6"),
        ({"target_logprob": [[-9.0, -8.0002], [-1.0, -0.5]]}, "layer 0, answer token 1: log-probability -8.0002"),
        ({"target_logprob": [[-9.0, -8.0], [np.nan, -0.5]]}, "layer 1, answer token 0: log-probability nan"),
        ({"top1_id": [[3], [5]], "target_logprob": [[-9.0], [-1.0]]}, r"are \(2, 1\), not \(2, 2\)"),
    ],
    ids=["not the runner-up", "no tie", "log-probability", "nan", "shape"],
)
def test_what_differs_is_named(changes: dict[str, list[list[float]]], message: str) -> None:
    with pytest.raises(DisagreementError, match=f"it, question 0, .*{message}"):
        compare("it", [[answers(**changes)]], [[answers()]], 1e-4)


def test_a_missing_context_is_no_agreement() -> None:
    with pytest.raises(DisagreementError, match="question 0, context 1: missing"):
        compare("it", [[answers()]], [[answers(), answers()]], 1e-4)


def test_rounded_products_are_reported_up_to_a_point() -> None:
    expected = [[answers()] * 10]
    off = answers(top1_id=[[0, 4], [5, 6]], target_logprob=[[-9.2, -8.0], [-1.0, -0.5]])
    agreement = compare("it", [[off, *expected[0][1:]]], expected, None)
    assert agreement.top1_agreement == pytest.approx(39 / 40)
    assert agreement.mean_difference == pytest.approx(0.2 / 40)
    with pytest.raises(DisagreementError, match="only 75"):
        compare("it", [[off] * 10], expected, None)


def test_files_return_what_was_written(tmp_path: Path) -> None:
    write_questions(tmp_path / "questions.json", QUESTIONS)
    assert read_questions(tmp_path / "questions.json") == QUESTIONS
    results = [[answers(lead=[[n, 0.5], [0.5, 0.5]]) for n in range(len(contexts))] for contexts in QUESTIONS]
    write_results(tmp_path / "results.npz", results)
    found = read_results(tmp_path / "results.npz", QUESTIONS)
    assert [[of.lead[0, 0] for of in contexts] for contexts in found] == [[0, 1, 2], [0]]


def test_padding_changes_nothing(tiny_llama: Path) -> None:
    one, batched = (transformers_worker.load(str(tiny_llama), torch.get_num_threads(), batch) for batch in (1, 2))
    expected = one(QUESTIONS)
    assert expected[0][1].top1_id.shape == (LAYERS + 1, len(QUESTIONS[0][1].targets))
    assert compare("batched", batched(QUESTIONS), expected, 1e-4).top1_agreement == 1.0


def test_the_last_layer_is_the_model(tiny_llama: Path) -> None:
    (found,) = transformers_worker.load(str(tiny_llama), torch.get_num_threads(), 1)(QUESTIONS[1:])
    context = QUESTIONS[1][0]
    with torch.inference_mode():
        logprobs = tiny_model("llama")(torch.tensor([context.ids])).logits[0, :-1].log_softmax(-1)
    of_targets = logprobs[context.n_prompt - 1 :, context.targets].diagonal()
    np.testing.assert_allclose(found[0].target_logprob[-1], of_targets, atol=1e-5)


@pytest.mark.slow
def test_a_run_from_processes_to_table(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = Setting(tiny_llama, [ENGINE, REFERENCE], torch.get_num_threads(), rounds=1)
    measured = measure(setting, QUESTIONS)
    lines = [*workload_lines(setting, "2,4xall", QUESTIONS, measured), machine_line(setting, measured.rates)]
    assert [line["kind"] for line in lines] == ["workload", "contestant", "contestant", "ratios", "machine"]
    assert lines[1]["agreement"]["top1_agreement"] == 1.0
    assert lines[1]["rounds"] == 1
    assert lines[2]["agreement"] is None
    ((ours,), (theirs,)) = (measured.seconds[name] for name in ("lenscore", "transformers"))
    assert lines[3]["times_as_fast_as"]["lenscore"]["transformers"]["median"] == theirs / ours
    assert "round 1 of 1" in capsys.readouterr().err
    rendered = "\n".join(table(lines))
    assert "| 2, 4 × all | lenscore |" in rendered
    assert f"{Tokens.of_workload(QUESTIONS).unique} of them unique" in rendered


@pytest.mark.slow
def test_a_worker_that_fails_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_questions(tmp_path / "questions.json", QUESTIONS)
    with (
        pytest.raises(WorkerError, match="transformers: its process ended with status 1 at 'load'"),
        REFERENCE.start() as worker,
    ):
        worker.ask("load", questions=str(tmp_path / "questions.json"), model=str(tmp_path), threads=1, batch=1)
    assert str(tmp_path) in capfd.readouterr().err


def test_depths_by_hand() -> None:
    # Layers down, tokens across: right early and kept; right, lost, right again; never; lost at the end.
    right = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]], dtype=bool)
    depths, has_depth = TokenRecords(right, right.astype(int), np.zeros(right.shape)).depths()
    assert has_depth.tolist() == [True, True, False, False]
    assert depths[has_depth].tolist() == [0, 2]
