"""What libp2p 0.8.1 needs changed before it can face strangers. Each item names the fault it answers.

The library is pinned exactly; tests/unit/node/p2p/test_library.py fails when a patched name disappears.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.host.basic_host import BasicHost
from libp2p.network import swarm as swarm_module
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux as yamux_module
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream

from node.p2p.addresses import address_group
from node.p2p.errors import ListenFailed

MAX_WINDOW_BYTES = 1 << 20  # per stream; the library would let a fast sender grow it to 16 MiB

log = logging.getLogger("unveto.p2p")


def quiet_libp2p() -> None:
    """Keep the library's own records out of ours.

    It logs each refused handshake and stream as an error, and it logs through the root logger, which makes Python add
    a second handler when none is configured. What matters is logged by this package.
    """
    for name in ("libp2p", "multiaddr"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    if _not_from_libp2p not in root.filters:
        root.addFilter(_not_from_libp2p)  # a logger's own filter sees only records logged directly to it


def _not_from_libp2p(record: logging.LogRecord) -> bool:
    return "/libp2p/" not in record.pathname


async def _credit_half_windows(stream: YamuxStream, *, bytes_read: int = 0) -> None:
    """Grant the sender more window once at least half of it is used.

    The library's own rule grants the bytes of every read at once, that is one encrypted frame and one system call per
    read of a few bytes. `bytes_read` is not needed: what is owed follows from the window and the buffer.
    """
    async with stream.window_lock:
        buffered = len(stream.conn.stream_buffers.get(stream.stream_id, b""))
        owed = stream.target_recv_window - stream.recv_window - buffered
        if owed < stream.target_recv_window // 2:
            return
        stream.recv_window += owed
        owed += stream._apply_autotune_epoch(buffered)
    await stream.send_window_update(owed)


def dial_without_delay() -> None:
    """Do not wait 250 ms after each dial for a second address: `Links` tries addresses one by one. Process-wide."""
    swarm_module._HAPPY_EYEBALLS_DELAY = 0.0


def patch_yamux() -> None:
    """Use the window rule above and the smaller window limit. Idempotent, process-wide."""
    YamuxStream._auto_tune_and_send_window_update = _credit_half_windows  # type: ignore[method-assign,assignment]
    yamux_module.MAX_WINDOW_SIZE = MAX_WINDOW_BYTES  # also the largest DATA frame that is accepted


class BufferOverrun(trio.TooSlowError):
    """The peer ignores flow control. Derived from the one error on which the muxer closes the connection."""


def bound_buffers(swarm: Swarm, max_buffered_bytes: int) -> None:
    """Close a connection whose unread data exceeds `max_buffered_bytes`.

    The library only warns when a peer writes beyond its window, and buffers on. It also makes a plain Yamux whatever
    class the host was given, so the place where it does so is replaced.
    """

    class BoundedYamux(Yamux):
        async def _read_data_body(self, length: int) -> bytes:
            if length + sum(map(len, self.stream_buffers.values())) > max_buffered_bytes:
                raise BufferOverrun
            return await super()._read_data_body(length)

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as fault:
                log.debug("muxer of %s failed: %r", self.peer_id, fault)
                await self._cleanup_on_error()

    multistream: Any = swarm.upgrader.muxer_multistream

    async def new_conn(secured: ISecureConn, peer: ID) -> IMuxedConn:
        protocol, _ = await multistream._selector.select(secured, secured.is_initiator, multistream.negotiate_timeout)
        muxed = BoundedYamux(secured, peer, is_initiator=secured.is_initiator)
        annotated: IMuxedConn = multistream._annotate_connection(muxed, secured, protocol)
        return annotated

    multistream.new_conn = new_conn


def release_inbound_slots(swarm: Swarm, *, max_inbound: int, max_per_group: int) -> None:
    """Give an inbound connection's slot back when the connection ends, and let nobody take them all.

    The library holds slot and task until the swarm stops, so that after `max_connections` inbound connections in its
    whole life a node refuses every further one. And it counts those that we dial together with those that dial us, so
    that strangers who take every slot cut a node off from the peers that it wants.

    Args:
        swarm: The network.
        max_inbound: Connections that others opened, at most; what is left of `max_connections` is for our own dials.
        max_per_group: Of these from one public address or IPv6 network, at most.
    """
    swarm._inbound_limiter = trio.CapacityLimiter(max_inbound)
    open_by_group: Counter[str] = Counter()

    async def handle(stream: Any, maddr: Any, failure_event: Any) -> None:
        connection = RawConnection(stream, False)
        group = address_group((connection.get_remote_address() or ("", 0))[0])
        if group and open_by_group[group] >= max_per_group:
            log.debug("too many connections from %s", group)
            return
        open_by_group[group] += 1
        try:
            muxed: Any = await swarm.upgrade_inbound_raw_conn(connection, maddr)
            await muxed.event_closed.wait()
        except Exception as fault:
            log.debug("inbound connection failed: %r", fault)
        finally:
            open_by_group[group] -= 1
            if not open_by_group[group]:
                del open_by_group[group]
        # Returning makes trio's listener close the socket, whatever state the library left it in.

    swarm._do_handle_inbound_connection = handle  # type: ignore[method-assign,assignment]


def keep_topology_ours(swarm: Swarm) -> None:
    """Stop the auto-connector, which dials any address it has heard of until half of `max_connections` is reached."""

    async def connect_nobody() -> None:
        return

    swarm.auto_connector.maybe_connect = connect_nobody  # type: ignore[method-assign]


def freeze_addresses(host: BasicHost) -> None:
    """Remember the listen addresses. The library asks the sockets before each RPC, and fails when they are closed."""
    addresses = host.get_addrs()
    host.get_addrs = lambda: list(addresses)  # type: ignore[method-assign]


def cut(muxed: IMuxedConn) -> None:
    """Close the socket under a connection at once, without waiting for anybody.

    A polite close writes a last frame, which blocks for ever on a peer that has stopped reading. After this every
    blocked read and write of the connection fails, and the library cleans up.
    """
    layer: Any = muxed
    for name in ("secured_conn", "conn", "read_writer", "read_write_closer", "stream", "stream"):
        layer = getattr(layer, name)
    layer.socket.close()


def require_free(host: str, port: int, address: str) -> None:
    """Refuse an address that another process listens on.

    The library listens with SO_REUSEPORT, so two nodes on one port would silently share the incoming connections.
    Binding without that flag fails if anybody has the port. (Two nodes started within the same millisecond can still
    both pass.)

    Raises:
        ListenFailed: The address is taken or not ours.
    """
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # do not trip over TIME_WAIT of our last run
        try:
            probe.bind((host, port))
            probe.listen(1)  # with SO_REUSEADDR the conflict with a listener may show only here
        except OSError as fault:
            raise ListenFailed(address, fault.strerror or type(fault).__name__) from fault


def guard_streams(
    host: Any, swarm: Swarm, *, max_streams_per_peer: int, is_refused: Callable[[str], bool]
) -> Callable[[], int]:
    """Contain what stream handlers raise, and bound the inbound streams of each peer.

    In the library an exception of a handler ends the swarm; and a peer may open any number of streams.

    Args:
        host: The library's host, whose dispatcher is wrapped.
        swarm: Its network.
        max_streams_per_peer: Further streams are reset.
        is_refused: Whether a peer id (base58) is banned.

    Returns:
        A function giving the number of open inbound streams.
    """
    dispatch = host._swarm_stream_handler
    open_streams: dict[str, int] = {}

    async def guarded(stream: Any) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        if is_refused(peer_id) or open_streams.get(peer_id, 0) >= max_streams_per_peer:
            await _reset(stream)
            return
        open_streams[peer_id] = open_streams.get(peer_id, 0) + 1
        try:
            await dispatch(stream)
        except Exception as fault:
            log.debug("stream of %s failed: %r", peer_id, fault)
            await _reset(stream)
        finally:
            open_streams[peer_id] -= 1
            if not open_streams[peer_id]:
                del open_streams[peer_id]

    swarm.set_stream_handler(guarded)
    return lambda: sum(open_streams.values())


async def _reset(stream: Any) -> None:
    try:
        await stream.reset()
    except Exception as fault:
        log.debug("reset failed: %r", fault)
