"""Delivery and verdicts between real hosts on loopback."""

import pytest
import trio

from node.p2p.errors import FrameTooLarge, PublishRefused, UnknownTopic
from node.p2p.host import Host
from tests.integration.p2p.network import DEADLINE_S, TOPIC, Network, accept_all, joined, reached, receive


async def test_star_leaves_hear_each_other_through_the_hub(network: Network) -> None:
    """Leaves dial only the hub, whose mesh must be wide enough for all of them."""
    with trio.fail_after(DEADLINE_S):
        hub = await network.start("hub", degree=16, degree_low=8, degree_high=64)
        leaves = [await network.start(f"leaf {i}", dial=[hub]) for i in range(6)]
        await joined(*((leaf, hub) for leaf in leaves))

        for leaf in leaves:
            for number in range(5):
                await leaf.gossip.publish(TOPIC, f"{leaf.peer_id} {number}".encode())

        sent = {f"{leaf.peer_id} {number}".encode() for leaf in leaves for number in range(5)}
        assert sent == set(await receive(hub, 30))
        for leaf in leaves:
            own = {frame for frame in sent if frame.startswith(leaf.peer_id.encode())}
            assert sent - own == set(await receive(leaf, 25))


async def test_ring_of_eight_delivers_everything_once(network: Network) -> None:
    """Frames cross up to four hops, and arrive from both directions."""
    with trio.fail_after(DEADLINE_S):
        ring = [await network.start("ring 0")]
        for i in range(1, 8):
            ring.append(await network.start(f"ring {i}", dial=[ring[-1]]))
        ring[0].want(ring[-1].addresses[0])
        await joined(*zip(ring, ring[1:] + ring[:1], strict=True))

        for host in ring:
            await host.gossip.publish(TOPIC, b"from " + host.peer_id.encode())

        sent = {b"from " + host.peer_id.encode() for host in ring}
        for host in ring:
            assert sorted(sent - {b"from " + host.peer_id.encode()}) == sorted(await receive(host, 7))
        for host in ring:
            assert 7 == host.gossip.counts(TOPIC)["accept"]


async def test_burst_is_paced_and_loses_nothing(network: Network) -> None:
    """The library's outbound queue holds 32 frames and drops the rest without a word."""
    with trio.fail_after(DEADLINE_S):
        sender = await network.start("sender")
        receiver = await network.start("receiver", dial=[sender])
        await joined((sender, receiver))

        for number in range(300):
            await sender.gossip.publish(TOPIC, b"%03d" % number)

        assert [b"%03d" % number for number in range(300)] == await receive(receiver, 300)


async def test_same_frame_of_two_publishers_is_delivered_once(network: Network) -> None:
    """Gossipsub names a message by author and sequence number, so it takes the second copy for a new one."""
    with trio.fail_after(DEADLINE_S):
        receiver = await network.start("receiver")
        senders = [await network.start(f"sender {i}", dial=[receiver]) for i in range(2)]
        await joined(*((sender, receiver) for sender in senders))

        await senders[0].gossip.publish(TOPIC, b"same")
        assert [b"same"] == await receive(receiver, 1)
        await senders[1].gossip.publish(TOPIC, b"same")
        await senders[1].gossip.publish(TOPIC, b"last")

        assert [b"last"] == await receive(receiver, 1)
        assert 1 == receiver.gossip.counts(TOPIC)["duplicate"]


async def _line(network: Network) -> tuple[Host, Host, Host]:
    """careless - middle - end; the first publishes anything, the others have the test's rules."""
    middle = await network.start("middle", reject_limit=100)
    careless = await network.start("careless", dial=[middle], validate=accept_all)
    end = await network.start("end", dial=[middle])
    await joined((careless, middle), (end, middle))
    return careless, middle, end


async def test_ignored_frame_is_neither_delivered_nor_forwarded_nor_punished(network: Network) -> None:
    """IGNORE, as node.p2p.verdicts maps it."""
    with trio.fail_after(DEADLINE_S):
        careless, middle, end = await _line(network)

        await careless.gossip.publish(TOPIC, b"I am late")
        await careless.gossip.publish(TOPIC, b"good")

        assert [b"good"] == await receive(middle, 1)
        assert [b"good"] == await receive(end, 1)  # same streams, so the late one would have come first
        assert {"ignore": 1, "accept": 1} == dict(middle.gossip.counts(TOPIC))
        assert {"accept": 1} == dict(end.gossip.counts(TOPIC))
        assert 0 == middle.conduct.strikes(careless.peer_id)


async def test_rejected_frame_is_not_forwarded_and_its_sender_is_struck(network: Network) -> None:
    """REJECT, below the limit."""
    with trio.fail_after(DEADLINE_S):
        careless, middle, end = await _line(network)

        await careless.gossip.publish(TOPIC, b"R breaks a rule")
        await careless.gossip.publish(TOPIC, b"good")

        assert [b"good"] == await receive(end, 1)
        assert {"reject": 1, "accept": 1} == dict(middle.gossip.counts(TOPIC))
        assert {"accept": 1} == dict(end.gossip.counts(TOPIC))
        assert 1 == middle.conduct.strikes(careless.peer_id)
        assert 0 == end.conduct.strikes(middle.peer_id)


async def test_peer_is_cut_and_banned_at_the_limit(network: Network) -> None:
    """Three broken rules with a limit of three; the banned peer's redials are refused."""
    with trio.fail_after(DEADLINE_S):
        strict = await network.start("strict", reject_limit=3)
        careless = await network.start("careless", dial=[strict], validate=accept_all)
        await joined((careless, strict))

        for number in range(3):
            await careless.gossip.publish(TOPIC, b"R%d" % number)

        await strict.links.wait_until(lambda: not strict.links.connected())
        assert strict.conduct.is_banned(careless.peer_id)
        await careless.links.wait_until(lambda: not careless.links.connected())
        bystander = await network.start("bystander", dial=[strict])
        await joined((bystander, strict))
        assert (bystander.peer_id,) == strict.links.connected()


async def test_frames_beyond_a_full_channel_are_refused_and_counted(network: Network) -> None:
    """The application's backlog is bounded; what was refused is not settled, so that catch-up can bring it."""
    with trio.fail_after(DEADLINE_S):
        slow = await network.start("slow", channel_frames=2)
        sender = await network.start("sender", dial=[slow])
        await joined((sender, slow))

        for number in range(5):
            await sender.gossip.publish(TOPIC, b"%d" % number)
        await reached(lambda: slow.gossip.counts(TOPIC).get("overload", 0) >= 3)

        assert [b"0", b"1"] == await receive(slow, 2)
        assert 2 == slow.gossip.counts(TOPIC)["accept"]


async def test_tap_sees_frames_of_every_verdict_and_own_frames(network: Network) -> None:
    """An observer records what went over the wire, whatever the validators say."""
    with trio.fail_after(DEADLINE_S):
        observer = await network.start("observer")
        careless = await network.start("careless", dial=[observer], validate=accept_all)
        await joined((careless, observer))
        seen: list[tuple[str, bytes]] = []
        observer.gossip.add_tap(lambda topic, frame: seen.append((topic, frame)))

        for frame in (b"R", b"I", b"good"):
            await careless.gossip.publish(TOPIC, frame)
        await receive(observer, 1)
        await observer.gossip.publish(TOPIC, b"own")

        assert [(TOPIC, b"R"), (TOPIC, b"I"), (TOPIC, b"good"), (TOPIC, b"own")] == seen


async def test_validator_with_a_bug_is_contained_and_counted(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """A frame that trips our own bug must not stop the node; the log says so loudly."""

    def buggy(frame: bytes, from_peer: str) -> None:
        if frame == b"boom":
            raise ZeroDivisionError

    with trio.fail_after(DEADLINE_S):
        victim = await network.start("victim", validate=buggy)
        sender = await network.start("sender", dial=[victim])
        await joined((sender, victim))

        await sender.gossip.publish(TOPIC, b"boom")
        await sender.gossip.publish(TOPIC, b"fine")

        assert [b"fine"] == await receive(victim, 1)
        assert 1 == victim.gossip.counts(TOPIC)["fault"]
        assert 0 == victim.conduct.strikes(sender.peer_id)
        assert any("ZeroDivisionError" in (record.exc_text or "") for record in caplog.records)


@pytest.mark.parametrize(("frame", "verdict"), [(b"R", "REJECT"), (b"I", "IGNORE")])
async def test_own_frame_that_peers_would_refuse_is_not_sent(network: Network, frame: bytes, verdict: str) -> None:
    """The caller learns of its mistake before it costs standing."""
    with trio.fail_after(DEADLINE_S):
        sender = await network.start("sender")
        receiver = await network.start("receiver", dial=[sender])
        await joined((sender, receiver))

        with pytest.raises(PublishRefused) as refusal:
            await sender.gossip.publish(TOPIC, frame)
        await sender.gossip.publish(TOPIC, b"good")

        assert verdict == refusal.value.verdict
        assert [b"good"] == await receive(receiver, 1)
        assert {"accept": 1} == dict(receiver.gossip.counts(TOPIC))


async def test_own_frame_over_the_limit_or_on_no_topic_is_refused(network: Network) -> None:
    """Limits hold for ourselves too."""
    sender = await network.start("sender")

    with pytest.raises(FrameTooLarge):
        await sender.gossip.publish(TOPIC, bytes(4097))
    with pytest.raises(UnknownTopic):
        await sender.gossip.publish("/elsewhere/1", b"x")
