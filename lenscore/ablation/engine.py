"""What a model predicts when a block's contribution to the residual stream is taken away.

Ablating a layer shows what the layers after it cannot do without, not all that it does: later layers make up for
part of what is missing (McGrath et al. 2023, "The Hydra Effect", arXiv 2307.15771).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.ablation.intervention import Contributions, branches, detours
from lenscore.errors import SelfCheckError
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.self_check import difference
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.jobs.spent import spent_on
from lenscore.lenses.lens import LogitLens
from lenscore.models.architecture import Architecture, find_architecture
from lenscore.models.unembedding import Unembedding
from lenscore.prefix_tree.forward import over_tree
from lenscore.prefix_tree.limits import too_small
from lenscore.prefix_tree.sharing import ContextStates, States, TreePath
from lenscore.prefix_tree.tree import ContextTree
from lenscore.study.ablation import Replacement, Scope

# Mean contribution of each block, by scope: over all tokens, or over those that predict the answer.
Means = Mapping[Scope, Float[Tensor, "blocks width"]]


@dataclass(frozen=True)
class Variant:
    """A run of the model: ``block`` (1 to L) with its contribution replaced; block 0 for the intact model."""

    block: int
    replacement: Replacement | None


def variants_of(n_blocks: int, replacements: Sequence[Replacement]) -> list[Variant]:
    """Return the variants of a scope in the order in which their predictions stand: the intact one last."""
    ablated = [Variant(block, name) for block in range(1, n_blocks + 1) for name in replacements]
    return [*ablated, Variant(0, None)]


class AblationEngine(LensEngine):
    """Runs a model with each of its blocks ablated, at the answer tokens of questions' contexts."""

    def predictions(
        self,
        questions: Sequence[Sequence[TokenisedContext]],
        scopes: Sequence[Scope],
        replacements: Sequence[Replacement],
        means: Means | None = None,
    ) -> Iterator[Mapping[Scope, LensStatistics]]:
        """Yield, context by context, what each variant of each scope predicts at the answer tokens.

        Args:
            questions: each one's contexts.
            scopes: where contributions are replaced: at every token, or at those that predict the answer.
            replacements: what they are replaced by, as :func:`variants_of` takes them.
            means: mean contributions by scope, where ``mean`` is among the replacements.

        Yields:
            By scope, statistics of which a "layer" is a variant; ``kl_to_final`` is KL(intact ‖ ablated).

        Raises:
            SelfCheckError: the intact variant is not the model.
            ContextError: the model does not fit its processor.
        """
        if not questions:
            return
        own = self._prepared(questions[0]) if self._run is None else None
        assert self._run is not None
        architecture = find_architecture(self.model)
        lens = LogitLens(Unembedding.of(architecture))
        ablated = {
            scope: _AblatedStates(self.model, architecture, self._run, self._contributions(replacements, scope, means))
            for scope in scopes
        }
        for contexts in self._run.groups(questions):
            plain = None
            if own is not None:
                plain, own = self._checked(own, contexts, self._run.of(contexts)), None
            targets = torch.tensor([token for context in contexts for token in context.answer_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {}
            for scope in scopes:
                states = ablated[scope].everywhere(contexts) if scope == "all" else ablated[scope].at_answer(contexts)
                if plain is not None:
                    self._check_intact(scope, states[-1:], plain[-1:])
                found[scope] = lens_statistics(lens, states, targets, top_k=1).split(sizes)
            for index in range(len(contexts)):
                yield {scope: of_scope[index] for scope, of_scope in found.items()}

    def _contributions(self, replacements: Sequence[Replacement], scope: Scope, means: Means | None) -> Contributions:
        def contribution(block: int, replacement: Replacement) -> Tensor | None:
            if replacement == "skip":
                return None
            assert means is not None
            return means[scope][block].to(self.model.device, self.model.dtype)

        return [[contribution(block, name) for name in replacements] for block in range(self.n_layers)]

    def _check_intact(self, scope: Scope, intact: States, plain: States) -> None:
        """Prove that a run in which nothing is ablated gives what the model gives."""
        if apart := difference(intact, plain, rounded=self._matmul == "bf16"):
            raise SelfCheckError(
                f"{type(self.model).__name__} (model_type {self.model.config.model_type}): with nothing ablated, its "
                f"last layer's states differ by {apart} from the model's own (scope: {scope}): its blocks read or "
                "write more than the residual stream, and cannot be ablated here; set ablation.questions to 0"
            )


class _AblatedStates:
    """The states of layer L, variant by variant, at contexts' predicting positions one context after the other."""

    def __init__(
        self, model: PreTrainedModel, architecture: Architecture, run: ContextStates, contributions: Contributions
    ):
        self._model = model
        self._architecture = architecture
        self._run = run
        self._contributions = contributions
        self._vocabulary = model.config.get_text_config().vocab_size

    def everywhere(self, contexts: Sequence[TokenisedContext]) -> Float[Tensor, "variants positions width"]:
        """Return the states with contributions replaced at every token."""
        states = self._run.in_trees([TreePath.of(context) for context in contexts], self._detours_in_tree)
        if states is None:
            states = torch.cat([self._alone(context, slice(None)) for context in contexts], dim=1)
        return states

    def at_answer(self, contexts: Sequence[TokenisedContext]) -> Float[Tensor, "variants positions width"]:
        """Return the states with contributions replaced at all tokens that predict the context's answer.

        Other tokens' states do not change, so one pass serves all variants: each context's predicting tokens stand
        in the tree once a variant, behind the one prompt. What tells them apart is their key, which is made of
        token and variant.
        """
        paths = [
            TreePath(self._keys(context, number), context.predicting_positions)
            for context in contexts
            for number in range(self._n_variants)
        ]
        states = self._run.in_trees(paths, self._branches_in_tree)
        if states is None:
            return torch.cat([self._alone(context, context.predicting_positions) for context in contexts], dim=1)
        by_path = iter(states[0].split([len(path.positions) for path in paths]))
        by_context = [torch.stack([next(by_path) for _ in range(self._n_variants)]) for _ in contexts]
        return torch.cat(by_context, dim=1)

    @property
    def _n_variants(self) -> int:
        return sum(map(len, self._contributions)) + 1

    def _keys(self, context: TokenisedContext, number: int) -> list[int]:
        """Return token + vocabulary · variant from the first predicting token on; the intact variant's is 0."""
        variant = (number + 1) % self._n_variants
        ids, start = context.predicting_ids, context.predicting_positions.start
        return ids[:start] + [token + self._vocabulary * variant for token in ids[start:]]

    def _detours_in_tree(self, tree: ContextTree, asked: list[int], chunk: int) -> States:
        with over_tree(self._model, self._architecture, tree, sorted(set(asked)), chunk) as run:
            return detours(self._architecture, run, asked, slice(None), self._contributions)

    def _branches_in_tree(self, tree: ContextTree, asked: list[int], chunk: int) -> States:
        rows: list[list[int]] = [[] for _ in range(self._n_variants)]
        for place, key in enumerate(tree.ids):
            rows[key // self._vocabulary].append(place)
        of_variant = iter(rows[1:])
        by_block = [[next(of_variant) for _ in of_block] for of_block in self._contributions]
        tokens = replace(tree, ids=[key % self._vocabulary for key in tree.ids])
        with over_tree(self._model, self._architecture, tokens, sorted(set(asked)), chunk) as run:
            return branches(self._architecture, run, asked, by_block, self._contributions)[None]

    def _alone(self, context: TokenisedContext, rows: slice | range) -> States:
        # With the last token, though nothing is predicted from it: a rotary embedding may depend on the length.
        inputs = {"input_ids": torch.tensor([context.ids], device=self._model.device)}

        def run() -> None:
            with spent_on("model"):
                self._architecture.backbone(**inputs, use_cache=False)

        where = rows if isinstance(rows, slice) else list(rows)
        try:
            return detours(self._architecture, run, list(context.predicting_positions), where, self._contributions)
        except torch.OutOfMemoryError:
            raise too_small(len(context.ids)) from None
