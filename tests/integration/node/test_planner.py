"""Plan on a real chain, land the plan, rebuild the rollup from logs alone."""

from __future__ import annotations

import pytest
import trio

from node.chain.launch import L1Process
from node.chain.localevm import LocalEvm
from node.chain.transport import HttpTransport
from node.errors import PlanError
from node.follower import Follower
from node.planner import Intent, Plan, RollupContext, TransactionIntent, Window, plan_call
from protocol.actions import ActionKind
from protocol.types import ZERO_ADDRESS, Address
from protocol.vm.eddsa import SigningKey
from protocol.vm.programs import COUNTER_SLOT, PRICE_SLOT, SETTLED_SLOT
from protocol.vm.state import INTEGER_WORD, account_key, storage_key, unpack_account
from protocol.vm.transactions import sign_transaction, transaction_domain
from tests.support.scene import COUNTER, INCREMENT, READER, SETTLE, Scene, build_scene, follow, land


async def _plan(scene: Scene, follower: Follower, destination: Address, data: bytes) -> Plan:
    intent = Intent(
        sender=Address(scene.user.address),
        rollup_id=scene.rollup_id,
        destination=destination,
        value_wei=0,
        data=data,
    )
    return await _plan_intent(scene, follower, intent)


async def _plan_intent(scene: Scene, follower: Follower, intent: Intent | TransactionIntent) -> Plan:
    head = await scene.rpc.head()
    snapshot = await follower.at_block(head.number)
    view = await scene.contracts.rollup(scene.rollup_id)
    state = snapshot.rollups[scene.rollup_id].state
    assert state is not None
    context = RollupContext(
        state=state, epoch=view.epoch, config=await scene.contracts.config(scene.rollup_id, view.epoch)
    )
    evm = LocalEvm(scene.rpc.transport, head, chain_id=scene.contracts.chain_id)
    window = Window(l2_time=head.timestamp, not_before=head.timestamp, valid_until=head.timestamp + 600)
    return await trio.to_thread.run_sync(
        lambda: plan_call(
            intent,
            evm=evm,
            rollups=scene.deployment.rollups,
            contexts={scene.rollup_id: context},
            window=window,
            fee_recipient=ZERO_ADDRESS,
        )
    )


@pytest.mark.parametrize(("price", "settled"), [(2000, 1), (1000, 0)])
async def test_oracle_answer_decides_the_state_and_logs_alone_rebuild_it(
    price: int, settled: int, l1: L1Process, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    scene = await build_scene(transport, l1.accounts, price)
    follower = await follow(scene, nursery)

    plan = await _plan(scene, follower, READER, SETTLE)

    kinds = [(entry.trigger.kind, entry.next_action.kind) for entry in plan.core.entries]
    assert kinds == [(ActionKind.CALL, ActionKind.CALL), (ActionKind.RESULT, ActionKind.RESULT)]
    assert await land(scene, plan.core_bytes, plan.expects, plan.triggers, plan.value_wei)
    followed = (await follower.at_block((await scene.rpc.head()).number)).rollups[scene.rollup_id]
    assert followed.fault is None
    assert followed.state is not None
    assert followed.state.root == (await scene.contracts.rollup(scene.rollup_id)).root
    opened = followed.state.tree.open(storage_key(int.from_bytes(READER, "big"), PRICE_SLOT))
    assert opened.values == (price, INTEGER_WORD)
    flag = followed.state.tree.open(storage_key(int.from_bytes(READER, "big"), SETTLED_SLOT))
    assert flag.values == (settled, INTEGER_WORD)
    nursery.cancel_scope.cancel()


async def test_a_signed_transaction_lands_and_is_followed(
    l1: L1Process, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    """Its signer has no account on L1; what it did comes out of the logs."""
    scene = await build_scene(transport, l1.accounts, 1)
    follower = await follow(scene, nursery)
    key = SigningKey(b"\x2a" * 32)
    data = sign_transaction(
        key,
        domain=transaction_domain(scene.contracts.chain_id, scene.deployment.rollups),
        rollup_id=scene.rollup_id,
        nonce=0,
        destination=COUNTER,
        selector=int.from_bytes(INCREMENT, "big"),
    )
    intent = TransactionIntent(sender=Address(scene.user.address), rollup_id=scene.rollup_id, data=data)

    plan = await _plan_intent(scene, follower, intent)

    assert await land(scene, plan.core_bytes, plan.expects, plan.triggers, plan.value_wei)
    followed = (await follower.at_block((await scene.rpc.head()).number)).rollups[scene.rollup_id]
    assert followed.fault is None
    assert followed.state is not None
    assert followed.state.root == (await scene.contracts.rollup(scene.rollup_id)).root
    nonce, _ = unpack_account(followed.state.tree.get(account_key(int.from_bytes(key.address, "big")))[0])
    count = followed.state.tree.get(storage_key(int.from_bytes(COUNTER, "big"), COUNTER_SLOT))
    assert (nonce, count) == (1, (1, INTEGER_WORD))
    nursery.cancel_scope.cancel()


async def test_failing_call_is_a_plan_error_with_its_revert(
    l1: L1Process, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    scene = await build_scene(transport, l1.accounts, 1)
    follower = await follow(scene, nursery)

    with pytest.raises(PlanError, match="the transaction fails"):
        await _plan(scene, follower, COUNTER, SETTLE)
    nursery.cancel_scope.cancel()


async def test_plan_that_went_stale_does_notland(
    l1: L1Process, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    scene = await build_scene(transport, l1.accounts, 2000)
    follower = await follow(scene, nursery)
    first = await _plan(scene, follower, COUNTER, INCREMENT)
    stale = await _plan(scene, follower, READER, SETTLE)
    assert await land(scene, first.core_bytes, first.expects, first.triggers, first.value_wei)

    with pytest.raises(Exception, match="PrecheckFailed|StaleTable|revert"):
        await land(scene, stale.core_bytes, stale.expects, stale.triggers, stale.value_wei)
    nursery.cancel_scope.cancel()
