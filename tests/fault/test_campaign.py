"""The fault campaign on a mock clock: each path of an order's life, with one thing going wrong at every point of it.

The cases are not listed: an undisturbed play of a path tells all its points, and each is a case. What cannot be
forgotten: a write that no path reaches, an effect that none performs, or a statement that writes past `Database.write`,
fails here. The default run plays a fixed sample; tests/README.md says how to play everything, and how much that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path as FilePath
from random import Random
from typing import Final

import pytest
import trio

from market.lifecycle import TRANSITIONS, State
from tests.fault.test_injector_kills import POINTS as INJECTOR_POINTS
from tests.support.campaign import Case, Disturb, Path, Told, full_disks_of, kills_of, new_kills, party_of, play
from tests.support.market_sim import World, memory_folder
from tests.support.paths import PATHS, RACES
from tests.support.points import every_point, node_sources, writes_elsewhere
from tests.support.storms import KINDS

SAMPLE_SEED: Final = 3
SAMPLE_KILLS: Final = 30
SAMPLE_FULL_DISKS: Final = 6
SAMPLE_STORMS: Final = 3
"""Cases of each kind in the default run."""
STORMS: Final = 25
"""Cases of each kind of weather in the campaign."""
MAY_ASK_NOTHING: Final = ("migrate", "requester create", "requester commit")
"""A requester that dies here may have asked for nothing: its user sees NOT_STARTED and asks again."""
SURE: Final = ("happy", "not-needed", "silent-winner", "overtaken")
"""Paths that end as paid, whoever dies in between."""


@pytest.fixture
def folder(tmp_path: FilePath) -> Iterator[FilePath]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


class Undisturbed:
    """Every path, played once when it is asked for."""

    def __init__(self, folder: FilePath) -> None:
        self._folder = folder
        self._told: dict[str, Told] = {}

    def told(self, path: Path) -> Told:
        """What was seen."""
        if path.name not in self._told:
            home = self._folder / path.name
            home.mkdir(parents=True)
            _, self._told[path.name] = play(home, path)
        return self._told[path.name]

    def all(self) -> list[tuple[Path, Told]]:
        """Of every path."""
        return [(path, self.told(path)) for path in PATHS]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """Shared by all tests of this file."""
    with memory_folder(tmp_path_factory.mktemp("undisturbed")) as made:
        yield Undisturbed(made)


# -- nothing is forgotten ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_an_undisturbed_path_ends_as_it_says(undisturbed: Undisturbed, path: Path) -> None:
    """Of which all else is a disturbance."""
    own = [order.state for order in undisturbed.told(path).orders["requester"] if order.role == "requester"]

    assert path.ends == frozenset(own)


def test_the_paths_reach_every_write_of_the_node(undisturbed: Undisturbed) -> None:
    """A write, or a row of the table of states, that no path comes to has no kill point and fails here."""
    reached = frozenset(point.split(" ", 1)[1] for point in INJECTOR_POINTS)
    reached = reached.union(*(told.names for _, told in undisturbed.all()))

    assert [] == sorted(every_point(node_sources()) - reached)
    assert [] == sorted(reached - every_point(node_sources()))


def test_every_row_of_the_table_of_states_is_taken_or_is_a_race(undisturbed: Undisturbed) -> None:
    """A new row needs a path, or the word that only a disturbance leads to it."""
    taken = set().union(*(told.rows for _, told in undisturbed.all()))
    print(f"{len(taken)} of {len(TRANSITIONS)} rows")

    assert set(TRANSITIONS) - taken == RACES


def test_the_paths_perform_every_effect(undisturbed: Undisturbed) -> None:
    """Between "before done EFFECT" and the write that asked for it lies its performance."""
    asked = {f"{state.role.value} done {effect}" for (state, _), step in TRANSITIONS.items() for effect in step.effects}
    reached = frozenset().union(*(told.names for _, told in undisturbed.all()))

    assert [] == sorted(asked - reached)


def test_nothing_is_written_past_the_points() -> None:
    """Statements that change the database stand in functions that run inside a named write."""
    assert [] == writes_elsewhere(node_sources())


def test_a_write_without_a_name_or_a_path_is_found() -> None:
    """The searches see what they are for."""
    named = 'from sqlalchemy import insert\nself._database.write("a new write", lambda c: c.execute(insert(t)))\n'
    past = "from sqlalchemy import insert\ndef add(engine):\n    engine.execute(insert(t))\n"
    nameless = "self._database.write(point, work)\n"

    assert {"a new write"} == every_point([("node/x.py", named)])
    assert (["node/x.py:3"], []) == (writes_elsewhere([("node/x.py", past)]), writes_elsewhere([("node/x.py", named)]))
    with pytest.raises(AssertionError, match="a name that can be read"):
        every_point([("node/x.py", nameless)])


# -- deaths and full disks ---------------------------------------------------------------------------------------------


def broken(folder: FilePath, cases: Iterable[Case], disturb: Callable[[Case], Disturb]) -> list[str]:
    """The cases in which something did not hold, with what it was."""
    paths = {path.name: path for path in PATHS}
    found = []
    for number, case in enumerate(cases):
        home = folder / str(number)
        home.mkdir()
        try:
            world, told = play(home, paths[case.path], disturb(case))
            check_end(world, told, case)
        except (AssertionError, BaseExceptionGroup, trio.TooSlowError) as error:
            found.append(f"{case}: {error!r}")
    return found


def check_end(world: World, told: Told, case: Case) -> None:
    """Where the end is sure, it came; and the disturbance did."""
    victim = party_of(world, case.party)
    assert not victim.kill_at and not victim.full_at, "the story never came to this point"
    own = [order for order in told.orders["requester"] if order.role == "requester"]
    states = {order.state for order in own}
    if case.path in SURE and not (case.party == "requester" and case.point.endswith(MAY_ASK_NOTHING)):
        assert states == {State.PAID}, own


def dies(case: Case) -> Disturb:
    """The party ends at the point, once, and comes back."""

    def disturb(world: World) -> None:
        victim = party_of(world, case.party)
        if victim.kill_at:
            victim.then_kill_at = case.point
        else:
            victim.kill_at = case.point

    return disturb


def has_no_room(case: Case) -> Disturb:
    """The disk is full for one write; there is room when the party is started again."""

    def disturb(world: World) -> None:
        party_of(world, case.party).full_at = case.point

    return disturb


def test_a_sample_of_deaths_leaves_money_and_orders_whole(folder: FilePath, undisturbed: Undisturbed) -> None:
    """Drawn from all of them with a fixed seed."""
    cases = [case for path, told in undisturbed.all() for case in kills_of(path, told)]
    sample = Random(SAMPLE_SEED).sample(cases, SAMPLE_KILLS)
    print(f"{len(sample)} of {len(cases)} deaths")

    assert [] == broken(folder, sample, dies)


def test_a_prover_that_died_before_it_priced_a_request_bids_when_it_is_back(folder: FilePath) -> None:
    """Else it would miss the auction, and its ticket would be taken by an order that it never touched."""
    case = Case(path="happy", party="prover2", point="after prover create")
    _, told = play(folder, PATHS[0], dies(case))

    assert [State.EARNED] == [order.state for order in told.orders["prover2"]]


@pytest.mark.campaign
@pytest.mark.timeout(0)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_death_at_any_point_leaves_money_and_orders_whole(
    folder: FilePath, undisturbed: Undisturbed, path: Path
) -> None:
    """Both sides of every write, frame, request, answer, signature and transaction of every party."""
    cases = [case for case in new_kills(undisturbed.all()) if case.path == path.name]
    print(f"{path.name}: {len(cases)} deaths, of {len(kills_of(path, undisturbed.told(path)))} points")

    assert [] == broken(folder, cases, dies)


@pytest.mark.campaign
@pytest.mark.timeout(0)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_death_at_any_point_even_where_paths_are_alike(
    folder: FilePath, undisturbed: Undisturbed, path: Path
) -> None:
    """Also in the part that a path has in common with others: three times as many."""
    known = set(new_kills(undisturbed.all()))
    cases = [case for case in kills_of(path, undisturbed.told(path)) if case not in known]
    print(f"{path.name}: {len(cases)} more deaths")

    assert [] == broken(folder, cases, dies)


def all_full_disks(undisturbed: Undisturbed) -> list[Case]:
    """One for each write, in the first path that has it."""
    first: dict[tuple[str, str], Case] = {}
    for path, told in undisturbed.all():
        for case in full_disks_of(path, told):
            first.setdefault((case.party.rstrip("123"), case.point), case)
    return list(first.values())


def test_a_sample_of_full_disks_leaves_money_and_orders_whole(folder: FilePath, undisturbed: Undisturbed) -> None:
    """The party ends with a code, and goes on when there is room."""
    sample = Random(SAMPLE_SEED).sample(all_full_disks(undisturbed), SAMPLE_FULL_DISKS)

    assert [] == broken(folder, sample, has_no_room)


@pytest.mark.campaign
@pytest.mark.timeout(0)
def test_a_full_disk_at_any_write_leaves_money_and_orders_whole(folder: FilePath, undisturbed: Undisturbed) -> None:
    """Noticed at the statement, or only when it is to be made durable."""
    cases = all_full_disks(undisturbed)
    print(f"{len(cases)} full disks")

    assert [] == broken(folder, cases, has_no_room)


# -- weather -----------------------------------------------------------------------------------------------------------


def stormy(folder: FilePath, kind: str, seeds: Iterable[int]) -> list[str]:
    """The seeds with which something did not hold."""
    found = []
    for seed in seeds:
        home = folder / str(seed)
        home.mkdir()
        path = Random(seed).choice(PATHS)
        try:
            play(home, path, KINDS[kind](seed), is_lost_clock=kind == "jumping")
        except (AssertionError, BaseExceptionGroup, trio.TooSlowError) as error:
            found.append(f"{kind} {seed} on {path.name}: {error!r}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_weather_leaves_money_and_orders_whole(folder: FilePath, kind: str) -> None:
    """The first seeds of the campaign."""
    assert [] == stormy(folder, kind, range(SAMPLE_STORMS))


@pytest.mark.campaign
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_any_weather_leaves_money_and_orders_whole(folder: FilePath, kind: str) -> None:
    """Each seed is a path and a weather."""
    print(f"{STORMS} times {kind}")

    assert [] == stormy(folder, kind, range(STORMS))
