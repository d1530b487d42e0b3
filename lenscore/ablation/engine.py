"""What a model predicts when a block's contribution to the residual stream is taken away.

Ablating a layer shows what the layers after it cannot do without, not all that it does: later layers make up for
part of what is missing (McGrath et al. 2023, "The Hydra Effect", arXiv 2307.15771).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.ablation.context import AblatedContext, places_of
from lenscore.ablation.intervention import Contributions, ablate_in_one_pass, ablate_in_turn
from lenscore.ablation.means import Means
from lenscore.errors import NotFiniteError, SelfCheckError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import TokenisedContext, context_at
from lenscore.lenses.logit import LogitLens
from lenscore.models.finite import not_finite
from lenscore.models.rounding import difference_beyond_rounding
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
            questions: each one's contexts: :class:`lenscore.ablation.context.AblatedContext` with the parts among the
                scopes, and with donors where ``resample`` is among the replacements.
            scopes: where contributions are replaced: at every token, at those that predict the answer, or at a part's.
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
        for contexts, checked in batches:
            donated = self._donated(contexts) if "resample" in replacements else None
            targets = torch.tensor([token for context in contexts for token in context.answer_ids])
            sizes = [len(context.answer_ids) for context in contexts]
            found = {}
            for scope in scopes:
                ablated = _AblatedStates(self.run, self._contributions(replacements, scope, means, donated))
                states = ablated.at(contexts, scope)
                if checked is not None:
                    self._check_intact(scope, states[-1:], checked[-1:])
                statistics = lens_statistics(lens, states, targets, top_k=1)
                if (at := statistics.first_not_finite()) is not None:
                    variant = variants_of(self.run.loaded.n_layers, replacements)[at[0]]
                    raise self._not_finite(variant, scope, context_at(contexts, at[1]))
                found[scope] = statistics.split(sizes)
            for index in range(len(contexts)):
                yield {scope: statistics[index] for scope, statistics in found.items()}

    def _donated(self, contexts: Sequence[TokenisedContext]) -> Float[Tensor, "blocks positions width"]:
        """Return each block's contribution at the donors' predicting positions, one context after the other."""
        donors = [cast("AblatedContext", context).donor for context in contexts]
        states = self.run.runner.states([donor for donor in donors if donor is not None]).float()
        return (states[1:] - states[:-1]).to(self.run.loaded.dtype)

    def _contributions(
        self, replacements: Sequence[Replacement], scope: Scope, means: Means | None, donated: Tensor | None
    ) -> Contributions:
        loaded = self.run.loaded

        def contribution(block: int, replacement: Replacement) -> Tensor | None:
            if replacement == "skip":
                return None
            if replacement == "resample":
                assert donated is not None
                return donated[block]
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
    """The states of layer L, variant by variant, at contexts' predicting positions one context after the other.

    Contributions that differ from row to row have a row for each of these positions.
    """

    def __init__(self, run: CheckedRun, contributions: Contributions):
        self._loaded = run.loaded
        self._runner = run.runner
        self._contributions = contributions

    def at(self, contexts: Sequence[TokenisedContext], scope: Scope) -> Float[Tensor, "variants positions width"]:
        """Return the states with contributions replaced at the tokens of a scope."""
        states = self._in_one_pass(contexts) if scope == "answer" else self._in_turn(contexts, scope)
        if states is None:
            # A contribution that differs from row to row is for the answer's own tokens.
            parts = zip(contexts, self._of_each(contexts), strict=True)
            alone = [self._of_one(context, places_of(context, scope), own) for context, own in parts]
            states = torch.cat(alone, dim=1)
        return states

    def _in_turn(self, contexts: Sequence[TokenisedContext], scope: Scope) -> States | None:
        """Run one pass a variant over a tree, whose later tokens also read what the replaced ones have become.

        A token's key in the tree is made of the token and of whether it is replaced: where a document stands that is
        the gold one of another context, the first words of both may be the same.
        """
        vocabulary = self._loaded.vocabulary_size
        paths = []
        for context in contexts:
            keys = list(context.predicting_ids)
            for place in places_of(context, scope):
                if place < len(keys):
                    keys[place] += vocabulary
            paths.append(TreePath(keys, context.predicting_positions))
        return self._runner.states_in_trees(paths, self._in_turn_over_tree)

    def _in_one_pass(self, contexts: Sequence[TokenisedContext]) -> States | None:
        """Run one pass for all variants over a tree: with contributions replaced at the tokens that predict the answer.

        Other tokens' states do not change: the tree has each context's predicting tokens once for each variant, after
        one copy of the prompt. A token's key in the tree is made of the token, the context and the variant.
        """
        paths = [
            TreePath(self._keys(context, index, number), context.predicting_positions)
            for index, context in enumerate(contexts)
            for number in range(self._n_variants)
        ]
        run_tree = partial(self._in_one_pass_over_tree, self._of_each(contexts))
        states = self._runner.states_in_trees(paths, run_tree)
        if states is None:
            return None
        by_path = iter(states[0].split([len(path.positions) for path in paths]))
        by_context = [torch.stack([next(by_path) for _ in range(self._n_variants)]) for _ in contexts]
        return torch.cat(by_context, dim=1)

    @property
    def _n_variants(self) -> int:
        return sum(map(len, self._contributions)) + 1

    def _of_each(self, contexts: Sequence[TokenisedContext]) -> list[Contributions]:
        """Return the contributions of each context: of those that differ from row to row, its own rows."""
        sizes = [len(context.predicting_positions) for context in contexts]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [
            [
                [one if one is None or one.dim() == 1 else one[start : start + size] for one in of_block]
                for of_block in self._contributions
            ]
            for start, size in zip(starts, sizes, strict=True)
        ]

    def _keys(self, context: TokenisedContext, index: int, number: int) -> list[int]:
        """Return token + vocabulary · variant from the first predicting token on.

        Variants are counted over all contexts; the intact one is the last of each, and its number here is 0.
        """
        ablated = self._n_variants - 1
        variant = 0 if number == ablated else 1 + index * ablated + number
        ids, start = context.predicting_ids, context.predicting_positions.start
        return ids[:start] + [token + self._loaded.vocabulary_size * variant for token in ids[start:]]

    def _in_turn_over_tree(self, tree: ContextTree, asked: list[int], chunk: int) -> States:
        vocabulary = self._loaded.vocabulary_size
        replaced = [place for place, key in enumerate(tree.ids) if key >= vocabulary]
        tokens = replace(tree, ids=[key % vocabulary for key in tree.ids])
        # A slice costs no look-up of rows.
        rows = slice(None) if len(replaced) == len(tree.ids) else self._rows(replaced)
        with self._patched_for_tree(tokens, asked, chunk) as run:
            return ablate_in_turn(self._loaded.architecture.blocks, run, self._rows(asked), rows, self._contributions)

    def _in_one_pass_over_tree(
        self, of_each: Sequence[Contributions], tree: ContextTree, asked: list[int], chunk: int
    ) -> States:
        vocabulary = self._loaded.vocabulary_size
        rows: dict[int, list[int]] = {}
        for place, key in enumerate(tree.ids):
            rows.setdefault(key // vocabulary, []).append(place)
        tokens = replace(tree, ids=[key % vocabulary for key in tree.ids])
        n_ablated = self._n_variants - 1

        def of_variant(block: int, which: int) -> tuple[Tensor, Tensor | None]:
            """Return the places of a variant's tokens, context by context, and what replaces contributions there."""
            number = 1 + block * len(self._contributions[block]) + which
            # A tree has all tokens of a context's variant, or none of them.
            there = {index: rows[code] for index in range(len(of_each)) if (code := index * n_ablated + number) in rows}
            own = [of_each[index][block][which] for index in there]
            return self._rows([place for found in there.values() for place in found]), _joined(own)

        variants = [
            [of_variant(block, which) for which in range(len(of_block))]
            for block, of_block in enumerate(self._contributions)
        ]
        places = [[place for place, _ in of_block] for of_block in variants]
        contributions = [[contribution for _, contribution in of_block] for of_block in variants]
        with self._patched_for_tree(tokens, asked, chunk) as run:
            blocks = self._loaded.architecture.blocks
            return ablate_in_one_pass(blocks, run, self._rows(asked), places, contributions)[None]

    def _patched_for_tree(
        self, tree: ContextTree, asked: list[int], chunk: int
    ) -> AbstractContextManager[Callable[[], None]]:
        return patched_for_tree(self._loaded, tree, sorted(set(asked)), chunk, self._runner.attention)

    def _rows(self, places: Sequence[int]) -> Int[Tensor, " places"]:
        # On the device once a tree, not at every block: every copy to a GPU waits for the GPU's work to be done.
        return torch.tensor(places, dtype=torch.long, device=self._loaded.device)

    def _of_one(self, context: TokenisedContext, rows: Sequence[int], contributions: Contributions) -> States:
        # The last token is run too, though nothing is predicted from it: a rotary embedding may depend on the length.
        run = partial(self._loaded.run_blocks, input_ids=torch.tensor([context.ids], device=self._loaded.device))
        replaced = self._rows(rows)
        places = self._rows(context.predicting_positions)
        try:
            return ablate_in_turn(self._loaded.architecture.blocks, run, places, replaced, contributions)
        except torch.OutOfMemoryError:
            raise out_of_memory(len(context.ids)) from None


def _joined(contributions: Sequence[Tensor | None]) -> Tensor | None:
    """Return what replaces a block's contribution in several contexts: their rows, or what is one for them all."""
    rows = [one for one in contributions if one is not None and one.dim() == 2]
    return torch.cat(rows) if rows else next(iter(contributions), None)
