"""The order store on disk: one transaction per change, nothing lost, nothing half done, secrets unreadable without
the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from market.effects import Effect
from market.errors import InvalidTransition
from market.lifecycle import Event, Role, State
from node.chain.sender import SignedTransaction
from node.store.engines import open_engine
from node.store.errors import (
    OrderExists,
    OrderUnknown,
    StaleOrder,
    TransactionConflict,
    VaultLocked,
)
from node.store.orders import WIPE_AFTER_MS, OrderStore
from node.store.sequences import BLOCK, Sequences
from node.store.transactions import TransactionStore
from node.store.vault import Vault
from tests.support.disks import NOW_MS, ORDER, SECRET, Disk, draft


def test_an_order_survives_a_restart_with_all_that_belongs_to_it(disk: Disk) -> None:
    """State, documents, secrets, open effects, ticket, history."""
    store = disk.orders()
    committed, pending = store.advance(draft(store), Event.COMMIT, now_ms=NOW_MS + 1, document={"frame": b"f"})

    again = disk.orders()

    assert committed == again.order(ORDER.order_id, Role.REQUESTER)
    assert (committed,) == again.live(Role.REQUESTER) == again.recent(5)
    assert () == again.live(Role.PROVER)
    assert pending == again.pending(Role.REQUESTER)
    assert [Effect.PUBLISH_REQUEST] == [item.effect for item in pending]
    assert (b"body", b"f") == tuple(
        again.document(ORDER.order_id, Role.REQUESTER, name) for name in ("request", "frame")
    )
    assert SECRET == again.secret(ORDER.order_id, Role.REQUESTER, "payload")
    assert frozenset({3}) == again.tickets_in_use(Role.REQUESTER)
    assert [("create", State.DRAFT), ("commit", State.COMMITTED)] == [
        (line.event, line.target) for line in again.history(ORDER.order_id, Role.REQUESTER)
    ]


def test_only_one_of_two_that_saw_the_same_state_wins(disk: Disk) -> None:
    """Compare and set; the loser has written nothing."""
    store = disk.orders()
    seen = draft(store)
    store.advance(seen, Event.COMMIT, now_ms=NOW_MS)

    with pytest.raises(StaleOrder) as refused:
        store.advance(seen, Event.CANCEL, now_ms=NOW_MS, document={"late": b"x"})
    assert ("draft", "committed") == (refused.value.expected, refused.value.actual)
    assert store.document(ORDER.order_id, Role.REQUESTER, "late") is None
    assert 2 == len(store.history(ORDER.order_id, Role.REQUESTER))


def test_what_the_table_forbids_never_reaches_the_database(disk: Disk) -> None:
    """An invalid event, a second creation, an unknown order."""
    points: list[str] = []
    store = disk.orders(points.append)
    seen = draft(store)
    del points[:]

    with pytest.raises(InvalidTransition):
        store.advance(seen, Event.TX_LANDED, now_ms=NOW_MS)
    assert [] == points
    with pytest.raises(OrderExists):
        draft(store)
    with pytest.raises(OrderUnknown):
        store.order(bytes(32), Role.REQUESTER)
    with pytest.raises(StaleOrder):
        store.advance(replace(seen, order_id=bytes(32)), Event.COMMIT, now_ms=NOW_MS)


def test_an_effect_is_pending_until_it_is_reported(disk: Disk) -> None:
    """Also over a restart, and twice is harmless."""
    store = disk.orders()
    _, (effect,) = store.advance(draft(store), Event.COMMIT, now_ms=NOW_MS)
    store.done(effect)
    store.done(effect)

    assert () == disk.orders().pending(Role.REQUESTER)


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(point: str) -> Callable[[str], None]:
    """A hook that ends the process at a point."""

    def hook(reached: str) -> None:
        if reached == point:
            raise Killed(reached)

    return hook


@pytest.mark.parametrize(
    ("point", "state", "effects"),
    [("before requester commit", State.DRAFT, 0), ("after requester commit", State.COMMITTED, 1)],
)
def test_a_write_is_whole_or_absent(disk: Disk, point: str, state: State, effects: int) -> None:
    """State, document, secret, effect and history together, on both sides of the commit."""
    draft(disk.orders())
    with pytest.raises(Killed):
        disk.orders(kill_at(point)).advance(
            ORDER, Event.COMMIT, now_ms=NOW_MS, document={"frame": b"f"}, secret={"seal": b"s"}
        )

    store = disk.orders()
    assert state is store.order(ORDER.order_id, Role.REQUESTER).state
    assert effects == len(store.pending(Role.REQUESTER))
    assert (effects == 1) == (store.document(ORDER.order_id, Role.REQUESTER, "frame") is not None)
    assert (effects == 1) == (store.secret(ORDER.order_id, Role.REQUESTER, "seal") is not None)
    assert 1 + effects == len(store.history(ORDER.order_id, Role.REQUESTER))


def test_every_write_has_a_point_on_both_sides(disk: Disk) -> None:
    """No write passes the hook by: the database changes only between a before and its after."""
    points: list[str] = []
    database = disk.database(points.append)
    store = OrderStore(database, Vault(disk.folder / "vault.key"))
    seen = draft(store)
    seen, (effect,) = store.advance(seen, Event.COMMIT, now_ms=NOW_MS)
    store.add_bid(ORDER.order_id, b"p" * 20, b"bid", NOW_MS)
    store.done(effect)
    Sequences(database, b"s" * 20).next()
    TransactionStore(database).add(TRANSACTION)
    store.advance(seen, Event.CANCEL, now_ms=NOW_MS)
    store.wipe(NOW_MS + WIPE_AFTER_MS)

    names = [
        "migrate",
        "requester create",
        "requester commit",
        "requester bid",
        "requester done publish-request",
        "sequence",
        "transaction",
        "requester cancel",
        "wipe",
        "scrub",
    ]
    assert [f"{side} {name}" for name in names for side in ("before", "after")] == points


def test_secrets_are_unreadable_without_the_key_and_gone_after_the_end(disk: Disk) -> None:
    """At no time in the files; ten minutes after the end not even as ciphertext."""
    store = disk.orders()
    seen = draft(store)
    assert SECRET not in disk.all_bytes()
    store.advance(seen, Event.CANCEL, now_ms=NOW_MS, document={"box": b"sealed"})

    assert 0 == store.wipe(NOW_MS + WIPE_AFTER_MS - 1)
    assert SECRET == store.secret(ORDER.order_id, Role.REQUESTER, "payload")
    assert 1 == store.wipe(NOW_MS + WIPE_AFTER_MS)
    assert store.secret(ORDER.order_id, Role.REQUESTER, "payload") is None
    assert 0 == store.wipe(NOW_MS + WIPE_AFTER_MS)
    assert b"body" == store.document(ORDER.order_id, Role.REQUESTER, "request")
    assert store.document(ORDER.order_id, Role.REQUESTER, "box") is None


def test_a_wiped_secret_is_in_no_file_of_the_database(sqlite_disk: Disk) -> None:
    """Not as ciphertext either: pages are zeroed, and the log that held them is cut. Compare README.md."""
    store = sqlite_disk.orders()
    seen = draft(store)
    engine = open_engine(sqlite_disk.url)
    with engine.connect() as connection:
        box = connection.scalar(text("SELECT box FROM secrets"))
    engine.dispose()
    store.advance(seen, Event.CANCEL, now_ms=NOW_MS, document={"box": b"the sealed payload"})
    assert box in sqlite_disk.all_bytes()
    assert b"the sealed payload" in sqlite_disk.all_bytes()
    store.wipe(NOW_MS + WIPE_AFTER_MS)

    assert box not in sqlite_disk.all_bytes()
    assert b"the sealed payload" not in sqlite_disk.all_bytes()
    assert b"body" in sqlite_disk.all_bytes()


def test_a_box_opens_only_in_its_own_row(disk: Disk) -> None:
    """Somebody who can write the database cannot move one order's secret to another."""
    store = disk.orders()
    draft(store)
    other = replace(ORDER, order_id=b"\x08" * 32)
    store.create(other, ticket=4, now_ms=NOW_MS, secret={"payload": b"another"})
    engine = open_engine(disk.url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE secrets SET box = (SELECT box FROM secrets WHERE order_id = :a)"), {"a": other.order_id}
        )
    engine.dispose()

    assert b"another" == store.secret(other.order_id, Role.REQUESTER, "payload")
    with pytest.raises(VaultLocked):
        store.secret(ORDER.order_id, Role.REQUESTER, "payload")


def test_a_key_file_that_others_can_read_or_that_is_wrong_is_refused(disk: Disk) -> None:
    """Mode, length, another key."""
    draft(disk.orders())
    key = disk.folder / "vault.key"
    assert 0o600 == key.stat().st_mode & 0o777
    key.chmod(0o644)
    with pytest.raises(VaultLocked):
        disk.orders()
    key.chmod(0o600)
    key.write_bytes(bytes(32))
    with pytest.raises(VaultLocked):
        disk.orders().secret(ORDER.order_id, Role.REQUESTER, "payload")
    key.write_bytes(bytes(31))
    with pytest.raises(VaultLocked):
        disk.orders()


def test_bids_are_first_come_and_only_while_open(disk: Disk) -> None:
    """A second bid of the same prover changes nothing; a closed auction takes none."""
    store = disk.orders()
    seen = draft(store)
    assert not store.add_bid(ORDER.order_id, b"p" * 20, b"early", NOW_MS)
    seen, _ = store.advance(seen, Event.COMMIT, now_ms=NOW_MS)
    assert store.add_bid(ORDER.order_id, b"p" * 20, b"one", NOW_MS + 1)
    assert not store.add_bid(ORDER.order_id, b"p" * 20, b"two", NOW_MS + 2)
    store.advance(seen, Event.BIDS_CLOSED, now_ms=NOW_MS)
    assert not store.add_bid(ORDER.order_id, b"q" * 20, b"late", NOW_MS + 3)

    assert [(b"p" * 20, b"one")] == [(bid.prover, bid.body) for bid in store.bids(ORDER.order_id)]


def test_sequence_numbers_rise_over_restarts(disk: Disk) -> None:
    """With one write per block; a restart skips the rest of its block."""
    points: list[str] = []
    first = Sequences(disk.database(points.append), b"a" * 20)
    numbers = [first.next() for _ in range(BLOCK + 1)]
    assert 2 == points.count("after sequence")
    numbers.append(Sequences(disk.database(), b"a" * 20).next())

    assert sorted(set(numbers)) == numbers
    assert 1 == Sequences(disk.database(), b"b" * 20).next()


def test_a_sequence_number_is_durable_before_it_is_given(disk: Disk) -> None:
    """A process that dies right after the write has not used the block; the next one starts behind it."""
    with pytest.raises(Killed):
        Sequences(disk.database(kill_at("after sequence")), b"a" * 20).next()

    assert 1 + BLOCK == Sequences(disk.database(), b"a" * 20).next()


TRANSACTION = SignedTransaction(
    purpose="order 07",
    account=b"a" * 20,
    nonce=0,
    tx_hash=b"h" * 32,
    raw=b"raw",
    max_fee_wei=1 << 70,
    tip_wei=5,
)


def test_a_transaction_is_stored_once_per_nonce(disk: Disk) -> None:
    """The same again is harmless, another at the nonce is refused, a replacement is another row."""
    store = TransactionStore(disk.database())
    store.add(TRANSACTION)
    store.add(TRANSACTION)
    with pytest.raises(TransactionConflict):
        store.add(replace(TRANSACTION, tx_hash=b"i" * 32))
    raised = replace(TRANSACTION, tx_hash=b"j" * 32, replaces=TRANSACTION.tx_hash)
    store.add(raised)

    store = TransactionStore(disk.database())
    assert {TRANSACTION, raised} == set(store.open(b"a" * 20))
    assert () == store.open(b"b" * 20)
    store.finish("order 07")
    assert () == store.open(b"a" * 20)
