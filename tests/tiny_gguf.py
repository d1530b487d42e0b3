"""A small Llama as GGUF files, in one piece or split."""

import json
from pathlib import Path

import gguf
import numpy as np

from tests.helpers_sources import trained_tokenizer

WIDTH, INNER, HEADS, LAYERS = 64, 96, 4, 2


def write_gguf(path: Path, without: str = "", blocks: int = LAYERS, tensors_a_file: int = 0) -> dict[str, np.ndarray]:
    """Write a small Llama with Q4_1 matrices; return its tensors as they are meant, under transformers' names.

    Args:
        path: of the file.
        without: a tensor that is left out.
        blocks: how many it says to have.
        tensors_a_file: 0 for all; else it is split into files named after ``path``.
    """
    vocabulary = trained_tokenizer().backend_tokenizer
    tokens = sorted(vocabulary.get_vocab(), key=vocabulary.get_vocab().__getitem__)
    merges = [" ".join(pair) for pair in json.loads(vocabulary.to_str())["model"]["merges"]]
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=tensors_a_file)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    generator = np.random.default_rng(0)
    meant: dict[str, np.ndarray] = {}

    def add(name: str, meant_name: str, *shape: int) -> None:
        if name == without:
            return
        tensor = generator.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, tensor)
            meant[meant_name] = tensor
            return
        blocks = gguf.quantize(tensor, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        meant[meant_name] = q4_1(blocks)
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            # llama.cpp keeps the two halves of a head interleaved.
            by_head = meant[meant_name].reshape(HEADS, WIDTH // HEADS // 2, 2, WIDTH)
            meant[meant_name] = by_head.swapaxes(1, 2).reshape(WIDTH, WIDTH)

    add("token_embd.weight", "model.embed_tokens.weight", len(tokens), WIDTH)
    add("output_norm.weight", "model.norm.weight", WIDTH)
    add("output.weight", "lm_head.weight", len(tokens), WIDTH)
    for layer in range(LAYERS):
        for name, meant_name, *shape in (
            ("attn_norm", "input_layernorm", WIDTH),
            ("ffn_norm", "post_attention_layernorm", WIDTH),
            ("attn_q", "self_attn.q_proj", WIDTH, WIDTH),
            ("attn_k", "self_attn.k_proj", WIDTH, WIDTH),
            ("attn_v", "self_attn.v_proj", WIDTH, WIDTH),
            ("attn_output", "self_attn.o_proj", WIDTH, WIDTH),
            ("ffn_gate", "mlp.gate_proj", INNER, WIDTH),
            ("ffn_up", "mlp.up_proj", INNER, WIDTH),
            ("ffn_down", "mlp.down_proj", WIDTH, INNER),
        ):
            add(f"blk.{layer}.{name}.weight", f"model.layers.{layer}.{meant_name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def q4_1(blocks: np.ndarray) -> np.ndarray:
    """De-quantise Q4_1: per 32 weights a half-precision scale and minimum, then 32 half-bytes, low ones first."""
    rows = blocks.reshape(blocks.shape[0], -1, 20)
    scale, least = (rows[..., i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
    nibbles = np.concatenate([rows[..., 4:] & 15, rows[..., 4:] >> 4], axis=-1)
    return (scale * nibbles.astype(np.float32) + least).reshape(blocks.shape[0], -1)
