"""Where a causal language model keeps what the lens needs: its blocks, final norm, head, and what follows the head.

Parts are recognised by the usual names of modules, never by the model's class, so that an unknown family works when
it uses these names. What was found is not trusted: every job compares the result with the model's own logits
(``lenscore.extraction.self_check``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from lenscore.errors import ArchitectureError

# Paths from the model to its list of blocks. The module that holds the list holds the final norm too.
_BLOCKS = (
    "model.layers",  # Llama, Mistral, Qwen, Gemma, Phi, OLMo, StableLM, Cohere, Granite
    "model.language_model.layers",  # Gemma 3 and 4 with their vision towers, and other models with one
    "language_model.model.layers",
    "transformer.h",  # GPT-2, GPT-J, BLOOM, Falcon
    "gpt_neox.layers",
    "model.decoder.layers",  # OPT
    "transformer.blocks",
    "transformer.layers",
    "model.blocks",
    "backbone.layers",  # Mamba
    "biogpt.layers",
    "gpt_neox_japanese.layers",
    "rwkv.blocks",
)
_FINAL_NORMS = (
    "norm",
    "ln_f",
    "final_layer_norm",
    "final_layernorm",
    "norm_f",
    "final_norm",
    "embedding_norm",  # LFM2, whose name for it misleads
    "layer_norm",  # XGLM, BioGPT
    "layernorm",
    "ln_out",  # RWKV
)
# Projections from the width of the residual stream to that of the embeddings, before the head.
_PROJECTIONS = ("project_out",)

# Names in a config for what is done to the head's output, in the order in which it is done.
_MULTIPLIERS = ("logit_scale", "lm_head_multiplier")  # Cohere; Falcon-H1
_DIVISORS = ("logits_scaling",)  # Granite
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap")  # Gemma 2 to 4; RecurrentGemma
# Names in a config for the number of residual streams that run side by side.
_STREAMS = ("altup_num_inputs", "hc_mult")  # Gemma 3n; DeepSeek-V4, HY-4


@dataclass(frozen=True)
class Architecture:
    """The parts of a model that the lens uses.

    Attributes:
        backbone: the model without its head; running it runs every block.
        blocks: the L blocks, in order. The input of the first is layer 0, the output of block l is layer l.
        final_norm: None where the model has none (OPT with its norms after the blocks).
        projection: applied between final norm and head; None in most models.
        head: maps to the vocabulary, bias included.
        head_dtype: the precision of the head's weights, to which its input is cast: some models keep their residual
            stream in float32 beside weights in half precision.
        logit_scale: multiplies the head's output.
        soft_cap: c in c·tanh(logits / c), applied last; None where there is none.
    """

    backbone: nn.Module
    blocks: Sequence[nn.Module]
    final_norm: nn.Module | None
    projection: nn.Module | None
    head: nn.Module
    head_dtype: torch.dtype
    logit_scale: float
    soft_cap: float | None


def find_architecture(model: PreTrainedModel) -> Architecture:
    """Find a model's parts by the usual names.

    Raises:
        ArchitectureError: the blocks, the final norm or the head was not found; names what was
            looked for and what the model has. Or the model has several residual streams.
    """
    config = model.config.get_text_config()
    _refuse_several_streams(model, config)
    stack, blocks = _find_blocks(model)
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise ArchitectureError(
            f"{model_name(model)}: the head was not found: get_output_embeddings() gives {head!r}; "
            "a causal language model whose class defines it is needed"
        )
    scale = 1.0
    for name in _MULTIPLIERS:
        scale *= getattr(config, name, None) or 1.0
    for name in _DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    caps = [cap for name in _SOFT_CAPS if (cap := getattr(config, name, None)) is not None]
    return Architecture(
        backbone=model.base_model,
        blocks=tuple(blocks),
        final_norm=_find_final_norm(model, stack),
        projection=next((part for name in _PROJECTIONS if (part := getattr(stack, name, None)) is not None), None),
        head=head,
        head_dtype=_dtype_of(head),
        logit_scale=scale,
        soft_cap=caps[0] if caps else None,
    )


def _refuse_several_streams(model: PreTrainedModel, config: PreTrainedConfig) -> None:
    for name in _STREAMS:
        if (n_streams := getattr(config, name, None) or 1) > 1:
            raise ArchitectureError(
                f"{model_name(model)}: its residual stream consists of {n_streams} streams that blocks mix ({name} in "
                "its config), and no layer has one state that its head could read: leave the model out of the study"
            )


def _dtype_of(head: nn.Module) -> torch.dtype:
    # A packed head says it itself: its plain weight would have to be made again.
    dtype = getattr(head, "dtype", None)
    return dtype if isinstance(dtype, torch.dtype) else next(head.parameters()).dtype


def _find_blocks(model: PreTrainedModel) -> tuple[nn.Module, nn.ModuleList]:
    for path in _BLOCKS:
        parts = path.split(".")
        stack = _descend(model, parts[:-1])
        blocks = getattr(stack, parts[-1], None)
        if stack is not None and isinstance(blocks, nn.ModuleList) and len(blocks) > 0:
            return stack, blocks
    raise ArchitectureError(
        f"{model_name(model)}: the blocks were not found: no module list at any of {', '.join(_BLOCKS)}; "
        f"the model has {_outline(model)}"
    )


def _find_final_norm(model: PreTrainedModel, stack: nn.Module) -> nn.Module | None:
    for name in _FINAL_NORMS:
        # Present but None: the model says that it has no final norm.
        if name in stack._modules or hasattr(stack, name):
            norm: nn.Module | None = getattr(stack, name)
            return norm
    names = ", ".join(name for name, _ in stack.named_children())
    raise ArchitectureError(
        f"{model_name(model)}: the final norm was not found: none of {', '.join(_FINAL_NORMS)} next to the blocks, "
        f"where there are {names}"
    )


def _descend(module: nn.Module | None, names: Sequence[str]) -> nn.Module | None:
    for name in names:
        module = getattr(module, name, None)
    return module


def _outline(model: PreTrainedModel) -> str:
    names = []
    for name, child in model.named_children():
        inner = ", ".join(inner for inner, _ in child.named_children())
        names.append(f"{name} ({inner})" if inner else name)
    return "; ".join(names)


def model_name(model: PreTrainedModel) -> str:
    """Return how messages name a model: its class and the family in its config."""
    return f"{type(model).__name__} (model_type {model.config.model_type})"
