"""Which slots are ours: from a fixed schedule, or from any beacon node's REST API (SPEC §9.6).

A beacon node is asked for three things: the genesis time, the length of slots and epochs, and
GET /eth/v1/validator/duties/proposer/{epoch}. It is the operator's own; still, its answers are bounded and parsed
strictly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio
import urllib3

from node.errors import UsageError
from node.ports import Refused, TryAgain

MAX_ANSWER_BYTES: Final = 1 << 20
TIMEOUT_S: Final = 4.0
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_SCHEDULE: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTimes:
    """When slots begin."""

    genesis_ms: int
    """Unix ms at which slot 0 begins."""
    slot_ms: int
    """At least 1."""
    slots_per_epoch: int = 32

    def slot_at(self, now_ms: int) -> int:
        """The slot that lasts at this time; 0 before genesis."""
        return max(0, (now_ms - self.genesis_ms) // self.slot_ms)

    def start_ms(self, slot: int) -> int:
        """When a slot begins, unix ms."""
        return self.genesis_ms + slot * self.slot_ms

    def start_s(self, slot: int) -> int:
        """The time of its block, unix seconds."""
        return self.start_ms(slot) // 1000


class Duties(Protocol):
    """Who proposes."""

    async def times(self) -> SlotTimes:
        """When slots begin. Raises TryAgain."""
        ...

    async def is_ours(self, slot: int) -> bool:
        """Whether we propose in a slot. Raises TryAgain."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDuties:
    """A schedule that somebody wrote down: slots with `slot % period == remainder`."""

    slot_times: SlotTimes
    remainder: int
    period: int
    """0: none."""

    async def times(self) -> SlotTimes:
        """As configured."""
        await trio.lowlevel.checkpoint()
        return self.slot_times

    async def is_ours(self, slot: int) -> bool:
        """By the rule."""
        await trio.lowlevel.checkpoint()
        return self.period > 0 and slot % self.period == self.remainder


def schedule(text: str) -> tuple[int, int]:
    """Remainder and period of `R/P`; empty is no slot at all.

    Raises:
        UsageError.
    """
    if not text:
        return 0, 0
    found = _SCHEDULE.fullmatch(text)
    if found is None or not int(found[1]) < int(found[2]):
        raise UsageError(problem=f"a schedule is R/P with R below P, not {text!r}")
    return int(found[1]), int(found[2])


Fetch = Callable[[str], bytes]
"""`fetch(path)`: body of a GET, at most MAX_ANSWER_BYTES; blocks. Raises TryAgain, Refused."""


class BeaconDuties:
    """A beacon node's answers. Those of an epoch are asked again in each slot: a reorg may change them."""

    def __init__(self, fetch: Fetch, validators: frozenset[int]) -> None:
        """
        Args:
            validators: indices of the validators whose slots are ours.
        """
        self._fetch = fetch
        self._validators = validators
        self._times: SlotTimes | None = None

    async def times(self) -> SlotTimes:
        """Genesis and lengths; asked once.

        Raises:
            TryAgain: it cannot be asked, or does not know.
        """
        if self._times is None:
            genesis = await self._get("/eth/v1/beacon/genesis")
            spec = await self._get("/eth/v1/config/spec")
            in_ms = isinstance(spec, Mapping) and "SLOT_DURATION_MS" in spec
            slot_ms = _number(spec, "SLOT_DURATION_MS") if in_ms else 1000 * _number(spec, "SECONDS_PER_SLOT")
            per_epoch = _number(spec, "SLOTS_PER_EPOCH")
            if not slot_ms or not per_epoch:
                raise TryAgain("BEACON_ANSWER", "slots without length")
            self._times = SlotTimes(
                genesis_ms=1000 * _number(genesis, "genesis_time"), slot_ms=slot_ms, slots_per_epoch=per_epoch
            )
        return self._times

    async def is_ours(self, slot: int) -> bool:
        """Whether one of the validators proposes in the slot."""
        epoch = slot // (await self.times()).slots_per_epoch
        duties = await self._get(f"/eth/v1/validator/duties/proposer/{epoch}")
        if not isinstance(duties, list):
            raise TryAgain("BEACON_ANSWER", "duties are no list")
        return any(
            _number(duty, "slot") == slot and _number(duty, "validator_index") in self._validators for duty in duties
        )

    async def _get(self, path: str) -> Any:
        """`data` of an answer."""
        raw = await trio.to_thread.run_sync(self._fetch, path)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise TryAgain("BEACON_ANSWER", f"{path} is not JSON") from error
        if not isinstance(answer, dict) or "data" not in answer:
            raise TryAgain("BEACON_ANSWER", f"{path} has no data")
        return answer["data"]


def _number(value: Any, name: str) -> int:
    """A decimal number in a string, as the API writes every integer."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, str) or not _NUMBER.fullmatch(found):
        raise TryAgain("BEACON_ANSWER", f"no {name}")
    return int(found)


def beacon_fetch(url: str) -> Fetch:
    """GETs from a beacon node.

    Args:
        url: http or https, without a path.
    """
    pool = urllib3.PoolManager(maxsize=1, block=True, retries=False, timeout=urllib3.Timeout(TIMEOUT_S))

    def fetch(path: str) -> bytes:
        try:
            answer = pool.request(
                "GET", url.rstrip("/") + path, preload_content=False, headers={"Accept": "application/json"}
            )
            try:
                body: bytes = answer.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise TryAgain("BEACON_AWAY", type(error).__name__) from error
        if answer.status != 200:
            raise TryAgain("BEACON_ANSWER", f"status {answer.status} for {path}")
        if len(body) > MAX_ANSWER_BYTES:
            raise Refused("BEACON_ANSWER", f"{path} is larger than {MAX_ANSWER_BYTES} bytes")
        return body

    return fetch
