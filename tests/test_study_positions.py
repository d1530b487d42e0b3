"""The forms that a context set's positions may take in the config, and what is said of those that cannot be."""

import re

import pytest

from lenscore.study.study import read_study
from tests.test_study import changed, faults


@pytest.mark.parametrize("value", [True, 2.0, "5", "every", None, {"count": 3}])
def test_positions_of_no_form_get_one_line(value: object) -> None:
    assert faults(changed("context_sets/main/positions", value)) == [
        f"context_sets.main.positions: must be all, a count of 2 or more, or a list of gold indices; found {value!r}"
    ]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1, "context_sets.main.positions: must be at least 2; found 1"),
        ([0, -1], "context_sets.main.positions.1: must be at least 0; found -1"),
        ([0, "1"], "context_sets.main.positions.1: must be a whole number; found '1'"),
        ([0, True], "context_sets.main.positions.1: must be a whole number; found True"),
    ],
)
def test_fault_in_positions_is_told_of_the_form_they_have(value: object, line: str) -> None:
    (found,) = faults(changed("context_sets/main/positions", value))
    assert re.fullmatch(line, found), found


@pytest.mark.parametrize(
    ("documents", "positions", "fault"),
    [
        ([5, 10], [0, 5], "has gold index 5, but the last of 5 has index 4"),
        ([10, 5], [0, 9], "has gold index 9, but the last of 5 has index 4"),
        ([5], [], "must be one or more different gold indices; found []"),
        ([5], [1, 1], "must be one or more different gold indices; found [1, 1]"),
        ([10, 4], 5, "asks for 5 places among 4 documents; at most 4"),
        ([5, 1], 5, "asks for 5 places, but 1 document has one place: leave 1 out of documents and set "
         "controls: [oracle], or set positions: all"),
    ],
)  # fmt: skip
def test_positions_that_the_documents_do_not_have(documents: list[int], positions: object, fault: str) -> None:
    config = changed("context_sets/main", {"documents": documents, "positions": positions})
    assert faults(config) == [f"context_sets.main.positions: {fault}"]


@pytest.mark.parametrize(
    ("documents", "positions"),
    [([5, 10], [4, 0]), ([5, 10], 5), ([2], 2), ([1, 7], "all"), ([1], [0])],
)
def test_positions_that_the_documents_have(documents: list[int], positions: object) -> None:
    spec = read_study(changed("context_sets/main", {"documents": documents, "positions": positions}))
    assert spec.context_sets["main"].positions == positions
