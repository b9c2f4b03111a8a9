"""In-process hosts on loopback, and strangers that speak raw libp2p to them."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from node.identity import HostKey
from node.p2p.config import P2PConfig
from node.p2p.framestore import FrameStore
from node.p2p.host import Host
from node.p2p.verdicts import Topic, Validate
from protocol.errors import Ignore, Reject

DEADLINE_S = 20.0  # no step of a test comes near it; a hanging one ends with a stack trace
TOPIC = "/unveto/test/1"
MAX_FRAME = 4096
NEVER = 3600.0  # an interval that does not pass during a test


def by_first_letter(frame: bytes, from_peer: str) -> None:
    """REJECT frames that begin with R, IGNORE those with I, accept others."""
    if frame[:1] == b"R":
        raise Reject("TEST_BAD")
    if frame[:1] == b"I":
        raise Ignore("TEST_STALE")


def accept_all(frame: bytes, from_peer: str) -> None:
    """A validator without rules."""


def key(name: str) -> HostKey:
    """The host key that belongs to a name."""
    return HostKey.from_seed(hashlib.sha256(name.encode()).digest())


class Network:
    """Hosts of one test. Each runs in a scope of its own, so that it can be stopped like a process."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: dict[Host, tuple[trio.CancelScope, trio.Event]] = {}

    async def start(
        self,
        name: str,
        *,
        dial: Sequence[Host] = (),
        validate: Validate = by_first_letter,
        store: FrameStore | None = None,
        max_frame_bytes: int = MAX_FRAME,
        **settings: Any,
    ) -> Host:
        """Start a host that keeps connections to the hosts in `dial`. Catch-up runs on connection only."""
        settings.setdefault("catchup_interval_s", NEVER)
        settings.setdefault("bootstrap", tuple(other.addresses[0] for other in dial))
        topic = Topic(name=TOPIC, validate=validate, max_frame_bytes=max_frame_bytes)
        host = Host(P2PConfig(**settings), key(name), [topic], store=store)
        scope, ended = trio.CancelScope(), trio.Event()

        async def serve(task_status: Any) -> None:
            try:
                with scope:
                    await host.serve(task_status=task_status)
            finally:
                ended.set()

        await self._nursery.start(lambda task_status: serve(task_status))
        self._scopes[host] = scope, ended
        return host

    async def stop(self, host: Host) -> None:
        """Stop a host and wait until it has shut down."""
        scope, ended = self._scopes.pop(host)
        scope.cancel()
        await ended.wait()

    async def stop_all(self) -> None:
        """Stop all hosts at once."""
        for scope, _ in self._scopes.values():
            scope.cancel()
        for _, ended in self._scopes.values():
            await ended.wait()
        self._scopes.clear()


async def joined(*pairs: tuple[Host, Host]) -> None:
    """Return once the hosts of each pair would gossip to each other."""
    for one, other in pairs:
        await one.gossip.wait_for_subscriber(TOPIC, other.peer_id)
        await other.gossip.wait_for_subscriber(TOPIC, one.peer_id)


async def receive(host: Host, count: int) -> list[bytes]:
    """The next `count` frames of a host."""
    receiver = host.gossip.receiver(TOPIC)
    return [(await receiver.receive()).frame for _ in range(count)]


async def reached(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, looked at in every tick: for states of the library that have no event."""
    while not condition():
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def stranger(name: str, *targets: Host, security: dict[Any, Any] | None = None) -> AsyncIterator[Any]:
    """A plain libp2p host without any of our code, connected to `targets`."""
    pair = create_new_key_pair(seed=key(name).seed)
    noise = {NOISE: NoiseTransport(pair, noise_privkey=create_noise_key_pair().private_key)}
    host: Any = new_host(
        key_pair=pair,
        sec_opt=noise if security is None else security,
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=ConnectionConfig(min_connections=0, low_watermark=0),
    )
    try:
        async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            for target in targets:
                await host.connect(info_from_p2p_addr(Multiaddr(target.addresses[0])))
            yield host
            await host.close()
    finally:
        with trio.CancelScope(shield=True):
            await host.close()


async def raw_stream(source: Any, target: Host, protocol_id: str) -> Any:
    """A stream of a stranger to one of our hosts."""
    peer = info_from_p2p_addr(Multiaddr(target.addresses[0])).peer_id
    return await source.new_stream(peer, [TProtocol(protocol_id)])


running = background_trio_service
