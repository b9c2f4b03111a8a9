"""A calls L1, which calls B, whose answer decides A's new root: two real proofs, one transaction (SPEC §4.6, §7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.challenge import challenge
from protocol.contracts.artifacts import call_data
from protocol.hashing import selector
from protocol.load import ProofItem, Proofs, encode_expects, encode_proofs
from protocol.statement import smallest_tier
from protocol.table import (
    Core,
    core_id,
    decode_core,
    encode_core,
    encode_triggers,
    family_hash,
    public_input,
    triggers_hash,
)
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from protocol.vm.assembler import assemble
from protocol.vm.genesis import Genesis, GenesisAccount, encode_genesis, state_from_genesis
from protocol.vm.programs import counter_account
from protocol.vm.state import VmState
from proving import groth16
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import prepare
from proving.keys import cached_dev_key
from proving.solidity import TableProof, vk_hash
from proving.zkey import read_zkey
from tests.support.evmworld import CHAIN_ID, Contract, Reverted
from tests.support.machines import slot
from tests.support.rollupworld import DELAY, OTHER, PROGRAM, Setup, l1_call, setup
from tests.support.script import RELAY, teach
from tests.support.vmtables import VmTable

A, B = 3, 4
ASK = b"\x0a\xc7\x00\x01"
INCREMENT = selector("increment()").to_bytes(4, "big")
ASKS = """
        LDF    f1, ACTOR
        XCALL  f1, 0x0ac70001, 0, 0
        RETLO  r1, 2                ; bytes that callL2 returned: offset, length, the count
        LDF    f1, 7
        SSTORE f1, r1
        OUT    r11, r1, 0
        RETURN 1
"""


class Flow:
    """Two rollups whose proofs are real, an L1 contract between them, and the table of the flow."""

    def __init__(self) -> None:
        self.made: Setup = setup()
        self.zkey = cached_dev_key(circuit_for(0).r1cs_bytes)
        key = read_zkey(self.zkey).verifying_key()
        self.family = family_hash([vk_hash(key)])
        self.system: Contract = self.made.world.deploy("Groth16ProofSystem")
        self.system.send("registerKey", key.to_bytes(), sender=self.made.stranger)
        self.system.send("registerFamily", [vk_hash(key)], sender=self.made.stranger)
        actor = self.made.world.deploy("Player")
        back = call_data("IRollups", "callL2", B, OTHER, INCREMENT)
        teach(self.made, actor, ASK, [(self.made.rollups.address, 0, back)], b"", RELAY)
        asks = assemble(ASKS.replace("ACTOR", str(int.from_bytes(actor.address, "big"))))
        self.states = {
            A: self._rollup(Genesis(accounts=(GenesisAccount(address=PROGRAM, program=asks),))),
            B: self._rollup(Genesis(accounts=(counter_account(OTHER),))),
        }
        table = VmTable(self.states, l2_time=self.made.world.time)
        first = table.begins(l1_call(self.made.user, A))
        inside = table.begins(l1_call(actor.address, B, OTHER, INCREMENT), after=first)
        counted = table.entries[inside].next_action.data
        returned = (32).to_bytes(32, "big") + len(counted).to_bytes(32, "big") + counted
        table.answered(first, returned, after=inside)
        self.table = table
        core = table.core(executor=Address(self.made.user), triggers_hash=triggers_hash((0,)))
        self.core = decode_core(encode_core(core))

    def _rollup(self, genesis: Genesis) -> VmState:
        state = state_from_genesis(genesis)
        config = ([self.system.hex], [self.family], 1)
        arguments = (config, self.made.stranger, DELAY, state.root.to_bytes(32, "big"), encode_genesis(genesis))
        self.made.rollups.send("createRollup", *arguments, sender=self.made.stranger)
        return state

    def prove(self, core: Core, rollup_id: int) -> bytes:
        """By the prover of one rollup, which knows the other one's part as the table says it."""
        tier = smallest_tier(core, rollup_id)
        prepared = prepare(tier.number, core, rollup_id, self.states[rollup_id])
        bound = public_input(
            chain_id=CHAIN_ID,
            rollups_contract=Address(self.made.rollups.address),
            core=core_id(encode_core(core)),
            rollup_id=RollupId(rollup_id),
            epoch=1,
            family=self.family,
            payee=ZERO_ADDRESS,
            agreement_hash=ZERO_HASH,
        )
        z = challenge(family=self.family, tier=tier.number, public_input=bound, words=prepared.words, h=prepared.h)
        proof, public = groth16.prove(self.zkey, prepared.finish(z).wtns)
        return TableProof(tier=tier.number, h=public[0], proof=proof).to_bytes()

    def lands(self, core: Core, proofs: dict[int, bytes]) -> bytes:
        """The user's transaction; what A answered."""
        items = tuple(
            ProofItem(rollup_id=RollupId(r), system=Address(self.system.address), proof=proofs[r])
            for r in sorted(proofs)
        )
        packed = encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=Hash32(ZERO_HASH), items=items))
        receipt = self.made.rollups.send(
            "loadAndRun",
            encode_core(core),
            packed,
            encode_expects(()),
            encode_triggers((0,)),
            b"",
            sender=self.made.user,
        )
        (answer,) = receipt.value
        return bytes(answer)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return Flow()


@pytest.mark.timeout(600)
def test_two_proofs_land_in_one_transaction(flow: Flow) -> None:
    """B's count is in A's storage; with either proof exchanged, or of another table, nothing moves."""
    kinds = [(e.owner, e.trigger.kind.name, e.next_action.kind.name, e.mid) for e in flow.core.entries]
    assert kinds == [(A, "CALL", "CALL", True), (B, "CALL", "RESULT", False), (A, "RESULT", "RESULT", False)]
    proofs = {r: flow.prove(flow.core, r) for r in (A, B)}
    assert len(proofs[A]) == len(proofs[B]) == 289
    wrong = [{A: proofs[B], B: proofs[A]}, {A: proofs[A]}, {B: proofs[B]}, {A: proofs[A], B: proofs[A]}]
    for each in wrong:
        with pytest.raises(Reverted):
            flow.lands(flow.core, each)
    later = replace(flow.core, valid_until=flow.core.valid_until + 1)
    with pytest.raises(Reverted, match="InvalidProof"):
        flow.lands(later, proofs)
    assert flow.lands(flow.core, proofs) == (1).to_bytes(32, "big")
    last = {r: flow.table.state(r) for r in (A, B)}
    assert {r: flow.made.root(r) for r in last} == {r: state.root for r, state in last.items()}
    assert (slot(last[A], 7), slot(last[B], 0, OTHER)) == ((1, 0), (1, 0))
