"""Frames kept for others: positions, bounds, age."""

from hypothesis import given
from hypothesis import strategies as st

from node.p2p.framestore import MemoryFrameStore
from node.p2p.verdicts import frame_id


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, *, max_age_s: float = 10, max_frames: int = 100, max_bytes: int = 1000) -> MemoryFrameStore:
    return MemoryFrameStore(epoch=1, now=clock, max_age_s=max_age_s, max_frames=max_frames, max_bytes=max_bytes)


def add(store: MemoryFrameStore, *frames: bytes, topic: str = "t") -> None:
    for frame in frames:
        store.add(topic, frame_id(frame), frame)


def test_positions_ascend_per_topic_and_survive_eviction() -> None:
    """A cursor stays valid when what it has passed is dropped."""
    clock = Clock()
    store = make(clock)
    add(store, b"a")
    add(store, b"other", topic="u")
    clock.now = 6
    add(store, b"b", b"c", b"b")  # the second b changes nothing

    assert [(1, frame_id(b"a")), (2, frame_id(b"b")), (3, frame_id(b"c"))] == list(store.ids_after("t", 0, 10))
    assert [(1, frame_id(b"other"))] == list(store.ids_after("u", 0, 10))
    clock.now = 11
    assert [(2, frame_id(b"b")), (3, frame_id(b"c"))] == list(store.ids_after("t", 0, 10))
    assert [(3, frame_id(b"c"))] == list(store.ids_after("t", 2, 10))
    assert [(2, frame_id(b"b"))] == list(store.ids_after("t", 0, 1))
    assert [] == list(store.ids_after("t", 3, 10)) == list(store.ids_after("unknown", 0, 10))
    assert None is store.get("t", frame_id(b"a"))
    assert None is store.get("u", frame_id(b"b"))
    assert b"b" == store.get("t", frame_id(b"b"))


def test_oldest_frames_go_when_count_or_bytes_are_exceeded() -> None:
    """Whatever peers send, the store stays within its bounds."""
    store = make(Clock(), max_frames=3, max_bytes=10)
    add(store, b"1", b"2", b"3", b"4")
    assert [2, 3, 4] == [position for position, _ in store.ids_after("t", 0, 10)]

    add(store, bytes(9))
    assert [4, 5] == [position for position, _ in store.ids_after("t", 0, 10)]

    add(store, bytes(11))  # larger than the store
    assert 10 == store.size_bytes


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.binary(min_size=1, max_size=4), st.floats(0, 3)), min_size=1, max_size=40
    ),
    st.integers(0, 50),
)
def test_store_agrees_with_a_list(steps: list[tuple[str, bytes, float]], cursor: int) -> None:
    """A plain list of everything ever added, filtered by the rules, is the reference."""
    clock = Clock()
    store = make(clock, max_age_s=10, max_frames=5, max_bytes=12)
    everything: list[tuple[str, int, bytes, float]] = []

    def kept() -> list[tuple[str, int, bytes, float]]:
        alive = [entry for entry in everything if entry[3] >= clock.now - 10]
        while len(alive) > 5 or sum(len(entry[2]) for entry in alive) > 12:
            alive.pop(0)
        return alive

    counts = {"a": 0, "b": 0}
    for topic, frame, pause in steps:
        clock.now += pause
        everything[:] = kept()
        if not any((topic, frame) == (entry[0], entry[2]) for entry in everything):
            counts[topic] += 1
            everything.append((topic, counts[topic], frame, clock.now))
            everything[:] = kept()
        store.ids_after(topic, 0, 1)  # lets it drop what is too old
        store.add(topic, frame_id(frame), frame)

    for topic in "ab":
        expected = [(n, frame_id(frame)) for t, n, frame, _ in kept() if t == topic and n > cursor]
        assert expected == list(store.ids_after(topic, cursor, 100))
    assert sum(len(entry[2]) for entry in kept()) == store.size_bytes
