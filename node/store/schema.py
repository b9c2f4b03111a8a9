"""Tables of the node's database, and the steps from each version to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import (
    BigInteger,
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
    literal,
    select,
    text,
)

from node.store.errors import SchemaTooNew

METADATA: Final = MetaData()
_WIDE: Final = BigInteger().with_variant(Integer, "sqlite")  # PostgreSQL's INTEGER has 31 bits

migrations: Final = Table(
    "migrations",
    METADATA,
    Column("version", Integer, primary_key=True),
    Column("applied_ms", _WIDE, nullable=False),
)

orders: Final = Table(
    "orders",
    METADATA,
    Column("order_id", LargeBinary, primary_key=True),
    Column("role", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("bid_close_ms", _WIDE, nullable=False),
    Column("award_by_ms", _WIDE, nullable=False),
    Column("accept_by_ms", _WIDE, nullable=False),
    Column("ack_by", _WIDE, nullable=False),
    Column("deliver_by", _WIDE, nullable=False),
    Column("claim_by", _WIDE, nullable=False),
    Column("valid_until", _WIDE, nullable=False),
    Column("call_ms", _WIDE, nullable=False, server_default="0"),
    Column("ticket", _WIDE, nullable=False),  # our escrow ticket: taken while the order is live
    Column("updated_ms", _WIDE, nullable=False),
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
    Column("effect_id", _WIDE, primary_key=True, autoincrement=True),
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
    Column("received_ms", _WIDE, nullable=False),
)
"""Bids for our own requests; the first of a prover is final."""

sequences: Final = Table(
    "sequences",
    METADATA,
    Column("signer", LargeBinary, primary_key=True),
    Column("reserved", _WIDE, nullable=False),  # all numbers below may have been used
)

transactions: Final = Table(
    "transactions",
    METADATA,
    Column("tx_hash", LargeBinary, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("nonce", _WIDE, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee_wei", String, nullable=False),  # decimal text: wei may exceed 63 bits
    Column("tip_wei", String, nullable=False),
    Column("replaces", LargeBinary, nullable=False),  # empty for the first at its nonce
    Column("is_final", Integer, nullable=False),  # nobody asks for it: 0, always
    UniqueConstraint("account", "nonce", "replaces"),
)
"""Signed transactions, written before they are sent."""

events: Final = Table(
    "events",
    METADATA,
    Column("event_id", _WIDE, primary_key=True, autoincrement=True),
    Column("order_id", LargeBinary, nullable=False),
    Column("role", String, nullable=False),
    Column("at_ms", _WIDE, nullable=False),
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
    Column("at_ms", _WIDE, nullable=False),
)
"""What others did, with what proves it; empty evidence is what this node saw itself."""


holder: Final = Table(
    "holder",
    METADATA,
    Column("place", Integer, primary_key=True),  # 0, always
    Column("owner", LargeBinary, nullable=False),
    Column("session", LargeBinary, nullable=False),
)
"""Whose database it is (fingerprint of the vault's key), and which process opened it last: only that one may write."""

releases: Final = Table(
    "releases",
    METADATA,
    Column("purpose", String, primary_key=True),
    Column("sent_ms", _WIDE, nullable=False),
)
"""Purposes of signed transactions that a client may have; the others may be meant to wait."""

slots: Final = Table(
    "slots",
    METADATA,
    Column("slot", _WIDE, primary_key=True),
    Column("chosen_ms", _WIDE, nullable=False),
    Column("fee_wei", String, nullable=False),  # decimal text, as all wei; expected
    Column("reported_ms", _WIDE, nullable=False),  # 0 until it is known what was included
)
"""Slots for which a proposer has chosen ready transactions: once for each, before the first is sent."""

injections: Final = Table(
    "injections",
    METADATA,
    Column("slot", _WIDE, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("tx_hash", LargeBinary, nullable=False),
    Column("box", LargeBinary, nullable=False),  # the raw transaction, sealed; empty after the report
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("block_number", _WIDE, nullable=False),  # 0 unless included
    Column("gas_used", _WIDE, nullable=False),
    Column("tip_wei", String, nullable=False),
    ForeignKeyConstraint(("slot",), ("slots.slot",)),
)
"""What was chosen for a slot, in order, and what became of it."""


def _call_times(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE orders ADD COLUMN call_ms INTEGER NOT NULL DEFAULT 0"))


def _faults(connection: Connection) -> None:
    faults.create(connection)


def _holder(connection: Connection) -> None:
    holder.create(connection)


def _slots(connection: Connection) -> None:
    slots.create(connection)
    injections.create(connection)


def _releases(connection: Connection) -> None:
    releases.create(connection)
    # Until now a restart sent whatever was signed.
    known = select(transactions.c.purpose, literal(0)).distinct()
    connection.execute(insert(releases).from_select(["purpose", "sent_ms"], known))


MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (_call_times, _faults, _holder, _slots, _releases)
"""Step i leads from version i + 1 to version i + 2. A step that was released is never changed."""

VERSION: Final = 1 + len(MIGRATIONS)
"""Of the tables above."""


def version_of(connection: Connection) -> int:
    """Version of a database; 0 if it is empty."""
    if not inspect(connection).has_table(migrations.name):
        return 0
    return max(connection.scalars(select(migrations.c.version)), default=0)


def migrate(connection: Connection, now_ms: int) -> int:
    """Brings a database to the version of this program; the caller's transaction makes it all or nothing.

    Returns:
        The version that was found.

    Raises:
        SchemaTooNew: a later program has been here.
    """
    found = version_of(connection)
    if found > VERSION:
        raise SchemaTooNew(found, VERSION)
    if found == 0:
        METADATA.create_all(connection)
    else:
        for step in MIGRATIONS[found - 1 :]:
            step(connection)
    for version in range(found + 1, VERSION + 1):
        connection.execute(insert(migrations).values(version=version, applied_ms=now_ms))
    return found
