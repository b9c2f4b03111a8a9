"""SPEC.md and protocol/constants.py say the same numbers: a drift between twin texts is found here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from protocol import actions, constants
from tests.lint.sources import text

STATED: Final = re.compile(r"\b(?P<name>[A-Z][A-Z0-9_]+) = (?P<value>0x[0-9a-f]+|[0-9]+(?:\^[0-9]+)?)(?![0-9a-fx^*+])")


def stated(spec: str) -> Iterator[tuple[str, int]]:
    """Every `NAME = number` of the text; powers are written `2^32`."""
    for found in STATED.finditer(spec):
        base, _, exponent = found["value"].partition("^")
        yield found["name"], int(base, 0) ** int(exponent or "1")


def differences(spec: str, known: Mapping[str, int]) -> list[str]:
    """Numbers that SPEC.md states and the code does not know, or knows differently."""
    return [
        f"SPEC says {name} = {value}, code {known.get(name)}"
        for name, value in stated(spec)
        if known.get(name) != value
    ]


def test_every_stated_number_is_the_one_in_use() -> None:
    """Constants of protocol/constants.py and the action kinds, which are an enumeration."""
    known = {name: value for name, value in vars(constants).items() if isinstance(value, int)}
    known |= {kind.name: kind.value for kind in actions.ActionKind}
    spec = text(Path("protocol/SPEC.md"))

    assert len(list(stated(spec))) > 20
    assert [] == differences(spec, known)


def test_a_drifted_number_is_reported() -> None:
    """Another value, and a name that the code does not have."""
    spec = "`DEPTH = 16`, `WIDTH = 2^8` and `LIMIT = 0xff`, so `key = 3`"

    assert ["SPEC says DEPTH = 16, code 15", "SPEC says LIMIT = 255, code None"] == differences(
        spec, {"DEPTH": 15, "WIDTH": 256}
    )
