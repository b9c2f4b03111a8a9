"""Errors of the node's database.

StoreError                 STO-000
├── StaleOrder             STO-001  the order is not in the state that the caller saw: look again
├── OrderExists            STO-002  an order with this id and role is stored already
├── OrderUnknown           STO-003  no such order
├── SchemaTooNew           STO-004  a later version of the program has written this database
├── VaultLocked            STO-005  the key file is missing, unreadable by us alone, or not the one of this database
├── TransactionConflict    STO-006  another transaction owns this account and nonce
├── DatabaseFailed         STO-007  the database did not do it: disk full, connection lost
├── DatabaseTaken          STO-008  another process opened the database after this one and writes now
├── DatabaseForeign        STO-009  the database belongs to the node of another vault.key
├── DatabaseUrlRefused     STO-010  `[store] url` names a database or driver that is not there
├── SchemaTooOld           STO-011  an earlier program has written this database: start the node once
└── SlotTaken              STO-012  transactions were chosen for this slot before
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """A refused operation on the node's database."""

    code: ClassVar[str] = "STO-000"

    def __init__(self, text: str) -> None:
        super().__init__(f"[{self.code}] {text}")


class StaleOrder(StoreError):
    """The order changed since the caller looked; nothing was written."""

    code = "STO-001"

    def __init__(self, order_id: bytes, expected: str, actual: str) -> None:
        self.order_id, self.expected, self.actual = order_id, expected, actual
        super().__init__(f"order {order_id.hex()} is {actual}, not {expected}")


class OrderExists(StoreError):
    """An order is made once."""

    code = "STO-002"

    def __init__(self, order_id: bytes, role: str) -> None:
        self.order_id, self.role = order_id, role
        super().__init__(f"{role} order {order_id.hex()} exists")


class OrderUnknown(StoreError):
    """No order with this id and role."""

    code = "STO-003"

    def __init__(self, order_id: bytes, role: str) -> None:
        self.order_id, self.role = order_id, role
        super().__init__(f"no {role} order {order_id.hex()}")


class SchemaTooNew(StoreError):
    """An older program must not write into a newer database."""

    code = "STO-004"

    def __init__(self, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(f"the database has schema {found}, this program knows {known}")


class VaultLocked(StoreError):
    """Stored secrets cannot be read."""

    code = "STO-005"

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class TransactionConflict(StoreError):
    """Two transactions with one nonce: one of them would never land."""

    code = "STO-006"

    def __init__(self, account: bytes, nonce: int) -> None:
        self.account, self.nonce = account, nonce
        super().__init__(f"account 0x{account.hex()} has another transaction with nonce {nonce}")


class DatabaseFailed(StoreError):
    """What was to be written may be on disk or not; only a new start finds out. Nothing more is written until then."""

    code = "STO-007"

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class DatabaseTaken(StoreError):
    """Two processes on one database would sign twice."""

    code = "STO-008"

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(f"{url}: another process has opened it since")


class DatabaseForeign(StoreError):
    """The orders in it are another node's."""

    code = "STO-009"

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(f"{url} was made with another vault.key")


class DatabaseUrlRefused(StoreError):
    """The configured database cannot be opened at all."""

    code = "STO-010"

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class SchemaTooOld(StoreError):
    """A reader does not change the tables of a database."""

    code = "STO-011"

    def __init__(self, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(f"the database has schema {found}, this program knows {known}: start the node once")


class SlotTaken(StoreError):
    """A slot is served once."""

    code = "STO-012"

    def __init__(self, slot: int) -> None:
        self.slot = slot
        super().__init__(f"slot {slot} has its transactions")
