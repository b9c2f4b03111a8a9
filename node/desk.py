"""Takes the operator's commands from the node's inbox and answers them (`request`, `plan`, `account`, `submit`,
`cancel`), several at a time: a plan may wait for a rollup that takes long to replay.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

import trio
from trio_typing import TaskStatus

from market.errors import MarketError
from market.lifecycle import Role
from node.chain.errors import ChainError
from node.dryrun import explain
from node.errors import NodeError, NotFound, NotNow, UsageError
from node.escrow import Escrow
from node.inbox import Command, Inbox
from node.intents import AnyIntent, TableIntent, encode_intent
from node.l1 import address_from_text
from node.landing import INCLUSION_LIST_BYTES, estimated_bytes
from node.planner import Intent, TransactionIntent
from node.planning import TablePlanner
from node.ports import Chain, InThread, PlannedTable, PortError
from node.requester import Requester
from node.store.orders import OrderStore
from protocol.errors import ProtocolError
from protocol.types import Address
from proving.circuit.errors import CircuitError

log = logging.getLogger("unveto.desk")

LOOK_EVERY_S: Final = 0.1
AT_ONCE: Final = 8
"""Commands that are worked on at a time; the others wait in their files."""
ANSWERED = (NodeError, ChainError, MarketError, ProtocolError, CircuitError, PortError)
"""Refusals that are answered to the operator; anything else is a bug and ends the node."""


class CommandDesk(ABC):
    """Commands of one node, several at a time."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._running: set[str] = set()
        self._taken: set[str] = set()

    @abstractmethod
    async def perform(self, command: Command) -> Mapping[str, Any]:
        """Carries out one command; its answer. Raises one of ANSWERED."""

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        await trio.to_thread.run_sync(self._inbox.open)
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                pending = await trio.to_thread.run_sync(self._inbox.pending)
                # A list may be older than the answer to a command that is on it: only the next one lacks it.
                self._taken = self._running | (self._taken & {command.command_id for command in pending})
                for command in pending:
                    if len(self._running) < AT_ONCE and command.command_id not in self._taken:
                        self._taken.add(command.command_id)
                        self._running.add(command.command_id)
                        nursery.start_soon(self._take, command)
                await trio.sleep(LOOK_EVERY_S)

    async def _take(self, command: Command) -> None:
        await self._answer(command)
        self._running.discard(command.command_id)

    async def _answer(self, command: Command) -> None:
        try:
            answer = await self.perform(command)
        except ANSWERED as error:
            code = getattr(error, "code", "NOD-000")
            log.warning("command %s: %s", command.name, error)
            answer = {"error": {"code": code, "message": str(error)}}
        try:
            await trio.to_thread.run_sync(self._inbox.answer, command, answer)
        except OSError as error:  # a full disk; the command is still there and what it did is found again
            log.warning("command %s is not answered yet: %s", command.name, error.strerror)


class Desk(CommandDesk):
    """The commands of a requester. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        requester: Requester,
        planner: TablePlanner,
        store: OrderStore,
        in_thread: InThread,
        chain: Chain,
        account: bytes,
        ticket: int,
        escrow: Escrow,
        inclusion_list: Literal["ignore", "warn", "require"] = "warn",
    ) -> None:
        """
        Args:
            account: who sends the transactions.
            escrow: brings home what is the account's.
            ticket: the escrow ticket that pays.
            inclusion_list: what to do with a wish whose transaction fits none.
        """
        super().__init__(inbox)
        self._escrow = escrow
        self._requester = requester
        self._planner = planner
        self._store = store
        self._in_thread = in_thread
        self._chain = chain
        self._account = Address(account)
        self._ticket = ticket
        self._inclusion_list = inclusion_list
        self._auctions = trio.Lock()

    async def perform(self, command: Command) -> Mapping[str, Any]:
        """Carries out one command; its answer."""
        match command.name:
            case "request":
                return await self._request(command)
            case "plan":
                return await self._explain(command)
            case "account":
                return await self._rollup_account(command)
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
            case "slash":
                order_id = order_id_of(command.arguments)
                return {"request_id": order_id.hex(), "state": (await self._requester.slash(order_id)).value}
            case "refund":
                return await self._escrow.refund(command.arguments, command.command_id)
            case _:
                raise UsageError(problem=f"unknown command {command.name}")

    async def _request(self, command: Command) -> Mapping[str, Any]:
        origin = bytes.fromhex(command.command_id)
        # A command that was carried out before a crash left its order: one intent is one order.
        known = await self._in_thread(partial(self._store.order_of_origin, origin))
        if known is not None:
            return {"request_id": known.hex()}
        intent = intent_of(command.arguments, self._account)
        await self._require_ticket()
        wish = encode_intent(intent)
        plan = await self._planner.plan(wish)
        self._check_size(plan)
        async with self._auctions:  # what was planned first is auctioned first; the ticket pays for one of them
            await self._require_ticket()
            order = await self._requester.request(plan, ticket=self._ticket, origin=origin, intent=wish)
        return {"request_id": order.order_id.hex()}

    async def _require_ticket(self) -> None:
        taken = await self._in_thread(partial(self._store.tickets_in_use, Role.REQUESTER))
        if self._ticket in taken:
            raise UsageError(problem=f"ticket {self._ticket} is taken by another live order")
        if await self._chain.ticket_wei(self._account, self._ticket) is None:
            raise UsageError(problem=f"ticket {self._ticket} is empty, spent or being withdrawn")

    async def _explain(self, command: Command) -> Mapping[str, Any]:
        planned = await self._planner.try_out(intent_of(command.arguments, self._account))
        table = await self._planner.table(planned)
        lockset = [int(member.rollup_id) for member in planned.plan.core.lockset]
        peers = self._planner.follower.told_peers(lockset)
        return explain(planned, table, limits=self._requester.price_limits(table), peers=peers)

    async def _rollup_account(self, command: Command) -> Mapping[str, Any]:
        """What a transaction of an account of a rollup needs, so that it can be signed where its key is."""
        try:
            rollup_id, address = int(command.arguments["rollup_id"]), address_from_text(command.arguments["address"])
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(problem=f"malformed request: {error}") from error
        nonce, balance_wei = await self._planner.account(rollup_id, address)
        contracts = self._planner.contracts
        return {
            "nonce": nonce,
            "balance_wei": str(balance_wei),
            "chain_id": contracts.chain_id,
            "rollups": "0x" + contracts.rollups.hex(),
        }

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
        order_id = order_id_of(command.arguments)
        if self._requester.loop.order(order_id) is None:
            raise NotFound(what="live order", name=order_id.hex())
        return order_id


def order_id_of(arguments: Mapping[str, Any]) -> bytes:
    """The request id that a command names. Raises UsageError."""
    try:
        return bytes.fromhex(str(arguments.get("request_id", "")))
    except ValueError as error:
        raise UsageError(problem="a request id is 64 hex digits") from error


def intent_of(arguments: Mapping[str, Any], account: Address) -> AnyIntent:
    """What a `request` asks for: a call by this node's account, somebody's signed transaction of a rollup, or a table.

    Raises:
        UsageError.
    """
    try:
        if "core" in arguments:
            return TableIntent(sender=account, core=bytes.fromhex(str(arguments["core"])))
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
