"""Takes the operator's commands from a prover's inbox and answers them (`claim`, `refund`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.desk import CommandDesk, order_id_of
from node.errors import UsageError
from node.escrow import Escrow
from node.inbox import Command, Inbox
from node.prover import ProvingNode


class ProverDesk(CommandDesk):
    """The commands of a prover. Made without side effects; `serve` runs it."""

    def __init__(self, *, inbox: Inbox, prover: ProvingNode, escrow: Escrow) -> None:
        super().__init__(inbox)
        self._prover = prover
        self._escrow = escrow

    async def perform(self, command: Command) -> Mapping[str, Any]:
        """Carries out one command; its answer."""
        match command.name:
            case "claim":
                order_id = order_id_of(command.arguments)
                return {"request_id": order_id.hex(), "state": (await self._prover.claim(order_id)).value}
            case "refund":
                return await self._escrow.refund(command.arguments, command.command_id)
            case _:
                raise UsageError(problem=f"unknown command of a prover: {command.name}")
