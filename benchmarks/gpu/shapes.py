"""Models of real shapes with random weights, made on the device that they run on."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import transformers as tf
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.lens.flops import LlamaShape

_LLAMA_3: dict[str, Any] = {
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}

# Qwen3-30B-A3B with a quarter of its 48 blocks: as large as Llama-3-8B.
_QWEN3_MOE: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
}

# Llama-3.2-1B, Llama-3-8B, SmolLM2-135M and others.
_CONFIGS: dict[str, Callable[[], tf.PreTrainedConfig]] = {
    "llama-1b": lambda: tf.LlamaConfig(
        **_LLAMA_3, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
    ),
    "llama-8b": lambda: tf.LlamaConfig(
        **_LLAMA_3, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
    ),
    "qwen3-moe": lambda: tf.Qwen3MoeConfig(**_QWEN3_MOE),
    "smollm2-135m": lambda: tf.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, head_dim=64, max_position_embeddings=8192, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    ),
    # Four wide blocks and a small vocabulary: what memory a pass takes, its blocks take.
    "wide": lambda: tf.LlamaConfig(
        vocab_size=8192, hidden_size=2048, intermediate_size=8192, num_hidden_layers=4, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, max_position_embeddings=16384, tie_word_embeddings=True,
    ),
}  # fmt: skip

# Instead of the sizes above, where the check only checks itself.
_SMALL = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 2,
}  # fmt: skip


# Weights that write into the residual stream; an initial block's output is about 70 times as large as the embedding.
_WRITTEN = ("o_proj.weight", "down_proj.weight", "experts.down_proj")
_EMBEDDING_OVER_BLOCK = 1 / 70
_ROUTER, _SURE = "mlp.gate.weight", 5.0


def config_of(shape: str, small: bool) -> tf.PreTrainedConfig:
    """Return the config of a shape: ``llama-1b``, ``llama-8b``, ``qwen3-moe``, ``smollm2-135m`` or ``wide``."""
    config = _CONFIGS[shape]()
    if not small:
        return config
    return type(config)(
        **{**config.to_dict(), **{name: size for name, size in _SMALL.items() if hasattr(config, name)}}
    )


def random_model(config: tf.PreTrainedConfig, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """Return a model with random weights, made on its device.

    They are those that training would begin with. In half precision two of them would make rounding look like a fault:
    what blocks write is made so small that all of it together is about as large as the embedding, or a token's own
    state would drown in what rounding does to the rest; and routers are made sure of their choice, as trained ones are.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.eval()
    if dtype == torch.float32:
        return model
    written = _EMBEDDING_OVER_BLOCK / (2 * config.num_hidden_layers) ** 0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(_WRITTEN):
                parameter.mul_(written)
            elif name.endswith(_ROUTER):
                parameter.mul_(_SURE)
    return model


def on_device(model: PreTrainedModel, device: str) -> PreTrainedModel:
    """Return a copy of a model on a device."""
    copied = copy.deepcopy(model)
    nn.Module.to(copied, device)
    return copied


def sharing_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model that has the same weights in memory, so that its modules can be replaced."""
    copied: PreTrainedModel = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    return copied


def multiplied_shape(config: tf.PreTrainedConfig) -> LlamaShape:
    """Return the matrices that a token is multiplied by; of the experts those that a router chooses."""
    shape = LlamaShape.of(config)
    if (chosen := getattr(config, "num_experts_per_tok", None)) is None:
        return shape
    return replace(shape, mlp_width=chosen * config.moe_intermediate_size)
