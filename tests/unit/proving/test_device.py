"""Device code on the host: every kernel of the CUDA prover, run by the processor, against core and reference.

Each test runs with the threads and blocks of every launch in three orders. A device runs them in no order at all, so a
result that changes with the order is a race.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest

from proving import cuda, errors
from proving import reference as ref
from proving.bn254 import Q, R
from proving.build_cuda import build_for_host
from proving.cuda import CudaCore, DevicePoints, Placement, ResidentKey
from proving.groth16 import prove_with_fixed_blinding_for_tests, verify
from proving.native import DEFAULT_OPTIONS, load, view, writable
from proving.setup_dev import known_secrets, make_key
from proving.wtns import Witness
from proving.zkey import Zkey
from tests.unit.proving.circuits import Circuit, random_circuit, square_and_product

ORDERS = {"forward": 0, "backward": 1, "strided": 2}
FEW = Placement(tables=1)
"""Stored multiples take the processor long to make."""


@cache
def core() -> CudaCore:
    return CudaCore(build_for_host())


@pytest.fixture(params=ORDERS.values(), ids=ORDERS.keys())
def order(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


def plain(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(32, "little") for v in values)


def multiples(group: int, scalars: list[int]) -> bytes:
    """Scalars times the generator in EVM encoding, by the core."""
    out = bytearray((64, 128)[group - 1] * len(scalars))
    load().call("probe_fixed_base", DEFAULT_OPTIONS, group, view(plain(scalars)), writable(out))
    return bytes(out)


def zkey_points(group: int, scalars: list[int]) -> bytes:
    """The same in zkey encoding."""
    evm = multiples(group, scalars)
    out = bytearray(len(evm))
    load().call("points_evm_to_zkey", DEFAULT_OPTIONS, group, view(evm), writable(out))
    return bytes(out)


def sum_on_device(group: int, logarithms: list[int], scalars: list[int], placement: Placement) -> bytes:
    points = DevicePoints.load(core(), group, zkey_points(group, logarithms), placement)
    total, _ = points.multiply(plain(scalars))
    points.close()
    return total


def expected_sum(group: int, logarithms: list[int], scalars: list[int]) -> bytes:
    """What the sum must be when point i is logarithms[i] times the generator."""
    return multiples(group, [sum(k * s for k, s in zip(logarithms, scalars, strict=True)) % R])


def splitmix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % (1 << 64)
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    x = (x ^ x >> 27) * 0x94D049BB133111EB % (1 << 64)
    return x ^ x >> 31


@pytest.mark.parametrize(("field", "modulus"), [(0, Q), (1, R)])
def test_the_carry_chains_of_the_device_multiply_add_and_subtract(field: int, modulus: int) -> None:
    """Edges of the limbs: the values that make every carry and borrow happen, pairwise."""
    rng = random.Random(field)
    words = [sum(word << (32 * i) for i in range(8)) % modulus for word in ((1 << 32) - 1, 1 << 31, 1)]
    edges = [0, 1, 2, modulus - 1, modulus - 2, (1 << 256) % modulus, (1 << 253) - 1, (1 << 224) - 1, *words]
    samples = edges + [rng.randrange(modulus) for _ in range(12)]
    pairs = [(a, b) for a in samples for b in samples]
    left, right = plain([a for a, _ in pairs]), plain([b for _, b in pairs])

    assert cuda.field_operation(core(), field, 0, left, right) == plain([(a + b) % modulus for a, b in pairs])
    assert cuda.field_operation(core(), field, 1, left, right) == plain([(a - b) % modulus for a, b in pairs])
    assert cuda.field_operation(core(), field, 2, left, right) == plain([a * b % modulus for a, b in pairs])


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_small_transforms_agree_with_direct_sums(order: int, size: int) -> None:
    rng = random.Random(size)
    values = [rng.randrange(R) for _ in range(size)]
    buffer = bytearray(plain(values))

    cuda.odd_coset(core(), buffer, Placement(host_order=order))

    assert buffer == plain(ref.shift_to_odd_points(values, size))


@pytest.mark.parametrize("log_size", [10, 11, 13])
def test_transforms_of_several_passes_agree_with_the_core(order: int, log_size: int) -> None:
    """One tile, one level beyond a tile, and a pass whose tile has columns."""
    rng = random.Random(log_size)
    values = plain([rng.randrange(R) for _ in range(1 << log_size)])
    expected, actual = bytearray(values), bytearray(values)
    load().call("probe_odd_coset", DEFAULT_OPTIONS, writable(expected))

    cuda.odd_coset(core(), actual, Placement(host_order=order))

    assert actual == expected


@pytest.mark.parametrize(
    ("group", "count", "width", "tables"),
    [(1, 1, 0, 0), (1, 2, 4, 1), (1, 33, 5, 4), (1, 90, 7, 0), (1, 500, 10, 1), (2, 40, 5, 3), (2, 30, 0, 0)],
)
def test_sums_agree_for_every_cut(order: int, group: int, count: int, width: int, tables: int) -> None:
    """No stored multiples, some, all; infinity, repeated and opposite points; scalars 0, 1, r - 1 and dense ones."""
    rng = random.Random(count)
    pool = [0, 1, R - 1, 5, R - 5, *(rng.randrange(R) for _ in range(20))]
    logarithms = [rng.choice(pool) for _ in range(count)]
    edges = [0, 1, 2, R - 1, R - 2, (R - 1) // 2, (R + 1) // 2, 1 << 63, (1 << 253) - 1]
    scalars = [rng.choice(edges) if rng.randrange(2) else rng.randrange(R) for _ in range(count)]

    actual = sum_on_device(group, logarithms, scalars, Placement(width=width, tables=tables, host_order=order))

    assert actual == expected_sum(group, logarithms, scalars)


@pytest.mark.parametrize("scalar", [1, R - 1, (R + 1) // 2, 0], ids=["ones", "minus ones", "halves", "zeros"])
def test_a_bucket_that_holds_everything_is_summed_by_whole_blocks(order: int, scalar: int) -> None:
    """Equal scalars meet in one bucket of each window: 9,000 entries need two units of a heavy bucket."""
    logarithms, repeats = list(range(1, 31)), 300
    some = zkey_points(1, logarithms)
    points = DevicePoints.load(core(), 1, some * repeats, Placement(width=14, tables=1, host_order=order))

    total, _ = points.multiply(plain([scalar]) * len(logarithms) * repeats)
    points.close()

    assert total == multiples(1, [scalar * repeats * sum(logarithms) % R])


@pytest.mark.parametrize("group", [1, 2])
def test_equal_and_opposite_points_meet_in_one_bucket(order: int, group: int) -> None:
    """Doubling and cancelling are the cases that the addition formula itself does not cover."""
    logarithms = [3] * 40 + [R - 3] * 38 + [0] * 20
    scalars = [9] * len(logarithms)

    actual = sum_on_device(group, logarithms, scalars, Placement(width=4, host_order=order))

    assert actual == expected_sum(group, logarithms, scalars)
    assert sum_on_device(group, logarithms[1:3] + [R - 6], [9] * 3, Placement(host_order=order)) == bytes(64 * group)


@pytest.mark.parametrize("scalar", [R, R + 1, (1 << 256) - 1, 1 << 255])
def test_a_scalar_that_is_not_below_r_is_refused(scalar: int) -> None:
    with pytest.raises(errors.CoreCallFailed, match="not below r"):
        sum_on_device(1, [1, 2], [5, scalar], Placement())


def test_points_made_on_the_device_are_the_documented_multiples() -> None:
    points = DevicePoints.make(core(), 2, 3, 41)

    sums = [points.multiply(plain([int(i == k) for i in range(3)]))[0] for k in range(3)]

    assert b"".join(sums) == multiples(2, [splitmix64(41 + i) for i in range(3)])


@cache
def key_of(circuit: str) -> tuple[Zkey, Witness]:
    made = {"square": square_and_product, "random": lambda: random_circuit(120, 3, seed=5), "long rows": _long_rows}
    system = made[circuit]()
    return make_key(system.r1cs(), known_secrets(system.r1cs().circuit_hash())), system.witness()


def _long_rows() -> Circuit:
    """Rows of 65, 130 and 300 terms, which blocks share, among rows of one."""
    rng = random.Random(9)
    values = [1, *(rng.randrange(R) for _ in range(300))]
    rows = []
    for length in (300, 1, 65, 130, 64):
        terms = {wire: rng.randrange(1, R) for wire in range(length)}
        a = sum(k * values[wire] for wire, k in terms.items()) % R
        rows.append((terms, {1: 1}, {len(values): 1}))
        values.append(a * values[1] % R)
    return Circuit(rows=tuple(rows), values=tuple(values), n_public=1)


@pytest.mark.parametrize("circuit", ["square", "random", "long rows"])
def test_a_proof_is_the_cores_proof_byte_for_byte(order: int, circuit: str) -> None:
    key, witness = key_of(circuit)
    with ResidentKey(key, Placement(host_order=order, tables=2), core()) as resident:
        actual = resident.prove_with_fixed_blinding_for_tests(witness, 5, 7)
        again = resident.prove_with_fixed_blinding_for_tests(witness, 11, 13)

    assert actual == prove_with_fixed_blinding_for_tests(key, witness, 5, 7)
    assert again == prove_with_fixed_blinding_for_tests(key, witness, 11, 13)


@pytest.mark.parametrize(("width", "tables"), [(4, 1), (7, 3), (9, 0)])
def test_the_cut_of_the_sums_does_not_change_the_proof(width: int, tables: int) -> None:
    key, witness = key_of("random")
    with ResidentKey(key, Placement(width=width, tables=tables, slots=2), core()) as resident:
        assert resident.prove_with_fixed_blinding_for_tests(witness, 5, 7) == prove_with_fixed_blinding_for_tests(
            key, witness, 5, 7
        )


def test_two_proofs_of_one_statement_differ_and_verify() -> None:
    key, witness = key_of("random")
    with ResidentKey(key, FEW, core()) as resident:
        (first, times), (second, _) = resident.prove(witness), resident.prove(witness)

    assert first != second
    assert times.device > 0
    for proof in (first, second):
        verify(key.verifying_key(), witness.public(key.n_public), proof)


def test_a_witness_that_breaks_a_constraint_gives_no_proof() -> None:
    key, witness = key_of("square")
    wrong = bytearray(witness.values)
    wrong[64] ^= 1
    with ResidentKey(key, FEW, core()) as resident, pytest.raises(errors.WitnessUnsatisfied):
        resident.prove(Witness(values=wrong))


@pytest.mark.parametrize(("at", "value"), [(0, 2), (3, R), (4, (1 << 256) - 1)])
def test_a_malformed_witness_is_refused(at: int, value: int) -> None:
    """The constant is not 1, or a value is not below r: found by the host or by the kernel that reads it."""
    key, witness = key_of("square")
    wrong = bytearray(witness.values)
    wrong[32 * at : 32 * at + 32] = value.to_bytes(32, "little")
    with ResidentKey(key, FEW, core()) as resident:
        with pytest.raises(errors.WitnessMalformed):
            resident.prove(Witness(values=wrong))
        with pytest.raises(errors.WitnessMalformed):
            resident.prove(Witness(values=wrong[:-32]))
        resident.prove(witness)  # the slot is free again


def test_a_key_that_does_not_fit_names_what_it_needs() -> None:
    key, _ = key_of("random")
    with pytest.raises(errors.CudaOutOfMemory, match=r"PRV-064.*the key needs \d+ MiB"):
        ResidentKey(key, Placement(memory_bytes=1 << 20), core())


def test_less_memory_means_fewer_stored_multiples() -> None:
    key, witness = key_of("random")
    with ResidentKey(key, core=core()) as roomy:
        most = roomy.info()
    with ResidentKey(key, Placement(memory_bytes=most.key_bytes // 2 + most.slot_bytes), core()) as tight:
        info = tight.info()
        proof = tight.prove_with_fixed_blinding_for_tests(witness, 5, 7)

    assert info.witness_tables < most.witness_tables
    assert proof == prove_with_fixed_blinding_for_tests(key, witness, 5, 7)


@pytest.mark.parametrize("damage", ["row", "wire", "matrix", "count"])
def test_coefficients_that_point_outside_are_refused_at_load(damage: str) -> None:
    key, _ = key_of("square")
    section = bytearray(key.coefficients)
    at = {"count": 0, "matrix": 4, "row": 8, "wire": 12}[damage]
    section[at : at + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    damaged = Zkey(**{name: getattr(key, name) for name in key.__slots__} | {"coefficients": bytes(section)})

    with pytest.raises(errors.ZkeyMalformed):
        ResidentKey(damaged, FEW, core())


def test_a_damaged_point_cannot_make_a_proof() -> None:
    key, witness = key_of("square")
    points = bytearray(key.h)
    points[:64] = points[64:128]
    damaged = Zkey(**{name: getattr(key, name) for name in key.__slots__} | {"h": bytes(points)})

    with ResidentKey(damaged, FEW, core()) as resident, pytest.raises(errors.WitnessUnsatisfied):
        resident.prove(witness)


@pytest.mark.parametrize(
    ("placement", "match"),
    [
        (Placement(slots=0), "proofs in flight"),
        (Placement(slots=17), "proofs in flight"),
        (Placement(width=24), "width"),
        (Placement(host_order=3), "host order"),
        (Placement(device=1), "device 1 of 1"),
    ],
)
def test_a_placement_out_of_range_is_refused(placement: Placement, match: str) -> None:
    key, _ = key_of("square")
    with pytest.raises(errors.ProvingError, match=match):
        ResidentKey(key, placement, core())


def test_rates_are_measured() -> None:
    """On the host the numbers mean nothing; the code that measures runs."""
    assert all(cuda.rate(core(), kind) > 0 for kind in range(3))


def test_error_codes_mirror_the_header() -> None:
    header = (Path(cuda.__file__).parent / "core" / "include" / "unveto_cuda.h").read_text()
    named = {int(m[2]): m[1] for m in re.finditer(r"^  UNVETO_CUDA_(\w+) = (\d+)", header, re.MULTILINE)}

    assert {code: name.title().replace("_", "") for code, name in named.items()} == {
        code: error.__name__.removeprefix("Cuda") for code, error in cuda._ERRORS.items()
    }
