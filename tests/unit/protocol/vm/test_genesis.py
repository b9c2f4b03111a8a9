"""Genesis: first root, canonical bytes, every refusal."""

from __future__ import annotations

import json

import pytest

from protocol.constants import FIELD_ORDER
from protocol.errors import CodedError
from protocol.types import Address
from protocol.vm.assembler import assemble
from protocol.vm.genesis import (
    Genesis,
    GenesisAccount,
    GenesisSlot,
    decode_genesis,
    encode_genesis,
    state_from_genesis,
)
from protocol.vm.poseidon import P
from protocol.vm.state_tree import StateTree
from tests.support.cores import OTHER_PROGRAM, PROGRAM
from tests.support.tools import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/vm.json").read_text())
END = assemble("RETURN 0")


def account(address: Address = PROGRAM, *slots: tuple[int, int, int], code: bool = True) -> GenesisAccount:
    """An account with slots (slot, kind, value)."""
    made = tuple(GenesisSlot(slot=slot, kind=kind, value=value) for slot, kind, value in slots)
    return GenesisAccount(address=address, program=END if code else None, slots=made)


def genesis(*accounts: GenesisAccount) -> Genesis:
    """A genesis of these accounts."""
    return Genesis(accounts=accounts)


FULL = genesis(
    account(PROGRAM, (0, 1, 0), (1, 0, 5), (FIELD_ORDER - 1, 1, FIELD_ORDER - 1)),
    account(OTHER_PROGRAM, (3, 0, (1 << 128) - 1), code=False),
)


@pytest.mark.parametrize("sample", [genesis(), genesis(account()), FULL])
def test_bytes_decode_to_the_same_genesis(sample: Genesis) -> None:
    """One encoding, both ways."""
    assert decode_genesis(encode_genesis(sample)) == sample


def test_first_state() -> None:
    """Leaves in the order of SPEC §3.4; the empty rollup has the root of the empty tree."""
    state = state_from_genesis(FULL)
    leaves = list(state.tree.leaves())
    a, b = (int.from_bytes(x, "big") for x in (PROGRAM, OTHER_PROGRAM))
    assert [(leaf.key, leaf.v0, leaf.v1) for leaf in leaves] == [
        (0, 0, 0),
        (P(3, (2, a, 0)), 0, END.code_hash),
        (P(3, (1, a, 0)), 0, 1),
        (P(3, (1, a, 1)), 5, 0),
        (P(3, (1, a, FIELD_ORDER - 1)), FIELD_ORDER - 1, 1),
        (P(3, (2, b, 0)), 0, 0),
        (P(3, (1, b, 3)), (1 << 128) - 1, 0),
    ]
    assert state.root == P(3, (state.tree.root, 7, 0))
    assert list(state.programs) == [END.code_hash]
    empty = StateTree.empty()
    assert state_from_genesis(genesis()).root == P(3, (empty.root, 1, 0))


@pytest.mark.parametrize("case", VECTORS["genesis"], ids=lambda case: str(case["name"]))
def test_roots_equal_the_vectors(case: dict[str, str]) -> None:
    """Committed genesis bytes and roots."""
    assert state_from_genesis(decode_genesis(bytes.fromhex(case["genesis"]))).root == int(case["root"])


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (genesis(account(), account()), "GENESIS_ORDER"),
        (genesis(account(OTHER_PROGRAM), account(PROGRAM)), "GENESIS_ORDER"),
        (genesis(account(PROGRAM, (1, 0, 5), (1, 0, 5))), "GENESIS_ORDER"),
        (genesis(account(PROGRAM, (2, 0, 5), (1, 0, 5))), "GENESIS_ORDER"),
        (genesis(account(PROGRAM, (FIELD_ORDER, 0, 5))), "GENESIS_ORDER"),
        (genesis(account(PROGRAM, (1, 2, 5))), "GENESIS_TYPE"),
        (genesis(account(PROGRAM, (1, 0, 0))), "GENESIS_VALUE"),
        (genesis(account(PROGRAM, (1, 0, 1 << 128))), "GENESIS_VALUE"),
        (genesis(account(PROGRAM, (1, 1, FIELD_ORDER))), "GENESIS_VALUE"),
        (genesis(account(PROGRAM, *((i, 0, 1) for i in range(1100)))), "GENESIS_SIZE"),
    ],
)
def test_a_wrong_genesis_is_not_encoded(sample: Genesis, reason: str) -> None:
    """Each rule by its reason."""
    with pytest.raises(CodedError) as caught:
        encode_genesis(sample)
    assert caught.value.reason == reason


RAW = encode_genesis(genesis(account(PROGRAM, (1, 0, 5), (2, 0, 5))))
SLOTS = 3 + 20 + 2 + 32 + 2


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "GENESIS_TRUNCATED"),
        (bytes(65537), "GENESIS_SIZE"),
        (b"\x03" + RAW[1:], "GENESIS_VERSION"),
        (RAW[:-1], "GENESIS_TRUNCATED"),
        (RAW + b"\0", "GENESIS_TRAILING_BYTES"),
        (RAW[:1] + b"\xff\xff" + RAW[3:], "GENESIS_TRUNCATED"),
        (RAW[:40] + b"\x00" + RAW[41:], "PROGRAM_OP"),
        (RAW[:SLOTS] + b"\xff" * 32 + RAW[SLOTS + 32 :], "FIELD_RANGE"),
        (RAW[: SLOTS + 31] + b"\x02" + RAW[SLOTS + 32 :], "GENESIS_ORDER"),
        (RAW[: SLOTS + 32] + b"\x02" + RAW[SLOTS + 33 :], "GENESIS_TYPE"),
        (RAW[: SLOTS + 64] + b"\x00" + RAW[SLOTS + 65 :], "GENESIS_VALUE"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    with pytest.raises(CodedError) as caught:
        decode_genesis(raw)
    assert caught.value.reason == reason
