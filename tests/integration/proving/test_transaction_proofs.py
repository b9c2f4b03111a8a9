"""A transaction, a program that is deployed and called, a forced transaction, a reverted scope: proven and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from protocol.challenge import challenge
from protocol.constants import DEPLOYER, FORCE_BOUNTY, NONE
from protocol.load import ProofItem, Proofs, encode_expects, encode_proofs
from protocol.statement import TIER_M
from protocol.table import Core, core_id, encode_core, encode_triggers, family_hash, public_input, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls, deployed_address
from protocol.vm.eddsa import SigningKey
from protocol.vm.genesis import Genesis, GenesisAccount, encode_genesis, state_from_genesis
from protocol.vm.state import QUEUE_KEY, VmState, account_key, unpack_account
from protocol.vm.transactions import sign_transaction, transaction_domain
from proving import groth16
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import prepare
from proving.keys import cached_dev_key
from proving.solidity import TableProof, vk_hash
from proving.zkey import read_zkey
from tests.support.cores import l2tx
from tests.support.evmworld import CHAIN_ID, Contract, Reverted
from tests.support.machines import slot
from tests.support.rollupworld import DELAY, OTHER, PROGRAM, Setup, l1_call, setup, word
from tests.support.script import RETURN, teach
from tests.support.vmtables import FEE_RECIPIENT, VmTable

ROLLUP = 3
KEY = SigningKey(b"\x09" * 32)
KEEPS = "ARGLO r1, 0\nLDF f1, 7\nSSTORE f1, r1\nOUT r11, r1, 0\nRETURN 1"
"""Keeps its argument in slot 7."""
ASK = b"\x0a\xc7\x00\x01"
INSIDE = """
        LDI    r1, 5
        LDF    f2, 7
        SSTORE f2, r1
        LDF    f1, ACTOR
        XCALL  f1, 0x0ac70001, 0, 0
        RETLO  r1, 0
        OUT    r11, r1, 0
        REVERT 1
"""
"""Writes, calls L1, and fails with the answer."""
OUTSIDE = f"""
        LDF    f2, {(ROLLUP << 160) + int.from_bytes(OTHER, "big")}
        ICALL  f2, r11, 7, 0
        RETOK  r1
        RETLO  r2, 0
        LDF    f2, 7
        SSTORE f2, r2
        OUT    r1, r2, 0
        RETURN 1
"""
"""Calls the other program, goes on behind its failure, and keeps what it failed with."""
SEVEN = assemble("LDI r1, 7\nOUT r11, r1, 0\nRETURN 1")


class Chain:
    """A rollup with a queue, whose proofs are real: tier M's key stands for both tiers of its family."""

    def __init__(self, sources: Mapping[Address, str]) -> None:
        self.made: Setup = setup()
        self.actor = self.made.world.deploy("Player")
        self.zkey = cached_dev_key(circuit_for(TIER_M.number).r1cs_bytes)
        key = read_zkey(self.zkey).verifying_key()
        self.family = family_hash([vk_hash(key)] * 2)
        self.system: Contract = self.made.world.deploy("Groth16ProofSystem")
        self.system.send("registerKey", key.to_bytes(), sender=self.made.stranger)
        self.system.send("registerFamily", [vk_hash(key)] * 2, sender=self.made.stranger)
        self.domain = transaction_domain(CHAIN_ID, Address(self.made.rollups.address))
        at = str(int.from_bytes(self.actor.address, "big"))
        programs = {account: assemble(source.replace("ACTOR", at)) for account, source in sources.items()}
        accounts = tuple(GenesisAccount(address=account, program=programs[account]) for account in sorted(programs))
        genesis = Genesis(accounts=accounts, domain=self.domain)
        self.state: VmState = state_from_genesis(genesis)
        config = ([self.system.hex], [self.family], 1)
        root = self.state.root.to_bytes(32, "big")
        arguments = (config, self.made.stranger, DELAY, root, encode_genesis(genesis), 10)
        self.made.rollups.send("createRollupWithQueue", *arguments, sender=self.made.stranger)

    def table(self) -> VmTable:
        """On the state so far."""
        return VmTable({ROLLUP: self.state}, l2_time=self.made.world.time)

    def signed(self, value: int, nonce: int) -> bytes:
        """A transaction that keeps a value."""
        return sign_transaction(
            KEY,
            domain=self.domain,
            rollup_id=ROLLUP,
            nonce=nonce,
            destination=PROGRAM,
            words=((0, value),),
        )

    def core(self, table: VmTable, triggers: int | None = None) -> Core:
        """For the user, who fires the first entries, or all."""
        fired = triggers_hash(tuple(range(len(table.entries) if triggers is None else triggers)))
        return table.core(executor=Address(self.made.user), triggers_hash=fired)

    def prove(self, core: Core) -> bytes:
        """By whoever has the state."""
        prepared = prepare(TIER_M.number, core, ROLLUP, self.state)
        bound = public_input(
            chain_id=CHAIN_ID,
            rollups_contract=Address(self.made.rollups.address),
            core=core_id(encode_core(core)),
            rollup_id=RollupId(ROLLUP),
            epoch=1,
            family=self.family,
            payee=ZERO_ADDRESS,
            agreement_hash=ZERO_HASH,
        )
        z = challenge(family=self.family, tier=1, public_input=bound, words=prepared.words, h=prepared.h)
        proof, public = groth16.prove(self.zkey, prepared.finish(z).wtns)
        return TableProof(tier=1, h=public[0], proof=proof).to_bytes()

    def lands(self, core: Core, proof: bytes, triggers: int) -> tuple[bytes, ...]:
        """The user's transaction, and what the entries answered."""
        item = ProofItem(rollup_id=RollupId(ROLLUP), system=Address(self.system.address), proof=proof)
        packed = encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=Hash32(ZERO_HASH), items=(item,)))
        fired = encode_triggers(tuple(range(triggers)))
        arguments = (encode_core(core), packed, encode_expects(()), fired, b"")
        return tuple(bytes(x) for x in self.made.rollups.send("loadAndRun", *arguments, sender=self.made.user).value)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain({PROGRAM: KEEPS})


@pytest.mark.timeout(900)
def test_a_transaction_and_a_deployed_program_then_a_forced_one(chain: Chain) -> None:
    """One proof of three entries: a signed transaction, a deployment, a call of what was deployed. Then the queue's."""
    user = chain.made.user
    table, (part,) = chain.table(), deploy_calls(SEVEN, salt=1)
    at = Address(deployed_address(int.from_bytes(user, "big"), 1).to_bytes(20, "big"))
    first = table.begins(l2tx(ROLLUP, chain.signed(42, 0)))
    second = table.begins(l1_call(user, ROLLUP, DEPLOYER.to_bytes(20, "big"), part), after=first)
    table.begins(l1_call(user, ROLLUP, at, b"give"), after=second)
    core = chain.core(table)
    proof = chain.prove(core)
    wrong = replace(core, entries=(replace(core.entries[0], new_root=5), *core.entries[1:]))
    with pytest.raises(Reverted):
        chain.lands(wrong, proof, 3)
    answers = chain.lands(core, proof, 3)
    assert answers == (word(42), bytes(12) + at + word(3), word(7))
    chain.state = table.state(ROLLUP)
    assert chain.made.root(ROLLUP) == chain.state.root
    assert slot(chain.state, 7) == (42, 0)

    forced = chain.signed(43, 1)
    chain.made.rollups.send("forceL2TX", ROLLUP, forced, sender=chain.made.stranger, value=FORCE_BOUNTY)
    table = chain.table()
    table.begins(replace(l2tx(ROLLUP, forced), gas=1), after=NONE)
    core = chain.core(table)
    proof = chain.prove(core)
    # The same item without its turn is another statement.
    with pytest.raises(Reverted):
        chain.lands(replace(core, entries=(replace(core.entries[0], trigger=l2tx(ROLLUP, forced)),)), proof, 1)
    assert chain.lands(core, proof, 1) == (word(43),)
    state = table.state(ROLLUP)
    assert chain.made.root(ROLLUP) == state.root
    assert (slot(state, 7), state.tree.get(QUEUE_KEY)) == ((43, 0), (1, 0))
    assert unpack_account(state.tree.get(account_key(int.from_bytes(KEY.address, "big")))[0]) == (2, 0)
    assert chain.made.rollups.view("forcedQueue", ROLLUP)[1] == 1
    assert state.tree.get(account_key(int.from_bytes(FEE_RECIPIENT, "big"))) == (0, 0)


@pytest.mark.timeout(900)
def test_a_scope_is_reverted_and_its_caller_goes_on() -> None:
    """A program calls another, that one L1, and then fails: L1 forgets the call, the first program does not."""
    chain = Chain({PROGRAM: OUTSIDE, OTHER: INSIDE})
    teach(chain.made, chain.actor, ASK, (), word(31), RETURN)
    table = chain.table()
    asked = table.begins(l1_call(chain.made.user, ROLLUP, PROGRAM, b"go"))
    table.continues(table.answered(asked, word(31)))
    core = chain.core(table, triggers=1)
    assert [entry.next_action.kind.name for entry in core.entries] == ["CALL", "REVERT", "RESULT"]
    proof = chain.prove(core)
    # As if the program had not failed: another statement.
    answer = replace(core.entries[2].next_action, data=word(1) * 2)
    wrong = replace(core, entries=(*core.entries[:2], replace(core.entries[2], next_action=answer)))
    with pytest.raises(Reverted):
        chain.lands(wrong, proof, 1)

    assert chain.lands(core, proof, 1) == (word(31),)
    state = table.state(ROLLUP)
    assert chain.made.root(ROLLUP) == state.root
    assert (slot(state, 7), slot(state, 7, OTHER)) == ((31, 0), (0, 0))
    assert chain.actor.view("played", ASK) == 0
