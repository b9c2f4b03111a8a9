"""A vector that no test reads is a claim that nobody checks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.lint.sources import files, text
from tests.support.tools import ROOT


def unread(vectors: Iterable[Path], tests: Iterable[str]) -> list[str]:
    """Vector files whose name occurs in no test source; a README describes a folder and is not a vector."""
    sources = "\n".join(tests)
    return [str(path) for path in vectors if path.name != "README.md" and path.name not in sources]


def test_every_vector_is_named_by_a_test() -> None:
    """All files below tests/vectors, of any type."""
    vectors = sorted(path.relative_to(ROOT) for path in (ROOT / "tests" / "vectors").rglob("*") if path.is_file())
    tests = [text(path) for path in files("tests") if path.suffix == ".py"]

    assert [] == unread(vectors, tests)


def test_an_unread_vector_is_reported() -> None:
    """The name must occur whole."""
    vectors = [Path("tests/vectors/codec.json"), Path("tests/vectors/frames.json"), Path("tests/vectors/README.md")]

    assert ["tests/vectors/frames.json"] == unread(vectors, ['load("codec.json")'])
