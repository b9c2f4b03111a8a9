"""The same packages install everywhere: each one that the project can pull in has one exact version."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lint.sources import text

EXACT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==[^,;*]+(;.*)?")


def requirements(pyproject: dict[str, Any]) -> Iterator[str]:
    """Every requirement that pyproject.toml states, in whichever table."""
    yield from pyproject["project"]["dependencies"]
    for group in pyproject["dependency-groups"].values():
        yield from group
    uv = pyproject["tool"]["uv"]
    yield from uv["constraint-dependencies"]
    yield from uv["override-dependencies"]
    yield from pyproject["build-system"]["requires"]


def canonical(name: str) -> str:
    """Name of a distribution in the form that all spellings share."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reachable(names: set[str]) -> set[str]:
    """Names of all installed distributions that the given ones require, themselves included."""
    seen: set[str] = set()
    pending = set(names)
    while pending:
        name = pending.pop()
        seen.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python version
        for requirement in required:
            found = re.match(r"[A-Za-z0-9._-]+", requirement)
            is_extra = "extra ==" in requirement
            if found and not is_extra and canonical(found.group()) not in seen:
                pending.add(canonical(found.group()))
    return seen


def loose(stated: list[str]) -> list[str]:
    """Requirements that allow more than one version."""
    return [requirement for requirement in stated if not EXACT.fullmatch(requirement)]


def test_every_stated_version_is_exact() -> None:
    """pyproject.toml as it is."""
    assert [] == loose(list(requirements(tomllib.loads(text(Path("pyproject.toml"))))))


@pytest.mark.parametrize("requirement", ["trio", "trio>=0.35", "trio==0.35.*", "trio==0.35.0,<1"])
def test_a_loose_version_is_reported(requirement: str) -> None:
    """Absent, open, a wildcard, and a list."""
    assert [requirement] == loose([requirement])


def test_every_package_that_gets_installed_is_stated() -> None:
    """Walks the metadata of what is installed: a transitive package without a pin would float."""
    stated = {
        canonical(found["name"])
        for requirement in requirements(tomllib.loads(text(Path("pyproject.toml"))))
        if (found := EXACT.fullmatch(requirement))
    }
    installed = {canonical(distribution.metadata["Name"]) for distribution in metadata.distributions()}

    assert set() == (reachable(stated) & installed) - stated - {"setuptools"}
