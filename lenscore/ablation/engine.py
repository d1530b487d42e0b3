"""What a model predicts when a block's contribution to the residual stream is taken away.

Ablating a layer shows what the layers after it cannot do without, not all that it does: later layers make up for
part of what is missing (McGrath et al. 2023, "The Hydra Effect", arXiv 2307.15771).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.ablation.intervention import Contributions, ablate_in_one_pass, ablate_in_turn
from lenscore.ablation.means import Means
from lenscore.errors import NotFiniteError, SelfCheckError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.self_check import difference_beyond_rounding
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext, context_at
from lenscore.lenses.logit import LogitLens
from lenscore.models.finite import not_finite
from lenscore.prefix_tree.forward import patched_for_tree
from lenscore.prefix_tree.limits import out_of_memory
from lenscore.prefix_tree.sharing import States, TreePath
from lenscore.prefix_tree.tree import ContextTree
from lenscore.study.ablation import Replacement, Scope


@dataclass(frozen=True)
class Variant:
    """A run of the model: ``block`` (1 to L) with its contribution replaced; block 0 for the intact model."""

    block: int
    replacement: Replacement | None


def variants_of(n_blocks: int, replacements: Sequence[Replacement]) -> list[Variant]:
    """Return the variants of a scope in the order of their predictions: block by block, the intact one last."""
    ablated = [Variant(block, name) for block in range(1, n_blocks + 1) for name in replacements]
    return [*ablated, Variant(0, None)]


class AblationEngine:
    """Runs a model with each of its blocks ablated.

    Attributes:
        run: the model, checked against its own code.
    """

    def __init__(self, run: CheckedRun):
        self.run = run

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
            By scope, statistics in which a variant takes the place of a layer; ``kl_to_final`` is KL(intact ‖ ablated).

        Raises:
            SelfCheckError: the intact variant is not the model.
            NotFiniteError: a variant's predictions have NaN or infinity.
            ContextError: the model does not fit its device, or the products that are asked for do not exist there.
        """
        if not questions:
            return
        batches = self.run.batches(questions)
        lens = LogitLens(self.run.loaded.unembedding)  # that of the packed model
        ablated = {scope: _AblatedStates(self.run, self._contributions(replacements, scope, means)) for scope in scopes}
        for contexts, checked in batches:
            targets = torch.tensor([token for context in contexts for token in context.answer_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {}
            for scope in scopes:
                of_scope = ablated[scope]
                states = of_scope.at_all_tokens(contexts) if scope == "all" else of_scope.at_predicting_tokens(contexts)
                if checked is not None:
                    self._check_intact(scope, states[-1:], checked[-1:])
                statistics = lens_statistics(lens, states, targets, top_k=1)
                if (at := statistics.first_not_finite()) is not None:
                    variant = variants_of(self.run.loaded.n_layers, replacements)[at[0]]
                    raise self._not_finite(variant, scope, context_at(contexts, at[1]))
                found[scope] = statistics.split(sizes)
            for index in range(len(contexts)):
                yield {scope: statistics[index] for scope, statistics in found.items()}

    def _contributions(self, replacements: Sequence[Replacement], scope: Scope, means: Means | None) -> Contributions:
        loaded = self.run.loaded

        def contribution(block: int, replacement: Replacement) -> Tensor | None:
            if replacement == "skip":
                return None
            assert means is not None
            return means[scope][block].to(loaded.device, loaded.dtype)

        return [[contribution(block, name) for name in replacements] for block in range(loaded.n_layers)]

    def _not_finite(self, variant: Variant, scope: Scope, context: TokenisedContext) -> NotFiniteError:
        loaded = self.run.loaded
        what = "nothing ablated" if variant.replacement is None else f"block {variant.block} ablated"
        how = f"replacement: {variant.replacement or 'none'}, scope: {scope}"
        return not_finite(loaded.name, loaded.dtype, f"with {what} ({how}) in context {context.name}")

    def _check_intact(self, scope: Scope, intact: States, checked: States) -> None:
        """Prove that a run in which nothing is ablated gives what the model gives."""
        if difference := difference_beyond_rounding(intact, checked, self.run.precision, self.run.loaded.n_layers):
            raise SelfCheckError(
                f"{self.run.loaded.name}: with nothing ablated, its last layer's states differ by {difference} from "
                f"the model's own (scope: {scope}): its blocks read or write more than the residual stream, and cannot "
                "be ablated here; set ablation.questions to 0"
            )


class _AblatedStates:
    """The states of layer L, variant by variant, at contexts' predicting positions one context after the other."""

    def __init__(self, run: CheckedRun, contributions: Contributions):
        self._loaded = run.loaded
        self._runner = run.runner
        self._contributions = contributions

    def at_all_tokens(self, contexts: Sequence[TokenisedContext]) -> Float[Tensor, "variants positions width"]:
        """Return the states with contributions replaced at every token."""
        paths = [TreePath.of(context) for context in contexts]
        states = self._runner.states_in_trees(paths, self._in_turn_over_tree)
        if states is None:
            states = torch.cat([self._of_one(context, slice(None)) for context in contexts], dim=1)
        return states

    def at_predicting_tokens(self, contexts: Sequence[TokenisedContext]) -> Float[Tensor, "variants positions width"]:
        """Return the states with contributions replaced at all tokens that predict the context's answer.

        Other tokens' states do not change, so one pass serves all variants: the tree has each context's predicting
        tokens once for each variant, after one copy of the prompt. A token's key in the tree is made of
        the token and the variant.
        """
        paths = [
            TreePath(self._keys(context, number), context.predicting_positions)
            for context in contexts
            for number in range(self._n_variants)
        ]
        states = self._runner.states_in_trees(paths, self._in_one_pass_over_tree)
        if states is None:
            return torch.cat([self._of_one(context, context.predicting_positions) for context in contexts], dim=1)
        by_path = iter(states[0].split([len(path.positions) for path in paths]))
        by_context = [torch.stack([next(by_path) for _ in range(self._n_variants)]) for _ in contexts]
        return torch.cat(by_context, dim=1)

    @property
    def _n_variants(self) -> int:
        return sum(map(len, self._contributions)) + 1

    def _keys(self, context: TokenisedContext, number: int) -> list[int]:
        """Return token + vocabulary · variant from the first predicting token on; the intact variant's number is 0."""
        variant = (number + 1) % self._n_variants
        ids, start = context.predicting_ids, context.predicting_positions.start
        return ids[:start] + [token + self._loaded.vocabulary_size * variant for token in ids[start:]]

    def _in_turn_over_tree(self, tree: ContextTree, asked: list[int], chunk: int) -> States:
        with self._patched_for_tree(tree, asked, chunk) as run:
            return ablate_in_turn(
                self._loaded.architecture.blocks, run, self._rows(asked), slice(None), self._contributions
            )

    def _in_one_pass_over_tree(self, tree: ContextTree, asked: list[int], chunk: int) -> States:
        vocabulary = self._loaded.vocabulary_size
        rows: list[list[int]] = [[] for _ in range(self._n_variants)]
        for place, key in enumerate(tree.ids):
            rows[key // vocabulary].append(place)
        of_variant = iter(rows[1:])
        by_block = [[self._rows(next(of_variant)) for _ in of_block] for of_block in self._contributions]
        tokens = replace(tree, ids=[key % vocabulary for key in tree.ids])
        with self._patched_for_tree(tokens, asked, chunk) as run:
            blocks = self._loaded.architecture.blocks
            return ablate_in_one_pass(blocks, run, self._rows(asked), by_block, self._contributions)[None]

    def _patched_for_tree(
        self, tree: ContextTree, asked: list[int], chunk: int
    ) -> AbstractContextManager[Callable[[], None]]:
        return patched_for_tree(self._loaded, tree, sorted(set(asked)), chunk, self._runner.attention)

    def _rows(self, places: Sequence[int]) -> Int[Tensor, " places"]:
        # On the device once a tree, not at every block: every copy to a GPU waits for the GPU's work to be done.
        return torch.tensor(places, dtype=torch.long, device=self._loaded.device)

    def _of_one(self, context: TokenisedContext, rows: slice | range) -> States:
        # The last token is run too, though nothing is predicted from it: a rotary embedding may depend on the length.
        run = partial(self._loaded.run_blocks, input_ids=torch.tensor([context.ids], device=self._loaded.device))
        replaced = rows if isinstance(rows, slice) else self._rows(rows)
        places = self._rows(context.predicting_positions)
        try:
            return ablate_in_turn(self._loaded.architecture.blocks, run, places, replaced, self._contributions)
        except torch.OutOfMemoryError:
            raise out_of_memory(len(context.ids)) from None
