"""A local copy of the market's tickets, for gossip validation, which must answer without asking anybody."""

from __future__ import annotations

import trio
from trio_typing import TaskStatus

from node.chain.errors import Recoverable, ReorgTooDeep, RpcMisbehaved, RpcRefused
from node.chain.logs import BlockLogs, Cursor, LogFollower
from node.chain.records import Log
from node.chain.rpc import Rpc
from node.l1 import address_from_text, event_values
from protocol.types import Address

MAX_TICKETS = 1 << 20  # each costs its owner a deposit; beyond it new ones are not known here


class TicketBook:
    """Tickets by (owner, number), rebuilt from the market's logs."""

    def __init__(self, rpc: Rpc, market: Address, *, start_block: int, poll_s: float) -> None:
        """Nothing is read yet."""
        self._rpc = rpc
        self._market = market
        self._start_block = start_block
        self._poll_s = poll_s
        self._wei: dict[tuple[bytes, int], int] = {}

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """Wei in a ticket that is neither spent nor being withdrawn, as far as the logs read so far say."""
        return self._wei.get((owner, ticket))

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow for ever; started once the head of this moment is reached."""
        source = self._source()
        started = False
        while True:
            try:
                events = await source.advance()
            except (Recoverable, RpcRefused, RpcMisbehaved):
                await trio.sleep(self._poll_s)
                continue
            except ReorgTooDeep:
                source = self._source()
                continue
            for event in events:
                if isinstance(event, BlockLogs):
                    for log in event.logs:
                        self._take(log)
                else:
                    # Tickets are few and reorganisations rare: read everything again.
                    source = self._source()
            if events:
                continue
            if not started:
                started = True
                task_status.started()
            await trio.sleep(self._poll_s)

    def _source(self) -> LogFollower:
        self._wei.clear()
        return LogFollower(self._rpc, [self._market], Cursor(start=self._start_block))

    def _take(self, log: Log) -> None:
        name, values = event_values("IProofMarket", log)
        match name:
            case "TicketsDeposited":
                owner = address_from_text(values["owner"])
                for number in range(values["first"], values["first"] + values["count"]):
                    if len(self._wei) < MAX_TICKETS:
                        self._wei[(owner, number)] = values["amountEach"]
            case "WithdrawRequested" | "TicketWithdrawn" | "BondTaken":
                self._wei.pop((address_from_text(values["owner"]), values["ticket"]), None)
            case "AgreementSettled":
                self._wei.pop((address_from_text(values["requester"]), values["ticket"]), None)
            case "AgreementDeclined" if values["feeWei"]:
                self._wei.pop((address_from_text(values["requester"]), values["ticket"]), None)
            case "AgreementSlashed" | "PeekPenalised":
                self._wei.pop((address_from_text(values["prover"]), values["ticket"]), None)
            case _:
                pass
