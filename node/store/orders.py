"""Orders, what belongs to them, and what they still ask for.

A change of state is one transaction: compare-and-set of the row, its documents and secrets, its effects in the
outbox, and a line in
the event log. So whatever was promised is on disk before it can be sent, and nothing is sent that is not on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from market.effects import Effect
from market.lifecycle import Event, Order, Role, State, advance
from node.store.database import Database
from node.store.errors import OrderExists, OrderUnknown, StaleOrder
from node.store.schema import bids, documents, events, orders, outbox, secrets
from node.store.vault import Vault

WIPE_AFTER_MS: Final = 600_000  # secrets outlive their order by ten minutes, for questions asked again
MAX_OUTCOMES: Final = 500
BULKY: Final = ("box",)  # the sealed payload, up to 4 MiB; its plaintext goes at the same time
NO_CHANGE: Final[Mapping[str, int]] = MappingProxyType({})
NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An effect that has not been reported as done."""

    effect_id: int
    order_id: bytes
    role: Role
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One line of an order's history."""

    at_ms: int
    state: State
    event: str
    """An Event, or `create`."""
    target: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBid:
    """A bid for one of our requests."""

    prover: bytes
    body: bytes
    received_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What happened in one order, and who took part."""

    request: bytes
    """The REQUEST document: the requester's address first."""
    award: bytes
    """Body of the award in store; empty before there is one."""
    history: tuple[LoggedEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Orders that are alike."""

    state: State
    reason: str
    count: int


class OrderStore:
    """The orders of one node. Synchronous: call it from a worker thread."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def create(
        self,
        order: Order,
        *,
        ticket: int,
        now_ms: int,
        document: Mapping[str, bytes] = NOTHING,
        secret: Mapping[str, bytes] = NOTHING,
    ) -> None:
        """Stores a new order in its first state.

        Args:
            ticket: number of our escrow ticket that it takes while it lives.

        Raises:
            OrderExists: its id and role are taken.
        """

        def work(connection: Connection) -> None:
            try:
                connection.execute(
                    insert(orders).values(
                        order_id=order.order_id,
                        role=order.role.value,
                        state=order.state.value,
                        reason=order.reason,
                        bid_close_ms=order.bid_close_ms,
                        award_by_ms=order.award_by_ms,
                        accept_by_ms=order.accept_by_ms,
                        ack_by=order.ack_by,
                        deliver_by=order.deliver_by,
                        claim_by=order.claim_by,
                        valid_until=order.valid_until,
                        call_ms=order.call_ms,
                        ticket=ticket,
                        updated_ms=now_ms,
                        is_over=0,
                        is_wiped=0,
                    )
                )
            except IntegrityError as error:
                raise OrderExists(order.order_id, order.role.value) from error
            self._attach(connection, order.order_id, order.role, document, secret)
            _log(connection, order, order.state, "create", now_ms)

        self._database.write(f"{order.role.value} create", work)

    def advance(
        self,
        order: Order,
        event: Event,
        *,
        now_ms: int,
        reason: str = "",
        document: Mapping[str, bytes] = NOTHING,
        secret: Mapping[str, bytes] = NOTHING,
        due: Mapping[str, int] = NO_CHANGE,
    ) -> tuple[Order, tuple[Pending, ...]]:
        """Applies an event to an order as the caller saw it, with everything that must be on disk before anything is
        sent.

        Args:
            document: name -> bytes that are or may be shown to others; replaces one of the same name.
            secret: name -> bytes that are stored encrypted.
            due: new times by their names in Order, where the event brings them.

        Returns:
            The order after the event, and the effects that it asked for.

        Raises:
            InvalidTransition: the event cannot happen in this state.
            StaleOrder: the order has changed since.
        """
        after, effects = advance(order, event, reason)
        if due:
            after = replace(
                after,
                ack_by=due.get("ack_by", after.ack_by),
                deliver_by=due.get("deliver_by", after.deliver_by),
                valid_until=due.get("valid_until", after.valid_until),
            )

        def work(connection: Connection) -> tuple[Pending, ...]:
            changed = connection.execute(
                update(orders)
                .where(_is(orders.c, order.order_id, order.role), orders.c.state == order.state.value)
                .values(
                    state=after.state.value,
                    reason=after.reason,
                    ack_by=after.ack_by,
                    deliver_by=after.deliver_by,
                    valid_until=after.valid_until,
                    updated_ms=now_ms,
                    is_over=1 if after.is_over else 0,
                )
            )
            if changed.rowcount != 1:
                actual = connection.scalar(select(orders.c.state).where(_is(orders.c, order.order_id, order.role)))
                raise StaleOrder(order.order_id, order.state.value, actual or "unknown")
            self._attach(connection, order.order_id, order.role, document, secret)
            _log(connection, after, order.state, event.value, now_ms)
            return tuple(
                Pending(
                    effect_id=_add_effect(connection, order, effect),
                    order_id=order.order_id,
                    role=order.role,
                    effect=effect,
                )
                for effect in effects
            )

        return after, self._database.write(f"{order.role.value} {event.value}", work)

    def order(self, order_id: bytes, role: Role) -> Order:
        """Raises OrderUnknown."""
        found = self._database.read(
            lambda connection: connection.execute(select(orders).where(_is(orders.c, order_id, role))).one_or_none()
        )
        if found is None:
            raise OrderUnknown(order_id, role.value)
        return _order(found)

    def live(self, role: Role) -> tuple[Order, ...]:
        """Orders that have not ended."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(orders).where(orders.c.is_over == 0, orders.c.role == role.value)
            ).all()
        )
        return tuple(_order(row) for row in rows)

    def recent(self, limit: int) -> tuple[Order, ...]:
        """The orders changed last, newest first."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(orders).order_by(orders.c.updated_ms.desc()).limit(limit)
            ).all()
        )
        return tuple(_order(row) for row in rows)

    def tickets_in_use(self, role: Role, besides: bytes = b"") -> frozenset[int]:
        """Our tickets that live orders have taken; `besides` is an order that does not count.

        A request that a prover has only seen promises nothing.
        """
        return frozenset(
            self._database.read(
                lambda connection: connection.scalars(
                    select(orders.c.ticket).where(
                        orders.c.is_over == 0,
                        orders.c.role == role.value,
                        orders.c.order_id != besides,
                        orders.c.state != State.SEEN.value,
                    )
                ).all()
            )
        )

    def ticket(self, order_id: bytes, role: Role) -> int:
        """Number of the ticket that an order was opened with. Raises OrderUnknown."""
        query = select(orders.c.ticket).where(_is(orders.c, order_id, role))
        found = self._database.read(lambda connection: connection.scalar(query))
        if found is None:
            raise OrderUnknown(order_id, role.value)
        return int(found)

    def pending(self, role: Role) -> tuple[Pending, ...]:
        """Effects that were asked for and not reported as done, oldest first."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(outbox).where(outbox.c.is_done == 0, outbox.c.role == role.value).order_by(outbox.c.effect_id)
            ).all()
        )
        return tuple(
            Pending(effect_id=row.effect_id, order_id=row.order_id, role=Role(row.role), effect=Effect(row.effect))
            for row in rows
        )

    def done(self, pending: Pending) -> None:
        """Reports an effect as done; again is harmless."""
        self._database.write(
            f"{pending.role.value} done {pending.effect.value}",
            lambda connection: connection.execute(
                update(outbox).where(outbox.c.effect_id == pending.effect_id).values(is_done=1)
            ),
        )

    def document(self, order_id: bytes, role: Role, name: str) -> bytes | None:
        """A stored document, or None."""
        return self._database.read(
            lambda connection: connection.scalar(
                select(documents.c.data).where(_is(documents.c, order_id, role), documents.c.name == name)
            )
        )

    def order_of_origin(self, origin: bytes) -> bytes | None:
        """Id of the requester's order that a command made, or None."""
        return self.order_of_document(Role.REQUESTER, "origin", origin)

    def order_of_document(self, role: Role, name: str, data: bytes) -> bytes | None:
        """Id of the order that has this document, or None."""
        made = and_(documents.c.role == role.value, documents.c.name == name, documents.c.data == data)
        return self._database.read(lambda connection: connection.scalar(select(documents.c.order_id).where(made)))

    def secret(self, order_id: bytes, role: Role, name: str) -> bytes | None:
        """A stored secret, or None if there is none or it was wiped. Raises VaultLocked."""
        box = self._database.read(
            lambda connection: connection.scalar(
                select(secrets.c.box).where(_is(secrets.c, order_id, role), secrets.c.name == name)
            )
        )
        return None if box is None else self._vault.open(box, _place(order_id, role, name))

    def history(self, order_id: bytes, role: Role) -> tuple[LoggedEvent, ...]:
        """What happened to an order, oldest first."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(events).where(_is(events.c, order_id, role)).order_by(events.c.event_id)
            ).all()
        )
        return tuple(_logged(row) for row in rows)

    def outcomes(self, role: Role, since_ms: int) -> tuple[Outcomes, ...]:
        """The latest orders of a role that have changed since, at most MAX_OUTCOMES; of a requester its runners-up
        too."""
        roles = [Role.REQUESTER, Role.STANDBY] if role is Role.REQUESTER else [role]
        changed = and_(orders.c.role.in_([each.value for each in roles]), orders.c.updated_ms >= since_ms)
        latest = select(orders.c.order_id, orders.c.role).where(changed).order_by(orders.c.updated_ms.desc())

        def work(connection: Connection) -> tuple[Outcomes, ...]:
            found = []
            for row in connection.execute(latest.limit(MAX_OUTCOMES)).all():
                place = _is(documents.c, row.order_id, Role(row.role))
                named = select(documents.c.name, documents.c.data).where(
                    place, documents.c.name.in_(("request", "award"))
                )
                kept = {line.name: line.data for line in connection.execute(named).all()}
                lines = connection.execute(
                    select(events).where(_is(events.c, row.order_id, Role(row.role))).order_by(events.c.event_id)
                ).all()
                found.append(
                    Outcomes(
                        request=kept.get("request", b""),
                        award=kept.get("award", b""),
                        history=tuple(_logged(line) for line in lines),
                    )
                )
            return tuple(found)

        return self._database.read(work)

    def tally(self, role: Role) -> tuple[Tally, ...]:
        """How many orders of a role ended, or are, in each state for each reason; most first."""
        columns = (orders.c.state, orders.c.reason)
        count = func.count()
        query = select(*columns, count).where(orders.c.role == role.value).group_by(*columns)
        ordered = query.order_by(count.desc(), *columns)
        rows = self._database.read(lambda connection: connection.execute(ordered).all())
        return tuple(Tally(state=State(row[0]), reason=row[1], count=row[2]) for row in rows)

    def add_bid(self, request_id: bytes, prover: bytes, body: bytes, received_ms: int) -> bool:
        """Stores a prover's first bid for a request; False if it has bid before or bids are closed."""

        def work(connection: Connection) -> bool:
            open_state = connection.scalar(select(orders.c.state).where(_is(orders.c, request_id, Role.REQUESTER)))
            known = connection.scalar(
                select(bids.c.received_ms).where(bids.c.request_id == request_id, bids.c.prover == prover)
            )
            if open_state != State.COMMITTED.value or known is not None:
                return False
            connection.execute(
                insert(bids).values(request_id=request_id, prover=prover, body=body, received_ms=received_ms)
            )
            return True

        return self._database.write("requester bid", work)

    def bids(self, request_id: bytes) -> tuple[StoredBid, ...]:
        """All bids stored for a request."""
        rows = self._database.read(
            lambda connection: connection.execute(
                select(bids).where(bids.c.request_id == request_id).order_by(bids.c.received_ms, bids.c.prover)
            ).all()
        )
        return tuple(StoredBid(prover=row.prover, body=row.body, received_ms=row.received_ms) for row in rows)

    def wipe(self, now_ms: int) -> int:
        """Deletes secrets and BULKY documents of orders that ended at least WIPE_AFTER_MS ago; returns of how many."""
        ended = and_(orders.c.is_over == 1, orders.c.is_wiped == 0, orders.c.updated_ms <= now_ms - WIPE_AFTER_MS)
        found = self._database.read(
            lambda connection: connection.execute(select(orders.c.order_id, orders.c.role).where(ended)).all()
        )
        if not found:
            return 0

        def work(connection: Connection) -> int:
            for row in found:
                connection.execute(delete(secrets).where(_is(secrets.c, row.order_id, Role(row.role))))
                connection.execute(
                    delete(documents).where(_is(documents.c, row.order_id, Role(row.role)), documents.c.name.in_(BULKY))
                )
                connection.execute(update(orders).where(_is(orders.c, row.order_id, Role(row.role))).values(is_wiped=1))
            return len(found)

        wiped = self._database.write("wipe", work)
        self._database.scrub()
        return wiped

    def _attach(
        self,
        connection: Connection,
        order_id: bytes,
        role: Role,
        document: Mapping[str, bytes],
        secret: Mapping[str, bytes],
    ) -> None:
        key = {"order_id": order_id, "role": role.value}
        for name, data in document.items():
            connection.execute(delete(documents).where(_is(documents.c, order_id, role), documents.c.name == name))
            connection.execute(insert(documents).values(**key, name=name, data=data))
        for name, plaintext in secret.items():
            box = self._vault.seal(plaintext, _place(order_id, role, name))
            connection.execute(delete(secrets).where(_is(secrets.c, order_id, role), secrets.c.name == name))
            connection.execute(insert(secrets).values(**key, name=name, box=box))


def _place(order_id: bytes, role: Role, name: str) -> bytes:
    return order_id + role.value.encode() + b"/" + name.encode()


def _is(columns: Any, order_id: bytes, role: Role) -> ColumnElement[bool]:
    return and_(columns.order_id == order_id, columns.role == role.value)


def _add_effect(connection: Connection, order: Order, effect: Effect) -> int:
    result = connection.execute(
        insert(outbox).values(order_id=order.order_id, role=order.role.value, effect=effect.value, is_done=0)
    )
    key = result.inserted_primary_key
    assert key is not None  # the column is autoincremented
    return int(key[0])


def _log(connection: Connection, order: Order, before: State, event: str, now_ms: int) -> None:
    connection.execute(
        insert(events).values(
            order_id=order.order_id,
            role=order.role.value,
            at_ms=now_ms,
            state=before.value,
            event=event,
            target=order.state.value,
            reason=order.reason,
        )
    )


def _logged(row: Row[Any]) -> LoggedEvent:
    return LoggedEvent(
        at_ms=row.at_ms, state=State(row.state), event=row.event, target=State(row.target), reason=row.reason
    )


def _order(row: Row[Any]) -> Order:
    return Order(
        order_id=row.order_id,
        role=Role(row.role),
        state=State(row.state),
        reason=row.reason,
        bid_close_ms=row.bid_close_ms,
        award_by_ms=row.award_by_ms,
        accept_by_ms=row.accept_by_ms,
        ack_by=row.ack_by,
        deliver_by=row.deliver_by,
        claim_by=row.claim_by,
        valid_until=row.valid_until,
        call_ms=row.call_ms,
    )
