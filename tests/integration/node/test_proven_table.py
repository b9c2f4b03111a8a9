"""A table planned, proven for real, verified locally and by the contract, and landed by the user's one transaction."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.chain.launch import L1Process
from node.chain.sender import Payload, Sender
from node.chain.transport import HttpTransport
from node.intents import encode_intent
from node.jobs import Machine, TableProver
from node.l1 import deposit, load_and_run
from node.l1port import L1Port
from node.planner import Intent
from node.planning import TablePlanner
from node.ports import ChainCall, Landing, PlannedTable, ProofWork, Refused, SystemClock
from node.proofs import ProofRunner
from node.verifying import ProofVerifier
from protocol.agreement import Agreement, Settlement, by_key, pack_settlement
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import RequestCommit, RollupProof
from protocol.payload import payload_commit
from protocol.signing import AccountKey, agreement_digest
from protocol.table import decode_core, statement_commit
from protocol.types import ZERO_ADDRESS, Address, Hash32
from proving.backends import Backend
from proving.build import cache_dir
from proving.circuit.table_vm import circuit_for
from proving.keys import cached_dev_key
from proving.zkey import read_zkey
from tests.support import command_prover
from tests.support import wire_samples as samples
from tests.support.scene import READER, SETTLE, Scene, build_scene, follow, never


@pytest.fixture(scope="session")
def zkey() -> Path:
    """The developer key of tier S."""
    return cached_dev_key(circuit_for(0).r1cs_bytes)


PROVER = AccountKey(bytes.fromhex("77" * 32))
PAYEE = Address(bytes.fromhex("99" * 20))
OTHER = Address(bytes.fromhex("0a" * 20))
PRICE_WEI = 3 * 10**13


async def _real_scene(transport: HttpTransport, l1: L1Process, zkey: Path) -> Scene:
    verifying_key = read_zkey(zkey).verifying_key().to_bytes()
    return await build_scene(transport, l1.accounts, 2000, verifying_key=verifying_key)


def _agreement(scene: Scene, plan: PlannedTable, ticket: int) -> tuple[RequestCommit, Agreement, bytes]:
    commit = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
    commitment = payload_commit(plan.payload)
    request = samples.request(
        statement_commit=commit, payload_commit=commitment, systems_hash=plan.systems_hash, size_log2=plan.size_log2
    )
    by = plan.valid_until
    agreement = Agreement(
        request_id=request.request_id,
        rank=1,
        requester=scene.user.address,
        requester_ticket=ticket,
        prover=PROVER.address,
        prover_ticket=0,
        payee=PAYEE,
        price_wei=PRICE_WEI,
        bond_wei=1,
        statement_commit=commit,
        payload_commit=commitment,
        systems_hash=plan.systems_hash,
        open_from=decode_core(plan.core).l2_time,
        ack_by=by,
        deliver_by=by,
        claim_from=by,
        claim_by=by + 600,
    )
    digest = agreement_digest(scene.contracts.chain_id, scene.deployment.market, agreement)
    return request, agreement, digest


@pytest.mark.parametrize("backend", [Backend.CPU, Backend.COMMAND])
async def test_a_proven_table_is_verified_here_and_there_lands_and_pays(
    l1: L1Process, transport: HttpTransport, zkey: Path, nursery: trio.Nursery, backend: Backend, tmp_path: Path
) -> None:
    """By the prover's own core, and by a program that it was configured to ask."""
    scene = await _real_scene(transport, l1, zkey)
    contracts = replace(scene.contracts, market=scene.deployment.market)
    follower = await follow(scene, nursery)
    sender = Sender(scene.rpc, scene.user.key, chain_id=contracts.chain_id, persist=never)
    port = L1Port(contracts=contracts, sender=sender, start_block=scene.deployment.start_block, confirmations=0)
    data, value = deposit(0, 1)
    await sender.send("deposit", Payload(to=scene.deployment.market, data=data, value=value))
    await sender.wait("deposit")
    ticket = (await contracts.ticket_count(scene.user.address)) - 1
    planner = TablePlanner(contracts=contracts, follower=follower, fee_recipient=ZERO_ADDRESS, confirmations=0)
    intent = Intent(
        sender=Address(scene.user.address), rollup_id=scene.rollup_id, destination=READER, value_wei=0, data=SETTLE
    )

    plan = await planner.plan(encode_intent(intent))
    request, agreement, digest = _agreement(scene, plan, ticket)
    machine = Machine(
        backend=backend,
        zkey=zkey if backend is Backend.CPU else Path("/nonexistent"),
        # A command sees little of our environment; that the core is compiled already is told to it here.
        command=("/usr/bin/env", f"UNVETO_CACHE={cache_dir()}", sys.executable, command_prover.__file__, str(zkey)),
        proof_system=scene.deployment.proof_system,
        threads=2,
        memory_mib=3072,
    )
    runner = ProofRunner(1, tmp_path / "jobs")
    prover = TableProver(contracts=contracts, machine=machine, runner=runner, clock=SystemClock(time.time))
    work = ProofWork(request=request, agreement=agreement, agreement_hash=digest, payload=plan.payload)
    async with prover.start(work) as running:
        await running.checked()
        proofs, _took_ms = await running.prove()

    verifier = ProofVerifier(contracts=contracts, proof_system=scene.deployment.proof_system)
    await verifier.verify(plan, agreement, digest, proofs)
    await _refuses_wrong_proofs(verifier, plan, agreement, digest, proofs)
    await _put_to_the_contract(ProofVerifier(contracts=contracts, proof_system=OTHER), plan, agreement, digest, proofs)

    settlement = pack_settlement(
        Settlement(
            agreement=agreement,
            salt=plan.salt,
            requester_signature=by_key(AccountKey(scene.user.key).sign_digest(digest)),
            prover_signature=by_key(PROVER.sign_digest(digest)),
        )
    )
    items = tuple(ProofItem(rollup_id=p.rollup_id, system=Address(p.system), proof=p.proof) for p in proofs)
    packed = encode_proofs(Proofs(payee=PAYEE, agreement_hash=Hash32(digest), items=items))
    data = load_and_run(plan.core, packed, plan.expects, plan.triggers, settlement)
    call = ChainCall(purpose="land", to=scene.deployment.rollups, data=data)
    wrong = ChainCall(purpose="wrong", to=scene.deployment.rollups, data=data.replace(PAYEE, bytes(20)))
    with pytest.raises(Refused, match="InvalidProof|AgreementMismatch|PayeeMismatch"):
        await port.prepare(wrong)
    await port.prepare(call)
    assert await port.landing("land") is Landing.UNKNOWN
    await port.send("land")

    assert await port.landing("land") is Landing.SUCCEEDED
    assert await contracts.payout_of(PAYEE) == PRICE_WEI
    assert await port.is_paid(agreement, digest, plan.core_id)
    followed = (await follower.at_block((await scene.rpc.head()).number)).rollups[scene.rollup_id]
    assert followed.state is not None
    assert followed.state.root == (await contracts.rollup(scene.rollup_id)).root
    nursery.cancel_scope.cancel()


async def _put_to_the_contract(
    verifier: ProofVerifier, plan: PlannedTable, agreement: Agreement, digest: bytes, proofs: tuple[RollupProof, ...]
) -> None:
    """A requester that cannot check a system's proofs itself asks the system's contract, and believes only that."""
    (good,) = proofs
    await verifier.verify(plan, agreement, digest, proofs)
    flipped = replace(good, proof=good.proof[:-1] + bytes((good.proof[-1] ^ 1,)))
    for wrong, reason in (
        (flipped, "INVALID_PROOF"),
        (replace(good, proof=good.proof[:-1]), "INVALID_PROOF"),
        (replace(good, system=OTHER), "WRONG_SYSTEM"),
    ):
        with pytest.raises(Refused, match=reason):
            await verifier.verify(plan, agreement, digest, (wrong,))
    with pytest.raises(Refused, match="INVALID_PROOF"):
        await verifier.verify(plan, replace(agreement, payee=bytes(20)), digest, proofs)


async def _refuses_wrong_proofs(
    verifier: ProofVerifier,
    plan: PlannedTable,
    agreement: Agreement,
    digest: bytes,
    proofs: tuple[RollupProof, ...],
) -> None:
    (good,) = proofs
    flipped = replace(good, proof=good.proof[:-1] + bytes((good.proof[-1] ^ 1,)))
    for wrong, reason in (
        ((), "MISSING_PROOF"),
        ((replace(good, system=bytes(20)),), "WRONG_SYSTEM"),
        ((replace(good, proof=good.proof[:-1]),), "MALFORMED_PROOF"),
        ((replace(good, proof=b"\x01" + good.proof[1:]),), "UNKNOWN_TIER"),
        ((flipped,), "INVALID_PROOF"),
    ):
        with pytest.raises(Refused, match=reason):
            await verifier.verify(plan, agreement, digest, wrong)
    with pytest.raises(Refused, match="INVALID_PROOF"):
        await verifier.verify(plan, replace(agreement, payee=bytes(20)), digest, proofs)
    with pytest.raises(Refused, match="INVALID_PROOF"):
        await verifier.verify(plan, agreement, bytes(32), proofs)
