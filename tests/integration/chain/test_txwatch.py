"""An account's transactions until they are final: reorgs, slow inclusion, nonces of what is given up, private pools."""

from __future__ import annotations

import pytest
import trio

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import Superseded, TransactionRefused
from node.chain.launch import L1Process, start_l1
from node.chain.rpc import Rpc
from node.chain.sender import Payload, Sender
from node.chain.transport import HttpTransport
from node.txwatch import RESEND_MS, ReleaseBook, TransactionWatch, WatchTerms
from tests.integration.chain.probe import GWEI, signed
from tests.integration.chain.test_sender import PAYEE, Story

DEPTH = 3
PAY = Payload(to=PAYEE, value=7, gas=21_000)


@pytest.fixture
def story(running_l1: L1Process, transport: HttpTransport) -> Story:
    """An account that has sent nothing yet."""
    return Story(running_l1, transport)


class HandClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.ms = 10**12

    def now_ms(self) -> int:
        """Where it stands."""
        return self.ms

    async def sleep_until(self, unix_ms: int) -> None:
        """Jumps."""
        await trio.lowlevel.checkpoint()
        self.ms = max(self.ms, unix_ms)


class Watched:
    """A sender with its watch."""

    def __init__(self, story: Story, sent: set[str], *, bump_after_ms: int = 0, live: tuple[str, ...] = ()) -> None:
        self.sender = story.start()
        self.clock = HandClock()
        self.finished: list[str] = []
        self.released: list[str] = []
        self.live = live
        self.watch = TransactionWatch(
            sender=self.sender,
            rpc=story.rpc,
            clock=self.clock,
            terms=WatchTerms(final_depth=DEPTH, bump_after_ms=bump_after_ms, max_bumps=2, poll_ms=1_000),
            book=ReleaseBook(sent, self._release),
            finish=self._finish,
            live=self._live,
        )

    async def _release(self, purpose: str) -> None:
        self.released.append(purpose)

    async def _finish(self, purpose: str) -> None:
        assert self.sender.transactions(purpose), "recorded before it is forgotten"
        self.finished.append(purpose)

    async def _live(self) -> tuple[str, ...]:
        return self.live

    async def after(self, ms: int) -> None:
        """A look later."""
        self.clock.ms += ms
        await self.watch.look()


async def test_what_is_final_is_forgotten_and_not_before(story: Story) -> None:
    """Three blocks on top; while its order lives it is kept however deep it lies."""
    watched = Watched(story, {"pay 01"}, live=("01",))
    await watched.sender.send("pay 01", PAY)
    for _ in range(DEPTH):
        await watched.after(1_000)
        story.transport.request("evm_mine")
    await watched.after(1_000)
    assert [] == watched.finished
    watched.live = ()
    await watched.after(1_000)

    assert ["pay 01"] == watched.finished
    assert () == watched.sender.purposes
    assert 1 == (await watched.sender.send("pay 02", PAY)).nonce - story.store[0].nonce


async def test_a_transaction_whose_block_is_gone_is_sent_again_at_once(story: Story) -> None:
    """The same bytes, without waiting for the next resend."""
    watched = Watched(story, {"pay 01"})
    before = story.transport.request("evm_snapshot")
    sent = await watched.sender.send("pay 01", PAY)
    await watched.after(1_000)
    story.transport.request("evm_revert", before)
    assert 0 == await story.received()
    await watched.after(1_000)

    assert (await watched.sender.wait("pay 01")).tx_hash == sent.tx_hash
    assert 7 == await story.received()
    assert [sent] == story.store


async def test_what_is_not_included_pays_more_and_at_most_as_often_as_said(story: Story) -> None:
    """13 % on both fees each time, stored before it is sent; then only the same bytes again."""
    story.transport.request("evm_setAutomine", False)
    watched = Watched(story, {"pay 01"}, bump_after_ms=5_000)
    await watched.sender.send("pay 01", PAY)
    for _ in range(12):
        await watched.after(2_500)

    fees = [(each.max_fee_wei, each.tip_wei) for each in story.store]
    assert 3 == len(fees)
    assert all(
        new >= old * 1125 // 1000
        for one, other in zip(fees, fees[1:], strict=False)
        for old, new in zip(one, other, strict=True)
    )
    story.transport.request("evm_mine")
    assert (await watched.sender.wait("pay 01")).tx_hash == story.store[-1].tx_hash
    assert 7 == await story.received()


async def test_a_client_that_forgot_gets_the_bytes_again(story: Story) -> None:
    """After a while, without a new fee."""
    watched = Watched(story, {"pay 01"})
    before = story.transport.request("evm_snapshot")
    story.transport.request("evm_setAutomine", False)
    sent = await watched.sender.send("pay 01", PAY)
    await watched.after(0)
    story.transport.request("evm_revert", before)
    story.transport.request("evm_setAutomine", True)
    await watched.after(RESEND_MS)

    assert (await watched.sender.wait("pay 01")).tx_hash == sent.tx_hash


async def test_what_was_never_sent_waits_while_its_order_lives(story: Story) -> None:
    """A prepared transaction may be meant to wait for its moment."""
    watched = Watched(story, set(), live=("01",))
    await watched.sender.prepare("land 01", PAY)
    await watched.after(RESEND_MS)

    assert 0 == await story.received()
    assert ("land 01",) == watched.sender.purposes
    assert [] == watched.released


async def test_a_nonce_that_was_never_used_is_given_back(story: Story) -> None:
    """The last one is simply free again; the next transaction lands at it."""
    watched = Watched(story, set())
    given_up = await watched.sender.prepare("land 01", PAY)
    await watched.after(1_000)
    paid = await watched.sender.send("pay 02", PAY)

    assert ["land 01"] == watched.finished
    assert given_up.nonce == paid.nonce
    assert (await watched.sender.wait("pay 02")).tx_hash == paid.tx_hash
    assert 7 == await story.received()


async def test_a_nonce_below_others_is_used_up_by_nothing(story: Story) -> None:
    """A later transaction waits for it: a plain transaction of the account to itself takes its place."""
    watched = Watched(story, {"pay 02"}, live=("02",))
    await watched.sender.prepare("land 01", PAY)
    later = await watched.sender.send("pay 02", Payload(to=PAYEE, value=9, gas=21_000))
    assert 0 == await story.received()
    await watched.after(1_000)

    assert ["land 01"] == watched.released
    assert (await watched.sender.wait("pay 02")).tx_hash == later.tx_hash
    assert 9 == await story.received()  # the 7 were never sent


async def test_signing_aside_takes_no_nonce(story: Story) -> None:
    """Kept bytes land if nothing else of the account comes first, and hold nothing up if something does."""
    sender = story.start()
    kept = await sender.sign_aside("land 01", PAY)
    assert () == sender.purposes
    assert [] == story.store
    paid = await sender.send("pay 02", Payload(to=PAYEE, value=9, gas=21_000))

    assert kept.nonce == paid.nonce
    assert (await sender.wait("pay 02")).tx_hash == paid.tx_hash
    assert (await sender.sign_aside("land 01", PAY)).nonce == kept.nonce + 1


async def test_a_private_pool_gets_it_and_nobody_else(story: Story) -> None:
    """The reading client does not have it; one client that takes it is enough, none is an error."""
    gone = Rpc(HttpTransport("http://127.0.0.1:9", timeout_s=0.2))
    with await trio.to_thread.run_sync(start_l1, "py-evm") as other:
        private = Rpc(HttpTransport(other.url))
        sender = Sender(
            story.rpc,
            story.account.key,
            chain_id=DEV_CHAIN_ID,
            persist=story.persist,
            outlets=[gone, private],
            min_tip_wei=3 * GWEI,
        )
        sent = await sender.send("pay", PAY)

        assert await private.is_known(sent.tx_hash)
        assert not await story.rpc.is_known(sent.tx_hash)
        assert 3 * GWEI == sent.tip_wei
        refused = Sender(story.rpc, b"\x05" * 32, chain_id=DEV_CHAIN_ID, persist=story.persist, outlets=[private])
        with pytest.raises(TransactionRefused):
            await refused.send("pay", PAY)  # an account without ether


async def test_a_nonce_that_somebody_else_used_keeps_no_other_transaction_back(story: Story) -> None:
    """The owner's other program took one: what comes after it is sent all the same, and the loss is told."""
    story.transport.request("evm_setAutomine", False)
    sender = story.start()
    lost = await sender.prepare("land 01", PAY)
    await sender.prepare("pay 02", Payload(to=PAYEE, value=9, gas=21_000))
    stranger = signed(
        story.account, lost.nonce, to=PAYEE, value=1, gas=21_000, maxFeePerGas=50 * GWEI, maxPriorityFeePerGas=GWEI
    )
    story.transport.request("eth_sendRawTransaction", "0x" + stranger.hex())
    story.transport.request("evm_mine")
    with pytest.raises(Superseded):
        await sender.rebroadcast()
    story.transport.request("evm_mine")

    assert (await sender.wait("pay 02")).succeeded
    assert 10 == await story.received()
