"""Tests that can fail, and fail for one reason: no sleeping, no patching, no unexplained skip."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import imports, python_files

SLEEPS: Final = frozenset({"time.sleep", "trio.sleep", "asyncio.sleep"})


def violations(path: Path, tree: ast.Module) -> Iterator[str]:
    """Each sleep, mock import, patching and bare skip of a test file.

    `tests/support` may sleep: it holds the loops that wait for a condition with a bound. So may a test under
    `autojump_clock`, whose sleeps cost no time and end in a fixed order.
    """
    for line, name in imports(tree, path):
        if name.startswith("unittest.mock") or name == "mock":
            yield f"{path}:{line}: mock; write a fake of the consumer's protocol, or use the real thing"
    mocked = {id(part) for item in ast.walk(tree) if _has_mock_clock(item) for part in ast.walk(item)}
    for item in ast.walk(tree):
        if isinstance(item, ast.Call):
            called = ast.unparse(item.func)
            if (
                called in SLEEPS
                and id(item) not in mocked
                and path.parts[:2] != ("tests", "support")
                and not _is_zero(item.args)
            ):
                yield f"{path}:{item.lineno}: sleep; wait for a condition (tests/support) or use the mock clock"
            elif called in ("pytest.mark.skip", "pytest.mark.xfail") and not _has(item, "reason"):
                yield f"{path}:{item.lineno}: {called} without a reason"
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_"):
            if not any(_can_fail(part) for part in ast.walk(item)):
                yield f"{path}:{item.lineno}: {item.name} asserts nothing"


def _has_mock_clock(item: ast.AST) -> bool:
    if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return any(argument.arg in ("autojump_clock", "mock_clock") for argument in item.args.args)


def _is_zero(arguments: list[ast.expr]) -> bool:
    return [ast.unparse(argument) for argument in arguments] == ["0"]


def _has(call: ast.Call, keyword: str) -> bool:
    return any(given.arg == keyword for given in call.keywords)


def _can_fail(item: ast.AST) -> bool:
    # A check that several tests share says so in its name; waiting for a condition fails at its deadline.
    if isinstance(item, ast.Call):
        name = ast.unparse(item.func).rpartition(".")[2].lstrip("_")
        return name in (
            "raises",
            "RaisesGroup",
            "fail",
            "fail_after",
            "suppress",
            "run_state_machine_as_test",
        ) or name.startswith(("assert", "check", "expect", "require"))
    return isinstance(item, ast.Assert)


def test_no_test_sleeps_patches_or_cannot_fail() -> None:
    """All test files as they are."""
    assert [] == [v for path, tree in python_files("tests") for v in violations(path, tree)]


@pytest.mark.parametrize(
    "source",
    [
        "async def test_a():\n    await trio.sleep(0.1)\n    assert x",
        "from unittest.mock import patch",
        "@pytest.mark.xfail(strict=True)\ndef test_a():\n    assert x",
        "def test_a():\n    f()",
    ],
)
def test_a_bad_test_is_reported(source: str) -> None:
    """One sample for each rule."""
    assert len(list(violations(Path("tests/unit/test_x.py"), ast.parse(source)))) == 1


def test_a_sleep_under_the_mock_clock_is_not_reported() -> None:
    """It takes no time."""
    source = "async def test_a(autojump_clock: object):\n    await trio.sleep(5)\n    assert x"

    assert [] == list(violations(Path("tests/unit/test_x.py"), ast.parse(source)))
