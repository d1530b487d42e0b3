"""What a study asks of its dataset as a whole: checked by the first jobs that read the dataset."""

from pydantic import BaseModel, ConfigDict


class StudyCheck(BaseModel):
    """What is checked against the dataset, before anything takes time.

    It travels beside a job and not in it: it decides whether the job is done, not what it makes.

    Attributes:
        order: seed of the study's order of questions.
        n_questions: how many questions the study asks.
        n_trained_on: gold documents that lenses are trained on; 0 where no lens is trained.
        n_held_out: gold documents that are held out of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: int
    n_questions: int
    n_trained_on: int
    n_held_out: int
