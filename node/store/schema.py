"""Tables of the node's database, and the steps from each version to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
)

from node.store.errors import SchemaTooNew

METADATA: Final = MetaData()

migrations: Final = Table(
    "migrations",
    METADATA,
    Column("version", Integer, primary_key=True),
    Column("applied_ms", Integer, nullable=False),
)

orders: Final = Table(
    "orders",
    METADATA,
    Column("order_id", LargeBinary, primary_key=True),
    Column("role", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("bid_close_ms", Integer, nullable=False),
    Column("award_by_ms", Integer, nullable=False),
    Column("accept_by_ms", Integer, nullable=False),
    Column("ack_by", Integer, nullable=False),
    Column("deliver_by", Integer, nullable=False),
    Column("claim_by", Integer, nullable=False),
    Column("valid_until", Integer, nullable=False),
    Column("call_ms", Integer, nullable=False, server_default="0"),
    Column("ticket", Integer, nullable=False),  # our escrow ticket: taken while the order is live
    Column("updated_ms", Integer, nullable=False),
    Column("is_over", Integer, nullable=False),
    Column("is_wiped", Integer, nullable=False),
    Index("orders_live", "is_over", "is_wiped"),
)
"""One row per order and role; changed by compare-and-set on `state` only."""

_ORDER_KEY: Final = ("orders.order_id", "orders.role")

documents: Final = Table(
    "documents",
    METADATA,
    Column("order_id", LargeBinary, primary_key=True),
    Column("role", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    ForeignKeyConstraint(("order_id", "role"), _ORDER_KEY),
)
"""What was or may be shown to others: message bodies, signatures, received frames."""

secrets: Final = Table(
    "secrets",
    METADATA,
    Column("order_id", LargeBinary, primary_key=True),
    Column("role", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("box", LargeBinary, nullable=False),
    ForeignKeyConstraint(("order_id", "role"), _ORDER_KEY),
)
"""Keys, salts and payloads, encrypted with the vault's key; deleted some time after the order has ended."""

outbox: Final = Table(
    "outbox",
    METADATA,
    Column("effect_id", Integer, primary_key=True, autoincrement=True),
    Column("order_id", LargeBinary, nullable=False),
    Column("role", String, nullable=False),
    Column("effect", String, nullable=False),
    Column("is_done", Integer, nullable=False),
    ForeignKeyConstraint(("order_id", "role"), _ORDER_KEY),
    Index("outbox_open", "is_done"),
    sqlite_autoincrement=True,
)
"""Effects that a state change asked for, written with it."""

bids: Final = Table(
    "bids",
    METADATA,
    Column("request_id", LargeBinary, primary_key=True),
    Column("prover", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("received_ms", Integer, nullable=False),
)
"""Bids for our own requests; the first of a prover is final."""

sequences: Final = Table(
    "sequences",
    METADATA,
    Column("signer", LargeBinary, primary_key=True),
    Column("reserved", Integer, nullable=False),  # all numbers below may have been used
)

transactions: Final = Table(
    "transactions",
    METADATA,
    Column("tx_hash", LargeBinary, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("nonce", Integer, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee_wei", String, nullable=False),  # decimal text: wei may exceed 63 bits
    Column("tip_wei", String, nullable=False),
    Column("replaces", LargeBinary, nullable=False),  # empty for the first at its nonce
    Column("is_final", Integer, nullable=False),
    UniqueConstraint("account", "nonce", "replaces"),
)
"""Signed transactions, written before they are sent."""

events: Final = Table(
    "events",
    METADATA,
    Column("event_id", Integer, primary_key=True, autoincrement=True),
    Column("order_id", LargeBinary, nullable=False),
    Column("role", String, nullable=False),
    Column("at_ms", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("event", String, nullable=False),
    Column("target", String, nullable=False),
    Column("reason", String, nullable=False),
    Index("events_of_order", "order_id", "role"),
)
"""What happened to each order, append-only; the timeline that a user sees."""


faults: Final = Table(
    "faults",
    METADATA,
    Column("account", LargeBinary, primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("subject", LargeBinary, primary_key=True),
    Column("evidence", LargeBinary, nullable=False),
    Column("at_ms", Integer, nullable=False),
)
"""What others did, with what proves it; empty evidence is what this node saw itself."""


def _first(connection: Connection) -> None:
    METADATA.create_all(connection)


def _call_times(connection: Connection) -> None:
    if "call_ms" not in {column["name"] for column in inspect(connection).get_columns(orders.name)}:
        connection.execute(text("ALTER TABLE orders ADD COLUMN call_ms INTEGER NOT NULL DEFAULT 0"))


def _faults(connection: Connection) -> None:
    faults.create(connection, checkfirst=True)


MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (_first, _call_times, _faults)
"""Step i leads from version i to version i + 1. A step that was released is never changed."""


def migrate(connection: Connection, now_ms: int) -> int:
    """Brings a database to the version of this program.

    Returns:
        How many steps were taken.

    Raises:
        SchemaTooNew: a later program has been here.
    """
    found = 0
    if inspect(connection).has_table(migrations.name):
        found = max(connection.scalars(select(migrations.c.version)), default=0)
    if found > len(MIGRATIONS):
        raise SchemaTooNew(found, len(MIGRATIONS))
    for version, step in enumerate(MIGRATIONS[found:], start=found + 1):
        step(connection)
        connection.execute(insert(migrations).values(version=version, applied_ms=now_ms))
    return len(MIGRATIONS) - found
