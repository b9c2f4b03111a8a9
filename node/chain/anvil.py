"""Runs an anvil binary as a child that dies with its starter, and reports its URL as `node.chain.devchain` does.

anvil itself does not notice when the process that started it is gone; this wrapper holds its end of a pipe.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from node.chain.devaccounts import DEV_ACCOUNT_COUNT, DEV_BALANCE_WEI, DEV_CHAIN_ID, DEV_MNEMONIC
from node.chain.devledger import GAS_LIMIT
from node.chain.evm import FORK

_LISTENING: Final = "Listening on "
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def find_anvil() -> Path | None:
    """The anvil binary: $UNVETO_ANVIL, else PATH, else an npm installation in or above the working directory."""
    named = os.environ.get("UNVETO_ANVIL")
    if named:
        return Path(named) if Path(named).is_file() else None
    on_path = shutil.which("anvil")
    if on_path is not None:
        return Path(on_path)
    system = platform.system().lower()
    package = f"anvil-{system}-{_ARCHITECTURES.get(platform.machine().lower(), 'unknown')}"
    # npm's own node_modules/.bin/anvil is a Node script that starts this file.
    for folder in (Path.cwd(), *Path.cwd().parents):
        binary = folder / "node_modules" / "@foundry-rs" / package / "bin" / "anvil"
        if binary.is_file():
            return binary
    return None


def main(arguments: list[str] | None = None) -> int:
    """Start anvil, print one JSON line, end it when standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m node.chain.anvil", description=__doc__)
    parser.add_argument("binary")
    options = parser.parse_args(arguments)
    command = [
        options.binary,
        *("--host", "127.0.0.1", "--port", "0", "--chain-id", str(DEV_CHAIN_ID), "--hardfork", FORK),
        *("--mnemonic", DEV_MNEMONIC, "--accounts", str(DEV_ACCOUNT_COUNT)),
        *("--balance", str(DEV_BALANCE_WEI // 10**18), "--gas-limit", str(GAS_LIMIT)),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as anvil:
        threading.Thread(target=_kill_at_end_of_stdin, args=(anvil,), daemon=True).start()
        assert anvil.stdout is not None
        for line in anvil.stdout:
            if line.startswith(_LISTENING):
                url = "http://" + line.removeprefix(_LISTENING).strip()
                ready = {"url": url, "kind": "anvil", "chain_id": DEV_CHAIN_ID, "client": "anvil"}
                sys.stdout.write(json.dumps(ready) + "\n")
                sys.stdout.flush()
        return anvil.wait()


def _kill_at_end_of_stdin(anvil: subprocess.Popen[str]) -> None:
    while sys.stdin.buffer.read(4_096):
        pass
    anvil.kill()


if __name__ == "__main__":
    sys.exit(main())
