"""Every state of an agreement and of its tickets, and every call of the market: rows and columns of a matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from protocol.agreement import Agreement
from protocol.constants import RELEASE_WINDOW, SLASH_WINDOW, WITHDRAW_DELAY
from protocol.load import config_hash, lockset_systems_hash
from protocol.signing import AccountKey
from protocol.table import Core, Entry, core_id, encode_core
from protocol.types import ZERO_HASH, Address
from tests.support.evmworld import Receipt, Reverted
from tests.support.marketworld import (
    TICKET,
    TICKET_CLASS,
    Party,
    ack_bytes,
    agree,
    amended,
    claim,
    credit,
    declined_bytes,
    digest,
    land,
    receipt_bytes,
    settle_bytes,
)
from tests.support.rollupworld import FAMILY, GENESIS, Setup, answer, l1_call, word

ROLLUP: Final = 3
"""Whose owner may change its configuration at once."""
HOT: Final = AccountKey(b"\x05" * 32)
RIVAL: Final = AccountKey(b"\x04" * 32)

# seconds after openFrom
ACK_BY: Final = 10
CLAIM_FROM: Final = 50
DELIVER_BY: Final = 100
TURN: Final = DELIVER_BY + 300
CLAIM_BY: Final = 2000
NOW: Final = 60
"""When most rows are played: after the Ack, in the time of delivery, in the claim window of rank 1."""
LATER: Final = CLAIM_BY + 1
"""When the bond can be taken."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """The agreement of a row, and those that could stand in its way."""

    made: Setup
    start: int
    """openFrom."""
    who: Party
    rival: Party
    core: Core
    agreement: Agreement
    other: Agreement
    """Of another request, with the rival, on the same ticket, about the same table."""
    second: Agreement
    """The rival's rank 2 of the same request."""
    brought: dict[str, Any] = field(default_factory=dict)
    """What the settlement carries beside the agreement."""

    def at(self, seconds: int) -> None:
        """Wait until then."""
        self.made.world.pass_time(self.start + seconds - self.made.world.time)

    def send(self, function: str, *arguments: object, sender: bytes | None = None, value: int = 0) -> Receipt:
        """A transaction to the market, by a stranger unless said."""
        return self.made.market.send(function, *arguments, sender=sender or self.made.stranger, value=value)

    @property
    def packed(self) -> bytes:
        """The settlement."""
        return settle_bytes(self.made, self.who, self.agreement, **self.brought)

    @property
    def ack(self) -> bytes:
        """The prover's Ack, at the last moment."""
        return ack_bytes(self.made, self.who, self.agreement)


def scene(made: Setup, planned: int, opens_in: int = 0, **changes: Any) -> Scene:
    """Signed and funded, in the second of openFrom, or before."""
    owner = made.world.account("owner")
    config = [made.accept_all.hex], [FAMILY], 1
    made.rollups.send("createRollup", config, owner, 0, word(1000 * ROLLUP), GENESIS, sender=made.stranger)
    keys = AccountKey(b"\x01" * 32), AccountKey(b"\x02" * 32), RIVAL
    for key in keys:
        made.world.fund(key.address)
        made.market.send("deposit", TICKET_CLASS, 1, sender=key.address, value=2 * TICKET)
    who = Party(requester=keys[0], prover=keys[1], payee=b"\x9a" * 20)
    rival = replace(who, prover=RIVAL, payee=b"\x9b" * 20)
    start = made.world.time + opens_in
    trigger = l1_call(who.requester.address, ROLLUP)
    entry = Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))
    core = made.core(
        [entry],
        (ROLLUP,),
        executor=Address(who.requester.address),
        l2_time=start + (max(0, planned - 3000) if planned >= 0 else planned),
        not_before=0,
        valid_until=start + 10**6,
    )
    terms: dict[str, Any] = {
        "open_from": start,
        "ack_by": start + ACK_BY,
        "claim_from": start + CLAIM_FROM,
        "deliver_by": start + DELIVER_BY,
        "claim_by": start + CLAIM_BY,
        "systems_hash": lockset_systems_hash([config_hash(1, [Address(made.accept_all.address)], [FAMILY])]),
    }
    return Scene(
        made=made,
        start=start,
        who=who,
        rival=rival,
        core=core,
        agreement=agree(made, who, core, **(terms | changes)),
        other=agree(made, rival, core, **(terms | {"request_id": b"\x78" * 32})),
        second=agree(made, rival, core, **(terms | {"rank": 2})),
    )


# -- columns -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A way of calling a function."""

    function: str
    effect: tuple[str, ...]
    """Events of `+`."""
    play: Callable[[Scene], Receipt]


def _call(function: str, *events: str, play: Callable[[Scene], Receipt]) -> Column:
    return Column(function=function, effect=events, play=play)


def _amend(s: Scene) -> bytes:
    core = replace(s.core, entries=(replace(s.core.entries[0], new_root=3009),))
    return settle_bytes(s.made, s.who, s.agreement, amend=amended(s.made, s.who, s.agreement, core, counter=2))


def _decline(s: Scene, fee_wei: int) -> Receipt:
    return s.send("decline", s.packed, declined_bytes(s.made, s.who, s.agreement, fee_wei))


def _failover(s: Scene) -> bytes:
    return core_id(encode_core(s.core)) + settle_bytes(s.made, s.rival, s.second)


def _report(s: Scene, first: Agreement, second: Agreement) -> Receipt:
    """The first is what the ticket paid, if it paid one of them: by a proof of the table, or by a decline's fee."""
    parties = {s.agreement: s.who, s.other: s.rival}
    core = core_id(encode_core(s.core))
    proven = s.made.market.view("isPaid", s.who.requester.address, 0, digest(s.made, first), core)
    packed = [settle_bytes(s.made, parties[each], each) for each in (first, second)]
    return s.send("slashEquivocation", *packed, core if proven else ZERO_HASH)


COLUMNS: Final[dict[str, Column]] = {
    # a requester's, then a prover's ticket 0
    "dep": _call(
        "deposit",
        "TicketsDeposited",
        play=lambda s: s.send("deposit", 0, 1, sender=s.who.requester.address, value=2 * 10**15),
    ),
    "rqR": _call(
        "requestWithdraw",
        "WithdrawRequested",
        play=lambda s: s.send("requestWithdraw", 0, sender=s.who.requester.address),
    ),
    "wdR": _call("withdraw", "TicketWithdrawn", play=lambda s: s.send("withdraw", 0, sender=s.who.requester.address)),
    "wdP": _call("withdraw", "TicketWithdrawn", play=lambda s: s.send("withdraw", 0, sender=s.who.prover.address)),
    "col": _call("collect", "Collected", play=lambda s: s.send("collect", s.who.payee)),
    # a key of the prover
    "prp": _call(
        "proposeSubmitter",
        "SubmitterProposed",
        play=lambda s: s.send("proposeSubmitter", HOT.address, sender=s.who.prover.address),
    ),
    "acc": _call(
        "acceptSubmitter",
        "SubmitterAccepted",
        play=lambda s: s.send("acceptSubmitter", s.who.prover.address, sender=HOT.address),
    ),
    "rev": _call(
        "revokeSubmitter",
        "SubmitterRevoked",
        play=lambda s: s.send("revokeSubmitter", s.who.prover.address, HOT.address, sender=HOT.address),
    ),
    # payment: the requester's load, a stranger's claim without and with a receipt
    "set": _call(
        "settle",
        "AgreementSettled",
        play=lambda s: land(s.made, s.who, s.core, s.agreement, s.packed),
    ),
    "clm": _call(
        "claimWithProof",
        "AgreementSettled",
        play=lambda s: claim(s.made, s.who, s.core, s.agreement, s.packed),
    ),
    "clr": _call(
        "claimWithProof",
        "AgreementSettled",
        play=lambda s: claim(
            s.made, s.who, s.core, s.agreement, s.packed, receipt_bytes(s.made, s.who, s.agreement, s.core)
        ),
    ),
    # without an amend, with amend 2
    "rec": _call("record", "AgreementRecorded", play=lambda s: s.send("record", s.packed)),
    "amd": _call("record", "AgreementRecorded", play=lambda s: s.send("record", _amend(s))),
    "can": _call(
        "cancelAgreement",
        "AgreementCancelled",
        play=lambda s: s.send("cancelAgreement", s.packed, sender=s.who.prover.address),
    ),
    # for nothing, for a fee
    "dc0": _call("decline", "AgreementDeclined", play=lambda s: _decline(s, 0)),
    "dcf": _call("decline", "AgreementDeclined", play=lambda s: _decline(s, 7)),
    "voi": _call(
        "voidAgreement",
        "AgreementVoided",
        play=lambda s: s.send("voidAgreement", s.packed, s.ack, encode_core(s.core), ROLLUP, 2),
    ),
    # without and with the settlement of rank 2
    "sla": _call("slash", "AgreementSlashed", play=lambda s: s.send("slash", s.packed, s.ack, b"")),
    "slf": _call("slash", "AgreementSlashed", play=lambda s: s.send("slash", s.packed, s.ack, _failover(s))),
    # with the Ack that the contract saw
    "sle": _call("slash", "AgreementSlashed", play=lambda s: s.send("slash", s.packed, b"", b"")),
    "frc": _call(
        "forceRelease",
        "ReleaseForced",
        play=lambda s: s.send("forceRelease", s.packed, b"box", sender=s.who.requester.address),
    ),
    "ans": _call("answerRelease", "ReleaseAnswered", play=lambda s: s.send("answerRelease", s.packed, s.ack)),
    "pek": _call("takePeekPenalty", "PeekPenalised", play=lambda s: s.send("takePeekPenalty", s.packed)),
    # as the second promise beside another request's, and as the first
    "eq2": _call(
        "slashEquivocation",
        "BondTaken",
        "EquivocationSlashed",
        play=lambda s: _report(s, s.other, s.agreement),
    ),
    "eq1": _call(
        "slashEquivocation",
        "BondTaken",
        "EquivocationSlashed",
        play=lambda s: _report(s, s.agreement, s.other),
    ),
}

# -- rows --------------------------------------------------------------------------------------------------------------


def _switch(s: Scene) -> None:
    """The owner of the rollup replaces its configuration, in time for the Ack."""
    s.at(ACK_BY)
    config = [s.made.accept_all.hex], [b"\xfb" * 32], 1
    s.made.rollups.send("scheduleConfig", ROLLUP, config, sender=s.made.world.account("owner"))


def _amended(s: Scene) -> None:
    moved = replace(s.core, entries=(replace(s.core.entries[0], new_root=3005),))
    s.brought = {"amend": amended(s.made, s.who, s.agreement, moved)}
    s.send("record", s.packed)
    s.core = moved


def _superseded(s: Scene) -> None:
    before = s.core
    _amended(s)
    s.core, s.brought = before, {}


def forced(s: Scene) -> None:
    """The payload is published, and the prover must answer."""
    COLUMNS["frc"].play(s)


def _answered(s: Scene) -> None:
    forced(s)
    COLUMNS["ans"].play(s)


def _silent(s: Scene) -> None:
    forced(s)
    s.at(NOW + RELEASE_WINDOW + 1)


def _penalised(s: Scene) -> None:
    _silent(s)
    COLUMNS["pek"].play(s)


def _broken(s: Scene) -> None:
    """The ticket pays the other request."""
    claim(s.made, s.rival, s.core, s.other)


def _overtaken(s: Scene) -> None:
    """The ticket pays rank 2."""
    claim(s.made, s.rival, s.core, s.second, receipt=receipt_bytes(s.made, s.rival, s.second, s.core))


def _failed(s: Scene) -> None:
    """The ticket pays rank 2 once the time to deliver is over."""
    s.at(DELIVER_BY + 1)
    _overtaken(s)


def _given_up(s: Scene) -> None:
    """Cancelled, and the ticket that it freed pays another request."""
    COLUMNS["can"].play(s)
    _broken(s)


def _handed_over(s: Scene) -> None:
    """Cancelled, and the user has loaded the proof all the same."""
    COLUMNS["can"].play(s)
    COLUMNS["set"].play(s)


def _delivered(s: Scene) -> None:
    _broken(s)
    COLUMNS["clm"].play(s)


def _void(s: Scene) -> None:
    _switch(s)
    s.at(NOW)
    COLUMNS["voi"].play(s)


def _slashed(s: Scene) -> None:
    s.at(LATER)
    COLUMNS["sla"].play(s)


def _prover_spent(s: Scene) -> None:
    """The prover's ticket has paid for something else, as a requester's."""
    itself = Party(requester=s.who.prover, prover=s.who.prover, payee=s.who.prover.address)
    own = replace(s.agreement, requester=s.who.prover.address, payee=s.who.prover.address, request_id=b"\x79" * 32)
    claim(s.made, itself, s.core, own)


def _gone(owner: str) -> Callable[[Scene], None]:
    """A ticket that was withdrawn; nobody may have accepted it when the withdrawal was pending."""

    def begin(s: Scene) -> None:
        address = getattr(s.who, owner).address
        s.send("requestWithdraw", 0, sender=address)
        s.at(NOW)
        s.send("withdraw", 0, sender=address)

    return begin


def _key(*columns: str) -> Callable[[Scene], None]:
    """What became of a key of the prover."""

    def begin(s: Scene) -> None:
        for column in columns:
            COLUMNS[column].play(s)

    return begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A state, and when it is looked at."""

    at: int = NOW
    """Seconds after openFrom."""
    begin: Callable[[Scene], object] = lambda s: None
    """At NOW, unless `early`."""
    early: bool = False
    """It begins at once."""
    opens_in: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the agreement."""


def do(column: str) -> Callable[[Scene], object]:
    """That a call was made."""
    return COLUMNS[column].play


ROWS: Final[dict[str, Row]] = {
    # time alone
    "before openFrom": Row(at=-10, opens_in=10),
    "open": Row(at=0),
    "claims open": Row(),
    "after deliverBy": Row(at=DELIVER_BY + 1),
    "turn is over": Row(at=TURN + 1),
    "after claimBy": Row(at=LATER),
    "after all": Row(at=CLAIM_BY + SLASH_WINDOW + 1),
    # without a ticket, a statement, the price, the bond
    "no such ticket": Row(changes={"requester_ticket": 5, "prover_ticket": 5}),
    "capacity": Row(changes={"statement_commit": bytes(32)}),
    "price too high": Row(changes={"price_wei": TICKET + 1}),
    "bond too high, late": Row(at=LATER, changes={"bond_wei": TICKET + 1}),
    # known to the contract
    "recorded": Row(begin=do("rec")),
    "amended": Row(begin=_amended),
    "superseded": Row(begin=_superseded),
    "amended, late": Row(at=LATER, begin=_amended),
    # forced
    "forced": Row(begin=forced),
    "silent": Row(at=NOW + RELEASE_WINDOW + 1, begin=_silent),
    "silent, late": Row(at=LATER, begin=_silent),
    "answered": Row(begin=_answered),
    "answered, late": Row(at=LATER, begin=_answered),
    "acknowledged": Row(begin=do("ans")),
    "acknowledged, late": Row(at=LATER, begin=do("ans")),
    "penalised": Row(at=NOW + RELEASE_WINDOW + 1, begin=_penalised),
    "penalised, late": Row(at=LATER, begin=_penalised),
    # paid
    "paid by a load": Row(begin=do("set")),
    "paid by a claim": Row(begin=do("clm")),
    "paid, late": Row(at=LATER, begin=do("set")),
    "paid, bond free": Row(at=NOW + WITHDRAW_DELAY, begin=do("clm")),
    # not paid
    "broken": Row(begin=_broken),
    "broken, late": Row(at=LATER, begin=_broken),
    "overtaken": Row(begin=_overtaken),
    "overtaken, late": Row(at=LATER, begin=_overtaken),
    "failed, late": Row(at=LATER, begin=_failed),
    "delivered": Row(begin=_delivered),
    "delivered, late": Row(at=LATER, begin=_delivered),
    "both reported": Row(begin=do("eq1")),
    "both reported, late": Row(at=LATER, begin=do("eq1")),
    # ended
    "cancelled": Row(begin=do("can")),
    "cancelled, late": Row(at=LATER, begin=do("can")),
    "given up": Row(begin=_given_up),
    "given up, late": Row(at=LATER, begin=_given_up),
    "handed over": Row(begin=_handed_over),
    "handed over, late": Row(at=LATER, begin=_handed_over),
    "declined": Row(begin=do("dc0")),
    "declined, late": Row(at=LATER, begin=do("dc0")),
    "declined for a fee": Row(begin=do("dcf")),
    "fee, late": Row(at=LATER, begin=do("dcf")),
    "switched": Row(begin=_switch, early=True),
    "switched, late": Row(at=LATER, begin=_switch, early=True),
    "void": Row(begin=_void, early=True),
    "void, late": Row(at=LATER, begin=_void, early=True),
    "slashed": Row(at=LATER, begin=_slashed),
    "slashed, after all": Row(at=CLAIM_BY + SLASH_WINDOW + 1, begin=_slashed),
    # tickets
    "bond spent, late": Row(at=LATER, begin=_prover_spent),
    "withdrawing": Row(begin=do("rqR")),
    "withdrawable": Row(at=NOW + WITHDRAW_DELAY, begin=do("rqR")),
    "ticket gone": Row(begin=_gone("requester"), early=True, opens_in=WITHDRAW_DELAY),
    "ticket gone, late": Row(at=LATER, begin=_gone("requester"), early=True, opens_in=WITHDRAW_DELAY),
    "bond gone": Row(begin=_gone("prover"), early=True, opens_in=WITHDRAW_DELAY),
    "bond gone, late": Row(at=LATER, begin=_gone("prover"), early=True, opens_in=WITHDRAW_DELAY),
    # a key of the prover
    "key proposed": Row(begin=_key("prp")),
    "key accepted": Row(begin=_key("prp", "acc")),
    "key revoked": Row(begin=_key("prp", "acc", "rev")),
    "key proposed again": Row(begin=_key("prp", "acc", "rev", "prp")),
}


def reach(made: Setup, row: Row) -> Scene:
    """The state of a row."""
    s = scene(made, row.at, row.opens_in, **row.changes)
    if row.at >= 0 and not row.early:
        s.at(min(NOW, row.at))
    row.begin(s)
    s.at(row.at)
    return s


def outcome(s: Scene, column: Column) -> str:
    """Names of the events, or of the error."""
    try:
        log = column.play(s).events
    except Reverted as error:
        return error.revert.name
    market = [event.name for event in log if event.contract == s.made.market.address]
    return " ".join(market) or "-"


def money(s: Scene) -> int:
    """What tickets and credits say, wei."""
    owners = [key.address for key in (s.who.requester, s.who.prover, RIVAL)]
    total = sum(credit(s.made, account) for account in (*owners, s.who.payee, s.rival.payee, bytes(20)))
    for owner in owners:
        for number in range(s.made.market.view("ticketCount", owner)):
            total += sum(s.made.market.view("ticketOf", owner, number)[1:3])
    return total
