"""Every fault of a model's files is one line that names it, told before a job runs the model."""

import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BertConfig,
    CodeGenConfig,
    DeepseekV4Config,
    FalconConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    PreTrainedConfig,
)

from lenscore.errors import ArchitectureError, SourceError, StoreError
from lenscore.models.architecture import find_architecture
from lenscore.models.loading import LoadedModel, load_model
from lenscore.models.residuals import residual_states, states_and_logits
from lenscore.sources.model_check import check_model
from lenscore.sources.pretrained import load_tokenizer
from tests.helpers_sources import save_tiny_gpt2, trained_tokenizer

WHERE = "models.tiny: path:somewhere"
LLAMA: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def save_llama(folder: Path, **changed: Any) -> None:
    tokenizer = trained_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(**{**LLAMA, "vocab_size": len(tokenizer), "tie_word_embeddings": False, **changed})
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_llama(tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder: Path, **changed: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights) or weights, folder / "model.safetensors", {"format": "pt"})


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as raised:
        check_model(folder, WHERE)
    message = str(raised.value)
    assert message.startswith(WHERE)
    assert "\n" not in message
    assert len(message) < 800
    return message


def test_an_intact_model_passes(model: Path) -> None:
    check_model(model, WHERE)


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    save_llama(tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    check_model(tmp_path, WHERE)


@pytest.mark.parametrize(
    ("config", "constants"),
    [
        (GPT2Config, {"transformer.h.0.attn.masked_bias": -1e4}),
        (GPTJConfig, {"transformer.h.0.attn.bias": None, "transformer.h.0.attn.masked_bias": -1e9}),
        (
            GPTNeoConfig,
            {"transformer.h.0.attn.attention.bias": None, "transformer.h.0.attn.attention.masked_bias": -1e9},
        ),
        (GPTNeoConfig, {"transformer.h.0.attn.attention.masked_bias": -torch.inf}),
        (CodeGenConfig, {"transformer.h.0.attn.causal_mask": None}),
        (FalconConfig, {"transformer.h.0.self_attention.maybe_rotary.inv_freq": 1.0}),
    ],
)
def test_masks_and_frequencies_that_older_versions_saved_are_no_weights(
    tmp_path: Path, config: type[PreTrainedConfig], constants: dict[str, float | None]
) -> None:
    """As in the files of the Hub that were converted from checkpoints of transformers 4.0 to 4.26."""
    tokenizer = trained_tokenizer()
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "hidden_size": 32}
    if config is GPTNeoConfig:
        sizes |= {"num_layers": 1, "num_heads": 4, "attention_types": [[["global"], 1]]}
    else:
        sizes |= {"num_hidden_layers": 1, "num_attention_heads": 4}
    if config in (GPTJConfig, CodeGenConfig):
        sizes |= {"rotary_dim": 4}
    AutoModelForCausalLM.from_config(config(**sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    mask = torch.ones(1, 1, 64, 64).tril().bool()
    edit_weights(
        tmp_path,
        lambda weights: (
            weights | {name: mask if value is None else torch.tensor(value) for name, value in constants.items()}
        ),
    )
    check_model(tmp_path, WHERE)


@pytest.mark.parametrize("edit", ["missing", "of another shape"])
def test_an_expert_that_cannot_be_joined_with_the_others(tmp_path: Path, edit: str) -> None:
    tokenizer = trained_tokenizer()
    config = MixtralConfig(**LLAMA, vocab_size=len(tokenizer), num_local_experts=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    def damaged(weights: dict[str, torch.Tensor]) -> None:
        name = next(name for name in sorted(weights) if "layers.1" in name and "experts.2.w1" in name)
        if edit == "missing":
            del weights[name]
        else:
            weights[name] = torch.ones(3, 3)

    edit_weights(tmp_path, damaged)
    assert_says(
        refusal(tmp_path), r"what model\.layers\.1\.mlp\.experts\.gate_up_proj is to be joined from is incomplete"
    )


def without_head(weights: dict[str, torch.Tensor]) -> None:
    del weights["lm_head.weight"]


def under_another_prefix(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"wrapped.{name}": weight for name, weight in weights.items()}


def with_nan(weights: dict[str, torch.Tensor]) -> None:
    weights["model.layers.1.mlp.up_proj.weight"][7, 5] = torch.nan


def with_infinity(weights: dict[str, torch.Tensor]) -> None:
    weights["model.norm.weight"][3] = -torch.inf


def with_nan_in_half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    halved = {name: weight.bfloat16() for name, weight in weights.items()}
    halved["lm_head.weight"][-1, -1] = torch.nan
    return halved


def with_a_name_that_acts(weights: dict[str, torch.Tensor]) -> None:
    weights["\x1b[31mred\n" + "long" * 100] = torch.ones(2)


def another_norm(weights: dict[str, torch.Tensor]) -> None:
    weights["model.norm.weight"] = torch.ones(33)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (without_head, "not those of the LlamaForCausalLM .*: missing are lm_head.weight; "),
        (under_another_prefix, r"missing are .* and 27 more; the model has no place for wrapped\..* and 27 more"),
        (with_a_name_that_acts, r"the model has no place for \\x1b\[31mred\\n(long){20}[long]*; both"),
        (another_norm, r"of another shape are model\.norm\.weight with shape \(33,\) instead of \(32,\)"),
        (with_nan, r"model\.layers\.1\.mlp\.up_proj\.weight in model\.safetensors has NaN or infinity"),
        (with_infinity, r"model\.norm\.weight in model\.safetensors has NaN or infinity"),
        (with_nan_in_half, r"lm_head\.weight in model\.safetensors has NaN or infinity"),
    ],
)
def test_weights_that_are_not_the_models(model: Path, edit: Any, says: str) -> None:
    edit_weights(model, edit)
    assert_says(refusal(model), says)


def assert_says(message: str, pattern: str) -> None:
    assert re.search(pattern, message), message


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"num_hidden_layers": 4}, r"missing are model\.layers\.3\..* and 6 more"),
        ({"num_hidden_layers": 2}, r"the model has no place for model\.layers\.2\..* and 6 more"),
        ({"hidden_size": 64}, r"of another shape are lm_head\.weight with shape \(\d+, 32\) instead of \(\d+, 64\)"),
        ({"vocab_size": 4000}, r"of another shape are lm_head\.weight .* instead of \(4000, 32\)"),
        ({"hidden_size": "32"}, r"cannot load config\.json: .*hidden_size"),
        ({"num_attention_heads": 0}, r"num_attention_heads in config\.json is 0; it must be 1 or more$"),
        ({"num_attention_heads": -1}, r"num_attention_heads in config\.json is -1; it must be 1 or more$"),
        ({"num_key_value_heads": 0}, r"num_key_value_heads in config\.json is 0; it must be 1 or more$"),
        ({"max_position_embeddings": 0}, r"max_position_embeddings in config\.json is 0; it must be 1 or more$"),
        ({"num_hidden_layers": -1}, r"num_hidden_layers in config\.json is -1; it must be 1 or more$"),
        ({"intermediate_size": -1}, r"intermediate_size in config\.json is -1; it must be 0 or more$"),
        ({"rms_norm_eps": -1.0}, r"rms_norm_eps in config\.json is -1\.0; it must be 0 or more$"),
        ({"text_config": {"vocab_size": 0}}, r"text_config\.vocab_size in config\.json is 0; it must be 1 or more$"),
        ({"head_dim": 0}, r"cannot load its weights as llama: a size that it divides by is 0$"),
        ({"hidden_act": "polish"}, "cannot load its weights as llama: .*polish"),
        ({"rope_parameters": "long"}, "cannot load "),
        ({"model_type": "nonsense"}, r"cannot load config\.json: .*nonsense"),
        ({"model_type": None}, r"cannot load config\.json: "),
        ({"model_type": "nonsense", "auto_map": {"AutoConfig": "code.Config"}}, "such code is never run"),
        ({"model_type": "t5"}, "t5 is an encoder and a decoder"),
        ({"model_type": "vit"}, "vit in config.json is no causal language model of transformers"),
        ({"model_type": "mistral", "hidden_size": 2**17, "intermediate_size": 2**19}, "of another shape are "),
        (
            {"_attn_implementation": "flash_attention_2", "attn_implementation": "flash_attention_2"},
            "is not installed: FlashAttention2",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "a library is not installed: .*[Gg][Pp][Tt][Qq]",
        ),
    ],
    ids=str,
)
def test_a_config_that_is_not_the_models(model: Path, changed: dict[str, Any], says: str) -> None:
    edit_config(model, **changed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_says(refusal(model), says)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    assert grown < 0.5, f"{grown:.1f} GB were built"


@pytest.mark.parametrize("key", ["n_embd", "n_head", "n_layer", "n_positions", "vocab_size"])
@pytest.mark.parametrize("size", [0, -1])
def test_sizes_that_make_no_gpt2(tmp_path: Path, key: str, size: int) -> None:
    save_tiny_gpt2(tmp_path)
    check_model(tmp_path, WHERE)
    edit_config(tmp_path, **{key: size})
    assert refusal(tmp_path).endswith(f"{key} in config.json is {size}; it must be 1 or more")


@pytest.mark.parametrize("content", ["", "{", "[]", '"llama"', "null", "{}", '{"model_type": ["llama"]}'])
def test_a_config_that_is_none(model: Path, content: str) -> None:
    (model / "config.json").write_text(content)
    assert "config.json" in refusal(model)


def test_code_that_comes_with_a_model_is_not_run(model: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (model / "code.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Config: ...\n")
    edit_config(model, model_type="nonsense", auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.M"})
    assert "auto_map" in refusal(model)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("name", "content"), [("tokenizer.json", "{"), ("tokenizer.json", "[]"), ("tokenizer_config.json", "{")]
)
def test_a_tokenizer_that_is_broken(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content)
    assert "its tokenizer" in refusal(model)


def test_a_tokenizer_that_is_missing(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(model)


def test_a_tokenizer_that_is_larger_than_the_embedding(tmp_path: Path) -> None:
    save_llama(tmp_path, vocab_size=len(trained_tokenizer()) - 1)
    n = len(trained_tokenizer())
    assert f"token ids up to {n - 1}, but the model has embeddings for {n - 1}" in refusal(tmp_path)


def test_a_special_token_beyond_the_embedding_that_no_text_has(model: Path) -> None:
    tokenizer = trained_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(model)
    check_model(model, WHERE)
    tokenizer.add_tokens(["picture"])
    tokenizer.save_pretrained(model)
    assert f"token ids up to {len(tokenizer) - 1}, but" in refusal(model)


def test_a_tokenizer_that_cannot_be_used(model: Path) -> None:
    file = model / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": "long"}))
    assert "cannot use its tokenizer: TypeError" in refusal(model)


@pytest.mark.parametrize("content", ["[]", "null", "{", '{"cache_implementation": "polish"}'])
def test_how_a_model_would_generate_is_not_asked(model: Path, content: str) -> None:
    (model / "generation_config.json").write_text(content)
    check_model(model, WHERE)


def test_outputs_have_names_whatever_the_config_says(model: Path) -> None:
    edit_config(model, return_dict=False)
    check_model(model, WHERE)
    positions = torch.tensor([1])
    states, logits = states_and_logits(load_model(model, "float32", "cpu"), torch.tensor([[1, 2, 3]]), positions)
    assert (states.shape[0], logits.shape[0]) == (4, 1)


def test_a_config_with_which_the_model_does_not_run(tmp_path: Path) -> None:
    config = MixtralConfig(**LLAMA, vocab_size=300, num_local_experts=4, num_experts_per_tok=5)
    loaded = LoadedModel.of(AutoModelForCausalLM.from_config(config))
    with pytest.raises(SourceError, match=r"^MixtralForCausalLM .*cannot run it: RuntimeError: selected index k"):
        residual_states(loaded, {"input_ids": torch.tensor([[1, 2, 3]])}, torch.tensor([1]))


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (
            '{"weight_map": {"a": "/b/model.safetensors"}, "metadata": {}}',
            "names files outside the model's folder: /b/",
        ),
        ('{"weight_map": {"a": "model.safetensors"}}', 'it has no object "metadata"'),
        ('{"weight_map": {"a": "model.safetensors"}, "metadata": "3 GB"}', 'it has no object "metadata"'),
    ],
)
def test_an_index_that_transformers_cannot_follow(model: Path, index: str, says: str) -> None:
    (model / "model.safetensors.index.json").write_text(index)
    assert says in refusal(model)


@pytest.mark.parametrize(
    "index", ["[]", "{", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "null"]
)
def test_an_index_that_is_none(model: Path, index: str) -> None:
    (model / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json is not an index of shards" in refusal(model)


def test_too_many_blocks_are_found_before_they_are_built(model: Path) -> None:
    edit_config(model, num_hidden_layers=10**9)
    with pytest.raises(StoreError, match="has 1000000000 blocks"):
        check_model(model, WHERE)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BertConfig, r"BertLMHeadModel \(model_type bert\): the blocks were not found"),
        (BartConfig, r"BartForCausalLM \(model_type bart\): the final norm was not found"),
        (DeepseekV4Config, r"its residual stream consists of 4 streams"),
    ],
)
def test_a_model_without_the_parts_is_refused_when_it_is_fetched(
    tmp_path: Path, config: type[PreTrainedConfig], says: str
) -> None:
    tokenizer = trained_tokenizer()
    sizes = {name: size for name, size in LLAMA.items() if name != "num_hidden_layers"}
    decoder = {"is_decoder": True, "is_encoder_decoder": False, "decoder_layers": 1, "d_model": 32}
    AutoModelForCausalLM.from_config(
        config(**sizes, **decoder, num_hidden_layers=1, vocab_size=len(tokenizer))
    ).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    check_model(tmp_path, WHERE)
    with pytest.raises(ArchitectureError, match=f"^{WHERE}: .*{says}"):
        check_model(tmp_path, WHERE, find_architecture)


def test_a_model_with_its_parts_passes(model: Path) -> None:
    check_model(model, WHERE, find_architecture)


def test_a_job_refuses_such_a_model_too(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit_weights(model, without_head)
    with pytest.raises(SourceError, match=r"missing are lm_head\.weight"):
        load_model(model, "float32", "cpu")
    assert "newly initialized" not in capfd.readouterr().err


def test_mistrals_wrong_pattern_is_mended(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A tokenizer of the size and kind that transformers warns of splits upper case from lower case words."""
    file = model / "tokenizer.json"
    saved = json.loads(file.read_text())
    vocabulary = saved["model"]["vocab"]
    vocabulary |= {f"<filler {number}>": number for number in range(len(vocabulary), 100_001)}
    file.write_text(json.dumps(saved))
    edit_config(model, model_type="mistral", transformers_version="4.50.0")
    tokenizer = load_tokenizer(model)
    assert "incorrect regex" not in capfd.readouterr().err
    words = [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("the RedCross")]
    assert words == ["the", "ĠRed", "Cross"]


def test_mistrals_pattern_is_not_given_to_a_tokenizer_of_another_kind(model: Path) -> None:
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = ["▁", *"abcdefghijklmnopqrstuvwxyz"]
    pieces.train_from_iterator([], trainers.BpeTrainer(special_tokens=["<unk>"], initial_alphabet=alphabet))
    saved = json.loads(pieces.to_str())
    vocabulary = saved["model"]["vocab"]
    vocabulary |= {f"<filler {number}>": number for number in range(len(vocabulary), 100_001)}
    (model / "tokenizer.json").write_text(json.dumps(saved))
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    edit_config(model, model_type="mistral", transformers_version="4.50.0")
    assert load_tokenizer(model).tokenize("the red") == ["▁", *"the", "▁", *"red"]
