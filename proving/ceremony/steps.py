"""Progress of work that consists of several calls, each of which reports its own."""

from __future__ import annotations

from proving.errors import Cancelled
from proving.native import Progress


class Steps:
    """Weights of parts in one count that a caller can show."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def part(self, weight: int) -> Progress:
        """The progress function of the next part, which has a weight out of the total.

        Raises:
            Cancelled: when the caller asked to stop.
        """
        begin = self._done
        self._done += weight
        self._report(begin)
        return lambda done, total: (
            self._progress is not None and self._progress(begin + weight * done // max(total, 1), self._total)
        )

    def end(self) -> None:
        """Everything is done."""
        self._report(self._total)

    def _report(self, done: int) -> None:
        if self._progress is not None and self._progress(done, self._total):
            raise Cancelled("stopped by the caller")
