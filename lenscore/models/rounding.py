"""How far two ways of computing the same thing may be apart: what rounding explains."""

import torch
from jaxtyping import Float
from torch import Tensor

# Largest difference allowed, relative to the magnitude: some hundred units in the last place, since
# the model multiplies its matrices in other shapes.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
# In half precision each block adds rounding of its own, and the sum of n such errors grows with √n: the tolerance is
# that of so many blocks. Two attention kernels of PyTorch differ by up to 7% after 32 blocks of a random model.
_BLOCKS_OF_TOLERANCE = 8


def explained_by_rounding(dtype: torch.dtype, n_blocks: int) -> float:
    """Return the largest difference that rounding explains, relative to the magnitude.

    Args:
        dtype: the precision in which matrices are multiplied.
        n_blocks: how many blocks come before.
    """
    growth = 1.0 if dtype == torch.float32 else max(1.0, n_blocks / _BLOCKS_OF_TOLERANCE) ** 0.5
    return _TOLERANCE[dtype] * growth


def difference_beyond_rounding(
    states: Float[Tensor, "layers positions width"],
    reference: Float[Tensor, "layers positions width"],
    dtype: torch.dtype,
    n_blocks: int,
    *,
    middle: bool = False,
) -> str | None:
    """Describe by how much states differ from the reference; None if rounding explains it.

    Each state is compared by its norm, separately: dimensions and positions differ in size by orders of magnitude.

    Args:
        states: the states to check.
        reference: what they should be.
        dtype: the precision in which matrices were multiplied, whatever that of the states.
        n_blocks: how many blocks the last of the states have gone through.
        middle: in half precision, the median over positions counts, not the largest: where a router is close to a tie,
            rounding sends single tokens to other experts.
    """
    norms = reference.float().norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
    apart = (states - reference).float().norm(dim=-1) / norms
    if middle and dtype != torch.float32:
        apart = apart.median(dim=-1).values
    largest = apart.max().item()
    # A NaN is below nothing, and so a difference too.
    return None if largest <= explained_by_rounding(dtype, n_blocks) else f"a share of {largest:.1g}"
