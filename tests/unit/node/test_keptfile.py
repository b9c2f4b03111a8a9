"""Kept transactions on disk: whole, private, gone with their order; and nothing else is read as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.errors import UsageError
from node.keptfile import MAX_FILE_BYTES, KeptFiles, KeptTransaction, read_kept
from node.landing import INCLUSION_LIST_BYTES, estimated_bytes
from tests.support.market_ledger import planned_table

KEPT = KeptTransaction(request_id=b"\x01" * 32, raw=b"\x02raw", core=b"core", valid_until=1_800_000_000)


def test_what_is_kept_reads_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    """A newer transaction of the same order takes the older one's place."""
    files = KeptFiles(tmp_path)
    files.write(KEPT)
    files.write(replace(KEPT, raw=b"\x02newer"))
    path = files.path(KEPT.request_id)

    assert replace(KEPT, raw=b"\x02newer") == read_kept(path)
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0o700 == path.parent.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_files_leave_with_their_orders(tmp_path: Path) -> None:
    """Also what a death left half written."""
    files = KeptFiles(tmp_path)
    files.sweep(())
    other = replace(KEPT, request_id=b"\x02" * 32)
    for each in (KEPT, other):
        files.write(each)
    files.path(KEPT.request_id).with_suffix(".tmp").write_text("half")
    files.sweep({other.request_id})

    assert [files.path(other.request_id)] == list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"request_id": "01", "raw": "0x02", "core": "0x", "valid_until": "1"}),
        json.dumps({"request_id": "01", "raw": "0x0", "core": "0x", "valid_until": 1}),
        json.dumps({"request_id": "01", "raw": 2, "core": "0x", "valid_until": 1}),
        json.dumps({"request_id": "01", "raw": "0x02", "core": "0x", "valid_until": True}),
        json.dumps({"request_id": "01", "raw": "0x02", "core": "0x", "valid_until": 1, "key": "0x"}),
        " " * (MAX_FILE_BYTES + 1),
    ],
)
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    """With a coded error, whatever it is."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_kept(path)
    with pytest.raises(UsageError):
        read_kept(tmp_path / "missing")


def test_a_larger_table_makes_a_larger_transaction() -> None:
    """The estimate follows the table's parts; a table of six kilobytes and three proofs fits no inclusion list."""
    plan = planned_table()

    assert estimated_bytes(plan) < INCLUSION_LIST_BYTES
    grown = replace(plan, core=plan.core + bytes(320), triggers=plan.triggers + bytes(64))
    assert 320 + 64 == estimated_bytes(grown) - estimated_bytes(plan)
    large = estimated_bytes(replace(plan, core=bytes(6_400), proof_count=3))
    assert large > INCLUSION_LIST_BYTES
