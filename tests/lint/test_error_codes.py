"""An operator can look an error up: each code has one form and belongs to one class."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import PACKAGES, python_files

FORM: Final = re.compile(r"[A-Z][A-Z0-9]{1,7}-[0-9]{3}")


def codes(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Code and class of each class that sets a class attribute `code` to a text."""
    for item in ast.walk(tree):
        if not isinstance(item, ast.ClassDef):
            continue
        for statement in item.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code)))
                    | ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code)))
                ):
                    yield code, f"{path}: {item.name}"


def problems(found: list[tuple[str, str]]) -> list[str]:
    """Codes of a wrong form, and codes that two classes use."""
    owner: dict[str, str] = {}
    report = []
    for code, where in found:
        if not FORM.fullmatch(code):
            report.append(f"{where}: {code!r} is not like MKT-012")
        elif code in owner:
            report.append(f"{where}: {code} belongs to {owner[code]}")
        else:
            owner[code] = where
    return report


def test_every_code_is_well_formed_and_has_one_owner() -> None:
    """The four packages as they are."""
    assert [] == problems([pair for path, tree in python_files(*PACKAGES) for pair in codes(path, tree)])


@pytest.mark.parametrize(
    "source",
    [
        "class A(Exception):\n    code = 'MKT-001'\nclass B(Exception):\n    code = 'MKT-001'",
        "class A(Exception):\n    code: ClassVar[str] = 'market error'",
    ],
)
def test_a_bad_code_is_reported(source: str) -> None:
    """A double and a wrong form."""
    assert len(problems(list(codes(Path("x.py"), ast.parse(source))))) == 1
