"""A PostgreSQL server for tests: its own folder, a Unix socket, nothing on the network."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import text

from node.store.engines import open_engine
from tests.support.tools import missing

USER: Final = "unveto"
SERVER_USERS: Final = ("postgres", "nobody")
"""Who runs the server when the tests are run by root, for whom it does not run."""
STOP_TIMEOUT_S: Final = 20


def _program(name: str) -> Path:
    # Debian keeps the server's programs out of PATH, one folder for each version.
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        missing("a PostgreSQL server")
    return Path(found)


class PostgresServer:
    """One running server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schemas = 0

    def new_database(self) -> str:
        """URL of an empty schema, which to a node is a database and is made fifty times faster."""
        self._schemas += 1
        url = f"postgresql://{USER}@/postgres?host={self._folder}"
        engine = open_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA node{self._schemas}"))
        engine.dispose()
        return f"{url}&options=-csearch_path%3Dnode{self._schemas}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Starts a server and ends it. Skips, or in CI fails, where none is installed."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = next((name for name in SERVER_USERS if _exists(name)), None) if os.geteuid() == 0 else None
    # A socket's path may have 107 bytes, which folders of pytest exceed.
    with tempfile.TemporaryDirectory(prefix="unveto-pg-", ignore_cleanup_errors=True) as top:
        folder = Path(top)
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        command = [initdb, "--pgdata", data, "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
        subprocess.run([*command, "--locale", "C"], check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
        settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off"}
        server = subprocess.Popen(
            [postgres, "-D", data, *(part for item in settings.items() for part in ("-c", "=".join(item)))],
            stdout=subprocess.DEVNULL,
            stderr=(log := (folder / "log").open("wb")),
            user=user,
            cwd=folder,
        )
        try:
            ready = [_program("pg_isready"), "--quiet", "--host", folder, "--timeout", "1"]
            while subprocess.run(ready, check=False).returncode != 0:
                assert server.poll() is None, (folder / "log").read_text()
            yield PostgresServer(folder)
        finally:
            server.send_signal(signal.SIGINT)  # waits for no client
            server.wait(STOP_TIMEOUT_S)
            log.close()


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
