"""Strangers that speak raw pubsub: junk, forgeries, floods. The node lives, and others are still heard."""

import os
import random
import struct
from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils import encode_uvarint
from multiaddr import Multiaddr

from node.p2p.addresses import parse_peer_address
from node.p2p.host import Host
from node.p2p.ingest import is_envelope_sound
from tests.integration.p2p.network import (
    DEADLINE_S,
    MAX_FRAME,
    TOPIC,
    Network,
    joined,
    key,
    raw_stream,
    reached,
    receive,
    stranger,
)

MESHSUB = "/meshsub/1.1.0"
SIGNING_PREFIX = b"libp2p-pubsub:"


def packed(rpc: rpc_pb2.RPC) -> bytes:
    raw = rpc.SerializeToString()
    return bytes(encode_uvarint(len(raw)) + raw)


def envelope(signer: str, data: bytes, *, author: str | None = None, seqno: int = 1, topics: Any = (TOPIC,)) -> Any:
    """A pubsub message signed by one key, in the name of another if `author` is given."""
    pair = create_new_key_pair(seed=key(signer).seed)
    named = create_new_key_pair(seed=key(author or signer).seed)
    message = rpc_pb2.Message(
        from_id=ID.from_pubkey(named.public_key).to_bytes(),
        seqno=seqno.to_bytes(8, "big"),
        data=data,
        topicIDs=list(topics),
    )
    message.signature = pair.private_key.sign(SIGNING_PREFIX + message.SerializeToString())
    message.key = pair.public_key.serialize()
    return message


def published(*messages: Any) -> bytes:
    return packed(rpc_pb2.RPC(publish=messages))


async def _is_alive(host: Host, network: Network) -> None:
    """Whoever connects is served: gossip in both directions."""
    friend = await network.start(f"friend {random.random()}", dial=[host])
    await joined((friend, host))
    await friend.gossip.publish(TOPIC, b"alive?")
    await _hears(host, b"alive?")
    await host.gossip.publish(TOPIC, b"alive!")
    await _hears(friend, b"alive!")


async def _hears(host: Host, frame: bytes) -> None:
    """Return once the host has the frame, whatever catch-up brings before it."""
    while [frame] != await receive(host, 1):
        pass


def _junk_messages() -> dict[str, bytes]:
    rng = random.Random(7)
    hashed_author = envelope("a", b"x")
    hashed_author.from_id = bytes.fromhex("1220") + rng.randbytes(32)  # an id that does not contain the key
    hashed_author.key = rng.randbytes(40)
    unsigned = envelope("a", b"x")
    unsigned.signature = b""
    broken = envelope("a", b"x")
    broken.signature = rng.randbytes(64)
    many = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{i}") for i in range(65)])
    return {
        "random bytes": b"\x32" + rng.randbytes(50),
        "endless prefix": b"\xff" * 50,
        "huge frame announced": b"\xff\xff\xff\xff\x0f",
        "frame over one mebibyte": encode_uvarint((1 << 20) + 1),
        "too many subscriptions": packed(many),
        "junk key for a hashed author": published(hashed_author),
        "no signature": published(unsigned),
        "wrong signature": published(broken),
        "another's name": published(envelope("a", b"x", author="b")),
        "frame over the topic's limit": published(envelope("a", bytes(MAX_FRAME + 1))),
        "broken record of the sender": packed(rpc_pb2.RPC(senderRecord=b"junk")),
        "empty message": published(rpc_pb2.Message()),
        "unknown topic": published(envelope("a", b"x", topics=["/elsewhere/1"])),
        "two topics": published(envelope("a", b"x", topics=[TOPIC, "/elsewhere/1"])),
        "same topic twice": published(envelope("a", b"x", topics=[TOPIC, TOPIC])),
    }


BLAMELESS = {"broken record of the sender", "empty message", "unknown topic", "two topics", "same topic twice"}


@pytest.mark.parametrize("name", sorted(_junk_messages()))
async def test_junk_on_a_pubsub_stream_does_not_stop_the_node(network: Network, name: str) -> None:
    """Nothing of it is delivered; what an honest peer could not have sent is a strike."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("junker", host) as junker:
            stream = await raw_stream(junker, host, MESHSUB)
            await stream.write(_junk_messages()[name])
            if name not in BLAMELESS:
                await reached(lambda: host.conduct.strikes(str(junker.get_id())) == 1)
                stream = await raw_stream(junker, host, MESHSUB)
            await stream.write(published(envelope("junker", b"after")))

            assert [b"after"] == await receive(host, 1)
            assert (0 if name in BLAMELESS else 1) == host.conduct.strikes(str(junker.get_id()))
            assert 1 == host.gossip.counts(TOPIC)["accept"]
            assert 0 == host.gossip.counts(TOPIC)["fault"]


async def _noise_on_tcp(host: Host, rng: random.Random, name: str) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", int(host.addresses[0].split("/")[4]))
    async with stream:
        await stream.send_all(rng.randbytes(2000))


async def _noise_instead_of_a_handshake(host: Host, rng: random.Random, name: str) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", int(host.addresses[0].split("/")[4]))
    async with stream:
        await stream.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n" + rng.randbytes(2000))


async def _noise_under_the_muxer(host: Host, rng: random.Random, name: str) -> None:
    """Yamux frames with plausible and implausible fields."""
    async with stranger(name, host) as noisy:
        (connection,) = noisy.get_network().get_connections()
        for _ in range(20):
            kind, length = rng.choice([0, 1, 2, 3, 9]), rng.choice([0, 1, 65536, 1 << 20, (1 << 20) + 1, 1 << 31])
            stream_id = rng.choice([0, 1, 2, 3, 5, 1 << 31])
            body = rng.randbytes(length) if kind == 0 and length <= 65536 else b""
            header = struct.pack(">BBHII", rng.choice([0, 0, 1]), kind, rng.randrange(16), stream_id, length)
            try:
                await connection.muxed_conn.secured_conn.write(header + body)
            except BaseLibp2pError:
                return  # the host has closed the connection, as it should


async def _noise_on_every_protocol(host: Host, rng: random.Random, name: str) -> None:
    async with stranger(name, host) as noisy:
        for protocol in (MESHSUB, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/unveto/catchup/1"):
            stream = await raw_stream(noisy, host, protocol)
            await stream.write(rng.randbytes(1000))
            await stream.reset()


@pytest.mark.parametrize(
    "noise", [_noise_on_tcp, _noise_instead_of_a_handshake, _noise_under_the_muxer, _noise_on_every_protocol]
)
async def test_random_bytes_at_any_layer_do_not_stop_the_node(network: Network, noise: Any) -> None:
    """From the socket up to the application's protocols."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        for seed in range(4):
            await noise(host, random.Random(seed), f"noisy {seed}")

        await _is_alive(host, network)


async def test_peer_that_keeps_sending_junk_is_banned(network: Network) -> None:
    """Each stream brings one malformed RPC; at the limit the peer is cut."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", reject_limit=4)
        async with stranger("junker", host) as junker:
            for _ in range(4):
                stream = await raw_stream(junker, host, MESHSUB)
                await stream.write(b"\x32" + os.urandom(50) + b"\xff" * 10)

            await host.links.wait_until(lambda: not host.links.connected())
            assert host.conduct.is_banned(str(junker.get_id()))

        await _is_alive(host, network)


async def test_forged_author_cannot_block_the_real_one(network: Network) -> None:
    """Gossipsub names messages by (author, number), so a forgery must not occupy a number of the victim."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("forger", host) as forger, stranger("victim", host) as victim:
            forged = await raw_stream(forger, host, MESHSUB)
            await forged.write(published(envelope("forger", b"false", author="victim", seqno=7)))
            await reached(lambda: host.conduct.strikes(str(forger.get_id())) == 1)

            real = await raw_stream(victim, host, MESHSUB)
            await real.write(published(envelope("victim", b"true", seqno=7)))

            assert [b"true"] == await receive(host, 1)
            assert 0 == host.conduct.strikes(str(victim.get_id()))


async def test_replay_of_an_envelope_and_of_a_frame_is_delivered_once(network: Network) -> None:
    """The same bytes again, then the same frame under another number and another author."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("replayer", host) as replayer:
            stream = await raw_stream(replayer, host, MESHSUB)
            first = published(envelope("a", b"once"))
            await stream.write(first + first)
            again = envelope("a", b"once", seqno=2), envelope("b", b"once")
            await stream.write(published(*again, envelope("a", b"end", seqno=3)))

            assert [b"once", b"end"] == await receive(host, 2)
            assert 2 == host.gossip.counts(TOPIC)["duplicate"]


async def test_frames_over_a_peer_s_rate_are_dropped_without_blame(network: Network) -> None:
    """Over quota is IGNORE: a relay cannot help what it is asked to relay."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", peer_frames_per_s=10)
        async with stranger("flooder", host) as flooder:
            stream = await raw_stream(flooder, host, MESHSUB)
            await stream.write(published(*(envelope("a", b"%d" % n, seqno=n) for n in range(1, 101))))

            assert [b"%d" % n for n in range(1, 21)] == await receive(host, 20)
            await reached(lambda: host.frames_over_rate >= 70)
            assert 0 == host.conduct.strikes(str(flooder.get_id()))


async def test_iwant_is_answered_once_per_message(network: Network) -> None:
    """The library sends one copy per mention: 20,000 mentions of a 4 KiB message are 80 MB."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("amplifier", host) as amplifier:
            received: list[bytes] = []

            async def listen(stream: Any) -> None:
                while True:
                    received.append(await stream.read(1 << 16))

            amplifier.set_stream_handler(MESHSUB, listen)
            stream = await raw_stream(amplifier, host, MESHSUB)
            marker, message = b"m" * 64, envelope("a", b"m" * 64)
            await stream.write(published(message))
            await receive(host, 1)
            wanted = rpc_pb2.ControlIWant(messageIDs=[message.from_id + message.seqno] * 20_000)
            await stream.write(packed(rpc_pb2.RPC(control=rpc_pb2.ControlMessage(iwant=[wanted]))))

            await reached(lambda: marker in b"".join(received))
            await _is_alive(host, network)
            assert 1 == b"".join(received).count(marker)


async def test_prune_with_peer_exchange_dials_nobody(network: Network) -> None:
    """The library connects to whatever addresses a PRUNE names, which makes any node a port scanner."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        bait = await network.start("bait")
        async with stranger("pruner", host) as pruner:
            host.book.add(parse_peer_address(bait.addresses[0]))
            stream = await raw_stream(pruner, host, MESHSUB)
            peer = rpc_pb2.PeerInfo(peerID=ID.from_base58(bait.peer_id).to_bytes())
            prune = rpc_pb2.ControlPrune(topicID=TOPIC, peers=[peer], backoff=1 << 40)
            others = rpc_pb2.ControlPrune(topicID="/made/up", backoff=60)
            await stream.write(packed(rpc_pb2.RPC(control=rpc_pb2.ControlMessage(prune=[prune, others]))))
            await stream.write(published(envelope("pruner", b"after")))

            await receive(host, 1)
            assert (str(pruner.get_id()),) == host.links.connected()
            assert "/made/up" not in host._router.back_off


async def test_peer_that_ignores_flow_control_is_cut(network: Network) -> None:
    """It writes beyond its window on a stream that nobody reads; the library would buffer it all."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host", max_buffered_bytes=1 << 20)
        entered = trio.Event()

        async def hold(peer_id: str, body: bytes) -> bytes:
            entered.set()
            await trio.sleep_forever()
            return b""

        host.serve_protocol("/hold/1", hold, max_request=1, max_response=1, timeout_s=3600)
        async with stranger("hose", host) as hose:
            stream = await raw_stream(hose, host, "/hold/1")
            await stream.write(b"\0\0\0\0")
            await entered.wait()
            stream.muxed_stream.send_window = 1 << 30

            async def pour() -> None:
                while True:
                    await stream.write(bytes(1 << 16))

            async with trio.open_nursery() as pouring:
                pouring.start_soon(_until_broken, pour)
                await host.links.wait_until(lambda: not host.links.connected())
                pouring.cancel_scope.cancel()
        await _is_alive(host, network)


async def _until_broken(action: Any) -> None:
    try:
        await action()
    except BaseLibp2pError:
        pass  # the cut that the test waits for


async def test_plain_libp2p_node_gossips_with_us(network: Network) -> None:
    """Our restrictions are invisible to an honest peer that runs the library as it is."""
    with trio.fail_after(DEADLINE_S):
        host = await network.start("host")
        async with stranger("plain", *()) as plain:
            router = GossipSub([MESHSUB], 6, 4, 12, heartbeat_interval=1)  # type: ignore[list-item]
            pubsub = Pubsub(plain, router, strict_signing=True)
            async with background_trio_service(pubsub), background_trio_service(router):
                await pubsub.wait_until_ready()
                subscription = await pubsub.subscribe(TOPIC)
                await plain.connect(info_from_p2p_addr(Multiaddr(host.addresses[0])))
                await host.gossip.wait_for_subscriber(TOPIC, str(plain.get_id()))
                await pubsub.wait_for_subscription(info_from_p2p_addr(Multiaddr(host.addresses[0])).peer_id, TOPIC)

                await host.gossip.publish(TOPIC, b"from us")
                await pubsub.publish(TOPIC, b"from them")

                assert [b"from them"] == await receive(host, 1)
                heard = {(await subscription.get()).data, (await subscription.get()).data}
                assert {b"from us", b"from them"} == heard
                await plain.close()
            pubsub.seen_messages.stop()


def test_envelope_of_an_honest_author_is_sound() -> None:
    """Else the junk tests above would pass for the wrong reason."""
    assert is_envelope_sound(envelope("a", b"x"))
    assert not is_envelope_sound(envelope("a", b"x", author="b"))
