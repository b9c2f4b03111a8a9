"""The files of this project, as the lints see them: no git needed, nothing generated, nothing installed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.tools import ROOT

PACKAGES: Final = ("protocol", "proving", "market", "node")
"""The four layers, lowest first."""

_NOT_OURS: Final = frozenset({"node_modules", "build", "dist", "__pycache__"})
_TEXT_SUFFIXES: Final = frozenset(
    {".py", ".md", ".sol", ".cpp", ".hpp", ".h", ".cu", ".cuh", ".toml", ".json", ".sh", ".js", ".mjs", ".cjs"}
    | {".html", ".css", ".txt", ".ini", ".cfg", ".csv", ".asm", ".yml", ".yaml", ""}
)
_HIDDEN_BUT_OURS: Final = frozenset({".ci", ".changes"})


def files(*tops: str) -> Iterator[Path]:
    """Every text file below the given top-level folders (all folders when none is given), relative to the root."""
    for path in _all_files():
        if not tops or path.parts[0] in tops:
            yield path


def text(path: Path) -> str:
    """Content of a file given relative to the root."""
    return (ROOT / path).read_text(encoding="utf-8")


def python_files(*tops: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file below the given folders with its syntax tree."""
    for path in files(*tops):
        if path.suffix == ".py":
            yield path, _tree(path)


def imports(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports; relative imports are made absolute.

    `from a.b import c` yields `a.b.c`, so that a rule can speak of a submodule or of a name alike.
    """
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            for alias in item.names:
                yield item.lineno, alias.name
        elif isinstance(item, ast.ImportFrom):
            prefix = path.parts[: len(path.parts) - item.level] if item.level else ()
            module = ".".join([*prefix, *([item.module] if item.module else [])])
            for alias in item.names:
                yield item.lineno, f"{module}.{alias.name}"


@functools.cache
def _all_files() -> tuple[Path, ...]:
    found: list[Path] = []
    pending = [ROOT]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            if entry.is_dir():
                if entry.name in _NOT_OURS or entry.suffix == ".egg-info":
                    continue
                if not entry.name.startswith(".") or entry.name in _HIDDEN_BUT_OURS:
                    pending.append(entry)
            elif entry.suffix in _TEXT_SUFFIXES and entry.name not in ("uv.lock", ".git"):
                found.append(entry.relative_to(ROOT))
    return tuple(sorted(found))


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))
