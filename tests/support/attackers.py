"""The attackers, in a process of their own: raw libp2p hosts that speak everything but the rules.

    python -m tests.support.attackers PLAN

PLAN is a JSON file: where the nodes are, what time their market has, and where to write what was done. Each attack goes
on until the process is ended. Identities are thrown away: whoever is cut comes back as somebody else at once.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport

from node.network import MAX_FAULT_FRAME, topic_name
from protocol.commitments import shard_of
from protocol.gossip import MarketId
from protocol.messages import Fault
from protocol.reqresp import EXCHANGES, KEY_EXCHANGE
from protocol.signing import AccountKey
from tests.integration.p2p.network import key, raw_stream, stranger
from tests.integration.p2p.test_hostile import MESHSUB, envelope, packed, published
from tests.support import wire_samples
from tests.support.wire_samples import award, bid, double_award, framed, ready_table, request

RATE: Final = 200  # frames a second of each flood
TICK_S: Final = 0.1
SYBILS: Final = 24
GONE = (BaseLibp2pError, OSError, trio.TooSlowError, ExceptionGroup, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a host that was cut, or cannot connect, raises."""


@dataclass(frozen=True, slots=True)
class Target:
    """One node."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the test says."""

    targets: tuple[Target, ...]
    market: MarketId
    ahead_ms: float
    """Market time minus this machine's monotonic clock, ms."""
    victim: str
    """Name of a party whose peer id is to be spoofed."""
    account: bytes
    """Address of an honest account."""
    report: Path

    def now_ms(self) -> int:
        """Market time."""
        return round(time.monotonic() * 1000 + self.ahead_ms)


def frames_to_reject(plan: Plan, rng: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """(kind, topic, frame), over and over: each breaks a rule that everybody can check."""
    nobody = AccountKey(b"\x66" * 32)
    for number in count():
        header: dict[str, Any] = {"chain_id": plan.market.chain_id, "market": plan.market.contract}
        now_ms = plan.now_ms()
        header |= {"created_ms": now_ms, "expires_ms": now_ms + 60_000, "sequence": number, "key": nobody}
        asked = replace(request(), request_id=rng.randbytes(32))
        whole = framed(asked, **header)
        req, ready = topic_of(plan, "req"), topic_of(plan, "ready")
        fault = replace(double_award(), pieces=(rng.randbytes(200), rng.randbytes(200)))
        yield "junk", req, rng.randbytes(300)
        yield "oversize", topic_of(plan, "fault"), bytes(MAX_FAULT_FRAME + 1)
        yield "oversize for its kind", req, whole[:80] + bytes(9_000)
        yield "magic", req, b"UNV2" + whole[4:]
        yield "flags", req, whole[:5] + b"\x01" + whole[6:]
        yield "unknown message", req, whole[:4] + b"\xee" + whole[5:]
        yield "length", req, whole[:6] + b"\x00\x01" + whole[8:]
        yield "channel", req, framed(ready_table(), **header)
        yield "chain", req, framed(asked, **header | {"chain_id": 1})
        yield "market", req, framed(asked, **header | {"market": bytes(20)})
        yield "lifetime", req, framed(asked, **header | {"expires_ms": now_ms + 10_000_000})
        yield "body", req, whole[:80] + b"\xc1" + whole[81:]
        yield "nested body", req, whole[:80] + b"\x91" * (len(whole) - 145) + whole[-65:]
        yield "request id", req, whole
        yield "signature", ready, framed(ready_table(), **header)[:-1] + b"\x63"
        yield "another's name", ready, framed(ready_table(), **header | {"signer": plan.account})
        yield "evidence", topic_of(plan, "fault"), framed(fault, **header)
        yield "evidence of no kind", topic_of(plan, "fault"), framed(Fault(kind=99, pieces=(b"x",)), **header)
        yield "roots", ready, framed(ready_table(size_log2=60), **header)


def frames_to_ignore(plan: Plan, rng: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """(kind, topic, frame), over and over: late, early, unknown, without a ticket. Nobody is to blame for them."""
    nobody = AccountKey(b"\x67" * 32)
    for number in count():
        header: dict[str, Any] = {"chain_id": plan.market.chain_id, "market": plan.market.contract}
        now_ms = plan.now_ms()
        header |= {"created_ms": now_ms, "expires_ms": now_ms + 60_000, "sequence": number, "key": nobody}
        early = header | {"created_ms": now_ms + 30_000, "expires_ms": now_ms + 60_000}
        late = header | {"created_ms": now_ms - 90_000, "expires_ms": now_ms - 30_000}
        unknown = rng.randbytes(32)
        yield "expired", topic_of(plan, "ready"), framed(ready_table(), **late)
        yield "from the future", topic_of(plan, "ready"), framed(ready_table(), **early)
        yield "no ticket", topic_of(plan, "ready"), framed(_current(now_ms), **header)
        yield "bid for nothing", topic_of(plan, "bid"), framed(replace(bid(0), request_id=unknown), **header)
        yield "award of nothing", topic_of(plan, "award"), framed(replace(award(), request_id=unknown), **header)


def _current(now_ms: int) -> Any:
    return ready_table(not_before=now_ms // 1000, valid_until=now_ms // 1000 + 600)


def topic_of(plan: Plan, channel: str) -> str:
    """Of a channel, or of the shard of `wire_samples.request()`."""
    shard = shard_of(wire_samples.request().systems_hash, wire_samples.request().tier)
    return topic_name(plan.market, channel, shard if channel in ("req", "bid", "award") else None)


class Attackers:
    """All of them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rng = random.Random(1)
        self._names = count()
        self.done: Counter[str] = Counter()

    @property
    def attacks(self) -> dict[Callable[[Target], Awaitable[None]], int]:
        """What is done, and to which target: the relay, the requester, or the prover that will win."""
        return {
            self.flood_to_reject: 0,
            self.flood_to_ignore: 1,
            self.oversize_streams: 2,
            self.slow_streams: 2,
            self.slow_handshakes: 1,
            self.malformed_pubsub: 0,
            self.spoofed_author: 0,
            self.spoofed_identity: 1,
            self.eclipse: 2,
        }

    async def again(self, attack: Callable[[Target], Awaitable[None]], target: Target) -> None:
        """One attack, begun again by somebody else whenever it is ended."""
        while True:
            with suppress(*GONE):
                await attack(target)
            self.done[f"{attack.__name__}: ended"] += 1
            await trio.sleep(TICK_S)

    def _somebody(self) -> str:
        return f"attacker {next(self._names)}"

    async def flood_to_reject(self, target: Target) -> None:
        """Every malformed kind, as fast as a peer may before it is cut; then as another peer."""
        await self._flood(target, frames_to_reject(self._plan, self._rng), "rejected")

    async def flood_to_ignore(self, target: Target) -> None:
        """What costs a look and no strike, without an end."""
        await self._flood(target, frames_to_ignore(self._plan, self._rng), "ignored")

    async def _flood(self, target: Target, frames: Iterator[tuple[str, str, bytes]], what: str) -> None:
        name = self._somebody()
        async with stranger(name, target) as host:
            stream = await raw_stream(host, target, MESHSUB)
            for number in count(1):
                batch = [next(frames) for _ in range(round(RATE * TICK_S))]
                at = number * len(batch)
                await stream.write(
                    published(*(envelope(name, f, seqno=at + n, topics=[t]) for n, (_, t, f) in enumerate(batch)))
                )
                self.done.update(f"{what}: {kind}" for kind, _, _ in batch)
                self.done[f"flood {what}"] += len(batch)
                await trio.sleep(TICK_S)

    async def oversize_streams(self, target: Target) -> None:
        """Announces four gigabytes, or sends a megabyte more than the protocol takes."""
        async with stranger(self._somebody(), target) as host:
            for number in count():
                exchange = EXCHANGES[number % len(EXCHANGES)]
                with suppress(*GONE):
                    stream = await raw_stream(host, target, exchange.protocol_id)
                    size = 0xFFFFFFFF if number % 2 else exchange.max_request_bytes
                    await stream.write(size.to_bytes(4, "big"))
                    with trio.move_on_after(1.0):
                        for _ in range(16):
                            await stream.write(self._rng.randbytes(1 << 16))
                    await stream.reset()
                self.done["oversize streams"] += 1
                await trio.sleep(TICK_S)

    async def slow_streams(self, target: Target) -> None:
        """Holds as many requests open as it is let, a byte each now and then."""
        async with stranger(self._somebody(), target) as host, trio.open_nursery() as nursery:

            async def drip() -> None:
                while True:
                    with suppress(*GONE):
                        stream = await raw_stream(host, target, KEY_EXCHANGE.protocol_id)
                        self.done["slow streams"] += 1
                        await stream.write((1 << 20).to_bytes(4, "big"))
                        while True:
                            await stream.write(b"x")
                            await trio.sleep(0.5)
                    await trio.sleep(0.2)

            for _ in range(70):
                nursery.start_soon(drip)

    async def slow_handshakes(self, target: Target) -> None:
        """Connections that never say who they are."""
        host, port = target.addresses[0].split("/")[2], int(target.addresses[0].split("/")[4])
        held = []
        try:
            for _ in range(20):
                half_open = socket.create_connection((host, port), timeout=5)
                half_open.setblocking(False)
                held.append(half_open)
                self.done["slow handshakes"] += 1
            await trio.sleep(3)
        finally:
            for half_open in held:
                half_open.close()

    async def malformed_pubsub(self, target: Target) -> None:
        """Bytes that are no RPC, RPCs too long, subscriptions without number, control messages about nothing."""
        async with stranger(self._somebody(), target) as host:
            for number in count():
                subscriptions = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"/made/up/{n}") for n in range(200)]
                graft = rpc_pb2.ControlMessage(
                    graft=[rpc_pb2.ControlGraft(topicID=f"/made/up/{n}") for n in range(500)]
                )
                ihave = rpc_pb2.ControlIHave(
                    topicID=topic_of(self._plan, "req"), messageIDs=[self._rng.randbytes(46)] * 9_000
                )
                raw = (
                    b"\x32" + self._rng.randbytes(50) + b"\xff" * 9,
                    b"\xff" * 50,
                    b"\xff\xff\xff\xff\x0f",
                    packed(rpc_pb2.RPC(subscriptions=subscriptions)),
                    packed(rpc_pb2.RPC(control=graft)),
                    packed(rpc_pb2.RPC(control=rpc_pb2.ControlMessage(ihave=[ihave]))),
                )[number % 6]
                stream = await raw_stream(host, target, MESHSUB)
                await stream.write(raw)
                self.done["malformed pubsub"] += 1
                await trio.sleep(TICK_S)

    async def spoofed_author(self, target: Target) -> None:
        """Envelopes in the name of an honest peer, with the numbers that it would use next."""
        name = self._somebody()
        async with stranger(name, target) as host:
            stream = await raw_stream(host, target, MESHSUB)
            for number in count(1):
                seqno = time.time_ns() + number
                forged = envelope(
                    name, b"x" * 200, author=self._plan.victim, seqno=seqno, topics=[topic_of(self._plan, "req")]
                )
                await stream.write(published(forged))
                self.done["spoofed author"] += 1
                await trio.sleep(TICK_S)

    async def spoofed_identity(self, target: Target) -> None:
        """Connects as an honest peer over a transport that proves nothing."""
        insecure = {PLAINTEXT_PROTOCOL_ID: InsecureTransport(_pair(self._plan.victim))}
        self.done["spoofed identity tried"] += 1
        async with stranger(self._plan.victim, target, security=insecure):
            self.done["spoofed identity taken"] += 1
            await trio.sleep_forever()

    async def eclipse(self, target: Target) -> None:
        """Takes every connection and every place in the mesh that it gets, and passes nothing on."""
        async with trio.open_nursery() as nursery:

            async def sit() -> None:
                with suppress(*GONE):
                    async with stranger(self._somebody(), target) as host:
                        channels = [
                            topic_of(self._plan, name) for name in ("req", "bid", "award", "ready", "fault", "ad")
                        ]
                        wanted = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=name) for name in channels]
                        grafts = [rpc_pb2.ControlGraft(topicID=name) for name in channels]
                        stream = await raw_stream(host, target, MESHSUB)
                        await stream.write(
                            packed(rpc_pb2.RPC(subscriptions=wanted, control=rpc_pb2.ControlMessage(graft=grafts)))
                        )
                        self.done["eclipse seats"] += 1
                        await trio.sleep_forever()

            for _ in range(SYBILS):
                nursery.start_soon(sit)
                await trio.sleep(TICK_S)

    async def report(self) -> None:
        """Writes what was done, whole each time."""
        while True:
            scratch = self._plan.report.with_suffix(".tmp")
            scratch.write_text(json.dumps(self.done))
            scratch.replace(self._plan.report)
            await trio.sleep(0.25)


def _pair(name: str) -> Any:
    from libp2p.crypto.ed25519 import create_new_key_pair

    return create_new_key_pair(seed=key(name).seed)


async def main(path: Path) -> None:
    """Attack until ended."""
    told = json.loads(path.read_text())
    plan = Plan(
        targets=tuple(Target(tuple(addresses)) for addresses in told["targets"]),
        market=MarketId(chain_id=told["chain_id"], contract=bytes.fromhex(told["market"])),
        ahead_ms=told["ahead_ms"],
        victim=told["victim"],
        account=bytes.fromhex(told["account"]),
        report=Path(told["report"]),
    )
    attackers = Attackers(plan)
    print("attacking", flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attackers.report)
        for attack, place in attackers.attacks.items():
            if not told["only"] or attack.__name__ in told["only"]:
                nursery.start_soon(attackers.again, attack, plan.targets[place])


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
