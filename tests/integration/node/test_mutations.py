"""One proven table, changed in hundreds of ways: none is accepted, and every refusal says why (SPEC §7, §8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from node.chain.evm import Call
from node.chain.launch import L1Process
from node.chain.localevm import Overrides
from node.chain.transport import HttpTransport
from node.ports import PortError
from protocol.agreement import unpack_settlement
from protocol.challenge import challenge, evaluate
from protocol.contracts.artifacts import artifact, call_data, decode_revert, signature
from protocol.errors import ProtocolError
from protocol.hashing import keccak256
from protocol.signing import agreement_digest, recover_signer
from protocol.statement import tier_by_number, words
from protocol.table import core_id, decode_core, public_input, statement_commit
from protocol.types import Address, Hash32
from proving.bn254 import R
from proving.circuit.table_vm import circuit_for
from proving.errors import PairingFailed, ProvingError
from proving.groth16 import rerandomise, verify
from proving.keys import cached_dev_key
from proving.solidity import TableProof
from tests.support.attempts import CLAIM, LAND, Attempt, ProvenWorld, prove_one
from tests.support.mutations import KINDS, PAIRING, mutations, rollup_proof_with
from tests.support.nativeevm import run_native

SEED: Final = 20260
BOTH_EVMS: Final = 1  # attempts of each kind that py-evm runs too
SETTLED: Final = next(
    keccak256(signature(item).encode())
    for item in artifact("IProofMarket").abi
    if item["type"] == "event" and item["name"] == "AgreementSettled"
)


@pytest.fixture(scope="module")
def world(l1: L1Process) -> Iterator[ProvenWorld]:
    """The table, proven once with the developer key of tier S."""
    zkey: Path = cached_dev_key(circuit_for(0).r1cs_bytes)
    transport = HttpTransport(l1.url, timeout_s=60)
    yield trio.run(prove_one, transport, l1.accounts, zkey)
    transport.close()


def _named(data: bytes) -> str:
    """The error of a refusal; `InvalidProof:Name` when the proof system said why, else it was the pairing."""
    revert = decode_revert(data)
    assert revert.name, data.hex()
    if revert.name != PAIRING or not revert.values["reason"]:
        return revert.name
    inner = decode_revert(revert.values["reason"])
    assert inner.name, data.hex()
    return f"{PAIRING}:{inner.name}"


def _py_evm(world: ProvenWorld, attempt: Attempt) -> tuple[bool, bytes]:
    outcome = world.evm.run(world.call(attempt), Overrides(timestamp=world.now_s))
    assert outcome.halt is None, outcome.halt
    return outcome.succeeded, outcome.output


def _native(world: ProvenWorld, call: Call) -> tuple[bool, bytes]:
    outcome = run_native(world.evm.pinned, call, chain_id=world.chain_id, timestamp=world.now_s)
    assert not outcome.halt, outcome.halt
    return outcome.succeeded, outcome.output


async def _refused_locally(world: ProvenWorld, attempt: Attempt) -> str:
    """The code with which the requester's own checks refuse the same thing; empty if they accept it."""
    try:
        await world.verify_locally(attempt)
        settled = unpack_settlement(attempt.settlement)
        digest = agreement_digest(world.chain_id, world.market, settled.agreement)
        await world.verify_locally(replace(attempt, agreement_hash=digest))
        opened = statement_commit(Hash32(settled.salt), core_id(attempt.core))
        signed = (settled.requester_signature, settled.prover_signature)
        signers = tuple(recover_signer(digest, each[1:]) for each in signed)
    except (PortError, ProtocolError) as error:
        cause = error.__cause__
        return f"{error.code}:{cause.code}" if isinstance(cause, ProvingError) else error.code
    if opened != settled.agreement.statement_commit:
        return "STATEMENT"
    return "" if signers == (settled.agreement.requester, settled.agreement.prover) else "SIGNER"


async def _all_refused_locally(world: ProvenWorld, attempts: list[Attempt]) -> list[str]:
    return [await _refused_locally(world, attempt) for attempt in attempts]


def test_the_unchanged_table_lands_and_can_be_claimed(world: ProvenWorld) -> None:
    """Else refusals would say nothing. Both EVMs agree, here and below."""
    for door in (LAND, CLAIM):
        attempt = replace(world.honest, door=door)
        assert _py_evm(world, attempt)[0]
        assert _native(world, world.call(attempt))[0]
    assert trio.run(_refused_locally, world, world.honest) == ""


def test_every_change_is_refused_by_name_here_and_there(world: ProvenWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """At least 500 changes of core, payment, proof and triggers. For half of them, only the pairing can tell."""
    made = list(mutations(SEED, world))
    by_py_evm: Counter[str] = Counter()
    for kind, attempt in made:
        by_py_evm[kind.name] += 1
        if by_py_evm[kind.name] <= BOTH_EVMS:
            assert _py_evm(world, attempt) == _native(world, world.call(attempt)), kind.name

    # What has no counterpart outside a transaction is judged by the contract alone.
    local = [(k, a) for k, a in made if a.packed is None and a.triggers == world.honest.triggers]
    codes = trio.run(_all_refused_locally, world, [attempt for _, attempt in local])
    assert [] == [kind.name for (kind, _), code in zip(local, codes, strict=True) if not code]

    names: Counter[str] = Counter()
    only_pairing = 0
    code_of = dict(zip([id(attempt) for _, attempt in local], codes, strict=True))
    for kind, attempt in made:
        accepted, output = _native(world, world.call(attempt))
        assert not accepted, kind.name
        name = _named(output)
        assert not kind.refused_by or name in kind.refused_by, (kind.name, name)
        names[name] += 1
        only_pairing += name == PAIRING and code_of.get(id(attempt)) == "INVALID_PROOF:PRV-035"
    with capsys.disabled():
        print(f"\n{len(made)} changes of {len(KINDS)} kinds refused on L1: {dict(names.most_common())}")
        print(f"{len(local)} of them refused locally: {dict(Counter(codes).most_common())}")
        print(f"{only_pairing} of them are well-formed, and refused by the pairing equation alone in both places")
    assert len(made) >= 500
    assert 2 * only_pairing >= len(made)


def test_a_rerandomised_proof_is_as_good_and_still_bound_to_payee_and_agreement(world: ProvenWorld) -> None:
    """Anybody can make other bytes of a proof, nobody can make it pay somebody else."""
    (good,) = world.honest.proofs
    points = TableProof.from_bytes(good.proof).proof
    for _ in range(3):
        points = rerandomise(world.key, points)
        other = replace(world.honest, proofs=rollup_proof_with(world, points))
        assert other.proofs != world.honest.proofs
        for door in (LAND, CLAIM):
            outcome = run_native(
                world.evm.pinned,
                world.call(replace(other, door=door)),
                chain_id=world.chain_id,
                timestamp=world.now_s,
            )
            assert outcome.succeeded
            assert (world.market, SETTLED) in outcome.topics
        for stolen in (
            replace(other, payee=world.user.address),
            replace(other, payee=bytes(20)),
            replace(other, agreement_hash=bytes(31) + b"\x01"),
            replace(other, agreement_hash=bytes(32), settlement=b""),
        ):
            accepted, output = _native(world, world.call(stolen))
            assert (accepted, _named(output)) == (False, PAIRING)
            assert trio.run(_refused_locally, world, stolen) == "INVALID_PROOF:PRV-035"


def test_a_proof_is_of_one_chain(world: ProvenWorld) -> None:
    """The same contracts at the same addresses on another chain do not take it."""
    call = world.call(replace(world.honest, settlement=b""))
    outcome = run_native(world.evm.pinned, call, chain_id=world.chain_id + 1, timestamp=world.now_s)

    assert (outcome.succeeded, _named(outcome.output)) == (False, PAIRING)


def test_each_statement_word_and_public_input_is_bound(world: ProvenWorld) -> None:
    """The verifier's equation itself: each word off by one, under the challenge that follows and under the honest one;
    then each of h, z, y."""
    (good,) = world.honest.proofs
    table = TableProof.from_bytes(good.proof)
    core = decode_core(world.honest.core)
    laid_out = words(core, good.rollup_id, tier_by_number(0))
    inputs = public_input(
        chain_id=world.chain_id,
        rollups_contract=world.rollups,
        core=core_id(world.honest.core),
        rollup_id=good.rollup_id,
        epoch=1,
        family=world.family,
        payee=Address(world.honest.payee),
        agreement_hash=Hash32(world.honest.agreement_hash),
    )

    def z_of(sheet: tuple[int, ...]) -> int:
        return challenge(family=world.family, tier=0, public_input=inputs, words=sheet, h=table.h)

    z = z_of(laid_out)
    y = evaluate(laid_out, z)
    verify(world.key, (table.h, z, y), table.proof)
    for place in range(len(laid_out)):
        wrong = (*laid_out[:place], (laid_out[place] + 1) % R, *laid_out[place + 1 :])
        for point in (z_of(wrong), z):
            with pytest.raises(PairingFailed):
                verify(world.key, (table.h, point, evaluate(wrong, point)), table.proof)
    for public in ((table.h + 1, z, y), (table.h, z + 1, y), (table.h, z, y + 1), (y, z, table.h), (0, 0, 0)):
        with pytest.raises(PairingFailed):
            verify(world.key, public, table.proof)


def test_the_proof_system_itself_binds_public_input_family_and_rollup(world: ProvenWorld) -> None:
    """Asked directly, as any rollup's contract could."""
    (good,) = world.honest.proofs
    rng = Random(SEED)

    def ask(family: bytes, inputs: bytes, statement: bytes) -> tuple[bool, bytes]:
        data = call_data("IGroth16ProofSystem", "verify", family, inputs, statement, good.proof)
        return _native(world, Call(sender=world.user.address, to=world.proof_system, data=data))

    statement = good.rollup_id.to_bytes(8, "big") + world.honest.core
    for _ in range(20):
        assert ask(world.family, rng.randbytes(32), statement) == (True, bytes(32))
    accepted, output = ask(rng.randbytes(32), rng.randbytes(32), statement)
    assert (accepted, _named(output)) == (False, "UnknownTier")
    accepted, output = ask(world.family, rng.randbytes(32), (good.rollup_id + 1).to_bytes(8, "big") + world.honest.core)
    assert (accepted, _named(output)) == (False, "NotInLockset")
