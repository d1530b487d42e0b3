"""Which of a prompt's tokens belong to which of its segments."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from lenscore.contexts.context import Segment


def segment_tokens(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[range]:
    """Return the places of each segment's tokens, segment by segment.

    A token belongs to the segment of its last character, so that the space before a word goes with the word. What a
    chat template writes between the turns belongs to no segment.

    Args:
        spans: start and end of each segment in the text, as of :func:`segment_spans`.
        offsets: start and end in the text of each token, in their order; further ones may follow.
    """
    last_characters = [max(end - 1, start) for start, end in offsets]
    firsts, stops = np.searchsorted(last_characters, np.array(spans).reshape(-1, 2).T).tolist()
    return [range(first, stop) for first, stop in zip(firsts, stops, strict=True)]


def segment_spans(prompt: str, segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Return each segment's start and end in a prompt's text.

    Returns:
        Those of the first segments alone where a chat template has changed the words of a turn.
    """
    return list(_spans(prompt, segments))


def _spans(prompt: str, segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Yield each segment's start and end in the prompt; of a turn that is not found and of later ones, nothing."""
    turns = [[segment.text for segment in turn] for _, turn in groupby(segments, key=lambda segment: segment.role)]
    end = 0
    for place, turn in enumerate(turns, start=1):
        content = "".join(turn)
        # Templates may strip a turn: the white space around it need not be there.
        words = content.strip()
        # The last turn ends the prompt, or nothing but the template's own words follow it.
        begin = prompt.find(words, end) if place < len(turns) else prompt.rfind(words, end)
        if begin < 0:
            return
        start, end = begin - content.find(words), begin + len(words)
        for text in turn:
            yield max(start, 0), max(start + len(text), 0)
            start += len(text)
