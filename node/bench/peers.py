"""Other provers of `.zkey` and `.wtns` files that a registry offers, run on the same files."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from node.errors import UsageError

NAMES: Final = ("snarkjs", "groth16-zorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A prover that is installed here."""

    name: str
    version: str
    command: tuple[str, ...]
    """Followed by the paths of zkey, wtns, proof and public values."""


def find_peer(name: str, start: Path) -> Peer:
    """A peer by name.

    Args:
        start: where the search for a `node_modules` folder begins; it goes up from there.

    Raises:
        UsageError: it is not installed.
    """
    return _snarkjs(start) if name == "snarkjs" else _zorch()


def _snarkjs(start: Path) -> Peer:
    folders = [folder / "node_modules" / "snarkjs" for folder in (start, *start.parents)]
    program = shutil.which("snarkjs")
    if program is not None:
        folders += Path(program).resolve().parents
    node = shutil.which("node")
    for folder in folders:
        try:
            described = json.loads((folder / "package.json").read_text())
        except (OSError, ValueError):
            continue
        if node is not None and described.get("name") == "snarkjs":
            script = str(folder / described["bin"]["snarkjs"])
            return Peer(name="snarkjs", version=described["version"], command=(node, script, "groth16", "prove"))
    raise UsageError(problem="snarkjs is not installed: npm install snarkjs, in this folder or above it")


def _zorch() -> Peer:
    program = Path(sys.executable).with_name("groth16-zorch")
    try:
        return Peer(name="groth16-zorch", version=version("groth16-zorch"), command=(str(program), "circom", "prove"))
    except PackageNotFoundError as error:
        raise UsageError(problem="groth16-zorch is not installed: pip install groth16-zorch") from error
