"""Scenarios of the contract suite that need frames, scopes, tries and transactions, with real proofs of tier M."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from protocol.challenge import challenge
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.statement import TIER_M
from protocol.table import Core, core_id, encode_core, family_hash, public_input
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from protocol.vm.state import VmState
from proving import groth16
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import prepare
from proving.keys import cached_dev_key
from proving.solidity import TableProof, vk_hash
from proving.zkey import read_zkey
from tests.contracts import test_machine_tables as scenarios
from tests.support.evmworld import CHAIN_ID
from tests.support.rollupworld import Setup, setup
from tests.support.vmtables import VmTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSetup(Setup):
    """Rollups that the scenarios create are moved by real proofs: the system stands where the one that accepts all did.

    Tier M's key stands for both tiers of the family.
    """

    family: Hash32
    states: list[VmState]
    """The state that the next table stands on."""
    proven: list[int]
    """Entries of each proof that was made."""

    def proofs(self, core: Core, payee: bytes = ZERO_ADDRESS, agreement: bytes = ZERO_HASH) -> bytes:
        """By whoever has the state."""
        (member,) = core.lockset
        prepared = prepare(TIER_M.number, core, member.rollup_id, self.states[-1])
        bound = public_input(
            chain_id=CHAIN_ID,
            rollups_contract=Address(self.rollups.address),
            core=core_id(encode_core(core)),
            rollup_id=RollupId(member.rollup_id),
            epoch=1,
            family=self.family,
            payee=Address(payee),
            agreement_hash=Hash32(agreement),
        )
        z = challenge(family=self.family, tier=TIER_M.number, public_input=bound, words=prepared.words, h=prepared.h)
        proof, public = groth16.prove(_key(), prepared.finish(z).wtns)
        raw = TableProof(tier=TIER_M.number, h=public[0], proof=proof).to_bytes()
        self.proven.append(len(core.entries))
        item = ProofItem(rollup_id=RollupId(member.rollup_id), system=Address(self.accept_all.address), proof=raw)
        return encode_proofs(Proofs(payee=Address(payee), agreement_hash=Hash32(agreement), items=(item,)))


def _key() -> Path:
    return cached_dev_key(circuit_for(TIER_M.number).r1cs_bytes)


@pytest.fixture(scope="module")
def real() -> RealSetup:
    """Contracts with a registered family."""
    made = setup()
    key = read_zkey(_key()).verifying_key()
    system = made.world.deploy("Groth16ProofSystem")
    system.send("registerKey", key.to_bytes(), sender=made.stranger)
    system.send("registerFamily", [vk_hash(key)] * 2, sender=made.stranger)
    known = {field.name: getattr(made, field.name) for field in fields(made)} | {"accept_all": system}
    return RealSetup(**known, family=family_hash([vk_hash(key)] * 2), states=[], proven=[])


@pytest.fixture
def world(real: RealSetup, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSetup]:
    """Nothing has run; scenarios name the real family, and tell what state they stand on."""
    point = real.world.snapshot()
    plays = scenarios.Play.plays

    def told(play: scenarios.Play, table: VmTable, *steps: tuple[bytes, int, bytes]) -> VmState:
        real.states.append(play.state)
        return plays(play, table, *steps)

    monkeypatch.setattr(scenarios, "FAMILY", real.family)
    monkeypatch.setattr(scenarios.Play, "plays", told)
    real.proven.clear()
    yield real
    real.world.restore(point)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("scenario", "arguments", "proofs"),
    [
        (scenarios.test_a_try_takes_the_branch_that_l1_takes, (), [3, 3]),
        (scenarios.test_an_inner_failure_undoes_what_its_scope_did_on_l1, (), [3]),
        (scenarios.test_an_inner_success_is_kept, (), [2]),
        (scenarios.test_scopes_inside_scopes_are_undone_in_turn, (), [5]),
        (scenarios.test_a_transaction_calls_l1_and_is_kept_or_undone, (False,), [1, 2]),
        (scenarios.test_a_transaction_calls_l1_and_is_kept_or_undone, (True,), [1, 3]),
        (scenarios.test_a_forced_transaction_is_taken_or_skipped, (True,), [1]),
        (scenarios.test_a_forced_transaction_is_taken_or_skipped, (False,), [1]),
    ],
    ids=lambda x: x.__name__.removeprefix("test_") if callable(x) else str(x),
)
def test_a_scenario_of_the_contract_suite_is_proven(
    world: RealSetup, scenario: object, arguments: tuple[object, ...], proofs: list[int]
) -> None:
    """As it stands there; each of its tables has one proof, of so many entries, that the contract accepts."""
    assert callable(scenario)
    scenario(world, *arguments)

    assert world.proven == proofs
