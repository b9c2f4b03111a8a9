"""Nodes as operating-system processes: start, wait until up, stop.

`unveto demo` and the end-to-end tests run every node this way, so nodes share nothing but sockets, RPC and files of
their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from node.config import NodeConfig, dump_config
from node.errors import NodeError
from node.statusfile import STATUS_NAME, read_status

CONFIG_NAME = "node.toml"
LOG_NAME = "node.log"
STOP_GRACE_S = 10


class NodeDied(NodeError):
    """A child process ended before it was told to."""

    code = "NOD-008"
    text = "node {name} ended with status {status}: {tail}"


@dataclass(slots=True)
class NodeProcess:
    """One node in its own process, with its own folder."""

    name: str
    config: NodeConfig
    extra_env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The node's data folder."""
        return Path(self.config.data_dir)

    @property
    def config_path(self) -> Path:
        """The file that `unveto node run --config` is given."""
        return self.folder / CONFIG_NAME

    def write_config(self) -> None:
        """Put the configuration where the process reads it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(dump_config(self.config))

    def start(self) -> None:
        """Start the process on the folder as it is."""
        self.write_config()
        (self.folder / STATUS_NAME).unlink(missing_ok=True)
        command = [sys.executable, "-m", "node", "node", "run", "--config", str(self.config_path)]
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        with (self.folder / LOG_NAME).open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path, **self.extra_env},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Exit status, or None while it runs."""
        return None if self.process is None else self.process.poll()

    def log_tail(self, size: int = 1500) -> str:
        """The end of the node's log."""
        try:
            return (self.folder / LOG_NAME).read_bytes()[-size:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    async def status(self, section: str, *, timeout_s: float) -> dict[str, Any]:
        """Wait for a section of the node's status file.

        Raises:
            NodeDied: the process ended first.
            trio.TooSlowError: nothing within `timeout_s`.
        """
        with trio.fail_after(timeout_s):
            while True:
                found = read_status(self.folder)
                if found and section in found:
                    value = found[section]
                    assert isinstance(value, dict)
                    return value
                status = self.poll()
                if status is not None:
                    raise NodeDied(name=self.name, status=status, tail=self.log_tail())
                await trio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    async def stop(self) -> None:
        """Ask it to end; after `STOP_GRACE_S` do not ask."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        with trio.move_on_after(STOP_GRACE_S):
            while self.process.poll() is None:
                await trio.sleep(0.02)
        self.kill()


async def stop_all(nodes: list[NodeProcess]) -> None:
    """Stop nodes side by side."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.stop)
