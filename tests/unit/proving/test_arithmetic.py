"""The native core agrees with the plain-Python reference on every layer, on every instruction-set path."""

from __future__ import annotations

import hashlib
import random
import re

import numpy as np
import pytest

from proving import curve_parameters, errors
from proving import reference as ref
from proving.native import Code, CpuPath, Options, load, view, writable

FIELDS = {0: ref.Q, 1: ref.R}
OPERATIONS = {
    0: lambda a, b, p: (a + b) % p,
    1: lambda a, b, p: (a - b) % p,
    2: lambda a, b, p: a * b % p,
    3: lambda a, b, p: pow(a, -1, p) if a else 0,
}


def plain(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(32, "little") for v in values)


def evm_g1(p: ref.G1) -> bytes:
    return bytes(64) if p is None else b"".join(v.to_bytes(32, "big") for v in p)


def evm_g2(p: ref.G2) -> bytes:
    if p is None:
        return bytes(128)
    return b"".join(v.to_bytes(32, "big") for v in (p[0][1], p[0][0], p[1][1], p[1][0]))


def field_samples(modulus: int, seed: int) -> list[int]:
    """Edges of the representation first: carries between limbs, both ends of the range, Montgomery constants."""
    rng = random.Random(seed)
    edges = [0, 1, 2, modulus - 1, modulus - 2, (1 << 256) % modulus, (1 << 512) % modulus, (1 << 253) - 1, 1 << 252]
    limbs = [sum(word << (64 * i) for i in range(4)) % modulus for word in ((1 << 64) - 1, 1 << 63, 1)]
    return edges + limbs + [rng.randrange(modulus) for _ in range(20)]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_field_operations_agree_on_all_pairs_of_edge_values(options: Options, field: int, operation: int) -> None:
    modulus = FIELDS[field]
    samples = field_samples(modulus, seed=field)
    pairs = [(a, b) for a in samples for b in (samples if operation != 3 else samples[:1])]
    out = bytearray(32 * len(pairs))

    left, right = plain([a for a, _ in pairs]), plain([b for _, b in pairs])
    load().call("probe_field", options, field, operation, view(left), view(right), writable(out))

    assert out == plain([OPERATIONS[operation](a, b, modulus) for a, b in pairs])


@pytest.mark.parametrize("field", FIELDS)
def test_inverses_agree_for_numbers_of_every_length(options: Options, field: int) -> None:
    """Runs of zeros and ones at every bit position drive the approximations of the binary GCD to their edges."""
    modulus, rng = FIELDS[field], random.Random(field)
    shaped = [(rng.getrandbits(1 + n % 64) | 1) << n for n in range(253)] + [(1 << n) - 1 for n in range(1, 255)]
    values = [v % modulus for v in shaped] + [modulus - 1 - (v % modulus) for v in shaped]
    inputs = [v * pow(1 << 256, -1, modulus) % modulus for v in values]  # the shape is that of the Montgomery form
    out = bytearray(32 * len(inputs))

    load().call("probe_field", options, field, 3, view(plain(inputs)), view(plain(inputs)), writable(out))

    assert out == plain([pow(v, -1, modulus) if v else 0 for v in inputs])


def test_a_field_operand_equal_to_the_modulus_is_refused(options: Options) -> None:
    out = bytearray(32)
    with pytest.raises(errors.CoreCallFailed, match="out of range"):
        load().call("probe_field", options, 0, 0, view(plain([ref.Q])), view(plain([1])), writable(out))


@pytest.mark.parametrize("count", [1, 2, 3, 40, 300, 2000])
def test_g1_multi_scalar_multiplication_agrees(options: Options, count: int) -> None:
    """Repeated points, negated points, infinity, and scalars 0, 1, r - 1 meet in the same buckets."""
    rng = random.Random(count)
    bases = [ref.g1_mul(ref.G1_GENERATOR, rng.randrange(ref.R)) for _ in range(min(count, 6))]
    pool = [*bases, ref.g1_neg(bases[0]), None]
    points = [pool[rng.randrange(len(pool))] for _ in range(count)]
    scalars = [rng.choice([0, 1, 2, ref.R - 1, 1 << 63, rng.randrange(ref.R)]) for _ in range(count)]
    totals: dict[ref.G1, int] = {}
    for point, scalar in zip(points, scalars, strict=True):
        totals[point] = totals.get(point, 0) + scalar
    expected: ref.G1 = None
    for point, scalar in totals.items():
        expected = ref.g1_add(expected, ref.g1_mul(point, scalar))
    out = bytearray(64)

    load().call("probe_msm", options, 1, view(b"".join(map(evm_g1, points))), view(plain(scalars)), writable(out))

    assert out == evm_g1(expected)


def test_g2_multi_scalar_multiplication_agrees(options: Options) -> None:
    rng = random.Random(7)
    bases = [ref.g2_mul(ref.G2_GENERATOR, k) for k in (1, 5, ref.R - 5)] + [None]
    scalars = [rng.randrange(ref.R) for _ in range(3)] + [9]
    expected: ref.G2 = None
    for base, scalar in zip(bases, scalars, strict=True):
        expected = ref.g2_add(expected, ref.g2_mul(base, scalar))
    out = bytearray(128)

    load().call("probe_msm", options, 2, view(b"".join(map(evm_g2, bases))), view(plain(scalars)), writable(out))

    assert out == evm_g2(expected)


@pytest.mark.parametrize("group", [1, 2])
def test_fixed_base_multiples_agree(options: Options, group: int) -> None:
    # In windows of five bits the last scalar ends with adding a point to itself: 12 2^250 = -(r mod 2^250) mod r.
    doubled = (12 << 250) - ref.R % (1 << 250)
    scalars = [0, 1, 2, 15, 16, 17, ref.R - 1, ref.R - 2, 1 << 253, 0x123456789ABCDEF << 120, doubled]
    out = bytearray((64, 128)[group - 1] * len(scalars))

    load().call("probe_fixed_base", options, group, view(plain(scalars)), writable(out))

    if group == 1:
        assert out == b"".join(evm_g1(ref.g1_mul(ref.G1_GENERATOR, k)) for k in scalars)
    else:
        assert out == b"".join(evm_g2(ref.g2_mul(ref.G2_GENERATOR, k)) for k in scalars)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_transform_to_the_odd_coset_agrees_with_direct_sums(options: Options, size: int) -> None:
    rng = random.Random(size)
    values = [rng.randrange(ref.R) for _ in range(size)]
    buffer = bytearray(plain(values))

    load().call("probe_odd_coset", options, writable(buffer))

    assert buffer == plain(ref.shift_to_odd_points(values, size))


def test_transform_splits_into_parallel_parts_without_changing_the_result(options: Options) -> None:
    """A linear map: f(x + y) = f(x) + f(y), at a size where several threads share one stage."""
    rng = random.Random(3)
    size = 1 << 14
    x, y = ([rng.randrange(ref.R) for _ in range(size)] for _ in range(2))
    images = []
    for values, threads in ((x, 1), (y, 2), ([(a + b) % ref.R for a, b in zip(x, y, strict=True)], 3)):
        buffer = bytearray(plain(values))
        load().call("probe_odd_coset", Options(cpu_path=options.cpu_path, threads=threads), writable(buffer))
        images.append([int.from_bytes(buffer[i : i + 32], "little") for i in range(0, len(buffer), 32)])

    assert [(a + b) % ref.R for a, b in zip(images[0], images[1], strict=True)] == images[2]


def odd_coset(values: list[int], options: Options) -> list[int]:
    buffer = bytearray(plain(values))
    load().call("probe_odd_coset", options, writable(buffer))
    return [int.from_bytes(buffer[i : i + 32], "little") for i in range(0, len(buffer), 32)]


@pytest.mark.parametrize("log_size", [6, 7, 9, 12, 13, 15])
def test_a_monomial_keeps_its_degree_on_the_odd_points(options: Options, log_size: int) -> None:
    """Values of x^d + c become values of x^d + c at the odd powers of the double domain's root; d low, middle, top."""
    size = 1 << log_size
    double_root = pow(5, (ref.R - 1) // (2 * size), ref.R)
    for degree, constant in ((0, 5), (1, 0), (size // 2 + 3, ref.R - 1), (size - 1, 2)):
        step = pow(double_root, 2 * degree, ref.R)
        values, image, power, shifted = [], [], 1, pow(double_root, degree, ref.R)
        for _ in range(size):
            values.append((power + constant) % ref.R)
            image.append((shifted + constant) % ref.R)
            power, shifted = power * step % ref.R, shifted * step % ref.R

        assert odd_coset(values, options) == image


@pytest.mark.parametrize("log_size", [6, 8, 11, 14])
def test_every_path_transforms_random_and_extreme_values_alike(log_size: int) -> None:
    rng = random.Random(log_size)
    edges = [0, 1, ref.R - 1, ref.R - 2, 1 << 253, (1 << 52) - 1, 1 << 52]
    values = [rng.choice(edges) if rng.randrange(4) else rng.randrange(ref.R) for _ in range(1 << log_size)]
    paths = [Options(cpu_path=path, threads=threads) for path in load().cpu_paths() for threads in (1, 3)]
    first, *others = (odd_coset(values, options) for options in paths)

    for other in others:
        assert other == first


@pytest.mark.campaign
@pytest.mark.parametrize("log_size", [18, 21])
def test_every_path_transforms_large_domains_alike(log_size: int) -> None:
    """Large enough for the vectors to be reduced on the way. Command: python -m pytest -m campaign -k large_domains"""
    rng = np.random.default_rng(log_size)
    values = rng.integers(0, 1 << 62, size=(1 << log_size, 4), dtype=np.uint64)
    values[:, 3] %= 0x30644E72E131A029
    images = []
    for path in load().cpu_paths():
        buffer = bytearray(values.tobytes())
        load().call("probe_odd_coset", Options(cpu_path=path), writable(buffer))
        images.append(hashlib.sha256(buffer).digest())

    assert len(set(images)) == 1


def test_pairing_agrees_coefficient_by_coefficient(options: Options) -> None:
    p, q = ref.g1_mul(ref.G1_GENERATOR, 0xABCDEF), ref.g2_mul(ref.G2_GENERATOR, 0x987654321)
    out = bytearray(384)

    load().call("probe_pairing", options, view(evm_g1(p)), view(evm_g2(q)), writable(out))

    assert out == plain([part for coefficient in ref.pairing(p, q) for part in coefficient])


def test_committed_parameters_are_what_the_generator_writes() -> None:
    assert curve_parameters.TARGET.read_text() == curve_parameters.render()


def test_error_codes_mirror_the_header() -> None:
    header = (curve_parameters.TARGET.parents[1] / "include" / "unveto_core.h").read_text()
    block = header[header.index("typedef enum unveto_code") : header.index("} unveto_code;")]

    assert {m[1]: int(m[2]) for m in re.finditer(r"UNVETO_(\w+) = (\d+)", block)} == {c.name: c.value for c in Code}


def test_every_path_that_the_cpu_flags_allow_is_present() -> None:
    """A fast path must not be lost silently: the CPU flags are read independently."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = set(re.findall(r"\w+", file.read()))

    assert CpuPath.PORTABLE in load().cpu_paths()
    assert (CpuPath.ADX in load().cpu_paths()) == ({"adx", "bmi2"} <= flags)
    ifma = {"adx", "bmi2", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512ifma"}
    assert (CpuPath.IFMA in load().cpu_paths()) == (ifma <= flags)


def test_an_unknown_cpu_path_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNVETO_CPU", "quantum")
    with pytest.raises(errors.CoreCallFailed, match="UNVETO_CPU"):
        load().call("probe_odd_coset", Options(), writable(bytearray(32)))


def test_threads_out_of_range_are_refused() -> None:
    with pytest.raises(errors.CoreCallFailed, match="257 threads"):
        load().call("probe_odd_coset", Options(threads=257), writable(bytearray(32)))
