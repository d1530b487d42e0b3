"""The residual states of contexts, their common tokens computed once where the model allows it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.errors import ContextError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.architecture import Architecture
from lenscore.models.residuals import answer_states
from lenscore.prefix_tree.attention_hook import UnsharedAttentionError
from lenscore.prefix_tree.forward import tree_states
from lenscore.prefix_tree.limits import Room, room_for, too_small
from lenscore.prefix_tree.tree import ContextTree, grow, within_budget

_log = logging.getLogger(__name__)

States = Float[Tensor, "layers positions width"]

# Runs a tree: its asked places, and how many tokens go through a block at once. Returns states at the places.
InTree = Callable[[ContextTree, list[int], int], States]


@dataclass(frozen=True)
class TreePath:
    """A context to the tree in which it is to stand.

    Attributes:
        keys: its tokens; paths share tokens whose keys, and those of all before them, are equal.
        positions: those that are asked for.
    """

    keys: Sequence[int]
    positions: range

    @classmethod
    def of(cls, context: TokenisedContext) -> "TreePath":
        """Return the path of a context's own tokens."""
        return cls(context.predicting_ids, context.predicting_positions)


class ContextStates:
    """Runs a model over contexts, and keeps the states that predict the answer tokens.

    Attributes:
        unshared: why contexts are run one by one; None while they share their prefixes.
    """

    def __init__(self, model: PreTrainedModel, architecture: Architecture, room: Room | None = None):
        self._model = model
        self._architecture = architecture
        self._room = room or room_for(model, architecture.blocks)
        self._has_shared = False
        self.unshared: str | None = None
        if not model._supports_attention_backend:
            self.do_without("its attention cannot be replaced through transformers' AttentionInterface")

    def __call__(
        self, questions: Sequence[Sequence[TokenisedContext]]
    ) -> Iterator[tuple[list[TokenisedContext], States]]:
        """Yield contexts, a question's or several questions', and their states, layers 0 to L.

        The positions of the states are the contexts' predicting positions, one context after the other.
        """
        for contexts in self.groups(questions):
            yield contexts, self.of(contexts)

    def groups(self, questions: Sequence[Sequence[TokenisedContext]]) -> Iterator[list[TokenisedContext]]:
        """Yield the contexts of questions that go together."""
        for group in self._room.groups(questions):
            yield [context for question in group for context in question]

    def of(self, contexts: Sequence[TokenisedContext]) -> States:
        """Return the contexts' states at their predicting positions, one context after the other."""

        def in_tree(tree: ContextTree, asked: list[int], chunk: int) -> States:
            return tree_states(self._model, self._architecture, tree, asked, chunk)

        states = self.in_trees([TreePath.of(context) for context in contexts], in_tree)
        return torch.cat([self.alone(context) for context in contexts], dim=1) if states is None else states

    def in_trees(self, paths: Sequence[TreePath], in_tree: InTree) -> States | None:
        """Return what ``in_tree`` finds at the paths' positions, one path after the other.

        None where contexts do not share their prefixes, be it from now on: they are to be run one by one.
        """
        if self.unshared is not None:
            return None
        try:
            states = self._within_memory(paths, in_tree)
        except UnsharedAttentionError as error:
            self.do_without(str(error))
            return None
        except (ContextError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if self._has_shared:
                raise
            # A family that is not known may do anything; by itself it is run by its own code alone.
            self.do_without(f"sharing fails with {type(error).__name__}: {error}")
            return None
        self._has_shared = True
        return states

    def alone(self, context: TokenisedContext) -> States:
        """Return the states of one context, run by itself.

        Raises:
            ContextError: there is no memory for it.
        """
        device = self._model.device
        inputs = {"input_ids": torch.tensor([context.ids], device=device)}
        positions = torch.tensor(context.predicting_positions, device=device)
        try:
            return answer_states(self._architecture, inputs, positions)
        except torch.OutOfMemoryError:
            raise too_small(len(context.ids)) from None

    def do_without(self, reason: str) -> None:
        """Run contexts one by one from now on."""
        self.unshared = reason
        _log.info("contexts are run one by one: %s", reason)

    def _within_memory(self, paths: Sequence[TreePath], in_tree: InTree) -> States:
        """Share prefixes, in less room where there was no memory for more."""
        while (states := self._unless_out_of_memory(paths, in_tree)) is None:
            torch.cuda.empty_cache()
            self._room = self._room.halved(max(len(path.keys) for path in paths))
            _log.info(
                "memory was out: going on with %d tokens a tree, %d a chunk", self._room.tree, self._room.chunk
            )  # fmt: skip
        return states

    def _unless_out_of_memory(self, paths: Sequence[TreePath], in_tree: InTree) -> States | None:
        try:
            return self._shared(paths, in_tree)
        except torch.OutOfMemoryError:
            return None  # by now, not in the handler, nothing of the failed pass is alive

    def _shared(self, paths: Sequence[TreePath], in_tree: InTree) -> States:
        found: dict[int, States] = {}
        for group in within_budget([path.keys for path in paths], self._room.tree):
            tree = grow([paths[index].keys for index in group])
            positions = [
                [places[position] for position in paths[index].positions]
                for index, places in zip(group, tree.places, strict=True)
            ]
            asked = [place for places in positions for place in places]
            states = in_tree(tree, asked, self._room.chunk)
            found.update(zip(group, states.split([len(places) for places in positions], dim=1), strict=True))
        return torch.cat([found[index] for index in range(len(paths))], dim=1)
