"""A model's folder read by ``transformers``: config, tokenizer, weights, each complete, or refused in one line.

``transformers`` fills weights that it does not find with random numbers, and leaves out those that it has no place for;
both it only reports. Here both are errors. No loader may run code that comes with a model.
"""

import json
import logging
import re
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lenscore.errors import LenscoreError, SourceError

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_MOST_NAMED = 3  # weights of a kind that a message names
# What older versions of transformers saved beside the weights: causal masks, the value of what they mask, and the
# frequencies of rotary embeddings. Newer ones compute all three, and not every class says that it leaves them out.
SAVED_CONSTANTS = re.compile(r"\b(attn|attention)\.(bias|masked_bias|causal_mask)$|\.inv_freq$")
_BYTE_LEVEL_SPACE = "Ġ"
# Sizes by the names that families give them, and the least that makes a model.
_LEAST_SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "vocab_size"), 1),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 1),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim"), 0),  # a block may have no MLP
    "head_dim": 0,  # some families have 0 and compute it
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"), 0),
}
_LONGEST_REASON, _LONGEST_NAME = 300, 100  # characters


def load_config(folder: Path, where: str) -> PreTrainedConfig:
    """Load a model's config.

    Args:
        folder: the model's.
        where: what messages call the model.

    Raises:
        SourceError: the config cannot be read, or is not that of a causal language model.
    """
    _refuse_impossible_sizes(folder / "config.json", where)
    with told_in_one_line(where, "config.json"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, **_LOCAL)
    if config.is_encoder_decoder:
        raise SourceError(
            f"{where}: {config.model_type} is an encoder and a decoder (is_encoder_decoder in config.json); a causal "
            "language model, a decoder alone, is needed"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise SourceError(
            f"{where}: model_type {config.model_type} in config.json is no causal language model of transformers "
            f"{transformers.__version__}; a decoder with a head over the vocabulary is needed"
        )
    return config


def _refuse_impossible_sizes(file: Path, where: str) -> None:
    """Refuse a size that is too small to build a model of: its class would divide by it, or read it the wrong way.

    All else that may be wrong with the file is left to ``transformers``.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    sections = {"": found, "text_config.": found.get("text_config")} if isinstance(found, dict) else {}
    for name, section in sections.items():
        for key, size in section.items() if isinstance(section, dict) else ():
            if type(size) in (int, float) and key in _LEAST_SIZES and size < _LEAST_SIZES[key]:
                raise SourceError(
                    f"{where}: {name}{key} in config.json is {size}; it must be {_LEAST_SIZES[key]} or more"
                )


def load_tokenizer(folder: Path, where: str | None = None) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer.

    Some of Mistral's tokenizers were published with a wrong pattern for splitting words. ``transformers`` knows
    which, warns, and leaves it to the caller to ask for the right one, as is done here.

    Args:
        folder: the model's.
        where: what messages call the model; its folder if it is left out.

    Raises:
        SourceError: it cannot be read.
    """
    with told_in_one_line(where or str(folder), "its tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, fix_mistral_regex=True, **_LOCAL)
        # It goes by the config and the size alone, and makes others byte-level, where spaces are then unknown.
        if _BYTE_LEVEL_SPACE not in tokenizer.get_vocab():
            tokenizer = AutoTokenizer.from_pretrained(folder, fix_mistral_regex=False, **_LOCAL)
    return tokenizer


def load_weights(folder: Path, dtype: torch.dtype, device: str, where: str | None = None) -> PreTrainedModel:
    """Load a causal language model's safetensors, all of them.

    Args:
        folder: the model's.
        dtype: the precision of the weights.
        device: a device of PyTorch. On ``meta`` only the shapes are read, and nothing is built in memory.
        where: what messages call the model; its folder if it is left out.

    Raises:
        SourceError: the model cannot be built, or its weights are not exactly those that it needs.
    """
    where = where or str(folder)
    config = load_config(folder, where)
    with told_in_one_line(where, f"its weights as {config.model_type}"), _without_report():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map=device,
            use_safetensors=True,
            output_loading_info=True,
            # The report has them; without this, transformers' error names none.
            ignore_mismatched_sizes=True,
            # Nothing is generated here, so that a fault of generation_config.json is none.
            generation_config=GenerationConfig(),
            return_dict=True,  # whatever the config says: models of this project are asked for parts by name
            **_LOCAL,
        )
    model: PreTrainedModel = loaded[0]
    refuse_incomplete(loaded[1], where, type(model).__name__)
    return model


def refuse_incomplete(report: dict[str, Any], where: str, model_class: str) -> None:
    """Refuse a model that was loaded with weights missing, left over, or of another shape.

    Args:
        report: what ``from_pretrained`` returns with ``output_loading_info``. What the model's class declares to be
            tied, absent or left over on purpose is not in it.
        where: what messages call the model.
        model_class: the class that was built.

    Raises:
        SourceError: the report is not empty.
    """
    mismatched = {name: (tuple(found), tuple(needed)) for name, found, needed in report["mismatched_keys"]}
    faults = []
    if missing := report["missing_keys"] - mismatched.keys():
        faults.append(f"missing are {_named(missing)}")
    if left_over := {name for name in report["unexpected_keys"] if not SAVED_CONSTANTS.search(name)}:
        faults.append(f"the model has no place for {_named(left_over)}")
    if mismatched:
        shapes = [f"{name} with shape {found} instead of {needed}" for name, (found, needed) in mismatched.items()]
        faults.append(f"of another shape are {_named(shapes)}")
    if faults:
        raise SourceError(
            f"{where}: its weights are not those of the {model_class} that its config.json describes: "
            f"{'; '.join(faults)}; both must come from the same model, with its head"
        )


def _named(names: Collection[str]) -> str:
    first = [printable(name)[:_LONGEST_NAME] for name in sorted(names)[:_MOST_NAMED]]
    others = len(names) - len(first)
    return ", ".join(first) + (f" and {others} more" if others else "")


@contextmanager
def told_in_one_line(where: str, what: str, action: str = "load") -> Iterator[None]:
    """Turn whatever ``transformers`` raises inside the ``with`` into one line.

    What it raises for a file that it did not expect is any exception of Python, from KeyError to ZeroDivisionError.

    Args:
        where: what the message calls the model.
        what: what is being loaded.
        action: what is done with it, if it is not loaded.

    Raises:
        SourceError: something was raised, other than for want of memory.
    """
    try:
        yield
    except (LenscoreError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise SourceError(
            f"{where}: transformers {transformers.__version__} cannot {action} {what}: {_reason(error)}"
        ) from error


@contextmanager
def _without_report() -> Iterator[None]:
    """Silence the table of missing weights, which advises to train them: what it says is an error here."""
    library = logging.getLogger("transformers.modeling_utils")
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library.setLevel(before)


def printable(text: str) -> str:
    """Return a text from a file that is not ours with its control characters escaped, as they act on terminals."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _reason(error: Exception) -> str:
    if names := _not_joined(error):
        return f"what {_named(names)} is to be joined from is incomplete, or of other shapes (an expert is missing?)"
    if isinstance(error, ZeroDivisionError):
        return "a size that it divides by is 0"
    said = printable(" ".join(str(error).split())).rstrip(".")
    if "trust_remote_code" in said:
        return "it needs code that comes with the model (auto_map), and such code is never run"
    if len(said) > _LONGEST_REASON:
        said = f"{said[:_LONGEST_REASON]}..."
    if isinstance(error, ImportError):
        return f"a library is not installed: {said}"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _not_joined(error: Exception) -> list[str]:
    """Return the names of weights that ``transformers`` could not join, such as those of a layer's experts.

    Its error only points to a table in the log; where it is raised, the table's content is a local variable.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if names := getattr(frame.f_locals.get("loading_info"), "conversion_errors", None):
            return list(names)
    return []
