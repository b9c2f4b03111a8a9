"""Points as integers and in zkey encoding, through the slow reference."""

from __future__ import annotations

from proving import reference as ref
from proving.bn254 import Q, R
from proving.zkey import points_to_evm

MONTGOMERY = 1 << 256


def g1(data: bytes | bytearray) -> ref.G1:
    """A point of G1 from zkey encoding."""
    words = _words(points_to_evm(1, data))
    return None if not any(words) else (words[0], words[1])


def g2(data: bytes | bytearray) -> ref.G2:
    """A point of G2 from zkey encoding."""
    words = _words(points_to_evm(2, data))
    return None if not any(words) else ((words[1], words[0]), (words[3], words[2]))


def _words(evm: bytes) -> list[int]:
    return [int.from_bytes(evm[at : at + 32], "big") for at in range(0, len(evm), 32)]


def encode(*coordinates: int) -> bytes:
    """Coordinates (for G2: x.c0 x.c1 y.c0 y.c1) in zkey encoding; nothing is checked."""
    return b"".join((c * MONTGOMERY % Q).to_bytes(32, "little") for c in coordinates)


def encode_g1(point: ref.G1) -> bytes:
    return bytes(64) if point is None else encode(*point)


def encode_g2(point: ref.G2) -> bytes:
    return bytes(128) if point is None else encode(*point[0], *point[1])


def times_g1(k: int) -> bytes:
    """k times the generator."""
    return encode_g1(ref.g1_mul(ref.G1_GENERATOR, k % R))


def times_g2(k: int) -> bytes:
    """k times the generator."""
    return encode_g2(ref.g2_mul(ref.G2_GENERATOR, k % R))


def little(value: int) -> bytes:
    """A scalar as the core takes it."""
    return value.to_bytes(32, "little")


def outside_subgroup() -> bytes:
    """A point of the twist whose order does not divide r."""
    for k in range(1, 100):
        x = (k, 1)
        square = ref.fq2_add(ref.fq2_mul(ref.fq2_mul(x, x), x), ref.TWIST_B)
        root = _square_root(square)
        if root is not None and not ref.g2_is_in_subgroup((x, root)):
            return encode_g2((x, root))
    raise AssertionError("one of a hundred abscissas gives such a point")


def _square_root(a: ref.Fq2) -> ref.Fq2 | None:
    """By norms, as q = 3 mod 4."""

    def root(v: int) -> int | None:
        r = pow(v, (Q + 1) // 4, Q)
        return r if r * r % Q == v % Q else None

    norm = root(a[0] * a[0] + a[1] * a[1])
    if norm is None:
        return None
    half = pow(2, -1, Q)
    real = root((a[0] + norm) * half % Q) or root((a[0] - norm) * half % Q)
    return None if real is None else (real, a[1] * half * pow(real, -1, Q) % Q)
