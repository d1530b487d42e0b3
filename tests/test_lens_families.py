"""The lens on a tiny model of every family, against the model's own logits and hidden states."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma3nTextConfig, GPT2Config, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from lenscore.errors import ArchitectureError, SelfCheckError, SourceError
from lenscore.extraction.self_check import ReferencePass
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import residual_states, states_and_logits
from lenscore.models.rounding import difference_beyond_rounding
from lenscore.models.unembedding import Unembedding
from tests.tiny_models import FAMILIES, LAYERS, VOCABULARY, tiny_model, token_ids

IDS = token_ids(24)
POSITIONS = torch.tensor([3, 11, 22])
CONTEXT = TokenisedContext(IDS.tolist()[0], 21, False)


def check(loaded: LoadedModel, unembedding: Unembedding) -> float:
    """Compare an unembedding of the model's own states with the model's own logits."""
    reference = ReferencePass.of(loaded, CONTEXT)
    return reference.check_last_layer(unembedding, reference.states)


@pytest.fixture(params=FAMILIES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return LoadedModel.of(tiny_model(request.param))


def test_the_last_layer_is_the_model(loaded: LoadedModel) -> None:
    states = residual_states(loaded, {"input_ids": IDS}, POSITIONS)
    with torch.inference_mode():
        whole = loaded.model(input_ids=IDS, use_cache=False).logits[0, POSITIONS].float()
        decoded = loaded.unembedding(states[-1])
    assert states.shape[:2] == (LAYERS + 1, 3)
    assert decoded.shape == (3, VOCABULARY)
    torch.testing.assert_close(decoded, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.lists_layers])
def test_states_are_those_that_transformers_gives(family: str) -> None:
    # Its last entry is normalised already, so that layers 0 to L − 1 can be compared.
    loaded = LoadedModel.of(tiny_model(family))
    states = residual_states(loaded, {"input_ids": IDS}, POSITIONS)
    with torch.inference_mode():
        hidden = loaded.model(input_ids=IDS, use_cache=False, output_hidden_states=True).hidden_states
    assert len(hidden) == LAYERS + 1
    for layer in range(LAYERS):
        torch.testing.assert_close(states[layer], hidden[layer][0, POSITIONS], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(states[-1], states[-2])


def test_layers_differ_so_that_a_wrong_one_would_be_seen(loaded: LoadedModel) -> None:
    states = residual_states(loaded, {"input_ids": IDS}, POSITIONS)
    with torch.inference_mode():
        logits = [loaded.unembedding(layer) for layer in states]
    for lower, higher in pairwise(logits):
        assert (lower - higher).abs().max() > 1e-2


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "opt-norm-after-projected"])
def test_the_norm_takes_its_statistics_from_the_state_itself(family: str) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    state = residual_states(loaded, {"input_ids": IDS}, POSITIONS)[1]
    unembedding = loaded.unembedding
    with torch.inference_mode():
        torch.testing.assert_close(unembedding(100 * state), unembedding(state * 1000), rtol=1e-3, atol=1e-3)


def test_the_self_check_passes_and_says_how_closely(loaded: LoadedModel) -> None:
    assert 0 <= check(loaded, loaded.unembedding) < 1e-3


def test_own_logits_are_those_of_the_whole_forward_pass(loaded: LoadedModel) -> None:
    with torch.inference_mode():
        whole = loaded.model(input_ids=IDS, use_cache=False).logits[0, POSITIONS].float()
    states, logits = states_and_logits(loaded, IDS, POSITIONS)
    torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-5)
    assert torch.equal(states, residual_states(loaded, {"input_ids": IDS}, POSITIONS))


@pytest.mark.parametrize(
    ("family", "part", "value"),
    [
        ("gemma2", "soft_cap", None),
        ("gemma3", "soft_cap", None),
        ("cohere", "logit_scale", 1.0),
        ("granite", "logit_scale", 1.0),
        ("llama", "norm", None),
        ("llama", "head", nn.Linear(32, VOCABULARY, bias=False)),
        ("opt", "head", nn.Linear(32, VOCABULARY + 1, bias=False)),
    ],
)
def test_the_self_check_catches_a_part_that_is_wrong(family: str, part: str, value: object) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    unembedding = replace(loaded.unembedding, **{part: value})
    with pytest.raises(SelfCheckError, match=loaded.model.config.model_type):
        check(loaded, unembedding)


def test_a_model_without_a_final_norm_is_known_as_such() -> None:
    assert LoadedModel.of(tiny_model("opt-norm-after-projected")).architecture.final_norm is None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_self_check_catches_a_norm_applied_twice(family: str) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    unembedding = loaded.unembedding
    assert unembedding.norm is not None
    twice = replace(unembedding, norm=nn.Sequential(unembedding.norm, unembedding.norm))
    with pytest.raises(SelfCheckError, match="applied twice"):
        check(loaded, twice)


def test_a_nan_fails_the_self_check() -> None:
    loaded = LoadedModel.of(tiny_model("llama"))
    unembedding = replace(loaded.unembedding, logit_scale=float("nan"))
    with pytest.raises(SelfCheckError):
        check(loaded, unembedding)


def test_states_that_differ_are_told_by_how_much() -> None:
    states = ReferencePass.of(LoadedModel.of(tiny_model("llama")), CONTEXT).states
    assert difference_beyond_rounding(states * (1 + 1e-6), states, torch.float32, 3) is None
    assert difference_beyond_rounding(states * 1.01, states, torch.float32, 3) == "a share of 0.01"
    assert difference_beyond_rounding(states * 1.01, states, torch.bfloat16, 3) is None
    assert difference_beyond_rounding(states * float("nan"), states, torch.bfloat16, 3) is not None
    small = states.clone()
    small[1, 0] *= 1000.0  # one state that is large by nature
    wrong = small.clone()
    wrong[2, 2] *= 1.01
    assert difference_beyond_rounding(wrong, small, torch.float32, 3) == "a share of 0.01"


def test_rounding_in_half_precision_grows_with_the_root_of_the_depth() -> None:
    states = ReferencePass.of(LoadedModel.of(tiny_model("llama")), CONTEXT).states
    assert difference_beyond_rounding(states * 1.07, states, torch.bfloat16, 8) is not None
    assert difference_beyond_rounding(states * 1.07, states, torch.bfloat16, 32) is None
    assert difference_beyond_rounding(states * 1.11, states, torch.bfloat16, 32) is not None
    assert difference_beyond_rounding(states * 1.001, states, torch.float32, 32) is not None


def test_a_single_token_that_a_router_sends_elsewhere_is_passed_over_where_the_middle_counts() -> None:
    states = ReferencePass.of(LoadedModel.of(tiny_model("llama")), CONTEXT).states
    assert states.shape[1] >= 3
    one, most = states.clone(), states * 2.0
    one[:, 0] *= 2.0
    assert difference_beyond_rounding(one, states, torch.bfloat16, 3) is not None
    assert difference_beyond_rounding(one, states, torch.bfloat16, 3, middle=True) is None
    assert difference_beyond_rounding(one, states, torch.float32, 3, middle=True) is not None
    assert difference_beyond_rounding(most, states, torch.bfloat16, 3, middle=True) is not None


def test_hooks_are_gone_after_a_failure() -> None:
    loaded = LoadedModel.of(tiny_model("gpt2"))
    with pytest.raises(SourceError, match="cannot run it: IndexError"):
        residual_states(loaded, {"input_ids": torch.tensor([[VOCABULARY + 5]])}, POSITIONS)
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in loaded.architecture.blocks)


def test_the_head_is_not_run_over_the_sequence() -> None:
    model = tiny_model("llama")
    seen: list[torch.Size] = []
    model.lm_head.register_forward_hook(lambda _, __, output: seen.append(output.shape))
    residual_states(LoadedModel.of(model), {"input_ids": IDS}, POSITIONS)
    assert seen == []
    states_and_logits(LoadedModel.of(model), IDS, POSITIONS)
    assert [shape[-2] for shape in seen] == [len(POSITIONS)]


class HomeMade(PreTrainedModel):
    """A family that transformers does not know, with modules under names of our choice."""

    config_class = GPT2Config
    base_model_prefix = "model"

    def __init__(self, config: GPT2Config, blocks: str = "layers", norm: str = "norm", head: bool = True):
        super().__init__(config)
        self.names = SimpleNamespace(blocks=blocks, norm=norm)
        self.model = HomeMadeBackbone(config, blocks, norm)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size) if head else None
        self.post_init()

    def get_output_embeddings(self) -> nn.Module | None:
        return self.lm_head

    def forward(
        self, input_ids: torch.Tensor, use_cache: bool = False, logits_to_keep: torch.Tensor | int = 0
    ) -> CausalLMOutput:
        hidden = self.model(input_ids).last_hidden_state
        return CausalLMOutput(logits=self.lm_head(hidden[:, logits_to_keep]))


class HomeMadeBackbone(nn.Module):
    def __init__(self, config: GPT2Config, blocks: str, norm: str):
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.n_embd)
        setattr(self, blocks, nn.ModuleList([nn.Linear(config.n_embd, config.n_embd) for _ in range(2)]))
        setattr(self, norm, nn.LayerNorm(config.n_embd))
        self.blocks_name, self.norm_name = blocks, norm

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> BaseModelOutput:
        hidden = self.embed(input_ids)
        for block in getattr(self, self.blocks_name):
            hidden = hidden + block(hidden)
        return BaseModelOutput(last_hidden_state=getattr(self, self.norm_name)(hidden))


def test_several_residual_streams_are_refused_in_those_words() -> None:
    config = Gemma3nTextConfig(
        vocab_size=VOCABULARY, vocab_size_per_layer_input=VOCABULARY, hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_kv_shared_layers=0,
        hidden_size_per_layer_input=8, laurel_rank=4, pad_token_id=0, layer_types=["full_attention"] * 2,
        activation_sparsity_pattern=[0.0, 0.0],
    )  # fmt: skip
    with pytest.raises(ArchitectureError, match=r"residual stream consists of 4 streams .*altup_num_inputs"):
        LoadedModel.of(AutoModelForCausalLM.from_config(config))


HOME_MADE = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2)


def test_an_unknown_family_with_usual_names_is_found() -> None:
    loaded = LoadedModel.of(HomeMade(HOME_MADE))
    assert loaded.n_layers == 2
    assert isinstance(loaded.architecture.final_norm, nn.LayerNorm)


def test_an_unknown_family_whose_blocks_are_not_the_residual_stream_fails_the_self_check() -> None:
    # Its blocks give what is to be added, not the sum: names alone would not have told.
    loaded = LoadedModel.of(HomeMade(HOME_MADE))
    with pytest.raises(SelfCheckError):
        check(loaded, loaded.unembedding)


@pytest.mark.parametrize(
    ("unusual", "says"),
    [
        ({"blocks": "floors"}, r"blocks were not found.*model \(embed, floors, norm\)"),
        ({"norm": "polish"}, "final norm was not found.*embed, layers, polish"),
        ({"head": False}, "head was not found"),
    ],
)
def test_a_part_that_is_not_found_is_named(unusual: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        LoadedModel.of(HomeMade(HOME_MADE, **unusual))
