"""States from peers on loopback: honest ones, and others that lie, cut short, flood, hang or have nothing."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from libp2p.exceptions import BaseLibp2pError

from node.chain.rpc import Rpc
from node.chunkstore import ChunkStore
from node.errors import StateUnavailable
from node.follower import Follower
from node.network import RollupPeers, serve_rollups
from node.p2p.errors import RequestRefused
from node.p2p.host import Host
from node.replay import Followed
from node.rollupserver import PROTOCOL_ID, RollupServer
from node.rollupsync import RollupSync
from protocol.errors import Ignore
from protocol.types import Address
from protocol.vm.state import VmState
from protocol.vm.sync import LEAF_BYTES, Part, answer_question, decode_question
from tests.integration.p2p.network import DEADLINE_S, Network, stranger
from tests.support.bigstates import CHUNKS, big_state, moved_state

ROLLUP = 5
Handler = Callable[[str, bytes], Awaitable[bytes]]


@pytest.fixture
async def network(nursery: trio.Nursery) -> AsyncIterator[Network]:
    """Hosts that are stopped after the test."""
    made = Network(nursery)
    yield made
    with trio.fail_after(DEADLINE_S):
        await made.stop_all()


def _following(*states: VmState) -> tuple[Follower, Callable[[VmState], None]]:
    """A follower of one rollup without an L1; the second moves it on."""
    follower = Follower(cast(Rpc, None), Address(bytes(20)), start_block=0, confirmations=0, poll_s=1)

    def move(state: VmState) -> None:
        assert follower.adopt(ROLLUP, -1, b"", Followed(state=state))

    for state in states:
        move(state)
    return follower, move


async def _honest(network: Network, nursery: trio.Nursery, name: str, *states: VmState, kept_roots: int = 32) -> Host:
    """A peer that follows; it had each of these states in turn."""
    host = await network.start(name)
    follower, move = _following(states[0])
    server = RollupServer(follower, kept_roots=kept_roots)
    serve_rollups(host, server)
    nursery.start_soon(server.serve)
    await trio.testing.wait_all_tasks_blocked()
    for state in states[1:]:
        move(state)
        await trio.testing.wait_all_tasks_blocked()
    return host


async def _twisted(network: Network, name: str, handler: Handler) -> Host:
    """A peer that answers as it likes."""
    host = await network.start(name)
    host.serve_protocol(PROTOCOL_ID, handler, max_request=1 << 10, max_response=1 << 24, timeout_s=30)
    return host


def _twist(part: Part, change: Callable[[bytes], bytes]) -> Handler:
    async def handle(_peer_id: str, raw: bytes) -> bytes:
        question = decode_question(raw)
        answer = answer_question(big_state(), question)
        return change(answer) if question.part is part else answer

    return handle


class _Meter(RollupPeers):
    """Asks in a fixed order, and notes what was asked and who was blamed."""

    def __init__(self, host: Host, *, first: tuple[str, ...] = (), timeout_s: float = 5) -> None:
        order = {peer_id: place for place, peer_id in enumerate(first)}
        super().__init__(host, lambda peers: peers.sort(key=lambda each: order.get(each, 99)), timeout_s=timeout_s)
        self.asked: list[tuple[str, Part]] = []
        self.blamed: list[str] = []

    async def ask(self, peer_id: str, question: bytes, max_answer: int) -> bytes:
        self.asked.append((peer_id, decode_question(question).part))
        return await super().ask(peer_id, question, max_answer)

    def blame(self, peer_id: str) -> None:
        self.blamed.append(peer_id)
        super().blame(peer_id)

    def count(self, part: Part) -> int:
        """Questions for a kind of part."""
        return sum(each is part for _, each in self.asked)


def _store(tmp_path: Path, on_write: Callable[[str], None] = lambda _point: None) -> ChunkStore:
    return ChunkStore(tmp_path / "states", on_write=on_write)


async def _asker(network: Network, *peers: Host) -> Host:
    host = await network.start("asker", dial=peers)
    for peer in peers:
        while not host.links.is_connected(peer.peer_id):
            await trio.lowlevel.checkpoint()
    return host


async def test_a_state_comes_whole_from_several_peers(network: Network, nursery: trio.Nursery, tmp_path: Path) -> None:
    """With its programs and what is being deployed; each peer gives a share."""
    peers = [await _honest(network, nursery, name, big_state()) for name in ("one", "two")]
    asker = _Meter(await _asker(network, *peers))
    sync = RollupSync(asker, _store(tmp_path))

    state = await sync.fetch(ROLLUP, big_state().root)

    assert (state.root, state.programs, state.drafts) == (big_state().root, big_state().programs, big_state().drafts)
    assert {peer.peer_id for peer in peers} == {peer_id for peer_id, _ in asker.asked}
    assert asker.blamed == []
    nursery.cancel_scope.cancel()


LIES: dict[str, tuple[Part, Callable[[bytes], bytes]]] = {
    "another outline": (Part.OUTLINE, lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,))),
    "the outline of another root": (Part.OUTLINE, lambda raw: answer_question(moved_state(), _outline_question())),
    "no outline": (Part.OUTLINE, lambda raw: b""),
    "an outline of too many chunks": (Part.OUTLINE, lambda raw: raw + bytes(32)),
    "an outline beyond every limit": (Part.OUTLINE, lambda raw: raw + bytes(1 << 22)),
    "a tampered chunk": (Part.CHUNK, lambda raw: raw[:40] + bytes((raw[40] ^ 1,)) + raw[41:]),
    "a short chunk": (Part.CHUNK, lambda raw: raw[:-LEAF_BYTES]),
    "an empty chunk": (Part.CHUNK, lambda raw: b""),
    "a chunk without end": (Part.CHUNK, lambda raw: raw + bytes(1 << 22)),
    "another program": (Part.PROGRAM, lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,))),
    "another draft": (Part.DRAFT, lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,))),
    "a draft from nowhere": (Part.DRAFT, lambda raw: bytes(32) + raw[32:]),
}


def _outline_question() -> Any:
    raw = bytes((Part.OUTLINE,)) + (5).to_bytes(8, "big") + moved_state().root.to_bytes(32, "big") + bytes(33)
    return decode_question(raw)


@pytest.mark.parametrize("name", sorted(LIES))
async def test_a_wrong_part_is_blamed_and_had_from_another(
    network: Network, nursery: trio.Nursery, tmp_path: Path, name: str
) -> None:
    """Alone the liar gives nothing; beside an honest peer it changes nothing. Either way it is struck."""
    liar = await _twisted(network, "liar", _twist(*LIES[name]))
    host = await _asker(network, liar)
    alone = _Meter(host)
    with pytest.raises(StateUnavailable) as refused:
        await RollupSync(alone, _store(tmp_path / "alone")).fetch(ROLLUP, big_state().root)
    assert refused.value.code == "NOD-030"
    assert set(alone.blamed) == {liar.peer_id}

    honest = await _honest(network, nursery, "honest", big_state())
    host.want(honest.addresses[0])
    while not host.links.is_connected(honest.peer_id):
        await trio.lowlevel.checkpoint()
    beside = _Meter(host, first=(liar.peer_id, honest.peer_id))
    state = await RollupSync(beside, _store(tmp_path / "beside")).fetch(ROLLUP, big_state().root)

    assert state.root == big_state().root
    assert set(beside.blamed) <= {liar.peer_id}
    nursery.cancel_scope.cancel()


async def test_one_that_hangs_or_trickles_is_left_out_in_time(
    network: Network, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Its time is bounded, and nobody is struck for being slow."""

    async def hang(_peer_id: str, _raw: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    slow = await _twisted(network, "slow", hang)
    honest = await _honest(network, nursery, "honest", big_state())
    asker = _Meter(await _asker(network, slow, honest), first=(slow.peer_id, honest.peer_id), timeout_s=1.5)

    with trio.fail_after(DEADLINE_S):
        state = await RollupSync(asker, _store(tmp_path)).fetch(ROLLUP, big_state().root)

    assert state.root == big_state().root
    assert asker.blamed == []
    nursery.cancel_scope.cancel()


async def test_a_stream_that_never_ends_is_cut_at_the_limit(
    network: Network, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """A length prefix beyond the limit is not waited for."""
    honest = await _honest(network, nursery, "honest", big_state())
    host = await _asker(network, honest)
    async with stranger("flood", host) as flood:
        endless = trio.Event()

        async def pour(stream: Any) -> None:
            endless.set()
            await stream.write(b"\0" + struct.pack(">I", 0xFFFFFFFF))
            with trio.move_on_after(DEADLINE_S):
                while True:
                    await stream.write(bytes(1 << 14))

        async def safely(stream: Any) -> None:
            with suppress(BaseLibp2pError, OSError, trio.BrokenResourceError):  # when the other side resets
                await pour(stream)

        flood.set_stream_handler(PROTOCOL_ID, safely)
        asker = _Meter(host, first=(str(flood.get_id()),))
        with trio.fail_after(DEADLINE_S):
            state = await RollupSync(asker, _store(tmp_path)).fetch(ROLLUP, big_state().root)
        assert endless.is_set()
    assert state.root == big_state().root
    assert [str(flood.get_id())] == list(set(asker.blamed))
    nursery.cancel_scope.cancel()


async def test_a_cut_download_goes_on_where_it_was_and_a_moved_root_takes_what_changed(
    network: Network, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Chunks are kept by their hash."""

    async def cut(_peer_id: str, raw: bytes) -> bytes:
        question = decode_question(raw)
        if question.part is Part.CHUNK and question.which == CHUNKS - 1:
            raise Ignore("UNKNOWN_ROOT")
        return answer_question(big_state(), question)

    cutting = await _twisted(network, "cutting", cut)
    host = await _asker(network, cutting)
    written: list[str] = []
    with pytest.raises(StateUnavailable):
        await RollupSync(_Meter(host), _store(tmp_path, written.append)).fetch(ROLLUP, big_state().root)
    kept = len(written)
    assert 1 <= kept <= CHUNKS - 1

    await network.stop(cutting)
    honest = await _honest(network, nursery, "honest", big_state(), moved_state())
    host.want(honest.addresses[0])
    while not host.links.is_connected(honest.peer_id):
        await trio.lowlevel.checkpoint()
    again = _Meter(host, first=(honest.peer_id,))
    assert (await RollupSync(again, _store(tmp_path)).fetch(ROLLUP, big_state().root)).root == big_state().root
    assert again.count(Part.CHUNK) == CHUNKS - kept
    moved = _Meter(host, first=(honest.peer_id,))
    assert (await RollupSync(moved, _store(tmp_path)).fetch(ROLLUP, moved_state().root)).root == moved_state().root
    assert moved.count(Part.CHUNK) == 1
    assert len(list((tmp_path / "states" / str(ROLLUP)).iterdir())) == CHUNKS
    nursery.cancel_scope.cancel()


async def test_what_lies_torn_or_changed_on_disk_is_asked_for_again(
    network: Network, nursery: trio.Nursery, tmp_path: Path
) -> None:
    honest = await _honest(network, nursery, "honest", big_state())
    host = await _asker(network, honest)
    await RollupSync(_Meter(host), _store(tmp_path)).fetch(ROLLUP, big_state().root)
    torn, changed = sorted((tmp_path / "states" / str(ROLLUP)).iterdir())
    torn.write_bytes(torn.read_bytes()[:100])
    raw = changed.read_bytes()
    changed.write_bytes(raw[:-1] + bytes((raw[-1] ^ 1,)))

    again = _Meter(host)
    state = await RollupSync(again, _store(tmp_path)).fetch(ROLLUP, big_state().root)

    assert state.root == big_state().root
    assert again.count(Part.CHUNK) == CHUNKS
    nursery.cancel_scope.cancel()


async def test_a_few_recent_roots_are_kept_and_others_unknown(
    network: Network, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Who has forgotten a root, or never had it, or speaks another protocol is not to blame."""
    forgetful = await _honest(network, nursery, "forgetful", big_state(), moved_state(), kept_roots=1)
    other = await network.start("other")
    host = await _asker(network, forgetful, other)
    asker = _Meter(host)
    for root in (big_state().root, 7):
        with pytest.raises(StateUnavailable, match="UNKNOWN_ROOT|has none"):
            await RollupSync(asker, _store(tmp_path)).fetch(ROLLUP, root)
    with pytest.raises(StateUnavailable):
        await RollupSync(asker, _store(tmp_path)).fetch(ROLLUP + 1, moved_state().root)
    assert (await RollupSync(asker, _store(tmp_path)).fetch(ROLLUP, moved_state().root)).root == moved_state().root
    assert asker.blamed == []
    nursery.cancel_scope.cancel()


async def test_a_question_that_is_none_strikes_the_asker(network: Network, nursery: trio.Nursery) -> None:
    honest = await _honest(network, nursery, "honest", big_state())
    host = await _asker(network, honest)
    struck: list[str] = []
    honest._requests._strike = struck.append
    for raw in (b"", b"\x09" + bytes(73), bytes(1 << 12)):
        with pytest.raises(RequestRefused):
            await host.request(honest.peer_id, PROTOCOL_ID, raw, timeout_s=5, max_response=1 << 10)
    assert len(struck) == 2  # the longest is not read
    nursery.cancel_scope.cancel()
