"""Anti-entropy: fetch the frames that gossip did not bring.

Gossip is a hint: it loses frames to full queues, back-offs, restarts and cut connections without telling anybody. So
each node keeps the valid frames of the last minutes and answers two questions about them on /unveto/catchup/1. Whoever
connects, and every few seconds anyway, asks a peer what is new since the last time. What comes back is judged exactly
as if gossip had brought it.

Requests (topic is UTF-8, ids are SHA-256 of the frame, integers big-endian):
    list  01 | epoch u64 | position u64 | topic          what is above this position of this epoch?
    get   02 | topic length u8 | topic | id * (1..256)   give me these
    tops  03 | (topic length u8 | topic) * (1..64)       where do these stand?
Responses:
    list  epoch u64 | position u64 | id * (0..1024)      position of the last id; fewer than 1024 ids: no more
    get   (length u32 | frame)*                          those that are kept, in the order asked, as far as 1 MiB goes
    tops  epoch u64 | position u64 * topics              position of the last frame of each, 0 for none or no such topic
So a round in which there is nothing new is one exchange, however many topics there are.
A position of another epoch counts as 0: the other side has restarted and numbers afresh.
"""

import logging
import random
import struct
from collections.abc import Awaitable, Callable, Collection, Sequence

import trio

from node.p2p.config import P2PConfig
from node.p2p.errors import (
    FrameTooLarge,
    MalformedFrame,
    ProtocolUnavailable,
    RequestRefused,
    Unreachable,
)
from node.p2p.framestore import FrameStore
from node.p2p.reqresp import Protocol
from node.p2p.verdicts import Intake, Verdict, frame_id
from protocol.errors import Reject

PROTOCOL_ID = "/unveto/catchup/1"
MAX_REQUEST_BYTES = 1 << 14
MAX_RESPONSE_BYTES = 1 << 20
REQUEST_TIMEOUT_S = 10.0

ID_BYTES = 32
MAX_LISTED = 1024
MAX_WANTED = 256
MAX_LISTS_PER_ROUND = 64  # bounds what a peer that always has more can make us do in one round
MAX_RETRIED = 256  # ignored frames per peer and topic that are asked for again
MAX_TRIES = 4  # looks at an ignored frame; each round is one, so it has about three intervals to come of age

MAX_TOPICS = 64

_LIST = 1
_GET = 2
_TOPS = 3

log = logging.getLogger("unveto.p2p")

Request = Callable[[str, bytes], Awaitable[bytes]]
"""`await request(peer_id, body) -> response` on PROTOCOL_ID; raises as `RequestService.request`."""


class CatchupMalformed(Reject):
    """A request that an honest node does not send."""

    code = "P2P-040"


def encode_list(epoch: int, position: int, topic: str) -> bytes:
    """The request for ids above a position."""
    return struct.pack(">BQQ", _LIST, epoch, position) + topic.encode()


def encode_get(topic: str, ids: Sequence[bytes]) -> bytes:
    """The request for frames."""
    name = topic.encode()
    return struct.pack(">BB", _GET, len(name)) + name + b"".join(ids)


def encode_tops(topics: Sequence[str]) -> bytes:
    """The request for the last positions of topics."""
    names = (topic.encode() for topic in topics)
    return bytes((_TOPS,)) + b"".join(bytes((len(name),)) + name for name in names)


def decode_tops(response: bytes, count: int) -> tuple[int, tuple[int, ...]]:
    """Read the answer to a tops request: epoch, and the last position of each topic.

    Raises:
        MalformedFrame: The length fits another number of topics.
    """
    if len(response) != 8 * (1 + count):
        raise MalformedFrame(f"{len(response)} bytes for {count} topics")
    epoch, *positions = struct.unpack(f">{1 + count}Q", response)
    return epoch, tuple(positions)


def decode_listed(response: bytes) -> tuple[int, int, tuple[bytes, ...]]:
    """Read the answer to a list request: epoch, position, ids.

    Raises:
        MalformedFrame: The length fits no answer.
    """
    ids = len(response) - 16
    if ids < 0 or ids % ID_BYTES or ids > MAX_LISTED * ID_BYTES:
        raise MalformedFrame(f"{len(response)} bytes listed")
    epoch, position = struct.unpack_from(">QQ", response)
    return epoch, position, _cut(response[16:])


def decode_frames(response: bytes, wanted: Collection[bytes]) -> tuple[bytes, ...]:
    """Read the answer to a get request.

    Raises:
        MalformedFrame: It is cut short, or brings what was not asked for, or the same twice.
    """
    frames = []
    missing = set(wanted)
    offset = 0
    while offset < len(response):
        start = offset + 4
        if start > len(response):
            raise MalformedFrame("frame length cut short")
        (length,) = struct.unpack_from(">I", response, offset)
        offset = start + length
        if offset > len(response):
            raise MalformedFrame("frame cut short")
        frame = response[start:offset]
        name = frame_id(frame)
        if name not in missing:
            raise MalformedFrame("a frame that was not asked for")
        missing.discard(name)
        frames.append(frame)
    return tuple(frames)


def _cut(ids: bytes) -> tuple[bytes, ...]:
    return tuple(ids[i : i + ID_BYTES] for i in range(0, len(ids), ID_BYTES))


class CatchUp:
    """Both sides of anti-entropy for all topics of one host."""

    def __init__(
        self,
        config: P2PConfig,
        intake: Intake,
        store: FrameStore,
        *,
        request: Request,
        strike: Callable[[str], None],
        connected: Callable[[], Sequence[str]],
    ) -> None:
        """
        Args:
            config: The interval.
            intake: Judges what is fetched.
            store: What others may fetch.
            request: Asks a peer.
            strike: Called with a peer that answers nonsense.
            connected: Peers that can be asked now.
        """
        self._config = config
        self._intake = intake
        self._store = store
        self._request = request
        self._strike = strike
        self._connected = connected
        self._cursors: dict[str, dict[str, tuple[int, int]]] = {}
        self._retries: dict[str, dict[str, dict[bytes, int]]] = {}
        self._deaf: set[str] = set()
        self._busy: set[str] = set()

    @property
    def protocol(self) -> Protocol:
        """The protocol to serve."""
        return Protocol(
            protocol_id=PROTOCOL_ID,
            handler=self.answer,
            max_request=MAX_REQUEST_BYTES,
            max_response=MAX_RESPONSE_BYTES,
            timeout_s=REQUEST_TIMEOUT_S,
        )

    async def answer(self, peer_id: str, body: bytes) -> bytes:
        """Serve one request.

        Raises:
            CatchupMalformed: It is none of the three, or about the frames of a topic that we do not have.
        """
        if body[:1] == bytes((_TOPS,)):
            return self._answer_tops(body[1:])
        if len(body) >= 17 and body[0] == _LIST:
            _, epoch, position = struct.unpack_from(">BQQ", body)
            return self._answer_list(epoch, position, self._known_topic(body[17:]))
        if len(body) >= 2 and body[0] == _GET:
            ids = body[2 + body[1] :]
            if not ids or len(ids) % ID_BYTES or len(ids) > MAX_WANTED * ID_BYTES:
                raise CatchupMalformed("CATCHUP_ID_COUNT", size=len(ids))
            return self._answer_get(self._known_topic(body[2 : 2 + body[1]]), _cut(ids))
        raise CatchupMalformed("CATCHUP_REQUEST_KIND", size=len(body))

    async def run(self) -> None:
        """Ask the connected peers again and again, each once before any twice, in no order that others know."""
        turn: list[str] = []
        while True:
            await trio.sleep(self._config.catchup_interval_s * random.uniform(0.8, 1.2))
            peers = self._connected()
            self._forget_others(peers)
            turn = [peer for peer in turn if peer in peers] or random.sample(peers, len(peers))
            if turn:
                await self.sync(turn.pop())

    async def sync(self, peer_id: str) -> None:
        """Fetch from one peer what it has and we have not. Never raises for what the peer does."""
        if peer_id in self._busy or peer_id in self._deaf:
            return
        self._busy.add(peer_id)
        try:
            topics = self._intake.topics
            epoch, tops = decode_tops(await self._request(peer_id, encode_tops(topics)), len(topics))
            for topic, top in zip(topics, tops, strict=True):
                seen_epoch, seen = self._cursors.get(peer_id, {}).get(topic, (epoch, 0))
                if top > (seen if seen_epoch == epoch else 0) or self._retries.get(peer_id, {}).get(topic):
                    await self._sync_topic(peer_id, topic)
        except ProtocolUnavailable:
            self._deaf.add(peer_id)  # a peer of another kind; asked again after it reconnects
        except (Unreachable, RequestRefused) as fault:
            log.debug("catch-up: %s", fault)
        except (MalformedFrame, FrameTooLarge) as fault:
            log.debug("catch-up from %s: %s", peer_id, fault)
            self._strike(peer_id)
        finally:
            self._busy.discard(peer_id)

    def _forget_others(self, peers: Sequence[str]) -> None:
        for peer_id in self._cursors.keys() - set(peers):
            del self._cursors[peer_id]
            self._retries.pop(peer_id, None)
        self._deaf.intersection_update(peers)

    async def _sync_topic(self, peer_id: str, topic: str) -> None:
        cursors = self._cursors.setdefault(peer_id, {})
        retries = self._retries.setdefault(peer_id, {}).setdefault(topic, {})
        await self._fetch(peer_id, topic, [name for name in retries if not self._intake.is_settled(name)], retries)
        for _ in range(MAX_LISTS_PER_ROUND):
            epoch, position = cursors.get(topic, (0, 0))
            listed = decode_listed(await self._request(peer_id, encode_list(epoch, position, topic)))
            if not listed[2]:
                return
            if listed[0] == epoch and listed[1] <= position:
                raise MalformedFrame("positions do not ascend")
            fresh = [name for name in dict.fromkeys(listed[2]) if not self._intake.is_settled(name)]
            if not await self._fetch(peer_id, topic, fresh, retries):
                return  # overloaded: the cursor stays, so that the rest is listed again
            cursors[topic] = (listed[0], listed[1])
            if len(listed[2]) < MAX_LISTED:
                return

    async def _fetch(self, peer_id: str, topic: str, wanted: Sequence[bytes], retries: dict[bytes, int]) -> bool:
        """Fetch and judge frames. Returns False if the application could not take them all."""
        pending = list(wanted)
        while pending:
            batch, pending = pending[:MAX_WANTED], pending[MAX_WANTED:]
            frames = decode_frames(await self._request(peer_id, encode_get(topic, batch)), batch)
            names = [frame_id(frame) for frame in frames]
            for name, frame in zip(names, frames, strict=True):
                verdict = self._intake.judge(topic, frame, peer_id)
                if verdict is Verdict.OVERLOAD:
                    return False
                self._remember(name, verdict, retries)
            if names:
                # What did not fit into the response comes after its last frame, in the order asked.
                pending = batch[batch.index(names[-1]) + 1 :] + pending
            else:
                for name in batch:
                    retries.pop(name, None)  # the peer no longer has it
        return True

    def _remember(self, name: bytes, verdict: Verdict, retries: dict[bytes, int]) -> None:
        tries = retries.pop(name, 0) + 1
        if verdict is Verdict.IGNORE and tries < MAX_TRIES and len(retries) < MAX_RETRIED:
            retries[name] = tries

    def _known_topic(self, name: bytes) -> str:
        for topic in self._intake.topics:
            if topic.encode() == name:
                return topic
        raise CatchupMalformed("CATCHUP_UNKNOWN_TOPIC")

    def _answer_tops(self, names: bytes) -> bytes:
        tops: list[int] = []
        while names:
            end = 1 + names[0]
            if end == 1 or end > len(names) or len(tops) == MAX_TOPICS:
                raise CatchupMalformed("CATCHUP_TOPICS", size=len(names))
            # A peer may take part in more than we do; what we do not have stands nowhere.
            tops.append(self._store.last(names[1:end].decode(errors="replace")))
            names = names[end:]
        if not tops:
            raise CatchupMalformed("CATCHUP_TOPICS", size=0)
        return struct.pack(f">{1 + len(tops)}Q", self._store.epoch, *tops)

    def _answer_list(self, epoch: int, position: int, topic: str) -> bytes:
        found = self._store.ids_after(topic, position if epoch == self._store.epoch else 0, MAX_LISTED)
        last = found[-1][0] if found else position
        return struct.pack(">QQ", self._store.epoch, last) + b"".join(name for _, name in found)

    def _answer_get(self, topic: str, ids: Sequence[bytes]) -> bytes:
        parts: list[bytes] = []
        size = 0
        for name in dict.fromkeys(ids):
            frame = self._store.get(topic, name)
            if frame is None:
                continue
            size += 4 + len(frame)
            if size > MAX_RESPONSE_BYTES:
                break
            parts.append(struct.pack(">I", len(frame)) + frame)
        return b"".join(parts)
