"""The sweep over transformers' classes tells a lens that is the model's own from one that is not."""

import pytest

from benchmarks.families.__main__ import lines
from benchmarks.families.outcome import Outcome, outcome
from lenscore.extraction.self_check import ReferencePass


def test_a_family_whose_lens_is_the_model_agrees() -> None:
    found = outcome("cohere", "CohereForCausalLM")
    assert (found.verdict, found.reason) == ("agrees", "")
    for difference in (found.float32, found.bfloat16, found.ablation):
        assert difference is not None
        assert 0 < difference < 0.2
    assert found.float32 is not None
    assert found.float32 < 1e-4


def test_a_family_without_a_part_is_refused_with_the_reason() -> None:
    found = outcome("bert", "BertLMHeadModel")
    assert found.verdict == "refused"
    assert found.reason.startswith("the blocks were not found")


def test_a_lens_that_is_not_the_model_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # It multiplies its logits by what other families divide them by; without the self-check that would be recorded.
    assert outcome("hyperclovax", "HyperCLOVAXForCausalLM").verdict == "refused"
    monkeypatch.setattr(ReferencePass, "check_last_layer", lambda *_: 0.0)
    found = outcome("hyperclovax", "HyperCLOVAXForCausalLM")
    assert found.verdict == "wrong"
    assert found.float32 is not None
    assert found.float32 > 0.1


def test_a_family_that_cannot_be_built_says_why() -> None:
    assert outcome("musicgen", "MusicgenForCausalLM").verdict == "not run"


def test_the_table_has_a_row_a_family_and_counts_them() -> None:
    table = list(lines({"b": Outcome("B", "agrees", "", 1e-6, 0.01, None), "a": Outcome("A", "refused", "x|y <z>")}))
    assert (
        "of 2 entries 1 agree with their own code at every layer (1 of them share prefixes), 1 are refused" in table[1]
    )
    assert table[-2:] == ["| a | A | refused |  |  |  | x\\|y &lt;z> |", "| b | B | agrees | 1e-06 | 1e-02 |  |  |"]
