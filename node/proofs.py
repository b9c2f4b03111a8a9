"""Runs proving jobs as child processes, as many at a time as configured; a crash or a cancel ends one job only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from node.errors import ProofFailed
from proving.table_job import TableJob

MAX_LINE_BYTES = 1 << 16


class RunningProof:
    """One child at work."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    async def checked(self) -> Mapping[str, Any]:
        """Wait until the witness satisfies the circuit.

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
            raise ProofFailed(reason="the child process ended") from error
        event = await self._event("proved")
        return bytes.fromhex(str(event["proof"])), int(event["prove_ms"])

    async def _event(self, wanted: str) -> dict[str, Any]:
        line = await self._line()
        if not line:
            status = await self._process.wait()
            raise ProofFailed(reason=f"the child process ended with status {status}")
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

    def __init__(self, max_jobs: int) -> None:
        self._limit = trio.CapacityLimiter(max_jobs)

    @property
    def free(self) -> int:
        """How many jobs could start at this moment."""
        return int(self._limit.available_tokens)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for and hold one of the places."""
        async with self._limit:
            yield

    @asynccontextmanager
    async def start(self, job: TableJob) -> AsyncIterator[RunningProof]:
        """Run one job inside a slot; leaving the block ends the child, whatever it does."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "proving.table_job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            await process.stdin.send_all(job.line())
            yield RunningProof(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                if process.stdin is not None:
                    await process.stdin.aclose()
                if process.stdout is not None:
                    await process.stdout.aclose()
