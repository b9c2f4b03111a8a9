"""Circuits kept on disk: recorded once, found again, never believed when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from proving.circuit import stored
from proving.circuit.builder import CompiledCircuit
from proving.circuit.table_vm import circuit_for


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An empty cache; the tiers that were recorded since."""
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path))
    seen: list[int] = []

    def counted(tier: int) -> CompiledCircuit:
        seen.append(tier)
        return circuit_for(tier)

    monkeypatch.setattr(stored, "circuit_for", counted)
    return seen


def test_a_circuit_is_recorded_once(recorded: list[int], tmp_path: Path) -> None:
    """And is the same bytes then."""
    first = stored.stored_r1cs(0)
    again = stored.stored_r1cs(0)

    assert first == again == circuit_for(0).r1cs_bytes
    assert recorded == [0]
    assert [path.parent for path in tmp_path.rglob("*.r1cs")] == [tmp_path / "circuits"]
    assert list(tmp_path.rglob("*.draft")) == []


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_file_is_recorded_again(recorded: list[int], damage: str) -> None:
    """What is inside is compared with its own hash."""
    made = stored.stored_r1cs(0)
    path = stored.stored_path(0)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes({"bit": raw, "cut": raw[:-1], "empty": b""}[damage])

    assert stored.stored_r1cs(0) == made
    assert recorded == [0, 0]
    assert stored.stored_r1cs(0) == made
    assert recorded == [0, 0]


def test_another_source_is_another_circuit(recorded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any source of the circuit, and the file is not found."""
    stored.stored_r1cs(0)
    monkeypatch.setattr(stored, "sources_hash", lambda: "another")
    stored.stored_r1cs(0)

    assert recorded == [0, 0]


def test_a_cache_that_cannot_be_written_stops_nothing(
    recorded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder would."""
    (tmp_path / "plain").write_bytes(b"")
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "plain"))

    assert stored.stored_r1cs(0) == circuit_for(0).r1cs_bytes
    assert recorded == [0]
