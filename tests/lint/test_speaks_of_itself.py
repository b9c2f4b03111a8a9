"""The project speaks of itself: it names no machine, no registry's host, and not how its text came about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import files, text

FORBIDDEN: Final = {
    "registry host": re.compile(
        r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|deb\.debian\.org|debian\.org/debian|proxy\.golang\.org|crates\.io)\b"
    ),
    "path of one machine": re.compile(r"(?<![\w.$}~/-])/(work|root|home|Users)/[\w.-]+"),
    "text from outside the project": re.compile(
        r"\b(DESIGN|STYLE|HELPERS|DEVELOPERS)(\.md\b| §)|\b(notes|shared)/[\w-]+\.md"
    ),
    "how the text came about": re.compile(
        r"\b(this session|previous session|coding session|sub-?agents?|language model|LLMs?|AI[- ]generated|"
        r"the lead engineer|another engineer|for the integrator|before[- ]stop)\b"
    ),
    "unfinished work": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
    "history in a comment": re.compile(r"(#|//) *(NEW|Enhanced|Now|Previously|Fixed)\b:?"),
}
THIS: Final = Path("tests/lint/test_speaks_of_itself.py")  # holds every forbidden text as a sample


def violations(path: Path, content: str) -> Iterator[str]:
    """Each forbidden text of a file, with its line."""
    for number, line in enumerate(content.splitlines(), start=1):
        for why, pattern in FORBIDDEN.items():
            found = pattern.search(line)
            if found is not None:
                yield f"{path}:{number}: {found.group().strip()!r} is a {why}"


def test_no_file_speaks_of_anything_else() -> None:
    """Every text file of the checkout."""
    assert [] == [v for path in files() if path != THIS for v in violations(path, text(path))]


@pytest.mark.parametrize(
    "line",
    [
        "index-url = 'https://pypi.org/simple'",
        '"resolved": "https://registry.npmjs.org/solc/-/solc-0.8.37.tgz"',
        "KEYS = '/root/.cache/keys'",
        "see DESIGN §4",
        "see notes/stack.md",
        "written by a sub-agent",
        "# TODO: check the signature",
        "x = 1  # NEW: faster",
    ],
)
def test_a_forbidden_text_is_reported(line: str) -> None:
    """One sample for each kind."""
    assert len(list(violations(Path("a.py"), line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "with sessionmaker(engine) as session:",
        "cache = Path.home() / '.cache'",
        "# SPEC §4.2 rule 3",
        "root/left/right",
    ],
)
def test_an_ordinary_line_is_not_reported(line: str) -> None:
    """Words that a database or a tree needs."""
    assert [] == list(violations(Path("a.py"), line))
