"""Multi-scalar multiplication on every path, with the inputs that break additions which expect random points.

Points are known multiples of the generator, so a sum of any size is one multiplication of the reference.
"""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable

import pytest

from proving import errors
from proving import reference as ref
from proving.native import CpuPath, Options, PointSetArg, load, view, writable
from proving.prepared import radix_bits
from tests.unit.proving.test_arithmetic import evm_g1, evm_g2, plain

Values = list[int]


def multiples(group: int, logs: Values) -> bytes:
    """log * generator for each logarithm, EVM form; made by another algorithm of the core, which has its own tests."""
    out = bytearray((64, 128)[group - 1] * len(logs))
    load().call("probe_fixed_base", Options(cpu_path=CpuPath.PORTABLE), group, view(plain(logs)), writable(out))
    return bytes(out)


def msm(options: Options, group: int, points: bytes, scalars: Values) -> bytes:
    out = bytearray((64, 128)[group - 1])
    load().call("probe_msm", options, group, view(points), view(plain(scalars)), writable(out))
    return bytes(out)


def expected(group: int, logs: Values, scalars: Values) -> bytes:
    log = sum(a * b for a, b in zip(logs, scalars, strict=True)) % ref.R
    if group == 1:
        return evm_g1(ref.g1_mul(ref.G1_GENERATOR, log))
    return evm_g2(ref.g2_mul(ref.G2_GENERATOR, log))


def edge_scalars(rng: random.Random, n: int) -> Values:
    """Zero, one, both sides of r / 2 and of 64 bits, digits at both ends of their range, and random ones."""
    half = ref.R // 2
    edges = [
        0,
        1,
        2,
        ref.R - 1,
        ref.R - 2,
        half,
        half + 1,
        (1 << 64) - 1,
        1 << 64,
        ref.R - (1 << 64),
        ref.R - (1 << 64) + 1,
    ]
    edges += [sum(0x8000 << (16 * i) for i in range(15)), ref.R - sum(0x8000 << (16 * i) for i in range(15))]
    return [rng.choice([*edges, rng.randrange(ref.R), rng.getrandbits(40)]) for _ in range(n)]


def cases(n: int) -> dict[str, tuple[Values, Values]]:
    rng = random.Random(n)
    dense = [rng.randrange(ref.R) for _ in range(n)]
    logs = [rng.randrange(1, ref.R) for _ in range(n)]
    k = rng.randrange(1, ref.R)
    return {
        "random": (logs, dense),
        "edge scalars": (logs, edge_scalars(rng, n)),
        "one point": ([k] * n, dense),
        "one scalar": (logs, [dense[0]] * n),
        "one point and one scalar": ([k] * n, [dense[0]] * n),
        "opposite points": ([k if i % 2 else ref.R - k for i in range(n)], [dense[0]] * n),
        "opposite points, edge scalars": ([rng.choice([k, ref.R - k]) for _ in range(n)], edge_scalars(rng, n)),
        "arithmetic progression": ([(k + i) % ref.R for i in range(n)], [7] * n),
        "progression through zero": (
            [(i - n // 2) % ref.R for i in range(n)],
            [rng.choice([3, 5, ref.R - 3]) for _ in range(n)],
        ),
        "doublings": ([pow(2, i, ref.R) for i in range(n)], [1 << 70] * n),
        "infinity among points": ([log if i % 3 else 0 for i, log in enumerate(logs)], dense),
        "nothing but infinity": ([0] * n, dense),
        "nothing but zeros": (logs, [0] * n),
        "ones": (logs, [1] * n),
    }


@pytest.mark.parametrize("name", cases(1))
def test_g1_sums_agree(options: Options, name: str) -> None:
    for n in (1, 2, 7, 300, 3000):
        logs, scalars = cases(n)[name]
        assert msm(options, 1, multiples(1, logs), scalars) == expected(1, logs, scalars), n


@pytest.mark.parametrize("name", cases(1))
def test_g2_sums_agree(options: Options, name: str) -> None:
    for n in (1, 9, 600):
        logs, scalars = cases(n)[name]
        assert msm(options, 2, multiples(2, logs), scalars) == expected(2, logs, scalars), n


def test_a_sum_of_nothing_is_infinity(options: Options) -> None:
    assert msm(options, 1, b"", []) == bytes(64)


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_any_number_of_threads_gives_the_same_sum(options: Options, threads: int) -> None:
    """Beyond four threads the buckets of a window are split as well."""
    logs, scalars = cases(2000)["edge scalars"]
    path = Options(cpu_path=options.cpu_path, threads=threads)

    assert msm(path, 1, multiples(1, logs), scalars) == expected(1, logs, scalars)


def prepared_set(options: Options, points: bytes) -> tuple[bytearray, bytearray, int]:
    n, zkey = len(points) // 64, bytearray(len(points))
    load().call("points_evm_to_zkey", options, 1, view(points), writable(zkey))
    packed, numbers, kept = bytearray(64 * n), bytearray(4 * n), ctypes.c_uint32()
    load().call(
        "prepare_points", options, 1, radix_bits(options), view(zkey), 0, writable(packed), writable(numbers),
        ctypes.byref(kept),
    )  # fmt: skip
    return packed, numbers, kept.value


def test_a_set_with_gaps_sums_the_scalars_it_names(options: Options) -> None:
    logs, scalars = cases(500)["random"]
    chosen = sorted(random.Random(5).sample(range(500), 350))
    packed, _, kept = prepared_set(options, multiples(1, [logs[i] for i in chosen]))
    numbers = struct.pack(f"<{kept}I", *chosen)
    out = bytearray(64)

    load().call(
        "probe_msm_of_set", options, 1, ctypes.byref(PointSetArg(view(packed), view(numbers))), view(plain(scalars)),
        writable(out),
    )  # fmt: skip

    assert out == expected(1, [logs[i] for i in chosen], [scalars[i] for i in chosen])


@pytest.mark.parametrize(
    "change",
    [
        lambda points, numbers: (points, numbers[:-4] + struct.pack("<I", 3)),
        lambda points, numbers: (points[:-64], numbers),
        lambda points, numbers: (points, numbers[:-1]),
    ],
    ids=["a number beyond the scalars", "a point less", "a torn list"],
)
def test_a_set_that_does_not_fit_is_refused(
    options: Options, change: Callable[[bytearray, bytearray], tuple[bytearray, bytearray]]
) -> None:
    points, numbers, _ = prepared_set(options, multiples(1, [4, 5, 6]))
    points, numbers = change(points, numbers)
    with pytest.raises(errors.ZkeyMalformed):
        load().call(
            "probe_msm_of_set", options, 1, ctypes.byref(PointSetArg(view(points), view(numbers))),
            view(plain([1, 2, 3])), writable(bytearray(64)),
        )  # fmt: skip


@pytest.mark.parametrize("width", range(2, 17))
def test_digits_are_in_range_and_make_up_the_scalar(width: int) -> None:
    rng = random.Random(width)
    scalars = edge_scalars(rng, 60) + [rng.getrandbits(253) % ref.R for _ in range(40)]
    windows = 254 // width + 1
    out = bytearray(2 * windows * len(scalars))

    load().call("probe_digits", Options(), width, view(plain(scalars)), writable(out))

    digits = struct.unpack(f"={windows * len(scalars)}h", out)
    assert all(-(1 << width - 1) <= digit < 1 << width - 1 for digit in digits)
    for i, scalar in enumerate(scalars):
        assert sum(digits[w * len(scalars) + i] << (width * w) for w in range(windows)) % ref.R == scalar
