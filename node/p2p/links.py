"""Connections: which exist, which are wanted, and whether the other side is still alive."""

import logging
import random
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import StreamFailure
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from trio_typing import TaskStatus

from node.p2p.addresses import AddressBook, PeerAddress, parse_peer_id
from node.p2p.conduct import Conduct
from node.p2p.config import P2PConfig
from node.p2p.errors import (
    AddressInvalid,
    DialFailed,
    PeerBanned,
    ProtocolUnavailable,
    ShuttingDown,
    StreamBroken,
    UnknownPeer,
    Unreachable,
)
from node.p2p.library import cut
from node.p2p.streams import FramedStream, library_edge, parting

PING = TProtocol("/ipfs/ping/1.0.0")
PING_BYTES = 32

log = logging.getLogger("unveto.p2p")


@lru_cache(maxsize=4096)
def peer_text(peer: ID) -> str:
    """Base58 of a peer id; encoding is long division in pure Python, so it is done once."""
    return str(peer.to_base58())


class _Notifee(INotifee):
    """Tells `Links` about connections; the other events are of no interest."""

    def __init__(self, connected: Callable[[ID], None], disconnected: Callable[[ID], None]) -> None:
        self._connected = connected
        self._disconnected = disconnected

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        self._connected(conn.muxed_conn.peer_id)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        self._disconnected(conn.muxed_conn.peer_id)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        return

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        return

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        return

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        return


class Links:
    """Keeps connections to wanted peers, finds dead ones, and cuts bad ones."""

    def __init__(self, config: P2PConfig, host: BasicHost, swarm: Swarm, book: AddressBook, conduct: Conduct) -> None:
        self._config = config
        self._host = host
        self._swarm = swarm
        self._book = book
        self._conduct = conduct
        self._own_id = peer_text(host.get_id())
        self._wanted: set[str] = set()
        self._watched: set[str] = set()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._greet: Callable[[str], None] = lambda peer_id: None
        self.rtt_s: dict[str, float] = {}
        """Latest round trip of each connected peer in seconds."""
        swarm.register_notifee(_Notifee(self._on_connected, self._on_disconnected))

    def connected(self) -> tuple[str, ...]:
        """Peers with a connection, without those that are banned and about to be cut."""
        peers = (peer_text(peer) for peer, connections in self._swarm.connections.items() if connections)
        return tuple(peer_id for peer_id in peers if not self._conduct.is_banned(peer_id))

    def is_connected(self, peer_id: str) -> bool:
        """Whether there is a connection to the peer. `peer_id` must be one, see `parse_peer_id`."""
        return bool(self._swarm.connections.get(ID.from_base58(peer_id)))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is tried after each change of a connection."""
        while not condition():
            await self._changed.wait()

    def want(self, peer_id: str) -> None:
        """Keep a connection to a peer of the book from now on."""
        if peer_id == self._own_id or peer_id in self._wanted:
            return
        self._wanted.add(peer_id)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, peer_id)

    async def run(
        self, greet: Callable[[str], None], *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Dial wanted peers and watch connections until cancelled.

        Args:
            greet: Called with each peer that gets connected.
            task_status: Told when streams can be opened.
        """
        async with trio.open_nursery() as self._nursery:
            self._greet = greet
            task_status.started()
            for peer_id in self._wanted:
                self._nursery.start_soon(self._keep, peer_id)
            for peer_id in self.connected():  # came in before we ran
                self._welcome(peer_id)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # connections still come and go while the host shuts down
        raise AssertionError("runs until cancelled")

    async def connect(self, peer_id: str) -> None:
        """Connect unless connected, trying each address of the book.

        Raises:
            PeerBanned, UnknownPeer, DialFailed.
        """
        try:
            parse_peer_id(peer_id)
        except AddressInvalid as fault:  # callers take ids from messages of strangers
            raise UnknownPeer(peer_id[:80], "not a peer id") from fault
        if self._conduct.is_banned(peer_id):
            raise PeerBanned(peer_id, "broke too many rules")
        if self.is_connected(peer_id):
            return
        transports = self._book.transports(peer_id)
        if not transports:
            raise UnknownPeer(peer_id, "no address")
        for transport in transports:
            if await self._dial(peer_id, transport):
                return
        raise DialFailed(peer_id, ", ".join(transports))

    async def open(self, peer_id: str, protocol_id: str) -> INetStream:
        """Open a stream, connecting first if need be. Raises as `connect`, and ProtocolUnavailable or StreamBroken."""
        if self._nursery is None:
            raise ShuttingDown(peer_id, "not running")
        await self.connect(peer_id)
        try:
            with library_edge(peer_id):
                return await self._host.new_stream(ID.from_base58(peer_id), [TProtocol(protocol_id)])
        except StreamBroken as fault:
            # The library has one error for "no such protocol" and for "gone while asking".
            if isinstance(fault.__cause__, StreamFailure) and self.is_connected(peer_id):
                raise ProtocolUnavailable(peer_id, protocol_id) from fault
            raise

    def cut(self, peer_id: str) -> None:
        """Drop all connections of a peer at once."""
        for connection in self._swarm.get_connections(ID.from_base58(peer_id)):
            cut(connection.muxed_conn)

    async def close_all(self) -> None:
        """Say goodbye on all connections in parallel, then cut what is left."""
        connections: list[Any] = self._swarm.get_connections()
        with trio.move_on_after(self._config.close_s):
            async with trio.open_nursery() as nursery:
                for connection in connections:
                    nursery.start_soon(connection.close)
        for connection in connections:
            cut(connection.muxed_conn)

    async def _dial(self, peer_id: str, transport: str) -> bool:
        peer = ID.from_base58(peer_id)
        self._swarm.unblock_peer(peer)  # the library refuses to dial for 60 s after a failure
        self._swarm.peerstore.clear_addrs(peer)  # it would try only the first address that it ever heard of
        try:
            with trio.fail_after(self._config.dial_timeout_s), library_edge(peer_id):
                await self._host.connect(PeerInfo(peer, [Multiaddr(transport)]))
        except (StreamBroken, trio.TooSlowError) as fault:
            log.debug("dial %s at %s: %r", peer_id, transport, fault)
        has_answered = self.is_connected(peer_id)
        self._book.worked(PeerAddress(peer_id=peer_id, transport=transport), has_answered=has_answered)
        return has_answered

    async def _keep(self, peer_id: str) -> None:
        pause = self._config.redial_min_s
        while True:
            if self.is_connected(peer_id):
                pause = self._config.redial_min_s
                await self.wait_until(lambda: not self.is_connected(peer_id))
            try:
                await self.connect(peer_id)
            except Unreachable as fault:
                log.debug("wanted peer: %s", fault)
                await trio.sleep(pause * random.uniform(0.75, 1.25))  # not all nodes at once
                pause = min(2 * pause, self._config.redial_max_s)

    def _on_connected(self, peer: ID) -> None:
        peer_id = peer_text(peer)
        if self._conduct.is_banned(peer_id):
            self.cut(peer_id)
            return
        if self._nursery is not None:
            self._welcome(peer_id)
        self._notify()

    def _on_disconnected(self, peer: ID) -> None:
        peer_id = peer_text(peer)
        if not self.is_connected(peer_id):
            self.rtt_s.pop(peer_id, None)
            if peer in self._swarm.peerstore.peer_data_map:  # type: ignore[attr-defined]
                # Else the library's store grows with every stranger, and at its limit evicts even our own key.
                self._swarm.peerstore.clear_peerdata(peer)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _welcome(self, peer_id: str) -> None:
        if self._nursery is None:
            return
        if peer_id not in self._watched:  # the watcher of a connection that was just replaced may still be there
            self._watched.add(peer_id)
            self._nursery.start_soon(self._watch, peer_id)
        self._greet(peer_id)

    async def _watch(self, peer_id: str) -> None:
        """Ping a peer while it is connected; cut it after too many misses. A frozen process keeps its sockets open."""
        misses = 0
        try:
            while self.is_connected(peer_id) and self._nursery is not None:
                answered = trio.Event()
                # In the outer nursery: a ping stuck in a write to a full socket ends only with the cut.
                self._nursery.start_soon(self._ping, peer_id, answered)
                with trio.move_on_after(self._config.ping_timeout_s) as patience:
                    await answered.wait()
                misses = misses + 1 if patience.cancelled_caught else 0
                if misses >= self._config.ping_misses:
                    log.info("peer %s missed %d pings and is cut", peer_id, misses)
                    self.cut(peer_id)
                    await self.wait_until(lambda: not self.is_connected(peer_id))
                with trio.move_on_after(self._config.ping_interval_s):
                    await self.wait_until(lambda: not self.is_connected(peer_id))
        finally:
            self._watched.discard(peer_id)

    async def _ping(self, peer_id: str, answered: trio.Event) -> None:
        payload = secrets.token_bytes(PING_BYTES)
        with trio.move_on_after(self._config.ping_timeout_s):
            started = trio.current_time()
            try:
                with library_edge(peer_id):
                    opened = await self._host.new_stream(ID.from_base58(peer_id), [PING])
                async with parting(FramedStream(opened, peer_id)) as stream:
                    await stream.send_raw(payload)
                    if await stream.receive_exactly(PING_BYTES) == payload:
                        self.rtt_s[peer_id] = trio.current_time() - started
                        answered.set()
            except Unreachable as fault:
                log.debug("ping: %s", fault)
