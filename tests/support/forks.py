"""Nodes as forks of one process that has imported everything: a start costs a tenth of a second instead of three.

A fork is an operating-system process of its own, with its own memory, files and sockets, and runs the same
`unveto node run --config FILE` as any other; only the interpreter's start and the imports are shared. The tour starts
its nodes the ordinary way. Fault tests, which start a node a hundred times, start them here.

    python -m tests.support.forks      the parent of the forks: one JSON request per line, one JSON answer per line
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from node.launch import LOG_NAME, NodeProcess
from node.statusfile import STATUS_NAME
from tests.support.tools import ROOT


class Fork:
    """One process, with the part of `subprocess.Popen` that `NodeProcess` uses."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks = forks
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit status, minus the signal's number if one ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._forks.ask(poll=self.pid)["status"]
        return self.returncode

    def wait(self) -> int:
        """Wait for the end."""
        if self.returncode is None:
            self.returncode = self._forks.ask(wait=self.pid)["status"]
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """SIGTERM."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


class Forks:
    """The parent of all forks; when it ends, or whoever holds this object, they are killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def start(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> Fork:
        """Run `unveto ARGUMENTS` in a process of its own."""
        answer = self.ask(start=arguments, environment=dict(environment), log=str(log))
        return Fork(self, int(answer["pid"]))

    def close(self) -> None:
        """Kill what still runs, and the parent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass(slots=True)
class ForkedNode(NodeProcess):
    """A node that starts quickly."""

    forks: Forks = field(kw_only=True)

    def start(self) -> None:
        """Start the process on the folder as it is."""
        self.write_config()
        (self.folder / STATUS_NAME).unlink(missing_ok=True)
        arguments = ["node", "run", "--config", str(self.config_path)]
        self.process = self.forks.start(arguments, self.extra_env, self.folder / LOG_NAME)  # type: ignore[assignment]


def _child(arguments: list[str], environment: Mapping[str, str], log: str) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        from node.cli import main

        status = main(arguments)
    finally:
        if (error := sys.exception()) is not None:
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # nothing of the parent's (pipes, exit handlers) is this process's to finish


def _ended(pid: int, options: int) -> int | None:
    found, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if found else None


def _serve() -> None:
    # What a node of any role imports or computes on its way up.
    import node.app
    import node.commands.demo  # noqa: F401
    from proving.circuit.table_vm import circuit_for

    circuit_for(0)
    gc.collect()
    gc.freeze()
    # The end of our input says when it is over: a signal to the whole group must not leave forks behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    running: set[int] = set()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                _child(request["start"], request["environment"], request["log"])
            os.setpgid(pid, pid)
            running.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        else:
            pid, options = (request["poll"], os.WNOHANG) if "poll" in request else (request["wait"], 0)
            status = _ended(pid, options)
            if status is not None:
                running.discard(pid)
            answer = {"status": status}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in running:
        os.killpg(pid, signal.SIGKILL)
        _ended(pid, 0)


if __name__ == "__main__":
    _serve()
