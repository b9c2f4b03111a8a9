"""What gossip did not bring is fetched, and judged as if gossip had brought it."""

import struct

import pytest
import trio

from node.p2p.catchup import PROTOCOL_ID, decode_listed, encode_get, encode_list
from node.p2p.errors import RequestRefused
from node.p2p.framestore import MemoryFrameStore
from node.p2p.host import Host
from node.p2p.verdicts import frame_id
from protocol.errors import Ignore
from tests.integration.p2p.network import (
    DEADLINE_S,
    TOPIC,
    Network,
    accept_all,
    joined,
    reached,
    receive,
    stranger,
)


async def _publish(host: Host, *numbers: int) -> list[bytes]:
    frames = [b"%04d" % number for number in numbers]
    for frame in frames:
        await host.gossip.publish(TOPIC, frame)
    return frames


async def test_late_joiner_fetches_what_was_said_before(network: Network) -> None:
    """Own frames of the other side and relayed ones alike."""
    with trio.fail_after(DEADLINE_S):
        early = await network.start("early")
        other = await network.start("other", dial=[early])
        await joined((other, early))
        sent = await _publish(early, 0, 1, 2)
        await receive(other, 3)
        sent += await _publish(other, 3, 4)
        await receive(early, 2)

        late = await network.start("late", dial=[early])

        assert sent == sorted(await receive(late, 5))


async def test_more_frames_than_fit_into_one_answer(network: Network) -> None:
    """Three lists of 1024 ids and a dozen batches, beyond what the other side's message cache replays."""
    with trio.fail_after(DEADLINE_S):
        early = await network.start("early", channel_frames=4096)
        sent = await _publish(early, *range(2500))

        late = await network.start("late", dial=[early], channel_frames=4096)

        assert sorted(sent) == sorted(await receive(late, 2500))


async def test_reconnected_peer_gets_what_it_missed(network: Network) -> None:
    """Only that: what it has is not fetched again."""
    with trio.fail_after(DEADLINE_S):
        steady = await network.start("steady")
        mobile = await network.start("mobile", dial=[steady], redial_min_s=0.5)
        await joined((mobile, steady))
        before = await _publish(steady, 1, 2)
        assert before == sorted(await receive(mobile, 2))

        steady.links.cut(mobile.peer_id)
        await mobile.links.wait_until(lambda: not mobile.links.connected())
        missed = await _publish(steady, 3, 4)

        assert missed == sorted(await receive(mobile, 2))
        assert 4 == mobile.gossip.counts(TOPIC)["accept"]


async def test_periodic_round_fetches_without_any_reconnect(network: Network) -> None:
    """The frames were refused while the application was busy; the next rounds bring them."""
    with trio.fail_after(DEADLINE_S):
        sent = [b"%04d" % number for number in range(10)]
        keeper = await network.start("keeper", store=_store(*sent))
        slow = await network.start("slow", dial=[keeper], channel_frames=2, catchup_interval_s=0.1)
        await reached(lambda: slow.gossip.counts(TOPIC).get("overload", 0) > 0)

        assert sent == sorted(await receive(slow, 10))
        assert 10 == slow.gossip.counts(TOPIC)["accept"]


async def test_frame_that_came_too_early_is_accepted_later(network: Network) -> None:
    """IGNORE is for now; a later round judges again."""
    is_ripe = False

    def ripen(frame: bytes, from_peer: str) -> None:
        if not is_ripe:
            raise Ignore("TEST_EARLY")

    with trio.fail_after(DEADLINE_S):
        ahead = await network.start("ahead", store=_store(b"0001"))
        behind = await network.start("behind", dial=[ahead], validate=ripen, catchup_interval_s=0.2)
        await reached(lambda: behind.gossip.counts(TOPIC).get("ignore", 0) > 0)

        is_ripe = True

        assert [b"0001"] == await receive(behind, 1)
        assert 0 == behind.conduct.strikes(ahead.peer_id)


async def test_fetched_frames_pass_the_same_validation(network: Network) -> None:
    """A peer that hands out frames against the rules is struck, by whatever way they come."""
    with trio.fail_after(DEADLINE_S):
        careless = await network.start("careless", validate=accept_all)
        await careless.gossip.publish(TOPIC, b"R breaks a rule")
        await careless.gossip.publish(TOPIC, b"good")

        strict = await network.start("strict", dial=[careless])

        assert [b"good"] == await receive(strict, 1)
        await reached(lambda: strict.conduct.strikes(careless.peer_id) >= 1)


async def test_restarted_peer_numbers_afresh_and_is_asked_from_the_start(network: Network) -> None:
    """A position of its former life must not hide frames of its new one."""
    with trio.fail_after(DEADLINE_S):
        first = await network.start("server")
        listen = (first.addresses[0].partition("/p2p/")[0],)
        client = await network.start("client", dial=[first], redial_min_s=0.1, redial_max_s=0.1)
        await joined((client, first))
        await receive_after(client, await _publish(first, *range(5)))
        await client.catch_up(first.peer_id)  # its cursor for the server is at 5
        await network.stop(first)

        await network.start("server", listen=listen, store=_store(b"0005", b"0006"))

        assert [b"0005", b"0006"] == sorted(await receive(client, 2))


def _store(*frames: bytes) -> MemoryFrameStore:
    """Frames that gossip does not replay."""
    store = MemoryFrameStore(epoch=2, now=trio.current_time, max_age_s=600, max_frames=100, max_bytes=1 << 20)
    for frame in frames:
        store.add(TOPIC, frame_id(frame), frame)
    return store


async def receive_after(host: Host, sent: list[bytes]) -> None:
    """Take what was sent off the channel."""
    assert sent == sorted(await receive(host, len(sent)))


@pytest.mark.parametrize(
    "request_body",
    [
        b"",
        b"\x01",
        encode_list(0, 0, "/elsewhere/1"),
        encode_get(TOPIC, []),
        encode_get(TOPIC, [bytes(32)] * 257),
        encode_get(TOPIC, [bytes(31)]),
        encode_get("/elsewhere/1", [bytes(32)]),
        b"\x03",
        b"\x03\x00",
        b"\x03\x05/abc",
        b"\x03" + b"\x01a" * 65,
        b"\x04" + bytes(32),
    ],
)
async def test_malformed_requests_are_refused_and_struck(network: Network, request_body: bytes) -> None:
    """Nobody needs such a question."""
    with trio.fail_after(DEADLINE_S):
        server = await network.start("server")
        client = await network.start("client", dial=[server])
        await client.links.wait_until(lambda: client.links.is_connected(server.peer_id))

        with pytest.raises(RequestRefused) as refusal:
            await client.request(server.peer_id, PROTOCOL_ID, request_body, timeout_s=5)

        assert "REFUSED" == refusal.value.status
        assert refusal.value.remote_code.startswith("P2P-040 CATCHUP_")
        assert 1 == server.conduct.strikes(client.peer_id)


@pytest.mark.parametrize("tops", [b"short", bytes(8), bytes(24)])
async def test_server_that_says_nonsense_about_its_topics_is_struck(network: Network, tops: bytes) -> None:
    """One topic was asked about."""
    await expect_strike_for(network, tops, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"short",
        struct.pack(">QQ", 1, 1) + bytes(31),
        struct.pack(">QQ", 1, 1) + bytes(32 * 1025),
        struct.pack(">QQ", 0, 0) + bytes(32),  # same epoch, position does not ascend
        struct.pack(">QQ", 1, 1) + frame_id(b"a"),  # then answers the get with this again: not what was asked for
    ],
)
async def test_server_that_answers_nonsense_is_struck(network: Network, answer: bytes) -> None:
    """And the node that asked goes on."""
    await expect_strike_for(network, struct.pack(">QQ", 1, 1), answer)


async def expect_strike_for(network: Network, tops: bytes, answer: bytes) -> None:
    async def lie(stream) -> None:  # type: ignore[no-untyped-def]
        asked = await stream.read(1 << 14)
        told = tops if asked[4] == 3 else answer
        await stream.write(b"\0" + struct.pack(">I", len(told)) + told)
        await stream.close()

    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("liar") as liar:
            liar.set_stream_handler(PROTOCOL_ID, lie)
            address = liar.get_addrs()[0]
            host.want(str(address))

            await reached(lambda: host.conduct.strikes(str(liar.get_id())) >= 1)


async def test_list_and_get_answer_what_is_kept(network: Network) -> None:
    """The wire form as documented, from outside."""
    with trio.fail_after(DEADLINE_S):
        server = await network.start("server")
        client = await network.start("client", dial=[server])
        await joined((client, server))
        sent = await _publish(server, 1, 2)
        names = tuple(frame_id(frame) for frame in sent)

        listed = decode_listed(await client.request(server.peer_id, PROTOCOL_ID, encode_list(0, 0, TOPIC), timeout_s=5))
        rest = decode_listed(
            await client.request(server.peer_id, PROTOCOL_ID, encode_list(listed[0], 1, TOPIC), timeout_s=5)
        )
        got = await client.request(server.peer_id, PROTOCOL_ID, encode_get(TOPIC, [names[1], bytes(32)]), timeout_s=5)

        assert (2, names) == listed[1:]
        assert (listed[0], 2, names[1:]) == rest
        assert struct.pack(">I", 4) + sent[1] == got
