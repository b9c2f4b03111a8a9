"""SQLAlchemy engines as this node needs them: what is committed survives a power cut, and one transaction writes at a
time. SQLite needs nothing; PostgreSQL needs the package's extra `postgres`."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from node.store.errors import DatabaseUrlRefused

POSTGRES_DRIVER: Final = "postgresql+psycopg"
WAIT_FOR_LOCK_MS: Final = 30_000


def open_engine(url: str) -> Engine:
    """The engine of a database URL; nothing is connected yet, except that a driver is loaded.

    Raises:
        DatabaseUrlRefused: not a URL, not SQLite or PostgreSQL, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseUrlRefused("[store] url", "not a database URL") from error
    shown = parsed.render_as_string(hide_password=True)
    match parsed.get_backend_name():
        case "sqlite":
            engine = create_engine(parsed)
            event.listen(engine, "connect", _on_sqlite_connect)
            event.listen(engine, "begin", _on_sqlite_begin)
        case "postgresql":
            engine = _postgres(parsed, shown)
        case other:
            raise DatabaseUrlRefused(shown, f"{other} is neither sqlite nor postgresql")
    return engine


def _postgres(url: URL, shown: str) -> Engine:
    try:
        # A server that was restarted is reconnected to, unless the connection is lost in the middle of something.
        engine = create_engine(url.set(drivername=POSTGRES_DRIVER), pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DatabaseUrlRefused(shown, "its driver is missing: install unveto[postgres]") from error
    event.listen(engine, "connect", _on_postgres_connect)
    return engine


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # what we promised must survive a power cut, not only a crash
        f"busy_timeout={WAIT_FOR_LOCK_MS}",
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted rows are overwritten with zeros
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # take the write lock at once: no deadlock by upgrade


def _on_postgres_connect(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for setting in (
            "synchronous_commit TO on",  # a role's default may be less
            f"lock_timeout TO {WAIT_FOR_LOCK_MS}",
        ):
            cursor.execute(f"SET {setting}")
    connection.commit()
