"""Request/response between real hosts: limits, deadlines, refusals, and peers that stall."""

import pytest
import trio
from libp2p.io.utils import read_exactly

from node.p2p.errors import (
    DeadlineExceeded,
    FrameTooLarge,
    MalformedFrame,
    ProtocolUnavailable,
    RequestRefused,
    StreamBroken,
    UnknownPeer,
    Unreachable,
)
from node.p2p.host import Host
from node.p2p.reqresp import Handler
from protocol.errors import Ignore, Reject
from tests.integration.p2p.network import (
    DEADLINE_S,
    Network,
    key,
    raw_stream,
    reached,
    stranger,
)

ECHO = "/unveto/echo/1"
LIMIT = 1 << 20


async def echo(peer_id: str, body: bytes) -> bytes:
    return body


async def _served(network: Network, handler: Handler, *, timeout_s: float = 10.0, **settings: int) -> Host:
    server = await network.start("server", **settings)
    server.serve_protocol(ECHO, handler, max_request=LIMIT, max_response=LIMIT, timeout_s=timeout_s)
    return server


async def _pair(network: Network, handler: Handler, *, timeout_s: float = 10.0, **settings: int) -> tuple[Host, Host]:
    """A server of ECHO and a client that is connected to it and does not serve ECHO itself."""
    server = await _served(network, handler, timeout_s=timeout_s, **settings)
    client = await network.start("client", dial=[server])
    await client.links.wait_until(lambda: client.links.is_connected(server.peer_id))
    return server, client


@pytest.mark.parametrize("size", [0, 1, 65_532, 65_533, LIMIT])
async def test_bodies_of_any_allowed_size_come_back_unchanged(network: Network, size: int) -> None:
    """Sizes around the 64 KiB pieces in which frames are written, and the limit itself."""
    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, echo)
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)

        assert body == await client.request(server.peer_id, ECHO, body, timeout_s=10, max_response=LIMIT)


async def test_handler_learns_the_proven_peer_id(network: Network) -> None:
    """The id comes from the handshake, not from the request."""

    async def who(peer_id: str, body: bytes) -> bytes:
        return peer_id.encode()

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, who)

        assert (
            client.peer_id == (await client.request(server.peer_id, ECHO, b"", timeout_s=5, max_response=100)).decode()
        )


async def test_request_dials_a_peer_of_the_book(network: Network) -> None:
    """No standing connection is needed."""
    with trio.fail_after(DEADLINE_S):
        server = await _served(network, echo)
        client = await network.start("client")
        for nobody in (server.peer_id, client.peer_id, "", "nonsense", "12D3KooW" + "1" * 1000):
            with pytest.raises(UnknownPeer):
                await client.request(nobody, ECHO, b"x", timeout_s=5, max_response=10)

        client.want(server.addresses[0])

        assert b"x" == await client.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)


async def test_oversize_request_is_refused_by_both_sides(network: Network) -> None:
    """A client that knows the limit does not send; one that does not gets a coded refusal, not a broken stream."""
    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, echo)

        with pytest.raises(RequestRefused) as refusal:
            await client.request(server.peer_id, ECHO, bytes(LIMIT + 1), timeout_s=10, max_response=LIMIT)
        assert "TOO_LARGE" == refusal.value.status

        client.serve_protocol(ECHO, echo, max_request=LIMIT, max_response=LIMIT, timeout_s=10)
        with pytest.raises(FrameTooLarge):
            await client.request(server.peer_id, ECHO, bytes(LIMIT + 1), timeout_s=10)


async def test_response_over_the_client_s_limit_is_not_read(network: Network) -> None:
    """The client refuses on the announced length alone."""
    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, echo)

        with pytest.raises(FrameTooLarge) as refusal:
            await client.request(server.peer_id, ECHO, bytes(1000), timeout_s=10, max_response=999)

        assert (1000, 999) == (refusal.value.size_bytes, refusal.value.limit_bytes)


@pytest.mark.parametrize(
    ("fault", "status", "code", "strikes"),
    [
        (Reject("TEST_BAD"), "REFUSED", "PRO-001 TEST_BAD", 1),
        (Ignore("TEST_STALE"), "REFUSED", "PRO-002 TEST_STALE", 0),
        (ZeroDivisionError(), "FAULT", "", 0),
        (trio.TooSlowError(), "TIMEOUT", "", 0),
    ],
)
async def test_what_a_handler_raises_becomes_a_coded_response(
    network: Network, fault: Exception, status: str, code: str, strikes: int
) -> None:
    """And the server goes on serving."""

    async def fail_on_bad(peer_id: str, body: bytes) -> bytes:
        if body == b"bad":
            raise fault
        return body

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, fail_on_bad)

        with pytest.raises(RequestRefused) as refusal:
            await client.request(server.peer_id, ECHO, b"bad", timeout_s=5, max_response=10)

        assert (status, code) == (refusal.value.status, refusal.value.remote_code)
        assert strikes == server.conduct.strikes(client.peer_id)
        assert b"good" == await client.request(server.peer_id, ECHO, b"good", timeout_s=5, max_response=10)


async def test_response_over_the_server_s_own_limit_is_a_fault(network: Network) -> None:
    """A handler that makes too much does not get it onto the wire."""

    async def flood(peer_id: str, body: bytes) -> bytes:
        return bytes(LIMIT + 1)

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, flood)

        with pytest.raises(RequestRefused) as refusal:
            await client.request(server.peer_id, ECHO, b"", timeout_s=5, max_response=2 * LIMIT)

        assert "FAULT" == refusal.value.status


async def test_slow_handler_is_cut_off_by_the_server_s_deadline(network: Network) -> None:
    """The client is told, long before its own deadline."""
    cancelled = trio.Event()

    async def never(peer_id: str, body: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return b""

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, never, timeout_s=0.2)

        with pytest.raises(RequestRefused) as refusal:
            await client.request(server.peer_id, ECHO, b"", timeout_s=DEADLINE_S, max_response=10)

        assert "TIMEOUT" == refusal.value.status
        assert cancelled.is_set()


async def test_client_s_deadline_holds_whatever_the_server_does(network: Network) -> None:
    """The server would answer after an hour."""

    async def never(peer_id: str, body: bytes) -> bytes:
        await trio.sleep_forever()
        return b""

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, never, timeout_s=3600)

        with pytest.raises(DeadlineExceeded):
            await client.request(server.peer_id, ECHO, b"", timeout_s=0.2, max_response=10)


async def test_requests_beyond_the_limit_per_peer_are_refused_as_busy(network: Network) -> None:
    """One peer fills its share; the next request of the same peer is turned away, another peer's is served."""
    release = trio.Event()
    inside = 0

    async def wait(peer_id: str, body: bytes) -> bytes:
        nonlocal inside
        if body == b"wait":
            inside += 1
            await release.wait()
        return body

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, wait, max_inbound_requests_per_peer=2)
        other = await network.start("other", dial=[server])
        await other.links.wait_until(lambda: other.links.is_connected(server.peer_id))
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await client.request(server.peer_id, ECHO, b"wait", timeout_s=15, max_response=10))

        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            asking.start_soon(ask)
            await reached(lambda: inside == 2)
            with pytest.raises(RequestRefused) as refusal:
                await client.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)
            assert "BUSY" == refusal.value.status
            assert b"x" == await other.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)
            release.set()

        assert [b"wait", b"wait"] == answers
        assert b"x" == await client.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)


async def test_slow_loris_frees_its_slot_at_the_deadline(network: Network) -> None:
    """A stranger opens every slot it may, sends two bytes on each and waits."""
    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(
            network, echo, timeout_s=0.5, max_inbound_requests=2, max_inbound_requests_per_peer=2
        )
        await reached(lambda: server.inbound_requests() == 0)  # catch-up of the new connection
        async with stranger("loris", server) as loris:
            streams = [await raw_stream(loris, server, ECHO) for _ in range(2)]
            for stream in streams:
                await stream.write(b"\0\0")
            await reached(lambda: server.inbound_requests() == 2)
            with pytest.raises(RequestRefused) as refusal:
                await client.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)
            assert "BUSY" == refusal.value.status

            assert b"\x04\0\0\0\0" == await read_exactly(streams[0], 5)  # TIMEOUT, no code
            for stream in streams:
                await stream.reset()
            await reached(lambda: server.inbound_requests() == 0)

            assert b"x" == await client.request(server.peer_id, ECHO, b"x", timeout_s=5, max_response=10)


async def test_reader_that_stops_reading_does_not_hold_a_slot_for_ever(network: Network) -> None:
    """The response is larger than the stream's window, and nobody takes it."""

    async def flood(peer_id: str, body: bytes) -> bytes:
        return bytes(LIMIT)

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, flood, timeout_s=0.5)
        async with stranger("sloth", server) as sloth:
            stream = await raw_stream(sloth, server, ECHO)
            await stream.write(b"\0\0\0\x01x")
            await reached(lambda: server.inbound_requests() == 1)
            started = trio.current_time()

            await reached(lambda: server.inbound_requests() == 0)
            assert trio.current_time() - started < 4  # the muxer alone gives up after 5 s

        response = await client.request(server.peer_id, ECHO, b"", timeout_s=5, max_response=LIMIT)
        assert LIMIT == len(response)


async def test_unserved_protocol_is_unavailable(network: Network) -> None:
    """And that is told apart from a broken stream, so that callers do not retry for ever."""
    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, echo)

        with pytest.raises(ProtocolUnavailable):
            await client.request(server.peer_id, "/unveto/nothing/1", b"", timeout_s=5, max_response=10)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x63\0\0\0\0", MalformedFrame),  # status 99
        (b"\0\0\0\0\x05abc", StreamBroken),  # cut short
        (b"", StreamBroken),
        (b"\0\xff\xff\xff\xff", FrameTooLarge),
        (b"\x01\0\0\0\x41" + bytes(65), FrameTooLarge),  # a refusal with an essay
    ],
)
async def test_malformed_responses_are_named_errors(network: Network, answer: bytes, error: type[Exception]) -> None:
    """A server that answers nonsense, then closes."""

    async def nonsense(stream) -> None:  # type: ignore[no-untyped-def]
        await stream.read(5)
        await stream.write(answer)
        await stream.close()

    with trio.fail_after(DEADLINE_S):
        client = await network.start("client")
        async with stranger("liar", client) as liar:
            liar.set_stream_handler(ECHO, nonsense)

            with pytest.raises(error):
                await client.request(str(liar.get_id()), ECHO, b"x", timeout_s=5, max_response=100)


async def test_refusal_code_that_is_not_text_is_dropped(network: Network) -> None:
    """A code is shown to operators, so control characters of a stranger never reach it."""

    async def escape(stream) -> None:  # type: ignore[no-untyped-def]
        await stream.read(5)
        await stream.write(b"\x01\0\0\0\x04\x1b[2J")
        await stream.close()

    with trio.fail_after(DEADLINE_S):
        client = await network.start("client")
        async with stranger("liar", client) as liar:
            liar.set_stream_handler(ECHO, escape)

            with pytest.raises(RequestRefused) as refusal:
                await client.request(str(liar.get_id()), ECHO, b"x", timeout_s=5, max_response=100)

        assert "" == refusal.value.remote_code


async def test_server_that_dies_mid_request_is_noticed_at_once(network: Network) -> None:
    """The client does not wait for its deadline."""
    arrived = trio.Event()

    async def hold(peer_id: str, body: bytes) -> bytes:
        arrived.set()
        await trio.sleep_forever()
        return b""

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, hold, timeout_s=3600)
        failures: list[Unreachable] = []

        async def ask() -> None:
            with pytest.raises(StreamBroken) as failure:
                await client.request(server.peer_id, ECHO, b"", timeout_s=3600, max_response=10)
            failures.append(failure.value)

        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await arrived.wait()
            server.links.cut(client.peer_id)

        assert server.peer_id == failures[0].peer_id


async def test_shutdown_lets_requests_in_progress_finish(network: Network) -> None:
    """Drain comes before cut."""
    arrived = trio.Event()
    release = trio.Event()

    async def hold(peer_id: str, body: bytes) -> bytes:
        arrived.set()
        await release.wait()
        return b"done"

    with trio.fail_after(DEADLINE_S):
        server, client = await _pair(network, hold, drain_s=15)
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await client.request(server.peer_id, ECHO, b"", timeout_s=15, max_response=10))

        async with trio.open_nursery() as both:
            both.start_soon(ask)
            await arrived.wait()
            both.start_soon(network.stop, server)
            await reached(lambda: server.is_stopping)
            release.set()

        assert [b"done"] == answers


def test_protocol_ids_need_an_ordinal_and_one_owner() -> None:
    """Versions are ordinals, and a second handler never silently replaces the first."""
    from node.p2p.config import P2PConfig

    async def make() -> None:
        host = Host(P2PConfig(), key("any"))
        host.serve_protocol(ECHO, echo, max_request=1, max_response=1, timeout_s=1)
        for bad in (ECHO, "/unveto/echo/1.0.0", "unveto/echo/1", "/unveto/echo/"):
            with pytest.raises(ValueError, match="protocol id"):
                host.serve_protocol(bad, echo, max_request=1, max_response=1, timeout_s=1)

    trio.run(make)
