"""The parts of a prompt in tokens: on contexts of a token a character, and against what tokens decode to."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest
from transformers import PreTrainedTokenizerFast

from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context, Segment
from lenscore.errors import ContextError
from lenscore.extraction.parts import Part, gold_distance, tokens_of_part
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path
from tests.test_fitting import CHARACTERS, CONTEXTS
from tests.tiny_tokenizers import chat_like, gpt2_like, llama_like
from tests.zoo import ZOO


def tokenised(context: Context, tokenizer: ContextTokenizer = CHARACTERS) -> TokenisedContext:
    return tokenizer.tokenise(context.segments, context.answer)


@pytest.mark.parametrize("place", range(4))
def test_parts_of_four_documents_by_hand(place: int) -> None:
    """Each document has 4 characters of frame and 20 of text, so the question "Q?" stands at 96 and 97."""
    context = CONTEXTS[4 + place]
    tokens = tokenised(context)
    assert tokens.answer_start == 98
    parts = {part: tokens_of_part(context, tokens, part) for part in get_args(Part)}
    assert parts["documents"] == list(range(96))
    assert parts["gold"] == list(range(24 * place, 24 * (place + 1)))
    assert parts["question"] == [96]  # 97 is the last of the prompt, which predicts the answer's first token
    assert parts["examples"] == []
    assert gold_distance(context, tokens) == 97 - 24 * place


def test_separators_are_of_the_documents_and_what_stands_before_and_after_is_not() -> None:
    frame, asked = Segment("frame", None, None, "ab"), Segment("question", None, None, "Q")
    documents = [
        Segment("document", 0, None, "111"),
        Segment("frame", None, None, "//"),
        Segment("document", 1, None, "22"),
    ]
    context = replace(CONTEXTS[2], segments=(frame, *documents, frame, asked, frame), gold_index=1)
    tokens = tokenised(context)  # "ab111//22abQab XY"
    parts = {part: tokens_of_part(context, tokens, part) for part in get_args(Part)}
    assert parts == {"documents": list(range(2, 9)), "gold": [7, 8], "examples": [0, 1, 9, 10], "question": [11, 12]}
    assert gold_distance(context, tokens) == 13 - 7
    # A question that is asked before the documents too.
    context = replace(context, segments=(asked, *context.segments))
    assert tokens_of_part(context, tokenised(context), "question") == [0, 12, 13]


def test_without_a_gold_document_there_is_no_distance() -> None:
    closed_book = CONTEXTS[0]
    assert gold_distance(closed_book, tokenised(closed_book)) is None
    in_its_stead = replace(CONTEXTS[5], condition="shuffled_gold")
    assert gold_distance(in_its_stead, tokenised(in_its_stead)) == 97 - 24


def character_of_each_token(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[int]:
    """Return the place of each token's last character, from what the tokens up to it decode to."""
    return [len(tokenizer.decode(ids[: end + 1])) - 1 for end in range(len(ids))]


@pytest.mark.parametrize("prompt", ["few_shot", "examples_last", "lost_in_the_middle"])
def test_parts_are_the_words_of_their_segments(prompt: str) -> None:
    tokenizer = gpt2_like()
    spec = ContextSetSpec(documents=[3, 5], positions="all", controls=["shuffled_gold"])
    template = read_template(template_path(prompt))
    contexts, *_ = build_contexts(
        ZOO, ZOO[:2], first_place=0, set_name="main", spec=spec, template=template, missing_answer="error"
    )
    for context in contexts:
        tokens = tokenised(context, ContextTokenizer(tokenizer))
        characters = character_of_each_token(tokenizer, tokens.ids[: tokens.answer_start])
        ends = list(itertools.accumulate(len(segment.text) for segment in context.segments))
        segment_of = [next(i for i, end in enumerate(ends) if character < end) for character in characters]
        places = range(tokens.answer_start - 1)
        kinds = [context.segments[segment_of[place]] for place in places]
        gold = [place for place in places if kinds[place].document == context.gold_index]
        assert tokens_of_part(context, tokens, "gold") == gold
        assert gold_distance(context, tokens) == tokens.answer_start - 1 - gold[0]
        text = tokenizer.decode([tokens.ids[place] for place in gold])
        assert text.startswith(f"Document [{context.gold_index + 1}]")
        documents = [place for place in places if kinds[place].document is not None]
        asked = [place for place in places if kinds[place].kind == "question"]
        assert tokens_of_part(context, tokens, "documents") == list(range(documents[0], documents[-1] + 1))
        assert tokens_of_part(context, tokens, "question") == list(range(asked[0], tokens.answer_start - 1))
        # They share out the prompt but for the last token.
        shares = [tokens_of_part(context, tokens, part) for part in ("documents", "examples", "question")]
        assert sorted(itertools.chain(*shares)) == list(places)


def test_what_the_tokenizer_adds_moves_all_places() -> None:
    tokenizer = llama_like()
    context = CONTEXTS[5]
    tokens = tokenised(context, ContextTokenizer(tokenizer))
    assert tokens.ids[0] == tokenizer.bos_token_id
    assert tokens_of_part(context, tokens, "examples")[0] == 0
    gold = tokenizer.decode([tokens.ids[place] for place in tokens_of_part(context, tokens, "gold")])
    assert "abcdefg-XY-hijklmnop" in gold
    assert "1111" not in gold
    assert "Q" not in gold


STRIPPING = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("template", [None, STRIPPING])
def test_parts_are_found_within_a_chat_template(template: str | None) -> None:
    tokenizer = chat_like(bos_before_text=True)
    tokenizer.chat_template = template or tokenizer.chat_template
    segments = (
        Segment("frame", None, "system", "Be brief. "), Segment("frame", None, "user", "\n\nRead. "),
        Segment("document", 0, "user", "A lemon is yellow."), Segment("document", 1, "user", " A lime is green."),
        Segment("question", None, "user", "\nwhich is yellow"), Segment("frame", None, "user", "?\n"),
        Segment("frame", None, "assistant", "It is"),
    )  # fmt: skip
    context = replace(CONTEXTS[3], segments=segments, gold_index=1, answer=" lemon")
    tokens = tokenised(context, ContextTokenizer(tokenizer))

    def words(part: Part) -> str:
        return tokenizer.decode([tokens.ids[place] for place in tokens_of_part(context, tokens, part)])

    assert words("documents") == " A lemon is yellow. A lime is green."
    assert words("gold") == " A lime is green."
    line = "" if template else "\n"
    assert words("question").startswith(f"\nwhich is yellow?{line}<|end|>\n<|start|>assistant\nIt")
    assert words("examples").startswith("<|endoftext|><|start|>system\nBe brief.")
    assert words("examples").endswith("Read.")


def test_a_template_that_changes_the_words_leaves_no_parts() -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] | upper }}{% endfor %}"
    segments = tuple(segment._replace(role="user") for segment in CONTEXTS[5].segments)
    context = replace(CONTEXTS[5], segments=segments)
    tokens = tokenised(context, ContextTokenizer(tokenizer))
    assert tokens.segments is None
    assert gold_distance(context, tokens) is None
    with pytest.raises(ContextError, match=r"chat template changes the words of the prompt.*ablation\.scopes"):
        tokens_of_part(context, tokens, "gold")
