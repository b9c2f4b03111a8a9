"""What a self-building proposer is made of, and what a requester knows of such proposers, from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from node.config import ProposerSection, RequesterSection
from node.duties import BeaconDuties, Duties, FixedDuties, SlotTimes, beacon_fetch, schedule
from node.errors import ConfigError
from node.execution import RpcExecutionClient
from node.l1 import Contracts
from node.ports import Clock
from node.ready import Proposer
from node.readychain import L1ReadyChain
from node.readypool import ReadyKeeper
from node.verifying import ProofVerifier
from protocol.types import Address

T = TypeVar("T")


async def in_worker(function: Callable[[], T]) -> T:
    """Runs a computation beside the loop."""
    return await trio.to_thread.run_sync(function)


def ready_keeper(contracts: Contracts, proof_system: Address, clock: Clock) -> ReadyKeeper:
    """An empty pool on a chain."""
    verifier = ProofVerifier(contracts=contracts, proof_system=proof_system)
    return ReadyKeeper(
        chain=L1ReadyChain(contracts=contracts, verifier=verifier),
        clock=clock,
        compute=in_worker,
        chain_id=contracts.chain_id,
        rollups=contracts.rollups,
    )


def execution_client(section: ProposerSection, rpc: Rpc) -> RpcExecutionClient:
    """The proposer's own client; the one that everything else is read from, unless another is named."""
    return RpcExecutionClient(rpc=Rpc(HttpTransport(section.execution_url)) if section.execution_url else rpc)


def duties_of(section: ProposerSection) -> Duties | None:
    """Whose slots are ours; None if there are none.

    Raises:
        ConfigError: a slot without length.
        UsageError: the schedule cannot be read.
    """
    if section.beacon_url:
        return BeaconDuties(beacon_fetch(section.beacon_url), frozenset(section.validators))
    remainder, period = schedule(section.schedule)
    if not period:
        return None
    if not section.slot_ms:
        raise ConfigError(where="proposer.slot_ms", problem="must be 1 or more")
    times = SlotTimes(genesis_ms=section.genesis_s * 1000, slot_ms=section.slot_ms)
    return FixedDuties(slot_times=times, remainder=remainder, period=period)


def recipients_of(section: RequesterSection, slot_ms: int) -> tuple[tuple[bytes, ...], tuple[Proposer, ...]]:
    """Who gets ready tables at once, and who before its slots.

    Raises:
        ConfigError: an entry is neither.
        UsageError: a schedule cannot be read.
    """
    at_once: list[bytes] = []
    by_slot: list[Proposer] = []
    for place, text in enumerate(section.sidecars):
        where = f"requester.sidecars[{place}]"
        name, _, when = text.partition("@")
        try:
            key = bytes.fromhex(name)
        except ValueError as error:
            raise ConfigError(where=where, problem="not a hexadecimal key") from error
        if len(key) != 32:
            raise ConfigError(where=where, problem="a key has 32 bytes")
        if "@" not in text:
            at_once.append(key)
        elif when.startswith("v") and when[1:].isascii() and when[1:].isdigit():
            if not section.beacon_url:
                raise ConfigError(where=where, problem="a validator's slots need requester.beacon_url")
            duties: Duties = BeaconDuties(beacon_fetch(section.beacon_url), frozenset({int(when[1:])}))
            by_slot.append(Proposer(key=key, duties=duties))
        else:
            remainder, period = schedule(when)
            if not period or not slot_ms:
                raise ConfigError(where=where, problem="no slots")
            times = SlotTimes(genesis_ms=section.genesis_s * 1000, slot_ms=slot_ms)
            by_slot.append(Proposer(key=key, duties=FixedDuties(slot_times=times, remainder=remainder, period=period)))
    return tuple(at_once), tuple(by_slot)
