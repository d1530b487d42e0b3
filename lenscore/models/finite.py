"""NaN and infinity in what a model computes: the error that says where they came from, and what to set."""

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.errors import NotFiniteError


def first_not_finite(values: Float[Tensor, "*dimensions"]) -> tuple[int, ...] | None:
    """Return the index of the first value that is NaN or infinite; None if there is none.

    On a GPU this waits for its work, so that it belongs after a result that is waited for anyway.
    """
    finite = values.isfinite()
    return None if finite.all() else tuple((~finite).nonzero()[0].tolist())


def not_finite(model: str, dtype: torch.dtype, place: str) -> NotFiniteError:
    """Return the error for a model whose numbers are not finite.

    Args:
        model: how messages name it.
        dtype: the precision in which it was run.
        place: where: layer and context.
    """
    found = f"{model}: NaN or infinity {place}, in {str(dtype).removeprefix('torch.')}"
    if dtype == torch.float16:
        advice = "float16 overflows above 65,504: set the model's dtype to bfloat16 or float32"
    elif dtype == torch.bfloat16:
        advice = "set the model's dtype to float32"
    else:
        advice = "a wider dtype does not help here: leave out the model, or the question"
    return NotFiniteError(f"{found}; {advice}")
