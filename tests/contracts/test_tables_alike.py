"""The contracts and the reference read the same bytes: vectors, mutations, hashes and statement words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.actions import encode_action
from protocol.errors import CodedError
from protocol.statement import TIER_S, own_entries, words
from protocol.table import Core, core_id, decode_core, encode_core
from tests.support.cores import every_kind_core, oracle_core, two_rollup_core
from tests.support.evmworld import Contract, Reverted, World
from tests.support.machines import oracle_state, oracle_table
from tests.support.tools import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/core.json").read_text())
# Keys need live epochs, so a contract finds a double one when it stores the table.
FOUND_LATER = "CORE_DUPLICATE_KEY"
SAMPLES = [
    encode_core(core) for core in (oracle_core(), two_rollup_core(), every_kind_core(), oracle_table(oracle_state()))
]


@pytest.fixture(scope="module")
def harness() -> Contract:
    """The codec libraries behind a door."""
    return World().deploy("CodecHarness")


@pytest.fixture(scope="module")
def proof_system() -> Contract:
    """For its statement words."""
    return World().deploy("Groth16ProofSystem")


def contract_accepts(harness: Contract, raw: bytes) -> bool:
    """Whether the contract reads these bytes, and then gives them the same id."""
    try:
        identity = harness.view("decodeCore", raw)
    except Reverted as refusal:
        # A named error, not a panic and not an exhausted or confused machine.
        assert refusal.halt is None
        assert refusal.revert.name not in ("", None, "Panic")
        return False
    assert identity == core_id(raw)
    return True


def reference_accepts(raw: bytes) -> bool:
    """Whether the reference reads these bytes, but for what the contract checks later."""
    try:
        decode_core(raw)
    except CodedError as refusal:
        return refusal.reason == FOUND_LATER
    return True


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: str(case["name"]))
def test_valid_cores_have_the_same_hashes(harness: Contract, case: dict[str, Any]) -> None:
    """coreId, and the hash of each action under its link."""
    raw = bytes.fromhex(case["core"])
    assert harness.view("decodeCore", raw).hex() == case["coreId"]
    for entry, expected in zip(decode_core(raw).entries, case["entries"], strict=True):
        link = bytes.fromhex(expected["link"])
        assert harness.view("hashAction", encode_action(entry.trigger), link).hex() == expected["trigger"]
        assert harness.view("hashAction", encode_action(entry.next_action), bytes(32)).hex() == expected["next"]


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: str(case["name"]))
def test_invalid_cores_are_refused(harness: Contract, case: dict[str, str]) -> None:
    """By a named error of the contract."""
    assert contract_accepts(harness, bytes.fromhex(case["core"])) == (case["reason"] == FOUND_LATER)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_cores_are_judged_alike(harness: Contract, sample: bytes, data: st.DataObject) -> None:
    """One or two changed, cut or inserted bytes: both read them, or neither."""
    raw = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["set", "set", "set", "flip", "cut", "insert"])):
            case "set":
                raw[at] = data.draw(st.sampled_from([0, 1, 2, 3, 0x7F, 0xFF]))
            case "flip":
                raw[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 3))]
            case _:
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    assert contract_accepts(harness, bytes(raw)) == reference_accepts(bytes(raw))


@pytest.mark.parametrize("core", [oracle_core(), two_rollup_core(), oracle_table(oracle_state(), 1 << 128)])
def test_statement_words_are_the_same(proof_system: Contract, core: Core) -> None:
    """Of each owner; a rollup that owns nothing is refused by both."""
    raw = encode_core(core)
    for member in core.lockset:
        statement = member.rollup_id.to_bytes(8, "big") + raw
        assert own_entries(core, member.rollup_id)
        assert tuple(proof_system.view("statementWords", statement, 0)) == words(core, member.rollup_id, TIER_S)
    with pytest.raises(Reverted):
        proof_system.view("statementWords", (9).to_bytes(8, "big") + raw, 0)
