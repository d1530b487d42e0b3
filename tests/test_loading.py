"""A model with its parts as one object, and where it runs."""

import os
from pathlib import Path

import pytest
import torch

from lenscore.errors import ContextError
from lenscore.models.device import resolve_device, use_threads
from lenscore.models.loading import LoadedModel, load_model
from tests.tiny_models import FAMILIES, LAYERS, VOCABULARY, tiny_model, token_ids


def test_a_folder_is_loaded_for_inference_in_the_precision_asked_for(tiny_gpt2: Path) -> None:
    loaded = load_model(tiny_gpt2, "bfloat16", "cpu")
    assert (loaded.dtype, loaded.device) == (torch.bfloat16, torch.device("cpu"))
    assert not loaded.model.training
    assert loaded.name == "GPT2LMHeadModel (model_type gpt2)"
    assert (loaded.n_layers, loaded.width, loaded.vocabulary_size, loaded.n_positions) == (2, 32, 600, 1024)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_sizes(family: str) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    assert (loaded.n_layers, loaded.width, loaded.vocabulary_size) == (LAYERS, 32, VOCABULARY)


def test_a_config_without_a_limit_has_none() -> None:
    assert LoadedModel.of(tiny_model("bloom")).n_positions is None


def test_running_the_blocks_runs_each_once_and_not_the_head() -> None:
    loaded = LoadedModel.of(tiny_model("llama"))
    ran: list[str] = []
    for index, block in enumerate(loaded.architecture.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(f"block {index}"))
    loaded.architecture.head.register_forward_hook(lambda *_: ran.append("head"))
    loaded.run_blocks(input_ids=token_ids(5))
    assert ran == ["block 0", "block 1", "block 2"]


@pytest.mark.parametrize(
    ("wanted", "has_gpu", "device"), [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu")]
)
def test_a_gpu_is_taken_where_there_is_one(
    wanted: str, has_gpu: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device(wanted) == device


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ContextError, match="finds no GPU here; set it to auto or cpu"):
        resolve_device("cuda")


def test_a_job_uses_no_more_threads_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
        use_threads(1)
        assert torch.get_num_threads() == 1
        use_threads(64)
        assert torch.get_num_threads() == 2
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        use_threads(64)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
