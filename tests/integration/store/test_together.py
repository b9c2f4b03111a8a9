"""Writes of several callers in one transaction: one wait for the disk, and each caller still gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import outcome
import pytest
import trio
import trio.testing
from sqlalchemy import Connection, event, text

from market.lifecycle import Event, Role, State
from node.store.database import Database
from node.store.errors import DatabaseFailed, DatabaseTaken, OrderExists, StaleOrder
from node.store.orders import WIPE_AFTER_MS, OrderStore
from node.store.sequences import Sequences
from node.store.vault import Vault
from node.store.writer import MAX_TOGETHER, WriterThread
from tests.support.disks import NOW_MS, ORDER, Disk, draft

OTHER = replace(ORDER, order_id=b"\x08" * 32)


def commits(database: Database) -> list[int]:
    """Grows by one with every commit of this database."""
    seen: list[int] = []
    event.listen(database.engine, "commit", lambda connection: seen.append(id(connection)))
    return seen


def store_on(disk: Disk, on_commit: Callable[[str], None] = lambda _: None) -> tuple[Database, OrderStore]:
    """A database and the orders in it."""
    database = disk.database(on_commit)
    return database, OrderStore(database, Vault(disk.folder / "vault.key"))


def errors(results: list[outcome.Outcome[Any]]) -> list[type[BaseException] | None]:
    """What each call raised."""
    return [type(each.error) if isinstance(each, outcome.Error) else None for each in results]


def test_a_group_is_one_commit_and_a_call_that_fails_loses_only_its_own(disk: Disk) -> None:
    """Two orders are made, one of them twice; the second of two that saw the same state writes nothing."""
    points: list[str] = []
    database, store = store_on(disk, points.append)
    counted = commits(database)
    del points[:]
    results = database.together(
        [
            partial(draft, store),
            partial(store.create, ORDER, ticket=9, now_ms=NOW_MS, document={"twice": b"x"}),
            partial(store.create, OTHER, ticket=4, now_ms=NOW_MS),
            partial(store.advance, ORDER, Event.COMMIT, now_ms=NOW_MS),
            partial(store.advance, ORDER, Event.CANCEL, now_ms=NOW_MS, document={"late": b"x"}),
            partial(store.tickets_in_use, Role.REQUESTER),
        ]
    )

    assert [None, OrderExists, None, None, StaleOrder, None] == errors(results)
    assert frozenset({3, 4}) == results[-1].unwrap()
    assert 1 == len(counted)
    assert ["before requester create"] * 3 == points[:3]
    assert ["after requester create", "after requester create", "after requester commit"] == points[-3:]
    again = disk.orders()
    assert State.COMMITTED is again.order(ORDER.order_id, Role.REQUESTER).state
    assert State.DRAFT is again.order(OTHER.order_id, Role.REQUESTER).state
    assert all(again.document(ORDER.order_id, Role.REQUESTER, name) is None for name in ("twice", "late"))


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_group_that_is_cut_off_leaves_nothing(disk: Disk) -> None:
    """The process ends between two calls of one group."""

    def hook(point: str) -> None:
        if point == "before requester cancel":
            raise Killed(point)

    draft(disk.orders())
    database, store = store_on(disk, hook)
    with pytest.raises(Killed):
        database.together(
            [
                partial(store.create, OTHER, ticket=4, now_ms=NOW_MS),
                partial(store.advance, ORDER, Event.CANCEL, now_ms=NOW_MS),
            ]
        )

    assert [ORDER] == list(disk.orders().live(Role.REQUESTER))


def test_after_a_write_that_is_lost_nothing_more_is_written_or_numbered(disk: Disk) -> None:
    """A statement that the database does not take ends the whole group, and the process's right to write."""
    database, store = store_on(disk)
    numbers = Sequences(database, b"a" * 20)
    numbers.next()

    def broken(connection: Connection) -> None:
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(DatabaseFailed):
        database.together([partial(draft, store), partial(database.write, "broken", broken)])
    with pytest.raises(DatabaseFailed):
        draft(store)
    with pytest.raises(DatabaseFailed):
        numbers.next()
    assert () == disk.orders().live(Role.REQUESTER)


def test_a_group_of_a_process_that_lost_the_database_writes_nothing(disk: Disk) -> None:
    """All of its calls are told."""
    database, store = store_on(disk)
    holder = disk.orders()
    with pytest.raises(DatabaseTaken):
        database.together([partial(draft, store), partial(store.create, OTHER, ticket=4, now_ms=NOW_MS)])

    assert () == holder.live(Role.REQUESTER)


def test_a_wipe_in_a_group_is_followed_by_its_scrub(disk: Disk) -> None:
    """Which no transaction may hold."""
    points: list[str] = []
    database, store = store_on(disk, points.append)
    store.advance(draft(store), Event.CANCEL, now_ms=NOW_MS)
    database.together([partial(store.wipe, NOW_MS + WIPE_AFTER_MS), partial(store.live, Role.REQUESTER)])

    assert ["before wipe", "after wipe", "before scrub", "after scrub"] == points[-4:]


async def test_callers_that_wait_share_a_transaction(disk: Disk) -> None:
    """While the first one is in the thread, 99 others come; they need two more commits."""
    database, store = store_on(disk)
    writer = WriterThread(database.together)
    counted = commits(database)
    entered, go_on = threading.Event(), threading.Event()

    def first() -> None:
        entered.set()
        assert go_on.wait(10)
        draft(store)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer, first)
        await trio.to_thread.run_sync(entered.wait)
        for number in range(99):
            order = replace(ORDER, order_id=bytes([number]) * 32, role=Role.PROVER, state=State.SEEN)
            nursery.start_soon(writer, partial(store.create, order, ticket=0, now_ms=NOW_MS))
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()

    assert 99 == len(store.live(Role.PROVER))
    assert 1 + -(-99 // MAX_TOGETHER) == len(counted)


async def test_a_cancelled_caller_has_written_and_others_get_their_own_errors(disk: Disk) -> None:
    """A write is whole or was never begun; one caller's refusal is not another's."""
    _, store = store_on(disk)
    writer = WriterThread(_.together)
    with trio.CancelScope() as scope:
        scope.cancel()
        await writer(partial(draft, store))
    assert scope.cancelled_caught
    assert () == store.live(Role.REQUESTER)

    refused: list[bool] = []

    async def create() -> None:
        try:
            await writer(partial(draft, store))
            refused.append(False)
        except OrderExists:
            refused.append(True)

    async with trio.open_nursery() as nursery:
        for _number in range(3):
            nursery.start_soon(create)

    assert [False, True, True] == sorted(refused)
