"""How much goes through a model at once, so that memory is used and not exceeded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from lenscore.errors import ContextError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.prefix_tree.tree import grow

# On a CPU: trees small enough for any machine, chunks that give long matrix products out of cached rows.
_CPU_TREE, _CPU_CHUNK = 16384, 1024
# On a GPU: beyond these sizes its matrix products gain nothing.
_GPU_TREE, _GPU_CHUNK = 65536, 8192
_SMALLEST_CHUNK = 64
# The share of a GPU's free memory that is planned with; allocators waste some of the rest.
_PLANNED = 0.8


@dataclass(frozen=True)
class Room:
    """Sizes of what goes through a model at once.

    Attributes:
        tree: most tokens of a tree; a single context may have more.
        chunk: most tokens in a block at a time.
        several: a tree may hold several questions. On a CPU one question fills the processor, and a
            question's figures are then the same to the bit whatever shard it is in.
    """

    tree: int
    chunk: int
    several: bool

    def groups(self, questions: Sequence[Sequence[TokenisedContext]]) -> Iterator[list[Sequence[TokenisedContext]]]:
        """Yield neighbouring questions that go together."""
        if not self.several:
            yield from ([question] for question in questions)
            return
        group: list[Sequence[TokenisedContext]] = []
        size = 0
        for question in questions:
            own = len(grow([context.predicting_ids for context in question]).ids)
            if group and size + own > self.tree:
                yield group
                group, size = [], 0
            group.append(question)
            size += own
        if group:
            yield group

    def halved(self, longest: int) -> "Room":
        """Return half the room, for when memory was out.

        Args:
            longest: tokens of the longest context, which cannot be cut.

        Raises:
            ContextError: there is nothing left to halve.
        """
        if self.tree <= longest and self.chunk <= _SMALLEST_CHUNK:
            raise too_small(longest)
        return replace(self, tree=max(self.tree // 2, longest), chunk=max(self.chunk // 2, _SMALLEST_CHUNK))


def too_small(longest: int) -> ContextError:
    """Return the error of memory in which no context of ``longest`` tokens fits."""
    return ContextError(
        f"the GPU's memory is too small for one context of {longest} tokens: leave it to this job alone, set the "
        "model's dtype to bfloat16, or its window to less (see docs/configuration.md)"
    )


def room_for(model: PreTrainedModel, blocks: Sequence[torch.nn.Module]) -> Room:
    """Return the room that a model leaves on its device.

    A token of the chunk in a block needs what each of the block's layers makes of it; a token of the tree
    its residual state before and after the block, and its keys and values.
    """
    if model.device.type == "cpu":
        return Room(_CPU_TREE, _CPU_CHUNK, several=False)
    torch.cuda.empty_cache()  # what PyTorch holds back would not be counted as free
    free = torch.cuda.mem_get_info(model.device)[0] * _PLANNED
    width = model.config.get_text_config().hidden_size
    made = 4 * width + 2 * sum(getattr(layer, "out_features", 0) for layer in blocks[0].modules())
    chunk = int(free / 2 / (made * model.dtype.itemsize))
    tree = int(free / 2 / (4 * width * model.dtype.itemsize))
    return Room(max(min(tree, _GPU_TREE), 1), max(min(chunk, _GPU_CHUNK), _SMALLEST_CHUNK), several=True)
