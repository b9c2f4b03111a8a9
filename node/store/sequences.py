"""Frame sequence numbers: strictly increasing per signer over all restarts, with one write per block of numbers."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert, select, update

from node.store.database import Database
from node.store.schema import sequences

BLOCK: Final = 1024  # numbers reserved by one write; a restart skips what is left of a block


class Sequences:
    """Numbers for one signer. Synchronous; `next` may write."""

    def __init__(self, database: Database, signer: bytes) -> None:
        self._database = database
        self._signer = signer
        self._next = 0
        self._end = 0

    def next(self) -> int:
        """A number that was never given before and is larger than all that were; durable before it is returned."""
        self._database.check()  # a block that was lost with a failed write must not be used
        if self._next >= self._end:
            self._next = self._database.write("sequence", self._reserve)
            self._end = self._next + BLOCK
        number = self._next
        self._next += 1
        return number

    def _reserve(self, connection: Connection) -> int:
        start = connection.scalar(select(sequences.c.reserved).where(sequences.c.signer == self._signer))
        if start is None:
            start = 1
            connection.execute(insert(sequences).values(signer=self._signer, reserved=start + BLOCK))
        else:
            connection.execute(
                update(sequences).where(sequences.c.signer == self._signer).values(reserved=start + BLOCK)
            )
        return start
