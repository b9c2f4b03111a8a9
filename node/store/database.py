"""One database, one way to write into it.

Every write goes through `Database.write` with the name of its point. The two calls of `on_commit` around the
transaction are where
the fault tests end the process: "before NAME" has nothing of the write, "after NAME" has all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event

from node.store.schema import migrate

T = TypeVar("T")

OnCommit = Callable[[str], None]
"""`on_commit("before NAME")`, then the transaction, then `on_commit("after NAME")`."""


def nothing(_point: str) -> None:
    """The hook of a node that nobody wants to end."""


class Database:
    """A SQLAlchemy engine with one writer at a time. Synchronous: call it from a worker thread."""

    def __init__(self, url: str, *, now_ms: int, on_commit: OnCommit = nothing) -> None:
        """Opens and migrates.

        Args:
            url: SQLAlchemy URL, for example `sqlite:////path/node.db`.
            now_ms: unix ms, for the migration table.
            on_commit: see the module's text.

        Raises:
            SchemaTooNew: the database is of a later program.
        """
        self._engine = create_engine(url)
        self._on_commit = on_commit
        if self._engine.dialect.name == "sqlite":
            _prepare_sqlite(self._engine)
        self.write("migrate", lambda connection: migrate(connection, now_ms))

    def write(self, point: str, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction; all of it is durable when this returns, or none if it raises.

        Args:
            point: stable name of this write, for fault tests.
        """
        self._on_commit(f"before {point}")
        with self._engine.begin() as connection:
            result = work(connection)
        self._on_commit(f"after {point}")
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs a read."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return work(connection)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # what we promised must survive a power cut, not only a crash
            "busy_timeout=30000",
            "foreign_keys=ON",
            "secure_delete=ON",  # wiped secrets do not stay in free pages
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # take the write lock at once: no deadlock by upgrade

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
