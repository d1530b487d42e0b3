"""A model's linear layers on the fastest matrix products, in the precision that the study asks for."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lenscore.errors import ContextError
from lenscore.models.mapped_files import leave_mapped_weights
from lenscore.models.products import multiplies_bf16, pack, product
from lenscore.study.models import Matmul

# Bytes of plain weights that may be in memory beside their packed copies.
_RESIDENT = 2**27


class PackedLinear(nn.Module):
    """x·Wᵀ + b, its weight packed.

    With ``bf16`` the product's operands and its result are rounded to bfloat16 (the sums that make it are
    not), and the bias is added in the input's own precision.
    """

    def __init__(self, weight: Float[Tensor, "outputs inputs"], bias: Tensor | None, matmul: Matmul):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = bias
        self._dtype = weight.dtype
        self._rounded = matmul == "bf16"
        self._packed = pack(weight.bfloat16() if self._rounded else weight)
        self.is_copy = self._packed is not weight  # then the plain weight is no longer needed

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The plain weight, for a model's code that looks at it."""
        return (self._packed.to_dense() if self._packed.is_mkldnn else self._packed).to(self._dtype)

    def forward(self, states: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return the layer's output, in the precision of its input."""
        if not self._rounded:
            return product(states, self._packed, self.bias)
        rounded = product(states.bfloat16(), self._packed).to(states.dtype)
        return rounded if self.bias is None else rounded + self.bias


def pack_linears(model: PreTrainedModel, blocks: Sequence[nn.Module], matmul: Matmul) -> None:
    """Replace a model's linear layers by packed ones, giving back the memory of the plain ones on the way.

    Args:
        model: all of its linear layers are replaced.
        blocks: the linear layers to which ``matmul`` applies are theirs. What follows them is the lens's unembedding,
            and stays exact: rounded logits would tie.
        matmul: how the blocks' matrices are multiplied.

    Raises:
        ContextError: bfloat16 products are asked for, and this processor or model has none.
    """
    if matmul == "bf16":
        _refuse_bf16(model, blocks)
    of_blocks = {module for block in blocks for module in block.modules()}
    copied = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                weight = layer.weight
            elif type(layer) is Conv1D:  # GPT-2's, which keeps its weight the other way round
                weight = layer.weight.T
            else:
                continue
            bias = None if layer.bias is None else layer.bias.detach()
            packed = PackedLinear(weight.detach(), bias, matmul if layer in of_blocks else "exact")
            setattr(parent, name, packed)
            copied += weight.nbytes if packed.is_copy else 0
            if copied > _RESIDENT:
                leave_mapped_weights()
                copied = 0
    if copied:
        leave_mapped_weights()


def _refuse_bf16(model: PreTrainedModel, blocks: Sequence[nn.Module]) -> None:
    if not multiplies_bf16(model.device):
        raise ContextError(
            "matmul: bf16 is asked for, but this processor has no bfloat16 products (AVX-512 BF16, AMX, or a GPU's of "
            "compute capability 8.0 or more); set it to exact, or run on a machine that has them"
        )
    if any(parameter.dim() > 2 for block in blocks for parameter in block.parameters()):
        raise ContextError(
            f"matmul: bf16 is for models whose blocks multiply by linear layers alone, and {type(model).__name__} has "
            "experts; set it to exact, or set dtype to bfloat16"
        )
