"""Real Groth16 proofs over a toy circuit with the table-VM's three public inputs.

The toy constrains nothing about (h, z, y), so it proves any statement: what is tested is the contract's own part,
laying out words, deriving z and y and checking the pairing, against this module's independent derivation.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.constants import FIELD_ORDER
from protocol.hashing import abi_words, domain, keccak256
from protocol.statement import TIER_S, words
from protocol.table import Core, family_hash
from protocol.types import Hash32, RollupId
from proving.groth16 import prove_with_fixed_blinding_for_tests, verify
from proving.r1cs import R1cs, encode_rows
from proving.setup_dev import setup_dev
from proving.solidity import TableProof, vk_bytes
from proving.wtns import Witness
from proving.zkey import Zkey

TOY_H: Final = 123456789


def challenge(family: bytes, tier: int, public_input: bytes, statement: tuple[int, ...], h: int) -> tuple[int, int]:
    """(z, y) of SPEC §7.1, by powers rather than by Horner's rule."""
    joined = b"".join(word.to_bytes(32, "big") for word in statement)
    digest = keccak256(abi_words(domain("z"), family, tier, public_input, keccak256(joined), h))
    z = int.from_bytes(digest, "big") % FIELD_ORDER
    y = sum(word * pow(z, i, FIELD_ORDER) for i, word in enumerate(statement, start=1)) % FIELD_ORDER
    return z, y


@dataclass(frozen=True, slots=True)
class ToyProver:
    """A key and what the contract needs of it."""

    key: Zkey
    vk: bytes
    family: Hash32

    def prove(self, core: Core, rollup_id: int, public_input: bytes, h: int = TOY_H) -> bytes:
        """The 289 proof bytes for a rollup's part of a core."""
        statement = words(core, RollupId(rollup_id), TIER_S)
        z, y = challenge(self.family, TIER_S.number, public_input, statement, h)
        return self.prove_inputs(h, z, y)

    def prove_inputs(self, h: int, z: int, y: int) -> bytes:
        """A proof of the toy for any public inputs."""
        product = h * z % FIELD_ORDER
        witness = Witness.from_ints((1, h, z, y, product, product * y % FIELD_ORDER))
        # fixed, so that the gas of carrying its bytes is the same in every run
        proof = prove_with_fixed_blinding_for_tests(self.key, witness, 5, 7)
        verify(self.key.verifying_key(), (h, z, y), proof)
        return TableProof(tier=TIER_S.number, h=h, proof=proof).to_bytes()


def toy_prover() -> ToyProver:
    """A developer key for wires 1, h, z, y, h z, h z y; every public wire is constrained, so no key point is zero."""
    rows = (({1: 1}, {2: 1}, {4: 1}), ({4: 1}, {3: 1}, {5: 1}))
    system = R1cs(
        n_wires=6,
        n_public_outputs=3,
        n_public_inputs=0,
        n_private_inputs=0,
        n_labels=6,
        n_constraints=len(rows),
        rows=encode_rows(rows),
        labels=b"",
    )
    with tempfile.TemporaryDirectory() as folder:
        key = setup_dev(system, Path(folder) / "toy.zkey")
    vk = vk_bytes(key.verifying_key())
    return ToyProver(key, vk, family_hash((keccak256(vk),)))
