"""The positions of the gold document."""

from typing import Literal


def gold_indices(positions: Literal["all"] | int | list[int], n_documents: int) -> list[int]:
    """Return the gold indices that a context set asks for among ``n_documents``.

    A count is spread evenly with both ends included, each position rounded to the nearest
    index (halves up): 5 positions among 10 documents are 0, 2, 5, 7 and 9.
    """
    if positions == "all":
        return list(range(n_documents))
    if isinstance(positions, int):
        # In integers: in floating point, some halves come out too small and would be rounded down.
        last, intervals = n_documents - 1, positions - 1
        return [(2 * place * last + intervals) // (2 * intervals) for place in range(positions)]
    return sorted(positions)


def relative_position(gold_index: int, n_documents: int) -> float | None:
    """Return gold index / (documents − 1), in [0, 1]; None where there is only one document."""
    return gold_index / (n_documents - 1) if n_documents > 1 else None
