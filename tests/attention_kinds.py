"""Families of tiny models, each with a kind of attention, as parameters of tests."""

import pytest
from _pytest.mark import ParameterSet

from lenscore.prefix_tree.attention import AttentionKind

# Nothing unusual, a sliding window, a soft cap.
_COMPILED_SOON = ("llama", "mistral-window", "gemma2")


def family_and_attention(family: str, attention: AttentionKind) -> ParameterSet:
    """Return a test's parameters, marked slow where FlexAttention is compiled for one family more."""
    slow = attention == "flex" and family not in _COMPILED_SOON
    return pytest.param(family, attention, marks=[pytest.mark.slow] if slow else [], id=f"{family}-{attention}")
