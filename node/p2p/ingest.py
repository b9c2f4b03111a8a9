"""Pubsub streams: from bytes of a stranger to a judged frame.

Replaces the library's read loop, which a single malformed RPC turns into the end of the whole node, and its validation
pipeline; see node.p2p.verdicts.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator

from node.p2p.config import P2PConfig
from node.p2p.errors import MalformedFrame
from node.p2p.router import FloodRouter
from node.p2p.verdicts import Intake, TokenBucket, Verdict

MAX_RPC_BYTES = 1 << 20  # the library sends none larger
MAX_SUBSCRIPTIONS_PER_RPC = 64
MAX_BUCKETS = 1024
SEEN_ENVELOPES = 1 << 17
SEEN_ENVELOPE_S = 120.0  # as long as any mesh offers a message, many times over

# Identity multihash of a protobuf Ed25519 key (libp2p specs, "Peer Ids"). Other ids do not contain the key, and
# the library's verifier then parses whatever key the message brings along.
_ED25519_ID_PREFIX = bytes.fromhex("002408011220")
_ED25519_ID_BYTES = 38

_SETTLED_BY_ENVELOPE = frozenset({Verdict.ACCEPT, Verdict.IGNORE, Verdict.REJECT})

AuthorTap = Callable[[bytes, str], None]
"""`tap(frame, author)`: sync, must not raise."""

log = logging.getLogger("unveto.p2p")


class VarintFrames:
    """Cuts a byte stream into varint-length-prefixed frames, as pubsub streams carry them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Add bytes and yield each frame that is complete.

        Raises:
            MalformedFrame: The prefix is longer than a 32-bit varint or announces more than the limit.
        """
        self._buffer += chunk
        while (header := self._header()) is not None:
            start, length = header
            if len(self._buffer) < start + length:
                return
            frame = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            yield frame

    def _header(self) -> tuple[int, int] | None:
        length = 0
        for index, byte in enumerate(self._buffer[:5]):
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if length > self._limit:
                    raise MalformedFrame(f"frame of {length} bytes announced, at most {self._limit} allowed")
                return index + 1, length
        if len(self._buffer) >= 5:
            raise MalformedFrame("length prefix of more than 5 bytes")
        return None


class SeenEnvelopes:
    """Ids of messages that need no second look; what the router's IHAVE handling and `push_msg` ask.

    Bounded in number and time. Replaces the library's, which runs a thread for each host and has no bound.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._expiry: OrderedDict[bytes, float] = OrderedDict()

    def has(self, message_id: bytes) -> bool:
        """Whether the id was added within the last two minutes, and has not been pushed out since."""
        return self._expiry.get(message_id, 0.0) > self._now()

    def add(self, message_id: bytes) -> bool:
        """Remember an id. Returns True if it was not known."""
        is_new = not self.has(message_id)
        now = self._now()
        self._expiry[message_id] = now + SEEN_ENVELOPE_S
        self._expiry.move_to_end(message_id)
        while len(self._expiry) > SEEN_ENVELOPES or next(iter(self._expiry.values())) <= now:
            self._expiry.popitem(last=False)
        return is_new


def is_envelope_sound(message: rpc_pb2.Message) -> bool:
    """Whether the message is signed by the Ed25519 key that its `from` field contains."""
    author = message.from_id
    if len(author) != _ED25519_ID_BYTES or not author.startswith(_ED25519_ID_PREFIX):
        return False
    try:
        return signature_validator(message)
    except Exception as fault:
        log.debug("envelope check failed: %r", fault)
        return False


class GuardedPubsub(Pubsub):
    """Pubsub whose inbound side cannot be killed, flooded or fooled by a peer."""

    def __init__(
        self,
        host: IHost,
        router: FloodRouter,
        intake: Intake,
        config: P2PConfig,
        *,
        strike: Callable[[str], None],
        peer_text: Callable[[ID], str],
    ) -> None:
        """
        Args:
            host: The library's host.
            router: Decides where accepted messages go.
            intake: Judges frames.
            config: Rate limit and pacing.
            strike: Called with a peer that sent malformed bytes.
            peer_text: Base58 text of a peer id, cached.
        """
        super().__init__(
            host,
            router,
            strict_signing=True,
            max_subscriptions_per_rpc=MAX_SUBSCRIPTIONS_PER_RPC,
            max_subscriptions_per_peer=len(intake.topics),
            max_inbound_rpc_size=MAX_RPC_BYTES,
            allowed_topics=frozenset(intake.topics),
        )
        self.seen_messages.stop()  # a thread, in a constructor
        self.seen_messages = SeenEnvelopes(trio.current_time)  # type: ignore[assignment]
        self._router = router
        self._intake = intake
        self._config = config
        self._strike = strike
        self._peer_text = peer_text
        self._buckets: dict[str, TokenBucket] = {}
        self.over_rate = 0
        self.author_taps: list[AuthorTap] = []
        """Told of each accepted frame and of the peer that made its envelope."""

    async def continuously_read_stream(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        frames = VarintFrames(MAX_RPC_BYTES)
        while self.manager.is_running:
            try:
                chunk = await stream.read(1 << 16)
            except BaseLibp2pError:
                return  # end, reset or lost connection
            if not chunk:
                return
            try:
                for frame in frames.feed(chunk):
                    await self._take_rpc(peer, frame)
            except MalformedFrame as fault:
                log.debug("pubsub stream of %s: %s", peer, fault)
                self._strike(self._peer_text(peer))
                await stream.reset()
                return

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Forward an own message, or judge a received one and forward it if accepted."""
        if msg_forwarder == self.my_id:
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
        elif not self._is_msg_seen(msg) and self._admit(msg_forwarder, msg):
            await self.router.publish(msg_forwarder, msg)
            await self.make_room()

    async def make_room(self) -> None:
        """Wait until no outbound queue is near the length at which the library drops, or for a bounded time.

        A peer that stopped reading keeps its queue full; it then loses frames and catches up later.
        """
        if self._router.longest_queue() <= self._config.publish_queue:
            return
        with trio.move_on_after(self._config.publish_wait_s):
            while self._router.longest_queue() > self._config.publish_queue:
                await trio.sleep(0.001)  # the library's queue has no event for "taken"

    async def _take_rpc(self, peer: ID, raw: bytes) -> None:
        rpc = rpc_pb2.RPC()
        try:
            rpc.ParseFromString(raw)
        except DecodeError as fault:
            raise MalformedFrame("not a pubsub RPC") from fault
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS_PER_RPC:
            raise MalformedFrame(f"{len(rpc.subscriptions)} subscriptions in one RPC")
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    def _admit(self, forwarder: ID, message: rpc_pb2.Message) -> bool:
        topics: Any = message.topicIDs
        if len(topics) != 1 or topics[0] not in self._intake.topics or message.from_id == self.my_id.to_bytes():
            return False
        peer_id = self._peer_text(forwarder)
        if not self._is_within_rate(peer_id):
            self.over_rate += 1
            return False
        sound: bool | None = None

        def check_envelope() -> bool:
            nonlocal sound
            sound = is_envelope_sound(message)
            return sound

        verdict = self._intake.judge(topics[0], message.data, peer_id, is_authentic=check_envelope)
        if sound and verdict in _SETTLED_BY_ENVELOPE:
            # Only now: marking the (from, seqno) of a forged envelope would block the real author's next message.
            self._mark_msg_seen(message)
        if verdict is Verdict.ACCEPT:
            author = self._peer_text(ID(message.from_id))
            for tap in self.author_taps:
                tap(message.data, author)
        return verdict is Verdict.ACCEPT

    def _is_within_rate(self, peer_id: str) -> bool:
        now = trio.current_time()
        bucket = self._buckets.get(peer_id)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[peer_id] = TokenBucket(self._config.peer_frames_per_s, now)
        return bucket.take(now)
