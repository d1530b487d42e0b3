"""A context in which blocks are ablated: the places of its parts, and the context that contributions come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from lenscore.contexts.context import Context
from lenscore.errors import ContextError, shown_name
from lenscore.extraction.fitting import Pair
from lenscore.extraction.parts import Part, tokens_of_part
from lenscore.extraction.tokens import TokenisedContext
from lenscore.study.ablation import PARTS, Scope


@dataclass(frozen=True)
class AblatedContext(TokenisedContext):
    """A context as the model reads it, and what the scopes of parts and the replacement ``resample`` need.

    Attributes:
        parts: the places of each part's tokens; of those parts alone that are asked for.
        donor: the same question's ``shuffled_gold`` context with the same answer; None where nothing is resampled.
    """

    parts: Mapping[Part, Sequence[int]] = field(default_factory=dict)
    donor: TokenisedContext | None = None

    @classmethod
    def of(cls, pair: Pair, scopes: Sequence[Scope], donor: TokenisedContext | None = None) -> "AblatedContext":
        """Make one of a context and its tokens.

        Args:
            pair: the context, and how the model reads it.
            scopes: of which those of parts are looked up.
            donor: of resampled contributions.

        Raises:
            ContextError: the parts of the prompt are not known, or the donor's answer has other tokens.
        """
        context, tokens = pair
        if donor is not None and donor.answer_ids != tokens.answer_ids:
            raise ContextError(
                f"context {shown_name(context.context_id)}: the answer has other tokens than in its shuffled_gold "
                "context, so that contributions cannot be resampled: leave resample out of ablation.replacements"
            )
        parts = {part: tokens_of_part(context, tokens, part) for part in PARTS if part in scopes}
        return cls(**vars(tokens), parts=parts, donor=donor)


def donors_of(contexts: Sequence[Pair]) -> dict[str, TokenisedContext]:
    """Return, by the id of each context with a gold document, its ``shuffled_gold`` context: of those that fit."""
    by_place = {_place(context): tokens for context, tokens in contexts if context.condition == "shuffled_gold"}
    return {
        context.context_id: by_place[_place(context)]
        for context, _ in contexts
        if context.is_primary and _place(context) in by_place
    }


def _place(context: Context) -> tuple[str, int, int | None]:
    return context.question_id, context.n_documents, context.gold_index


def places_of(context: TokenisedContext, scope: Scope) -> Sequence[int]:
    """Return the places of the tokens at which contributions are replaced.

    Args:
        context: an :class:`AblatedContext` where the scope is a part of the prompt.
        scope: where.
    """
    if scope == "all":
        return range(len(context.ids))
    if scope == "answer":
        return context.predicting_positions
    return cast("AblatedContext", context).parts[scope]


def known_scopes(context: TokenisedContext) -> list[Scope]:
    """Return the scopes whose places in a context are known."""
    always: list[Literal["all", "answer"]] = ["all", "answer"]
    return [*always, *context.parts] if isinstance(context, AblatedContext) else [*always]
