"""What a job's files say of the job: model, machine, versions."""

from typing import Any

import torch
import transformers

from lenscore.extraction.checked_run import CheckedRun
from lenscore.prefix_tree.attention_hook import IMPLEMENTATION


def job_facts(run: CheckedRun, window: int | None) -> dict[str, Any]:
    """Return facts about a job's model and machine."""
    config = run.loaded.model.config
    return {
        "family": config.model_type,
        "n_layers": run.loaded.n_layers,
        "hidden_size": run.loaded.width,
        "vocabulary_size": run.loaded.vocabulary_size,
        "window": window,
        "device": run.loaded.device.type,
        "attention": (
            IMPLEMENTATION if run.prefix_sharing == "shared" else config.get_text_config()._attn_implementation
        ),
        "prefix_sharing": run.prefix_sharing,
        "self_check_difference": run.self_check_difference,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
