"""How many answer tokens are of each class, and with what answers begin."""

import pandas as pd

_KEYS = ["model", "context_set"]


def token_class_counts(tokens: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of answer tokens by class, each question's answer counted once.

    Args:
        tokens: rows of view ``token_depths``.

    Returns:
        One row a model × context set × ``token_class`` that occurs, with ``n_tokens``; ``n_opening``, how many of them
        are the very first of their answer; and ``n_first_content``, how many are its first content token.
    """
    once = tokens.drop_duplicates([*_KEYS, "question_id", "answer_index"])
    return (
        once.assign(
            opening=once["answer_index"] == 0,
            first_content=once["answer_index"] == once["first_content_index"],
        )
        .groupby([*_KEYS, "token_class"], as_index=False)
        .agg(n_tokens=("answer_index", "size"), n_opening=("opening", "sum"), n_first_content=("first_content", "sum"))
    )
