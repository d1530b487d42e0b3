"""What lenses say at every layer of a model, at the answer tokens of questions' contexts."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.lens import Lens
from lenscore.lenses.logit import LogitLens
from lenscore.models.loading import LoadedModel

# Makes lenses, by name, for a model as it is once its linear layers are packed.
MakeLenses = Callable[[LoadedModel], Mapping[str, Lens]]


def logit_lens_alone(loaded: LoadedModel) -> Mapping[str, Lens]:
    """Return the logit lens of a model under its name."""
    return {"logit": LogitLens(loaded.unembedding)}


class LensEngine:
    """Runs lenses over every layer of a model.

    Attributes:
        run: the model, checked against its own code.
    """

    def __init__(self, run: CheckedRun):
        self.run = run

    def statistics(
        self,
        questions: Sequence[Sequence[TokenisedContext]],
        make_lenses: MakeLenses = logit_lens_alone,
        top_k: int = 5,
    ) -> Iterator[list[Mapping[str, LensStatistics]]]:
        """Yield, question by question, each context's statistics by the lens's name.

        Args:
            questions: each one's contexts, one or more.
            make_lenses: makes the lenses, by name, of the packed model.
            top_k: how many of the most probable tokens to keep.

        Raises:
            SelfCheckError: the lens at the last layer is not the model.
            ContextError: the model does not fit its device, or the products that are asked for do not exist there.
        """
        batches = self.run.states(questions)
        by_name = make_lenses(self.run.loaded)
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
