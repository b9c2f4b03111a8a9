"""Money is int wei and field elements are int: no float and no true division in protocol and market."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lint.sources import python_files


def violations(path: Path, tree: ast.Module) -> Iterator[str]:
    """Each float literal, use of `float`, and true division of a file."""
    for item in ast.walk(tree):
        match item:
            case ast.BinOp(op=ast.Div(), lineno=line) | ast.AugAssign(op=ast.Div(), lineno=line):
                yield f"{path}:{line}: true division; use // and say which way it rounds (for paths: joinpath)"
            case ast.Constant(value=float(), lineno=line):
                yield f"{path}:{line}: float literal"
            case ast.Name(id="float", lineno=line):
                yield f"{path}:{line}: float"


def test_protocol_and_market_have_no_float() -> None:
    """As they are."""
    assert [] == [v for path, tree in python_files("protocol", "market") for v in violations(path, tree)]


@pytest.mark.parametrize("source", ["x = a / b", "x /= 2", "x = 0.5", "x = float(y)", "def f(x: float) -> None: ..."])
def test_a_float_is_reported(source: str) -> None:
    """One sample for each way in."""
    assert len(list(violations(Path("market/pricing.py"), ast.parse(source)))) == 1


def test_integer_arithmetic_is_not_reported() -> None:
    """Floor division is the tool."""
    assert [] == list(violations(Path("market/pricing.py"), ast.parse("x = a * 3 // 10 + 1")))
