"""The residual states of a question's contexts, their common tokens computed once where the model allows it."""

import logging
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.extraction.packed_tree import UnsharedAttentionError, attention_in_tree, inputs_of, pack, within_budget
from lenscore.extraction.residuals import answer_states
from lenscore.extraction.self_check import TOLERANCE
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.architecture import Architecture

_log = logging.getLogger(__name__)

# Tokens of a packed tree; bounds the memory of a forward pass, whatever the number of contexts.
TREE_BUDGET = 8192

States = Float[Tensor, "layers positions width"]


class QuestionStates:
    """Runs a model over a question's contexts, and keeps the states that predict the answer tokens.

    Attributes:
        unshared: why contexts are run one by one; None while they share their prefixes.
    """

    def __init__(self, model: PreTrainedModel, architecture: Architecture, budget: int = TREE_BUDGET):
        self._model = model
        self._architecture = architecture
        self._budget = budget
        self._proved = False
        self.unshared: str | None = None
        if not model._supports_attention_backend:
            self._do_without("its attention cannot be replaced through transformers' AttentionInterface")

    def __call__(self, contexts: Sequence[TokenisedContext]) -> list[States]:
        """Return each context's states at its predicting positions, layers 0 to L."""
        if self.unshared is None and not self._proved and len(contexts) > 1:
            self._prove(contexts)
        if self.unshared is None:
            try:
                return self._shared(contexts)
            except UnsharedAttentionError as error:
                self._do_without(str(error))
        return [self._one(context) for context in contexts]

    def _one(self, context: TokenisedContext) -> States:
        device = self._model.device
        inputs = {"input_ids": torch.tensor([context.ids], device=device)}
        return answer_states(self._architecture, inputs, torch.tensor(context.predicting_positions, device=device))

    def _shared(self, contexts: Sequence[TokenisedContext]) -> list[States]:
        device = self._model.device
        found: dict[int, States] = {}
        for group in within_budget([context.ids for context in contexts], self._budget):
            tree = pack([contexts[index].ids for index in group])
            positions = [
                [places[position] for position in contexts[index].predicting_positions]
                for index, places in zip(group, tree.places, strict=True)
            ]
            with attention_in_tree(self._model, tree):
                states = answer_states(
                    self._architecture,
                    inputs_of(tree, device),
                    torch.tensor([place for places in positions for place in places], device=device),
                )
            found.update(zip(group, states.split([len(places) for places in positions], dim=1), strict=True))
        return [found[index] for index in range(len(contexts))]

    def _prove(self, contexts: Sequence[TokenisedContext]) -> None:
        """Compare the shared way with the unshared one on the two shortest contexts, once a job."""
        shortest = sorted(contexts, key=lambda context: len(context.ids))[:2]
        try:
            shared = self._shared(shortest)
        except UnsharedAttentionError as error:
            self._do_without(str(error))
            return
        allowed = TOLERANCE[self._model.dtype]
        for context, states in zip(shortest, shared, strict=True):
            own = self._one(context)
            difference = ((states - own).abs().amax(dim=(1, 2)) / own.abs().amax(dim=(1, 2))).max().item()
            if not difference <= allowed:
                self._do_without(
                    f"its states in a packed tree differ by a share of {difference:.1g} from those of contexts alone"
                )
                return
        self._proved = True
        _log.info("contexts share their prefixes: states agree with those of contexts run one by one")

    def _do_without(self, reason: str) -> None:
        self.unshared = reason
        _log.info("contexts are run one by one: %s", reason)
