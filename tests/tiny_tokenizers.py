"""Real tokenizers, each trained in a moment on a few sentences of our own.

Their vocabularies are small, so most words are several tokens, and what a large tokenizer
does now and then (a merge across a border, a character of several tokens) is common here.
"""

import json
import string
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "Answer the question with the help of the documents below.",
    "Document [1](Title: Lemon) A ripe lemon is yellow, and its juice is sour.",
    "Document [2](Title: Lime) A lime is green; it is smaller than a lemon.",
    "Document [3](Title: Orange) The orange tree bears sweet fruit in winter.",
    "Question: which fruit is yellow when it is ripe?\nAnswer: the lemon",
    "Question: in which year was the bridge opened?\nAnswer: 1937",
    "The bridge was opened in 1937, and in 1989 it was closed for a month.",
    "Key: \"yellow\"\nValue: \"1937\"",
]  # fmt: skip

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)


@cache
def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def gpt2_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE; has a beginning-of-sequence token, but puts it before no text."""
    return PreTrainedTokenizerFast(
        tokenizer_object=_copy(_byte_level()), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )


def chat_like(
    bos_in_template: bool = False, bos_before_text: bool = False, system: bool = True
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a chat template.

    Args:
        bos_in_template: the template writes the beginning-of-sequence token itself.
        bos_before_text: the tokenizer puts it before every text.
        system: the template takes a system turn; else it raises an error, as Gemma's does.
    """
    tokenizer = _copy(_byte_level())
    if bos_before_text:
        tokenizer.post_processor = _bos_first(tokenizer, "<|endoftext|>")
    template = CHAT_TEMPLATE
    if bos_in_template:
        template = "{{ bos_token }}" + template
    if not system:
        refusal = (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        )
        template = refusal + template
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|end|>", chat_template=template
    )


@cache
def _metaspace() -> Tokenizer:
    # Trained word by word and used on whole texts, as Llama 2's: a merge spans no space, but knows no other border.
    trained = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=160, show_progress=False)
    trained.train_from_iterator((f"▁{word}" for sentence in SENTENCES for word in sentence.split()), trainer)
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [(left, right) for left, right in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>")])
    return tokenizer


def llama_like() -> PreTrainedTokenizerFast:
    """BPE with a space mark before the first word, bytes for unknown letters, and `<s>` before every text."""
    tokenizer = _copy(_metaspace())
    tokenizer.post_processor = _bos_first(tokenizer, "<s>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def of_characters(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A token a character (ASCII alone), but for the given merges, which are made across spaces and quotes too."""
    vocabulary = {character: index for index, character in enumerate(string.printable)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _bos_first(tokenizer: Tokenizer, bos: str) -> processors.PostProcessor:
    return processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.to_str())
