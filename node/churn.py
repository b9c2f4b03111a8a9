"""How often rollups' roots move: what the follower replays, counted, for the choice of a lane (SPEC §10)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from market.lanes import Churn
from node.follower import Follower
from node.ports import Clock
from node.replay import Snapshot
from protocol.table import decode_core

LOOK_BACK_MS: Final = 3_600_000
MAX_MOVES: Final = 4_096  # over all rollups; older ones are forgotten first

ChurnOf = Callable[[bytes], Churn]
"""The churn of the rollups of a packed core."""


@dataclass(slots=True, kw_only=True)
class RootMoves:
    """A log of moves of roots, kept in memory: after a restart it begins anew."""

    clock: Clock
    _since_ms: int = -1
    _roots: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Rollup -> its root and how many entries it had consumed."""
    _moves: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MAX_MOVES))
    """(unix ms, rollup)."""

    async def serve(self, follower: Follower) -> None:
        """Watches until cancelled."""
        await self.watch(follower.latest, follower.change)

    async def watch(self, first: Snapshot, change: Callable[[], Awaitable[Snapshot]]) -> None:
        """Takes one snapshot after the other."""
        self.take(first)
        while True:
            self.take(await change())

    def take(self, snapshot: Snapshot) -> None:
        """What has changed since the last snapshot. The first one only says where the rollups stand."""
        now_ms = self.clock.now_ms()
        is_first, self._since_ms = self._since_ms < 0, now_ms if self._since_ms < 0 else self._since_ms
        for rollup_id, followed in snapshot.rollups.items():
            if followed.state is None:
                continue
            stands = (followed.state.root, followed.entries)
            before = self._roots.get(rollup_id)
            self._roots[rollup_id] = stands
            # Entries too: a root that moved and came back has moved. A rollup's first sight is no move.
            if not is_first and before is not None and before != stands:
                self._moves.append((now_ms, rollup_id))

    def churn(self, core: bytes) -> Churn:
        """Of the lockset of a packed core, over at most LOOK_BACK_MS."""
        if self._since_ms < 0:
            return Churn(moves=0, seen_ms=0)
        now_ms = self.clock.now_ms()
        members = {member.rollup_id for member in decode_core(core).lockset}
        from_ms = max(self._since_ms, now_ms - LOOK_BACK_MS)
        moves = [at_ms for at_ms, rollup_id in self._moves if at_ms >= from_ms and rollup_id in members]
        if len(self._moves) == MAX_MOVES:  # what was before the oldest one is forgotten
            from_ms = max(from_ms, self._moves[0][0])
        return Churn(moves=len(moves), seen_ms=now_ms - from_ms)
