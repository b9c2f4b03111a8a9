"""The journal of accepted frames: what a crash leaves of it, its bounds, a disk that does not take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node import framejournal
from node.framejournal import CURRENT, PREVIOUS, FrameJournal, JournaledStore, Kept
from node.p2p.verdicts import frame_id
from protocol.constants import MAX_LIFETIME_MS

FRAMES = tuple(bytes([n]) * (1 + 7 * n) for n in range(4))


class Clock:
    """Unix milliseconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


def written(folder: Path, clock: Clock) -> None:
    """A journal holds FRAMES; closing it writes nothing more, so that it is as after a kill."""
    journal = FrameJournal(folder, now_ms=clock)
    assert () == journal.load()
    for frame in FRAMES:
        journal.append("/topic", frame)
    size = (folder / CURRENT).stat().st_size
    journal.close()
    assert size == (folder / CURRENT).stat().st_size


def loaded(folder: Path, clock: Clock) -> list[bytes]:
    """Frames that the next life of the node finds."""
    journal = FrameJournal(folder, now_ms=clock)
    frames = [kept.frame for kept in journal.load()]
    journal.close()
    return frames


def test_what_was_accepted_is_there_after_a_kill(tmp_path: Path) -> None:
    """With its time and topic."""
    clock = Clock()
    written(tmp_path, clock)
    again = FrameJournal(tmp_path, now_ms=clock)
    kept = again.load()
    again.close()

    assert tuple(Kept(accepted_ms=clock.now, topic="/topic", frame=frame) for frame in FRAMES) == kept


def test_a_record_cut_anywhere_costs_only_itself(tmp_path: Path) -> None:
    """And the records of the next life follow the last whole one."""
    written(tmp_path, Clock())
    path = tmp_path / CURRENT
    whole = path.read_bytes()
    ends = [sum(18 + len("/topic") + len(frame) for frame in FRAMES[:count]) for count in range(5)]
    assert len(whole) == ends[-1]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        survivors = sum(end <= size for end in ends[1:])
        journal = FrameJournal(tmp_path, now_ms=Clock())
        assert list(FRAMES[:survivors]) == [kept.frame for kept in journal.load()]
        journal.append("/topic", b"next")
        journal.close()
        assert [*FRAMES[:survivors], b"next"] == loaded(tmp_path, Clock())


def test_a_changed_byte_ends_what_is_believed(tmp_path: Path) -> None:
    """Wherever it is, nothing is made up from it."""
    written(tmp_path, Clock())
    path = tmp_path / CURRENT
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        kept = loaded(tmp_path, Clock())
        assert kept == list(FRAMES[: len(kept)]) and len(kept) < len(FRAMES)
        path.write_bytes(whole)


def test_files_take_turns_and_no_live_frame_is_lost(tmp_path: Path) -> None:
    """At any moment both together hold at least what was accepted within a frame's longest life."""
    clock = Clock()
    journal = FrameJournal(tmp_path, now_ms=clock)
    journal.load()
    step_ms = MAX_LIFETIME_MS // 10
    for number in range(60):
        clock.now += step_ms
        journal.append("/t", number.to_bytes(2, "big"))
        kept = [int.from_bytes(frame, "big") for frame in loaded(tmp_path, clock)]
        assert kept == list(range(kept[0], number + 1))
        assert kept[0] <= max(0, number - 9)
    journal.close()
    assert len(kept) <= 22
    assert {CURRENT, PREVIOUS} == {path.name for path in tmp_path.iterdir()}


def test_a_flood_gives_up_old_frames_not_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of a bounded size."""
    monkeypatch.setattr(framejournal, "MAX_FILE_BYTES", 1000)
    journal = FrameJournal(tmp_path, now_ms=Clock())
    journal.load()
    for number in range(200):
        journal.append("/t", number.to_bytes(2, "big") * 20)

    journal.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert all(size <= 1000 + 60 for size in sizes) and 2 == len(sizes)


def test_a_disk_that_takes_nothing_does_not_stop_the_node(tmp_path: Path) -> None:
    """Frames are judged and passed on as before; when there is room again they are recorded again."""
    (tmp_path / CURRENT).mkdir()
    journal = FrameJournal(tmp_path / "missing", now_ms=Clock())
    journal.append("/topic", b"lost")
    (tmp_path / "missing").mkdir()
    journal.append("/topic", b"kept")
    journal.close()

    assert [b"kept"] == loaded(tmp_path / "missing", Clock())


def test_the_store_offers_again_what_the_journal_kept(tmp_path: Path) -> None:
    """Each frame once, in the order accepted, without writing it again."""
    clock = Clock()
    written(tmp_path, clock)
    size = (tmp_path / CURRENT).stat().st_size
    journal = FrameJournal(tmp_path, now_ms=clock)
    store = JournaledStore(journal, epoch=1, now=lambda: 0.0, max_age_s=600, max_frames=99, max_bytes=1 << 20)
    store.recall(journal.load(), clock.now)
    store.add("/topic", frame_id(FRAMES[0]), FRAMES[0])

    assert [frame_id(frame) for frame in FRAMES] == [name for _, name in store.ids_after("/topic", 0, 9)]
    assert len(FRAMES) == store.last("/topic")
    assert size == (tmp_path / CURRENT).stat().st_size
    store.add("/topic", frame_id(b"new"), b"new")
    journal.close()
    assert size < (tmp_path / CURRENT).stat().st_size
