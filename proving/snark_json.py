"""proof.json, public.json and verification_key.json as snarkjs writes them: decimal strings, one space of indentation.

A G1 point is [x, y, z], a G2 point [[x0, x1], [y0, y1], [z0, z1]], with z = 1; infinity has
x = 0, y = 1, z = 0.
Readers are strict: bounded size, exact members, canonical decimals, no duplicate names. Range and curve are checked by
`proving.groth16.verify`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from proving.bn254 import BN_X, R
from proving.errors import MalformedInput, ProofMalformed, PublicMalformed, VerifyingKeyMalformed
from proving.native import DEFAULT_OPTIONS, load, view, writable
from proving.points import MAX_PUBLIC, G1Point, G2Point, Proof, VerifyingKey

MAX_PROOF_JSON_BYTES: Final = 1 << 14  # 16 KiB
MAX_PUBLIC_JSON_BYTES: Final = 1 << 27  # 128 MiB: MAX_PUBLIC decimals
MAX_VK_JSON_BYTES: Final = 1 << 28  # 256 MiB: MAX_PUBLIC points
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,77}")

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def proof_json(proof: Proof) -> str:
    return _dump(
        {"pi_a": _g1(proof.a), "pi_b": _g2(proof.b), "pi_c": _g1(proof.c), "protocol": "groth16", "curve": "bn128"}
    )


def public_json(public: Sequence[int]) -> str:
    return _dump([str(value) for value in public])


def verifying_key_json(vk: VerifyingKey) -> str:
    return _dump(
        {
            "protocol": "groth16",
            "curve": "bn128",
            "nPublic": vk.n_public,
            "vk_alpha_1": _g1(vk.alpha_g1),
            "vk_beta_2": _g2(vk.beta_g2),
            "vk_gamma_2": _g2(vk.gamma_g2),
            "vk_delta_2": _g2(vk.delta_g2),
            "vk_alphabeta_12": _pairing_of_alpha_and_beta(vk),
            "IC": [_g1(point) for point in vk.gamma_abc_g1],
        }
    )


def read_proof_json(source: Path | str | bytes) -> Proof:
    """Raises: ProofMalformed."""
    error = ProofMalformed
    members = _members(_load(source, MAX_PROOF_JSON_BYTES, error), {"pi_a", "pi_b", "pi_c", "protocol", "curve"}, error)
    _require_groth16(members, error)
    return Proof(
        a=_read_g1(members["pi_a"], error), b=_read_g2(members["pi_b"], error), c=_read_g1(members["pi_c"], error)
    )


def read_public_json(source: Path | str | bytes) -> tuple[int, ...]:
    """Raises: PublicMalformed."""
    values = _load(source, MAX_PUBLIC_JSON_BYTES, PublicMalformed)
    if not isinstance(values, list) or len(values) > MAX_PUBLIC:
        raise PublicMalformed(f"not a list of at most {MAX_PUBLIC} decimal strings")
    return tuple(_read_number(value, PublicMalformed) for value in values)


def read_verifying_key_json(source: Path | str | bytes) -> VerifyingKey:
    """Reads a verifying key; the precomputed vk_alphabeta_12 is not used and may be absent.

    Raises:
        VerifyingKeyMalformed.
    """
    error = VerifyingKeyMalformed
    names = {"protocol", "curve", "nPublic", "vk_alpha_1", "vk_beta_2", "vk_gamma_2", "vk_delta_2", "IC"}
    value = _load(source, MAX_VK_JSON_BYTES, error)
    if isinstance(value, dict):
        value.pop("vk_alphabeta_12", None)
    members = _members(value, names, error)
    _require_groth16(members, error)
    points = members["IC"]
    if not isinstance(points, list) or not 1 <= len(points) <= MAX_PUBLIC + 1:
        raise error("IC is not a list of points")
    if members["nPublic"] != len(points) - 1:
        raise error(f"nPublic is {members['nPublic']} and IC has {len(points)} points")
    return VerifyingKey(
        alpha_g1=_read_g1(members["vk_alpha_1"], error),
        beta_g2=_read_g2(members["vk_beta_2"], error),
        gamma_g2=_read_g2(members["vk_gamma_2"], error),
        delta_g2=_read_g2(members["vk_delta_2"], error),
        gamma_abc_g1=tuple(_read_g1(point, error) for point in points),
    )


def _dump(value: object) -> str:
    return json.dumps(value, indent=1)


def _g1(p: G1Point) -> list[str]:
    return ["0", "1", "0"] if p == (0, 0) else [str(p[0]), str(p[1]), "1"]


def _g2(p: G2Point) -> list[list[str]]:
    if p == ((0, 0), (0, 0)):
        return [["0", "0"], ["1", "0"], ["0", "0"]]
    return [[str(c) for c in p[0]], [str(c) for c in p[1]], ["1", "0"]]


def _pairing_of_alpha_and_beta(vk: VerifyingKey) -> list[list[list[str]]]:
    """The vk_alphabeta_12 of snarkjs: two triples of Fq2, the coefficients of w^0 w^2 w^4 and of w^1 w^3 w^5.

    The final exponentiation of snarkjs is that of libff, 2x(6x^2 + 3x + 1) times the exponent (q^12 - 1)/r.
    """
    multiple = 2 * BN_X * (6 * BN_X**2 + 3 * BN_X + 1) % R
    points, alpha, out = vk.to_bytes(), bytearray(64), bytearray(384)
    scalar = multiple.to_bytes(32, "little")
    load().call("probe_msm", DEFAULT_OPTIONS, 1, view(points[:64]), view(scalar), writable(alpha))
    load().call("probe_pairing", DEFAULT_OPTIONS, view(alpha), view(points[64:192]), writable(out))
    numbers = [str(int.from_bytes(out[at : at + 32], "little")) for at in range(0, 384, 32)]
    pairs = [numbers[2 * i : 2 * i + 2] for i in range(6)]
    return [pairs[0::2], pairs[1::2]]


def _load(source: Path | str | bytes, limit: int, error: type[MalformedInput]) -> Json:
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(limit + 1)
    if len(source) > limit:
        raise error(f"more than {limit} bytes")

    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise error("a member name occurs twice")
        return members

    try:
        return cast(Json, json.loads(source, object_pairs_hook=unique))
    except (ValueError, RecursionError) as cause:
        raise error(f"not JSON: {cause}") from None


def _members(value: Json, names: set[str], error: type[MalformedInput]) -> dict[str, Json]:
    if not isinstance(value, dict) or set(value) != names:
        raise error(f"expected an object with exactly the members {', '.join(sorted(names))}")
    return value


def _require_groth16(members: dict[str, Json], error: type[MalformedInput]) -> None:
    if members["protocol"] != "groth16" or members["curve"] != "bn128":
        raise error(f"protocol {members['protocol']!r} over {members['curve']!r}, expected 'groth16' over 'bn128'")


def _read_number(value: Json, error: type[MalformedInput]) -> int:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or int(value) >> 256:
        raise error("a number is not a canonical decimal string below 2^256")
    return int(value)


def _read_g1(value: Json, error: type[MalformedInput]) -> G1Point:
    if not isinstance(value, list) or len(value) != 3:
        raise error("a G1 point is not a list of three numbers")
    x, y, z = (_read_number(part, error) for part in value)
    if (x, y, z) == (0, 1, 0):
        return 0, 0
    if z != 1:
        raise error("a G1 point is not in affine form")
    return x, y


def _read_g2(value: Json, error: type[MalformedInput]) -> G2Point:
    if not isinstance(value, list) or len(value) != 3:
        raise error("a G2 point is not a list of three pairs")
    parts: list[tuple[int, int]] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise error("a G2 point is not a list of three pairs")
        parts.append((_read_number(pair[0], error), _read_number(pair[1], error)))
    x, y, z = parts
    if (x, y, z) == ((0, 0), (1, 0), (0, 0)):
        return (0, 0), (0, 0)
    if z != (1, 0):
        raise error("a G2 point is not in affine form")
    return x, y
