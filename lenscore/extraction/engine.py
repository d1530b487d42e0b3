"""What lenses say at every layer of a model, at the answer tokens of questions' contexts."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from lenscore.errors import NotFiniteError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext, context_at
from lenscore.lenses.lens import Lens
from lenscore.lenses.logit import LogitLens
from lenscore.models.finite import first_not_finite, not_finite
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
            NotFiniteError: a lens gives NaN or infinity.
            ContextError: the model does not fit its device, or the products that are asked for do not exist there.
        """
        batches = self.run.states(questions)
        by_name = make_lenses(self.run.loaded)
        waiting: list[Mapping[str, LensStatistics]] = []  # of contexts whose question is not complete
        following = iter(questions)
        for contexts, states in batches:
            targets = torch.tensor([token for context in contexts for token in context.target_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {}
            for name, lens in by_name.items():
                statistics = lens_statistics(lens, states, targets, top_k)
                if (at := statistics.first_not_finite()) is not None:
                    raise self._not_finite(name, at, contexts)
                found[name] = statistics.split(sizes)
            waiting += [{name: found[name][index] for name in found} for index in range(len(contexts))]
            while waiting:
                n_contexts = len(next(following))
                yield waiting[:n_contexts]
                waiting = waiting[n_contexts:]

    def _not_finite(self, lens: str, at: tuple[int, int], contexts: Sequence[TokenisedContext]) -> NotFiniteError:
        loaded = self.run.loaded
        # One by one: contexts that share a cache may have caught it from one another.
        for context in contexts:
            if (of_states := first_not_finite(self.run.runner.states_of_one(context))) is not None:
                return not_finite(loaded.name, loaded.dtype, f"at layer {of_states[0]} of context {context.name}")
        layer, position = at
        place = f"in what lens {lens} makes of layer {layer} of context {context_at(contexts, position).name}"
        return not_finite(loaded.name, loaded.dtype, place)
