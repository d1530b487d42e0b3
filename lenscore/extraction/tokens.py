"""A context as token ids: where its answer begins, and how it is cut to a model's window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import cast

from transformers import PreTrainedTokenizerBase

from lenscore.contexts.answers import occurrence
from lenscore.contexts.context import Segment
from lenscore.errors import ContextError, shown
from lenscore.extraction.chat_template import filled_chat_template
from lenscore.extraction.segment_tokens import segment_spans, segment_tokens
from lenscore.extraction.special_tokens import Span, TextEncoder
from lenscore.prefix_tree.tree import common_length
from lenscore.study.run_settings import Chat

_DEFAULT = Chat()


@dataclass(frozen=True)
class TokenisedContext:
    """Prompt and answer, tokenised as one text.

    Attributes:
        ids: token ids of prompt and answer.
        answer_start: index in ``ids`` of the first answer token.
        border_merged: whether the tokenizer merged prompt and answer across their border, so that
            the answer begins one token earlier, with a token that contains both.
        name: how messages call it; no part of what makes two contexts equal.
        segments: the places in ``ids`` of each of the prompt's segments; None where they are not known.
    """

    ids: list[int]
    answer_start: int
    border_merged: bool
    name: str = field(default="(unnamed)", compare=False)
    segments: list[range] | None = None

    @property
    def predicting_ids(self) -> list[int]:
        """Token ids from whose states a next token is predicted: all but the last."""
        return self.ids[:-1]

    @property
    def answer_ids(self) -> list[int]:
        """The answer tokens' ids."""
        return self.ids[self.answer_start :]

    @property
    def target_ids(self) -> list[int]:
        """The token that each predicting state is asked for, as ``lens_statistics`` takes it."""
        return self.answer_ids

    @property
    def answer_positions(self) -> range:
        """Indices of the answer tokens in ``ids``."""
        return range(self.answer_start, len(self.ids))

    @property
    def predicting_positions(self) -> range:
        """Indices of the states that predict the answer tokens: each one before its token."""
        return range(self.answer_start - 1, len(self.ids) - 1)


def context_at(contexts: Sequence[TokenisedContext], position: int) -> TokenisedContext:
    """Return the context that a predicting position belongs to, of all contexts' positions one after the other."""
    for context in contexts:
        if position < len(context.answer_ids):
            return context
        position -= len(context.answer_ids)
    raise IndexError(f"position {position} after the last context")


class ContextTokenizer:
    """A model's tokenizer, for contexts: encodes segments and cuts documents.

    Args:
        tokenizer: the model's.
        chat: what its chat template is given besides the turns.
        n_embeddings: how many tokens the model reads: a tokenizer may have special tokens beyond them. None for all.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: Chat = _DEFAULT, n_embeddings: int | None = None):
        if not tokenizer.is_fast:
            raise ContextError(
                "the model's tokenizer has no fast version (tokenizer.json), which is needed to cut documents between "
                "tokens; save one in the model's folder"
            )
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        self._chat = chat
        self._n_embeddings = n_embeddings

    @cached_property
    def _leading(self) -> list[int]:
        """Ids that the tokenizer adds before every text: a beginning-of-sequence token, or nothing."""
        plain = self._encoder.encode("x", ()).ids
        whole = cast("list[int]", self._tokenizer("x", add_special_tokens=True).input_ids)
        starts = [i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain]
        return whole[: starts[0]] if starts else []

    def text(self, segments: Sequence[Segment]) -> str:
        """Return the prompt's text; the turns of a chat are wrapped in the model's own chat template.

        Raises:
            ContextError: the prompt is a chat, and the model has no chat template, or one that refuses its turns.
        """
        if all(segment.role is None for segment in segments):
            return "".join(segment.text for segment in segments)
        turns = [
            {"role": role, "content": "".join(segment.text for segment in turn)}
            for role, turn in groupby(segments, key=lambda segment: segment.role)
        ]
        reply = turns.pop()["content"] if turns[-1]["role"] == "assistant" else ""
        return filled_chat_template(self._tokenizer, turns, self._chat) + reply

    def tokenise(self, segments: Sequence[Segment], answer: str) -> TokenisedContext:
        """Tokenise prompt and answer as one text, and find the border between them.

        The data's words are plain text: a special token of the model in them is none, where the tokenizer can do that.

        Raises:
            ContextError: the ids before the answer differ from the prompt's own by more than the one
                token that may be merged across the border; or the answer or the prompt has no tokens; or
                the text has a token that the model has no embedding for.
        """
        text, spans, data = self._text_and_spans(segments)
        prompt = self._encoder.encode(text, data).ids
        whole, offsets = self._encoder.encode(text + answer, [*data, (len(text), len(text) + len(answer))])
        self._refuse_beyond_embeddings(whole)
        common = common_length(prompt, whole)
        merged = len(prompt) - common
        if common == len(whole):
            raise ContextError(f"the answer {shown(answer)} has no tokens: the tokenizer drops its characters")
        if merged > 1:
            raise ContextError(
                f"the tokenizer splits the prompt differently when the answer {shown(answer)} follows it: {merged} of "
                "the prompt's last tokens change, at most one may; end the template's reply before a space or line "
                "break"
            )
        leading = [] if self._opens_with_leading(whole) else self._leading
        start = len(leading) + common
        if start == 0:
            raise ContextError("the prompt is empty: there is no state that could predict the answer's first token")
        places = segment_tokens(spans, offsets)
        known = len(spans) == len(segments)
        shifted = [range(of.start + len(leading), of.stop + len(leading)) for of in places] if known else None
        return TokenisedContext(leading + whole, start, merged > 0, segments=shifted)

    def prompt_ids(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt that no answer follows.

        Raises:
            ContextError: the text has no tokens, or one that the model has no embedding for.
        """
        text, _, data = self._text_and_spans(segments)
        ids = self._encoder.encode(text, data).ids
        self._refuse_beyond_embeddings(ids)
        whole = ids if self._opens_with_leading(ids) else self._leading + ids
        if not whole:
            raise ContextError("the prompt is empty: there is no state that could predict a token")
        return whole

    def _text_and_spans(self, segments: Sequence[Segment]) -> tuple[str, list[Span], list[Span]]:
        """Return the prompt's text, where in it each segment is, and where the data's words are."""
        text = self.text(segments)
        spans = segment_spans(text, segments)
        data = [span for span, segment in zip(spans, segments, strict=False) if _is_data(segment)]
        self._encoder.warn_of_special_tokens(segment.text for segment in segments[len(spans) :] if _is_data(segment))
        return text, spans, data

    def _refuse_beyond_embeddings(self, ids: Sequence[int]) -> None:
        if self._n_embeddings is not None and (largest := max(ids, default=0)) >= self._n_embeddings:
            raise ContextError(
                f"its text has the special token {shown(self.token_text(largest))} (id {largest}), but the model has "
                f"embeddings for {self._n_embeddings}: take the token out of the dataset or the prompt"
            )

    def _opens_with_leading(self, ids: list[int]) -> bool:
        return ids[: len(self._leading)] == self._leading

    def n_tokens(self, text: str) -> int:
        """Return the number of tokens of a document's text by itself."""
        return len(self._offsets(text))

    def first_tokens(self, text: str, budget: int) -> str:
        """Return the longest start of ``text``, up to the end of a token, that has at most ``budget`` tokens by itself.

        A start can have more tokens by itself than within the whole text: a token can end within a
        character, and a word that is cut merges differently. So each start is tried.
        """
        offsets = self._offsets(text)
        if len(offsets) <= budget:
            return text
        starts = (text[: offsets[kept - 1][1]] for kept in range(budget, 0, -1))
        return next((start for start in starts if self.n_tokens(start) <= budget), "")

    def tokens_around(self, text: str, budget: int, answer: str) -> str:
        """Return the longest run of at most ``budget`` tokens of ``text`` with the answer in its middle.

        The answer is never cut: where it alone has more tokens than the budget, the run is the answer.

        Raises:
            ContextError: the answer does not occur in the text.
        """
        offsets = self._offsets(text)
        if len(offsets) <= budget:
            return text
        found = occurrence(answer, text)
        if found is None:
            raise ContextError(f"the answer {shown(answer)} does not occur in the document to cut around it")
        inside = [i for i, (start, end) in enumerate(offsets) if end > found[0] and start < found[1]]
        first, needed = inside[0], len(inside)
        run = text
        for spare in range(max(budget - needed, 0), -1, -1):
            begin = min(max(first - spare // 2, 0), len(offsets) - needed - spare)
            run = text[offsets[begin][0] : offsets[begin + needed + spare - 1][1]].strip()
            if self.n_tokens(run) <= budget:
                break
        return run

    def _offsets(self, text: str) -> list[Span]:
        """Return where in a document's text each token begins and ends."""
        return self._encoder.encode(text, [(0, len(text))]).offsets

    def token_text(self, token_id: int) -> str:
        """Return a token as text; bytes that are not a whole character become U+FFFD."""
        return cast("str", self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False))


def _is_data(segment: Segment) -> bool:
    """Return whether the data's words are in a segment: document, title or question."""
    return segment.kind != "frame" or segment.document is not None
