"""Reads a requester's orders from its database, beside the running node: for `unveto status` and the demo."""

from __future__ import annotations

from pathlib import Path

from market.lifecycle import Order, Role
from node import market_state as kept
from node.chain.sender import SignedTransaction
from node.config import DATABASE_NAME
from node.errors import NotFound
from node.landing import landing_data
from node.ports import PlannedTable
from node.rawtx import RawCall, decode_raw
from node.rounds import origin_of_next
from node.standby import standby_id
from node.store.database import Database
from node.store.errors import OrderUnknown
from node.store.orders import LoggedEvent, OrderStore, StoredBid
from node.store.transactions import TransactionStore
from node.store.vault import Vault
from protocol.codec import decode_body
from protocol.messages import MAX_OPENINGS, ProofDelivery


class OrderView:
    """The orders in one node's folder. Synchronous; short reads."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Open the node's database.

        Args:
            url: the configured `[store] url`, if it is not a file in the folder.

        Raises:
            NotFound: there is none.
            StoreError: it is of another version of the program, or cannot be opened.
        """
        path = folder / DATABASE_NAME
        if not url and not path.exists():
            raise NotFound(what="database", name=str(path))
        database = Database(url or f"sqlite:///{path}", now_ms=0, is_reader=True)
        self._orders = OrderStore(database, Vault(folder / "vault.key"))
        self._transactions = TransactionStore(database)

    def recent(self, limit: int) -> tuple[Order, ...]:
        """The orders that changed last, newest first."""
        return self._orders.recent(limit)

    def order(self, order_id: bytes) -> Order:
        """One order of the requester."""
        return self._orders.order(order_id, Role.REQUESTER)

    def history(self, order_id: bytes, role: Role = Role.REQUESTER) -> tuple[LoggedEvent, ...]:
        """What happened to an order, oldest first."""
        return self._orders.history(order_id, role)

    def following(self, order_id: bytes) -> bytes | None:
        """Id of the next auction of the same wish, if there was one."""
        return self._orders.order_of_origin(origin_of_next(order_id))

    def ranks(self, order_id: bytes) -> tuple[tuple[int, Order], ...]:
        """(rank, engagement) of the runners-up, and of a winner whose place one took."""
        found = []
        for rank in range(1, MAX_OPENINGS + 1):
            try:
                found.append((rank, self._orders.order(standby_id(order_id, rank), Role.STANDBY)))
            except OrderUnknown:
                continue
        return tuple(found)

    def bids(self, order_id: bytes) -> tuple[StoredBid, ...]:
        """Bids received."""
        return self._orders.bids(order_id)

    def deal(self, order_id: bytes) -> kept.Deal | None:
        """Request and award, None before the award."""
        request = self._document(order_id, kept.REQUEST)
        award = self._document(order_id, kept.AWARD)
        return None if request is None or award is None else kept.unpack_deal(request, award)

    def payee(self, order_id: bytes) -> bytes:
        """Who is paid. Raises NotFound before the award."""
        deal = self.deal(order_id)
        if deal is None:
            raise NotFound(what="award of", name=order_id.hex())
        return deal.opening.payee

    def delivery(self, order_id: bytes) -> ProofDelivery | None:
        """The proofs, None before delivery."""
        raw = self._document(order_id, kept.DELIVERY)
        return None if raw is None else decode_body(ProofDelivery, raw)

    def plan(self, order_id: bytes) -> PlannedTable | None:
        """The table, None once it was wiped. Private until it lands."""
        raw = self._orders.secret(order_id, Role.REQUESTER, kept.PLAN)
        return None if raw is None else kept.unpack_plan(raw)

    def seal_secret(self, order_id: bytes) -> bytes | None:
        """The request's private X25519 key, None once it was wiped."""
        return self._orders.secret(order_id, Role.REQUESTER, kept.SEAL)

    def landing(self, order_id: bytes) -> SignedTransaction:
        """The transaction that lands the table. Raises NotFound before it is signed."""
        request = self._document(order_id, kept.REQUEST)
        if request is not None:
            for transaction in self._transactions.open(request[:20]):
                if transaction.purpose == f"land {order_id.hex()}":
                    return transaction
        raise NotFound(what="transaction of", name=order_id.hex())

    def landing_data(self, order_id: bytes) -> bytes:
        """What the transaction will do, before it is signed. Raises NotFound before there is a proof."""
        deal, plan, delivery = self.deal(order_id), self.plan(order_id), self.delivery(order_id)
        accepted = self._document(order_id, kept.ACCEPT)
        if deal is None or plan is None or delivery is None or accepted is None:
            raise NotFound(what="proof of", name=order_id.hex())
        return landing_data(
            deal, plan, delivery, kept.settlement_of(deal, plan.salt, accepted, self._document(order_id, kept.AMEND))
        )

    def landing_call(self, order_id: bytes) -> RawCall:
        """What that transaction does."""
        return decode_raw(self.landing(order_id).raw)

    def _document(self, order_id: bytes, name: str) -> bytes | None:
        return self._orders.document(order_id, Role.REQUESTER, name)
