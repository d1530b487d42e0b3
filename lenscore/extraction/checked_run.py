"""A model over questions' contexts as fast as it can go, checked on the first of them against its own code."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from lenscore.extraction.self_check import ReferencePass
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.causal import refuse_not_causal
from lenscore.models.device import resolve_device
from lenscore.models.loading import LoadedModel, load_model
from lenscore.models.packed_linears import pack_linears
from lenscore.models.rounding import difference_beyond_rounding
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.limits import out_of_memory
from lenscore.prefix_tree.sharing import ContextRunner, States
from lenscore.study.models import Matmul

_log = logging.getLogger(__name__)


class CheckedRun:
    """Runs a model with shared prefixes, and with packed linear layers if it may, for a lens or for an ablation.

    The model's own code runs on one of the first contexts too, before any of it is replaced. If the states do
    not agree, contexts no longer share their prefixes; if the logits do not agree, the job ends.

    Attributes:
        loaded: the model. If they are to be, its linear layers are packed when the first contexts come.
        matmul: how its blocks' matrices are multiplied.
        attention: which implementation of attention runs over contexts that share their prefixes.
        self_check_difference: largest |lens at layer L − model's own logit|; None before the first contexts.
    """

    def __init__(
        self, loaded: LoadedModel, matmul: Matmul = "exact", attention: AttentionKind = "sdpa", *, packs: bool = True
    ):
        self.loaded = loaded
        self.matmul = matmul
        self._packs = packs  # a model that is somebody else's stays as it is
        self.attention = attention
        self.self_check_difference: float | None = None
        self._runner: ContextRunner | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: str = "float32",
        matmul: Matmul = "exact",
        device: str = "auto",
        attention: AttentionKind = "sdpa",
    ) -> "CheckedRun":
        """Load a model's safetensors.

        Raises:
            ContextError: the device that is asked for does not exist.
            ArchitectureError: a part of the model was not found.
        """
        return cls(load_model(folder, dtype, resolve_device(device)), matmul, attention)

    def anew(self) -> "CheckedRun":
        """Return a run of the same model that checks it again, on its own first contexts."""
        return CheckedRun(self.loaded, self.matmul, self.attention, packs=self._packs)

    @property
    def runner(self) -> ContextRunner:
        """Runs further passes over contexts of :meth:`batches`; exists once that was called with questions."""
        assert self._runner is not None, "no question has been given to batches() or states()"
        return self._runner

    @property
    def precision(self) -> torch.dtype:
        """The precision in which the blocks' matrices are multiplied."""
        return torch.bfloat16 if self.matmul == "bf16" else self.loaded.dtype

    @property
    def prefix_sharing(self) -> str:
        """``shared``, or why contexts run one by one, or that none have been run."""
        if self._runner is None:
            return "nothing was run"
        return self._runner.fallback_reason or "shared"

    def states(
        self, questions: Sequence[Sequence[TokenisedContext]]
    ) -> Iterator[tuple[list[TokenisedContext], States]]:
        """Yield contexts that go through the model together, and their states, layers 0 to L.

        The states are those at the contexts' predicting positions, one context after the other. The model is packed
        when this returns, before the first step of the iterator.

        Args:
            questions: each one's contexts, one or more.

        Raises:
            SelfCheckError: the lens at the last layer is not the model.
            ContextError: the model does not fit its device, or the products that are asked for do not exist there.
        """
        return (
            (contexts, self.runner.states(contexts) if checked is None else checked)
            for contexts, checked in self.batches(questions)
        )

    def batches(
        self, questions: Sequence[Sequence[TokenisedContext]]
    ) -> Iterator[tuple[list[TokenisedContext], States | None]]:
        """Yield contexts that go through the model together, for callers that run passes of other kinds.

        With the first contexts of all come their checked states, with later ones None. Arguments and errors are
        those of :meth:`states`, and the model is packed when this returns.
        """
        if not questions:
            return iter(())
        # Not only before the first contexts: whoever goes on after an error must not go on unchecked.
        reference = self._prepare(questions[0]) if self.self_check_difference is None else None
        return self._batches(questions, reference)

    def _batches(
        self, questions: Sequence[Sequence[TokenisedContext]], reference: ReferencePass | None
    ) -> Iterator[tuple[list[TokenisedContext], States | None]]:
        for contexts in self.runner.batches(questions):
            checked = None if reference is None else self._check(reference, contexts, self.runner.states(contexts))
            reference = None
            yield contexts, checked

    def _prepare(self, question: Sequence[TokenisedContext]) -> ReferencePass:
        """Run the model's own code on one of a question's contexts, then pack the model if it may be."""
        # The one that comes last in a tree: only there do tokens of other contexts come before its own.
        last = max(question, key=lambda context: context.ids)
        try:
            refuse_not_causal(self.loaded, last.ids, f"context {last.name}")
            reference = ReferencePass.of(self.loaded, last)
        except torch.OutOfMemoryError:
            raise out_of_memory(len(last.ids)) from None
        if self._packs:
            self.loaded = pack_linears(self.loaded, self.matmul)
        self._runner = ContextRunner(self.loaded, attention=self.attention)
        return reference

    def _check(self, reference: ReferencePass, contexts: Sequence[TokenisedContext], states: States) -> States:
        """Prove on one context that nothing but speed has changed; return the contexts' states after that."""
        before = sum(len(context.answer_ids) for context in contexts[: contexts.index(reference.context)])
        of_reference = slice(before, before + len(reference.context.answer_ids))
        rounded = self.matmul == "bf16"
        # Rounded products move the states away from the model's own. Sharing must not move the rounded states.
        expected = self.runner.states_of_one(reference.context) if rounded else reference.states
        if self.runner.fallback_reason is None:
            found, n_blocks = states[:, of_reference], self.loaded.n_layers
            if difference := difference_beyond_rounding(found, expected, self.precision, n_blocks):
                self.runner.fall_back(f"its states in a tree differ by {difference} from those of a context alone")
                states = self.runner.states(contexts)
            else:
                _log.info("contexts share their prefixes: states agree with those of a context alone")
        # In half precision, states that were just found to be right need not give the same logits: rounding is coarse.
        of_model = rounded or (self.precision != torch.float32 and self.runner.fallback_reason is None)
        final = reference.states if of_model else states[:, of_reference]
        self.self_check_difference = reference.check_last_layer(self.loaded.unembedding, final)
        _log.info(
            "self-check: the lens at the last layer is within %.1e of the model's logits", self.self_check_difference
        )
        return states
