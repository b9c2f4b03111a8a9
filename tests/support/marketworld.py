"""Agreements, tickets and settlements on a World."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from protocol.agreement import (
    Ack,
    Agreement,
    Decline,
    Settlement,
    SignedAmend,
    StatementAmend,
    by_key,
    pack_dated,
    pack_decline,
    pack_settlement,
    ticket_cap_wei,
)
from protocol.agreement import Receipt as Receipt_
from protocol.load import config_hash, lockset_systems_hash
from protocol.signing import (
    AccountKey,
    ack_digest,
    agreement_digest,
    amend_digest,
    decline_digest,
    receipt_digest,
)
from protocol.table import Core, Entry, core_id, encode_core, statement_commit
from protocol.types import Address, Hash32
from tests.support.evmworld import CHAIN_ID, Receipt
from tests.support.rollupworld import FAMILY, Setup, answer, l1_call

PRICE = 10**16
BOND = 2 * 10**16
TICKET_CLASS = 3
TICKET = ticket_cap_wei(TICKET_CLASS)
SALT = Hash32(b"\x5a" * 32)
HOUR = 3600


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
        made.market.send("deposit", TICKET_CLASS, 1, sender=key.address, value=2 * TICKET)
    return Party(requester=requester, prover=prover, payee=b"\x9a" * 20)


def agree(made: Setup, who: Party, core: Core, **changes: Any) -> Agreement:
    """An agreement about proving `core`, whose members have the system that accepts all."""
    accepting = Address(made.accept_all.address)
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
        "systems_hash": lockset_systems_hash([config_hash(1, [accepting], [FAMILY])] * len(core.lockset)),
        "open_from": made.world.time,
        "ack_by": made.world.time + 5,
        "deliver_by": made.world.time + 30,
        "claim_from": made.world.time,
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
        requester_signature=by_key(who.requester.sign_digest(agreed)),
        prover_signature=by_key(who.prover.sign_digest(agreed)),
    )
    return pack_settlement(replace(settlement, **changes))


def ack_bytes(made: Setup, who: Party, agreement: Agreement, ack_at: int | None = None) -> bytes:
    """The prover's acknowledgement as `slash` reads it."""
    ack_at = agreement.ack_by if ack_at is None else ack_at
    ack = Ack(agreement_hash=digest(made, agreement), payload_commit=agreement.payload_commit, ack_at=ack_at)
    return pack_dated(ack_at, by_key(who.prover.sign_digest(ack_digest(CHAIN_ID, made.market.address, ack))))


def table(made: Setup, who: Party, new_root: int = 1001, data: bytes = b"") -> Core:
    """A one-entry table of the requester."""
    trigger = l1_call(who.requester.address, 1, data=data)
    entry = Entry(mid=False, new_root=new_root, trigger=trigger, next_action=answer(trigger))
    return made.core([entry], executor=Address(who.requester.address))


def land(made: Setup, who: Party, core: Core, agreement: Agreement, settlement: bytes | None = None) -> Receipt:
    """The requester's one transaction."""
    settlement = settle_bytes(made, who, agreement) if settlement is None else settlement
    return made.run(
        core,
        sender=who.requester.address,
        payee=agreement.payee,
        agreement=digest(made, agreement),
        settlement=settlement,
    )


def claim(
    made: Setup,
    who: Party,
    core: Core,
    agreement: Agreement,
    settlement: bytes | None = None,
    receipt: bytes = b"",
) -> Receipt:
    """claimWithProof by anybody."""
    settlement = settle_bytes(made, who, agreement) if settlement is None else settlement
    proofs = made.proofs(core, agreement.payee, digest(made, agreement))
    return made.market.send("claimWithProof", encode_core(core), proofs, settlement, receipt, sender=made.stranger)


def paid(made: Setup, who: Party) -> int:
    """Credit of the payee."""
    return int(made.market.view("payoutOf", who.payee))


def ticket(made: Setup, owner: AccountKey) -> tuple[int, ...]:
    """Class, amount, bond, withdrawableAt and payment of an account's first ticket."""
    return tuple(made.market.view("ticketOf", owner.address, 0))


def assert_market_conserves(made: Setup, who: Party) -> None:
    """What the market holds is what tickets and credits say."""
    tickets = sum(sum(made.market.view("ticketOf", key.address, 0)[1:3]) for key in (who.requester, who.prover))
    accounts = (who.payee, who.requester.address, who.prover.address)
    credits = sum(made.market.view("payoutOf", account) for account in accounts)
    assert made.world.balance(made.market.address) == tickets + credits


def slash(made: Setup, who: Party, agreement: Agreement, ack: bytes | None = None, failover: bytes = b"") -> Receipt:
    """slash by anybody."""
    ack = ack_bytes(made, who, agreement) if ack is None else ack
    return made.market.send("slash", settle_bytes(made, who, agreement), ack, failover, sender=made.stranger)


def amended(
    made: Setup, who: Party, agreement: Agreement, core: Core, counter: int = 1, salt: Hash32 = SALT, **changes: Any
) -> SignedAmend:
    """A StatementAmend to `core`, signed by both."""
    amend = StatementAmend(
        agreement_hash=digest(made, agreement),
        counter=counter,
        statement_commit=statement_commit(salt, core_id(encode_core(core))),
    )
    signed = amend_digest(CHAIN_ID, made.market.address, amend)
    fields: dict[str, Any] = {
        "counter": counter,
        "statement_commit": amend.statement_commit,
        "requester_signature": by_key(who.requester.sign_digest(signed)),
        "prover_signature": by_key(who.prover.sign_digest(signed)),
    }
    return SignedAmend(**(fields | changes))


def receipt_bytes(made: Setup, who: Party, agreement: Agreement, core: Core, received_at: int = 7) -> bytes:
    """The requester's receipt as `claimWithProof` reads it."""
    receipt = Receipt_(
        agreement_hash=digest(made, agreement), core_id=core_id(encode_core(core)), received_at=received_at
    )
    signature = who.requester.sign_digest(receipt_digest(CHAIN_ID, made.market.address, receipt))
    return pack_dated(received_at, by_key(signature))


def declined_bytes(made: Setup, who: Party, agreement: Agreement, fee_wei: int, verdict: int = 2) -> bytes:
    """A decline that both signed."""
    decline = Decline(agreement_hash=digest(made, agreement), verdict=verdict, fee_wei=fee_wei)
    signed = decline_digest(CHAIN_ID, made.market.address, decline)
    return pack_decline(decline, by_key(who.requester.sign_digest(signed)), by_key(who.prover.sign_digest(signed)))


def names(receipt: Receipt) -> list[str]:
    """Names of the events."""
    return [event.name for event in receipt.events]


def credit(made: Setup, account: bytes) -> int:
    """payoutOf."""
    return int(made.market.view("payoutOf", account))


def state_of(made: Setup, agreement: Agreement) -> frozenset[str]:
    """What the contract knows about an agreement: the flags that are set."""
    flags = ("recorded", "delivered", "slashed", "cancelled", "relieved", "voided", "answered", "penalised")
    return frozenset(compress(flags, made.market.view("stateOf", digest(made, agreement))))
