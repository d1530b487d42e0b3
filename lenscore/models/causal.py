"""Whether a model is causal: checked before anything is measured of it or trained on it."""

from collections.abc import Sequence

import torch

from lenscore.errors import SelfCheckError
from lenscore.models.finite import first_not_finite, not_finite
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import residual_states
from lenscore.models.rounding import difference_beyond_rounding

# Tokens of the passes that show it.
_SHORT = 32


def refuse_not_causal(loaded: LoadedModel, ids: Sequence[int], place: str) -> None:
    """Refuse a model whose earlier states change when later tokens change: what it "predicts" it has read.

    Two short passes by the model's own code are compared, with other tokens in the second half.

    Args:
        loaded: the model.
        ids: of a text, of which the first ones are used; fewer than two show nothing, and are not run.
        place: what messages call the text, as in "context q1/0".

    Raises:
        SelfCheckError: a state of the first half changes by more than rounding explains.
        NotFiniteError: a state is NaN or infinite.
    """
    if len(ids) < 2:
        return
    first = list(ids[:_SHORT])
    kept = (len(first) + 1) // 2
    # Tokens of the text itself, where it has two kinds: others may mean something to the model, as the place of an
    # image does.
    second = first[:kept] + [
        next((other for other in first if other != token), token - 1 if token else 1) for token in first[kept:]
    ]
    positions = torch.arange(kept, device=loaded.device)
    states, changed = (
        residual_states(loaded, {"input_ids": torch.tensor([tokens], device=loaded.device)}, positions)
        for tokens in (first, second)
    )
    if (at := first_not_finite(states)) is not None:
        raise not_finite(loaded.name, loaded.dtype, f"at layer {at[0]} of {place}")
    if difference := difference_beyond_rounding(changed, states, loaded.dtype, loaded.n_layers, middle=True):
        raise SelfCheckError(
            f"{loaded.name}: its states of earlier tokens change by {difference} when later tokens change: it is not "
            "causal, and has read the answer that it is to predict (an encoder, or use_bidirectional_attention in its "
            "config); a causal language model is needed"
        )
