"""Another attention function in a model's own attention layers, through ``transformers``' interface."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel

from lenscore.prefix_tree.attention import ScoreParameters

IMPLEMENTATION = "lenscore_tree"

# Arguments of attention functions that change the scores in ways that are not implemented here.
_UNSUPPORTED_ARGUMENTS = ("s_aux", "position_bias", "head_mask")
# Rotary embeddings whose frequencies depend on the length of the longest context in a forward pass.
_LENGTH_DEPENDENT_ROTARY = ("dynamic", "longrope")

# Takes queries (heads, tokens, width), keys and values (groups, tokens, width), and how scores are computed.
# Returns the attention's output, (tokens, heads, width).
Attend = Callable[[Tensor, Tensor, Tensor, ScoreParameters], Tensor]

_attend: ContextVar[Attend] = ContextVar("attend")


class UnsupportedAttentionError(Exception):
    """The model's attention does something that is not implemented here: its contexts must run one by one."""


def refuse_unsupported_config(model: PreTrainedModel) -> None:
    """Refuse a model whose config already says that its attention cannot run over a tree.

    Raises:
        UnsupportedAttentionError: it cannot.
    """
    config = model.config.get_text_config()
    if kinds := _rotary_kinds(config) & set(_LENGTH_DEPENDENT_ROTARY):
        raise UnsupportedAttentionError(f"its rotary embedding depends on the context's length ({', '.join(kinds)})")
    if getattr(config, "num_kv_shared_layers", None):
        raise UnsupportedAttentionError("its blocks read keys and values of other blocks")


@contextmanager
def patched_attention(model: PreTrainedModel, attend: Attend) -> Iterator[None]:
    """Make the model's attention layers call ``attend`` inside the ``with``."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    _set_implementation(model, config, IMPLEMENTATION)
    token = _attend.set(attend)
    try:
        yield
    finally:
        _attend.reset(token)
        _set_implementation(model, config, before)


def _set_implementation(model: PreTrainedModel, config: PreTrainedConfig, implementation: str) -> None:
    """Set the attention of the model's text part alone: towers for images and sound do not run, and may refuse it."""
    parts = {name: implementation for name in model.config.sub_configs if getattr(model.config, name, None) is config}
    model.set_attn_implementation(parts or implementation)


def _rotary_kinds(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of rotary embedding that a config names, for all layers or by layer type."""
    parameters = getattr(config, "rope_parameters", None) or {}
    sections = [parameters, *(section for section in parameters.values() if isinstance(section, dict))]
    return {section["rope_type"] for section in sections if "rope_type" in section}


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Call the current ``attend``, with the signature of ``transformers``' attention functions.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width).
        key: (1, groups, tokens, width).
        value: as ``key``.
        attention_mask: what :func:`_sliding_window` returned: the window's size, or None.
        scaling: of the scores.
        dropout: 0 in inference.
        kwargs: further arguments of a family. Those in ``_UNSUPPORTED_ARGUMENTS`` must not be set.

    Returns:
        (1, tokens, heads, width), and None for the weights.
    """
    if unsupported := [name for name in _UNSUPPORTED_ARGUMENTS if kwargs.get(name) is not None]:
        raise UnsupportedAttentionError(f"its attention uses {', '.join(unsupported)}")
    if attention_mask is not None and attention_mask.dim() > 0:
        raise UnsupportedAttentionError("its attention has a mask of its own making")
    parameters = ScoreParameters(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=None if attention_mask is None else int(attention_mask),
        soft_cap=kwargs.get("softcap"),
    )
    return _attend.get()(query[0], key[0], value[0], parameters)[None], None


def _sliding_window(*_: Any, local_size: int | None = None, config: Any = None, **__: Any) -> Tensor | None:
    """Return the size of the sliding window that the model asks a mask for, instead of a mask of tokens²."""
    if getattr(config, "attention_chunk_size", None) is not None:
        raise UnsupportedAttentionError("its attention is cut into chunks")
    return None if local_size is None else torch.tensor(local_size)


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, _sliding_window)
