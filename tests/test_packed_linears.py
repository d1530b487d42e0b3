"""Packed linear layers give what the plain ones give, in either precision."""

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lenscore.errors import ContextError
from lenscore.models import packed_linears
from lenscore.models.loading import LoadedModel
from lenscore.models.packed_linears import PackedLinear, pack_linears
from lenscore.study.models import Matmul
from tests.tiny_models import FAMILIES, tiny_model, token_ids


@pytest.fixture(autouse=True)
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_linears, "multiplies_bf16", lambda _: True)  # where it is not, it is emulated


def a_layer(bias: bool) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(24, 40, bias=bias)


@pytest.mark.parametrize("rows", [1, 5, 700])
@pytest.mark.parametrize("bias", [True, False])
def test_an_exact_layer_is_the_plain_one(bias: bool, rows: int) -> None:
    layer = a_layer(bias)
    layer_packed = PackedLinear(layer.weight.detach(), layer.bias, "exact")
    states = torch.randn(2, rows, 24)
    with torch.inference_mode():
        torch.testing.assert_close(layer_packed(states), layer(states), rtol=1e-5, atol=1e-6)
    assert torch.equal(layer_packed.weight, layer.weight)
    assert (layer_packed.in_features, layer_packed.out_features) == (24, 40)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bf16_layer_rounds_its_operands_and_its_products_alone(bias: bool) -> None:
    layer = a_layer(bias)
    layer_packed = PackedLinear(layer.weight.detach(), layer.bias, "bf16")
    states = torch.randn(7, 24)
    with torch.inference_mode():
        found = layer_packed(states)
    exact = states.bfloat16().double() @ layer.weight.bfloat16().double().T
    assert found.dtype == torch.float32
    difference = (found.double() - (exact if layer.bias is None else exact + layer.bias)).abs()
    assert (difference <= exact.abs() * 2**-8 + 1e-6).all()
    assert difference.max() > 0  # it is not float32 by another name


def packed(model: PreTrainedModel, matmul: Matmul) -> LoadedModel:
    return pack_linears(LoadedModel.of(model), matmul)


def test_bf16_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_linears, "multiplies_bf16", lambda _: False)
    with pytest.raises(ContextError, match="matmul: bf16 is asked for, but this processor has no"):
        packed(tiny_model("llama"), "bf16")


def test_bf16_that_would_leave_experts_out_is_refused() -> None:
    with pytest.raises(ContextError, match="MixtralForCausalLM has experts"):
        packed(tiny_model("mixtral"), "bf16")


@pytest.mark.parametrize("family", ["mamba", "lfm2"])
def test_bf16_takes_no_convolution_for_experts(family: str) -> None:
    loaded = packed(tiny_model(family), "bf16")
    assert any(isinstance(layer, nn.Conv1d) for block in loaded.architecture.blocks for layer in block.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_model_is_the_model(family: str) -> None:
    model = tiny_model(family)
    ids = token_ids(40)
    with torch.inference_mode():
        before = model(input_ids=ids, use_cache=False).logits
        packed(model, "exact")
        after = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not any(type(layer) in (nn.Linear, Conv1D) for layer in model.modules())
    assert isinstance(model.get_output_embeddings(), PackedLinear)


@pytest.mark.parametrize("family", ["llama", "opt-norm-after-projected"])
def test_the_parts_of_a_packed_model_are_the_packed_ones(family: str) -> None:
    model = tiny_model(family)
    before = LoadedModel.of(model)
    after = packed(model, "exact")
    assert after.architecture.head is model.get_output_embeddings()
    assert isinstance(after.architecture.head, PackedLinear)
    for plain, replaced in (
        (before.architecture.head, after.architecture.head),
        (before.architecture.projection, after.architecture.projection),
    ):
        assert (plain is None) == (replaced is None)
        assert plain is None or plain is not replaced
    states = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(after.unembedding(states), before.unembedding(states), rtol=1e-5, atol=1e-5)


def test_a_tied_embedding_is_not_touched() -> None:
    model = tiny_model("llama-tied")
    embeddings = model.get_input_embeddings().weight.clone()
    packed(model, "exact")
    assert torch.equal(model.get_input_embeddings().weight, embeddings)
    assert torch.equal(model.get_output_embeddings().weight, embeddings)


def test_head_and_projection_stay_exact() -> None:
    projected = tiny_model("opt-norm-after-projected")
    before = projected.model.decoder.project_out.weight.clone()
    packed(projected, "bf16")
    assert torch.equal(projected.model.decoder.project_out.weight, before)
    model = tiny_model("llama")
    head = model.get_output_embeddings().weight.clone()
    packed(model, "bf16")
    assert torch.equal(model.get_output_embeddings().weight, head)
    assert not torch.equal(
        model.model.layers[0].mlp.up_proj.weight, tiny_model("llama").model.layers[0].mlp.up_proj.weight
    )
