"""What a self-building proposer is made of, from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from node.config import ProposerSection
from node.duties import BeaconDuties, Duties, FixedDuties, SlotTimes, beacon_fetch, schedule
from node.errors import ConfigError
from node.execution import RpcExecutionClient
from node.l1 import Contracts
from node.ports import Clock
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
