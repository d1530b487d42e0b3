"""The residual states of contexts, their common tokens computed once where the model allows it."""

import logging
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.errors import ContextError
from lenscore.extraction.context_tree import grow, within_budget
from lenscore.extraction.residuals import answer_states
from lenscore.extraction.room import Room, room_for, too_small
from lenscore.extraction.tokens import TokenisedContext
from lenscore.extraction.tree_states import UnsharedAttentionError, tree_states
from lenscore.lenses.architecture import Architecture

_log = logging.getLogger(__name__)

States = Float[Tensor, "layers positions width"]


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
        for group in self._room.groups(questions):
            contexts = [context for question in group for context in question]
            yield contexts, self.of(contexts)

    def of(self, contexts: Sequence[TokenisedContext]) -> States:
        """Return the contexts' states at their predicting positions, one context after the other."""
        if self.unshared is None:
            try:
                states = self._within_memory(contexts)
            except UnsharedAttentionError as error:
                self.do_without(str(error))
            except (ContextError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                if self._has_shared:
                    raise
                # A family that is not known may do anything; by itself it is run by its own code alone.
                self.do_without(f"sharing fails with {type(error).__name__}: {error}")
            else:
                self._has_shared = True
                return states
        return torch.cat([self.alone(context) for context in contexts], dim=1)

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

    def _within_memory(self, contexts: Sequence[TokenisedContext]) -> States:
        """Share prefixes, in less room where there was no memory for more."""
        while (states := self._unless_out_of_memory(contexts)) is None:
            torch.cuda.empty_cache()
            self._room = self._room.halved(max(len(context.predicting_ids) for context in contexts))
            _log.info(
                "memory was out: going on with %d tokens a tree, %d a chunk", self._room.tree, self._room.chunk
            )  # fmt: skip
        return states

    def _unless_out_of_memory(self, contexts: Sequence[TokenisedContext]) -> States | None:
        try:
            return self._shared(contexts)
        except torch.OutOfMemoryError:
            return None  # by now, not in the handler, nothing of the failed pass is alive

    def _shared(self, contexts: Sequence[TokenisedContext]) -> States:
        found: dict[int, States] = {}
        for group in within_budget([context.predicting_ids for context in contexts], self._room.tree):
            tree = grow([contexts[index].predicting_ids for index in group])
            positions = [
                [places[position] for position in contexts[index].predicting_positions]
                for index, places in zip(group, tree.places, strict=True)
            ]
            asked = [place for places in positions for place in places]
            states = tree_states(self._model, self._architecture, tree, asked, self._room.chunk)
            found.update(zip(group, states.split([len(places) for places in positions], dim=1), strict=True))
        return torch.cat([found[index] for index in range(len(contexts))], dim=1)
