"""A prover's conditions: what its configuration and its calibration say, as the market's numbers.

Prices, overrides and calibration are read again while the node runs; everything else waits for its next start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from market.pricing import Curve, PriceRule, ProofCost
from node.bidding import Offer
from node.calibration import FILE_NAME, Calibration, load_calibration
from node.config import NodeConfig, OverrideSection, ProverSection, load_config
from node.errors import CalibrationError, ConfigError
from node.l1 import address_from_text
from node.ports import Clock
from protocol.statement import TIERS
from protocol.types import Address

log = logging.getLogger("unveto.conditions")

LIVE_KEYS: Final = frozenset(
    {
        "wei_per_step",
        "wei_per_proof",
        "wei_per_second",
        "margin_permille",
        "ms_per_proof",
        "overhead_ms",
        "max_size_log2",
        "gas_floor_wei",
        "bid_delay_ms",
        "overrides",
    }
)
"""Keys of `[prover]` that a running node takes over."""
LOOK_MS: Final = 2_000


def calibration_of(config: NodeConfig, backend: str) -> Calibration | None:
    """What was measured with this backend and these threads; None otherwise, with a line in the log."""
    try:
        found = load_calibration(config.path(""))
    except CalibrationError as error:
        log.warning("%s; prices use prover.ms_per_proof", error)
        return None
    if found is not None and not found.fits(backend, config.prover.threads):
        log.warning("the calibration is of %s with %s threads; measure again", found.backend, found.threads)
        return None
    return found


def offer_of(config: NodeConfig, calibration: Calibration | None, *, tiers: Iterable[int], account: Address) -> Offer:
    """The conditions.

    Args:
        tiers: that are offered; those without a measurement cost what the configuration says.
        account: who is paid unless the configuration says otherwise.

    Raises:
        ConfigError: an override names no account or no tier; there is no ticket.
    """
    section = config.prover
    if not section.tickets:
        raise ConfigError(where="prover.tickets", problem="a prover needs a bond ticket")
    unmeasured = ProofCost(prove_ms=section.ms_per_proof, memory_mib=section.memory_mib)
    measured = {} if calibration is None else calibration.costs
    return Offer(
        curve=Curve(
            wei_per_step=section.wei_per_step,
            wei_per_proof=section.wei_per_proof,
            wei_per_second=section.wei_per_second,
            floor_wei=section.gas_floor_wei,
            margin_permille=section.margin_permille,
            overhead_ms=section.overhead_ms,
            costs={tier: measured.get(tier, unmeasured) for tier in tiers},
            rules=tuple(_rule(place, each) for place, each in enumerate(section.overrides)),
        ),
        payee=address_from_text(section.payee) if section.payee else account,
        tickets=section.tickets,
        collect_wei=section.gas_floor_wei,
        bid_delay_ms=section.bid_delay_ms,
    )


def about_offer(offer: Offer) -> dict[str, object]:
    """What a node's status says of its conditions."""
    names = {tier.number: tier.name for tier in TIERS}
    return {
        "tickets": list(offer.tickets),
        "payee": "0x" + offer.payee.hex(),
        "floor_wei": str(offer.curve.floor_wei),
        "margin_permille": offer.curve.margin_permille,
        "rules": len(offer.curve.rules),
        "tiers": {
            names[number]: {"prove_ms": cost.prove_ms, "memory_mib": cost.memory_mib}
            for number, cost in sorted(offer.curve.costs.items())
        },
    }


def _rule(place: int, override: OverrideSection) -> PriceRule:
    where = f"prover.overrides[{place}]"
    tiers = {tier.name: tier.number for tier in TIERS}
    if override.tier and override.tier not in tiers:
        raise ConfigError(where=f"{where}.tier", problem=f"must be one of {', '.join(tiers)}")
    requester = b""
    if override.requester:
        try:
            requester = address_from_text(override.requester)
        except ValueError as error:
            raise ConfigError(where=f"{where}.requester", problem="must be an account") from error
        if len(requester) != 20:
            raise ConfigError(where=f"{where}.requester", problem="must be an account of 40 hex digits")
    return PriceRule(
        requester=requester,
        tier=tiers[override.tier] if override.tier else None,
        price_permille=override.price_permille,
    )


def memory_for_proofs_mib(section: ProverSection) -> int:
    """Host memory that proofs may fill together."""
    if section.memory_total_mib:
        return section.memory_total_mib
    return (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20) * 3 // 4


class ConditionsWatch:
    """Looks at the configuration's file and the calibration's, and hands on what changed."""

    def __init__(self, path: Path, config: NodeConfig, clock: Clock, adopt: Callable[[NodeConfig], None]) -> None:
        """
        Args:
            path: of the configuration.
            config: as it was read at the start.
            adopt: takes the new one, of which only `LIVE_KEYS` differ; raises ConfigError if they are no good.
        """
        self._path = path
        self._config = config
        self._clock = clock
        self._adopt = adopt
        self._seen = self._stamps()

    async def serve(self) -> None:
        """Looks until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_MS)
            self.look()

    def look(self) -> None:
        """Once. A file that cannot be read, or is wrong, changes nothing and is named in the log."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            fresh = load_config(self._path)
            taken = replace(self._config, prover=_live(self._config.prover, fresh.prover))
            self._adopt(taken)
        except ConfigError as error:
            log.warning("conditions stay as they are: %s", error)
            return
        self._config = taken
        log.info("conditions were read again")
        if fresh != taken:
            log.warning("some changes of %s wait for the next start", self._path)

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(path) for path in (self._path, self._config.path(FILE_NAME)))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def _live(old: ProverSection, new: ProverSection) -> ProverSection:
    names = {spec.name for spec in fields(ProverSection)} & LIVE_KEYS
    return replace(old, **{name: getattr(new, name) for name in names})
