"""Connections: redial, dead peers, limits, clean shutdown."""

import contextlib
import gc
import os
import threading
from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.exceptions import SwarmException
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport

from node.p2p.addresses import parse_peer_address
from node.p2p.config import P2PConfig
from node.p2p.errors import DialFailed, ListenFailed, PeerBanned, StreamBroken
from node.p2p.host import Host
from node.p2p.streams import FramedStream
from tests.integration.p2p.network import DEADLINE_S, TOPIC, Network, joined, key, reached, receive, stranger


def _port_of(address: str) -> str:
    return address.split("/")[4]


async def test_killed_peer_is_redialled_when_it_is_back(network: Network) -> None:
    """Same key, same port, after failed attempts: the library alone would refuse to dial for a minute."""
    with trio.fail_after(DEADLINE_S):
        first = await network.start("server")
        listen = (f"/ip4/127.0.0.1/tcp/{_port_of(first.addresses[0])}",)
        client = await network.start("client", dial=[first], redial_max_s=0.5)
        await joined((client, first))

        await network.stop(first)
        await client.links.wait_until(lambda: not client.links.connected())
        with pytest.raises(DialFailed):
            await client.links.connect(first.peer_id)
        second = await network.start("server", listen=listen)
        await joined((client, second))
        await second.gossip.publish(TOPIC, b"back")

        assert [b"back"] == await receive(client, 1)


async def test_peer_that_moved_is_found_at_its_latest_address(network: Network) -> None:
    """Also after a failed dial: the library keeps the dead address and would try only that one."""
    with trio.fail_after(DEADLINE_S):
        gone = await network.start("mover")
        await network.stop(gone)
        seeker = await network.start("seeker")
        seeker.book.add(parse_peer_address(gone.addresses[0]))
        with pytest.raises(DialFailed):
            await seeker.links.connect(gone.peer_id)

        moved = await network.start("mover")
        seeker.book.add(parse_peer_address(moved.addresses[0]))

        await seeker.links.connect(moved.peer_id)
        assert seeker.links.is_connected(moved.peer_id)


async def test_wanted_peer_that_is_down_at_the_start_is_found_later(network: Network) -> None:
    """A bootstrap peer may be started last."""
    with trio.fail_after(DEADLINE_S):
        late = await network.start("late")
        address = late.addresses[0]
        await network.stop(late)
        early = await network.start("early", bootstrap=(address,), redial_max_s=0.5)

        late = await network.start("late", listen=(address.partition("/p2p/")[0],))

        await early.links.wait_until(lambda: early.links.is_connected(late.peer_id))


async def test_silent_connection_is_cut_after_missed_pings(network: Network) -> None:
    """The peer's process is frozen: its kernel keeps the connection, and only our pings notice."""
    with trio.fail_after(DEADLINE_S):
        frozen = await network.start("frozen", ping_interval_s=3600.0)
        thaw = trio.Event()
        async with trio.open_nursery() as relays:
            port = await _relay(relays, int(_port_of(frozen.addresses[0])), thaw)
            watcher = await network.start(
                "watcher",
                bootstrap=(f"/ip4/127.0.0.1/tcp/{port}/p2p/{frozen.peer_id}",),
                ping_interval_s=0.05,
                ping_timeout_s=0.3,
                ping_misses=2,
                redial_min_s=3600.0,
                redial_max_s=3600.0,
            )
            await joined((watcher, frozen))
            await reached(lambda: frozen.peer_id in watcher.links.rtt_s)

            thaw.set()  # from here on the relay swallows what it reads
            await watcher.links.wait_until(lambda: not watcher.links.is_connected(frozen.peer_id))

            relays.cancel_scope.cancel()


async def _relay(nursery: trio.Nursery, target: int, swallow: trio.Event) -> int:
    """Forward TCP connections to a port until `swallow` is set. Returns the relay's port."""

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async with source, sink:
            async for data in source:
                if not swallow.is_set():
                    await sink.send_all(data)

    async def handle(client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", target)
        try:
            async with trio.open_nursery() as pumps:
                pumps.start_soon(pump, client, server)
                pumps.start_soon(pump, server, client)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one of the hosts is gone, which is what the test is about

    listeners = await nursery.start(
        lambda task_status: trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)
    )
    return int(listeners[0].socket.getsockname()[1])


async def test_peer_that_stops_reading_is_cut_although_writes_to_it_block(network: Network) -> None:
    """Its socket is full, so that a ping and a polite close would both wait for ever."""

    async def never_read(stream: Any) -> None:
        await trio.sleep_forever()

    async def fill(stream: FramedStream) -> None:
        with contextlib.suppress(StreamBroken):
            await stream.send_raw(bytes(1 << 18))  # one window

    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", ping_interval_s=0.2, ping_timeout_s=0.5, ping_misses=2)
        async with stranger("deaf", host) as deaf:
            deaf.set_stream_handler("/sink/1", never_read)
            await host.links.wait_until(lambda: bool(host.links.connected()))
            peer_id = str(deaf.get_id())
            sinks = [FramedStream(await host.links.open(peer_id, "/sink/1"), peer_id) for _ in range(60)]
            (connection,) = deaf.get_network().get_connections()

            async with trio.open_nursery() as blocked:
                blocked.start_soon(_stop_reading, connection)
                for sink in sinks:
                    blocked.start_soon(fill, sink)  # 15 MiB, more than the kernel buffers on loopback
                await host.links.wait_until(lambda: not host.links.connected())
                blocked.cancel_scope.cancel()


async def _stop_reading(connection: Any) -> None:
    """Take a stranger's turn to read its socket and never give it back."""
    async with connection.muxed_conn.secured_conn.conn.read_writer.read_write_closer.stream.read_lock:
        await trio.sleep_forever()


async def test_second_host_on_a_port_is_refused(network: Network) -> None:
    """Listening with SO_REUSEPORT would let both run and share the connections."""
    with trio.fail_after(DEADLINE_S):
        first = await network.start("first")
        listen = first.addresses[0].partition("/p2p/")[0]

        with pytest.RaisesGroup(ListenFailed, flatten_subgroups=True, allow_unwrapped=True):
            await network.start("second", listen=(listen,))

        third = await network.start("third", dial=[first])
        await joined((first, third))


@pytest.mark.parametrize("port", [0, 4001])
async def test_foreign_address_cannot_be_listened_on(network: Network, port: int) -> None:
    """The library would only log it and run deaf. 192.0.2.0/24 is nobody's (RFC 5737)."""
    with pytest.RaisesGroup(ListenFailed, flatten_subgroups=True, allow_unwrapped=True):
        await network.start("host", listen=(f"/ip4/192.0.2.1/tcp/{port}",))


async def test_connections_over_the_limit_are_refused(network: Network) -> None:
    """The third of two is turned away, and the two stay."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", max_connections=4)  # two are for our own dials
        async with stranger("one", host) as one, stranger("two", host) as two:
            await host.links.wait_until(lambda: len(host.links.connected()) == 2)
            third = await network.start("third")
            third.book.add(parse_peer_address(host.addresses[0]))

            with pytest.raises(DialFailed):
                await third.links.connect(host.peer_id)

            assert {str(one.get_id()), str(two.get_id())} == set(host.links.connected())


async def test_strangers_that_take_every_slot_do_not_cut_us_off(network: Network) -> None:
    """An eclipse attempt: whom we want is dialled all the same, also after its connection was cut."""
    with trio.fail_after(DEADLINE_S):
        friend = await network.start("friend")
        host = await network.start("host", max_connections=6, dial=[friend], redial_min_s=0.05)
        async with contextlib.AsyncExitStack() as sybils:
            for number in range(3):
                await sybils.enter_async_context(stranger(f"sybil {number}", host))
            await host.links.wait_until(lambda: len(host.links.connected()) == 4)
            late = await network.start("late")
            late.book.add(parse_peer_address(host.addresses[0]))
            with pytest.raises(DialFailed):
                await late.links.connect(host.peer_id)

            host.links.cut(friend.peer_id)
            await host.links.wait_until(lambda: not host.links.is_connected(friend.peer_id))
            await host.links.wait_until(lambda: host.links.is_connected(friend.peer_id))
            await joined((friend, host))
            await friend.gossip.publish(TOPIC, b"still here")
            assert [b"still here"] == await receive(host, 1)


async def test_ended_connections_give_their_slots_back(network: Network) -> None:
    """More connections one after another than may exist at a time; the library alone counts them for ever."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", max_connections=2)

        for number in range(5):
            async with stranger(f"guest {number}", host):
                await host.links.wait_until(lambda: bool(host.links.connected()))
            await host.links.wait_until(lambda: not host.links.connected())


async def test_banned_peer_can_neither_connect_nor_be_dialled(network: Network) -> None:
    """For the length of the ban."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", reject_limit=1)
        async with stranger("villain", host) as villain:
            await host.links.wait_until(lambda: bool(host.links.connected()))
            host.strike(str(villain.get_id()))
            with pytest.raises(PeerBanned):
                await host.request(str(villain.get_id()), "/x/1", b"", timeout_s=5, max_response=1)
            await host.links.wait_until(lambda: not host._swarm.connections)

        async with stranger("villain", host):
            await host.links.wait_until(lambda: not host._swarm.connections)
            assert () == host.links.connected()


async def test_stream_flood_of_one_peer_leaves_room_for_others(network: Network) -> None:
    """Streams over the share are reset at once, before a protocol is agreed on."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", max_streams_per_peer=8)
        async with stranger("flooder", host) as flooder:
            (connection,) = flooder.get_network().get_connections()
            for _ in range(40):
                await connection.new_stream()  # never speaks
            friend = await network.start("friend", dial=[host])
            await joined((friend, host))

            assert host.inbound_streams() <= 8 + 8
            await friend.gossip.publish(TOPIC, b"hello")
            assert [b"hello"] == await receive(host, 1)


async def test_plaintext_client_is_refused(network: Network) -> None:
    """Plaintext proves no identity; the library's default host accepts it."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        security = {PLAINTEXT_PROTOCOL_ID: InsecureTransport(create_new_key_pair(seed=key("plain").seed))}
        with pytest.RaisesGroup(SwarmException, flatten_subgroups=True, allow_unwrapped=True):
            async with stranger("plain", host, security=security):
                pass

        assert () == host.links.connected()
        friend = await network.start("friend", dial=[host])
        await joined((friend, host))


def test_host_that_is_made_and_never_run_leaves_nothing_behind() -> None:
    """Work begins with `serve`."""
    gc.collect()  # what earlier tests left to the collector is not ours
    open_files, threads = _open_files(), threading.active_count()

    Host(P2PConfig(), key("idle"))
    gc.collect()

    assert open_files == _open_files()
    assert threads == threading.active_count()


async def test_no_socket_and_no_thread_outlives_the_hosts(nursery: trio.Nursery) -> None:
    """Three hosts, stopped at once under traffic, three times."""
    with trio.fail_after(DEADLINE_S):
        await _one_life(nursery)  # first use opens files and sockets that stay
        gc.collect()
        open_files, threads = _open_files(), threading.active_count()

        for _ in range(3):
            await _one_life(nursery)
        gc.collect()

        assert open_files == _open_files()
        assert threads == threading.active_count()


async def _one_life(nursery: trio.Nursery) -> None:
    network = Network(nursery)
    hub = await network.start("hub")
    leaves = [await network.start(f"leaf {i}", dial=[hub]) for i in range(2)]
    await joined(*((leaf, hub) for leaf in leaves))
    async with trio.open_nursery() as traffic:
        traffic.start_soon(_chatter, leaves[0])
        await receive(leaves[1], 5)
        await network.stop_all()
        traffic.cancel_scope.cancel()


async def _chatter(host: Host) -> None:
    number = 0
    while True:
        number += 1
        await host.gossip.publish(TOPIC, b"%d" % number)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
