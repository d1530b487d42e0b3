"""Contexts as token ids: the border of the answer, the beginning of the sequence, and cuts between tokens."""

import datetime
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lenscore.contexts.answers import occurrence
from lenscore.contexts.context import Segment
from lenscore.contexts.prompts import render_prompt
from lenscore.contexts.questions import Document
from lenscore.errors import ContextError
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.study.chat import ChatSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import Chat
from tests.tiny_tokenizers import chat_like, gpt2_like, llama_like, of_characters

PROMPT = "Document [1](Title: Lemon) A ripe lemon is yellow.\n\nQuestion: which fruit is yellow?\nAnswer:"


def plain(*texts: str) -> list[Segment]:
    return [Segment("frame", None, None, text) for text in texts]


def turns(*texts_of_roles: tuple[str, str]) -> list[Segment]:
    return [Segment("frame", None, role, text) for role, text in texts_of_roles]


TRAINED = [gpt2_like(), llama_like()]


@pytest.mark.parametrize("tokenizer", TRAINED, ids=["gpt2", "llama"])
@pytest.mark.parametrize("answer", [" lemon", " the yellow lemon", " 1937", " Zürich 🍋", " x", " (lemon)"])
def test_prompt_and_answer_are_tokenised_as_one_text(tokenizer: PreTrainedTokenizerFast, answer: str) -> None:
    tokens = ContextTokenizer(tokenizer).tokenise(plain(PROMPT[:30], PROMPT[30:]), answer)
    assert tokens.ids == tokenizer(PROMPT + answer).input_ids
    assert tokens.ids[: tokens.answer_start] == tokenizer(PROMPT).input_ids
    assert tokens.answer_ids == tokens.ids[tokens.answer_start :]
    assert tokenizer.decode(tokens.ids[: tokens.answer_start] + tokens.answer_ids).endswith(PROMPT + answer)
    assert not tokens.border_merged


def test_a_special_token_that_the_model_has_no_embedding_for() -> None:
    trained = gpt2_like()
    n_embeddings = len(trained)
    trained.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer = ContextTokenizer(trained, n_embeddings=n_embeddings)
    assert tokenizer.tokenise(plain(PROMPT), " lemon").ids
    with pytest.raises(ContextError, match=rf"special token '<image>' \(id {n_embeddings}\), .* for {n_embeddings}:"):
        tokenizer.tokenise(plain(f"An <image>. {PROMPT}"), " lemon")


def test_answer_of_one_token_and_of_more() -> None:
    tokenizer = ContextTokenizer(gpt2_like())
    n = len(gpt2_like()(PROMPT).input_ids)
    one = tokenizer.tokenise(plain(PROMPT), " lemon")
    assert [tokenizer.token_text(token) for token in one.answer_ids] == [" lemon"]
    assert (list(one.answer_positions), list(one.predicting_positions)) == ([n], [n - 1])
    more = tokenizer.tokenise(plain(PROMPT), " lemon, yellow")
    assert [tokenizer.token_text(token) for token in more.answer_ids] == [" lemon", ",", " yellow"]
    assert (list(more.answer_positions), list(more.predicting_positions)) == ([n, n + 1, n + 2], [n - 1, n, n + 1])
    assert [more.ids[place] for place in more.answer_positions] == more.answer_ids


@settings(deadline=None)
@given(
    prompt=st.text(max_size=40),
    answer=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=12),
)
def test_ids_before_the_answer_are_the_prompt_s(prompt: str, answer: str) -> None:
    for tokenizer in TRAINED:
        tokens = ContextTokenizer(tokenizer).tokenise(plain(f"{prompt} Answer:"), f" {answer}")
        assert tokens.ids[: tokens.answer_start] == tokenizer(f"{prompt} Answer:").input_ids
        assert tokens.answer_ids
        assert not tokens.border_merged


# The key-value layout ends in a quotation mark, which a tokenizer may merge with the answer.
QUOTED_PROMPT = 'Value: "'
QUOTED_ANSWER = "1937"


def test_border_merge_across_it_begins_the_answer_one_token_earlier() -> None:
    tokenizer = ContextTokenizer(of_characters(('"', "1")))
    tokens = tokenizer.tokenise(plain(QUOTED_PROMPT), QUOTED_ANSWER)
    assert tokens.border_merged
    assert tokens.answer_start == len(QUOTED_PROMPT) - 1
    assert [tokenizer.token_text(token) for token in tokens.answer_ids] == ['"1', "9", "3", "7"]
    assert list(tokens.predicting_positions) == [6, 7, 8, 9]
    assert tokens.ids[:7] == of_characters()("Value: ").input_ids


def test_border_no_merge_across_it() -> None:
    tokens = ContextTokenizer(of_characters(('"', "2"), ("1", "9"))).tokenise(plain(QUOTED_PROMPT), QUOTED_ANSWER)
    assert not tokens.border_merged
    assert tokens.answer_start == len(QUOTED_PROMPT)
    assert len(tokens.answer_ids) == 3


def test_border_merge_that_takes_the_whole_answer() -> None:
    tokenizer = ContextTokenizer(of_characters(('"', "1")))
    tokens = tokenizer.tokenise(plain(QUOTED_PROMPT), "1")
    assert tokens.border_merged
    assert [tokenizer.token_text(token) for token in tokens.answer_ids] == ['"1']


def test_border_merge_of_more_than_one_of_the_prompt_s_tokens_is_an_error() -> None:
    tokenizer = ContextTokenizer(of_characters(('"', "1"), (" ", '"1')))
    with pytest.raises(ContextError, match="when the answer '1937' follows it: 2 of the prompt's last tokens change"):
        tokenizer.tokenise(plain(QUOTED_PROMPT), QUOTED_ANSWER)


def test_border_answer_without_tokens_is_an_error() -> None:
    with pytest.raises(ContextError, match="the answer '' has no tokens"):
        ContextTokenizer(gpt2_like()).tokenise(plain(QUOTED_PROMPT), "")


def test_beginning_of_sequence_stands_once_where_the_tokenizer_puts_it() -> None:
    tokenizer = llama_like()
    tokens = ContextTokenizer(tokenizer).tokenise(plain(PROMPT), " lemon")
    assert tokens.ids[0] == tokenizer.bos_token_id
    assert tokens.ids.count(tokenizer.bos_token_id) == 1


def test_beginning_of_sequence_stands_nowhere_where_it_does_not() -> None:
    tokenizer = gpt2_like()
    assert tokenizer.bos_token_id not in ContextTokenizer(tokenizer).tokenise(plain(PROMPT), " lemon").ids


def test_beginning_of_sequence_stands_once_where_the_prompt_writes_it() -> None:
    tokenizer = llama_like()
    tokens = ContextTokenizer(tokenizer).tokenise(plain("<s>", PROMPT), " lemon")
    assert tokens.ids[0] == tokenizer.bos_token_id
    assert tokens.ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("in_template", [False, True])
@pytest.mark.parametrize("before_text", [False, True])
def test_beginning_of_sequence_stands_once_or_not_at_all_in_a_chat(in_template: bool, before_text: bool) -> None:
    tokenizer = chat_like(bos_in_template=in_template, bos_before_text=before_text)
    tokens = ContextTokenizer(tokenizer).tokenise(turns(("user", "Which fruit is yellow?")), "lemon")
    wanted = [0] if in_template or before_text else []
    assert [place for place, token in enumerate(tokens.ids) if token == tokenizer.bos_token_id] == wanted
    start = tokenizer.convert_tokens_to_ids("<|start|>")
    assert next(place for place, token in enumerate(tokens.ids) if token == start) == len(wanted)


def test_beginning_of_sequence_is_a_state_that_can_predict_the_first_token() -> None:
    tokens = ContextTokenizer(llama_like()).tokenise(plain(""), " lemon")
    assert tokens.answer_start == 1
    with pytest.raises(ContextError, match="the prompt is empty"):
        ContextTokenizer(gpt2_like()).tokenise(plain(""), " lemon")


MESSAGES = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "A lemon is yellow.\n\nQuestion: which fruit is yellow?"},
]


CHAT = turns(
    ("system", "Answer briefly."), ("user", "A lemon is yellow."), ("user", "\n\nQuestion: "),
    ("user", "which fruit is yellow"), ("user", "?"),
)  # fmt: skip


def test_chat_is_worded_by_the_model_s_own_template() -> None:
    tokenizer = chat_like(bos_in_template=True)
    text = ContextTokenizer(tokenizer).text(CHAT)
    assert text == tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert text.endswith("which fruit is yellow?<|end|>\n<|start|>assistant\n")


def test_chat_ids_are_those_of_the_template_and_then_the_answer() -> None:
    tokenizer = chat_like(bos_in_template=True, bos_before_text=True)
    prompt = tokenizer.apply_chat_template(MESSAGES, tokenize=True, add_generation_prompt=True, return_dict=False)
    tokens = ContextTokenizer(tokenizer).tokenise(CHAT, "lemon")
    assert tokens.ids[: tokens.answer_start] == prompt
    assert tokenizer.decode(tokens.answer_ids) == "lemon"


def test_chat_reply_opens_the_assistant_s_turn() -> None:
    tokenizer = chat_like()
    segments = CHAT + turns(("assistant", "The answer"), ("assistant", " is"))
    opened = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert ContextTokenizer(tokenizer).text(segments) == opened + "The answer is"
    tokens = ContextTokenizer(tokenizer).tokenise(segments, " lemon")
    assert tokenizer.decode(tokens.ids) == opened + "The answer is lemon"
    assert tokenizer.decode(tokens.answer_ids) == " lemon"


@pytest.mark.parametrize("name", ["chat", "chat_sentence"])
def test_chat_templates_of_the_project_meet_it(name: str) -> None:
    document = Document("a", "Lemon", "A lemon is yellow.")
    segments, answer = render_prompt(read_template(template_path(name)), "which fruit is yellow", [document], "lemon")
    tokenizer = chat_like()
    tokens = ContextTokenizer(tokenizer).tokenise(segments, answer)
    text = tokenizer.decode(tokens.ids)
    assert text.startswith("<|start|>system\nYou answer questions briefly")
    assert "<|end|>\n<|start|>user\nAnswer the question" in text
    assert text.count("<|start|>assistant\n") == 1
    assert text.partition("<|start|>assistant\n")[2].endswith(answer)
    assert tokenizer.decode(tokens.answer_ids) == answer


DATED = """{% if date_string is not defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}"""
DATED += """Today: {{ date_string }}{% if thinking is defined and not thinking %} does not think{% endif %}. """


@pytest.mark.parametrize(
    ("chat", "start"),
    [
        (Chat(), "Today: 01 Jan 2025. <|start|>"),
        (Chat("2024-02-29"), "Today: 29 Feb 2024. <|start|>"),
        (Chat("2024-02-29", {"thinking": False}), "Today: 29 Feb 2024 does not think. <|start|>"),
        (Chat(arguments={"date_string": "yesterday"}), "Today: yesterday. <|start|>"),
    ],
)
def test_date_and_arguments_of_a_chat_template_are_the_study_s(chat: Chat, start: str) -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = DATED + tokenizer.chat_template
    assert ContextTokenizer(tokenizer, chat).text(CHAT).startswith(start)


@pytest.mark.parametrize("start", ["", "\n\n  ", "  {% if true %}\nx\n  {% endif %}\n", "{{ '' }}\n"])
def test_template_is_filled_as_the_library_fills_it(start: str) -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = start + tokenizer.chat_template
    assert ContextTokenizer(tokenizer).text(CHAT) == tokenizer.apply_chat_template(
        MESSAGES, tokenize=False, add_generation_prompt=True
    )


@pytest.mark.parametrize("format", ["%d %b %Y", "%Y-%m-%d", "%A, %-d %B %Y", "%j%%", "no date", "%H:%M"])
def test_dates_are_written_as_python_writes_them(format: str) -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = f"{{{{ strftime_now('{format}') }}}}|"
    written = ContextTokenizer(tokenizer, Chat("2024-03-05")).text(CHAT).partition("|")[0]
    assert written == datetime.date(2024, 3, 5).strftime(format)


def test_chat_template_that_fails_at_an_argument() -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = "{{ 1 + level }}" + tokenizer.chat_template
    with pytest.raises(ContextError, match=r"chat template refuses the turns"):
        ContextTokenizer(tokenizer, Chat(arguments={"level": "high"})).text(CHAT)


def test_an_argument_that_the_chat_template_does_not_have_is_refused() -> None:
    tokenizer = chat_like()
    tokenizer.chat_template = DATED + tokenizer.chat_template
    with pytest.raises(ContextError, match="has no argument thinkin, so that it would change nothing"):
        ContextTokenizer(tokenizer, Chat(arguments={"thinkin": False})).text(CHAT)


def test_what_the_library_itself_passes_to_a_template_is_not_a_study_s_to_set() -> None:
    parameters = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
    for name in [*parameters, "study_date", "strftime_now"]:
        if name != "kwargs":
            with pytest.raises(ValidationError, match=f"must not have {name}"):
                ChatSpec(arguments={name: True})


def test_chat_model_without_a_chat_template() -> None:
    with pytest.raises(ContextError, match="no chat template: use a prompt with style: text"):
        ContextTokenizer(gpt2_like()).text(CHAT)


def test_chat_template_that_knows_no_system_turn() -> None:
    tokenizer = ContextTokenizer(chat_like(system=False))
    with pytest.raises(ContextError, match=r"refuses the turns .*\(system, user\): System role not supported; "):
        tokenizer.text(CHAT)
    assert tokenizer.text(CHAT[1:]).startswith("<|start|>user\n")


def test_tokenizer_without_a_fast_version() -> None:
    with pytest.raises(ContextError, match="no fast version"):
        ContextTokenizer(ByT5Tokenizer())


def test_token_as_text() -> None:
    tokenizer = gpt2_like()
    texts = [ContextTokenizer(tokenizer).token_text(token) for token in tokenizer(" lemon\n ü").input_ids]
    assert texts == [" lemon", "\n", " ", "\ufffd", "\ufffd"]


@pytest.mark.parametrize(
    ("budget", "start"), [(0, ""), (1, "a"), (5, "a lem"), (12, "a lemon tree"), (99, "a lemon tree")]
)
def test_first_tokens_of_one_character_each(budget: int, start: str) -> None:
    assert ContextTokenizer(of_characters()).first_tokens("a lemon tree", budget) == start


def test_first_tokens_end_between_words() -> None:
    tokenizer = ContextTokenizer(gpt2_like())
    text = "A ripe lemon is yellow, and its juice is sour."
    assert [tokenizer.first_tokens(text, budget) for budget in (2, 3, 5)] == [
        "A ripe", "A ripe lemon", "A ripe lemon is yellow",
    ]  # fmt: skip


def test_first_tokens_character_of_several_tokens_is_kept_whole_or_left_out() -> None:
    tokenizer = ContextTokenizer(gpt2_like())
    assert tokenizer.n_tokens("🍋") == 4
    assert [tokenizer.first_tokens(" lemon🍋", budget) for budget in range(7)] == [
        "", " lemon", " lemon", " lemon", " lemon", " lemon🍋", " lemon🍋",
    ]  # fmt: skip


LETTERS = "abcdefghij XY klmnopqrst"


@pytest.mark.parametrize(
    ("budget", "run"),
    [
        (24, LETTERS),
        (6, "j XY k"),
        (8, "ij XY kl"),
        (7, "j XY kl"),
        (2, "XY"),
        (1, "XY"),
        (0, "XY"),
        (4, "XY"),  # and a space at either side, of which nothing is left
    ],
)
def test_tokens_around_of_one_character_each(budget: int, run: str) -> None:
    assert ContextTokenizer(of_characters()).tokens_around(LETTERS, budget, "XY") == run


def test_tokens_around_answer_near_an_end_leaves_its_share_to_the_other_side() -> None:
    tokenizer = ContextTokenizer(of_characters())
    assert tokenizer.tokens_around("XY abcdefghij", 6, "XY") == "XY abc"
    assert tokenizer.tokens_around("abcdefghij XY", 6, "XY") == "hij XY"
    assert tokenizer.tokens_around("a XY bcdefghij", 9, "XY") == "a XY bcde"


def test_tokens_around_answer_is_the_whole_word() -> None:
    tokenizer = ContextTokenizer(of_characters())
    assert tokenizer.tokens_around("It had 18 towers, but 8 spans.", 5, "8") == "t 8 s"


def test_tokens_around_answer_over_a_line_break() -> None:
    assert ContextTokenizer(of_characters()).tokens_around("was Joseph\n Strauss who", 14, "Joseph Strauss") == (
        "Joseph\n Strauss"
    )


def test_tokens_around_answer_that_is_not_there() -> None:
    with pytest.raises(ContextError, match="the answer 'Z' does not occur"):
        ContextTokenizer(of_characters()).tokens_around(LETTERS, 6, "Z")


PIECE = st.sampled_from(
    ["lemon", "yellow", "ripe", "unripe", "1937", "bridges", "Zürich", "naïve", "🍋🍋", "日本", "(", '"', ",", "x"]
)
PIECES = st.lists(st.tuples(PIECE, st.sampled_from([" ", " ", " ", "", "\n", "  "])), max_size=25)


def joined(pieces: list[tuple[str, str]]) -> str:
    return "".join(part for piece in pieces for part in piece)


@settings(deadline=None)
@given(PIECES, st.integers(0, 40))
def test_start_keeps_to_its_budget(pieces: list[tuple[str, str]], budget: int) -> None:
    text = joined(pieces)
    for own in TRAINED:
        start = ContextTokenizer(own).first_tokens(text, budget)
        counted = len(own(start, add_special_tokens=False).input_ids)
        assert text.startswith(start)
        assert counted <= budget
        # What is left over is less than a word: the next one that was there would not have fitted.
        assert start == text or counted > budget - 13


@settings(deadline=None)
@given(PIECES, PIECES, st.integers(0, 60))
def test_run_around_the_answer_keeps_to_its_budget(
    before: list[tuple[str, str]], after: list[tuple[str, str]], budget: int
) -> None:
    text = f"{joined(before)} Joseph Strauß {joined(after)}"
    for own in TRAINED:
        run = ContextTokenizer(own).tokens_around(text, budget, "Joseph Strauß")
        counted = len(own(run, add_special_tokens=False).input_ids)
        least = len(own(" Joseph Strauß", add_special_tokens=False).input_ids)
        assert run in text
        assert occurrence("Joseph Strauß", run)
        assert counted <= max(budget, least)
