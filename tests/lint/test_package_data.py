"""An installed copy holds what a checkout holds: every data file of a package is declared in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.lint.sources import PACKAGES, files, text


def undeclared(paths: Iterable[Path], declared: Mapping[str, list[str]]) -> list[str]:
    """Data files that no pattern of their top-level package takes along."""
    return [
        str(path)
        for path in paths
        if path.suffix != ".py" and not any(_matches(path, pattern) for pattern in declared.get(path.parts[0], []))
    ]


def _matches(path: Path, pattern: str) -> bool:
    # setuptools globs: * stays within a folder, ** crosses any number of them.
    expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(expression, "/".join(path.parts[1:])) is not None


def test_every_data_file_is_declared() -> None:
    """The four packages as they are."""
    declared = tomllib.loads(text(Path("pyproject.toml")))["tool"]["setuptools"]["package-data"]

    assert [] == undeclared(files(*PACKAGES), declared)


def test_an_undeclared_file_is_reported() -> None:
    """A pattern without ** does not reach into folders."""
    paths = [Path("proving/core/src/field.hpp"), Path("proving/README.md"), Path("proving/core/a.asm")]

    assert ["proving/core/src/field.hpp", "proving/core/a.asm"] == undeclared(
        paths, {"proving": ["core/*.hpp", "**/*.md"]}
    )
