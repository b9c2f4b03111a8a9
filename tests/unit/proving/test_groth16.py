"""Setup, proof and verification against the reference; a wrong proof is refused by the first check that it fails."""

from __future__ import annotations

import ctypes
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from proving import errors
from proving import reference as ref
from proving.bench_circuit import STEP, bench_circuit
from proving.bn254 import Q, R
from proving.groth16 import is_valid, prove, prove_with_fixed_blinding_for_tests, rerandomise, verify, verify_bytes
from proving.native import Options, load
from proving.points import Proof, VerifyingKey, public_bytes
from proving.setup_dev import Secrets, known_secrets, make_key
from proving.wtns import Witness, write_wtns
from proving.zkey import DEV_KEY_NAME, Zkey, points_to_evm
from tests.unit.proving.circuits import Circuit, random_circuit, square_and_product

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "groth16.json").read_text())
SECRETS = Secrets(**{name: int(value) for name, value in VECTORS["secrets"].items()})
R1, R2 = (int(VECTORS["blinding"][name]) for name in ("r1", "r2"))


def reference_key(circuit: Circuit) -> ref.ToyKey:
    s = SECRETS
    return ref.setup(circuit.rows, len(circuit.values), circuit.n_public, s.tau, s.alpha, s.beta, s.delta)


@cache
def small_case() -> tuple[Zkey, VerifyingKey, tuple[int, ...], Proof]:
    circuit = square_and_product()
    key = make_key(circuit.r1cs(), SECRETS)
    proof, public = prove(key, circuit.witness())
    return key, key.verifying_key(), public, proof


@cache
def medium_case() -> tuple[Zkey, Witness, VerifyingKey]:
    circuit = random_circuit(700, 4, seed=11)
    key = make_key(circuit.r1cs(), known_secrets(circuit.r1cs().circuit_hash()))
    return key, circuit.witness(), key.verifying_key()


def g1_bytes(points: tuple[ref.G1, ...]) -> bytes:
    return b"".join(v.to_bytes(32, "big") for p in points for v in (p or (0, 0)))


def g2_bytes(points: tuple[ref.G2, ...]) -> bytes:
    return b"".join(v.to_bytes(32, "big") for p in points for half in (p or ((0, 0), (0, 0))) for v in reversed(half))


def test_reference_makes_the_committed_vector() -> None:
    """The vector is the reference's output: nobody can change one of the two alone."""
    circuit = square_and_product()
    key = reference_key(circuit)
    a, b, c = ref.prove(key, circuit.rows, circuit.values, R1, R2)

    assert ref.verify(key, [49], (a, b, c))
    assert (g1_bytes((a,)) + g2_bytes((b,)) + g1_bytes((c,))).hex() == VECTORS["proof"]
    assert VECTORS["public"] == ["49"]
    assert (
        g1_bytes((key.alpha_g1,))
        + g2_bytes((key.beta_g2, ref.G2_GENERATOR, key.delta_g2))
        + len(key.gamma_abc_g1).to_bytes(4, "big")
        + g1_bytes(key.gamma_abc_g1)
    ).hex() == VECTORS["vk"]


def test_setup_agrees_with_the_reference_in_every_section(options: Options) -> None:
    circuit = square_and_product()
    expected = reference_key(circuit)

    key = make_key(circuit.r1cs(), SECRETS, options=options)

    assert key.domain == expected.domain
    assert points_to_evm(1, key.ic) == g1_bytes(expected.gamma_abc_g1)
    assert points_to_evm(1, key.a) == g1_bytes(expected.a_query)
    assert points_to_evm(1, key.b1) == g1_bytes(expected.b_g1_query)
    assert points_to_evm(2, key.b2) == g2_bytes(expected.b_g2_query)
    assert points_to_evm(1, key.l) == g1_bytes(expected.l_query)
    assert points_to_evm(1, key.h) == g1_bytes(expected.h_query)
    assert key.verifying_key().to_bytes().hex() == VECTORS["vk"]


def test_every_path_and_thread_count_makes_the_same_key() -> None:
    circuit = bench_circuit(6 * STEP).r1cs
    secrets = known_secrets(circuit.circuit_hash())
    options = [Options(cpu_path=path, threads=threads) for path in load().cpu_paths() for threads in (1, 3)]
    first, *others = (make_key(circuit, secrets, options=each) for each in options)

    for other in others:
        assert other == first


def test_a_proof_with_fixed_blinding_is_the_vector(options: Options) -> None:
    key, *_ = small_case()

    proof = prove_with_fixed_blinding_for_tests(key, square_and_product().witness(), R1, R2, options)

    assert proof.to_bytes().hex() == VECTORS["proof"]


def test_both_paths_and_any_thread_count_make_the_same_proof(options: Options) -> None:
    key, witness, _ = medium_case()
    proofs = {
        prove_with_fixed_blinding_for_tests(key, witness, 5, 7, Options(cpu_path=options.cpu_path, threads=n))
        for n in (1, 2, 5)
    }
    proofs.add(prove_with_fixed_blinding_for_tests(key, witness, 5, 7))

    assert len(proofs) == 1


def test_two_proofs_of_one_statement_differ_and_verify(options: Options) -> None:
    key, witness, vk = medium_case()
    (first, public), (second, _) = prove(key, witness, options=options), prove(key, witness, options=options)

    assert first != second
    assert public == witness.public(4)
    verify(vk, public, first)
    verify(vk, public, second)


def test_rerandomising_changes_all_three_points_and_keeps_the_proof_valid() -> None:
    key, vk, public, proof = small_case()

    other = rerandomise(vk, proof)

    assert other.a != proof.a and other.b != proof.b and other.c != proof.c
    verify(vk, public, other)
    verify(vk, public, rerandomise(key, other))


def test_rerandomising_an_invalid_proof_does_not_make_it_valid() -> None:
    _, vk, public, proof = small_case()
    swapped = replace(proof, a=proof.c, c=proof.a)

    assert not is_valid(vk, public, rerandomise(vk, swapped))


def test_an_unsatisfied_witness_gives_no_proof(options: Options) -> None:
    key, *_ = small_case()
    for values in ([1, 49, 7, 3, 79], [1, 48, 7, 3, 78], [1, 49, R - 7, 3, 78]):
        with pytest.raises(errors.WitnessUnsatisfied):
            prove(key, Witness.from_ints(values), options=options)


def test_a_key_of_another_circuit_gives_no_proof() -> None:
    """Equal sizes, other coefficients: the self-check is what notices."""
    circuit = square_and_product()
    other = replace(circuit, rows=(circuit.rows[0], ({0: 5, 2: 4}, {3: 1}, {4: 1})))
    with pytest.raises(errors.WitnessUnsatisfied):
        prove(make_key(other.r1cs(), SECRETS), circuit.witness())


def test_a_witness_of_the_wrong_length_is_refused() -> None:
    key, *_ = small_case()
    with pytest.raises(errors.WitnessMalformed, match="128 bytes, expected 160"):
        prove(key, Witness.from_ints([1, 49, 7, 3]))


def test_the_caller_stops_a_proof_through_its_progress_function() -> None:
    key, witness, _ = medium_case()
    seen: list[tuple[int, int]] = []

    def stop_at_second(done: int, total: int) -> bool:
        seen.append((done, total))
        return len(seen) == 2

    with pytest.raises(errors.Cancelled):
        prove(key, witness, progress=stop_at_second)
    assert len(seen) == 2


def test_progress_rises_to_its_total() -> None:
    key, witness, _ = medium_case()
    seen: list[tuple[int, int]] = []
    prove(key, witness, progress=lambda done, total: bool(seen.append((done, total))))

    # How often it is asked in between depends on the machine's load.
    assert seen == sorted(seen) and seen[-1] == (100, 100) and len(seen) > 2


def test_an_exception_of_the_progress_function_reaches_the_caller() -> None:
    key, witness, _ = medium_case()

    def broken(done: int, total: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(key, witness, progress=broken)


def test_a_witness_read_by_prove_is_wiped_and_the_callers_is_not() -> None:
    key, _, public, _ = small_case()
    witness = square_and_product().witness()

    assert prove(key, write_wtns(witness))[1] == prove(key, witness)[1] == public
    assert witness[2] == 7


def test_dev_keys_are_the_same_on_every_run_and_say_what_they_are() -> None:
    r1cs = square_and_product().r1cs()
    first, second = (make_key(r1cs, known_secrets(r1cs.circuit_hash())) for _ in range(2))

    assert first == second
    assert first.is_dev_key and first.contributions[0].name == DEV_KEY_NAME
    other = random_circuit(2, 1, seed=1).r1cs()
    assert known_secrets(other.circuit_hash()) != known_secrets(r1cs.circuit_hash())


def test_zero_secrets_and_roots_of_the_domain_are_refused() -> None:
    r1cs = square_and_product().r1cs()
    for bad in (replace(SECRETS, tau=0), replace(SECRETS, delta=0), replace(SECRETS, tau=1), replace(SECRETS, alpha=R)):
        with pytest.raises(errors.CoreCallFailed):
            make_key(r1cs, bad)


def test_a_circuit_without_private_wires_or_constraints_can_be_proven(options: Options) -> None:
    """The smallest sizes: domain 1 and an empty L section."""
    circuit = Circuit(rows=(), values=(1,), n_public=0)
    key = make_key(circuit.r1cs(), SECRETS, options=options)

    proof, public = prove(key, circuit.witness(), options=options)

    assert key.domain == 1 and public == ()
    verify(key.verifying_key(), (), proof)


# Refusals. Each mutation is wrong in one way and must be refused by the check that is named for it.


def point_outside_subgroup() -> tuple[ref.Fq2, ref.Fq2]:
    """A point of the twist whose order does not divide r: the first x = (k, 0) with a square right-hand side."""
    for k in range(1, 100):
        square = ref.fq2_add((k**3 % Q, 0), ref.TWIST_B)
        root = fq2_sqrt(square)
        if root is not None and not ref.g2_is_in_subgroup(((k, 0), root)):
            return (k, 0), root
    raise AssertionError("no point found")


def fq2_sqrt(a: ref.Fq2) -> ref.Fq2 | None:
    """A square root in Fq2 by the complex method (q = 3 mod 4)."""
    norm_root = pow(a[0] * a[0] + a[1] * a[1], (Q + 1) // 4, Q)
    for sign in (1, -1):
        half = (a[0] + sign * norm_root) * pow(2, -1, Q) % Q
        c0 = pow(half, (Q + 1) // 4, Q)
        if c0 * c0 % Q == half and c0 != 0:
            root = (c0, a[1] * pow(2 * c0, -1, Q) % Q)
            if ref.fq2_mul(root, root) == a:
                return root
    return None


MUTATIONS: dict[str, tuple[Callable[[Proof], Proof], type[errors.ProvingError]]] = {
    "a.x + q": (lambda p: replace(p, a=(p.a[0] + Q, p.a[1])), errors.PointNotCanonical),
    "a.y = q": (lambda p: replace(p, a=(p.a[0], Q)), errors.PointNotCanonical),
    "b.x.c0 + q": (lambda p: replace(p, b=((p.b[0][0] + Q, p.b[0][1]), p.b[1])), errors.PointNotCanonical),
    "b.y.c1 = 2^256 - 1": (lambda p: replace(p, b=(p.b[0], (p.b[1][0], (1 << 256) - 1))), errors.PointNotCanonical),
    "c.y + q": (lambda p: replace(p, c=(p.c[0], p.c[1] + Q)), errors.PointNotCanonical),
    "a.x + 1": (lambda p: replace(p, a=((p.a[0] + 1) % Q, p.a[1])), errors.PointNotOnCurve),
    "a = (0, 1)": (lambda p: replace(p, a=(0, 1)), errors.PointNotOnCurve),
    "b halves swapped": (lambda p: replace(p, b=((p.b[0][1], p.b[0][0]), p.b[1])), errors.PointNotOnCurve),
    "c coordinates swapped": (lambda p: replace(p, c=(p.c[1], p.c[0])), errors.PointNotOnCurve),
    "b outside the subgroup": (lambda p: replace(p, b=point_outside_subgroup()), errors.PointNotInSubgroup),
    "-a": (lambda p: replace(p, a=(p.a[0], Q - p.a[1])), errors.PairingFailed),
    "-b": (lambda p: replace(p, b=(p.b[0], (Q - p.b[1][0], Q - p.b[1][1]))), errors.PairingFailed),
    "-c": (lambda p: replace(p, c=(p.c[0], Q - p.c[1])), errors.PairingFailed),
    "a and c swapped": (lambda p: replace(p, a=p.c, c=p.a), errors.PairingFailed),
    "b is the generator": (lambda p: replace(p, b=ref.G2_GENERATOR_POINT), errors.PairingFailed),
    "a is infinity": (lambda p: replace(p, a=(0, 0)), errors.PairingFailed),
    "b is infinity": (lambda p: replace(p, b=((0, 0), (0, 0))), errors.PairingFailed),
    "c is infinity": (lambda p: replace(p, c=(0, 0)), errors.PairingFailed),
    "everything is infinity": (
        lambda p: Proof(a=(0, 0), b=((0, 0), (0, 0)), c=(0, 0)),
        errors.PairingFailed,
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_proof_is_refused_by_the_check_named_for_it(name: str) -> None:
    _, vk, public, proof = small_case()
    mutate, error = MUTATIONS[name]
    with pytest.raises(errors.ProofRefused) as refused:
        verify(vk, public, mutate(proof))

    assert refused.type is error


@pytest.mark.parametrize(
    ("public", "error"),
    [
        ((), errors.PublicCountMismatch),
        ((49, 49), errors.PublicCountMismatch),
        ((R,), errors.PublicNotCanonical),
        ((49 + R,), errors.PublicNotCanonical),
        (((1 << 256) - 1,), errors.PublicNotCanonical),
        ((1 << 256,), errors.PublicMalformed),
        ((-1,), errors.PublicMalformed),
        ((48,), errors.PairingFailed),
        ((0,), errors.PairingFailed),
    ],
)
def test_wrong_public_inputs_are_refused(public: tuple[int, ...], error: type[errors.ProvingError]) -> None:
    _, vk, _, proof = small_case()
    with pytest.raises(errors.ProvingError) as refused:
        verify(vk, public, proof)

    assert refused.type is error


def test_checks_come_in_the_promised_order() -> None:
    """A proof that is wrong in every way is refused by the cheapest check; mending it step by step reaches the next."""
    _, vk, public, proof = small_case()
    outside = replace(proof, b=point_outside_subgroup())
    off_curve = replace(outside, a=(1, 1))
    ladder = [
        ((), replace(off_curve, c=(Q, 1)), errors.PublicCountMismatch),
        ((R,), replace(off_curve, c=(Q, 1)), errors.PublicNotCanonical),
        (public, replace(off_curve, c=(Q, 1)), errors.PointNotCanonical),
        (public, off_curve, errors.PointNotOnCurve),
        (public, outside, errors.PointNotInSubgroup),
        (public, replace(proof, b=ref.G2_GENERATOR_POINT), errors.PairingFailed),
    ]
    for inputs, bad, error in ladder:
        with pytest.raises(errors.ProofRefused) as refused:
            verify(vk, inputs, bad)
        assert refused.type is error
    verify(vk, public, proof)


def test_swapped_public_inputs_are_refused() -> None:
    key, witness, vk = medium_case()
    proof, public = prove(key, witness)
    verify(vk, public, proof)
    with pytest.raises(errors.PairingFailed):
        verify(vk, (public[1], public[0], *public[2:]), proof)


def test_every_bit_of_a_proof_matters() -> None:
    """Single bit flips over all 256 bytes: none verifies, and none is anything but a coded refusal."""
    _, vk, public, proof = small_case()
    vk_bytes, inputs, good = vk.to_bytes(), public_bytes(public), proof.to_bytes()
    rng = random.Random(4)
    for at in range(256):
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        with pytest.raises(errors.ProofRefused):
            verify_bytes(vk_bytes, inputs, bytes(bad))


def test_proofs_of_other_lengths_are_refused() -> None:
    _, vk, public, proof = small_case()
    for bad in (b"", proof.to_bytes()[:-1], proof.to_bytes() + b"\0", proof.to_bytes() * 2):
        with pytest.raises(errors.ProofMalformed):
            verify_bytes(vk.to_bytes(), public_bytes(public), bad)
        with pytest.raises(errors.ProofMalformed):
            Proof.from_bytes(bad)


def test_damaged_verifying_keys_are_refused_or_fail_the_pairing() -> None:
    _, vk, public, proof = small_case()
    good, inputs, words = vk.to_bytes(), public_bytes(public), proof.to_bytes()
    for length in (0, 63, 451, len(good) - 1):
        with pytest.raises(errors.VerifyingKeyMalformed):
            verify_bytes(good[:length], inputs, words)
    huge_count = good[:448] + b"\xff\xff\xff\xff" + good[452:]
    with pytest.raises(errors.VerifyingKeyMalformed):
        verify_bytes(huge_count, inputs, words)
    with pytest.raises(errors.VerifyingKeyMalformed):
        VerifyingKey.from_bytes(huge_count)
    rng = random.Random(9)
    for _ in range(60):
        at = rng.choice([*range(448), *range(452, len(good))])
        bad = good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
        with pytest.raises((errors.VerifyingKeyMalformed, errors.PairingFailed)):
            verify_bytes(bad, inputs, words)


def test_byte_forms_round_trip() -> None:
    _, vk, _, proof = small_case()

    assert Proof.from_bytes(proof.to_bytes()) == proof
    assert VerifyingKey.from_bytes(vk.to_bytes()) == vk


def test_prove_needs_no_section_that_it_does_not_read() -> None:
    """The B query in G1 is not used: zeroing it changes nothing."""
    key, vk, public, _ = small_case()
    proof, _ = prove(replace(key, b1=bytes(len(key.b1))), square_and_product().witness())

    assert is_valid(vk, public, proof)


def test_a_null_argument_is_a_bad_argument_not_a_crash() -> None:
    from proving.native import Bytes, Code, load

    with pytest.raises(errors.CoreCallFailed) as refused:
        load().call("verify", Options(), Bytes(None, 452), Bytes(None, 0), Bytes(None, 256))
    assert refused.value.core_code == Code.BAD_ARGUMENT
    with pytest.raises(errors.CoreCallFailed):
        load().call("prove", Options(), None, Bytes(None, 0), ctypes.create_string_buffer(256))
