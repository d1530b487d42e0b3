"""A lens must not be trained on the questions that the study asks.

What is here refuses a study, and decides nothing about results: it is no part of a rule's code version
(``lenscore.plan.code_versions``).
"""

from collections.abc import Collection, Iterable, Sequence

from lenscore.contexts.questions import Question, questions_of_shard
from lenscore.errors import ConfigError
from lenscore.lenses.texts import lens_texts


def check_study(
    dataset: Sequence[Question], *, order: int, n_questions: int, n_trained_on: int, n_held_out: int
) -> None:
    """Refuse a study that asks more questions than there are, or whose lens would be trained on what it asks.

    Args:
        dataset: all questions.
        order: seed of the study's order.
        n_questions: how many the study asks.
        n_trained_on: documents that lenses are trained on; 0 where no lens is trained.
        n_held_out: documents that are held out of the training.

    Raises:
        ConfigError: there are too few questions, or some of the study's are among the lens's.
    """
    asked = questions_of_shard(dataset, order, 0, n_questions)
    if n_trained_on > 0:
        texts = lens_texts(dataset, order, n_trained_on, n_held_out)
        refuse_overlap(texts.question_ids, (question.question_id for question in asked))


def refuse_overlap(of_lens: Collection[str], asked: Iterable[str]) -> None:
    """Refuse a lens that was, or would be, trained on the study's questions.

    Args:
        of_lens: ids of the questions whose gold documents the lens is trained on, stopped by or measured on.
        asked: ids of questions that the study asks.

    Raises:
        ConfigError: some are in both.
    """
    asked = set(asked)
    if both := asked.intersection(of_lens):
        raise ConfigError(
            f"questions: {len(both)} of {len(asked)} questions that the study asks are among the {len(of_lens)} "
            "that the lens is trained on; lower questions, tuned_lens.questions or tuned_lens.held_out, by "
            f"{len(both)} in all"
        )
