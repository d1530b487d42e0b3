"""The trimmed lens: the logit lens without the largest coordinates of each state.

A few coordinates of the residual stream are often larger than all others by orders of magnitude: outlier or rogue
dimensions (Kovaleva et al. 2021, arXiv 2105.06990; Timkey & van Schijndel 2021, arXiv 2109.04404), massive activations
at single tokens (Sun et al. 2024, arXiv 2402.17762). They set the scale of a final norm. What this lens says in the
same way as the logit lens does not rest on them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.models.loading import LoadedModel
from lenscore.models.unembedding import Unembedding

# The share of a state's coordinates that is removed, rounded up: 6 of 576, 41 of 4,096.
SHARE = 0.01


@dataclass(frozen=True)
class TrimmedLens:
    """The model's own unembedding of states whose largest coordinates are 0. At layer L it is the model.

    Attributes:
        unembedding: the model's own.
        n_layers: L.
    """

    unembedding: Unembedding
    n_layers: int

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the states with their largest coordinates set to 0; those of layer L as they are.

        Each state's own: of ``width`` coordinates the ⌈1%⌉ of largest magnitude, and what equals the smallest of them.
        """
        return states if layer == self.n_layers else without_largest(states, math.ceil(SHARE * states.shape[-1]))


def without_largest(states: Float[Tensor, "*rows width"], n: int) -> Float[Tensor, "*rows width"]:
    """Return each row with its n coordinates of largest magnitude, and those equal to the n-th, set to 0."""
    magnitudes = states.abs()
    return states.masked_fill(magnitudes >= torch.topk(magnitudes, n, dim=-1).values[..., -1:], 0.0)


def load(model: LoadedModel, model_folder: Path, file: Path | None) -> TrimmedLens:
    """Return the lens of a model; it has no file."""
    return TrimmedLens(model.unembedding, model.n_layers)
