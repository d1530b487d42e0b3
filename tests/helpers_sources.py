"""A model small enough to make in every run, as transformers saves it; and processes that are killed."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

SENTENCES = [
    "the lens maps a state of the residual stream to the vocabulary",
    "a question, its answers and the document that holds one of them",
    "which layer is the first whose top token is the answer token?",
]


def trained_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on three sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>")


def save_tiny_gpt2(folder: Path, max_shard_size: str = "5GB") -> None:
    """Save a GPT-2 of two layers and its tokenizer."""
    tokenizer = trained_tokenizer()
    torch.manual_seed(0)
    size = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **size))
    assert sum(parameter.numel() for parameter in model.parameters()) < 300_000
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)


def kill_at_the_line(line: str, code: str, *arguments: str) -> None:
    """Run Python code, and end it by SIGKILL once it has printed ``line``."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline()
    process.kill()
    process.wait()
    assert said.strip() == line
