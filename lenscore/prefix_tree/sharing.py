"""The residual states of contexts, their common tokens computed once where the model allows it."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lenscore.errors import ContextError
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import residual_states
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.attention_hook import UnsupportedAttentionError
from lenscore.prefix_tree.forward import tree_states
from lenscore.prefix_tree.limits import Context, Limits, limits_for, out_of_memory
from lenscore.prefix_tree.tree import ContextTokens, ContextTree, build_tree, groups_within_budget

_log = logging.getLogger(__name__)

# An environment variable. If it is "raise", an unexpected error of a shared pass ends the job. The tests set it: to
# fall back would hide this project's own bugs. Users have the fallback, since unknown models may do anything.
ON_SHARING_ERROR = "LENSCORE_ON_SHARING_ERROR"

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

States = Float[Tensor, "layers positions width"]

# Runs a tree. Takes the tree, the asked places in it, and how many tokens go through a block at once.
# Returns states at the asked places.
RunTree = Callable[[ContextTree, list[int], int], States]


@dataclass(frozen=True)
class TreePath:
    """A context as a path through the tree.

    Attributes:
        keys: one for each token. Two paths share a token where its keys and all keys before it are equal.
        positions: those whose states are asked for.
    """

    keys: Sequence[int]
    positions: range

    @classmethod
    def of(cls, context: ContextTokens) -> "TreePath":
        """Return the path whose keys are the context's token ids."""
        return cls(context.predicting_ids, context.predicting_positions)


class ContextRunner:
    """Runs a model over contexts and returns the states at their predicting positions.

    Attributes:
        attention: which implementation of attention runs over trees.
        fallback_reason: why contexts run one by one; None while they share their prefixes.
    """

    def __init__(self, loaded: LoadedModel, limits: Limits | None = None, attention: AttentionKind = "sdpa"):
        self.attention = attention
        self._loaded = loaded
        self._limits = limits or limits_for(loaded)
        self.fallback_reason: str | None = None
        if not loaded.model._supports_attention_backend:
            self.fall_back("its attention cannot be replaced through transformers' AttentionInterface")
        elif any(isinstance(layer, _CONVOLUTIONS) for block in loaded.architecture.blocks for layer in block.modules()):
            self.fall_back("its blocks have convolutions over tokens, which would run across the branches of a tree")

    def batches(self, questions: Sequence[Sequence[Context]]) -> Iterator[list[Context]]:
        """Yield contexts that go through the model together: those of a question, or of several."""
        return self._limits.batches(questions)

    def states(self, contexts: Sequence[ContextTokens]) -> States:
        """Return the contexts' states, layers 0 to L, one context after the other."""

        def run_tree(tree: ContextTree, asked: list[int], chunk: int) -> States:
            return tree_states(self._loaded, tree, asked, chunk, self.attention)

        states = self.states_in_trees([TreePath.of(context) for context in contexts], run_tree)
        return torch.cat([self.states_of_one(context) for context in contexts], dim=1) if states is None else states

    def states_in_trees(self, paths: Sequence[TreePath], run_tree: RunTree) -> States | None:
        """Return the states that ``run_tree`` finds at the paths' positions, one path after the other.

        Returns:
            None if contexts do not share their prefixes, or cannot from now on: they must run one by one.

        Raises:
            ContextError: there is no memory for one of the contexts.
        """
        if self.fallback_reason is not None:
            return None
        try:
            return self._within_memory(paths, run_tree)
        except UnsupportedAttentionError as error:
            self.fall_back(str(error))
            return None
        except (ContextError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if os.environ.get(ON_SHARING_ERROR) == "raise":
                raise
            self.fall_back(f"sharing fails with {type(error).__name__}: {error}")
            return None

    def states_of_one(self, context: ContextTokens) -> States:
        """Return the states of one context that is run by itself.

        Raises:
            ContextError: there is no memory for it.
        """
        inputs = {"input_ids": torch.tensor([context.ids], device=self._loaded.device)}
        positions = torch.tensor(context.predicting_positions, device=self._loaded.device)
        try:
            return residual_states(self._loaded, inputs, positions)
        except torch.OutOfMemoryError:
            raise out_of_memory(len(context.ids)) from None

    def fall_back(self, reason: str) -> None:
        """Run contexts one by one from now on."""
        self.fallback_reason = reason
        _log.info("contexts are run one by one: %s", reason)

    def _within_memory(self, paths: Sequence[TreePath], run_tree: RunTree) -> States:
        """Run the paths in trees, with lower limits whenever memory runs out."""
        while (states := self._unless_out_of_memory(paths, run_tree)) is None:
            torch.cuda.empty_cache()
            self._limits = self._limits.halved(max(len(path.keys) for path in paths))
            _log.info(
                "memory ran out: going on with %d tokens a tree, %d a chunk",
                self._limits.tree_tokens, self._limits.chunk_tokens,
            )  # fmt: skip
        return states

    def _unless_out_of_memory(self, paths: Sequence[TreePath], run_tree: RunTree) -> States | None:
        try:
            return self._run_trees(paths, run_tree)
        except torch.OutOfMemoryError:
            return None  # the caller retries outside of this handler, where no tensor of the failed pass is alive

    def _run_trees(self, paths: Sequence[TreePath], run_tree: RunTree) -> States:
        states_of_path: dict[int, States] = {}
        for group in groups_within_budget([path.keys for path in paths], self._limits.tree_tokens):
            tree = build_tree([paths[index].keys for index in group])
            asked_of_path = [
                [places[position] for position in paths[index].positions]
                for index, places in zip(group, tree.places, strict=True)
            ]
            asked = [place for places in asked_of_path for place in places]
            states = run_tree(tree, asked, self._limits.chunk_tokens)
            parts = states.split([len(places) for places in asked_of_path], dim=1)
            states_of_path.update(zip(group, parts, strict=True))
        return torch.cat([states_of_path[index] for index in range(len(paths))], dim=1)
