"""Parsers of bytes that strangers send: pubsub framing, catch-up answers, control messages."""

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_uvarint

from node.p2p.catchup import MAX_LISTED, decode_frames, decode_listed
from node.p2p.config import P2PConfig
from node.p2p.errors import MalformedFrame
from node.p2p.ingest import SEEN_ENVELOPES, SeenEnvelopes, VarintFrames
from node.p2p.router import MAX_IDS_PER_RPC, MESHSUB, FloodRouter
from node.p2p.verdicts import frame_id


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    """TCP does not keep boundaries."""
    wire = b"".join(bytes(encode_uvarint(len(body))) + body for body in bodies)
    frames = VarintFrames(limit_bytes=300)
    out: list[bytes] = []
    position = 0
    for number in range(len(wire)):
        if position >= len(wire):
            break
        step = cuts[number % len(cuts)]
        out += frames.feed(wire[position : position + step])
        position += step

    assert bodies == out


@given(st.binary(max_size=2000), st.integers(1, 64))
def test_any_bytes_give_frames_within_the_limit_or_one_named_error(noise: bytes, step: int) -> None:
    """Never another exception, never a longer frame."""
    frames = VarintFrames(limit_bytes=100)
    try:
        for start in range(0, len(noise), step):
            for frame in frames.feed(noise[start : start + step]):
                assert len(frame) <= 100
    except MalformedFrame:
        pass


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff\xff", b"\x80\x80\x80\x80\x80", encode_uvarint(101)])
def test_prefix_over_the_limit_is_refused_before_any_body(prefix: bytes) -> None:
    """Nothing is buffered for it."""
    with pytest.raises(MalformedFrame):
        list(VarintFrames(limit_bytes=100).feed(bytes(prefix)))


def test_incomplete_prefix_waits() -> None:
    """Four continuation bytes may still become a length."""
    frames = VarintFrames(limit_bytes=100)

    assert [] == list(frames.feed(b"\x81\x80\x80\x80"))
    assert [b"x"] == list(frames.feed(b"\x00x"))


def test_seen_envelopes_are_forgotten_after_their_time_and_when_there_are_too_many() -> None:
    """A stranger with a key can sign any number of messages."""
    now = 0.0
    seen = SeenEnvelopes(lambda: now)
    assert [True, False] == [seen.add(b"a"), seen.add(b"a")]
    now = 60.0
    assert seen.add(b"b")
    now = 119.0
    assert seen.has(b"a")
    now = 120.0
    assert not seen.has(b"a")
    assert seen.has(b"b")
    assert seen.add(b"c")
    assert [b"b", b"c"] == list(seen._expiry)

    for number in range(SEEN_ENVELOPES):
        seen.add(b"%d" % number)
    assert not seen.has(b"b")
    assert SEEN_ENVELOPES == len(seen._expiry)


@given(st.binary(max_size=200))
def test_listed_ids_are_whole_or_refused(response: bytes) -> None:
    """Any bytes of a stranger."""
    try:
        epoch, position, ids = decode_listed(response)
    except MalformedFrame:
        assert len(response) < 16 or (len(response) - 16) % 32
    else:
        assert response == struct.pack(">QQ", epoch, position) + b"".join(ids)


def test_more_listed_ids_than_a_list_holds_are_refused() -> None:
    """The limit is part of the protocol."""
    decode_listed(bytes(16 + 32 * MAX_LISTED))
    with pytest.raises(MalformedFrame):
        decode_listed(bytes(16 + 32 * (MAX_LISTED + 1)))


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def test_fetched_frames_are_those_asked_for() -> None:
    """In any number, in any order."""
    wanted = [frame_id(frame) for frame in (b"a", b"b", b"c")]

    assert (b"c", b"a") == decode_frames(framed(b"c", b"a"), wanted)
    assert () == decode_frames(b"", wanted)


@pytest.mark.parametrize(
    "response",
    [
        framed(b"z"),
        framed(b"a", b"a"),
        framed(b"a")[:-1],
        framed(b"a") + b"\0\0\0",
        b"\xff\xff\xff\xffa",
        framed(b""),
    ],
)
def test_fetched_bytes_that_nobody_asked_for_are_refused(response: bytes) -> None:
    """A peer cannot push frames into an answer."""
    with pytest.raises(MalformedFrame):
        decode_frames(response, [frame_id(b"a"), frame_id(b"b")])


@given(st.binary(max_size=100))
def test_any_answer_to_a_get_is_decoded_or_refused(response: bytes) -> None:
    """Never another exception."""
    try:
        assert () == decode_frames(response, [])
    except MalformedFrame:
        assert response


class _Recorder(FloodRouter):
    """Records what is left of a control message after the cuts."""

    def __init__(self) -> None:
        super().__init__(P2PConfig())
        self.mesh = {"ours": set()}
        self.handled: list[tuple[str, str, int]] = []

    async def handle_ihave(self, ihave_msg: rpc_pb2.ControlIHave, sender_peer_id: object) -> None:
        self.handled.append(("ihave", ihave_msg.topicID, len(ihave_msg.messageIDs)))

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: object) -> None:
        self.handled.append(("iwant", "", len(iwant_msg.messageIDs)))

    async def handle_graft(self, graft_msg: rpc_pb2.ControlGraft, sender_peer_id: object) -> None:
        self.handled.append(("graft", graft_msg.topicID, 0))

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: object) -> None:
        self.handled.append(("prune", prune_msg.topicID, prune_msg.backoff))
        assert not prune_msg.peers


def test_own_messages_go_to_all_peers_of_the_topic_and_others_only_to_the_mesh() -> None:
    """A publisher whose mesh is still empty, or who was pruned, is heard nevertheless."""
    peers = [ID(bytes([number])) for number in range(4)]
    me, meshed, outside, silent = peers
    router = _Recorder()
    router.mesh = {"ours": {meshed}}
    router.peer_protocol = {meshed: MESHSUB, outside: MESHSUB}
    pubsub = SimpleNamespace(my_id=me, peer_topics={"ours": {meshed, outside, silent}})
    router.pubsub = pubsub  # type: ignore[assignment]

    def targets(*, forwarder: ID, origin: ID) -> set[ID]:
        return set(router._get_peers_to_send(["ours"], forwarder, origin))

    assert {meshed, outside} == targets(forwarder=me, origin=me)
    assert {meshed} == targets(forwarder=outside, origin=outside)
    assert set() == targets(forwarder=meshed, origin=outside)


def test_peers_outside_the_mesh_are_offered_recent_messages_even_in_back_off() -> None:
    """The library withholds the offer for a minute after a prune."""
    meshed, pruned = ID(b"1"), ID(b"2")
    router = _Recorder()
    router.mesh = {"ours": {meshed}, "quiet": set()}
    router.peer_protocol = {meshed: MESHSUB, pruned: MESHSUB}
    pubsub = SimpleNamespace(peer_topics={"ours": {meshed, pruned, ID(b"3")}, "quiet": {pruned}})
    router.pubsub = pubsub  # type: ignore[assignment]
    router._add_back_off(pruned, "ours", False, 600)
    router.mcache.put(rpc_pb2.Message(from_id=b"author", seqno=b"1", topicIDs=["ours"]))

    assert {pruned: {"ours": [b"author1"]}} == dict(router.gossip_heartbeat())


async def test_delivery_times_can_be_forgotten() -> None:
    """The library keeps one for each message of the node's life."""
    router = _Recorder()
    router.pubsub = SimpleNamespace(  # type: ignore[assignment]
        my_id=ID(b"me"), peers={}, peer_topics={}, peer_queues={}, get_message_id=lambda message: b"id"
    )
    await router.publish(ID(b"me"), rpc_pb2.Message(from_id=b"me", seqno=b"1", topicIDs=["ours"]))
    assert 1 == len(router.recent_message_deliveries["ours"])

    router.forget_deliveries()

    assert {} == dict(router.recent_message_deliveries)


async def test_control_messages_are_cut_to_what_an_honest_peer_sends() -> None:
    """Made-up topics, repeated ids, endless lists, endless back-offs and peer exchange do not get through."""
    ids = [struct.pack(">Q", number) for number in range(3 * MAX_IDS_PER_RPC)]
    control = rpc_pb2.ControlMessage(
        ihave=[
            rpc_pb2.ControlIHave(topicID="ours", messageIDs=ids),
            rpc_pb2.ControlIHave(topicID="ours", messageIDs=ids),
            rpc_pb2.ControlIHave(topicID="theirs", messageIDs=ids),
        ],
        iwant=[rpc_pb2.ControlIWant(messageIDs=[b"same"] * 1000), rpc_pb2.ControlIWant(messageIDs=[b"same", b"other"])],
        graft=[rpc_pb2.ControlGraft(topicID=topic) for topic in ("ours", "ours", "theirs")],
        prune=[
            rpc_pb2.ControlPrune(topicID="ours", backoff=1 << 60, peers=[rpc_pb2.PeerInfo(peerID=b"x")]),
            rpc_pb2.ControlPrune(topicID="theirs", backoff=1),
        ],
    )
    router = _Recorder()

    await router.handle_rpc(rpc_pb2.RPC(control=control), None)  # type: ignore[arg-type]

    assert [
        ("ihave", "ours", MAX_IDS_PER_RPC),
        ("iwant", "", 2),
        ("graft", "ours", 0),
        ("prune", "ours", 600),
    ] == router.handled
