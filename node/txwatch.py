"""Follows an account's transactions until they are final: sends again what a reorg or a client lost, raises the fee of
what is not included, frees the nonces of what is not wanted any more, and forgets what is final (SPEC §9.7)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final, NoReturn

import trio
from trio_typing import TaskStatus

from node.chain.errors import ChainError, FeeTooHigh, Recoverable, TransactionRefused
from node.chain.rpc import Rpc
from node.chain.sender import Sender, SignedTransaction
from node.ports import Clock

log = logging.getLogger("unveto.transactions")

RESEND_MS: Final = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTerms:
    """How patient it is."""

    final_depth: int
    """Blocks on top, from which on a transaction is taken for final."""
    bump_after_ms: int
    """Time without inclusion after which the fees are raised; 0: never."""
    max_bumps: int
    """Of one transaction."""
    poll_ms: int


class ReleaseBook:
    """Which purposes were handed to a client, or are about to be: written down before."""

    def __init__(self, known: Collection[str], write: Callable[[str], Awaitable[None]]) -> None:
        """
        Args:
            known: of earlier lives.
            write: makes one durable.
        """
        self._known = set(known)
        self._write = write

    def is_sent(self, purpose: str) -> bool:
        """Whether a client may have it."""
        return purpose in self._known

    async def mark(self, purpose: str) -> None:
        """From now on a client may have it."""
        if purpose not in self._known:
            await self._write(purpose)
            self._known.add(purpose)


class TransactionWatch:
    """One account's. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        sender: Sender,
        rpc: Rpc,
        clock: Clock,
        terms: WatchTerms,
        book: ReleaseBook,
        finish: Callable[[str], Awaitable[None]],
        live: Callable[[], Awaitable[Collection[str]]],
    ) -> None:
        """
        Args:
            rpc: reads.
            book: what was not handed to a client may be meant to wait.
            finish: records that a purpose is over, durably.
            live: words that occur in the purposes of whatever is still going on; such a purpose is neither forgotten
                nor withdrawn.
        """
        self._sender = sender
        self._rpc = rpc
        self._clock = clock
        self._terms = terms
        self._book = book
        self._finish = finish
        self._live = live
        self._since_ms: dict[bytes, int] = {}  # newest transaction of a purpose -> first look at it
        self._sent_ms: dict[str, int] = {}
        self._mined: set[str] = set()

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Runs until cancelled."""
        task_status.started()
        while True:
            try:
                await self.look()
            except Recoverable as error:
                log.debug("L1 cannot be asked: %s", error)
            await self._clock.sleep_until(self._clock.now_ms() + self._terms.poll_ms)

    async def look(self) -> None:
        """At each transaction once. Raises Recoverable."""
        if not self._sender.purposes:
            return
        head = await self._rpc.head()
        used = await self._rpc.nonce(self._sender.account, "latest")
        live = await self._live()
        for purpose in self._sender.purposes:
            group = self._sender.transactions(purpose)
            is_over = not any(word in purpose for word in live)
            try:
                await self._look_at(purpose, group, head.number, used, is_over=is_over)
            except (FeeTooHigh, TransactionRefused) as error:
                log.warning("%s: %s", purpose, error)
            except Recoverable:
                raise
            except ChainError as error:
                log.warning("%s: %s", purpose, error)

    async def _look_at(
        self, purpose: str, group: tuple[SignedTransaction, ...], head: int, used: int, *, is_over: bool
    ) -> None:
        if group[0].nonce < used:
            await self._look_at_mined(purpose, group, head, is_over=is_over)
        elif self._book.is_sent(purpose):
            await self._look_at_waiting(purpose, group[-1])
        elif is_over:
            await self._give_up(purpose)

    async def _look_at_mined(
        self, purpose: str, group: tuple[SignedTransaction, ...], head: int, *, is_over: bool
    ) -> None:
        self._mined.add(purpose)
        if not is_over:
            return
        for transaction in group:
            receipt = await self._rpc.final_receipt(transaction.tx_hash, self._terms.final_depth)
            if receipt is not None:
                await self._end(purpose)
                return
        # Used by none of ours: whoever did that has the key. It is told where the transaction is waited for.

    async def _look_at_waiting(self, purpose: str, newest: SignedTransaction) -> None:
        now_ms = self._clock.now_ms()
        since_ms = self._since_ms.setdefault(newest.tx_hash, now_ms)
        if purpose in self._mined:
            log.warning("%s: its block is gone; sent again", purpose)
            self._mined.discard(purpose)
            self._since_ms[newest.tx_hash] = now_ms
            await self._send_again(purpose, now_ms)
            return
        bumps = len(self._sender.transactions(purpose)) - 1
        is_slow = self._terms.bump_after_ms and now_ms - since_ms >= self._terms.bump_after_ms
        if is_slow and bumps < self._terms.max_bumps:
            self._since_ms.pop(newest.tx_hash)
            raised = await self._sender.replace(purpose)
            log.info("%s: not included; raised to %d wei, tip %d wei", purpose, raised.max_fee_wei, raised.tip_wei)
        elif now_ms - self._sent_ms.setdefault(purpose, now_ms) >= RESEND_MS:
            await self._send_again(purpose, now_ms)

    async def _send_again(self, purpose: str, now_ms: int) -> None:
        self._sent_ms[purpose] = now_ms
        await self._sender.rebroadcast(lambda wanted: wanted == purpose)

    async def _give_up(self, purpose: str) -> None:
        """Signed, never sent, and not wanted any more: later nonces must not wait for it."""
        if self._sender.is_last(purpose):
            log.info("%s: never sent; its nonce is free again", purpose)
            await self._end(purpose)
        else:
            log.info("%s: never sent; its nonce is used up by a transaction that does nothing", purpose)
            await self._book.mark(purpose)
            await self._sender.withdraw(purpose)

    async def _end(self, purpose: str) -> None:
        await self._finish(purpose)
        for transaction in self._sender.transactions(purpose):
            self._since_ms.pop(transaction.tx_hash, None)
        await self._sender.forget(purpose)
        self._mined.discard(purpose)
        self._sent_ms.pop(purpose, None)
