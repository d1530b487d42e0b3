"""A model's own attention layers with the attention of a walk along a tree, through ``transformers``' interface."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel

from lenscore.prefix_tree.keys_and_values import Scores

IMPLEMENTATION = "lenscore_tree"

# Arguments of an attention function that change its scores in a way that is not done here.
_NOT_DONE = ("s_aux", "position_bias", "head_mask")
# Rotary embeddings whose frequencies depend on how long the longest context of a forward pass is.
_BY_LENGTH = ("dynamic", "longrope")

# From queries (heads, tokens, width), keys, values (groups, tokens, width) and how scores are made
# to what is drawn, (tokens, heads, width).
Attend = Callable[[Tensor, Tensor, Tensor, Scores], Tensor]

_attend: ContextVar[Attend] = ContextVar("attend")


class UnsharedAttentionError(Exception):
    """The model's attention does something that is not done here: contexts must run one by one."""


def refuse_by_config(model: PreTrainedModel) -> None:
    """Refuse a model whose config says already that its attention cannot follow a walk.

    Raises:
        UnsharedAttentionError: it does.
    """
    config = model.config.get_text_config()
    if kinds := _rotary_kinds(config) & set(_BY_LENGTH):
        raise UnsharedAttentionError(f"its rotary embedding depends on the context's length ({', '.join(kinds)})")
    if getattr(config, "num_kv_shared_layers", None):
        raise UnsharedAttentionError("its blocks read keys and values of other blocks")


@contextmanager
def attention_by(model: PreTrainedModel, attend: Attend) -> Iterator[None]:
    """Make the model's attention layers call ``attend`` inside the ``with``."""
    own = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    token = _attend.set(attend)
    try:
        yield
    finally:
        _attend.reset(token)
        model.set_attn_implementation(own)


def _rotary_kinds(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of rotary embedding that a config names, whether for all layers or by layer type."""
    found = getattr(config, "rope_parameters", None) or {}
    sections = [found, *(section for section in found.values() if isinstance(section, dict))]
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
    """Attention along a walk, with the signature of ``transformers``' attention functions.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width).
        key: (1, groups, tokens, width).
        value: as ``key``.
        attention_mask: what :func:`_window` made: the sliding window's size, or None.
        scaling: of the scores.
        dropout: 0 in inference.
        kwargs: what a family adds; none that changes the scores in another way may be set.

    Returns:
        (1, tokens, heads, width), and None for the weights.
    """
    if changed := [name for name in _NOT_DONE if kwargs.get(name) is not None]:
        raise UnsharedAttentionError(f"its attention uses {', '.join(changed)}")
    if attention_mask is not None and attention_mask.dim() > 0:
        raise UnsharedAttentionError("its attention has a mask of its own making")
    scores = Scores(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=None if attention_mask is None else int(attention_mask),
        soft_cap=kwargs.get("softcap"),
    )
    return _attend.get()(query[0], key[0], value[0], scores)[None], None


def _window(*_: Any, local_size: int | None = None, config: Any = None, **__: Any) -> Tensor | None:
    """Return the size of the sliding window that the model asks a mask for, in place of a mask of tokens²."""
    if getattr(config, "attention_chunk_size", None) is not None:
        raise UnsharedAttentionError("its attention is cut into chunks")
    return None if local_size is None else torch.tensor(local_size)


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, _window)
