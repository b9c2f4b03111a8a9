"""The settlement is found in the calldata of what settles, and in nothing else."""

from __future__ import annotations

import pytest

from node.l1 import claim_with_proof, decline, load_and_run, settlement_in, slash, slash_equivocation


@pytest.mark.parametrize(
    "data",
    [
        load_and_run(b"core", b"proofs", b"expects", b"triggers", b"the settlement"),
        claim_with_proof(b"core", b"proofs", b"the settlement", b"receipt"),
    ],
)
def test_a_load_and_a_claim_show_what_was_settled(data: bytes) -> None:
    """As does nothing that is cut short."""
    assert b"the settlement" == settlement_in(data)
    assert settlement_in(data[:-32]) is None
    assert settlement_in(data[:4]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 3,
        slash(b"settlement", b"ack", b""),
        decline(b"s", b"d"),
        slash_equivocation(b"a", b"b", bytes(32)),
    ],
)
def test_other_calls_show_none(data: bytes) -> None:
    """Whatever they hold."""
    assert settlement_in(data) is None
