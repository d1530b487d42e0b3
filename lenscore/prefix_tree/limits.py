"""How many tokens go through a model at once, so that memory is used and not exceeded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from lenscore.errors import ContextError
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree.tree import ContextTokens, n_unique_tokens

# On a CPU: trees that fit any machine, and chunks that give long matrix products whose rows stay in the caches.
_CPU_TREE, _CPU_CHUNK = 16384, 1024
# On a GPU: larger sizes make its matrix products no faster.
_GPU_TREE, _GPU_CHUNK = 65536, 8192
_SMALLEST_CHUNK = 64
# The share of a GPU's free memory that the limits count on; allocators waste some of the rest.
_USABLE_SHARE = 0.8

Context = TypeVar("Context", bound=ContextTokens)


@dataclass(frozen=True)
class Limits:
    """How much goes through a model at once.

    Attributes:
        tree_tokens: most tokens of a tree; a single context may have more.
        chunk_tokens: most tokens in a block at a time.
        mixes_questions: a tree may hold several questions. On a CPU one question is work enough, and a
            question's results are then the same to the bit whatever shard it is in.
    """

    tree_tokens: int
    chunk_tokens: int
    mixes_questions: bool

    def batches(self, questions: Sequence[Sequence[Context]]) -> Iterator[list[Context]]:
        """Yield the contexts of neighbouring questions that go through the model together."""
        if not self.mixes_questions:
            yield from (list(question) for question in questions)
            return
        batch: list[Context] = []
        size = 0
        for question in questions:
            n_tokens = n_unique_tokens([context.predicting_ids for context in question])
            if batch and size + n_tokens > self.tree_tokens:
                yield batch
                batch, size = [], 0
            batch.extend(question)
            size += n_tokens
        if batch:
            yield batch

    def halved(self, longest: int) -> "Limits":
        """Return half of these limits, for when memory ran out.

        Args:
            longest: tokens of the longest context, which cannot be cut.

        Raises:
            ContextError: nothing is left to halve.
        """
        if self.tree_tokens <= longest and self.chunk_tokens <= _SMALLEST_CHUNK:
            raise out_of_memory(longest)
        return replace(
            self,
            tree_tokens=max(self.tree_tokens // 2, longest),
            chunk_tokens=max(self.chunk_tokens // 2, _SMALLEST_CHUNK),
        )


def out_of_memory(longest: int) -> ContextError:
    """Return the error for memory in which not even one context of ``longest`` tokens fits."""
    return ContextError(
        f"the GPU's memory is too small for one context of {longest} tokens: leave it to this job alone, set the "
        "model's dtype to bfloat16, or its window to less (see docs/configuration.md)"
    )


def limits_for(loaded: LoadedModel) -> Limits:
    """Return the limits that a model leaves on its device.

    A token of the chunk in a block needs the outputs of the block's layers. A token of the tree needs
    its residual state before and after the block, and its keys and values.
    """
    if loaded.device.type == "cpu":
        return Limits(_CPU_TREE, _CPU_CHUNK, mixes_questions=False)
    torch.cuda.empty_cache()  # memory that PyTorch holds back would not be counted as free
    free = torch.cuda.mem_get_info(loaded.device)[0] * _USABLE_SHARE
    block = loaded.architecture.blocks[0]
    outputs = 4 * loaded.width + 2 * sum(getattr(layer, "out_features", 0) for layer in block.modules())
    chunk = int(free / 2 / (outputs * loaded.dtype.itemsize))
    tree = int(free / 2 / (4 * loaded.width * loaded.dtype.itemsize))
    return Limits(max(min(tree, _GPU_TREE), 1), max(min(chunk, _GPU_CHUNK), _SMALLEST_CHUNK), mixes_questions=True)
