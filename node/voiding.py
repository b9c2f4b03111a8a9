"""A prover whose table died before its Ack because a rollup's configuration was replaced owes nothing (SPEC §8.2)."""

from __future__ import annotations

from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.l1 import void_agreement
from node.market_state import settlement_of
from node.order_part import OrderCall, OrderPart
from node.ports import Chain, Clock, Landing
from protocol.agreement import by_key, pack_dated
from protocol.codec import decode_body
from protocol.messages import ProverAck
from protocol.payload import decode_payload
from protocol.table import encode_core

WATCHED: Final = frozenset({State.VOIDING})


class Voiding(OrderPart):
    """The agreements of one prover that a change of a configuration made void."""

    def __init__(self, *, chain: Chain, clock: Clock, market: bytes) -> None:
        """
        Args:
            market: the market contract, 20 bytes.
        """
        super().__init__()
        self._chain = chain
        self._call = OrderCall("void", chain=chain, clock=clock, to=market)

    async def look(self, order: Order) -> None:
        """Signs the transaction that voids an agreement without a proof, if there is a reason for it."""
        deal = await self._loop.deal(order)
        ack = decode_body(ProverAck, await self._loop.needed(order, kept.ACK))
        payload = decode_payload(await self._loop.needed_secret(order, kept.PAYLOAD))
        core = encode_core(payload.core)
        found = await self._chain.changed_config(core, deal.agreement.open_from, ack.ack_at)
        if found is None:
            return
        settlement = settlement_of(
            deal,
            payload.salt,
            await self._loop.needed(order, kept.ACCEPT),
            await self._loop.document(order.order_id, kept.AMEND),
        )
        packed = pack_dated(ack.ack_at, by_key(ack.ack_signature))
        # The slash window ends the attempts.
        await self._call.prepare(order, void_agreement(settlement, packed, core, *found))
        await self._loop.happen(order.order_id, Event.VOID_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends it."""
        await self._call.send(order)

    async def observe(self, order: Order) -> None:
        """What L1 says about it."""
        deal = await self._loop.deal(order)
        view = await self._chain.agreement(deal.agreement_hash)
        if view.is_void:
            await self._loop.happen(order.order_id, Event.VOID_SEEN, reason="VOID")
        elif view.is_slashed:
            await self._loop.happen(order.order_id, Event.SLASH_SEEN)
        elif await self._call.landing(order) is Landing.FAILED:
            await self._loop.happen(order.order_id, Event.VOID_FAILED, reason="VOID_REVERTED")
        else:
            await self._call.send_again(order)
