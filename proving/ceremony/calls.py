"""The ceremony calls of the core as Python functions. Points are bytes in zkey encoding: 64 in G1, 128 in G2."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proving.native import DEFAULT_OPTIONS, Data, Options, Progress, load, view, wipe, writable
from proving.setup_dev import generator_g1

BLAKE2B_STATE_BYTES: Final = 216
POINT_BYTES: Final = {1: 64, 2: 128}
ONE: Final = (1).to_bytes(32, "little")


def check_points(group: int, points: Data, *, allow_infinity: bool = False, options: Options = DEFAULT_OPTIONS) -> None:
    """Range, curve and subgroup of every point.

    Raises:
        PointNotCanonical, PointNotOnCurve, PointNotInSubgroup: infinity counts as off the curve unless allowed.
    """
    load().call("points_check", options, group, int(allow_infinity), view(points))


def scaled(
    group: int,
    points: Data,
    first: Data,
    factor: Data = ONE,
    *,
    divide: bool = False,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> bytearray:
    """Point i times first * factor^i, or factor^i / first with `divide`. Factors: 32 bytes, little-endian, not zero."""
    out = bytearray(len(points))
    load().call(
        "points_scale", options, group, view(first).data, view(factor).data, int(divide), view(points), writable(out),
        progress=progress,
    )  # fmt: skip
    return out


def differences(group: int, minuend: Data, subtrahend: Data, options: Options = DEFAULT_OPTIONS) -> bytearray:
    """Point by point."""
    out = bytearray(len(minuend))
    load().call("points_subtract", options, group, view(minuend), view(subtrahend), writable(out))
    return out


def compressed(group: int, points: Data, options: Options = DEFAULT_OPTIONS) -> bytearray:
    """Big-endian abscissas with the sign of the ordinate in the highest bit."""
    out = bytearray(len(points) // 2)
    load().call("points_compress", options, group, view(points), writable(out))
    return out


def lagrange(
    group: int, powers: Data, level: int, *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS
) -> bytearray:
    """The Lagrange basis of the domain of 2^level at tau, from as many powers of tau or from one less."""
    out = bytearray(POINT_BYTES[group] << level)
    load().call("points_lagrange", options, group, view(powers), writable(out), progress=progress)
    return out


@contextmanager
def drawn(count: int, seed: bytes | None = None) -> Iterator[tuple[tuple[memoryview, ...], tuple[bytes, ...]]]:
    """Secrets and points of G1 for the time of the block; the secrets are overwritten at its end.

    Args:
        seed: 32 public bytes, for a beacon; None draws from the operating system.
    """
    secrets, points = bytearray(32 * count), bytearray(64 * count)
    try:
        load().call("ceremony_draw", DEFAULT_OPTIONS, seed, writable(secrets), writable(points))
        whole = memoryview(secrets)
        yield (
            tuple(whole[32 * i : 32 * i + 32] for i in range(count)),
            tuple(bytes(points[64 * i : 64 * i + 64]) for i in range(count)),
        )
    finally:
        wipe(secrets)


def hash_to_g2(digest: bytes) -> bytes:
    """A point of G2 whose logarithm nobody knows, from the first 32 bytes of a hash."""
    out = bytearray(128)
    load().call("ceremony_hash_to_g2", DEFAULT_OPTIONS, digest[:32], writable(out))
    return bytes(out)


def is_same_ratio(g1: tuple[Data, Data], g2: tuple[Data, Data]) -> bool:
    """Whether one factor leads from the first to the second in both pairs; False when any point is infinity."""
    holds = ctypes.c_int()
    load().call("same_ratio", DEFAULT_OPTIONS, view(b"".join(g1)), view(b"".join(g2)), ctypes.byref(holds))
    return bool(holds.value)


def are_powers(group: int, points: Data, ratio: tuple[Data, Data], options: Options = DEFAULT_OPTIONS) -> bool:
    """Whether each point is the one before it times the ratio of two points of the other group."""
    holds = ctypes.c_int()
    load().call("are_powers", options, group, view(points), view(b"".join(ratio)), ctypes.byref(holds))
    return bool(holds.value)


def are_multiples(before: Data, after: Data, ratio: tuple[Data, Data], options: Options = DEFAULT_OPTIONS) -> bool:
    """Whether each point of G1 in `after` is the one in `before` times the ratio of two points of G2."""
    holds = ctypes.c_int()
    load().call("are_multiples", options, view(before), view(after), view(b"".join(ratio)), ctypes.byref(holds))
    return bool(holds.value)


def are_lagrange(group: int, powers: Data, basis: Data, options: Options = DEFAULT_OPTIONS) -> bool:
    """Whether a basis is the one that `lagrange` makes of these powers."""
    holds = ctypes.c_int()
    load().call("are_lagrange", options, group, view(powers), view(basis), ctypes.byref(holds))
    return bool(holds.value)


class Blake2b:
    """BLAKE2b-512 whose state can be stored and taken up again."""

    def __init__(self, state: bytes | None = None) -> None:
        self._state = bytearray(state or bytes(BLAKE2B_STATE_BYTES))
        if state is None:
            load().call("blake2b_start", DEFAULT_OPTIONS, writable(self._state))

    def update(self, data: Data) -> None:
        load().call("blake2b_update", DEFAULT_OPTIONS, writable(self._state), view(data))

    def digest(self) -> bytes:
        out = bytearray(64)
        load().call("blake2b_digest", DEFAULT_OPTIONS, view(self._state), writable(out))
        return bytes(out)

    @property
    def state(self) -> bytes:
        """216 bytes."""
        return bytes(self._state)


def generator(group: int) -> bytes:
    """The generator of a group."""
    return generator_g1() if group == 1 else _generator_g2()


def _generator_g2() -> bytes:
    out = bytearray(128)
    load().call("probe_fixed_base", DEFAULT_OPTIONS, 2, view(ONE), writable(out))
    point = bytearray(128)
    load().call("points_evm_to_zkey", DEFAULT_OPTIONS, 2, view(out), writable(point))
    return bytes(point)
