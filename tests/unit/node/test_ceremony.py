"""What `unveto setup ceremony` shows of files that others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.commands.ceremony import in_words, kind_of, shown
from proving.errors import CeremonyMisuse


def test_a_name_cannot_steer_the_terminal_or_the_table() -> None:
    assert shown("\x1b[2J[bold]x[/bold]\n") == "?[2J\\[bold]x\\[/bold]?"
    assert shown("Zoë") == "Zoë"


def test_a_hash_is_four_lines_of_four_words() -> None:
    lines = in_words(bytes(range(64))).splitlines()

    assert len(lines) == 4
    assert lines[0] == "00010203 04050607 08090a0b 0c0d0e0f"
    assert in_words(bytes(64).hex()) == in_words(bytes(64))


@pytest.mark.parametrize("content", [b"", b"pta", b"r1cs1234"])
def test_another_file_has_no_kind(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)

    with pytest.raises(CeremonyMisuse):
        kind_of(tmp_path / "f")
