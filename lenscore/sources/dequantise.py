"""GGUF models as float32 safetensors, through transformers' own loader."""

import logging
import struct
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from lenscore.errors import SourceError
from lenscore.sources.download import one_line

logger = logging.getLogger(__name__)


def dequantise(gguf: Path, folder: Path) -> dict[str, Any]:
    """Write weights (float32 safetensors), config and tokenizer of a GGUF file into ``folder``.

    The same file and the same transformers give the same bytes.

    Returns:
        Facts about the conversion, for the manifest.

    Raises:
        SourceError: the file is not GGUF, of a family that transformers cannot read from it, or lacks weights.
    """
    logger.info("%s: de-quantising %.1f MB to float32", gguf.name, gguf.stat().st_size / 1e6)
    place: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    try:
        # Without dequantize the weights stay in GGUF blocks, which save_pretrained refuses.
        model_and_report: Any = AutoModelForCausalLM.from_pretrained(
            **place,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(**place)
    except (ValueError, NotImplementedError, OSError, struct.error) as error:
        raise SourceError(
            f"{gguf.name}: transformers {transformers.__version__} cannot read it: {one_line(error)}"
        ) from error
    model, report = model_and_report
    # transformers fills what it does not find with random numbers, and only warns.
    if missing := sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]):
        raise SourceError(
            f"{gguf.name}: transformers {transformers.__version__} finds no weights in it for {', '.join(missing)}"
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"converted_by": f"transformers {transformers.__version__}"}
