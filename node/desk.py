"""Takes the operator's commands from the node's inbox and answers them (`request`, `submit`, `cancel`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

import trio
from trio_typing import TaskStatus

from market.errors import MarketError
from market.lifecycle import Role
from node.chain.errors import ChainError
from node.errors import NodeError, NotFound, NotNow, UsageError
from node.inbox import Command, Inbox
from node.l1 import address_from_text
from node.landing import INCLUSION_LIST_BYTES, estimated_bytes
from node.planner import Intent, TransactionIntent
from node.planning import encode_intent
from node.ports import Chain, InThread, PlannedTable, Planner, PortError
from node.requester import Requester
from node.store.orders import OrderStore
from protocol.errors import ProtocolError
from protocol.types import Address
from proving.circuit.errors import CircuitError

log = logging.getLogger("unveto.desk")

LOOK_EVERY_S: Final = 0.1
ANSWERED = (NodeError, ChainError, MarketError, ProtocolError, CircuitError, PortError)
"""Refusals that are answered to the operator; anything else is a bug and ends the node."""


class Desk:
    """The commands of a requester. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        requester: Requester,
        planner: Planner,
        store: OrderStore,
        in_thread: InThread,
        chain: Chain,
        account: bytes,
        ticket: int,
        inclusion_list: Literal["ignore", "warn", "require"] = "warn",
    ) -> None:
        """
        Args:
            account: who sends the transactions.
            ticket: the escrow ticket that pays.
            inclusion_list: what to do with a wish whose transaction fits none.
        """
        self._inbox = inbox
        self._requester = requester
        self._planner = planner
        self._store = store
        self._in_thread = in_thread
        self._chain = chain
        self._account = Address(account)
        self._ticket = ticket
        self._inclusion_list = inclusion_list

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        await trio.to_thread.run_sync(self._inbox.open)
        task_status.started()
        while True:
            for command in await trio.to_thread.run_sync(self._inbox.pending):
                await self._take(command)
            await trio.sleep(LOOK_EVERY_S)

    async def _take(self, command: Command) -> None:
        try:
            answer = await self._perform(command)
        except ANSWERED as error:
            code = getattr(error, "code", "NOD-000")
            log.warning("command %s: %s", command.name, error)
            answer = {"error": {"code": code, "message": str(error)}}
        await trio.to_thread.run_sync(self._inbox.answer, command, answer)

    async def _perform(self, command: Command) -> Mapping[str, Any]:
        match command.name:
            case "request":
                return await self._request(command)
            case "submit":
                order_id = await self._order_id(command)
                self._requester.submit(order_id)
                return {"request_id": order_id.hex()}
            case "cancel":
                order_id = await self._order_id(command)
                price = await self._requester.cancel(order_id)
                if price is None:
                    raise NotNow(what="cancel", reason="TOO_LATE", why="its transaction is signed, or it is over")
                return {"request_id": order_id.hex(), "price": price.value}
            case _:
                raise UsageError(problem=f"unknown command {command.name}")

    async def _request(self, command: Command) -> Mapping[str, Any]:
        origin = bytes.fromhex(command.command_id)
        # A command that was carried out before a crash left its order: one intent is one order.
        known = await self._in_thread(partial(self._store.order_of_origin, origin))
        if known is not None:
            return {"request_id": known.hex()}
        intent = intent_of(command.arguments, self._account)
        taken = await self._in_thread(partial(self._store.tickets_in_use, Role.REQUESTER))
        if self._ticket in taken:
            raise UsageError(problem=f"ticket {self._ticket} is taken by another live order")
        if await self._chain.ticket_wei(self._account, self._ticket) is None:
            raise UsageError(problem=f"ticket {self._ticket} is empty, spent or being withdrawn")
        wish = encode_intent(intent)
        plan = await self._planner.plan(wish)
        self._check_size(plan)
        order = await self._requester.request(plan, ticket=self._ticket, origin=origin, intent=wish)
        return {"request_id": order.order_id.hex()}

    def _check_size(self, plan: PlannedTable) -> None:
        """Said before the auction: afterwards a prover is owed its price whatever the transaction weighs."""
        size = estimated_bytes(plan)
        if size <= INCLUSION_LIST_BYTES or self._inclusion_list == "ignore":
            return
        why = f"its transaction will have about {size} bytes, an inclusion list holds {INCLUSION_LIST_BYTES}"
        if self._inclusion_list == "require":
            raise NotNow(what="request", reason="INCLUSION_LIST", why=why)
        log.warning("INCLUSION_LIST: %s", why)

    async def _order_id(self, command: Command) -> bytes:
        text = str(command.arguments.get("request_id", ""))
        try:
            order_id = bytes.fromhex(text)
        except ValueError as error:
            raise UsageError(problem="a request id is 64 hex digits") from error
        if self._requester.loop.order(order_id) is None:
            raise NotFound(what="live order", name=text)
        return order_id


def intent_of(arguments: Mapping[str, Any], account: Address) -> Intent | TransactionIntent:
    """What a `request` asks for: a call by this node's account, or somebody's signed transaction of a rollup.

    Raises:
        UsageError.
    """
    try:
        data = bytes.fromhex(str(arguments["data"]).removeprefix("0x"))
        rollup_id = int(arguments["rollup_id"])
        if arguments.get("transaction"):
            forced = arguments.get("forced")
            return TransactionIntent(
                sender=account, rollup_id=rollup_id, data=data, forced=None if forced is None else int(forced)
            )
        destination = address_from_text(arguments["destination"])
        if len(destination) != 20:
            raise UsageError(problem=f"not an address: {arguments['destination']}")
        return Intent(
            sender=account,
            rollup_id=rollup_id,
            destination=destination,
            value_wei=int(arguments["value_wei"]),
            data=data,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(problem=f"malformed request: {error}") from error
