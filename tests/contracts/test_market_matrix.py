"""Every state of an agreement and of its tickets, every function of the market, and what comes of it.

`MATRIX` is read by row and column, which `tests/support/marketmatrix.py` explains: a cell is `+` (the effect of its
column), `-` (done, and nothing has changed), another effect of `EFFECTS`, or an error of `ERRORS`. Every cell is played
on the contracts, and after it the contract holds exactly what tickets and credits say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from protocol.constants import RELEASE_WINDOW, SLASH_WINDOW, WITHDRAW_DELAY
from protocol.contracts.artifacts import artifact
from tests.support.marketmatrix import (
    CLAIM_BY,
    CLAIM_FROM,
    COLUMNS,
    DELIVER_BY,
    NOW,
    ROWS,
    TURN,
    Scene,
    do,
    forced,
    money,
    outcome,
    reach,
    scene,
)
from tests.support.marketworld import state_of
from tests.support.rollupworld import Setup

VIEWS: Final = {
    "agreementHash",
    "domainSeparator",
    "isPaid",
    "payoutOf",
    "stateOf",
    "submitterValidUntil",
    "ticketCount",
    "ticketOf",
}

# -- the matrix --------------------------------------------------------------------------------------------------------

ERRORS: Final = {
    "aa": "AlreadyAnswered",
    "af": "AlreadyForced",
    "al": "AmendTooLate",
    "bs": "BadSubmitter",
    "ca": "AgreementIsCancelled",
    "cl": "ClaimClosed",
    "de": "AlreadyDelivered",
    "ex": "AgreementExpired",
    "fo": "NotFailover",
    "li": "ConfigurationLives",
    "ma": "MalformedAck",
    "nb": "NoBond",
    "nc": "NothingToCollect",
    "ne": "NotEquivocation",
    "nf": "NotForced",
    "no": "AgreementNotOpen",
    "np": "NotThePayment",
    "nr": "NothingToRecord",
    "ns": "NoStatement",
    "nt": "NoTicket",
    "pe": "NotPenalisable",
    "re": "AgreementIsRelieved",
    "rl": "ReleaseTooLate",
    "se": "AlreadySettled",
    "sl": "AlreadySlashed",
    "sm": "StatementMismatch",
    "st": "StaleTable",
    "sy": "SystemsMismatch",
    "te": "SlashTooEarly",
    "tl": "SlashTooLate",
    "un": "Unfunded",
    "vo": "AgreementIsVoid",
    "we": "WithdrawTooEarly",
    "wn": "WithdrawNotRequested",
}
EFFECTS: Final = {
    "-": "-",
    "d": "DeliveredUnpaid",  # the delivery counts, and is not paid for
    "b": "BondTaken AgreementSlashed",  # the ticket is spent, its bond answers
}

MATRIX: Final = """
                    dep rqR wdR wdP col prp acc rev set clm clr rec amd can dc0 dcf voi sla slf sle frc ans pek eq2 eq1
before openFrom     +   +   wn  wn  nc  +   bs  bs  no  cl  cl  +   +   +   no  no  li  te  te  te  no  +   nf  +   +
open                +   +   wn  wn  nc  +   bs  bs  +   cl  cl  +   +   +   +   +   li  te  te  te  +   +   nf  +   +
claims open         +   +   wn  wn  nc  +   bs  bs  +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
after deliverBy     +   +   wn  wn  nc  +   bs  bs  +   +   +   +   al  +   +   +   li  te  te  te  rl  +   nf  +   +
turn is over        +   +   wn  wn  nc  +   bs  bs  +   cl  +   +   al  +   +   +   li  te  te  te  rl  +   nf  +   +
after claimBy       +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  ma  rl  rl  nf  +   +
after all           +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  tl  tl  tl  rl  rl  nf  +   +
no such ticket      +   +   wn  wn  nc  +   bs  bs  un  d   d   +   +   +   +   un  li  te  te  te  un  +   nf  ne  ne
capacity            +   +   wn  wn  nc  +   bs  bs  ns  ns  ns  +   +   +   +   +   li  te  te  te  +   +   nf  +   +
price too high      +   +   wn  wn  nc  +   bs  bs  un  d   d   +   +   +   +   +   li  te  te  te  un  +   nf  +   +
bond too high, late +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  +   +
recorded            +   +   wn  wn  nc  +   bs  bs  +   +   +   nr  +   +   +   +   li  te  te  te  +   +   nf  +   +
amended             +   +   wn  wn  nc  +   bs  bs  +   +   +   nr  +   +   +   +   li  te  te  te  +   +   nf  +   +
superseded          +   +   wn  wn  nc  +   bs  bs  sm  sm  sm  nr  +   +   +   +   li  te  te  te  +   +   nf  +   +
amended, late       +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  ma  rl  rl  nf  +   +
forced              +   +   wn  wn  nc  +   bs  bs  +   +   +   nr  +   +   +   +   li  te  te  te  af  +   pe  +   +
silent              +   +   wn  wn  nc  +   bs  bs  +   cl  +   nr  al  +   +   +   li  te  te  te  rl  rl  +   +   +
silent, late        +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  ma  rl  rl  +   +   +
answered            +   +   wn  wn  nc  +   bs  bs  +   +   +   nr  +   +   +   +   li  te  te  te  af  aa  pe  +   +
answered, late      +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  +   rl  rl  pe  +   +
acknowledged        +   +   wn  wn  nc  +   bs  bs  +   +   +   nr  +   +   +   +   li  te  te  te  +   aa  nf  +   +
acknowledged, late  +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  +   rl  rl  nf  +   +
penalised           +   +   wn  we  nc  +   bs  bs  +   cl  +   nr  al  +   +   +   li  te  te  te  rl  rl  pe  +   +
penalised, late     +   +   wn  we  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  b   fo  ma  rl  rl  pe  +   +
paid by a load      +   +   we  wn  +   +   bs  bs  st  se  se  +   +   +   +   un  li  te  te  te  un  +   nf  np  +
paid by a claim     +   +   we  wn  +   +   bs  bs  -   se  se  +   +   +   +   un  li  te  te  te  un  +   nf  np  +
paid, late          +   +   we  wn  +   +   bs  bs  st  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  np  +
paid, bond free     +   +   +   wn  +   +   bs  bs  -   cl  cl  ex  ex  +   ex  ex  li  tl  tl  tl  rl  rl  nf  np  +
broken              +   +   we  wn  nc  +   bs  bs  un  d   d   +   +   +   +   un  li  te  te  te  un  +   nf  +   np
broken, late        +   +   we  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  +   np
overtaken           +   +   we  wn  nc  +   bs  bs  un  d   d   +   +   +   +   un  li  te  te  te  un  +   nf  np  np
overtaken, late     +   +   we  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  np  np
failed, late        +   +   we  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  +   un  rl  rl  nf  np  np
delivered           +   +   we  wn  nc  +   bs  bs  un  de  de  +   +   +   +   un  de  te  te  te  de  +   nf  +   np
delivered, late     +   +   we  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  de  de  de  de  rl  rl  nf  +   np
both reported       +   +   wn  wn  +   +   bs  bs  +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  nb  nb
both reported, late +   +   wn  wn  +   +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  +   fo  ma  rl  rl  nf  nb  nb
cancelled           +   +   wn  wn  nc  +   bs  bs  d   d   d   +   +   ca  +   +   li  te  te  te  ca  +   nf  ne  ne
cancelled, late     +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  ca  ex  ex  li  +   +   ma  rl  rl  nf  ne  ne
given up            +   +   we  wn  nc  +   bs  bs  d   d   d   +   +   ca  +   un  li  te  te  te  ca  +   nf  ne  np
given up, late      +   +   we  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  ca  ex  ex  li  +   +   ma  rl  rl  nf  ne  np
handed over         +   +   wn  wn  nc  +   bs  bs  st  de  de  +   +   ca  +   +   de  te  te  te  de  +   nf  ne  ne
handed over, late   +   +   wn  wn  nc  +   bs  bs  st  cl  cl  ex  ex  ca  ex  ex  de  de  de  de  rl  rl  nf  ne  ne
declined            +   +   wn  wn  nc  +   bs  bs  re  re  re  +   +   re  re  re  re  te  te  te  re  +   nf  ne  ne
declined, late      +   +   wn  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  re  ex  ex  re  re  re  re  rl  rl  nf  ne  ne
declined for a fee  +   +   we  wn  +   +   bs  bs  re  re  re  +   +   re  re  re  re  te  te  te  re  +   nf  ne  +
fee, late           +   +   we  wn  +   +   bs  bs  ex  cl  cl  ex  ex  re  ex  ex  re  re  re  re  rl  rl  nf  ne  +
switched            +   +   wn  wn  nc  +   bs  bs  sy  +   +   +   +   +   +   +   +   te  te  te  +   +   nf  +   +
switched, late      +   +   wn  wn  nc  +   bs  bs  sy  cl  cl  ex  ex  +   ex  ex  +   +   fo  ma  rl  rl  nf  +   +
void                +   +   wn  wn  nc  +   bs  bs  sy  d   d   +   +   vo  vo  vo  vo  te  te  te  vo  +   nf  ne  ne
void, late          +   +   wn  wn  nc  +   bs  bs  sy  cl  cl  ex  ex  vo  ex  ex  vo  vo  fo  ma  rl  rl  nf  ne  ne
slashed             +   +   wn  we  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  sl  sl  sl  sl  rl  rl  nf  +   +
slashed, after all  +   +   wn  we  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  sl  tl  tl  tl  rl  rl  nf  +   +
bond spent, late    +   +   wn  we  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  b   fo  ma  rl  rl  nf  +   +
withdrawing         +   +   we  wn  nc  +   bs  bs  +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
withdrawable        +   +   +   wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  tl  tl  tl  rl  rl  nf  +   +
ticket gone         +   nt  nt  wn  nc  +   bs  bs  un  d   d   +   +   +   +   un  li  te  te  te  un  +   nf  np  np
ticket gone, late   +   nt  nt  wn  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  np  np
bond gone           +   +   wn  nt  nc  +   bs  bs  +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
bond gone, late     +   +   wn  nt  nc  +   bs  bs  ex  cl  cl  ex  ex  +   ex  ex  li  un  fo  un  rl  rl  nf  +   +
key proposed        +   +   wn  wn  nc  +   +   +   +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
key accepted        +   +   wn  wn  nc  +   bs  +   +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
key revoked         +   +   wn  wn  nc  +   bs  bs  +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
key proposed again  +   +   wn  wn  nc  +   +   +   +   +   +   +   +   +   +   +   li  te  te  te  +   +   nf  +   +
"""


def cells() -> dict[str, dict[str, str]]:
    """What the matrix says, by row and column."""
    head, *lines = MATRIX.strip("\n").split("\n")
    columns = head.split()
    found = {}
    for line in lines:
        values = line[20:].split()
        assert len(values) == len(columns), line
        found[line[:20].strip()] = dict(zip(columns, values, strict=True))
    return found


EXPECTED: Final = cells()


def meaning(column: str, cell: str) -> str:
    """Names of the events, or of the error, of a cell."""
    return " ".join(COLUMNS[column].effect) if cell == "+" else (EFFECTS | ERRORS)[cell]


@pytest.fixture
def made_here(_world: Setup) -> Iterator[Setup]:
    """The world of the other tests, but not on anvil: there these thousands of calls take minutes."""
    point = _world.world.snapshot()
    yield _world
    _world.world.restore(point)


@pytest.mark.parametrize("name", ROWS)
def test_each_call_does_in_each_state_what_the_matrix_says_and_money_is_conserved(made_here: Setup, name: str) -> None:
    made = made_here
    s = reach(made, ROWS[name])
    found = {}
    for name_of_column, column in COLUMNS.items():
        point = made.world.snapshot()
        before = state_of(made, s.agreement)
        found[name_of_column] = outcome(s, column)
        assert made.world.balance(made.market.address) == money(s), name_of_column
        if found[name_of_column] == "-":
            assert state_of(made, s.agreement) == before
        made.world.restore(point)
    assert found == {column: meaning(column, cell) for column, cell in EXPECTED[name].items()}


def test_the_matrix_has_all_rows_and_columns() -> None:
    assert list(EXPECTED) == list(ROWS)
    assert all(list(row) == list(COLUMNS) for row in EXPECTED.values())
    used = {cell for row in EXPECTED.values() for cell in row.values()}
    assert used == {"+"} | EFFECTS.keys() | ERRORS.keys()


def test_every_function_of_the_market_has_a_column() -> None:
    abi = [item for item in artifact("ProofMarket").abi if item["type"] == "function"]
    changing = {item["name"] for item in abi if item["stateMutability"] in ("nonpayable", "payable")}
    views = {item["name"] for item in abi} - changing
    assert changing == {column.function for column in COLUMNS.values()}
    assert {name for name in views if not name.isupper()} == VIEWS


ELSEWHERE: Final = {
    # formats and signatures, which no state changes
    "BadSignature",
    "MalformedDecline",
    "MalformedReceipt",
    "MalformedSettlement",
    "MalformedSignature",
    # arguments and senders
    "BadDeposit",
    "BadRank",
    "BadTimes",
    "BoxTooLong",
    "FeeAbovePrice",
    "NotProver",
    "NotRequester",
    "NotRollups",
    # evidence and proofs about something else
    "AgreementMismatch",
    "LateAck",
    "NotInLockset",
    "PayeeMismatch",
    "StaleAmend",
    # a payee that refuses
    "PaymentFailed",
}
"""Errors that other tests of the market bring about."""


def test_every_error_of_the_market_is_in_the_matrix_or_played_elsewhere() -> None:
    errors = {item["name"] for item in artifact("ProofMarket").abi if item["type"] == "error"}
    assert errors - set(ERRORS.values()) == ELSEWHERE


# -- edges of the windows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a call works, in seconds after openFrom, both inclusive."""

    column: str
    first: int | None = None
    last: int | None = None
    before: str = ""
    """Error one second earlier."""
    after: str = ""
    """Error one second later."""
    begin: Callable[[Scene], object] = lambda s: None
    """At NOW."""


WINDOWS: Final = {
    "load": Window(column="set", first=0, last=CLAIM_BY, before="AgreementNotOpen", after="AgreementExpired"),
    "claim": Window(column="clm", first=CLAIM_FROM, last=TURN, before="ClaimClosed", after="ClaimClosed"),
    "claim with a receipt": Window(
        column="clr", first=CLAIM_FROM, last=CLAIM_BY, before="ClaimClosed", after="ClaimClosed"
    ),
    "record": Window(column="rec", last=CLAIM_BY, after="AgreementExpired"),
    "amend": Window(column="amd", last=DELIVER_BY, after="AmendTooLate"),
    "decline": Window(column="dcf", first=0, last=CLAIM_BY, before="AgreementNotOpen", after="AgreementExpired"),
    "slash": Window(
        column="sla", first=CLAIM_BY + 1, last=CLAIM_BY + SLASH_WINDOW, before="SlashTooEarly", after="SlashTooLate"
    ),
    "force": Window(column="frc", first=0, last=DELIVER_BY, before="AgreementNotOpen", after="ReleaseTooLate"),
    "acknowledge": Window(column="ans", last=CLAIM_BY, after="ReleaseTooLate"),
    "answer": Window(column="ans", last=NOW + RELEASE_WINDOW, after="ReleaseTooLate", begin=forced),
    "penalty": Window(
        column="pek",
        first=NOW + RELEASE_WINDOW + 1,
        last=CLAIM_BY + SLASH_WINDOW,
        before="NotPenalisable",
        after="SlashTooLate",
        begin=forced,
    ),
    "withdraw": Window(column="wdR", first=NOW + WITHDRAW_DELAY, before="WithdrawTooEarly", begin=do("rqR")),
    "withdraw what is left": Window(
        column="wdR", first=NOW + WITHDRAW_DELAY, before="WithdrawTooEarly", begin=do("set")
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_call_works_from_the_first_to_the_last_second_of_its_window(made_here: Setup, name: str) -> None:
    made = made_here
    window = WINDOWS[name]
    column = COLUMNS[window.column]
    works = " ".join(column.effect)
    moments = []
    if window.first is not None:
        moments += [(window.first - 1, window.before), (window.first, works)]
    if window.last is not None:
        moments += [(window.last, works), (window.last + 1, window.after)]
    for second, expected in moments:
        point = made.world.snapshot()
        s = scene(made, planned=-10, opens_in=10)
        if second >= NOW:
            s.at(NOW)
            window.begin(s)
        s.at(second)
        assert outcome(s, column) == expected, second
        made.world.restore(point)
