"""How far this machine's clock is from those of others, as their signed messages show it (SPEC §9.4, §9.5).

A message says when it was made, and arrives later. So what a signer's best message shows is at most how far its clock
is ahead of ours; messages that are refused for their time are counted: a clock that is far off hears nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from node.ports import Clock
from protocol.errors import Ignore
from protocol.verdicts import WireCode

MAX_SIGNERS: Final = 256  # the ones heard last
SHOW_EVERY_MS: Final = 5_000
OF_TIME: Final = frozenset({WireCode.FROM_FUTURE, WireCode.FROM_PAST})
"""Refusals that say that one of two clocks is off."""


@dataclass(slots=True)
class Skew:
    """What messages say about this clock. In memory: a clock is a matter of now."""

    refused: int = 0
    """Messages refused for their time."""
    _best_ms: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def heard(self, signer: bytes, created_ms: int, now_ms: int) -> None:
        """A fresh message of a signer, whose signature holds."""
        ahead_ms = created_ms - now_ms
        self._best_ms[signer] = max(ahead_ms, self._best_ms.pop(signer, ahead_ms))
        if len(self._best_ms) > MAX_SIGNERS:
            self._best_ms.popitem(last=False)

    def refuse(self, verdict: Ignore) -> None:
        """A message was not taken."""
        if verdict.reason in OF_TIME:
            self.refused += 1

    def ahead_ms(self) -> int | None:
        """By how much the clocks of half of the signers are ahead of this one at most; None if none was heard."""
        best = sorted(self._best_ms.values())
        return best[len(best) // 2] if best else None

    def shown(self) -> dict[str, Any]:
        """For the status file."""
        return {"ahead_ms": self.ahead_ms(), "signers": len(self._best_ms), "refused": self.refused}


async def show_skew(skew: Skew, clock: Clock, put: Callable[[dict[str, Any]], None]) -> None:
    """Writes it down until cancelled."""
    while True:
        put(skew.shown())
        await clock.sleep_until(clock.now_ms() + SHOW_EVERY_MS)
