"""One key proves different programs: the counter, and the oracle reader with a suspension."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.programs import program
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from proving.errors import PairingFailed, WitnessUnsatisfied
from proving.groth16 import prove, setup_dev, verify
from tests.support.circuits import circuit, witness_of
from tests.support.stories import Story, state_of, words


def counter() -> Story:
    """CALL and its answer."""
    story = Story(state_of(program("counter")))
    story.call(selector("increment()").to_bytes(4, "big"))
    return story


def oracle_reader() -> Story:
    """CALL, suspension, RESULT."""
    oracle = endpoint(0, Address(bytes.fromhex("0c" * 20)))
    story = Story(state_of(program("oracle_reader"), {0: (oracle, FIELD_WORD), 1: (100, INTEGER_WORD)}))
    story.call(selector("settle()").to_bytes(4, "big"), value=7)
    story.answer(words(150))
    return story


def test_one_key_proves_every_program(tmp_path: Path) -> None:
    """Set up once; prove both; a statement of one is refused with the proof of the other, a changed witness at once."""
    key = setup_dev(circuit().r1cs_bytes, tmp_path / "s.zkey")
    proofs = []
    for story in (counter(), oracle_reader()):
        witness = witness_of(story)
        proof, public = prove(key, witness.wtns)
        verify(key.verifying_key(), public, proof)
        proofs.append((proof, public))
        assert public == witness.public

    (first, public), (second, _) = proofs
    with pytest.raises(PairingFailed):
        verify(key.verifying_key(), public, second)
    with pytest.raises(PairingFailed):
        verify(key.verifying_key(), (public[0], public[1], public[2] + 1), first)
    values = bytearray(witness_of(counter()).wtns)
    values[-1] ^= 1
    with pytest.raises(WitnessUnsatisfied):
        prove(key, bytes(values))
