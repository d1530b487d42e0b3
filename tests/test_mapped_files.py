"""Mapped weights leave memory and are not lost."""

from pathlib import Path

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lenscore.models import products
from lenscore.models.loading import LoadedModel
from lenscore.models.mapped_files import release_mapped_weights
from lenscore.models.packed_linears import pack_linears
from tests.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="nothing is done where memory maps cannot be read")


def resident(file: Path) -> int:
    maps = psutil.Process().memory_maps(grouped=False)
    return sum(mapping.rss for mapping in maps if mapping.path == str(file))


def mapped(file: Path) -> Tensor:
    save_file({"weight": torch.arange(2**20, dtype=torch.float32)}, file)
    with safe_open(file, "pt") as opened:
        weight: Tensor = opened.get_tensor("weight")
    return weight


def test_what_was_read_leaves_memory_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    weight = mapped(file)
    total = weight.double().sum()
    assert resident(file) >= weight.nbytes
    release_mapped_weights()
    assert resident(file) == 0
    assert weight.double().sum() == total


def test_a_mapping_that_was_written_to_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    weight = mapped(file)
    weight[7] = -1.0
    release_mapped_weights()
    assert weight[7] == -1.0
    assert resident(file) > 0


def test_packing_leaves_no_plain_weight_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.safetensors"
    model = tiny_model("llama")
    layer = model.model.layers[1].mlp.up_proj
    save_file({"weight": layer.weight.detach().contiguous()}, file)
    with safe_open(file, "pt") as opened:
        layer.weight = nn.Parameter(opened.get_tensor("weight"), requires_grad=False)
    states = torch.randn(3, layer.in_features)
    expected = layer(states)
    assert resident(file) > 0
    monkeypatch.setattr(products, "ONEDNN_DTYPES", {torch.float32})  # where plain weights serve, nothing is copied
    pack_linears(LoadedModel.of(model), "exact")
    assert resident(file) == 0
    torch.testing.assert_close(model.model.layers[1].mlp.up_proj(states), expected)
