"""Our own record of broken rules per peer.

The library's peer score is not used: it forgets a peer on disconnect, and a bad score neither prunes nor disconnects.
A peer id costs nothing to make, so a ban only stops a peer that keeps its id; it is a brake, not a wall.
"""

from collections.abc import Callable
from dataclasses import dataclass

MAX_PEERS_TRACKED = 4096  # the table may not grow with the number of ids a peer invents
MAX_DOUBLINGS = 8  # of a peer's bans: at the default of five minutes, the longest is 21 hours


@dataclass(slots=True)
class _Record:
    strikes: int
    counted_from: float
    banned_until: float
    bans: int = 0
    """Bans for strikes so far; one is forgotten for each stretch of four times the last one's length without any."""
    last_ban_s: float = 0.0


class Conduct:
    """Counts broken rules and decides when a peer is banned. Sync, no I/O; time comes from `now`."""

    def __init__(self, *, limit: int, forgive_s: float, ban_s: float, now: Callable[[], float]) -> None:
        """
        Args:
            limit: Strikes that ban a peer.
            forgive_s: Seconds in which one strike is forgiven.
            ban_s: Length of a first ban in seconds; each further one is twice as long.
            now: Monotonic seconds.
        """
        self._limit = limit
        self._forgive_s = forgive_s
        self._ban_s = ban_s
        self._now = now
        self._records: dict[str, _Record] = {}

    def strike(self, peer_id: str) -> bool:
        """Record one broken rule. Returns True when this strike begins a ban, so that the caller cuts the peer once."""
        now = self._now()
        record = self._touch(peer_id, now)
        record.strikes += 1
        if record.strikes < self._limit or now < record.banned_until:
            return False
        self._forget_bans(record, now)
        record.last_ban_s = self._ban_s * 2 ** min(record.bans, MAX_DOUBLINGS)
        record.bans += 1
        record.banned_until = now + record.last_ban_s
        record.strikes = 0
        return True

    def ban(self, peer_id: str, length_s: float) -> bool:
        """Refuse a peer for a time, for what is known of it from elsewhere. Returns True if this begins a ban."""
        now = self._now()
        record = self._touch(peer_id, now)
        begins = now >= record.banned_until
        record.banned_until = max(record.banned_until, now + length_s)
        return begins

    def strikes(self, peer_id: str) -> int:
        """Strikes not yet forgiven; 0 for an unknown peer, and at the start of a ban."""
        record = self._records.get(peer_id)
        if record is None:
            return 0
        self._forgive(record, self._now())
        return record.strikes

    def is_banned(self, peer_id: str) -> bool:
        """Whether the peer is to be refused at this moment."""
        record = self._records.get(peer_id)
        return record is not None and self._now() < record.banned_until

    def _touch(self, peer_id: str, now: float) -> _Record:
        record = self._records.pop(peer_id, None) or _Record(0, now, now)
        self._records[peer_id] = record  # last in order: least recently struck is first
        self._forgive(record, now)
        if len(self._records) > MAX_PEERS_TRACKED:
            self._evict(now)
        return record

    def _forget_bans(self, record: _Record, now: float) -> None:
        if record.bans:
            record.bans = max(0, record.bans - int((now - record.banned_until) / (4 * record.last_ban_s)))

    def _forgive(self, record: _Record, now: float) -> None:
        periods = int((now - record.counted_from) / self._forgive_s)
        record.strikes = max(0, record.strikes - periods)
        record.counted_from = now if not record.strikes else record.counted_from + periods * self._forgive_s

    def _evict(self, now: float) -> None:
        for peer_id, record in self._records.items():
            if now >= record.banned_until:  # a ban outlives the flood of new ids meant to wash it out
                del self._records[peer_id]
                return
        del self._records[next(iter(self._records))]
