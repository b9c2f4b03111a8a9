"""The fault campaign on a mock clock: ways through an order's life, and what must hold however they are disturbed.

A path is played once undisturbed, which tells its points: both sides of every write, of every frame, request, answer,
signature and transaction of every party. Each of them is a case in which the party ends there and comes back.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Final

import trio
from trio.testing import MockClock

from market.lifecycle import Event, Order, Role, State
from market.reasons import explain
from tests.support.market_ledger import Ledger
from tests.support.market_sim import Party, World

LONG_S: Final = 20_000  # of mock time: beyond every deadline
LOOK_S: Final = 20
ORDINARY: Final = frozenset(
    {State.PAID, State.EARNED, State.LOST, State.SLASHED, State.S_CHOSEN, State.S_FINED, State.VINDICATED}
)
"""Ends that need no reason."""

EVENTS: Final = frozenset(event.value for event in Event)
NEVER_FULL: Final = frozenset({"migrate", "scrub"})
"""Without a database there is no party, and a scrub writes nothing."""

Prepare = Callable[[World], None]
Interfere = Callable[[World], Awaitable[None]]
Disturb = Callable[[World], Interfere | None]


def undisturbed(_world: World) -> None:
    """The path as it is."""


async def nothing(_world: World) -> None:
    """Nobody interferes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way through an order's life."""

    name: str
    prepare: Prepare
    """Before anybody is up. Gives the requester what it asks for."""
    ends: frozenset[State]
    """Of the requester's orders, undisturbed."""
    interfere: Interfere = nothing
    """While it runs; must not wait for ever when the story goes another way."""
    linger_s: int = 0
    """How long the parties stay up when everything is over."""
    kills: tuple[tuple[str, str], ...] = ()
    """(party, point) of deaths that belong to the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One disturbed play of a path."""

    path: str
    party: str
    point: str
    """With its side: "before NAME" or "after NAME"; of a full disk "at start NAME" or "at commit NAME"."""

    def __str__(self) -> str:
        return f"{self.path}-{self.party}-{self.point}".replace(" ", "_")


@dataclass(slots=True, kw_only=True)
class Told:
    """What was seen of one play."""

    points: dict[str, list[str]] = field(default_factory=dict)
    """Party -> both sides of its writes, each once, in order."""
    steps: dict[str, list[str]] = field(default_factory=dict)
    """Party -> the same with everything that others could see."""
    rows: set[tuple[State, Event]] = field(default_factory=set)
    """Of the table of transitions, that were taken."""
    orders: dict[str, list[Order]] = field(default_factory=dict)
    """Party -> its orders as they are on its disk."""

    @property
    def names(self) -> frozenset[str]:
        """Names of all writes."""
        return frozenset(point.split(" ", 1)[1] for points in self.points.values() for point in points)


def play(
    folder: FilePath, path: Path, disturb: Disturb = undisturbed, *, is_lost_clock: bool = False
) -> tuple[World, Told]:
    """Plays a path on a mock clock until nothing is left to do, and checks what must always hold.

    Args:
        disturb: the last word before the parties start; what it returns runs beside them.
        is_lost_clock: a machine's clock is wrong, so what it says about the end is no fact.
    """
    return trio.run(_play, folder, path, disturb, is_lost_clock, clock=MockClock(autojump_threshold=0))


async def _play(folder: FilePath, path: Path, disturb: Disturb, is_lost_clock: bool) -> tuple[World, Told]:
    world = World(folder)
    path.prepare(world)
    for name, point in path.kills:
        party_of(world, name).kill_at = point
    beside = disturb(world)
    before_wei = total_wei(world.ledger)
    async with trio.open_nursery() as nursery:
        world.network.nursery = nursery
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        nursery.start_soon(path.interfere, world)
        if beside is not None:
            nursery.start_soon(beside, world)
        with trio.fail_after(LONG_S):
            await quiet(world)
        await trio.sleep(path.linger_s)
        nursery.cancel_scope.cancel()
    told = Told()
    for party in world.parties:
        told.points[party.name] = list(dict.fromkeys(party.points))
        told.steps[party.name] = list(dict.fromkeys(party.steps))
        with party.disk() as store:
            told.orders[party.name] = list(store.recent(20))
            for order in told.orders[party.name]:
                lines = store.history(order.order_id, order.role)
                told.rows |= {(line.state, Event(line.event)) for line in lines if line.event in EVENTS}
    check_everything(world, told, before_wei, is_lost_clock)
    return world, told


def party_of(world: World, name: str) -> Party:
    """By its name."""
    return next(party for party in world.parties if party.name == name)


async def quiet(world: World) -> None:
    """Returns when every order of every party has ended, and no effect waits; bounded by the caller."""
    while True:
        await trio.sleep(LOOK_S)
        if all(is_quiet(party) for party in world.parties):
            return


def is_quiet(party: Party) -> bool:
    """Whether a party has nothing left to do."""
    store = party.store
    if store is None or party.is_dead:
        return False
    if party.role is Role.REQUESTER and not store.recent(1):
        return False
    roles = (Role.REQUESTER, Role.STANDBY) if party.role is Role.REQUESTER else (party.role,)
    return not any(store.live(role) or store.pending(role) for role in roles)


def total_wei(ledger: Ledger) -> int:
    """All money: in tickets, and owed."""
    return sum(ledger.tickets.values()) + sum(ledger.credit_wei.values())


def check_everything(world: World, told: Told, before_wei: int, is_lost_clock: bool) -> None:
    """Money is conserved, nothing is paid twice, everything has ended, with a reason where it is not the ordinary end,
    and both sides' view of a payment is L1's."""
    ledger = world.ledger
    assert before_wei + ledger.minted_wei == total_wei(ledger), "money was made or lost"
    assert len(ledger.payments) == len(set(ledger.payments)), "an agreement was paid twice"
    assert len(ledger.payments) == len(ledger.settled), "a request was paid twice"
    for name, orders in told.orders.items():
        for order in orders:
            assert order.is_over, f"{name}: {order.state} for ever"
            assert order.reason or order.state in ORDINARY, f"{name}: {order.state} without a reason"
            assert not order.reason or is_known(order.reason), f"{name}: nobody can look up {order.reason}"
    if is_lost_clock:
        return
    requests = {order.order_id for order in told.orders["requester"] if order.state is State.PAID}
    assert requests == {request_id for _, request_id in ledger.settled}, "who paid and who says so differ"
    earned = sum(order.state is State.EARNED for orders in told.orders.values() for order in orders)
    assert earned == len(ledger.payments), "who was paid and who says so differ"


def is_known(reason: str) -> bool:
    """Whether `unveto status --why` has a line for it, or it is the code of an error."""
    return explain(reason) != "" or re.fullmatch(r"[A-Z]+-\d{3}", reason) is not None


def kills_of(path: Path, told: Told) -> list[Case]:
    """A death at each side of everything that was done."""
    return [Case(path=path.name, party=name, point=point) for name, steps in told.steps.items() for point in steps]


def new_kills(plays: Iterable[tuple[Path, Told]]) -> list[Case]:
    """`kills_of` all paths, without those that came the same way before: same role, same step, same step before it.

    The part that a path shares with earlier ones is disturbed there.
    """
    seen: set[tuple[str, str, str]] = set()
    cases = []
    for path, told in plays:
        for name, steps in told.steps.items():
            for before, point in pairwise(("", *steps)):
                way = (name.rstrip("123"), before, point)
                if way not in seen:
                    seen.add(way)
                    cases.append(Case(path=path.name, party=name, point=point))
    return cases


def full_disks_of(path: Path, told: Told) -> list[Case]:
    """A disk without room for each write, noticed at its statement or at its commit."""
    return [
        Case(path=path.name, party=name, point=f"{moment} {point.removeprefix('before ')}")
        for name, points in told.points.items()
        for point in points
        if point.startswith("before ") and point.removeprefix("before ") not in NEVER_FULL
        for moment in ("at start", "at commit")
    ]
