"""Databases of earlier and later programs, of other nodes, and of processes that came later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import MetaData, inspect, text

from market.lifecycle import Event, Role, State
from node.store import schema
from node.store.database import Database
from node.store.engines import open_engine
from node.store.errors import (
    DatabaseFailed,
    DatabaseForeign,
    DatabaseTaken,
    DatabaseUrlRefused,
    SchemaTooNew,
    SchemaTooOld,
)
from node.store.orders import OrderStore
from node.store.transactions import TransactionStore
from node.store.vault import Vault
from tests.support.disks import NOW_MS, ORDER, SECRET, Disk, draft
from tests.support.tools import ROOT

FIRST_LIGHT: Final = ROOT / "tests" / "vectors" / "store_v1.sql"
FIRST_LIGHT_KEY: Final = b"\x2a" * 32


@pytest.fixture
def old_disk(sqlite_disk: Disk) -> Iterator[Disk]:
    """A database with schema 1 in the middle of an order, and its key."""
    connection = sqlite3.connect(sqlite_disk.folder / "node.db")
    connection.executescript(FIRST_LIGHT.read_text())
    connection.close()
    key = sqlite_disk.folder / "vault.key"
    key.write_bytes(FIRST_LIGHT_KEY)
    key.chmod(0o600)
    yield sqlite_disk


def shape(url: str) -> dict[str, Any]:
    """Columns, keys and indices of every table."""
    engine = open_engine(url)
    found = inspect(engine)
    tables = {
        name: (
            sorted((column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(name)),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((str(index["name"]), tuple(index["column_names"])) for index in found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }
    engine.dispose()
    return tables


def versions(url: str) -> list[int]:
    """The lines of the migration table."""
    engine = open_engine(url)
    with engine.connect() as connection:
        found = list(connection.scalars(text("SELECT version FROM migrations ORDER BY version")))
    engine.dispose()
    return found


def test_a_database_of_first_light_opens_with_all_that_is_in_it(old_disk: Disk) -> None:
    """Orders, secrets, bids, transactions; and the order goes on."""
    database = old_disk.database()
    store = OrderStore(database, Vault(old_disk.folder / "vault.key"))
    order = store.order(ORDER.order_id, Role.REQUESTER)

    assert State.CLOSED is order.state
    assert 0 == order.call_ms
    assert SECRET == store.secret(order.order_id, Role.REQUESTER, "payload")
    assert [b"bid"] == [bid.body for bid in store.bids(order.order_id)]
    assert ["choose-winner"] == [pending.effect.value for pending in store.pending(Role.REQUESTER)]
    assert [1 << 70] == [each.max_fee_wei for each in TransactionStore(database).open(b"a" * 20)]
    store.advance(order, Event.WINNER_CHOSEN, now_ms=NOW_MS)
    assert State.AWARDED is old_disk.orders().order(ORDER.order_id, Role.REQUESTER).state


def test_an_old_database_gets_the_tables_of_a_new_one(old_disk: Disk, tmp_path: Path) -> None:
    """Step by step or at once: the same tables, columns, keys and indices."""
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    Database(fresh, now_ms=NOW_MS).close()
    old_disk.database()

    assert shape(fresh) == shape(old_disk.url)
    assert set(schema.METADATA.tables) | {"sqlite_sequence"} >= set(shape(fresh))
    assert versions(fresh) == versions(old_disk.url)


def test_a_migration_that_fails_leaves_the_old_database(old_disk: Disk) -> None:
    """A table of the last step's name is in the way: the steps before it are undone too."""
    before = shape(old_disk.url)
    connection = sqlite3.connect(old_disk.folder / "node.db")
    connection.execute("CREATE TABLE holder (other INTEGER)")
    connection.commit()
    with pytest.raises(DatabaseFailed):
        old_disk.database()

    connection.execute("DROP TABLE holder")
    connection.commit()
    connection.close()
    assert before == shape(old_disk.url)
    assert [1] == versions(old_disk.url)
    assert State.CLOSED is old_disk.orders().order(ORDER.order_id, Role.REQUESTER).state


def test_a_reader_changes_nothing(old_disk: Disk) -> None:
    """It looks once the node has been there."""
    with pytest.raises(SchemaTooOld):
        old_disk.database(is_reader=True)
    assert [1] == versions(old_disk.url)
    holder = draft_beside(old_disk)

    reader = OrderStore(old_disk.database(is_reader=True), Vault(old_disk.folder / "vault.key"))
    assert SECRET == reader.secret(ORDER.order_id, Role.REQUESTER, "payload")
    holder.advance(holder.order(ORDER.order_id, Role.REQUESTER), Event.NO_BIDS, now_ms=NOW_MS)
    assert State.EXPIRED is reader.order(ORDER.order_id, Role.REQUESTER).state


def draft_beside(disk: Disk) -> OrderStore:
    """The store of the process that holds the database."""
    return disk.orders()


def test_a_database_of_a_later_program_is_refused(disk: Disk) -> None:
    """By the node and by readers: an older program would not know what it destroys."""
    disk.database()
    engine = open_engine(disk.url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO migrations VALUES (99, 0)"))
    engine.dispose()

    with pytest.raises(SchemaTooNew):
        disk.database()
    with pytest.raises(SchemaTooNew):
        disk.database(is_reader=True)


def test_opening_again_migrates_nothing(disk: Disk) -> None:
    """One line per version, every table."""
    disk.database()
    disk.database()

    assert list(range(1, schema.VERSION + 1)) == versions(disk.url)
    engine = open_engine(disk.url)
    found = MetaData()
    found.reflect(engine)
    engine.dispose()
    assert set(schema.METADATA.tables) == set(found.tables)


def test_whoever_opened_the_database_last_writes_alone(disk: Disk) -> None:
    """The one before notices at its next write, and writes nothing more."""
    first = disk.orders()
    seen = draft(first)
    second = disk.orders()
    with pytest.raises(DatabaseTaken):
        first.advance(seen, Event.COMMIT, now_ms=NOW_MS)
    with pytest.raises(DatabaseTaken):
        first.advance(seen, Event.CANCEL, now_ms=NOW_MS)

    assert State.DRAFT is second.order(ORDER.order_id, Role.REQUESTER).state
    committed, _ = second.advance(seen, Event.COMMIT, now_ms=NOW_MS)
    assert State.COMMITTED is committed.state


def test_a_database_opens_for_the_key_that_it_was_made_with(disk: Disk) -> None:
    """Else a copied configuration would let one node act on another one's orders."""
    own, other = Vault(disk.folder / "vault.key"), Vault(disk.folder / "other.key")
    Database(disk.url, now_ms=NOW_MS, owner=own.fingerprint).close()
    Database(disk.url, now_ms=NOW_MS, owner=own.fingerprint).close()

    with pytest.raises(DatabaseForeign):
        Database(disk.url, now_ms=NOW_MS, owner=other.fingerprint)


@pytest.mark.parametrize(
    "url", ["node.db", "mysql://localhost/x", "nothing://x", "postgresql://user:hidden@127.0.0.1:1/x"]
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str) -> None:
    """Not a URL, another database, no server."""
    with pytest.raises((DatabaseUrlRefused, DatabaseFailed)) as refused:
        Database(url, now_ms=NOW_MS)

    assert "hidden" not in str(refused.value)
