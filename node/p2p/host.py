"""One libp2p host: Noise over TCP with Yamux, gossip, request/response, catch-up. The package's front door.

    async with trio.open_nursery() as nursery:
        host = Host(config, key, topics)
        host.serve_protocol("/unveto/pull/1", handler, max_request=64, max_response=1 << 20, timeout_s=10)
        await nursery.start(host.serve)

A host is used once. Everything it starts ends with `serve`.
"""

import logging
import secrets
from collections.abc import Iterable
from typing import NoReturn, cast

import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from node.identity import HostKey
from node.p2p.addresses import AddressBook, host_and_port, parse_peer_address, parse_transport
from node.p2p.catchup import PROTOCOL_ID as CATCHUP
from node.p2p.catchup import REQUEST_TIMEOUT_S, CatchUp
from node.p2p.conduct import Conduct
from node.p2p.config import P2PConfig
from node.p2p.errors import ListenFailed
from node.p2p.framestore import FrameStore, MemoryFrameStore
from node.p2p.gossip import Gossip
from node.p2p.ingest import GuardedPubsub
from node.p2p.library import (
    bound_buffers,
    dial_without_delay,
    freeze_addresses,
    guard_streams,
    keep_topology_ours,
    patch_yamux,
    quiet_libp2p,
    release_inbound_slots,
    require_free,
)
from node.p2p.links import Links, peer_text
from node.p2p.reqresp import Handler, Protocol, RequestService
from node.p2p.router import FloodRouter
from node.p2p.streams import FramedStream
from node.p2p.verdicts import Intake, Topic

IDENTIFY_PUSH = TProtocol("/ipfs/id/push/1.0.0")
MAINTENANCE_S = 60.0

log = logging.getLogger("unveto.p2p")


class Host:
    """A peer. Made without side effects; `serve` runs it."""

    def __init__(
        self, config: P2PConfig, key: HostKey, topics: Iterable[Topic] = (), *, store: FrameStore | None = None
    ) -> None:
        """
        Args:
            config: Settings.
            key: The host key; its public half is the peer id.
            topics: All gossip topics of this host.
            store: Where valid frames are kept for catch-up; in memory unless given.

        Raises:
            AddressInvalid: A configured address cannot be read.
        """
        self._config = config
        self._listen = tuple(parse_transport(text) for text in config.listen)
        self.book = AddressBook()
        """Where peers can be dialled."""
        self._bootstrap = tuple(parse_peer_address(text) for text in config.bootstrap)
        for address in self._bootstrap:
            self.book.add(address)

        self._host = _library_host(config, key)
        self._swarm = cast(Swarm, self._host.get_network())
        self.peer_id = peer_text(self._host.get_id())
        """Base58 text of our own peer id."""

        self.conduct = Conduct(
            limit=config.reject_limit, forgive_s=config.reject_forgive_s, ban_s=config.ban_s, now=_monotonic
        )
        """Broken rules per peer."""
        if store is None:
            store = MemoryFrameStore(
                epoch=secrets.randbits(64),
                now=_monotonic,
                max_age_s=config.catchup_window_s,
                max_frames=config.catchup_max_frames,
                max_bytes=config.catchup_max_bytes,
            )
        self._intake = Intake(topics, channel_frames=config.channel_frames, keep=store.add, strike=self.strike)
        self.links = Links(config, self._host, self._swarm, self.book, self.conduct)
        """Connections."""
        self._requests = RequestService(config, self._open_framed, self.strike)
        self._catchup = CatchUp(
            config,
            self._intake,
            store,
            request=self._ask_catchup,
            strike=self.strike,
            connected=self.links.connected,
        )
        self._router = FloodRouter(config)
        self._pubsub = GuardedPubsub(
            self._host, self._router, self._intake, config, strike=self.strike, peer_text=peer_text
        )
        self.gossip = Gossip(self._intake, self._pubsub)
        """Topics."""
        self.inbound_streams = guard_streams(
            self._host,
            self._swarm,
            max_streams_per_peer=config.max_streams_per_peer,
            is_refused=self.conduct.is_banned,
        )
        """`inbound_streams()` is the number of streams that peers hold open."""
        bound_buffers(self._swarm, config.max_buffered_bytes)
        release_inbound_slots(
            self._swarm,
            max_inbound=config.max_connections - min(config.dial_slots, config.max_connections // 2),
            max_per_group=config.max_connections_per_address,
        )
        keep_topology_ours(self._swarm)
        self._register(self._catchup.protocol)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs with /p2p/ on which this host listens; empty before it serves."""
        return tuple(str(address) for address in self._host.get_addrs())

    @property
    def is_stopping(self) -> bool:
        """Whether shutdown has begun."""
        return self._requests.is_draining

    @property
    def frames_over_rate(self) -> int:
        """Gossip frames dropped because their sender exceeded `peer_frames_per_s`."""
        return self._pubsub.over_rate

    def inbound_requests(self) -> int:
        """Requests of peers that are being served."""
        return self._requests.active

    def serve_protocol(
        self, protocol_id: str, handler: Handler, *, max_request: int, max_response: int, timeout_s: float
    ) -> None:
        """Answer requests on a protocol. Limits are bytes of a body; see `node.p2p.reqresp.Protocol`."""
        self._register(
            Protocol(
                protocol_id=protocol_id,
                handler=handler,
                max_request=max_request,
                max_response=max_response,
                timeout_s=timeout_s,
            )
        )

    async def request(
        self, peer_id: str, protocol_id: str, body: bytes, *, timeout_s: float, max_response: int | None = None
    ) -> bytes:
        """Ask a peer; see `node.p2p.reqresp.RequestService.request`. Dials if not connected."""
        return await self._requests.request(peer_id, protocol_id, body, timeout_s=timeout_s, max_response=max_response)

    def want(self, address: str) -> str:
        """Keep a connection to the peer at a multiaddr with /p2p/, from now on. Returns its peer id.

        Raises:
            AddressInvalid: The text is no such address.
        """
        parsed = parse_peer_address(address)
        self.book.add(parsed)
        self.links.want(parsed.peer_id)
        return parsed.peer_id

    async def catch_up(self, peer_id: str) -> None:
        """Fetch at once from a peer what it has and we have not; this also happens by itself, see `catchup`."""
        await self._catchup.sync(peer_id)

    def strike(self, peer_id: str) -> None:
        """Record that a peer broke a rule; at the limit it is cut and banned for a while."""
        if self.conduct.strike(peer_id):
            log.warning("peer %s broke %d rules and is banned", peer_id, self._config.reject_limit)
            self.links.cut(peer_id)

    def restore(self, topic: str, frame: bytes) -> None:
        """Take up a frame that this node accepted before it ended; see `Intake.restore`. Before `serve`."""
        self._intake.restore(topic, frame)

    def shun(self, peer_id: str, length_s: float) -> None:
        """Cut a peer and do not speak to it for a time, for what is known of it beyond its frames."""
        if self.conduct.ban(peer_id, length_s):
            log.warning("peer %s is shunned for %d s", peer_id, length_s)
            self.links.cut(peer_id)

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Listen, dial, gossip and answer until cancelled; then shut down in order.

        Shutdown: refuse new requests and end the application's channels, let requests in progress finish for
        `drain_s`, stop our own tasks, close all connections in parallel within `close_s`, stop the library.

        Raises:
            ListenFailed: An address cannot be bound.
        """
        quiet_libp2p()
        patch_yamux()
        dial_without_delay()
        for address in self._listen:
            require_free(*host_and_port(address), address)
        stop = trio.Event()

        async def await_cancellation() -> None:
            try:
                await trio.sleep_forever()
            finally:
                stop.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(await_cancellation)
            # Shielded, because a cancellation that reaches the library's tasks directly ends them in no order at all.
            with trio.CancelScope(shield=True):
                await self._serve_until(stop, task_status)
        raise AssertionError("serves until cancelled")

    async def _serve_until(self, stop: trio.Event, task_status: TaskStatus[None]) -> None:
        # Services first: a stream that arrives before pubsub runs would end the swarm.
        async with background_trio_service(self._pubsub), background_trio_service(self._router):
            await self._pubsub.wait_until_ready()
            for topic in self._intake.topics:
                await self._pubsub.subscribe(topic)
            async with self._host.run([Multiaddr(address) for address in self._listen]):
                try:
                    self._require_listening()
                    freeze_addresses(self._host)
                    await self._run_tasks(stop, task_status)
                finally:
                    # Also when the library failed: then this is inside its cancelled nursery.
                    with trio.CancelScope(shield=True):
                        await self._shut_down()

    async def _run_tasks(self, stop: trio.Event, task_status: TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for address in self._bootstrap:
                self.links.want(address.peer_id)
            await nursery.start(self.links.run, lambda peer_id: nursery.start_soon(self._catchup.sync, peer_id))
            nursery.start_soon(self._catchup.run)
            nursery.start_soon(self._maintain)
            task_status.started()
            await stop.wait()
            self._intake.close()
            with trio.move_on_after(self._config.drain_s):
                await self._requests.drain()
            nursery.cancel_scope.cancel()

    async def _shut_down(self) -> None:
        await self.links.close_all()
        with trio.move_on_after(self._config.close_s):
            await self._host.close()

    async def _maintain(self) -> None:
        while True:
            await trio.sleep(MAINTENANCE_S)
            self._router.forget_deliveries()

    def _register(self, protocol: Protocol) -> None:
        self._requests.register(protocol)

        async def answer(stream: INetStream) -> None:
            framed = FramedStream(stream, peer_text(stream.muxed_conn.peer_id))
            await self._requests.answer(protocol.protocol_id, framed)

        self._host.set_stream_handler(TProtocol(protocol.protocol_id), answer)

    def _require_listening(self) -> None:
        listening = self._swarm.listeners
        for address in self._listen:
            if address not in listening:  # the library only logs a failed bind
                raise ListenFailed(address, "refused by the system")

    async def _open_framed(self, peer_id: str, protocol_id: str) -> FramedStream:
        return FramedStream(await self.links.open(peer_id, protocol_id), peer_id)

    async def _ask_catchup(self, peer_id: str, body: bytes) -> bytes:
        return await self._requests.request(peer_id, CATCHUP, body, timeout_s=REQUEST_TIMEOUT_S)


def _monotonic() -> float:
    return trio.current_time()


def _library_host(config: P2PConfig, key: HostKey) -> BasicHost:
    """A host that offers Noise and Yamux only.

    By default the library also offers plaintext, which proves nothing: anybody could connect as any peer id.
    """
    pair = create_new_key_pair(seed=key.seed)
    noise = NoiseTransport(pair, noise_privkey=create_noise_key_pair().private_key)
    host = new_host(
        key_pair=pair,
        sec_opt={NOISE: noise},
        muxer_opt={TProtocol(YAMUX): Yamux},
        negotiate_timeout=max(1, round(config.upgrade_timeout_s)),
        disable_identify_address_discovery=True,
        connection_config=ConnectionConfig(
            max_connections=config.max_connections,
            high_watermark=config.max_connections,
            min_connections=0,
            low_watermark=0,
            dial_timeout=config.dial_timeout_s,
            inbound_upgrade_timeout=config.upgrade_timeout_s,
            outbound_upgrade_timeout=config.upgrade_timeout_s,
            inbound_stream_protocol_negotiation_timeout=config.upgrade_timeout_s,
            outbound_stream_protocol_negotiation_timeout=config.upgrade_timeout_s,
        ),
    )
    if not isinstance(host, BasicHost):
        raise TypeError("without a peer router the library makes a BasicHost")
    swarm = cast(Swarm, host.get_network())
    swarm.retry_config = RetryConfig(max_retries=0)  # `Links` decides when to try again
    swarm.set_resource_manager(None)  # its limits leak slots and fail open; the limits of this package are checked
    host.remove_stream_handler(IDENTIFY_PUSH)  # lets a peer rewrite what we believe about its addresses at any time
    return host
