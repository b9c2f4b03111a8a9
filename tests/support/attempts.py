"""One table that is really proven, agreed and funded on a development L1, and the ways of handing it in.

Everything that a thief could change lies open in `Attempt`; `ProvenWorld` makes the transaction of it, and asks the
node's own verifier about the same thing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from node.chain.devaccounts import DevAccount
from node.chain.evm import Call
from node.chain.localevm import LocalEvm
from node.chain.records import Tag
from node.chain.sender import Payload, Sender
from node.chain.transport import HttpTransport
from node.intents import encode_intent
from node.jobs import Machine, TableProver
from node.l1 import Contracts, ProofConfig, RollupView, claim_with_proof, deposit, load_and_run
from node.planner import Intent
from node.planning import TablePlanner
from node.ports import PlannedTable, ProofWork, SystemClock
from node.proofs import ProofRunner
from node.verifying import ProofVerifier
from protocol.agreement import Agreement, Settlement, by_key, pack_settlement, ticket_cap_wei
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import RollupProof
from protocol.payload import payload_commit
from protocol.signing import AccountKey, agreement_digest
from protocol.table import core_id, decode_core, statement_commit
from protocol.types import ZERO_ADDRESS, Address, Hash32
from proving.points import VerifyingKey
from proving.zkey import read_zkey
from tests.support import wire_samples as samples
from tests.support.scene import READER, SETTLE, Scene, build_scene, follow, never

PROVER: Final = AccountKey(bytes.fromhex("77" * 32))
PAYEE: Final = Address(bytes.fromhex("99" * 20))
ANYBODY: Final = Address(bytes.fromhex("5a" * 20))
PRICE_WEI: Final = 3 * 10**13
TICKET_CLASS: Final = 0
TICKET_WEI: Final = ticket_cap_wei(TICKET_CLASS)
LAND: Final = "land"
CLAIM: Final = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is handed in. The honest one lands, and pays the payee."""

    core: bytes
    payee: bytes
    agreement_hash: bytes
    proofs: tuple[RollupProof, ...]
    settlement: bytes
    agreement: Agreement
    """What the requester takes the deal to be; the contract reads it from the settlement."""
    triggers: bytes
    door: str = LAND
    """LAND: the requester's own transaction. CLAIM: anybody's claim for the payee, which asks for no live root."""
    packed: bytes | None = None
    """Proofs as bytes, where they are no encoding of the fields above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenWorld:
    """A chain with a rollup, and one proven table on it."""

    evm: LocalEvm
    chain_id: int
    rollups: Address
    market: Address
    proof_system: Address
    family: Hash32
    user: DevAccount
    plan: PlannedTable
    honest: Attempt
    key: VerifyingKey
    verifier: ProofVerifier
    now_s: int
    """Block time at which attempts are run: inside all windows, and later than the table's own time."""

    def call(self, attempt: Attempt) -> Call:
        """The transaction of an attempt."""
        packed = attempt.packed
        if packed is None:
            items = tuple(
                ProofItem(rollup_id=each.rollup_id, system=Address(each.system), proof=each.proof)
                for each in attempt.proofs
            )
            packed = encode_proofs(
                Proofs(payee=Address(attempt.payee), agreement_hash=Hash32(attempt.agreement_hash), items=items)
            )
        if attempt.door == CLAIM:
            data = claim_with_proof(attempt.core, packed, attempt.settlement, b"")
            return Call(sender=ANYBODY, to=self.market, data=data)
        data = load_and_run(attempt.core, packed, self.plan.expects, attempt.triggers, attempt.settlement)
        return Call(sender=self.user.address, to=self.rollups, data=data)

    async def verify_locally(self, attempt: Attempt) -> None:
        """What the node does with a delivery before anything is paid. Raises coded errors."""
        plan = replace(self.plan, core=attempt.core, core_id=core_id(attempt.core))
        agreement = replace(attempt.agreement, payee=attempt.payee)
        await self.verifier.verify(plan, agreement, attempt.agreement_hash, attempt.proofs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered(Contracts):
    """The chain's answers, each asked once: nothing is mined while attempts are made."""

    views: dict[int, RollupView] = field(default_factory=dict)
    configs: dict[tuple[int, int], ProofConfig] = field(default_factory=dict)

    async def rollup(self, rollup_id: int, tag: Tag = "latest") -> RollupView:
        if rollup_id not in self.views:
            self.views[rollup_id] = await Contracts.rollup(self, rollup_id)
        return self.views[rollup_id]

    async def config(self, rollup_id: int, epoch: int, tag: Tag = "latest") -> ProofConfig:
        if (rollup_id, epoch) not in self.configs:
            self.configs[rollup_id, epoch] = await Contracts.config(self, rollup_id, epoch)
        return self.configs[rollup_id, epoch]


async def prove_one(transport: HttpTransport, accounts: tuple[DevAccount, ...], zkey: Path) -> ProvenWorld:
    """Deploy, plan a call that reads the oracle, fund it, agree on it and prove it, with the real circuit and key."""
    key = read_zkey(zkey).verifying_key()
    scene = await build_scene(transport, accounts, 2000, verifying_key=key.to_bytes())
    contracts = _Remembered(
        rpc=scene.rpc,
        chain_id=scene.contracts.chain_id,
        rollups=scene.deployment.rollups,
        market=scene.deployment.market,
    )
    await _fund(scene)
    plan = await _plan(scene)
    agreement = _agreement(scene, plan)
    digest = agreement_digest(contracts.chain_id, contracts.market, agreement)
    proofs = await _prove(scene, plan, agreement, digest, zkey)
    settlement = pack_settlement(
        Settlement(
            agreement=agreement,
            salt=plan.salt,
            requester_signature=by_key(AccountKey(scene.user.key).sign_digest(digest)),
            prover_signature=by_key(PROVER.sign_digest(digest)),
        )
    )
    head = await scene.rpc.head()
    return ProvenWorld(
        evm=LocalEvm(transport, head, chain_id=contracts.chain_id),
        chain_id=contracts.chain_id,
        rollups=contracts.rollups,
        market=contracts.market,
        proof_system=scene.deployment.proof_system,
        family=(await contracts.config(scene.rollup_id, (await contracts.rollup(scene.rollup_id)).epoch)).families[0],
        user=scene.user,
        plan=plan,
        honest=Attempt(
            core=plan.core,
            payee=PAYEE,
            agreement_hash=digest,
            proofs=proofs,
            settlement=settlement,
            agreement=agreement,
            triggers=plan.triggers,
        ),
        key=key,
        verifier=ProofVerifier(contracts=contracts, proof_system=scene.deployment.proof_system),
        now_s=head.timestamp + 60,
    )


async def _fund(scene: Scene) -> None:
    sender = Sender(scene.rpc, scene.user.key, chain_id=scene.contracts.chain_id, persist=never)
    data, value = deposit(TICKET_CLASS, 1)
    await sender.send("deposit", Payload(to=scene.deployment.market, data=data, value=value))
    await sender.wait("deposit")


async def _plan(scene: Scene) -> PlannedTable:
    intent = Intent(
        sender=Address(scene.user.address), rollup_id=scene.rollup_id, destination=READER, value_wei=0, data=SETTLE
    )
    async with trio.open_nursery() as nursery:
        follower = await follow(scene, nursery)
        planner = TablePlanner(
            contracts=scene.contracts, follower=follower, fee_recipient=ZERO_ADDRESS, confirmations=0
        )
        plan = await planner.plan(encode_intent(intent))
        nursery.cancel_scope.cancel()
    return plan


def _agreement(scene: Scene, plan: PlannedTable) -> Agreement:
    by, planned_for = plan.valid_until, decode_core(plan.core).l2_time
    return Agreement(
        request_id=bytes.fromhex("ab" * 32),
        rank=1,
        requester=scene.user.address,
        requester_ticket=0,
        prover=PROVER.address,
        prover_ticket=0,
        payee=PAYEE,
        price_wei=PRICE_WEI,
        bond_wei=1,
        statement_commit=statement_commit(Hash32(plan.salt), Hash32(plan.core_id)),
        payload_commit=payload_commit(plan.payload),
        systems_hash=plan.systems_hash,
        open_from=planned_for,
        ack_by=by,
        deliver_by=by,
        claim_from=planned_for,
        claim_by=by + 600,
    )


async def _prove(
    scene: Scene, plan: PlannedTable, agreement: Agreement, digest: bytes, zkey: Path
) -> tuple[RollupProof, ...]:
    machine = Machine(zkey=zkey, proof_system=scene.deployment.proof_system, threads=2, memory_mib=3072)
    prover = TableProver(
        contracts=scene.contracts,
        machine=machine,
        runner=ProofRunner(1, zkey.parent / "jobs"),
        clock=SystemClock(time.time),
    )
    request = samples.request(
        statement_commit=agreement.statement_commit,
        payload_commit=agreement.payload_commit,
        systems_hash=plan.systems_hash,
        size_log2=plan.size_log2,
    )
    work = ProofWork(request=request, agreement=agreement, agreement_hash=digest, payload=plan.payload)
    async with prover.start(work) as running:
        await running.checked()
        proofs, _took_ms = await running.prove()
    return proofs
