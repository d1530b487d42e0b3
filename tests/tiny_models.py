"""A tiny random model of every family, made hard: random gains and biases, tight caps, scales far from 1."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from transformers import AutoModelForCausalLM, PreTrainedModel

from lenscore.extraction.tokens import TokenisedContext

VOCABULARY = 131  # not a multiple of 64
LAYERS = 3

_LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MAMBA: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8, "num_hidden_layers": LAYERS,
}  # fmt: skip
_NO_GROUPS = {**_LLAMA, "num_key_value_heads": 4}


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


@dataclass(frozen=True)
class Family:
    """How to make one family's tiny model.

    ``shares``: its contexts may share prefixes. ``lists_layers``: transformers' ``hidden_states`` begin with layers 0
    to L − 1 of the residual stream. ``ablates``: its blocks hand on the residual stream alone.
    """

    config: Callable[[], tf.PreTrainedConfig]
    shares: bool = True
    lists_layers: bool = True
    ablates: bool = True


FAMILIES: dict[str, Family] = {
    "gpt2": Family(lambda: tf.GPT2Config(vocab_size=VOCABULARY, n_positions=128, n_embd=32, n_layer=LAYERS, n_head=4)),
    "gpt-neox": Family(lambda: tf.GPTNeoXConfig(**_without(_LLAMA, "num_key_value_heads", "head_dim"), rotary_pct=0.5)),
    "gpt-neox-sequential": Family(
        lambda: tf.GPTNeoXConfig(**_without(_LLAMA, "num_key_value_heads", "head_dim"), use_parallel_residual=False)
    ),
    "gptj": Family(
        lambda: tf.GPTJConfig(
            vocab_size=VOCABULARY, n_positions=128, n_embd=32, n_layer=LAYERS, n_head=4, rotary_dim=4,
            tie_word_embeddings=False,
        ),
        shares=False,
    ),
    "opt": Family(
        lambda: tf.OPTConfig(
            vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=LAYERS, num_attention_heads=4,
            max_position_embeddings=128, word_embed_proj_dim=32,
        )
    ),
    "opt-norm-after-projected": Family(
        lambda: tf.OPTConfig(
            vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=LAYERS, num_attention_heads=4,
            max_position_embeddings=128, word_embed_proj_dim=24, do_layer_norm_before=False,
        )
    ),
    "bloom": Family(
        lambda: tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=LAYERS, n_head=4), shares=False
    ),
    "llama": Family(lambda: tf.LlamaConfig(**_LLAMA, tie_word_embeddings=False)),
    "llama-tied": Family(lambda: tf.LlamaConfig(**_LLAMA, tie_word_embeddings=True)),
    "mistral-window": Family(lambda: tf.MistralConfig(**_LLAMA, sliding_window=8)),
    "qwen2": Family(lambda: tf.Qwen2Config(**_without(_LLAMA, "head_dim"))),
    "qwen3": Family(lambda: tf.Qwen3Config(**_LLAMA)),
    "qwen3-moe": Family(
        lambda: tf.Qwen3MoeConfig(**_LLAMA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    ),
    "mixtral": Family(lambda: tf.MixtralConfig(**_LLAMA, num_local_experts=4)),
    "smollm3": Family(lambda: tf.SmolLM3Config(**_LLAMA)),
    "gpt-oss": Family(
        lambda: tf.GptOssConfig(**_LLAMA, num_local_experts=4, num_experts_per_tok=2, sliding_window=8), shares=False
    ),
    "llama4": Family(
        lambda: tf.Llama4TextConfig(**_LLAMA, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=8),
        shares=False,
    ),
    "minimax": Family(
        lambda: tf.MiniMaxConfig(
            **_LLAMA, num_local_experts=4, layer_types=["full_attention", "linear_attention", "full_attention"]
        ),
        shares=False,
    ),
    "gemma2": Family(
        lambda: tf.Gemma2Config(**_LLAMA, final_logit_softcapping=1.5, attn_logit_softcapping=2.0, sliding_window=8)
    ),
    "gemma3": Family(lambda: tf.Gemma3TextConfig(**_LLAMA, final_logit_softcapping=1.5, sliding_window=8)),
    "phi": Family(lambda: tf.PhiConfig(**_without(_NO_GROUPS, "head_dim"))),
    "phi3": Family(lambda: tf.Phi3Config(**_without(_LLAMA, "head_dim"))),
    "phi3-longrope": Family(
        lambda: tf.Phi3Config(
            **{**_without(_LLAMA, "head_dim"), "max_position_embeddings": 256},
            original_max_position_embeddings=32,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4,
            },
        ),
        shares=False,
    ),
    "olmo2": Family(lambda: tf.Olmo2Config(**_without(_LLAMA, "head_dim"))),
    "falcon": Family(
        lambda: tf.FalconConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=4),
        shares=False,
    ),
    "falcon-new-alibi": Family(
        lambda: tf.FalconConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=4, num_kv_heads=2,
            new_decoder_architecture=True, alibi=True,
        ),
        shares=False,
    ),
    "stablelm": Family(lambda: tf.StableLmConfig(**_without(_LLAMA, "head_dim")), shares=False),
    "cohere": Family(lambda: tf.CohereConfig(**_without(_LLAMA, "head_dim"), logit_scale=0.3)),
    "granite": Family(
        lambda: tf.GraniteConfig(
            **_without(_LLAMA, "head_dim"), logits_scaling=7.0, residual_multiplier=0.6, embedding_multiplier=3.0,
            attention_multiplier=0.2,
        )
    ),
    "gemma3-with-vision": Family(
        lambda: tf.Gemma3Config(
            text_config={**_LLAMA, "sliding_window": 8},
            vision_config={
                "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 28, "patch_size": 14,
            },
        )
    ),
    "gemma4": Family(
        lambda: tf.Gemma4TextConfig(
            **_LLAMA, global_head_dim=8, num_kv_shared_layers=0, hidden_size_per_layer_input=0, sliding_window=8,
            final_logit_softcapping=1.5,
        )
    ),
    "lfm2": Family(
        lambda: tf.Lfm2Config(
            **_without(_LLAMA, "head_dim"), layer_types=["conv", "full_attention", "conv"], block_multiple_of=8
        ),
        shares=False,
    ),
    "recurrent-gemma": Family(
        lambda: tf.RecurrentGemmaConfig(
            **_LLAMA, lru_width=32, attention_window_size=8, logits_soft_cap=1.5, block_types=["recurrent", "attention"]
        ),
        shares=False,
    ),
    "rwkv": Family(
        lambda: tf.RwkvConfig(
            vocab_size=VOCABULARY, context_length=128, hidden_size=32, num_hidden_layers=LAYERS, intermediate_size=48
        ),
        shares=False,
        lists_layers=False,
    ),
    "xglm": Family(
        lambda: tf.XGLMConfig(
            vocab_size=VOCABULARY, d_model=32, ffn_dim=48, num_layers=LAYERS, attention_heads=4,
            max_position_embeddings=128,
        ),
        shares=False,
    ),
    "biogpt": Family(lambda: tf.BioGptConfig(**_without(_LLAMA, "num_key_value_heads", "head_dim")), shares=False),
    "gpt-neox-japanese": Family(
        lambda: tf.GPTNeoXJapaneseConfig(
            **_without(_LLAMA, "num_key_value_heads", "head_dim", "intermediate_size"), intermediate_multiple_size=2
        ),
        shares=False,
    ),
    "mamba": Family(lambda: tf.MambaConfig(**_MAMBA), shares=False, lists_layers=False),
    "mamba2": Family(
        lambda: tf.Mamba2Config(**_MAMBA, num_heads=8, head_dim=8, n_groups=1, chunk_size=16),
        shares=False,
        lists_layers=False,
    ),
    "falcon-mamba": Family(lambda: tf.FalconMambaConfig(**_MAMBA), shares=False, lists_layers=False),
    "zaya": Family(
        lambda: tf.ZayaConfig(
            **_without(_LLAMA, "intermediate_size"), moe_intermediate_size=16, num_experts=4, router_hidden_size=16
        ),
        shares=False,
        ablates=False,
    ),
}  # fmt: skip


def tiny_model(name: str) -> PreTrainedModel:
    """Return the family's model in float32, the same at every call."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(FAMILIES[name].config(), dtype=torch.float32).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < 300_000
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms' gains and all biases, which start as ones and zeros
                offset = 0.5 if path.endswith("weight") and "gemma" not in name else 0.0
                parameter.copy_(offset + torch.randn_like(parameter).abs() * 0.6 - (0.0 if offset else 0.3))
            else:
                parameter.mul_(6.0)  # initial weights are so small that every layer looks alike
    return model


def a_question() -> list[TokenisedContext]:
    """Return contexts as a question has them: documents in several orders, a shorter one, and none at all."""
    head, first, second, gold, tail = (token_ids(n, seed).tolist()[0] for seed, n in enumerate((4, 9, 7, 8, 5)))
    prompts = [
        head + gold + first + second,
        head + first + gold + second,
        head + first + second + gold,
        head + gold + first,
        head + first + gold,
        head,
    ]
    return [TokenisedContext(prompt + tail, len(prompt) + 2, False) for prompt in prompts]


def token_ids(length: int, seed: int = 3) -> torch.Tensor:
    """Return (1, length) random ids."""
    return torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))
