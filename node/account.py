"""This node's account on L1: its sender, what loops ask of L1 with it, and the watch over its transactions."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial

from market.lifecycle import Role
from node.chain.errors import ChainError
from node.chain.rpc import Rpc
from node.chain.sender import Sender, SignedTransaction
from node.chain.transport import HttpTransport
from node.config import NodeConfig, TransactionsSection
from node.errors import ConfigError
from node.l1 import Contracts
from node.l1port import L1Port
from node.ports import Clock, InThread
from node.store.orders import OrderStore
from node.store.transactions import TransactionStore
from node.txwatch import ReleaseBook, TransactionWatch, WatchTerms
from protocol.signing import AccountKey

log = logging.getLogger("unveto.account")

LEAST_POLL_MS = 1_000


async def open_account(
    config: NodeConfig,
    contracts: Contracts,
    secret: bytes,
    *,
    stored: TransactionStore,
    orders: OrderStore,
    in_thread: InThread,
    clock: Clock,
) -> tuple[L1Port, TransactionWatch]:
    """Takes over what was stored, and sends again what a client should have.

    Args:
        secret: private key.

    Raises:
        ConfigError: a private pool without a client.
    """
    account = AccountKey(secret).address
    terms = config.transactions
    outlets = _outlets(terms)
    known = await in_thread(partial(stored.open, account))

    async def persist(transaction: SignedTransaction) -> None:
        await in_thread(partial(stored.add, transaction))

    async def release(purpose: str) -> None:
        await in_thread(partial(stored.release, purpose, clock.now_ms()))

    async def finish(purpose: str) -> None:
        await in_thread(partial(stored.finish, purpose))

    async def live() -> Collection[str]:
        found: list[str] = []
        for role in Role:
            found += [order.order_id.hex() for order in await in_thread(partial(orders.live, role))]
        return found

    sender = Sender(
        contracts.rpc,
        secret,
        chain_id=contracts.chain_id,
        persist=persist,
        known=known,
        max_fee_limit_wei=terms.max_fee_wei,
        min_tip_wei=terms.tip_wei,
        outlets=outlets,
    )
    book = ReleaseBook(await in_thread(stored.released), release)
    try:
        # Also what an order that is over by now had sent: its nonce must not block those of others.
        await sender.rebroadcast(book.is_sent)
    except ChainError as error:
        log.warning("a stored transaction is not taken: %s", error)
    port = L1Port(
        contracts=contracts,
        sender=sender,
        start_block=config.chain.start_block,
        confirmations=config.chain.confirmations,
        now_ms=clock.now_ms,
        book=book,
    )
    watch = TransactionWatch(
        sender=sender,
        rpc=contracts.rpc,
        clock=clock,
        terms=WatchTerms(
            final_depth=max(terms.final_depth, config.chain.confirmations),
            bump_after_ms=terms.bump_after_ms,
            max_bumps=terms.max_bumps,
            poll_ms=max(config.chain.poll_ms, LEAST_POLL_MS),
        ),
        book=book,
        finish=finish,
        live=live,
    )
    return port, watch


def _outlets(terms: TransactionsSection) -> tuple[Rpc, ...]:
    if terms.pool == "public":
        return ()
    if not terms.private_urls:
        raise ConfigError(where="transactions.private_urls", problem="a private pool needs at least one client")
    return tuple(Rpc(HttpTransport(url)) for url in terms.private_urls)
