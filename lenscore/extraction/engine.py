"""What lenses say at every layer of a model, at the answer tokens of questions' contexts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import torch

from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.lens import Lens, LogitLens
from lenscore.models.unembedding import Unembedding

LensOf = Callable[[Unembedding], Lens]
LOGIT: Mapping[str, LensOf] = MappingProxyType({"logit": LogitLens})


class LensEngine:
    """Runs lenses over every layer of a model.

    Attributes:
        run: the model, checked against its own code.
    """

    def __init__(self, run: CheckedRun):
        self.run = run

    def statistics(
        self, questions: Sequence[Sequence[TokenisedContext]], lenses: Mapping[str, LensOf] = LOGIT, top_k: int = 5
    ) -> Iterator[list[Mapping[str, LensStatistics]]]:
        """Yield, question by question, each context's statistics by the lens's name.

        Args:
            questions: each one's contexts, one or more.
            lenses: by name, what makes a lens of the model's unembedding.
            top_k: how many of the most probable tokens to keep.

        Raises:
            SelfCheckError: the lens at the last layer is not the model.
            ContextError: the model does not fit its device, or the products that are asked for do not exist there.
        """
        batches = self.run.states(questions)
        unembedding = self.run.loaded.unembedding  # that of the packed model
        by_name = {name: lens_of(unembedding) for name, lens_of in lenses.items()}
        waiting: list[Mapping[str, LensStatistics]] = []  # of contexts whose question is not complete
        following = iter(questions)
        for contexts, states in batches:
            targets = torch.tensor([token for context in contexts for token in context.answer_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {name: lens_statistics(lens, states, targets, top_k).split(sizes) for name, lens in by_name.items()}
            waiting += [{name: found[name][index] for name in found} for index in range(len(contexts))]
            while waiting:
                n_contexts = len(next(following))
                yield waiting[:n_contexts]
                waiting = waiting[n_contexts:]
