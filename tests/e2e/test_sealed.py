"""Between the award and the landing: who holds the table, and what a copy of the user's transaction does.

The user's node is told not to submit, so that its order stands still with a verified proof while the tests look.
"""

from __future__ import annotations

from collections.abc import Iterable

from market.lifecycle import State
from node.chain.devaccounts import dev_accounts
from node.chain.errors import ExecutionReverted
from node.chain.records import Receipt
from node.chain.sender import Payload, Sender, SignedTransaction
from node.demo.findings import private_fields_of
from node.demo.leaks import Leak, PrivateField, files_under, find_leaks, private_fields, process_memory
from node.evidence import read_frames
from protocol.contracts.artifacts import decode_revert
from tests.support.forks import ForkedNode
from tests.support.nodeworld import World

ORDER_TIMEOUT_S = 120
COPY_GAS = 3_000_000


async def _proven_order(world: World) -> bytes:
    """A new order with its proof verified and its transaction kept back."""
    await world.with_ticket()
    order_id = await world.wish(await world.new_option())
    await world.reach(order_id, {State.VERIFIED}, timeout_s=ORDER_TIMEOUT_S)
    return order_id


async def _land(world: World, order_id: bytes) -> None:
    await world.submit(order_id)
    order = await world.end(order_id, timeout_s=ORDER_TIMEOUT_S)
    assert State.PAID is order.state, order.reason


async def _secrets_of(world: World, order_id: bytes) -> tuple[PrivateField, ...]:
    """Every field of the order of 16 significant bytes or more that L1 does not show to everybody already."""
    plan, seal_secret = world.view.plan(order_id), world.view.seal_secret(order_id)
    assert plan is not None
    assert seal_secret is not None
    fields = private_fields(private_fields_of(plan, seal_secret))
    head = await world.stage.rpc.head()
    logs = await world.stage.rpc.logs(0, head.number, addresses=[world.stage.contracts.rollups])
    public = {leak.field for leak in find_leaks(fields, [("L1", b"".join(log.data for log in logs))])}
    assert "entry 0 next action target" in public  # the oracle: its address is in the option's genesis
    return tuple(field for field in fields if field.name not in public)


def _memory(node: ForkedNode) -> Iterable[tuple[str, bytes]]:
    assert node.process is not None
    return ((f"{node.name} {place}", content) for place, content in process_memory(node.process.pid))


def _found(leaks: Iterable[Leak]) -> set[str]:
    return {leak.field for leak in leaks}


async def test_before_landing_only_user_and_winner_hold_a_private_field(world: World) -> None:
    """Not the relay, no gossip frame, not the loser: neither its memory nor its disk."""
    order_id = await _proven_order(world)
    fields = await _secrets_of(world, order_id)
    deal = world.view.deal(order_id)
    assert deal is not None
    winner, loser = sorted(world.provers, key=lambda node: world.address(node) != deal.winner.prover)
    frames = [(f"frame on {topic}", frame) for topic, frame in read_frames(world.relay.folder)]

    assert len(fields) >= 16
    assert {"salt", "core id", "request key", "entry 0 new root", "entry 1 trigger data"} <= {f.name for f in fields}
    assert sum(order_id in frame for _, frame in frames) >= 3  # request, two bids, award: the right frames
    assert () == find_leaks(fields, frames)
    assert () == find_leaks(fields, files_under(world.relay.folder))
    assert () == find_leaks(fields, files_under(loser.folder))
    assert () == find_leaks(fields, _memory(loser))
    assert () == find_leaks(fields, _memory(world.relay))
    # The same search does find them where they must be. The request's key was used to open the bids and let go.
    held = _found(find_leaks(fields, _memory(winner))) | _found(find_leaks(fields, _memory(world.user)))
    assert {field.name for field in fields} - {"request key"} <= held

    await _land(world, order_id)


async def _forget(_transaction: SignedTransaction) -> None:
    """The copyist has nothing to lose."""


async def _send_copy(world: World, call: Payload) -> Receipt:
    """The same calldata from another account, mined before the original is sent."""
    stage = world.stage
    copyist = Sender(stage.rpc, dev_accounts()[7].key, chain_id=stage.contracts.chain_id, persist=_forget)
    sent = await copyist.send(call.data[:8].hex(), call)
    return await stage.rpc.wait_receipt(sent.tx_hash)


async def test_a_copy_of_the_transaction_that_lands_first_steals_and_harms_nothing(world: World) -> None:
    """The executor is bound: the copy reverts with a named error, then the original lands and pays the payee once."""
    order_id = await _proven_order(world)
    rpc, contracts = world.stage.rpc, world.stage.contracts
    planned = world.view.plan(order_id)
    assert planned is not None
    # With a gas limit, so that it is sent although an estimate would refuse it.
    data = world.view.landing_data(order_id)
    call = Payload(to=contracts.rollups, data=data, value=planned.value_wei, gas=COPY_GAS)
    deal = world.view.deal(order_id)
    assert deal is not None
    payee_before = await contracts.payout_of(deal.opening.payee)
    money_before = await world.money()

    receipt = await _send_copy(world, call)
    refusal = None
    try:
        await rpc.call(contracts.rollups, call.data, sender=dev_accounts()[7].address, value=call.value)
    except ExecutionReverted as reverted:
        refusal = reverted.data

    assert not receipt.succeeded
    assert refusal is not None
    assert "NotExecutor" == decode_revert(refusal).name
    plan = world.view.plan(order_id)
    assert plan is not None
    assert not await contracts.is_paid(deal.agreement, deal.agreement_hash, plan.core_id)
    assert payee_before == await contracts.payout_of(deal.opening.payee)

    await _land(world, order_id)

    landed = await rpc.wait_receipt(world.view.landing(order_id).tx_hash)
    assert landed.succeeded
    assert landed.block_number > receipt.block_number
    assert payee_before + deal.opening.price_wei == await contracts.payout_of(deal.opening.payee)
    assert money_before == await world.money()
