"""The small files of a node: commands, evidence, status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from node import evidence
from node.evidence import LOG_NAME, FrameLog, read_frames
from node.inbox import MAX_COMMAND_BYTES, Inbox
from node.ports import Refused
from node.rawtx import decode_raw
from node.statusfile import StatusFile, read_status


def test_a_command_is_pending_until_it_is_answered(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    command_id = inbox.ask("request", {"rollup_id": 1})

    (command,) = inbox.pending()
    assert (command.command_id, command.name, dict(command.arguments)) == (command_id, "request", {"rollup_id": 1})
    assert inbox.answer_of(command_id) is None
    inbox.answer(command, {"request_id": "00"})
    assert inbox.pending() == ()
    assert inbox.answer_of(command_id) == {"request_id": "00"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"name": "x"}', b'{"name": "x", "arguments": 3}', b"9" * 40_000])
def test_a_file_that_is_no_command_is_moved_aside_once(content: bytes, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    good = inbox.ask("request", {})
    (tmp_path / "inbox" / ("ab" * 16 + ".ask.json")).write_bytes(content)

    assert [command.command_id for command in inbox.pending()] == [good]
    assert [command.command_id for command in inbox.pending()] == [good]
    assert len(list((tmp_path / "inbox").glob("*.bad"))) == 1
    assert len(content) <= MAX_COMMAND_BYTES or content.startswith(b"9")


def test_recorded_frames_come_back_in_order_and_a_cut_record_ends_them(tmp_path: Path) -> None:
    log = FrameLog(tmp_path)
    for number in range(3):
        log("/topic", bytes([number]) * 5)
    log.close()

    assert list(read_frames(tmp_path)) == [("/topic", bytes([n]) * 5) for n in range(3)]
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes()[:-1])
    assert [frame[0] for _topic, frame in read_frames(tmp_path)] == [0, 1]


def test_the_frame_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_LOG_BYTES", 1000)
    log = FrameLog(tmp_path)
    for number in range(100):
        log("/t", number.to_bytes(2, "big") * 20)
    log.close()

    kept = [int.from_bytes(frame[:2], "big") for _topic, frame in read_frames(tmp_path)]
    assert (tmp_path / LOG_NAME).stat().st_size <= 1100
    assert kept == list(range(kept[0], 100))


def test_status_sections_replace_each_other_and_survive_reading(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    assert read_status(tmp_path) is None
    status.put("node", {"pid": 1})
    status.put("rollups", {"block": 2})
    status.put("rollups", {"block": 3})

    assert read_status(tmp_path) == {"node": {"pid": 1}, "rollups": {"block": 3}}
    json.loads((tmp_path / "status.json").read_text())


def _signed(**changes: object) -> bytes:
    fields = {
        "type": 2,
        "chainId": 1,
        "nonce": 3,
        "gas": 21_000,
        "maxFeePerGas": 5,
        "maxPriorityFeePerGas": 1,
        "to": "0x" + "11" * 20,
        "value": 9,
        "data": b"abc",
    }
    return bytes(Account.sign_transaction({**fields, **changes}, b"\x01" * 32).raw_transaction)


def test_a_signed_transaction_is_taken_apart() -> None:
    call = decode_raw(_signed())

    assert call.sender.hex() == Account.from_key(b"\x01" * 32).address[2:].lower()
    assert (call.nonce, call.gas, call.to, call.value, call.data) == (3, 21_000, b"\x11" * 20, 9, b"abc")


@pytest.mark.parametrize(
    "raw", [b"", b"\x01\xc0", b"\x02", b"\x02\xc0", b"\x02" + b"\xff" * 40, b"\x02" + bytes(1 << 17)]
)
def test_what_is_no_signed_transaction_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match="READY_FORM"):
        decode_raw(raw)


def test_a_cut_transaction_is_refused() -> None:
    raw = _signed()
    for size in range(1, len(raw)):
        with pytest.raises(Refused, match="READY_FORM"):
            decode_raw(raw[:size])


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_changed_transactions_are_refused_or_decoded(at: int, junk: bytes) -> None:
    raw = bytearray(_signed())
    at %= len(raw)
    raw[at : at + len(junk)] = junk

    try:
        decode_raw(bytes(raw))
    except Refused as refused:
        assert refused.code == "READY_FORM"


def test_a_log_that_a_crash_cut_goes_on_with_whole_records(tmp_path: Path) -> None:
    """Else everything behind the cut would be unreadable."""
    log = FrameLog(tmp_path)
    log("/topic", b"whole")
    log("/topic", b"cut")
    log.close()
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes()[:-1])
    again = FrameLog(tmp_path)
    again("/topic", b"after")
    again.close()

    assert [b"whole", b"after"] == [frame for _topic, frame in read_frames(tmp_path)]


def test_a_full_disk_costs_records_and_status_but_no_node(tmp_path: Path) -> None:
    """A folder that takes nothing; then one that does: what comes later is recorded whole."""
    folder = tmp_path / "gone"
    log, status = FrameLog(folder), StatusFile(folder)
    log("/topic", b"lost")
    status.put("node", {"pid": 1})
    assert read_status(folder) is None
    folder.mkdir()
    log("/topic", b"kept")
    status.put("connected", {"wanted": []})
    log.close()

    assert [b"kept"] == [frame for _topic, frame in read_frames(folder)]
    assert {"node": {"pid": 1}, "connected": {"wanted": []}} == read_status(folder)
