"""Imports point down, and only `node` touches the world: SPEC's layers as a check on syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import PACKAGES, imports, python_files

MAY_IMPORT: Final[Mapping[str, frozenset[str]]] = {
    "protocol": frozenset({"protocol"}),
    "proving": frozenset({"protocol", "proving"}),
    "market": frozenset({"protocol", "market"}),
    "node": frozenset(PACKAGES),
}
CODECS: Final = frozenset(
    {"Crypto", "coincurve", "cryptography", "eth_abi", "eth_hash", "eth_keys", "eth_typing", "eth_utils", "msgpack"}
)
THIRD_PARTY: Final[Mapping[str, frozenset[str] | None]] = {
    "protocol": CODECS,
    "proving": CODECS | {"numpy"},
    "market": frozenset(),
    "node": None,  # anything that pyproject.toml lists
}
WORLD: Final = frozenset(
    "asyncio concurrent datetime fcntl getpass http logging multiprocessing random sched select selectors shelve "
    "shutil signal smtplib socket socketserver sqlite3 ssl threading time urllib uuid zoneinfo".split()
)
DISK_AND_PROCESSES: Final = frozenset("ctypes glob mmap os pathlib secrets subprocess tempfile".split())
FORBIDDEN_STDLIB: Final[Mapping[str, frozenset[str]]] = {
    "protocol": WORLD | DISK_AND_PROCESSES,
    "proving": WORLD,  # it may read key files, take the system's randomness, and run its own child process
    "market": WORLD | DISK_AND_PROCESSES,
    "node": frozenset(),
}
ONLY_IN: Final[Mapping[str, tuple[str, ...]]] = {"libp2p": ("node", "p2p"), "multiaddr": ("node", "p2p")}
CHILD: Final = frozenset(
    # The proving child: it reports how long it took, and ends with its parent or when its time is up.
    {("proving/table_job.py", "time")}
    | {("proving/confine.py", name) for name in ("select", "signal", "threading", "time")}
    | {("proving/pruning.py", "fcntl")}  # shared locks on cached files, which the standard library has nowhere else
)
IMPURE_BUILTINS: Final = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})


def violations(path: Path, tree: ast.Module) -> Iterator[str]:
    """What a file of one of the four packages does that its layer must not."""
    layer = path.parts[0]
    for line, name in imports(tree, path):
        top = name.partition(".")[0]
        where = f"{path}:{line}: {layer} imports {name}"
        if top in PACKAGES:
            if top not in MAY_IMPORT[layer]:
                yield f"{where}: imports point down only"
        elif top in sys.stdlib_module_names:
            if top in FORBIDDEN_STDLIB[layer] and (str(path), top) not in CHILD:
                yield f"{where}: {layer} has no clock, randomness, files, logging or processes"
        else:
            allowed = THIRD_PARTY[layer]
            if allowed is not None and top not in allowed:
                yield f"{where}: not one of {sorted(allowed)}"
            home = ONLY_IN.get(top)
            if home is not None and path.parts[: len(home)] != home:
                yield f"{where}: only {'/'.join(home)} may"
    if layer in ("protocol", "market"):
        for item in ast.walk(tree):
            if isinstance(item, ast.Call) and isinstance(item.func, ast.Name) and item.func.id in IMPURE_BUILTINS:
                yield f"{path}:{item.lineno}: {layer} calls {item.func.id}()"


def test_each_layer_imports_only_what_lies_below_it() -> None:
    """The four packages as they are."""
    assert [] == [v for path, tree in python_files(*PACKAGES) for v in violations(path, tree)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("protocol/codec.py", "from proving.groth16 import prove"),
        ("market/auction.py", "import node.store"),
        ("proving/groth16.py", "from market import pricing"),
        ("protocol/vm/machine.py", "from ...node import app"),
        ("protocol/gossip.py", "import time"),
        ("market/pricing.py", "from random import Random"),
        ("market/tickets.py", "import numpy"),
        ("protocol/table.py", "from web3 import Web3"),
        ("proving/table_job.py", "import trio"),
        ("proving/table_job.py", "import logging"),
        ("proving/table_job.py", "import threading"),
        ("node/chain/rpc.py", "from libp2p.host import basic_host"),
        ("node/app.py", "import libp2p"),
        ("protocol/vm/assembler.py", "def f(p):\n    return open(p)"),
    ],
)
def test_a_bad_import_is_reported(path: str, source: str) -> None:
    """One sample for each rule; a lint that reports nothing proves nothing."""
    assert len(list(violations(Path(path), ast.parse(source)))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("node/p2p/host.py", "import libp2p\nimport trio"),
        ("proving/keyfile.py", "import numpy\nfrom pathlib import Path\nfrom protocol.types import Hash32"),
        ("market/auction.py", "from .effects import PublishBid\nimport dataclasses"),
    ],
)
def test_a_good_import_is_not_reported(path: str, source: str) -> None:
    """The rules leave room for what each layer is for."""
    assert [] == list(violations(Path(path), ast.parse(source)))
