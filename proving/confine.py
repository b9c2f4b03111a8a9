"""What holds in every proving child, whichever backend works in it: limits, and an end with its parent.

A child is the leader of its own process group, so that one signal ends it and everything that it started. A thread
reads its input: when that closes (the parent has ended, even by SIGKILL) or the time is up, it kills the group.
Memory is limited as private writable memory (RLIMIT_DATA), not as address space: a mapped key costs nothing, and a
CUDA driver or a zkVM reserves far more addresses than it uses. Linux counts it so; macOS enforces no such limit.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final, NoReturn

from proving.errors import JobTooLate

GO: Final = b"go"
MAX_ORDER_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may use."""

    wall_s: float
    """Time from the start of the job; then its process group is killed."""
    memory_mib: int
    """Private writable memory of each of its processes."""
    disk_mib: int
    """Size of any file that it writes, and of its job directory as a whole."""
    files: int
    """Entries of its job directory."""

    def apply(self) -> None:
        """Sets what the system enforces; processes started later inherit it."""
        leave_no_core_dump()
        resource.setrlimit(resource.RLIMIT_DATA, (self.memory_mib << 20, self.memory_mib << 20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.disk_mib << 20, self.disk_mib << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails with an error


def leave_no_core_dump() -> None:
    """A core dump would hold the witness."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def lead_group() -> None:
    """Makes this process the leader of a process group of its own, if it is not."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def end_group() -> NoReturn:
    """Kills this process and all that it started; what only they had written to a pipe stays readable."""
    sys.stderr.flush()
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("a process outlives its SIGKILL")


class Parent:
    """The pipes to the process that wants the proof."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._rest = b""
        self._told = threading.Event()
        self._speaking = threading.Lock()

    def read_line(self, max_bytes: int) -> bytes:
        """The next line without its end; what came before the input closed, if it did.

        Raises:
            ValueError: it is longer than that.
        """
        while b"\n" not in self._rest:
            chunk = os.read(self._input, 1 << 16)
            self._rest += chunk
            if len(self._rest) > max_bytes:
                raise ValueError(f"more than {max_bytes} bytes in a line")
            if not chunk:
                break
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def say(self, event: str, **values: object) -> None:
        """Writes one event."""
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        with self._speaking:
            while line:
                line = line[os.write(sys.stdout.fileno(), line) :]

    def watch(self, wall_s: float) -> None:
        """From here on the process group ends with the parent, or when the time is up."""
        threading.Thread(target=self._watch, args=(time.monotonic() + wall_s, wall_s), daemon=True).start()

    def wait_for_go(self) -> None:
        """Returns when the parent wants the proof."""
        self._told.wait()

    def _watch(self, until: float, wall_s: float) -> None:
        while True:
            if self._rest.startswith(GO + b"\n"):
                self._told.set()
            left = until - time.monotonic()
            if left <= 0:
                error = JobTooLate(wall_s)
                self.say("failed", code=error.code, message=error.reason)
                end_group()
            if select.select([self._input], [], [], left)[0]:
                chunk = os.read(self._input, MAX_ORDER_BYTES)
                self._rest = (self._rest + chunk)[:MAX_ORDER_BYTES]
                if not chunk:
                    end_group()
