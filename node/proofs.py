"""Runs proving jobs as child processes, as many at a time as configured; a crash or a cancel ends one job only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio

from node.errors import ProofDied, ProofFailed
from proving.backends import Backend
from proving.table_job import TableJob

MAX_LINE_BYTES: Final = 1 << 16
LATE_S: Final = 2.0
"""A child ends itself when its time is up; one that cannot (it is stopped) is killed after this."""


class RunningProof:
    """One child at work."""

    def __init__(self, process: trio.Process, until: float) -> None:
        """`until`: on trio's clock, when it must have ended itself."""
        self._process = process
        self._until = until
        self._buffer = b""
        self._has_ended = False
        self.peak_mib = 0
        """Most memory that the child held; known once it has proven."""

    @property
    def pid(self) -> int:
        """Process id of the child, which is also its process group."""
        return self._process.pid

    async def checked(self) -> Mapping[str, Any]:
        """Wait until the witness satisfies the circuit, or a command's table has run again.

        Raises:
            ProofFailed: it does not, or the child ended.
        """
        return await self._event("checked")

    async def prove(self) -> tuple[bytes, int]:
        """Let it prove; proof bytes and milliseconds.

        Raises:
            ProofFailed: the child ended without a proof.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(b"go\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ProofDied(reason="the child process ended") from error
        event = await self._event("proved")
        self.peak_mib = int(event["peak_mib"])
        return bytes.fromhex(str(event["proof"])), int(event["prove_ms"])

    async def end(self) -> int:
        """Kill the child and all that it started; its status."""
        if not self._has_ended:
            self._has_ended = True
            # Before it is waited for: until then nobody else can have its process id.
            with suppress(ProcessLookupError, PermissionError):  # macOS refuses when all of them have ended
                os.killpg(self._process.pid, signal.SIGKILL)
        return await self._process.wait()

    async def _event(self, wanted: str) -> dict[str, Any]:
        with trio.move_on_at(self._until) as waited:
            line = await self._line()
        if waited.cancelled_caught:
            raise ProofFailed(reason="the child process did not end when its time was up")
        if not line:
            raise ProofDied(reason=f"the child process ended with status {await self.end()}")
        event = json.loads(line)
        if not isinstance(event, dict) or event.get("event") != wanted:
            known = isinstance(event, dict) and event.get("event") == "failed"
            raise ProofFailed(reason=f"{event['code']}: {event['message']}" if known else "the child speaks nonsense")
        return event

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ProofFailed(reason="the child process talks too much")
            chunk = await self._process.stdout.receive_some(4096)
            if not chunk:
                return b""
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


class ProofRunner:
    """Starts children; `max_jobs` slots may be held at a time."""

    def __init__(self, max_jobs: int, folder: Path) -> None:
        """
        Args:
            folder: where the directories of commands' jobs are made; nobody else's.
        """
        self._limit = trio.CapacityLimiter(max_jobs)
        self._folder = folder

    @property
    def free(self) -> int:
        """How many jobs could start at this moment."""
        return int(self._limit.available_tokens)

    def sweep(self) -> None:
        """Removes what a killed process left: directories of jobs that nobody waits for any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for and hold one of the places."""
        async with self._limit:
            yield

    @asynccontextmanager
    async def start(self, job: TableJob) -> AsyncIterator[RunningProof]:
        """Run one job inside a slot; leaving the block ends the child and all that it started, whatever it does."""
        with self._directory(job) as directory:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "proving.table_job"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            running = RunningProof(process, trio.current_time() + job.wall_s + LATE_S)
            try:
                assert process.stdin is not None
                with suppress(trio.BrokenResourceError):  # it has ended; whoever waits for an event learns why
                    await process.stdin.send_all(replace(job, directory=directory).line())
                yield running
            finally:
                with trio.CancelScope(shield=True):
                    await running.end()
                    if process.stdin is not None:
                        await process.stdin.aclose()
                    if process.stdout is not None:
                        await process.stdout.aclose()

    @contextmanager
    def _directory(self, job: TableJob) -> Iterator[str]:
        if job.backend != Backend.COMMAND:
            yield ""
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = tempfile.mkdtemp(prefix="job-", dir=self._folder)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
