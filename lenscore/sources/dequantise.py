"""GGUF models as float32 safetensors, through transformers' own loader."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from lenscore.errors import SourceError
from lenscore.sources.download import one_line
from lenscore.sources.pretrained import refuse_incomplete, told_in_one_line

logger = logging.getLogger(__name__)

_MAGIC = b"GGUF"  # how a file begins
# Keys of a file's own, and of its place among the parts: a joined file has others.
_OF_ONE_FILE = ("GGUF.", "split.", "general.architecture")


def dequantise(parts: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Write weights (float32 safetensors), config and tokenizer of a GGUF model into ``folder``.

    The same files and the same transformers give the same bytes.

    Args:
        parts: its file, or its files in order where it was split.
        folder: where to write; for a while it holds a copy of parts that have to be joined.

    Returns:
        Facts about the conversion, for the manifest.

    Raises:
        SourceError: a file is not GGUF, of a family that transformers cannot read from it, or lacks weights.
    """
    name = parts[0].name
    logger.info("%s: de-quantising %.1f MB to float32", name, sum(part.stat().st_size for part in parts) / 1e6)
    readers = [_reader(part) for part in parts]
    with told_in_one_line(name, "it"):
        _refuse_further_blocks(readers, name)
    if len(parts) == 1:
        _convert(parts[0], folder, name)
    else:
        with TemporaryDirectory(dir=folder) as temporary:
            joined = Path(temporary, "joined.gguf")
            with told_in_one_line(name, "its parts"):
                _join(readers, joined)
            _convert(joined, folder, name)
    return {"converted_by": f"transformers {transformers.__version__}"}


class _Reader(GGUFReader):
    """Ends where the file does: gguf's own reads what lies beyond as nothing, for as many elements as a length says."""

    def _get(self, offset: Any, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
        found = super()._get(offset, dtype, count, override_order)
        if found.size < count:
            raise IndexError(f"something is to be read at byte {offset:,}")
        return found


def _reader(part: Path) -> GGUFReader:
    """Read a file's metadata, and where its weights are."""
    with part.open("rb") as file:
        magic = file.read(len(_MAGIC))
    size = part.stat().st_size
    if magic != _MAGIC:
        raise SourceError(
            f"{part.name} ({size:,} bytes) is no GGUF file: it begins with {magic!r}, not with {_MAGIC!r}"
        )
    try:
        return _Reader(part)
    # What numpy and the enumerations of gguf raise where bytes are missing or mean nothing.
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise SourceError(
            f"{part.name} ({size:,} bytes) is cut off or damaged, or of a version of GGUF that is not known: it "
            f"cannot be read to its end ({one_line(error)}); fetch it again"
        ) from None


def _refuse_further_blocks(readers: Sequence[GGUFReader], name: str) -> None:
    """Refuse weights of more blocks than the metadata says, which transformers would leave out without a word."""
    fields = readers[0].fields
    n_blocks = int(fields[f"{fields['general.architecture'].contents()}.block_count"].contents())
    of_tensors = [re.match(r"blk\.(\d+)\.", tensor.name) for reader in readers for tensor in reader.tensors]
    largest = max((int(found[1]) for found in of_tensors if found), default=-1)
    if largest >= n_blocks:
        raise SourceError(
            f"{name}: its metadata has {n_blocks} blocks (block_count), its weights {largest + 1}: the file is damaged"
        )


def _convert(gguf: Path, folder: Path, name: str) -> None:
    place: dict[str, Any] = {
        "pretrained_model_name_or_path": gguf.parent,
        "gguf_file": gguf.name,
        "trust_remote_code": False,
    }
    with told_in_one_line(name, "it"):
        # Without dequantize the weights stay in GGUF blocks, which save_pretrained refuses.
        model_and_report: Any = AutoModelForCausalLM.from_pretrained(
            **place,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(**place)
    model, report = model_and_report
    refuse_incomplete(report, name, type(model).__name__)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _join(readers: Sequence[GGUFReader], target: Path) -> None:
    """Write one file with the metadata of the first part and the tensors of all."""
    first = readers[0]
    writer = GGUFWriter(target, first.fields["general.architecture"].contents(), endianess=first.endianess)
    writer.data_alignment = first.alignment
    for field in first.fields.values():
        value, kind = field.contents(), field.types[0]
        if field.name.startswith(_OF_ONE_FILE) or (kind == GGUFValueType.ARRAY and not value):
            continue
        writer.add_key_value(field.name, value, kind, sub_type=field.types[-1] if kind == GGUFValueType.ARRAY else None)
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    for tensor in tensors:
        data = tensor.data
        writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor.data, tensor_endianess=first.endianess)
    writer.close()
