"""What is ours in the market contract, brought home on the operator's word: credits, and tickets (SPEC §8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from market.lifecycle import Role
from node.errors import NotNow
from node.l1 import collect, request_withdraw, withdraw
from node.l1port import L1Port, asked
from node.ports import ChainCall, Clock, InThread
from node.store.orders import OrderStore


class Escrow:
    """The credits and tickets of one account."""

    def __init__(
        self, *, port: L1Port, store: OrderStore, in_thread: InThread, clock: Clock, role: Role, account: bytes
    ) -> None:
        """
        Args:
            role: whose orders take the tickets.
        """
        self._port = port
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._role = role
        self._account = account

    async def refund(self, arguments: Mapping[str, Any], command_id: str) -> Mapping[str, Any]:
        """Collects the account's credit, or takes the next step of taking a ticket out.

        Args:
            command_id: makes the transaction one, however often the command is carried out.

        Raises:
            NotNow: NO_CREDIT, NO_TICKET, PROMISED or NOT_DUE.
        """
        ticket = arguments.get("ticket")
        if ticket is None:
            amount_wei = await asked(partial(self._port.contracts.payout_of, self._account))
            if not amount_wei and not self._port.latest(f"refund {command_id}"):
                raise NotNow(what="refund", reason="NO_CREDIT", why="the market owes this account nothing")
            return await self._send("collected", command_id, collect(self._account), amount_wei)
        return await self._withdraw(int(ticket), command_id)

    async def _withdraw(self, ticket: int, command_id: str) -> Mapping[str, Any]:
        if ticket in await self._in_thread(partial(self._store.tickets_in_use, self._role)):
            why = "a live order has promised it; `status` says until when"
            raise NotNow(what="refund", reason="PROMISED", why=why)
        found = await asked(partial(self._port.contracts.ticket, self._account, ticket))
        amount_wei = found.amount_wei + found.bond_wei
        if not amount_wei:
            raise NotNow(what="refund", reason="NO_TICKET", why=f"ticket {ticket} holds nothing")
        if not found.withdrawable_at:
            return await self._send("requested", command_id, request_withdraw(ticket), amount_wei)
        left_s = found.withdrawable_at - self._clock.now_ms() // 1000
        if left_s > 0:
            why = f"it can be taken out in {left_s} s, at {found.withdrawable_at}"
            raise NotNow(what="refund", reason="NOT_DUE", why=why)
        return await self._send("withdrawn", command_id, withdraw(ticket), amount_wei)

    async def _send(self, step: str, command_id: str, data: bytes, amount_wei: int) -> Mapping[str, Any]:
        call = ChainCall(purpose=f"refund {command_id}", to=self._port.contracts.market, data=data)
        prepared = await self._port.prepare(call)
        await self._port.send(call.purpose)
        return {"step": step, "amount_wei": str(amount_wei), "transaction": "0x" + prepared.tx_hash.hex()}
