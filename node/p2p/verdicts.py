"""What becomes of a gossip frame, decided in one place for frames pushed by gossip and frames fetched by catch-up.

py-libp2p validators answer yes or no, remember "no" for 300 s and know no IGNORE. So they are not used; `Intake` is
called instead of them. The mapping, which follows the meaning of the verdicts in the gossipsub v1.1 specification:

| verdict | to the application | kept for catch-up | forwarded | sender | heard again |
|---|---|---|---|---|---|
| ACCEPT | yes | yes | yes | – | duplicate |
| DUPLICATE | no | – | no | – | duplicate |
| IGNORE | no | no | no | not blamed | judged again |
| REJECT | no | no | no | one strike; at the limit cut and banned | one strike, not judged again |
| OVERLOAD | no | no | no | not blamed | judged then |

IGNORE is not forwarded: a frame that this node finds late or over quota, its neighbours will mostly find so too, and
whoever has a fresher view gets it over other paths or by catch-up. Forwarding it would let anybody use the network as
an amplifier for stale frames. IGNORE and OVERLOAD leave no trace in the seen-set, so that a frame which came too early,
or while the application was busy, is accepted when catch-up brings it again.
"""

import enum
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from node.p2p.errors import UnknownTopic
from protocol.errors import CodedError, Ignore, ProtocolError, Reject

SEEN_FRAMES = 1 << 17  # 40 bytes of key each; at 200 frames a second ten minutes, the longest life of a frame

log = logging.getLogger("unveto.p2p")

Validate = Callable[[bytes, str], None]
"""`validate(frame, from_peer)`: sync; returns, or raises protocol.errors.Ignore or Reject. `from_peer` handed us the
frame, it need not be its author."""

Tap = Callable[[str, bytes], None]
"""`tap(topic, frame)`: sync; sees each distinct frame of admissible size before it is judged, our own included."""


class Verdict(enum.Enum):
    """See the table above."""

    ACCEPT = "accept"
    DUPLICATE = "duplicate"
    IGNORE = "ignore"
    REJECT = "reject"
    OVERLOAD = "overload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic of the application."""

    name: str
    """Topic string on the wire."""
    validate: Validate
    """Decides about each frame."""
    max_frame_bytes: int
    """Larger frames are rejected unread; 1 to 524288."""
    inbox: str = ""
    """Topics of one inbox share a channel to the application; none: the topic has its own."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_frame_bytes <= 1 << 19:  # the library never sends an RPC above 1 MiB
            raise ValueError(f"max_frame_bytes of {self.name} is {self.max_frame_bytes}, must be 1..524288")


@dataclass(frozen=True, slots=True)
class Received:
    """An accepted frame on its way to the application."""

    frame: bytes
    from_peer: str
    """Base58 id of the peer that handed it over."""


@dataclass(slots=True)
class TopicState:
    """What the intake knows about one topic."""

    topic: Topic
    send: trio.MemorySendChannel[Received]
    receive: trio.MemoryReceiveChannel[Received]
    counts: Counter[str] = field(default_factory=Counter)
    """Frames by verdict value, and `fault` for exceptions of the application's own code."""


def frame_id(frame: bytes) -> bytes:
    """SHA-256 of the frame: its name in the seen-set and in catch-up."""
    return hashlib.sha256(frame).digest()


def refusal_word(refusal: ProtocolError) -> str:
    """Code of a refusal and, where it has one, the name of the rule: what an operator looks up."""
    return f"{refusal.code} {refusal.reason}" if isinstance(refusal, CodedError) else refusal.code


class TokenBucket:
    """Allows `rate` events a second on average, and bursts of twice as many."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = 2.0 * rate
        self._updated = now

    def take(self, now: float) -> bool:
        """Whether one more event fits."""
        self._tokens = min(2.0 * self._rate, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Intake:
    """Judges frames. Sync throughout, so that no frame can be judged twice at the same time."""

    def __init__(
        self,
        topics: Iterable[Topic],
        *,
        channel_frames: int,
        keep: Callable[[str, bytes, bytes], None],
        strike: Callable[[str], None],
    ) -> None:
        """
        Args:
            topics: Fixed for the life of the host, so that no peer's early subscription is missed.
            channel_frames: Accepted frames per topic that may wait for the application.
            keep: `keep(topic, frame_id, frame)` stores an accepted frame for catch-up.
            strike: Called with the peer that handed over a rejected frame.
        """
        self._topics: dict[str, TopicState] = {}
        inboxes: dict[str, tuple[trio.MemorySendChannel[Received], trio.MemoryReceiveChannel[Received]]] = {}
        for topic in topics:
            inbox = topic.inbox or topic.name
            if inbox not in inboxes:
                inboxes[inbox] = trio.open_memory_channel[Received](channel_frames)
            self._topics[topic.name] = TopicState(topic, *inboxes[inbox])
        self._keep = keep
        self._strike = strike
        self._seen: OrderedDict[bytes, Verdict] = OrderedDict()
        self._taps: list[Tap] = []
        self._is_closed = False

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of all topics."""
        return tuple(self._topics)

    def state(self, topic: str) -> TopicState:
        """Channel and counts of a topic.

        Raises:
            UnknownTopic: It is not registered.
        """
        state = self._topics.get(topic)
        if state is None:
            raise UnknownTopic(topic)
        return state

    def add_tap(self, tap: Tap) -> None:
        """Show every further distinct frame to `tap`."""
        self._taps.append(tap)

    def is_settled(self, name: bytes) -> bool:
        """Whether the frame with this id needs no further look."""
        return name in self._seen

    def judge(
        self, topic: str, frame: bytes, from_peer: str, *, is_authentic: Callable[[], bool] | None = None
    ) -> Verdict:
        """Decide about a frame from a peer, cheapest check first, and act on the verdict except for forwarding.

        Args:
            topic: A registered topic.
            frame: Untrusted bytes of any size.
            from_peer: Base58 id of the peer that handed it over.
            is_authentic: Checks the envelope that carried the frame; asked after the free checks.

        Returns:
            The verdict; ACCEPT means delivered and kept.
        """
        state = self.state(topic)
        verdict = self._decide(state, frame, from_peer, is_authentic)
        state.counts[verdict.value] += 1
        if verdict is Verdict.REJECT:
            self._strike(from_peer)
        return verdict

    def judge_own(self, topic: str, frame: bytes, own_peer: str) -> tuple[Verdict, str]:
        """Decide about a frame that we are about to publish: the same validator, no delivery to ourselves.

        Returns:
            The verdict and the validator's code. A frame published before is DUPLICATE and may be sent again.
        """
        state = self.state(topic)
        if len(frame) > state.topic.max_frame_bytes:
            return Verdict.REJECT, "too large"
        name = frame_id(frame)
        if self._seen.get(name) is Verdict.ACCEPT:
            return Verdict.DUPLICATE, ""
        try:
            state.topic.validate(frame, own_peer)
        except Reject as refusal:
            return Verdict.REJECT, refusal_word(refusal)
        except Ignore as refusal:
            return Verdict.IGNORE, refusal_word(refusal)
        self._show(state, frame)
        self._settle(name, Verdict.ACCEPT)
        self._keep(topic, name, frame)
        return Verdict.ACCEPT, ""

    def restore(self, topic: str, frame: bytes) -> None:
        """Take up a frame that was accepted in a former life of this node: settled, and handed to the application
        again, which may not have seen it. If its channel is full it does without."""
        state = self.state(topic)
        self._settle(frame_id(frame), Verdict.ACCEPT)
        try:
            state.send.send_nowait(Received(frame, ""))
        except (trio.WouldBlock, trio.BrokenResourceError):
            state.counts["unread"] += 1

    def close(self) -> None:
        """Stop delivering: receivers get what is queued, then the end of the channel. Further frames are OVERLOAD."""
        self._is_closed = True
        for state in self._topics.values():
            state.send.close()

    def _decide(
        self, state: TopicState, frame: bytes, from_peer: str, is_authentic: Callable[[], bool] | None
    ) -> Verdict:
        topic = state.topic
        if len(frame) > topic.max_frame_bytes:
            return Verdict.REJECT
        name = frame_id(frame)
        settled = self._seen.get(name)
        if settled is not None:
            return Verdict.DUPLICATE if settled is Verdict.ACCEPT else settled
        if is_authentic is not None and not is_authentic():
            return Verdict.REJECT  # not settled: the frame inside may be sound, only this envelope is forged
        waiting = state.send.statistics()
        is_full = waiting.current_buffer_used >= waiting.max_buffer_size and not waiting.tasks_waiting_receive
        if self._is_closed or is_full:
            return Verdict.OVERLOAD
        self._show(state, frame)
        try:
            topic.validate(frame, from_peer)
        except Reject:
            self._settle(name, Verdict.REJECT)
            return Verdict.REJECT
        except Ignore:
            return Verdict.IGNORE
        except Exception:
            # Our bug, and a loud one, but a stranger's frame reached it: crashing here would let one frame stop
            # every node of the network.
            state.counts["fault"] += 1
            log.exception("validator of topic %s failed on a frame from %s", topic.name, from_peer)
            return Verdict.IGNORE
        self._settle(name, Verdict.ACCEPT)
        self._keep(topic.name, name, frame)
        try:
            state.send.send_nowait(Received(frame, from_peer))
        except trio.BrokenResourceError:
            state.counts["unread"] += 1  # the application closed its end; we still relay
        return Verdict.ACCEPT

    def _show(self, state: TopicState, frame: bytes) -> None:
        for tap in self._taps:
            try:
                tap(state.topic.name, frame)
            except Exception:  # as with the validator
                state.counts["fault"] += 1
                log.exception("tap on topic %s failed", state.topic.name)

    def _settle(self, name: bytes, verdict: Verdict) -> None:
        self._seen[name] = verdict
        while len(self._seen) > SEEN_FRAMES:
            self._seen.popitem(last=False)
