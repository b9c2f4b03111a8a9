"""Faults of others that this node has evidence of."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, insert, select
from sqlalchemy.exc import IntegrityError

from node.store.database import Database
from node.store.schema import faults


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFault:
    """One fault of one account."""

    account: bytes
    kind: int
    at_ms: int


class FaultStore:
    """Faults by account, kind and subject. Synchronous: call it from a worker thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: bytes, kind: int, subject: bytes, evidence: bytes, now_ms: int) -> bool:
        """Stores a fault; False if it is known."""

        def work(connection: Connection) -> bool:
            values = {"account": account, "kind": kind, "subject": subject, "evidence": evidence, "at_ms": now_ms}
            try:
                with connection.begin_nested():
                    connection.execute(insert(faults).values(**values))
            except IntegrityError:
                return False
            return True

        return self._database.write("fault", work)

    def has(self, account: bytes, kind: int, subject: bytes) -> bool:
        """Whether a fault is stored."""
        place = and_(faults.c.account == account, faults.c.kind == kind, faults.c.subject == subject)
        wanted = select(faults.c.at_ms).where(place)
        return self._database.read(lambda connection: connection.execute(wanted).first()) is not None

    def since(self, since_ms: int) -> tuple[StoredFault, ...]:
        """Faults seen since."""
        wanted = select(faults.c.account, faults.c.kind, faults.c.at_ms).where(faults.c.at_ms >= since_ms)
        rows = self._database.read(lambda connection: connection.execute(wanted).all())
        return tuple(StoredFault(account=row.account, kind=row.kind, at_ms=row.at_ms) for row in rows)
