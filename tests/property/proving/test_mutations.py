"""Random changes of a valid proof, its inputs and its key: none is accepted, and most reach the pairing check."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from proving import errors
from proving.bn254 import R
from proving.groth16 import prove, verify, verify_bytes
from proving.native import DEFAULT_OPTIONS, load, view, writable
from proving.points import G1Point, G2Point, Proof, VerifyingKey, public_bytes
from proving.setup_dev import known_secrets, make_key
from tests.unit.proving.circuits import random_circuit

Statement = tuple[VerifyingKey, tuple[int, ...], Proof]
MUTATIONS = 520


@pytest.fixture(scope="module")
def statement() -> Statement:
    r1cs = (circuit := random_circuit(60, 3, seed=21)).r1cs()
    key = make_key(r1cs, known_secrets(r1cs.circuit_hash()))
    proof, public = prove(key, circuit.witness())
    return key.verifying_key(), public, proof


def multiples(group: int, rng: random.Random, count: int) -> bytes:
    """Random points of a group, in EVM order."""
    scalars = b"".join(rng.randrange(1, R).to_bytes(32, "little") for _ in range(count))
    out = bytearray(count * (64, 128)[group - 1])
    load().call("probe_fixed_base", DEFAULT_OPTIONS, group, view(scalars), writable(out))
    return bytes(out)


def g1_points(rng: random.Random, count: int) -> list[G1Point]:
    data = multiples(1, rng, count)
    return [
        (int.from_bytes(data[at : at + 32], "big"), int.from_bytes(data[at + 32 : at + 64], "big"))
        for at in range(0, len(data), 64)
    ]


def g2_points(rng: random.Random, count: int) -> list[G2Point]:
    data = multiples(2, rng, count)
    return [Proof.from_bytes(bytes(64) + data[at : at + 128] + bytes(64)).b for at in range(0, len(data), 128)]


def test_five_hundred_mutations_are_refused(statement: Statement) -> None:
    vk, public, proof = statement
    verify(vk, public, proof)
    rng = random.Random(2026)
    g1, g2 = g1_points(rng, 40), g2_points(rng, 40)

    def other_public() -> Statement:
        values = list(public)
        values[rng.randrange(len(values))] = rng.choice([0, 1, R - 1, rng.randrange(R)])
        return vk, tuple(values), proof

    def nearby_public() -> Statement:
        values = list(public)
        at = rng.randrange(len(values))
        values[at] = (values[at] + rng.choice([1, -1, 1 << rng.randrange(254)])) % R
        return vk, tuple(values), proof

    def other_point() -> Statement:
        name = rng.choice("abc")
        return vk, public, replace(proof, **{name: rng.choice(g2 if name == "b" else g1)})

    def two_other_points() -> Statement:
        return vk, public, replace(proof, a=rng.choice(g1), c=rng.choice(g1))

    def all_other_points() -> Statement:
        return vk, public, Proof(a=rng.choice(g1), b=rng.choice(g2), c=rng.choice(g1))

    def other_key() -> Statement:
        name = rng.choice(["alpha_g1", "beta_g2", "gamma_g2", "delta_g2"])
        return replace(vk, **{name: rng.choice(g1 if name == "alpha_g1" else g2)}), public, proof

    def other_input_point() -> Statement:
        points = list(vk.gamma_abc_g1)
        points[rng.randrange(len(points))] = rng.choice(g1)
        return replace(vk, gamma_abc_g1=tuple(points)), public, proof

    kinds: list[Callable[[], Statement]] = [
        other_public,
        nearby_public,
        other_point,
        two_other_points,
        all_other_points,
        other_key,
        other_input_point,
    ]
    outcomes: Counter[str] = Counter()
    for n in range(MUTATIONS):
        if n % 3 == 0:
            changed = bytearray(proof.to_bytes() + public_bytes(public))
            at = rng.randrange(len(changed))
            changed[at] = (changed[at] + rng.randrange(1, 256)) % 256
            arguments = vk.to_bytes(), bytes(changed[256:]), bytes(changed[:256])
        else:
            key, inputs, mutated = rng.choice(kinds)()
            arguments = key.to_bytes(), public_bytes(inputs), mutated.to_bytes()
        with pytest.raises(errors.ProofRefused) as refused:
            verify_bytes(*arguments)
        outcomes[refused.type.__name__] += 1

    assert outcomes.total() == MUTATIONS, outcomes
    assert outcomes["PairingFailed"] > MUTATIONS // 2
    assert outcomes["PointNotOnCurve"] > 20 and outcomes["PointNotCanonical"] > 0
