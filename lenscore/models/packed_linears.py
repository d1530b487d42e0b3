"""A model's linear layers with fast matrix products, in the precision that the study asks for."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lenscore.errors import ContextError
from lenscore.models.loading import LoadedModel
from lenscore.models.mapped_files import release_mapped_weights
from lenscore.models.products import multiplies_bf16, pack, product
from lenscore.study.models import Matmul

# Bytes of plain weights that may be in memory in addition to their packed copies.
_MOST_RESIDENT = 2**27


class PackedLinear(nn.Module):
    """x·Wᵀ + b, its weight packed.

    With ``bf16`` the product's operands and result are rounded to bfloat16, its sums are not. The bias is added in the
    input's precision.

    Attributes:
        dtype: the precision of the plain weight.
    """

    def __init__(self, weight: Float[Tensor, "outputs inputs"], bias: Tensor | None, matmul: Matmul):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = bias
        self.dtype = weight.dtype
        self._rounded = matmul == "bf16"
        self._packed = pack(weight.bfloat16() if self._rounded else weight)
        self.is_copy = self._packed is not weight  # then the plain weight is no longer needed

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The plain weight, for model code that reads it."""
        return (self._packed.to_dense() if self._packed.is_mkldnn else self._packed).to(self.dtype)

    def forward(self, states: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return the layer's output, in the precision of its input."""
        if not self._rounded:
            return product(states, self._packed, self.bias)
        rounded = product(states.bfloat16(), self._packed).to(states.dtype)
        return rounded if self.bias is None else rounded + self.bias


def pack_linears(loaded: LoadedModel, matmul: Matmul) -> LoadedModel:
    """Replace a model's linear layers by packed ones, and release the memory of the plain ones on the way.

    Args:
        loaded: all of its linear layers are replaced in place. Its ``architecture`` has the old head afterwards.
        matmul: how the blocks' matrices are multiplied. What follows the blocks stays exact: rounded logits would tie.

    Returns:
        The same model with its parts as they are now.

    Raises:
        ContextError: bfloat16 products are asked for, and this processor or model has none.
    """
    of_blocks = {module for block in loaded.architecture.blocks for module in block.modules()}
    if matmul == "bf16":
        _refuse_bf16(loaded, of_blocks)
    copied = 0
    for parent in list(loaded.model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                weight = layer.weight
            elif type(layer) is Conv1D:  # GPT-2's, whose weight is transposed
                weight = layer.weight.T
            else:
                continue
            bias = None if layer.bias is None else layer.bias.detach()
            packed = PackedLinear(weight.detach(), bias, matmul if layer in of_blocks else "exact")
            setattr(parent, name, packed)
            copied += weight.nbytes if packed.is_copy else 0
            if copied > _MOST_RESIDENT:
                release_mapped_weights()
                copied = 0
    if copied:
        release_mapped_weights()
    return LoadedModel.of(loaded.model)


def _has_experts(layer: nn.Module) -> bool:
    """Return whether a layer has the matrices of several experts in one parameter, which is no convolution's."""
    is_convolution = isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    return not is_convolution and any(parameter.dim() > 2 for parameter in layer.parameters(recurse=False))


def _refuse_bf16(loaded: LoadedModel, of_blocks: Iterable[nn.Module]) -> None:
    if not multiplies_bf16(loaded.device):
        raise ContextError(
            "matmul: bf16 is asked for, but this processor has no bfloat16 products (AVX-512 BF16, AMX, or a GPU's of "
            "compute capability 8.0 or more); set it to exact, or run on a machine that has them"
        )
    if any(map(_has_experts, of_blocks)):
        raise ContextError(
            "matmul: bf16 is for models whose blocks multiply by linear layers alone, and "
            f"{type(loaded.model).__name__} has experts; set it to exact, or set dtype to bfloat16"
        )
