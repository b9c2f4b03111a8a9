"""Cuts peers that speak for accounts of which enough is proven, and refuses them for a time.

Which account a peer speaks for is believed on two signatures only: the account's, in a frame, and the peer's, because
it asked us itself or is the author of the gossip envelope around the frame. That an account names a peer, or that a
peer passes on what an account said, binds nobody: else a cheat could have honest peers cut.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.lifecycle import Role
from market.standing import LOOK_BACK_MS, is_shunned
from node import market_state as kept
from node.ports import Clock, InThread
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from protocol.codec import decode_body
from protocol.messages import Award, MessageId

LOOK_EVERY_MS: Final = 2_000
SHUN_S: Final = 3_600.0  # then the peer may come again, and is cut again if the evidence still weighs enough
MAX_PEERS: Final = 4_096
MAX_ACCOUNTS: Final = 8  # of one peer; an honest one has one


class Shuns(Protocol):
    """Refuses peers; `node.p2p.host.Host` in the node."""

    def shun(self, peer_id: str, length_s: float) -> None:
        """Cut a peer and do not speak to it for a time."""
        ...


class Shunning:
    """Peers and the accounts that they have shown to speak for. `serve` runs it."""

    def __init__(
        self, *, faults: FaultStore, store: OrderStore, in_thread: InThread, clock: Clock, host: Shuns
    ) -> None:
        self._faults = faults
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._host = host
        self._accounts: dict[str, dict[bytes, None]] = {}

    def bind(self, account: bytes, peer_id: str) -> None:
        """A frame of the account, its signature checked, came from the peer itself."""
        accounts = self._accounts.pop(peer_id, {})
        self._accounts[peer_id] = accounts  # the one heard of longest ago is first
        if len(accounts) < MAX_ACCOUNTS:
            accounts[account] = None
        if len(self._accounts) > MAX_PEERS:
            del self._accounts[next(iter(self._accounts))]

    def heard(self, frame: bytes, author: str) -> None:
        """A frame came in an envelope of a peer. Around a ready table it is of whoever has checked it (SPEC §9.6)."""
        if frame[4] != MessageId.READY_TABLE:
            self.bind(frame[52:72], author)

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        while True:
            now_ms = self._clock.now_ms()
            bad = await self._in_thread(partial(self._bad_accounts, now_ms))
            for peer_id, accounts in self._accounts.items():
                if not bad.isdisjoint(accounts):
                    self._host.shun(peer_id, SHUN_S)
            await self._clock.sleep_until(now_ms + LOOK_EVERY_MS)

    def _bad_accounts(self, now_ms: int) -> frozenset[bytes]:
        """Of whom enough is proven, without those to whom a live order binds us: it ends first."""
        proven = [(each.account, each.kind, each.at_ms) for each in self._faults.since(now_ms - LOOK_BACK_MS)]
        bad = {account for account, _, _ in proven if is_shunned(proven, account, now_ms)}
        return frozenset(bad - self._engaged()) if bad else frozenset()

    def _engaged(self) -> set[bytes]:
        engaged: set[bytes] = set()
        for order in self._store.live(Role.PROVER):
            request = self._store.document(order.order_id, Role.PROVER, kept.REQUEST)
            award = self._store.document(order.order_id, Role.PROVER, kept.AWARD)
            if request is not None and award is not None:
                engaged.add(request[:20])
        for role in (Role.REQUESTER, Role.STANDBY):
            for order in self._store.live(role):
                award = self._store.document(order.order_id, role, kept.AWARD)
                if award is not None:
                    engaged.update(bid.prover for bid in decode_body(Award, award).openings)
        return engaged
