"""No file grows past what one sitting can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import files, text

HARD_LIMIT: Final = 600  # lines
SUFFIXES: Final = frozenset({".py", ".sol", ".hpp", ".cpp", ".h", ".cu", ".cuh", ".md", ".js", ".sh"})
LARGER: Final[Mapping[str, int]] = {
    "protocol/SPEC.md": 1500,  # one normative text: a rule is found by searching in one place
}


def too_long(path: Path, content: str) -> bool:
    """Whether a hand-written file exceeds its limit; generated files say so in their first lines."""
    lines = content.splitlines()
    if path.suffix not in SUFFIXES or any("DO NOT EDIT" in line for line in lines[:5]):
        return False
    return len(lines) > LARGER.get(str(path), HARD_LIMIT)


def test_no_file_is_too_long() -> None:
    """Split by concept before adding; raising a limit needs a reason in the diff."""
    assert [] == [str(path) for path in files() if too_long(path, text(path))]


@pytest.mark.parametrize(("name", "lines", "expected"), [("a/b.py", 601, True), ("a/b.py", 600, False)])
def test_the_limit_is_exact(name: str, lines: int, expected: bool) -> None:
    """One line too many is reported, the last allowed one is not."""
    assert too_long(Path(name), "x = 1\n" * lines) is expected


def test_a_generated_file_is_not_counted() -> None:
    """Nobody reads it from top to bottom."""
    assert not too_long(Path("a/b.hpp"), "// Generated. DO NOT EDIT.\n" + "int x;\n" * 1000)
