"""A World with a rollup that real proofs move, and one agreed, proven table that waits to land."""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocol.load import ProofItem, Proofs, config_hash, encode_expects, encode_proofs, lockset_systems_hash
from protocol.table import Core, Entry, core_id, encode_core, encode_triggers, public_input
from protocol.types import Address, Hash32, RollupId
from tests.support.evmworld import CHAIN_ID, Contract, Receipt, World
from tests.support.marketworld import Party, agree, digest, parties, settle_bytes
from tests.support.rollupworld import (
    GENESIS,
    ORACLE_PRICE,
    PROGRAM,
    Setup,
    answer,
    call_out,
    l1_call,
    proxy_of,
    setup,
    word,
)
from tests.support.toyproofs import ToyProver, toy_prover

ROLLUP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A world with a rollup that real proofs move, and one agreed, proven table."""

    made: Setup
    system: Contract
    toy: ToyProver
    who: Party
    core: Core
    settlement: bytes
    agreement: Hash32
    systems_hash: Hash32
    proof: bytes

    @property
    def public_input(self) -> Hash32:
        """What the proof is bound to."""
        return self.input_of(self.core, self.who.payee, self.agreement)

    def input_of(self, core: Core, payee: bytes, agreement: bytes, epoch: int = 1) -> Hash32:
        """publicInput in this world."""
        return self.bound_to(core_id(encode_core(core)), payee, agreement, epoch)

    def bound_to(self, core: Hash32, payee: bytes, agreement: bytes, epoch: int = 1) -> Hash32:
        """publicInput of a core id."""
        return public_input(
            chain_id=CHAIN_ID,
            rollups_contract=Address(self.made.rollups.address),
            core=core,
            rollup_id=ROLLUP,
            epoch=epoch,
            family=self.toy.family,
            payee=Address(payee),
            agreement_hash=Hash32(agreement),
        )

    @property
    def statement(self) -> bytes:
        """What Rollups passes."""
        return ROLLUP.to_bytes(8, "big") + encode_core(self.core)

    def verify(self, **changes: bytes) -> bool:
        """IProofSystem.verify with something changed."""
        parts = {
            "family": self.toy.family,
            "public_input": self.public_input,
            "statement": self.statement,
            "proof": self.proof,
        } | changes
        return bool(self.system.view("verify", *parts.values()))

    def proofs(self, proof: bytes | None = None, payee: bytes | None = None, agreement: bytes | None = None) -> bytes:
        """Packed proofs."""
        item = ProofItem(
            rollup_id=RollupId(ROLLUP),
            system=Address(self.system.address),
            proof=self.proof if proof is None else proof,
        )
        return encode_proofs(
            Proofs(
                payee=Address(self.who.payee if payee is None else payee),
                agreement_hash=self.agreement if agreement is None else Hash32(agreement),
                items=(item,),
            )
        )

    def land(self, core: Core | None = None, proofs: bytes | None = None, settlement: bytes | None = None) -> Receipt:
        """The user's transaction."""
        return self.made.rollups.send(
            "loadAndRun",
            encode_core(self.core if core is None else core),
            self.proofs() if proofs is None else proofs,
            encode_expects(()),
            encode_triggers((0,)),
            self.settlement if settlement is None else settlement,
            sender=self.who.requester.address,
        )


def proven_world(world: World | None = None, *, with_proxy: bool = True) -> Proven:
    """Everything but the landing.

    Args:
        world: a fresh chain; py-evm unless given.
        with_proxy: the calling program's proxy exists on L1 already.
    """
    made, toy = setup(world), toy_prover()
    system = made.world.deploy("Groth16ProofSystem")
    vk_hash = system.send("registerKey", toy.vk, sender=made.stranger).value
    assert system.send("registerFamily", [vk_hash], sender=made.stranger).value == toy.family
    config = ([system.hex], [toy.family], 1)
    made.rollups.send("createRollup", config, made.stranger, 600, word(1000 * ROLLUP), GENESIS, sender=made.stranger)
    who = parties(made)
    user = who.requester.address
    if with_proxy:
        proxy_of(made, PROGRAM, ROLLUP)
    trigger = l1_call(user, ROLLUP, data=bytes.fromhex("11223344") + word(5))
    asked = call_out(ROLLUP, 0, made.oracle.address, ORACLE_PRICE, gas=100_000)
    entries = (
        Entry(mid=True, new_root=3001, trigger=trigger, next_action=asked),
        Entry(
            parent=0,
            reply_to=0,
            mid=False,
            new_root=3002,
            trigger=answer(asked, word(2500)),
            next_action=answer(trigger, word(1)),
        ),
    )
    core = made.core(entries, members=(ROLLUP,), executor=Address(user))
    systems = lockset_systems_hash([config_hash(1, [Address(system.address)], [toy.family])])
    agreement = agree(made, who, core, systems_hash=systems)
    unproven = Proven(
        made=made,
        system=system,
        toy=toy,
        who=who,
        core=core,
        settlement=settle_bytes(made, who, agreement),
        agreement=Hash32(digest(made, agreement)),
        systems_hash=systems,
        proof=b"",
    )
    return replace(unproven, proof=toy.prove(core, ROLLUP, unproven.public_input))
