"""Second adversarial round, ranks: what a requester can do with agreements about its own request."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from protocol.signing import AccountKey
from protocol.table import core_id, encode_core
from tests.support.evmworld import Reverted
from tests.support.marketworld import (
    PRICE,
    Party,
    agree,
    amended,
    claim,
    credit,
    land,
    names,
    paid,
    receipt_bytes,
    settle_bytes,
    slash,
    table,
    ticket,
)
from tests.support.rollupworld import Setup, expect_revert


def sybil_of(made: Setup, who: Party) -> Party:
    """The requester with a prover that is its own."""
    key = AccountKey(b"\x07" * 32)
    made.world.fund(key.address)
    return Party(requester=who.requester, prover=key, payee=key.address)


@pytest.mark.xfail(
    reason="open: a rank that is amended to any other table draws the ticket without a penalty", strict=True
)
def test_who_delivered_what_was_agreed_is_compensated_if_another_table_was_paid(made: Setup, who: Party) -> None:
    """Rank 2, the requester's own, is amended to a table about a state that never was: a claim asks for no live root,
    so its proof, of the smallest tier, was made at leisure. Rank 1 claims in its window and finds the ticket spent."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, rank=2)
    member = replace(core.lockset[0], pre_root=424242)
    invented = replace(core, lockset=(member,), entries=(replace(core.entries[0], new_root=424242),))
    moved = settle_bytes(made, sybil, own, amend=amended(made, sybil, own, invented))
    claim(made, sybil, invented, own, moved, receipt_bytes(made, sybil, own, invented))
    assert names(claim(made, who, core, victim)) == ["DeliveredUnpaid"]
    packed = settle_bytes(made, sybil, own), settle_bytes(made, who, victim)
    made.market.send("slashEquivocation", *packed, core_id(encode_core(invented)), sender=made.stranger)
    assert paid(made, who) == PRICE


def test_who_did_not_deliver_reports_no_honest_failover(made: Setup, who: Party) -> None:
    """Rank 1 was silent; its table went stale, so rank 2 was amended to a fresh one, and paid."""
    core, fresh = table(made, who), table(made, who, new_root=1002)
    first, rival = agree(made, who, core), sybil_of(made, who)
    second = agree(made, rival, core, rank=2)
    made.world.pass_time(31)
    settlement = settle_bytes(made, rival, second, amend=amended(made, rival, second, fresh))
    land(made, rival, fresh, second, settlement)
    packed = settle_bytes(made, rival, second), settle_bytes(made, who, first)
    for paid_core in (core_id(encode_core(fresh)), core_id(encode_core(core)), bytes(32)):
        for pair in (packed, packed[::-1]):
            with expect_revert("(NotEquivocation|NotThePayment)"):
                made.market.send("slashEquivocation", *pair, paid_core, sender=who.prover.address)
    made.world.pass_time(600)
    evidence = core_id(encode_core(fresh)) + settlement
    slash(made, who, first, failover=evidence)
    assert ticket(made, who.requester)[2] == ticket(made, who.prover)[2] != 0
    assert credit(made, bytes(20)) == 0


def test_ranks_are_paid_once_whatever_is_claimed_landed_and_amended(made: Setup, who: Party) -> None:
    """Three ranks, three tables, every one with a receipt: one price leaves the ticket."""
    cores = [table(made, who, new_root=1001 + i) for i in range(3)]
    deals = []
    for rank, payee in enumerate((b"\x9a" * 20, b"\x9b" * 20, b"\x9c" * 20), start=1):
        party = replace(who, payee=payee)
        deals.append((party, agree(made, party, cores[0], rank=rank)))
    for party, agreement in deals:
        for counter, core in enumerate(cores):
            amend: dict[str, Any] = {} if counter == 0 else {"amend": amended(made, party, agreement, core, counter)}
            settlement = settle_bytes(made, party, agreement, **amend)
            with suppress(Reverted):
                claim(made, party, core, agreement, settlement, receipt_bytes(made, party, agreement, core))
    assert sum(credit(made, party.payee) for party, _ in deals) == PRICE
