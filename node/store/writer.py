"""The thread that the store is called in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

import outcome
import trio

T = TypeVar("T")

MAX_TOGETHER: Final = 64  # calls that share a transaction; more wait for the next one
Together = Callable[[Sequence[Callable[[], Any]]], list[outcome.Outcome[Any]]]
"""See `node.store.database.Database.together`."""
Run = Callable[[Callable[[], outcome.Outcome[Any]]], Awaitable[outcome.Outcome[Any]]]
"""Makes one call and gives its result."""


@dataclass(slots=True)
class _Call:
    """A function that waits for the writer, and what became of it."""

    function: Callable[[], Any]
    result: outcome.Outcome[Any] | None = None


class WriterThread:
    """Runs the store's calls in a worker thread, one at a time: a database has one writer.

    Calls that come while it is busy wait and are then run together, in one transaction: under load the disk is waited
    for once, not once for each.
    """

    def __init__(self, together: Together, run: Run = trio.to_thread.run_sync) -> None:
        """
        Args:
            together: of the database.
            run: where the calls are made, by default in a thread.
        """
        self._together = together
        self._run = run
        self._turn = trio.Lock()
        self._waiting: list[_Call] = []

    async def __call__(self, function: Callable[[], T]) -> T:
        """A cancelled caller still waits for its write: it is whole when the caller goes on."""
        await trio.lowlevel.checkpoint_if_cancelled()
        call = _Call(function)
        self._waiting.append(call)
        with trio.CancelScope(shield=True):
            async with self._turn:
                if call.result is None:
                    await self._run_waiting()
        assert call.result is not None, "turns come in the order of waiting"
        return cast(T, call.result.unwrap())

    async def _run_waiting(self) -> None:
        taken, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
        functions = [call.function for call in taken]
        group = await self._run(partial(outcome.capture, self._together, functions))
        if isinstance(group, outcome.Error):
            for call in taken:
                call.result = outcome.Error(group.error)
            return
        for call, result in zip(taken, group.unwrap(), strict=True):
            call.result = result
