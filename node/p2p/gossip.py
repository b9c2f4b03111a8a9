"""Gossip as the application sees it: publish, receive, observe."""

from collections.abc import Mapping
from types import MappingProxyType

import trio
from libp2p.peer.id import ID

from node.p2p.errors import FrameTooLarge, PublishRefused
from node.p2p.ingest import AuthorTap, GuardedPubsub
from node.p2p.links import peer_text
from node.p2p.verdicts import Intake, Received, Tap, Verdict


class Gossip:
    """Topics of a host. The topics themselves are given when the host is made; see `node.p2p.verdicts.Topic`."""

    def __init__(self, intake: Intake, pubsub: GuardedPubsub) -> None:
        self._intake = intake
        self._pubsub = pubsub
        self._pacing = trio.Lock()  # publishers queue here in order instead of racing for the room of one frame

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of all topics."""
        return self._intake.topics

    def receiver(self, topic: str) -> trio.MemoryReceiveChannel[Received]:
        """Accepted frames of others, in the order judged. Own frames do not come back.

        While the channel is full, frames are refused (`counts`, OVERLOAD) and come again by catch-up. It ends when the
        host shuts down. A topic whose frames nobody wants needs its receiver closed, else it fills up and stops.

        Raises:
            UnknownTopic: It is not registered.
        """
        return self._intake.state(topic).receive

    async def publish(self, topic: str, frame: bytes) -> None:
        """Send a frame to all peers of the topic that we know, and keep it for catch-up.

        Returns once it is queued. It may reach nobody now; who connects later fetches it.

        Raises:
            UnknownTopic: It is not registered.
            FrameTooLarge: The frame is over the topic's limit.
            PublishRefused: Our own validator refuses it. Nothing was sent.
        """
        limit = self._intake.state(topic).topic.max_frame_bytes
        if len(frame) > limit:
            raise FrameTooLarge(len(frame), limit)
        verdict, code = self._intake.judge_own(topic, frame, peer_text(self._pubsub.my_id))
        if verdict in (Verdict.REJECT, Verdict.IGNORE):
            raise PublishRefused(topic, verdict.name, code)
        async with self._pacing:
            await self._pubsub.make_room()
            await self._pubsub.publish(topic, frame)

    def add_tap(self, tap: Tap) -> None:
        """Show every frame that reaches a validator, and every own frame, to `tap`. For observers and evidence."""
        self._intake.add_tap(tap)

    def add_author_tap(self, tap: AuthorTap) -> None:
        """Tell `tap` of each accepted frame that gossip brings, with the peer that signed the envelope around it.

        Whoever is honest makes envelopes around its own frames only.
        """
        self._pubsub.author_taps.append(tap)

    def counts(self, topic: str) -> Mapping[str, int]:
        """Frames by verdict (`accept`, `duplicate`, `ignore`, `reject`, `overload`), `fault` and `unread`."""
        return MappingProxyType(self._intake.state(topic).counts)

    async def wait_for_subscriber(self, topic: str, peer_id: str) -> None:
        """Return once a frame published on the topic would be sent to the peer."""
        peer = ID.from_base58(peer_id)
        await self._pubsub.wait_for_peer(peer, float("inf"))
        await self._pubsub.wait_for_subscription(peer, topic, float("inf"))
