"""Databases for the tests of the store: every test that uses `disk` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import Disk
from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of a run."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A folder and a database of its own; all connections are closed at the end."""
    url = f"sqlite:///{tmp_path / 'node.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    made = Disk(tmp_path, url)
    yield made
    for database in made.open_databases:
        database.close()


@pytest.fixture
def sqlite_disk(tmp_path: Path) -> Iterator[Disk]:
    """As `disk`, for what only files can show."""
    made = Disk(tmp_path, f"sqlite:///{tmp_path / 'node.db'}")
    yield made
    for database in made.open_databases:
        database.close()
