"""The texts that a tuned lens is trained on: gold documents of questions that the study does not ask."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lenscore.contexts.questions import Document, Question, reserved_golds, study_order
from lenscore.errors import ConfigError


@dataclass(frozen=True)
class LensTexts:
    """Gold documents, each text in one part alone, and in no question that is in no part.

    Attributes:
        train: what translators are fitted to.
        validation: what says when to stop.
        held_out: what nothing is decided by: the lens is measured on them.
    """

    train: list[Document]
    validation: list[Document]
    held_out: list[Document]

    @property
    def question_ids(self) -> list[str]:
        """The questions whose gold documents these are."""
        return [document.document_id for part in (self.train, self.validation, self.held_out) for document in part]


def lens_texts(dataset: Sequence[Question], seed: int, n_train: int, n_held_out: int) -> LensTexts:
    """Choose among the last questions of the study's order, so that a study of more questions has the same texts.

    A passage that is the gold document of several questions is left out: one of them may be the study's. In the last
    half of the order (or in as many as are needed, where these are more), passages that stand in no other question's
    context are taken first: those that are reserved (``contexts.questions.reserved_golds``), which ``bm25`` and
    ``random`` do not draw, and those that are among no question's own distractors. The dataset decides this, and no
    context: a study that is given another context set has the same lens. Where there are too few such passages, view
    ``lens_overlap`` counts the others' places in contexts.

    Args:
        dataset: all questions.
        seed: that of the study's order, of which the study takes the first ones.
        n_train: documents to train on.
        n_held_out: documents to hold out; half of them, rounded down, are for validation.

    Raises:
        ConfigError: the dataset has fewer such documents.
    """
    golds = [question.gold for question in reversed(study_order(dataset, seed)) if question.gold is not None]
    n_uses = Counter(gold.text for gold in golds)
    single = [gold for gold in golds if n_uses[gold.text] == 1]
    wanted = n_train + n_held_out
    if len(single) < wanted:
        raise ConfigError(
            f"tuned_lens: {n_train} questions to train on and {n_held_out} held_out are asked for, but the dataset has "
            f"{len(single)} gold documents that belong to one question alone; lower tuned_lens.questions or "
            "tuned_lens.held_out"
        )
    distractors = {document.text for question in dataset for document in question.distractors}
    reserved = reserved_golds(dataset, seed)
    last = single[: max(wanted, len(single) // 2)]
    # The sort is stable: among equals, the last of the order come first.
    chosen = sorted(last, key=lambda gold: (gold.text in distractors) + (gold.document_id not in reserved))
    n_validation = n_held_out // 2
    held_out, rest = chosen[: n_held_out - n_validation], chosen[n_held_out - n_validation :]
    return LensTexts(rest[n_validation : n_validation + n_train], rest[:n_validation], held_out)
