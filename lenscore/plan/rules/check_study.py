"""Rule check_study: faults that only the dataset and the models can show, before hours are spent."""

from pathlib import Path

from lenscore.plan.job import Files, Job


class CheckInputs(Files):
    """The dataset's questions, and each model's folder in the study's order."""

    questions: Path
    models: list[Path]


class CheckOutputs(Files):
    """What was checked."""

    checked: Path


class CheckJob(Job):
    """Check a study against its dataset and models.

    Attributes:
        models: their names, in the order of their folders.
        n_questions: how many questions the study asks.
        order: seed of the study's order.
        n_trained_on: gold documents that lenses are trained on; 0 where no lens is trained.
        n_held_out: gold documents that are held out of the training.
    """

    inputs: CheckInputs
    outputs: CheckOutputs
    models: list[str]
    n_questions: int
    order: int
    n_trained_on: int
    n_held_out: int
