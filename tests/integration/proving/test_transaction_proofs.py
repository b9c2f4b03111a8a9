"""A signed transaction, a program that is deployed and called, and a forced transaction: really proven and loaded."""

from __future__ import annotations

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
from tests.support.rollupworld import DELAY, PROGRAM, Setup, l1_call, setup, word
from tests.support.vmtables import FEE_RECIPIENT, VmTable

ROLLUP = 3
KEY = SigningKey(b"\x09" * 32)
KEEPS = "ARGLO r1, 0\nLDF f1, 7\nSSTORE f1, r1\nOUT r11, r1, 0\nRETURN 1"
"""Keeps its argument in slot 7."""
SEVEN = assemble("LDI r1, 7\nOUT r11, r1, 0\nRETURN 1")


class Chain:
    """A rollup with a queue, whose proofs are real: tier M's key stands for both tiers of its family."""

    def __init__(self) -> None:
        self.made: Setup = setup()
        self.zkey = cached_dev_key(circuit_for(TIER_M.number).r1cs_bytes)
        key = read_zkey(self.zkey).verifying_key()
        self.family = family_hash([vk_hash(key)] * 2)
        self.system: Contract = self.made.world.deploy("Groth16ProofSystem")
        self.system.send("registerKey", key.to_bytes(), sender=self.made.stranger)
        self.system.send("registerFamily", [vk_hash(key)] * 2, sender=self.made.stranger)
        self.domain = transaction_domain(CHAIN_ID, Address(self.made.rollups.address))
        genesis = Genesis(accounts=(GenesisAccount(address=PROGRAM, program=assemble(KEEPS)),), domain=self.domain)
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

    def core(self, table: VmTable) -> Core:
        """For the user, who fires all entries."""
        fired = triggers_hash(tuple(range(len(table.entries))))
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
    return Chain()


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
