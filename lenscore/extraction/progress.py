"""How far a job is, in its log. Nothing here can change a result (``lenscore.plan.code_versions``)."""

import logging
import time
from collections.abc import Sequence

from lenscore.errors import counted
from lenscore.extraction.fitting import Pair

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Logs every few seconds how much of a shard is done and how long the rest will take."""

    def __init__(self, by_question: Sequence[Sequence[Pair]], n_skipped: int):
        self._n_contexts = sum(map(len, by_question))
        self._n_tokens = sum(len(tokens.ids) for pairs in by_question for _, tokens in pairs)
        self._contexts_done = self._tokens_done = 0
        self._start = self._last = time.monotonic()
        said = counted(self._n_contexts, "context"), counted(self._n_tokens, "token")
        _log.info("%s, %s; %d skipped", *said, n_skipped)

    def done(self, pairs: Sequence[Pair]) -> None:
        """Count a question's contexts as done."""
        self._contexts_done += len(pairs)
        self._tokens_done += sum(len(tokens.ids) for _, tokens in pairs)
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or self._contexts_done == self._n_contexts:
            self._last = now
            rate = self._tokens_done / (now - self._start)
            _log.info(
                "%d of %d contexts (%.0f%%), %.0f tokens/s, %.0f s left",
                self._contexts_done, self._n_contexts, 100 * self._tokens_done / self._n_tokens, rate,
                (self._n_tokens - self._tokens_done) / rate,
            )  # fmt: skip
