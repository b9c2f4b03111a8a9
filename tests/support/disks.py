"""Databases of the store's tests, and an order to put into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from market.lifecycle import Order, Role, State
from node.store.database import Database, nothing
from node.store.orders import OrderStore
from node.store.vault import Vault

NOW_MS: Final = 1_800_000_000_000
SECRET: Final = b"the payload that nobody may read"
ORDER: Final = Order(
    order_id=b"\x07" * 32,
    role=Role.REQUESTER,
    state=State.DRAFT,
    bid_close_ms=1,
    award_by_ms=2,
    accept_by_ms=3,
    ack_by=4,
    deliver_by=5,
    claim_by=6,
    valid_until=7,
)


class Disk:
    """A folder with a key, and a database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.open_databases: list[Database] = []

    def database(self, on_commit: Callable[[str], None] = nothing, *, is_reader: bool = False) -> Database:
        """Opens the database, as a process would after a start."""
        database = Database(self.url, now_ms=NOW_MS, on_commit=on_commit, is_reader=is_reader)
        self.open_databases.append(database)
        return database

    def orders(self, on_commit: Callable[[str], None] = nothing) -> OrderStore:
        """The order store of a fresh process."""
        return OrderStore(self.database(on_commit), Vault(self.folder / "vault.key"))

    def all_bytes(self) -> bytes:
        """Everything that lies on the disk, but the key. Of SQLite only: a server's files are its own."""
        return b"".join(
            path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file() and path.name != "vault.key"
        )


def draft(store: OrderStore) -> Order:
    """A stored draft with a secret."""
    store.create(ORDER, ticket=3, now_ms=NOW_MS, document={"request": b"body"}, secret={"payload": SECRET})
    return ORDER
