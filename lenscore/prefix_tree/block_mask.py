"""Which token of a tree sees which, as FlexAttention's block mask.

In depth-first order the query at place q sees the key at place k exactly where start(q) ≤ k ≤ q < end(k). Here end(k)
is the end of the key's descendants, and start(q) the first place in the query's sliding window, or 0. So for a block of
queries and a block of keys, the extremes of these numbers say whether every query sees every key, and whether some may:
the mask costs (tokens / 128)², not tokens².
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128  # FlexAttention's own; its kernels' tiles divide it


def padded_length(n_tokens: int) -> int:
    """Return the number of rows that queries or keys need for whole blocks, two at least.

    Sizes of 1 would be compiled apart from all others, and fewer than 128 queries have a kernel of their own, with
    rules of its own.
    """
    return max(2, -(-n_tokens // BLOCK)) * BLOCK


def tree_block_mask(
    places: Int[Tensor, " queries"], starts: Int[Tensor, " queries"], ends: Int[Tensor, " keys"]
) -> BlockMask:
    """Return the mask of some tokens of a tree, the queries, over all of its places.

    Args:
        places: of the queries, in any order. As many as fill whole blocks, as are ``ends``.
        starts: for each query, the first place that it may see.
        ends: for each place, the end of its descendants; 0 where the tree has no token.
    """
    # One row a block of queries, one column a block of keys.
    first_query, last_query = (extreme[:, None] for extreme in _extremes(places))
    lowest_start, highest_start = (extreme[:, None] for extreme in _extremes(starts))
    first_end, last_end = _extremes(ends)
    first_key = torch.arange(0, len(ends), BLOCK, device=ends.device)
    last_key = first_key + BLOCK - 1
    some = (lowest_start <= last_key) & (first_key <= last_query) & (first_query < last_end)
    every = (highest_start <= first_key) & (last_key <= first_query) & (last_query < first_end)
    return BlockMask.from_kv_blocks(
        *_listed(some & ~every),
        *_listed(every),
        BLOCK_SIZE=BLOCK,
        # Compiled into the kernel, where no check of types can run: so a lambda.
        mask_mod=lambda batch, head, query, key: (
            (starts[query] <= key) & (key <= places[query]) & (places[query] < ends[key])
        ),
        compute_q_blocks=False,
    )


def _extremes(values: Int[Tensor, " tokens"]) -> tuple[Int[Tensor, " blocks"], Int[Tensor, " blocks"]]:
    """Return the lowest and the highest value of each block."""
    blocks = values.view(-1, BLOCK)
    return blocks.amin(1), blocks.amax(1)


def _listed(
    blocks: Bool[Tensor, "query_blocks key_blocks"],
) -> tuple[Int[Tensor, "1 1 query_blocks"], Int[Tensor, "1 1 query_blocks key_blocks"]]:
    """Return how many blocks of keys each block of queries has, and their indices, before those that it has not."""
    indices = torch.argsort(blocks.int(), dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], indices.int()[None, None]
