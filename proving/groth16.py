"""Groth16 over BN254: prove, verify, re-randomise. Notation: ePrint 2016/260 §3.2.

| here | gnark | snarkjs |
|---|---|---|
| proof.a, proof.b, proof.c | Ar, Bs, Krs | pi_a, pi_b, pi_c |
| gamma_abc_g1 | G1.K | IC |
| a, b1, b2 | G1.A, G1.B, G2.B | sections 5, 6, 7 |
| l, h | G1.K, G1.Z | sections 8, 9 |

Proofs are made with r = s = 0 and then re-randomised, which needs no multi-exponentiation over b1 and gives the same
distribution. A Groth16 proof can be re-randomised by anybody: never key anything on its bytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from proving.errors import PairingFailed, ProofMalformed
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress, load, view
from proving.points import PROOF_BYTES, Proof, VerifyingKey, public_bytes
from proving.prepared import PreparedKey, prepare
from proving.prepared_cache import cached_prepared_key
from proving.setup_dev import setup_dev
from proving.wtns import Witness, as_witness
from proving.zkey import Zkey, read_zkey

_QUOTIENT_DONE: Final = 10
"""Percent of the work; `kFirstSum` in `core/src/prove.hpp`."""

__all__ = ["Proof", "VerifyingKey", "prove", "rerandomise", "setup_dev", "verify", "verify_bytes"]


def prove(
    zkey: Path | Data | Zkey | PreparedKey,
    wtns: Path | Data | Witness,
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> tuple[Proof, tuple[int, ...]]:
    """Proves that a witness satisfies the circuit of a key. Blinding comes from the operating system.

    Not constant time. What the core makes of the witness is overwritten before it returns.

    Args:
        zkey: a .zkey file, whose prepared form is kept in the user's cache directory; or its bytes or the parsed key,
            which are prepared for this call; or a prepared key.
        wtns: a .wtns file, its bytes, or the parsed witness; a copy that was read here is wiped.
        progress: called with (done, total) between parts; True from it cancels.

    Returns:
        The proof, which has been verified, and the public values: wires 1..n_public.

    Raises:
        ZkeyMalformed, WitnessMalformed, Cancelled.
        WitnessUnsatisfied: the finished proof does not verify.
    """
    key = _prepared(zkey, options)
    out = ctypes.create_string_buffer(PROOF_BYTES)

    def relay(done: int, total: int) -> bool:
        if done == _QUOTIENT_DONE:
            key.release_rows()
        return progress is not None and progress(done, total)

    with as_witness(wtns) as witness:
        load().call("prove", options, ctypes.byref(key.argument()), view(witness.values), out, progress=relay)
        return Proof.from_bytes(out.raw), witness.public(key.n_public)


def _prepared(zkey: Path | Data | Zkey | PreparedKey, options: Options) -> PreparedKey:
    if isinstance(zkey, PreparedKey):
        return zkey
    if isinstance(zkey, Path):
        return cached_prepared_key(zkey, options)
    return prepare(zkey if isinstance(zkey, Zkey) else read_zkey(zkey), options)


def prove_with_fixed_blinding_for_tests(
    zkey: Path | Data | Zkey | PreparedKey, witness: Witness, r1: int, r2: int, options: Options = DEFAULT_OPTIONS
) -> Proof:
    """A proof that can be compared byte by byte. It hides nothing: r1 and r2 must be random for that."""
    out = ctypes.create_string_buffer(PROOF_BYTES)
    scalars = (r1.to_bytes(32, "little"), r2.to_bytes(32, "little"))
    argument = ctypes.byref(_prepared(zkey, options).argument())
    load().call("test_prove_fixed_blinding", options, argument, view(witness.values), *scalars, out)
    return Proof.from_bytes(out.raw)


def verify(vk: VerifyingKey, public: Sequence[int], proof: Proof) -> None:
    """Checks a proof; returns when it is valid.

    The checks and their errors, in this order: PublicCountMismatch, PublicNotCanonical (each below r),
    PointNotCanonical (coordinates below q), PointNotOnCurve, PointNotInSubgroup, PairingFailed. As in the EVM, all-zero
    coordinates are infinity and lie on the curve.

    Raises:
        ProofRefused: one of the above.
        VerifyingKeyMalformed: the key itself holds something that is not a point.
        PublicMalformed, ProofMalformed: a number is negative or needs more than 256 bits.
    """
    verify_bytes(vk.to_bytes(), public_bytes(public), proof.to_bytes())


def verify_bytes(vk: bytes, public: bytes, proof: bytes) -> None:
    """`verify` on byte forms in EVM order: `VerifyingKey.to_bytes`, 32 bytes per public input, `Proof.to_bytes`."""
    if len(proof) != PROOF_BYTES:
        raise ProofMalformed(f"{len(proof)} bytes, expected {PROOF_BYTES}")
    load().call("verify", replace(DEFAULT_OPTIONS, threads=1), view(vk), view(public), view(proof))


def is_valid(vk: VerifyingKey, public: Sequence[int], proof: Proof) -> bool:
    """True when the proof verifies, False when only the pairing equation fails; anything malformed still raises."""
    try:
        verify(vk, public, proof)
    except PairingFailed:
        return False
    return True


def rerandomise(key: VerifyingKey | Zkey, proof: Proof) -> Proof:
    """Another proof of the same statement, unlinkable to the first: a/r1, r1 b + r1 r2 delta, c + r2 a.

    The input is not verified: the result of an invalid proof is invalid.

    Raises:
        ProofRefused: a point of the proof is not canonical, not on its curve or not in the subgroup.
    """
    vk = key.verifying_key() if isinstance(key, Zkey) else key
    out = ctypes.create_string_buffer(PROOF_BYTES)
    load().call("rerandomise", replace(DEFAULT_OPTIONS, threads=1), view(vk.to_bytes()), proof.to_bytes(), out)
    return Proof.from_bytes(out.raw)
