"""A model's weights as they were before training: drawn anew, in its own architecture."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lenscore.sources.model_files import INDEX
from lenscore.sources.pretrained import load_config, told_in_one_line


def draw_weights(folder: Path, seed: int, where: str) -> dict[str, Any]:
    """Replace a model's weights by those that its class gives to a new model of its config (``_init_weights``).

    How wide they are drawn is the config's ``initializer_range`` or what the class has in its stead. Config and
    tokenizer stay as they are.

    Args:
        folder: safetensors and config.
        seed: of the draw.
        where: what messages call the model.

    Returns:
        What the manifest says of it.

    Raises:
        SourceError: the model cannot be built.
    """
    config = load_config(folder, where)
    with torch.random.fork_rng(devices=[]), told_in_one_line(where, f"new weights as {config.model_type}"):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    for file in [*folder.glob("*.safetensors"), folder / INDEX]:
        file.unlink(missing_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        model.save_pretrained(temporary)
        for file in [*Path(temporary).glob("*.safetensors"), Path(temporary, INDEX)]:
            if file.exists():
                shutil.move(file, folder / file.name)
    return {"weights": "untrained", "seed": seed}
