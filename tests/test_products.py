"""Either library's products are those of float64, whatever the processor at hand would choose."""

import platform
from pathlib import Path

import pytest
import torch

from lenscore.models import products
from lenscore.models.products import pack, product
from lenscore.prefix_tree.attention import ScoreParameters
from lenscore.prefix_tree.key_value_cache import KeyValueCache

ONEDNN = torch.backends.mkldnn.is_available()


@pytest.fixture(params=["onednn", "mkl"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(products, "ONEDNN_DTYPES", {torch.float32} if request.param == "onednn" and ONEDNN else set())
    return request.param


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 7, 5), (600, 64, 33), (3, 130, 64)])
def test_products_are_those_of_float64(library: str, shape: tuple[int, int, int], bias: bool) -> None:
    torch.manual_seed(1)
    n_rows, inputs, outputs = shape
    rows, weight = torch.randn(2, n_rows, inputs), torch.randn(outputs, inputs)
    added = torch.randn(outputs) if bias else None
    expected = rows.double() @ weight.double().T + (0 if added is None else added)
    transposed = weight.T.contiguous().T  # the same numbers with other strides
    packed = pack(weight)
    assert packed.is_mkldnn == (library == "onednn" and ONEDNN)
    for given in (weight, transposed, packed, pack(transposed)):
        torch.testing.assert_close(product(rows, given, added).double(), expected, rtol=1e-5, atol=1e-4)


def test_attention_is_the_same_by_either(library: str) -> None:
    torch.manual_seed(1)
    keys, values, query = torch.randn(2, 300, 16), torch.randn(2, 300, 16), torch.randn(4, 300, 16)
    cache = KeyValueCache(keys, values, 300)
    cache.write(0, keys, values)
    found = torch.empty(4, 300, 16)
    cache.attend(query, range(300), ScoreParameters(0.25), found)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query.double()[None], keys.double()[None], values.double()[None], is_causal=True, scale=0.25, enable_gqa=True
    )[0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("said", "float32"), [("vendor_id : GenuineIntel", False), ("vendor_id : AuthenticAMD", True)])
def test_the_processors_maker_decides(
    said: str, float32: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(said)
    monkeypatch.setattr(products, "_CPU_INFO", file)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert (torch.float32 in products._onednn_dtypes()) == float32


def test_where_the_kernel_tells_nothing_the_platform_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6 Model 158")
    assert products._is_intel()
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert not products._is_intel()
