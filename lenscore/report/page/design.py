"""The study's design, from its config: in one sentence, and as the choices of the page's filters."""

from collections.abc import Mapping
from typing import Any

from lenscore.report.names import listed


def summary(config: Mapping[str, Any], n_questions: int) -> str:
    """Return the study in one sentence.

    Args:
        config: the study's whole config.
        n_questions: of the questions that were used.
    """
    several = len(config["context_sets"]) > 1
    sets = [(f"in set {name}, " if several else "") + _contexts(spec) for name, spec in config["context_sets"].items()]
    models = [f"{name} (untrained weights)" if name in untrained_models(config) else name for name in config["models"]]
    kind, _, place = config["dataset"]["source"].partition(":")
    dataset = "the project's own set" if kind == "embedded" else place.rpartition("/")[2]
    return (
        f"{listed(models)} on {n_questions} questions of {dataset}, read through the {listed(config['lenses'])} lens, "
        f"with {'; '.join(sets)}."
    )


def untrained_models(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the models whose weights are untrained."""
    return [name for name, spec in config["models"].items() if spec["weights"] == "untrained"]


def filter_choices(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the ``models``, ``lenses`` and numbers of ``documents`` that the reader can choose from."""
    counts = {n for spec in config["context_sets"].values() for n in spec["documents"]}
    return {"models": sorted(config["models"]), "lenses": list(config["lenses"]), "documents": sorted(counts)}


def _contexts(spec: Mapping[str, Any]) -> str:
    controls = (
        f"the controls {listed([name.replace('_', ' ') for name in spec['controls']])}" if spec["controls"] else ""
    )
    if not spec["documents"]:
        return controls
    positions = spec["positions"]
    if positions == "all":
        places = "every position"
    elif isinstance(positions, int):
        places = f"{positions} positions"
    else:
        places = f"gold indices {listed(list(map(str, positions)))}"
    among = f"{listed(list(map(str, spec['documents'])), 'or')} documents"
    contexts = f"the gold document at {places} among {among}, in the prompt {spec['prompt']}"
    return f"{contexts}, and {controls}" if controls else contexts
