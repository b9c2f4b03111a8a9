"""Bugs crash: broad excepts exist only where the composition root and the libp2p guards need them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import PACKAGES, python_files

BROAD: Final = frozenset({"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"})


def is_guard(path: Path) -> bool:
    """Whether a file may catch everything: a peer must not end the node, and the root decides what ends it."""
    return path == Path("node/app.py") or path.parts[:2] == ("node", "p2p")


def violations(path: Path, tree: ast.Module) -> Iterator[str]:
    """Each broad except that does not raise again, and each `suppress` of everything."""
    if is_guard(path):
        return
    for item in ast.walk(tree):
        if isinstance(item, ast.ExceptHandler) and _is_broad(item.type) and not _raises_again(item):
            yield f"{path}:{item.lineno}: broad except"
        elif isinstance(item, ast.Call) and ast.unparse(item.func).rpartition(".")[2] == "suppress":
            if any(_is_broad(argument) for argument in item.args):
                yield f"{path}:{item.lineno}: broad suppress"


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(part) for part in caught.elts)
    return isinstance(caught, ast.Name | ast.Attribute) and ast.unparse(caught).rpartition(".")[2] in BROAD


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(item, ast.Raise) and item.exc is None for item in ast.walk(handler))


def test_only_guards_catch_everything() -> None:
    """The four packages as they are."""
    assert [] == [v for path, tree in python_files(*PACKAGES) for v in violations(path, tree)]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept (ValueError, BaseException) as e:\n    g(e)",
        "try:\n    f()\nexcept:\n    g()",
        "with contextlib.suppress(Exception):\n    f()",
    ],
)
def test_a_broad_except_is_reported(source: str) -> None:
    """One sample for each spelling."""
    assert len(list(violations(Path("node/broker.py"), ast.parse(source)))) == 1


def test_cleaning_up_and_raising_again_is_not_reported() -> None:
    """Nothing is swallowed there."""
    source = "try:\n    f()\nexcept BaseException:\n    g()\n    raise"

    assert [] == list(violations(Path("node/broker.py"), ast.parse(source)))
