"""What the loops ask of L1 about a market agreement and a table, against the real contracts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, Role, State
from node.chain.devaccounts import DevAccount
from node.chain.launch import L1Process
from node.chain.sender import Payload, Sender
from node.chain.transport import HttpTransport
from node.errors import NotNow
from node.escrow import Escrow
from node.l1 import answer_release, cancel_agreement, deposit, force_release, record, take_peek_penalty
from node.l1port import L1Port
from node.ports import AgreementView, ChainCall, ForcedRelease, Landing, PlannedTable, Refused, SystemClock
from node.store.database import Database
from node.store.orders import OrderStore
from node.store.vault import Vault
from protocol.agreement import Ack, Agreement, Settlement, by_key, pack_dated, pack_settlement, ticket_cap_wei
from protocol.constants import RELEASE_WINDOW
from protocol.hashing import selector
from protocol.signing import AccountKey, ack_digest, agreement_digest
from tests.integration.node.test_planner import _plan
from tests.support.market_sim import inline
from tests.support.scene import READER, SETTLE, Scene, build_scene, follow, never

TICKET_CLASS = 1
BOX = b"sealed" * 20


def port_of(scene: Scene, account: DevAccount) -> L1Port:
    """L1 as a node with this account sees it."""
    sender = Sender(scene.rpc, account.key, chain_id=scene.contracts.chain_id, persist=never)
    return L1Port(contracts=scene.contracts, sender=sender, start_block=0, confirmations=0)


async def do(port: L1Port, scene: Scene, purpose: str, data: bytes, value_wei: int = 0) -> None:
    """A transaction to the market that must succeed."""
    call = ChainCall(purpose=purpose, to=scene.deployment.market, data=data, value_wei=value_wei)
    await port.prepare(call)
    await port.send(purpose)
    await port.sender.wait(purpose)
    assert Landing.SUCCEEDED is await port.landing(purpose)


def signed(scene: Scene, agreement: Agreement, requester: AccountKey, prover: AccountKey) -> tuple[bytes, bytes]:
    """(hash, settlement) of an agreement."""
    digest = agreement_digest(scene.contracts.chain_id, scene.deployment.market, agreement)
    settlement = Settlement(
        agreement=agreement,
        salt=bytes(32),
        requester_signature=by_key(requester.sign_digest(digest)),
        prover_signature=by_key(prover.sign_digest(digest)),
    )
    return digest, pack_settlement(settlement)


async def test_forced_releases_and_what_becomes_of_them(l1: L1Process, transport: HttpTransport) -> None:
    """Published, seen by its prover, answered by an Ack; another one given up; calls and views are the contract's."""
    scene = await build_scene(transport, l1.accounts, 1)
    ours, theirs = port_of(scene, l1.accounts[1]), port_of(scene, l1.accounts[2])
    requester, prover = AccountKey(l1.accounts[1].key), AccountKey(l1.accounts[2].key)
    data, value_wei = deposit(TICKET_CLASS, 1)
    for port in (ours, theirs):
        await do(port, scene, "deposit", data, value_wei)
    assert ticket_cap_wei(TICKET_CLASS) == await ours.ticket_wei(requester.address, 0)
    assert ticket_cap_wei(TICKET_CLASS) // 2 == await ours.promise_wei(requester.address, 0)
    assert None is await ours.promise_wei(requester.address, 1)
    now = (await scene.rpc.head()).timestamp
    first = Agreement(
        request_id=b"\x01" * 32,
        rank=1,
        requester=requester.address,
        requester_ticket=0,
        prover=prover.address,
        prover_ticket=0,
        payee=prover.address,
        price_wei=10**15,
        bond_wei=10**15,
        statement_commit=b"\x02" * 32,
        payload_commit=b"\x03" * 32,
        systems_hash=b"\x04" * 32,
        open_from=now,
        ack_by=now + 1_000,
        deliver_by=now + 2_000,
        claim_from=now + 2_000,
        claim_by=now + 5_000,
    )
    agreed, settlement = signed(scene, first, requester, prover)
    other, other_settlement = signed(scene, replace(first, request_id=b"\x05" * 32), requester, prover)
    force = ChainCall(purpose="force", to=scene.deployment.market, data=force_release(settlement, BOX))

    assert AgreementView() == await ours.agreement(agreed)
    assert 21_000 < await ours.cost_wei(force)
    with pytest.raises(Refused, match="NotRequester"):
        await theirs.cost_wei(force)
    await do(ours, scene, "force", force.data)
    view = await theirs.agreement(agreed)
    assert RELEASE_WINDOW == view.respond_by - (await scene.rpc.head()).timestamp
    assert (ForcedRelease(agreement_hash=agreed, respond_by=view.respond_by, box=BOX),) == (
        await theirs.forced_releases(prover.address)
    )
    assert () == await theirs.forced_releases(requester.address)
    with pytest.raises(Refused, match="NotPenalisable"):
        await ours.cost_wei(replace(force, data=take_peek_penalty(settlement)))

    ack = Ack(agreement_hash=agreed, payload_commit=first.payload_commit, ack_at=now)
    signature = prover.sign_digest(ack_digest(scene.contracts.chain_id, scene.deployment.market, ack))
    await do(theirs, scene, "answer", answer_release(settlement, pack_dated(now, by_key(signature))))
    assert (await ours.agreement(agreed)).is_answered
    await do(theirs, scene, "give up", cancel_agreement(other_settlement))
    assert AgreementView(is_cancelled=True) == await ours.agreement(other)
    with pytest.raises(Refused, match="AgreementIsCancelled"):
        await ours.cost_wei(replace(force, data=force_release(other_settlement, BOX)))
    await do(ours, scene, "record", record(other_settlement))


async def test_credits_and_tickets_come_home(l1: L1Process, transport: HttpTransport, tmp_path: Path) -> None:
    """Asked back, not before its delay; a promised one not at all; a credit once; nothing for nothing."""
    scene = await build_scene(transport, l1.accounts, 1)
    port, account = port_of(scene, l1.accounts[1]), AccountKey(l1.accounts[1].key)
    data, value_wei = deposit(TICKET_CLASS, 2)
    await do(port, scene, "deposit", data, value_wei)
    database = Database(f"sqlite:///{tmp_path / 'node.db'}", now_ms=0)
    store = OrderStore(database, Vault(tmp_path / "vault.key"))
    promised = Order(
        order_id=bytes(32),
        role=Role.REQUESTER,
        state=State.DRAFT,
        bid_close_ms=0,
        award_by_ms=0,
        accept_by_ms=0,
        ack_by=0,
        deliver_by=0,
        claim_by=0,
        valid_until=0,
    )
    store.create(promised, ticket=1, now_ms=0)
    escrow = Escrow(
        port=port,
        store=store,
        in_thread=inline,
        clock=SystemClock(time.time),
        role=Role.REQUESTER,
        account=account.address,
    )

    for arguments, reason in (({}, "NO_CREDIT"), ({"ticket": 1}, "PROMISED"), ({"ticket": 2}, "NO_TICKET")):
        with pytest.raises(NotNow, match=reason):
            await escrow.refund(arguments, "00")
    asked_back = await escrow.refund({"ticket": 0}, "01")
    await port.sender.wait("refund 01")
    with pytest.raises(NotNow, match="NOT_DUE"):
        await escrow.refund({"ticket": 0}, "02")

    assert ("requested", str(value_wei // 2)) == (asked_back["step"], asked_back["amount_wei"])
    assert None is await port.ticket_wei(account.address, 0)
    database.close()


async def test_an_answer_that_changed_at_the_same_root_is_seen(
    l1: L1Process, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    """Roots hold, the run fails; with the answer of before it succeeds again."""
    scene = await build_scene(transport, l1.accounts, 2_000)
    follower = await follow(scene, nursery)
    plan = await _plan(scene, follower, READER, SETTLE)
    table = PlannedTable(
        core=plan.core_bytes,
        core_id=plan.core_id,
        salt=bytes(32),
        payload=b"",
        size_log2=10,
        systems_hash=bytes(32),
        tier=0,
        proof_count=1,
        work_log2=1,
        valid_until=plan.core.valid_until,
        expects=plan.expects,
        triggers=plan.triggers,
        value_wei=plan.value_wei,
    )
    port = port_of(scene, l1.accounts[1])

    assert await port.runs(table) and await port.runs(table)
    for price, runs in ((1_999, False), (2_000, True)):
        data = selector("setPrice(uint256)").to_bytes(4, "big") + price.to_bytes(32, "big")
        sender = Sender(scene.rpc, l1.accounts[3].key, chain_id=scene.contracts.chain_id, persist=never)
        await sender.send(f"price {price}", Payload(to=scene.oracle, data=data))
        await sender.wait(f"price {price}")
        assert await port.holds(table.core)
        assert runs is await port.runs(table)
    nursery.cancel_scope.cancel()
