"""The network of a market in one process: queues, a record of everything that was gossiped, and weather."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from node.ports import Answer, Peer, Refused, TryAgain
from protocol.errors import Ignore, Reject
from protocol.messages import GOSSIP_CHANNELS
from protocol.reqresp import Exchange

OnAct = Callable[[str], None]
"""`on_act("before ACT")`, then something that others can see, then `on_act("after ACT")`."""


def nothing(_point: str) -> None:
    """Nobody wants to end this party."""


@dataclass(kw_only=True)
class Weather:
    """What happens to messages between parties; the same seed gives the same weather."""

    seed: int
    lose: float = 0.0
    """Share of gossip frames, of requests and of answers that are lost, each."""
    double: float = 0.0
    """Share of frames and requests that arrive twice."""
    delay_s: float = 0.0
    """The longest way; each message takes its own time, so that later ones overtake."""
    cut: tuple[tuple[float, float, frozenset[bytes]], ...] = ()
    """(from, until, peers): in that time, in seconds from the start, these peers reach only each other."""
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def ways(self) -> list[float]:
        """Seconds that each arriving copy of a message takes; none if it is lost."""
        copies = 0 if self.random.random() < self.lose else 2 if self.random.random() < self.double else 1
        return [self.random.random() * self.delay_s for _copy in range(copies)]

    def is_cut(self, one: bytes, other: bytes, at_s: float) -> bool:
        """Whether two peers are apart."""
        return any(since <= at_s < until and (one in peers) != (other in peers) for since, until, peers in self.cut)


class Network:
    """Queues between nodes."""

    def __init__(self) -> None:
        self.links: dict[bytes, Link] = {}
        self.frames: list[tuple[str, bytes]] = []
        self.deaf_answers: set[str] = set()
        """Protocol ids whose answers get lost."""
        self.weather: Weather | None = None
        self.nursery: trio.Nursery | None = None
        """Of messages that are under way; needed in weather."""

    async def ask(self, sender: bytes, peer: Peer, exchange: Exchange, request: bytes) -> bytes:
        """Asks whoever listens under the peer id."""
        assert len(request) <= exchange.max_request_bytes
        weather = self.weather
        if weather is None:
            return await self._ask(peer, exchange, request)
        to, back = weather.ways(), weather.ways()
        if not to or weather.is_cut(sender, peer.peer_id, trio.current_time()):
            await trio.sleep(exchange.timeout_ms / 1000)
            raise TryAgain("TIMEOUT")
        await trio.sleep(to[0])
        if len(to) > 1 and self.nursery is not None:
            self.nursery.start_soon(self._ask_again, to[1], peer, exchange, request)
        answer = await self._ask(peer, exchange, request)
        if not back or weather.is_cut(sender, peer.peer_id, trio.current_time()):
            raise TryAgain("TIMEOUT")
        await trio.sleep(back[0])
        return answer

    async def _ask_again(self, way_s: float, peer: Peer, exchange: Exchange, request: bytes) -> None:
        await trio.sleep(way_s)
        try:
            await self._ask(peer, exchange, request)
        except (TryAgain, Refused):
            return  # nobody waits for the second answer

    async def _ask(self, peer: Peer, exchange: Exchange, request: bytes) -> bytes:
        link = self.links.get(peer.peer_id)
        if link is None:
            raise TryAgain("UNREACHABLE")
        send, receive = trio.open_memory_channel[bytes | Exception](1)
        try:
            link.calls.send_nowait((exchange.protocol_id, request, send))
        except (trio.WouldBlock, trio.BrokenResourceError) as error:
            raise TryAgain("BUSY") from error
        with trio.move_on_after(exchange.timeout_ms / 1000):
            try:
                answer = await receive.receive()
            except trio.EndOfChannel as error:
                raise TryAgain("DIED") from error
            if isinstance(answer, Exception):
                raise Refused("REFUSED", str(answer)) from answer
            assert len(answer) <= exchange.max_answer_bytes
            if exchange.protocol_id in self.deaf_answers:
                raise TryAgain("LOST")
            return answer
        raise TryAgain("TIMEOUT")

    def spread(self, sender: bytes, channel: str, frame: bytes) -> None:
        """To everybody else, judged by each."""
        self.frames.append((channel, frame))
        for peer_id, link in list(self.links.items()):
            if peer_id == sender:
                continue
            if self.weather is None or self.nursery is None:
                link.hear(channel, frame)
                continue
            for way_s in self.weather.ways():
                self.nursery.start_soon(self._carry, way_s, sender, peer_id, channel, frame)

    async def _carry(self, way_s: float, sender: bytes, peer_id: bytes, channel: str, frame: bytes) -> None:
        await trio.sleep(way_s)
        link = self.links.get(peer_id)  # who has ended meanwhile hears nothing
        assert self.weather is not None
        if link is not None and not self.weather.is_cut(sender, peer_id, trio.current_time()):
            link.hear(channel, frame)


class Link:
    """One running node's end of the network: its Gossip and its Direct."""

    def __init__(
        self, network: Network, peer_id: bytes, judge: Callable[[str, bytes], None], on_act: OnAct = nothing
    ) -> None:
        self._network = network
        self._judge = judge
        self._on_act = on_act
        self.own = Peer(peer_id=peer_id, addresses=(b"/memory/1",))
        self._queues = {channel: trio.open_memory_channel[bytes](256) for channel in GOSSIP_CHANNELS}
        self.calls, self._inbox = trio.open_memory_channel[tuple[str, bytes, Any]](64)
        self._answers: dict[str, Answer] = {}
        self.deaf_to: set[str] = set()
        """Protocol ids that are never answered, and channels that are not heard."""
        network.links[peer_id] = self

    async def publish(self, channel: str, frame: bytes) -> None:
        """To everybody else, judged by each."""
        await trio.lowlevel.checkpoint()
        try:
            self._judge(channel, frame)
        except (Reject, Ignore) as error:
            raise Refused(error.reason) from error
        self._on_act(f"before publish {channel}")
        self._network.spread(self.own.peer_id, channel, frame)
        self._on_act(f"after publish {channel}")

    def hear(self, channel: str, frame: bytes) -> None:
        """A frame arrives."""
        if channel in self.deaf_to:
            return
        try:
            self._judge(channel, frame)
        except (Reject, Ignore):
            return
        self._queues[channel][0].send_nowait(frame)

    def catch_up(self) -> None:
        """What was gossiped before we came."""
        for channel, frame in self._network.frames:
            self.hear(channel, frame)

    def frames(self, channel: str) -> trio.MemoryReceiveChannel[bytes]:
        """Accepted frames."""
        return self._queues[channel][1]

    async def ask(self, peer: Peer, exchange: Exchange, request: bytes) -> bytes:
        """See Network."""
        name = _name(exchange.protocol_id)
        self._on_act(f"before ask {name}")
        answer = await self._network.ask(self.own.peer_id, peer, exchange, request)
        self._on_act(f"after ask {name}")
        return answer

    def serve(self, exchange: Exchange, answer: Answer) -> None:
        """Answers from now on."""
        self._answers[exchange.protocol_id] = answer

    async def run(self) -> None:
        """Answers calls, each in a task of this node."""
        async with trio.open_nursery() as nursery:
            async for protocol_id, request, reply in self._inbox:
                nursery.start_soon(self._handle, protocol_id, request, reply)

    async def _handle(self, protocol_id: str, request: bytes, reply: trio.MemorySendChannel[bytes | Exception]) -> None:
        async with reply:
            if protocol_id in self.deaf_to:
                await trio.sleep_forever()
            answer = self._answers.get(protocol_id)
            if answer is None:
                return
            try:
                given = await answer(request)
                self._on_act(f"before answer {_name(protocol_id)}")
                reply.send_nowait(given)
                self._on_act(f"after answer {_name(protocol_id)}")
            except (Reject, Ignore) as refused:
                reply.send_nowait(refused)
            except trio.BrokenResourceError:
                pass  # whoever asked has gone

    def leave(self) -> None:
        """The process has ended."""
        if self._network.links.get(self.own.peer_id) is self:
            del self._network.links[self.own.peer_id]
        self.calls.close()


def _name(protocol_id: str) -> str:
    """The word of an exchange in the names of points."""
    return protocol_id.strip("/").split("/")[1]
