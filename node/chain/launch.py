"""Starts a development L1 as a child process: py-evm (pip packages only) or anvil where it is installed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Literal, Self

import node
from node.chain.anvil import find_anvil
from node.chain.devaccounts import DevAccount, dev_accounts
from node.chain.errors import L1StartFailed

L1Kind = Literal["auto", "py-evm", "anvil"]
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0
MAX_READY_LINE_BYTES: Final = 4_096


class L1Process:
    """A running development L1. A context manager; `close` ends the process, and so does the death of this one."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, object]) -> None:
        self._process = process
        self.url = str(ready["url"])
        """http URL on loopback."""
        self.kind = str(ready["kind"])
        """"py-evm" or "anvil"."""
        self.chain_id = int(str(ready["chain_id"]))
        self.accounts: tuple[DevAccount, ...] = dev_accounts()
        """Funded with 10,000 ether each; the same on both kinds."""

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_l1(kind: L1Kind = "auto", *, anvil: Path | None = None, timeout_s: float = START_TIMEOUT_S) -> L1Process:
    """Start a development L1 and wait until it listens.

    Blocks for about a second: call it from trio through `trio.to_thread.run_sync`.

    Args:
        kind: "auto" is "py-evm", so that a demo needs nothing but pip packages; "anvil" asks for the binary.
        anvil: path of the anvil binary; None looks for it (`find_anvil`).

    Raises:
        L1StartFailed: no anvil was found, or the child did not come up in time.
    """
    if kind == "anvil":
        binary = anvil if anvil is not None else find_anvil()
        if binary is None:
            raise L1StartFailed(kind, "no anvil in $UNVETO_ANVIL, on PATH or in node_modules")
        arguments = ["node.chain.anvil", str(binary)]
    else:
        kind = "py-evm"
        arguments = ["node.chain.devchain", "--port", "0", "--exit-with-stdin"]
    packages = str(Path(node.__file__).parents[1])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, environment.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        ready = json.loads(_first_line(process, kind, timeout_s))
    except (L1StartFailed, ValueError) as error:
        process.kill()
        process.communicate()
        raise L1StartFailed(kind, str(error)) from error
    return L1Process(process, ready)


def _first_line(process: subprocess.Popen[bytes], kind: str, timeout_s: float) -> bytes:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            raise L1StartFailed(kind, f"it did not listen within {timeout_s:g} s")
        chunk = os.read(descriptor, MAX_READY_LINE_BYTES)
        if not chunk:
            raise L1StartFailed(kind, "it ended before it listened")
        line += chunk
        if len(line) > MAX_READY_LINE_BYTES:
            raise L1StartFailed(kind, "its first line is too long")
    return line
