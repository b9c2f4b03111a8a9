"""A module is named after its concept; a name that fits everything gathers everything."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import PACKAGES, files

BANNED: Final = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "base", "core", "manager", "stuff", "tools", "lib"}
)
ALLOWED: Final = frozenset({"tests/support/tools.py"})  # tools in the sense of programs
NATIVE: Final = ("proving", "core")  # the C++ core: its folder is the name of the thing


def is_banned(path: Path) -> bool:
    """Whether a Python module or the package that it lies in has a name that says nothing."""
    if path.suffix != ".py" or str(path) in ALLOWED:
        return False
    if path.parts[:2] == NATIVE:
        path = Path(*path.parts[2:])
    words = {path.stem, *path.stem.split("_")} - {""}
    return bool(words & BANNED) or bool(set(path.parts[:-1]) & BANNED)


def test_no_module_has_a_vague_name() -> None:
    """Packages and tests alike."""
    assert [] == [str(path) for path in files(*PACKAGES, "tests") if is_banned(path)]


@pytest.mark.parametrize(
    "name", ["market/utils.py", "node/chain/helpers.py", "node/order_manager.py", "node/core/x.py"]
)
def test_a_vague_name_is_reported(name: str) -> None:
    """Alone, as a part of the name, and as a package."""
    assert is_banned(Path(name))
