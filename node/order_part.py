"""Parts of a role that share its loop: what each of them would otherwise write again.

API:
    OrderPart: attach(loop), then ._loop
    OrderCall(word, chain=, clock=, to=): prepare(order, data), send(order), landing(order)
"""

from __future__ import annotations

from market.lifecycle import Order
from node.broker import OrderLoop, Resender
from node.ports import Chain, ChainCall, Clock, Landing, try_again


class OrderPart:
    """Performs effects for a loop that is made after it."""

    def __init__(self) -> None:
        self._attached: OrderLoop | None = None

    def attach(self, loop: OrderLoop) -> None:
        """`loop` moves the orders."""
        self._attached = loop

    @property
    def _loop(self) -> OrderLoop:
        assert self._attached is not None, "attach comes first"
        return self._attached


class OrderCall:
    """The transaction of one kind that an order may need: at most one for each order, prepared before it is sent.

    A refusal is one client's opinion at one moment, so it is TryAgain; the order's windows end the attempts.
    """

    def __init__(self, word: str, *, chain: Chain, clock: Clock, to: bytes) -> None:
        """
        Args:
            word: what it does; with the order's id its purpose in the store.
            to: the contract that is called.
        """
        self._word = word
        self._chain = chain
        self._to = to
        self._resend = Resender(chain, clock)

    def purpose(self, order: Order) -> str:
        """Its name in the store."""
        return f"{self._word} {order.order_id.hex()}"

    async def prepare(self, order: Order, data: bytes) -> None:
        """Signs and stores it."""
        with try_again():
            await self._chain.prepare(ChainCall(purpose=self.purpose(order), to=self._to, data=data))

    async def send(self, order: Order) -> None:
        """Sends it."""
        with try_again():
            await self._chain.send(self.purpose(order))

    async def landing(self, order: Order) -> Landing:
        """What L1 says about it."""
        return await self._chain.landing(self.purpose(order))

    async def send_again(self, order: Order) -> None:
        """Sends it if it has not been sent for a while."""
        await self._resend.send(self.purpose(order))
