"""A tiny random model of any causal language model class, its config shrunk by the usual names of sizes."""

from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

VOCABULARY = 131  # not a multiple of 64
LAYERS = 3
_MOST_PARAMETERS = 5_000_000

# By the names that configs give to sizes. A config takes those that it has.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim"), 32
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_blocks"), LAYERS),
    **dict.fromkeys(("encoder_layers", "num_mem_blocks", "num_nextn_predict_layers"), 1),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "encoder_attention_heads", "num_heads"),
        4,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("head_dim", "kv_channels", "attention_head_dim", "v_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "global_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim"), 4),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "n_inner", "ffn_hidden_size"), 48
    ),
    **dict.fromkeys(("intermediate_size_mlp", "mlp_hidden_size", "dff", "feed_forward_size"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "shared_intermediate_size", "moe_ffn_hidden_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace", "num_shared_experts"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank", "time_step_rank"), 16),
    **dict.fromkeys(("state_size", "ssm_state_size", "mamba_d_state", "mamba_state_dim", "conv_kernel_size"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx", "context_length"), 256),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_chunk_size"), 8),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("lru_width", "attention_hidden_size"), 32),
    **dict.fromkeys(("mamba_n_heads", "mamba_d_head", "mamba_headdim", "mamba_head_dim", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 16),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups"), 1),
    "mamba_d_ssm": 64,
    "num_kv_shared_layers": 0,
    # What is done to logits, far from the defaults.
    **dict.fromkeys(("final_logit_softcapping", "logits_soft_cap", "logits_scaling"), 3.0),
    **dict.fromkeys(("logit_scale", "lm_head_multiplier"), 0.3),
    "hidden_size_per_layer_input": 8,
    "image_size": 28,
    "patch_size": 14,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "is_decoder": True,
    "is_encoder_decoder": False,
}
# What else a family needs to be small, or to be built at all.
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "blt": {"encoder_hash_byte_group_vocab": VOCABULARY},
    "dbrx": {"attn_config": {"rope_theta": 10_000.0, "kv_n_heads": 2, "clip_qkv": 8.0}},
    # Their configs have these, and their classes do not apply them.
    "gemma3": {"text_config": {"final_logit_softcapping": None}},
    "mpt": {"logit_scale": None},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0}},
    "gemma4_unified_assistant": {"text_config": {"hidden_size_per_layer_input": 0}},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [16, 16]},
    "roc_bert": {"shape_vocab_size": VOCABULARY, "pronunciation_vocab_size": VOCABULARY},
    "xmod": {"default_language": "en_XX"},
    "zamba2": {"layer_types": ["mamba", "hybrid", "mamba"]},
    "zaya": {"num_experts_per_tok": 1},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 8},
}


def tiny_config(model_type: str) -> PreTrainedConfig:
    """Return the config of a tiny model, its text part small, its other parts small where they have the usual names."""
    return _shrunk(CONFIG_MAPPING[model_type], _OF_FAMILY.get(model_type, {}))


def _shrunk(config_class: type[PreTrainedConfig], more: dict[str, Any]) -> PreTrainedConfig:
    known = {field.name for field in fields(config_class)}
    values = {name: value for name, value in _SIZES.items() if name in known}
    if (
        "qk_rope_head_dim" in known
    ):  # multi-head latent attention: no groups, and the rotated part of a head is the head
        values |= {"head_dim": values["qk_rope_head_dim"], "num_key_value_heads": values["num_attention_heads"]}
    for name, part in config_class.sub_configs.items():
        known_class: Any = part if part is not AutoConfig else type(getattr(config_class(), name, None))
        if issubclass(known_class, PreTrainedConfig):
            values[name] = _shrunk(known_class, more.get(name, {}))
    own = {name: value for name, value in more.items() if name not in config_class.sub_configs}
    return config_class(**(values | own))


def tiny_model(model_type: str, hard: bool = True) -> PreTrainedModel:
    """Return a random model in float32, the same at every call.

    Args:
        model_type: of the family.
        hard: norms have random gains and biases and matrices are large, so that a part that is left out is seen.

    Raises:
        ValueError: the config did not shrink.
    """
    torch.manual_seed(7)
    config = tiny_config(model_type)
    with torch.device("meta"):
        n_parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if n_parameters > _MOST_PARAMETERS:
        raise ValueError(f"its config did not shrink: {n_parameters:,} parameters")
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    if hard:
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4.0)
                elif "norm" in path or "ln" in path or path.endswith("bias"):
                    parameter.add_(torch.rand_like(parameter) * 0.4 - 0.2)
    return model
