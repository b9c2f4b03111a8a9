"""A sender that stops at any point and starts again sends every transaction once."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import (
    ExecutionReverted,
    FeeTooHigh,
    NonceTaken,
    NotYetMined,
    Superseded,
    TransactionFailed,
    TransactionRefused,
)
from node.chain.launch import L1Process
from node.chain.records import Fees
from node.chain.rpc import Rpc
from node.chain.sender import Payload, Sender, SignedTransaction
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import GWEI, Probe, calldata, nonce_of, receipt_of, send, signed

PAYEE = b"\x42" * 20


class Stopped(Exception):
    """The process is killed here."""


class Story:
    """One account over several lives of its sender, with the store that outlives them."""

    def __init__(self, l1: L1Process, transport: HttpTransport) -> None:
        self.l1 = l1
        self.transport = transport
        self.store: list[SignedTransaction] = []
        self.account = l1.accounts[9]
        self.stop_after_store = False
        self.rpc = Rpc(transport, sleep=self.mine)

    async def mine(self, seconds: float) -> None:
        """Waiting means that a block comes."""
        self.transport.request("evm_mine")

    async def persist(self, transaction: SignedTransaction) -> None:
        """The store's write; the process may die right after it."""
        await trio.lowlevel.checkpoint()
        self.store.append(transaction)
        if self.stop_after_store:
            raise Stopped

    def start(self, **options: Any) -> Sender:
        """A new life with what was stored."""
        return Sender(
            self.rpc, self.account.key, chain_id=DEV_CHAIN_ID, persist=self.persist, known=self.store, **options
        )

    async def received(self) -> int:
        """Wei that arrived at the payee."""
        return await self.rpc.balance(PAYEE)


@pytest.fixture
def story(running_l1: L1Process, transport: HttpTransport) -> Story:
    """An account that has sent nothing through a Sender yet."""
    return Story(running_l1, transport)


async def test_a_purpose_is_sent_once_however_often_it_is_asked(story: Story) -> None:
    """Same purpose, same transaction, in the same life and in the next."""
    sender = story.start()
    first = await sender.send("pay", Payload(to=PAYEE, value=7))
    assert await sender.send("pay", Payload(to=PAYEE, value=7)) == first
    receipt = await sender.wait("pay")
    assert (receipt.tx_hash, receipt.succeeded) == (first.tx_hash, True)
    again = story.start()
    assert await again.send("pay", Payload(to=PAYEE, value=7)) == first
    assert await again.rebroadcast() == ()
    assert await story.received() == 7
    assert len(story.store) == 1


async def test_killed_between_store_and_send(story: Story) -> None:
    """The stored bytes are what lands; nothing else is signed for the purpose."""
    story.transport.request("evm_setAutomine", False)
    story.stop_after_store = True
    with pytest.raises(Stopped):
        await story.start().send("pay", Payload(to=PAYEE, value=7))
    assert not await story.rpc.is_known(story.store[0].tx_hash)
    story.stop_after_store = False
    second_life = story.start()
    assert await second_life.rebroadcast() == tuple(story.store)
    assert await second_life.rebroadcast() == tuple(story.store)
    other = await second_life.send("other", Payload(to=PAYEE, value=1))
    assert other.nonce == story.store[0].nonce + 1
    assert (await second_life.wait("pay")).tx_hash == story.store[0].tx_hash
    await second_life.wait("other")
    assert await story.received() == 8


async def test_a_stored_nonce_stays_taken_before_it_is_sent_again(story: Story) -> None:
    """The next life may send something else first; the stored transaction keeps its place."""
    stored = await story.start().prepare("pay", Payload(to=PAYEE, value=7))
    assert not await story.rpc.is_known(stored.tx_hash)
    second_life = story.start()
    other = await second_life.send("other", Payload(to=PAYEE, value=1))
    assert other.nonce == stored.nonce + 1
    assert await second_life.prepare("pay", Payload(to=PAYEE, value=7)) == stored
    assert await second_life.send("pay", Payload(to=None)) == stored
    await second_life.wait("other")
    assert await story.received() == 8


async def test_killed_before_the_store_wrote(story: Story) -> None:
    """Nothing was sent, and the purpose is free."""

    async def broken(transaction: SignedTransaction) -> None:
        raise Stopped

    sender = Sender(story.rpc, story.account.key, chain_id=DEV_CHAIN_ID, persist=broken)
    nonce = nonce_of(story.transport, story.account)
    with pytest.raises(Stopped):
        await sender.send("pay", Payload(to=PAYEE, value=7))
    assert sender.transactions("pay") == ()
    assert await story.rpc.nonce(story.account.address, "pending") == nonce
    assert (await story.start().send("pay", Payload(to=PAYEE, value=7))).nonce == nonce


async def test_a_cancelled_send_does_not_forget_what_it_stored(story: Story) -> None:
    """Cancellation inside the store's write leaves the purpose taken."""
    sender = story.start()
    with trio.CancelScope() as scope:

        async def cancelled_meanwhile(transaction: SignedTransaction) -> None:
            scope.cancel()
            await story.persist(transaction)

        sender._persist = cancelled_meanwhile
        await sender.send("pay", Payload(to=PAYEE, value=7, gas=21_000))
    assert list(sender.transactions("pay")) == story.store
    assert len(story.store) == 1


async def test_a_replacement_raises_fees_and_one_of_both_lands(story: Story) -> None:
    """Stored before it is sent, same effect, same nonce; either receipt answers for the purpose."""
    story.transport.request("evm_setAutomine", False)
    sender = story.start()
    first = await sender.send("pay", Payload(to=PAYEE, value=7))
    second = await sender.replace("pay")
    third = await sender.replace("pay", fees=Fees(base_wei=GWEI, tip_wei=9 * GWEI))
    assert {first.nonce} == {second.nonce, third.nonce}
    assert second.max_fee_wei * 100 >= first.max_fee_wei * 110
    assert third.tip_wei == 9 * GWEI
    assert story.store == [first, second, third]
    again = story.start()
    assert again.transactions("pay") == (first, second, third)
    assert (await again.wait("pay")).tx_hash == third.tx_hash
    assert await story.received() == 7
    with pytest.raises(KeyError):
        await again.replace("unknown")


async def test_confirmations_and_reorganisation(story: Story) -> None:
    """A receipt whose block is gone does not count; the same bytes land again."""
    sender = story.start()
    before = story.transport.request("evm_snapshot")
    sent = await sender.send("pay", Payload(to=PAYEE, value=7))
    assert (await sender.wait("pay")).tx_hash == sent.tx_hash
    story.transport.request("evm_revert", before)
    with pytest.raises(NotYetMined):
        await sender.wait("pay", max_polls=2)
    assert await sender.rebroadcast() == (sent,)
    receipt = await sender.wait("pay", confirmations=3)
    assert (await story.rpc.head()).number >= receipt.block_number + 3
    assert await story.received() == 7


async def test_a_nonce_used_from_elsewhere_is_reported(story: Story) -> None:
    """Another program with the same key took the nonce: the stored transaction can never land."""
    story.transport.request("evm_setAutomine", False)
    sender = story.start()
    sent = await sender.send("pay", Payload(to=PAYEE, value=7))
    stranger = signed(
        story.account, sent.nonce, to=PAYEE, value=1, gas=21_000, maxFeePerGas=50 * GWEI, maxPriorityFeePerGas=40 * GWEI
    )
    tx_hash = story.transport.request("eth_sendRawTransaction", "0x" + stranger.hex())
    story.transport.request("evm_mine")
    receipt_of(story.transport, tx_hash)
    with pytest.raises(Superseded):
        await sender.wait("pay")
    with pytest.raises(Superseded):
        await story.start().rebroadcast()
    with pytest.raises(TransactionRefused):
        await sender.send("pay", Payload(to=PAYEE, value=7))


async def test_two_stored_transactions_at_one_nonce_are_refused(story: Story) -> None:
    """Unless one says that it replaces the other, the store is corrupt and nothing is signed."""
    sender = story.start()
    sent = await sender.send("pay", Payload(to=PAYEE, value=7))
    nonce = nonce_of(story.transport, story.account) - 1
    raw = signed(story.account, nonce, to=PAYEE, value=8)
    twin = SignedTransaction(
        purpose="twin",
        account=story.account.address,
        nonce=nonce,
        tx_hash=b"\x01" * 32,
        raw=raw,
        max_fee_wei=sent.max_fee_wei + 1,
        tip_wei=1,
    )
    story.store.append(twin)
    with pytest.raises(NonceTaken) as taken:
        story.start()
    assert taken.value.owner == sent.tx_hash
    with pytest.raises(NonceTaken):
        sender._sign("twin", Payload(to=PAYEE), 21_000, sent.nonce, 2 * GWEI, GWEI, None)


async def test_failures_are_told_before_signing_where_possible(story: Story, probe: Probe) -> None:
    """A revert in the estimate and a fee above the limit sign nothing; a failing transaction is reported as such."""
    sender = story.start(max_fee_limit_wei=10 * GWEI)
    refuse = calldata("refuse(uint256)", 1)
    with pytest.raises(ExecutionReverted):
        await sender.send("call", Payload(to=probe.address, data=refuse))
    with pytest.raises(FeeTooHigh):
        await story.start(max_fee_limit_wei=1).send("call", Payload(to=PAYEE))
    assert story.store == []
    await sender.send("call", Payload(to=probe.address, data=refuse, gas=100_000))
    with pytest.raises(TransactionFailed):
        await sender.wait("call")


async def test_a_contract_can_be_created(story: Story) -> None:
    """No destination: the receipt names the new address; a replacement creates the same."""
    story.transport.request("evm_setAutomine", False)
    sender = story.start()
    await sender.send("create", Payload(to=None, data=bytes.fromhex("60015ff3")))
    await sender.replace("create")
    receipt = await sender.wait("create")
    assert receipt.created is not None
    assert await story.rpc.code(receipt.created) == b"\x00"


def test_the_story_starts_with_an_unused_payee(story: Story) -> None:
    """Otherwise the sums above mean nothing."""
    send(story.transport, story.account, to=PAYEE, value=1)
    assert int(story.transport.request("eth_getBalance", "0x" + PAYEE.hex(), "latest"), 16) == 1


async def test_what_a_transaction_called_with_can_be_read_back(story: Story) -> None:
    """By its hash; an unknown one called nothing."""
    sent = await story.start().send("call", Payload(to=PAYEE, data=b"\x01\x02\x03", value=1))

    assert b"\x01\x02\x03" == await story.rpc.calldata(sent.tx_hash)
    assert await story.rpc.calldata(bytes(32)) is None
