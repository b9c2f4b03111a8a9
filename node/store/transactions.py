"""Signed L1 transactions, stored before they are sent, so that a restart sends the same bytes and never a second
one."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from node.chain.sender import SignedTransaction
from node.store.database import Database
from node.store.errors import TransactionConflict
from node.store.schema import releases, transactions


class TransactionStore:
    """What `node.chain.sender.Sender` persists. Synchronous: call it from a worker thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, transaction: SignedTransaction) -> None:
        """Stores a signed transaction; the same one again is harmless.

        Raises:
            TransactionConflict: the account has another transaction at this nonce that this one does not replace.
        """

        def work(connection: Connection) -> None:
            same = select(transactions.c.nonce).where(transactions.c.tx_hash == transaction.tx_hash)
            if connection.scalar(same) is not None:
                return
            try:
                connection.execute(
                    insert(transactions).values(
                        tx_hash=transaction.tx_hash,
                        purpose=transaction.purpose,
                        account=transaction.account,
                        nonce=transaction.nonce,
                        raw=transaction.raw,
                        max_fee_wei=str(transaction.max_fee_wei),
                        tip_wei=str(transaction.tip_wei),
                        replaces=transaction.replaces or b"",
                        is_final=0,
                    )
                )
            except IntegrityError as error:
                raise TransactionConflict(transaction.account, transaction.nonce) from error

        self._database.write("transaction", work)

    def open(self, account: bytes) -> tuple[SignedTransaction, ...]:
        """Stored transactions of an account that are not recorded as final, by nonce."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(transactions)
                .where(transactions.c.account == account, transactions.c.is_final == 0)
                .order_by(transactions.c.nonce)
            ).all()
        )
        return tuple(
            SignedTransaction(
                purpose=row.purpose,
                account=row.account,
                nonce=row.nonce,
                tx_hash=row.tx_hash,
                raw=row.raw,
                max_fee_wei=int(row.max_fee_wei),
                tip_wei=int(row.tip_wei),
                replaces=row.replaces or None,
            )
            for row in rows
        )

    def finish(self, purpose: str) -> None:
        """Records that the transactions of a purpose are final."""
        self._database.write(
            "transaction final",
            lambda connection: connection.execute(
                update(transactions).where(transactions.c.purpose == purpose).values(is_final=1)
            ),
        )

    def released(self) -> frozenset[str]:
        """Purposes that were handed to a client."""
        return frozenset(self._database.read(lambda connection: connection.scalars(select(releases.c.purpose)).all()))

    def release(self, purpose: str, now_ms: int) -> None:
        """Records that a purpose is about to be handed to a client; again is harmless."""

        def work(connection: Connection) -> None:
            if connection.scalar(select(releases.c.purpose).where(releases.c.purpose == purpose)) is None:
                connection.execute(insert(releases).values(purpose=purpose, sent_ms=now_ms))

        self._database.write("transaction sent", work)
