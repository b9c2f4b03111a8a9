"""One database, one way to write into it.

Every write goes through `Database.write` with the name of its point. The two calls of `on_commit` around the
transaction are where the fault tests end the process: "before NAME" has nothing of the write, "after NAME" has all
of it.

A process that opens the database becomes its holder. Each transaction that writes looks whether that is still so, and
on PostgreSQL the look is also the lock by which transactions that write follow one another, as they do on SQLite.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import outcome
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from node.store.engines import open_engine
from node.store.errors import DatabaseFailed, DatabaseForeign, DatabaseTaken, SchemaTooNew, SchemaTooOld, StoreError
from node.store.schema import VERSION, holder, migrate, version_of

T = TypeVar("T")

OnCommit = Callable[[str], None]
"""`on_commit("before NAME")`, then the transaction, then `on_commit("after NAME")`."""

SESSION_BYTES: Final = 16
WIPED: Final = ("secrets", "documents")


def nothing(_point: str) -> None:
    """The hook of a node that nobody wants to end."""


@dataclass(slots=True)
class _Group:
    """Writes that share a transaction, which begins with the first of them."""

    thread: int
    connection: Connection | None = None
    points: list[str] = field(default_factory=list)
    is_scrubbed: bool = False


class Database:
    """A SQLAlchemy engine with one writer at a time. Synchronous: call it from a worker thread."""

    def __init__(
        self,
        url: str,
        *,
        now_ms: int,
        owner: bytes = b"",
        on_commit: OnCommit = nothing,
        is_reader: bool = False,
    ) -> None:
        """Opens; whoever is no reader migrates too, and becomes the holder.

        Args:
            url: SQLAlchemy URL, for example `sqlite:////path/node.db` or `postgresql:///unveto?host=/run/postgresql`.
            now_ms: unix ms, for the migration table.
            owner: what a later opener must show too, see `Vault.fingerprint`.
            on_commit: see the module's text.
            is_reader: looks beside the process that holds the database, and must not write.

        Raises:
            DatabaseUrlRefused, DatabaseFailed: it cannot be opened.
            SchemaTooNew: the database is of a later program.
            SchemaTooOld: a reader was here before the node.
            DatabaseForeign: it has another owner.
        """
        self.engine: Final = open_engine(url)
        self.url: Final = self.engine.url.render_as_string(hide_password=True)
        """For messages; without the password."""
        self._on_commit = on_commit
        self._is_reader = is_reader
        self._failure: StoreError | None = None
        self._group: _Group | None = None
        self._session = os.urandom(SESSION_BYTES)
        self._may_check = False
        with ExitStack() as undo:
            undo.callback(self.close)
            if is_reader:
                self._check_version()
            else:
                self.write("migrate", lambda connection: self._take(connection, now_ms, owner))
                self._may_check = True
            undo.pop_all()

    def write(self, point: str, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction; all of it is durable when this returns, or none if it raises. Inside
        `together` durability comes with the group.

        Args:
            point: stable name of this write, for fault tests.

        Raises:
            DatabaseFailed: it is not known whether the write is durable.
            DatabaseTaken: another process holds the database.
        """
        self.check()
        assert not self._is_reader, point
        self._on_commit(f"before {point}")
        group = self._own_group()
        if group is not None:
            with self._failing(), self._shared(group).begin_nested():
                result = work(self._shared(group))
            group.points.append(point)
            return result
        with self._failing(), self.engine.begin() as connection:
            self._check_holder(connection)
            result = work(connection)
        self._on_commit(f"after {point}")
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs a read; inside `together` it sees the writes of the group so far. Raises DatabaseFailed."""
        group = self._own_group()
        if group is not None and group.connection is not None:
            with self._failing():
                return work(group.connection)
        with self._failing(loses_track=False):
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return work(connection)

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[outcome.Outcome[Any]]:
        """Runs calls one after the other with all their writes in one transaction: one wait for the disk.

        A call that raises loses its own writes only. When this returns, everything that was not raised is durable.

        Raises:
            DatabaseFailed: none of the calls may count on anything.
        """
        if len(calls) == 1:
            return [self._captured(calls[0])]
        group = self._group = _Group(threading.get_ident())
        try:
            with self._failing():
                results = [self._captured(call) for call in calls]
                self.check()
                if group.connection is not None:
                    group.connection.commit()
        finally:
            self._group = None
            if group.connection is not None:
                group.connection.close()  # what was not committed is rolled back
        for point in group.points:
            self._on_commit(f"after {point}")
        if group.is_scrubbed:
            self.scrub()
        return results

    def check(self) -> None:
        """Raises what an earlier write raised, if it may be lost: memory may then be ahead of the disk."""
        if self._failure is not None:
            raise self._failure

    def scrub(self) -> None:
        """Makes the database forget what was deleted, as far as it can: see README.md."""
        group = self._own_group()
        if group is not None:
            group.is_scrubbed = True  # once its transaction is over
            return
        self._on_commit("before scrub")
        statement = "PRAGMA wal_checkpoint(TRUNCATE)" if self._is_sqlite else f"VACUUM {', '.join(WIPED)}"
        self.read(lambda connection: connection.execute(text(statement)).close())
        self._on_commit("after scrub")

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @staticmethod
    def _captured(call: Callable[[], Any]) -> outcome.Outcome[Any]:
        result: outcome.Outcome[Any] = outcome.capture(call)
        if isinstance(result, outcome.Error) and not isinstance(result.error, Exception):
            raise result.error  # the process is ending
        return result

    def _own_group(self) -> _Group | None:
        group = self._group
        return group if group is not None and group.thread == threading.get_ident() else None

    def _shared(self, group: _Group) -> Connection:
        if group.connection is None:
            group.connection = self.engine.connect()
            group.connection.begin()
            self._check_holder(group.connection)
        return group.connection

    @contextmanager
    def _failing(self, *, loses_track: bool = True) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # the caller's to explain
        except SQLAlchemyError as error:
            problem = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            failure = DatabaseFailed(self.url, problem.strip())
            if loses_track:
                self._failure = failure
            raise failure from error

    def _check_version(self) -> None:
        found = self.read(version_of)
        if found > VERSION:
            raise SchemaTooNew(found, VERSION)
        if found < VERSION:
            raise SchemaTooOld(found, VERSION)

    def _take(self, connection: Connection, now_ms: int, owner: bytes) -> None:
        if not self._is_sqlite:
            # Two that start at once on an empty database: the second waits, and finds the first one's tables.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('unveto'))"))
        migrate(connection, now_ms)
        known = connection.scalar(select(holder.c.owner))
        if known is None:
            connection.execute(insert(holder).values(place=0, owner=owner, session=self._session))
        elif known != owner:
            raise DatabaseForeign(self.url)
        else:
            connection.execute(update(holder).values(session=self._session))

    def _check_holder(self, connection: Connection) -> None:
        if not self._may_check:
            return
        look = select(holder.c.session)
        if connection.scalar(look if self._is_sqlite else look.with_for_update()) != self._session:
            self._failure = DatabaseTaken(self.url)
            raise self._failure
