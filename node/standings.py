"""Standing of counterparties, read from the node's own log of orders."""

from __future__ import annotations

from functools import partial
from typing import Final

from market.lifecycle import Event, Role
from market.standing import HARMLESS, LIMIT_MILLI, LOOK_BACK_MS, OF_FAULTS, OF_PROVERS, OF_REQUESTERS, Outcome, standing
from node.ports import Clock, InThread
from node.store.faults import FaultStore
from node.store.orders import OrderStore, Outcomes
from protocol.codec import decode_body
from protocol.messages import Award

FRESH_MS: Final = 5_000  # so that a flood of requests does not become one of queries


class Standings:
    """Asks the store: what orders say must survive a restart."""

    def __init__(self, store: OrderStore, faults: FaultStore, in_thread: InThread, clock: Clock) -> None:
        """
        Args:
            faults: what is proven of anybody.
        """
        self._store = store
        self._faults = faults
        self._seen: list[Outcome] = []
        self._fresh_until_ms = 0
        self._in_thread = in_thread
        self._clock = clock

    async def refused(self, role: Role, accounts: frozenset[bytes]) -> frozenset[bytes]:
        """Those accounts that a node in `role` does not deal with."""
        now_ms = self._clock.now_ms()
        if now_ms >= self._fresh_until_ms:
            self._seen, self._fresh_until_ms = await self._read(role, now_ms), now_ms + FRESH_MS
        seen = self._seen
        return frozenset(account for account in accounts if standing(seen, account, now_ms) < LIMIT_MILLI)

    async def _read(self, role: Role, now_ms: int) -> list[Outcome]:
        return await self._in_thread(partial(read_outcomes, self._store, self._faults, role, now_ms - LOOK_BACK_MS))


def read_outcomes(store: OrderStore, faults: FaultStore, role: Role, since_ms: int) -> list[Outcome]:
    """What the log says about those that a node in `role` dealt with; blocks."""
    rows = store.outcomes(role, since_ms)
    seen = _of_requesters(rows) if role is Role.PROVER else _of_provers(rows)
    proven = faults.since(since_ms)
    return seen + [Outcome(account=f.account, weight_milli=OF_FAULTS[f.kind], at_ms=f.at_ms) for f in proven]


def _of_requesters(rows: tuple[Outcomes, ...]) -> list[Outcome]:
    return [
        Outcome(account=row.request[:20], weight_milli=OF_REQUESTERS[line.target], at_ms=line.at_ms)
        for row in rows
        for line in row.history
        if line.target in OF_REQUESTERS and line.state is not line.target and line.reason not in HARMLESS
    ]


def _of_provers(rows: tuple[Outcomes, ...]) -> list[Outcome]:
    seen = []
    for row in rows:
        if not row.award:
            continue
        award = decode_body(Award, row.award)
        # The award in store is that of the rank whose proof is used; before, the order was the winner's.
        is_taken = any(line.event == Event.TAKEN_OVER.value for line in row.history)
        rank = 1 if is_taken else award.rank
        for line in row.history:
            if line.event == Event.TAKEN_OVER.value:
                rank = award.rank
            elif line.event in OF_PROVERS and line.reason not in HARMLESS:
                account = award.openings[rank - 1].prover
                seen.append(Outcome(account=account, weight_milli=OF_PROVERS[Event(line.event)], at_ms=line.at_ms))
    return seen
