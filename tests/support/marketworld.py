"""Agreements, tickets and settlements on a World."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from protocol.agreement import Ack, Agreement, Settlement, pack_settlement
from protocol.load import lockset_family_hash
from protocol.signing import AccountKey, ack_digest, agreement_digest
from protocol.table import Core, core_id, encode_core, statement_commit
from protocol.types import Hash32
from tests.support.evmworld import CHAIN_ID
from tests.support.rollupworld import FAMILY, Setup

PRICE = 10**16
BOND = 2 * 10**16
TICKET = 5 * 10**16
SALT = Hash32(b"\x5a" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who deals with whom: keys, and the payee."""

    requester: AccountKey
    prover: AccountKey
    payee: bytes


def parties(made: Setup) -> Party:
    """Funded accounts with one ticket each."""
    requester, prover = AccountKey(b"\x01" * 32), AccountKey(b"\x02" * 32)
    for key in (requester, prover):
        made.world.fund(key.address)
        made.market.send("deposit", 1, sender=key.address, value=TICKET)
    return Party(requester=requester, prover=prover, payee=b"\x9a" * 20)


def agree(made: Setup, who: Party, core: Core, **changes: Any) -> Agreement:
    """An agreement about proving `core`."""
    fields: dict[str, Any] = {
        "request_id": b"\x77" * 32,
        "rank": 1,
        "requester": who.requester.address,
        "requester_ticket": 0,
        "prover": who.prover.address,
        "prover_ticket": 0,
        "payee": who.payee,
        "price_wei": PRICE,
        "bond_wei": BOND,
        "statement_commit": statement_commit(SALT, core_id(encode_core(core))),
        "payload_commit": b"\x66" * 32,
        "family_hash": lockset_family_hash([[FAMILY]] * len(core.lockset)),
        "ack_by": made.world.time + 5,
        "deliver_by": made.world.time + 30,
        "claim_by": made.world.time + 600,
    }
    return Agreement(**(fields | changes))


def digest(made: Setup, agreement: Agreement) -> bytes:
    """agreementHash."""
    return agreement_digest(CHAIN_ID, made.market.address, agreement)


def settle_bytes(made: Setup, who: Party, agreement: Agreement, **changes: Any) -> bytes:
    """The settlement, signed by both."""
    agreed = digest(made, agreement)
    settlement = Settlement(
        agreement=agreement,
        salt=SALT,
        requester_signature=who.requester.sign_digest(agreed),
        prover_signature=who.prover.sign_digest(agreed),
    )
    return pack_settlement(replace(settlement, **changes))


def ack_bytes(made: Setup, who: Party, agreement: Agreement, ack_at: int | None = None) -> bytes:
    """The prover's acknowledgement as `slash` reads it."""
    ack_at = agreement.ack_by if ack_at is None else ack_at
    ack = Ack(agreement_hash=digest(made, agreement), payload_commit=agreement.payload_commit, ack_at=ack_at)
    return ack_at.to_bytes(8, "big") + who.prover.sign_digest(ack_digest(CHAIN_ID, made.market.address, ack))
