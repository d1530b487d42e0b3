"""What a study asks of its dataset as a whole: checked by the first jobs that read the dataset."""

from pydantic import BaseModel, ConfigDict


class StudyCheck(BaseModel):
    """What is checked against the dataset, before anything takes time.

    It travels beside a job and not in it: it decides whether the job is done, not what it makes.

    Attributes:
        n_questions: how many questions the study asks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_questions: int
