"""What a prover refuses before its Ack, because L1 would not pay for it and its bond could be taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.chain.errors import ChainError, ExecutionReverted, RpcUnreachable
from node.chain.rpc import Rpc
from node.jobs import Machine, TableProver
from node.l1 import Contracts, ProofConfig, RollupView
from node.ports import PortError, ProofWork, Refused, SystemClock, TryAgain
from node.proofs import ProofRunner
from protocol.agreement import Agreement
from protocol.load import config_hash, lockset_systems_hash
from protocol.payload import Payload, encode_payload, make_witness, smallest_size_log2
from protocol.table import Core, Entry, Member
from protocol.types import ZERO_ADDRESS, Address, Hash32, RollupId
from protocol.vm.rollup import run_core
from tests.support import wire_samples as samples
from tests.support.cores import OTHER_PROGRAM, call
from tests.support.machines import oracle_state, oracle_table, run

SYSTEM, OWNER = Address(b"\x51" * 20), Address(b"\x0e" * 20)
FAMILY, OTHER_FAMILY = Hash32(b"\xfa" * 32), Hash32(b"\xfb" * 32)
NOW, ACK_BY = 1_800_000_000, 1_800_000_060
STATE = oracle_state()


@dataclass
class _Runner:
    """Notes which rollups are proven for."""

    rollups: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def start(self, job: Any) -> AsyncIterator[None]:
        self.rollups.append(job.rollup_id)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _L1(Contracts):
    views: dict[int, RollupView]
    configs: dict[int, ProofConfig]
    fault: ChainError | None = None

    async def rollup(self, rollup_id: int, tag: Any = "latest") -> RollupView:
        if self.fault is not None:
            raise self.fault
        return self.views[rollup_id]

    async def config(self, rollup_id: int, epoch: int, tag: Any = "latest") -> ProofConfig:
        return self.configs[rollup_id]


async def _head() -> SimpleNamespace:
    return SimpleNamespace(timestamp=NOW)


def _l1(root: int = STATE.root, second: Hash32 = FAMILY, effective_from: int = 0, **view: Any) -> _L1:
    one = RollupView(
        root=root,
        ether_balance=0,
        last_l2_time=0,
        epoch=1,
        owner=ZERO_ADDRESS,
        config_delay=0,
        pending_from=0,
    )
    return _L1(
        rpc=cast(Rpc, SimpleNamespace(head=_head)),
        chain_id=31337,
        rollups=Address(b"\x07" * 20),
        market=Address(b"\x3a" * 20),
        views={1: replace(one, **view), 2: one},
        configs={
            i: ProofConfig(systems=(SYSTEM,), families=(f,), threshold=1, effective_from=effective_from)
            for i, f in ((1, FAMILY), (2, second))
        },
    )


def _two_rollups() -> Core:
    """A table of rollup 1, with a call of another rollup in the same state beside it."""
    core = oracle_table(STATE)
    first = run(STATE, call(destination=OTHER_PROGRAM, value=0))
    trigger = replace(first.trigger, rollup_id=RollupId(2))
    following = replace(first.next_action, source_rollup=RollupId(2))
    beside = Entry(mid=False, new_root=first.new_root, trigger=trigger, next_action=following)
    lockset = (*core.lockset, Member(rollup_id=RollupId(2), pre_root=STATE.root))
    return replace(core, lockset=lockset, entries=(*core.entries, beside))


def _work(core: Core, families: Sequence[Hash32], *, acknowledged: bool = False) -> ProofWork:
    witnesses = tuple(
        (m.rollup_id, make_witness(STATE, run_core(STATE, core, m.rollup_id).values())) for m in core.lockset
    )
    payload = Payload(salt=Hash32(bytes(32)), core=core, witnesses=witnesses)
    size = smallest_size_log2(payload)
    request = samples.request(proof_count=len(witnesses), size_log2=size)
    agreement = Agreement(
        request_id=request.request_id,
        rank=1,
        requester=Address(b"\x11" * 20),
        requester_ticket=0,
        prover=Address(b"\x22" * 20),
        prover_ticket=0,
        payee=Address(b"\x22" * 20),
        price_wei=1,
        bond_wei=1,
        statement_commit=request.statement_commit,
        payload_commit=request.payload_commit,
        systems_hash=lockset_systems_hash([config_hash(1, [SYSTEM], [f]) for f in families]),
        open_from=NOW,
        ack_by=ACK_BY,
        deliver_by=ACK_BY,
        claim_from=ACK_BY,
        claim_by=ACK_BY + 600,
    )
    return ProofWork(
        request=request,
        agreement=agreement,
        agreement_hash=bytes(32),
        payload=encode_payload(payload, size),
        acknowledged=acknowledged,
    )


async def _started(l1: Contracts, work: ProofWork) -> list[int]:
    runner = _Runner()
    machine = Machine(zkey=Path("key"), proof_system=SYSTEM, threads=1, memory_mib=1)
    prover = TableProver(
        contracts=l1, machine=machine, runner=cast(ProofRunner, runner), clock=SystemClock(lambda: NOW)
    )
    async with prover.start(work):
        return runner.rollups


async def test_an_agreement_about_other_configurations_than_the_locksets_is_not_acknowledged() -> None:
    """L1 would refuse the claim with SystemsMismatch, and the Ack would cost the bond; whatever the lockset's size."""
    assert await _started(_l1(), _work(_two_rollups(), [FAMILY, FAMILY])) == [1, 2]
    for agreed in ([FAMILY], [FAMILY] * 3):
        with pytest.raises(Refused, match="STALE"):
            await _started(_l1(), _work(_two_rollups(), agreed))
    # A member that another key proves: our proof of it would be wrong.
    with pytest.raises(Refused, match="STALE"):
        await _started(_l1(second=OTHER_FAMILY), _work(_two_rollups(), [FAMILY, FAMILY]))


@pytest.mark.parametrize(
    ("view", "refused"),
    [
        ({"owner": OWNER, "config_delay": 0}, True),
        ({"owner": OWNER, "config_delay": ACK_BY - NOW}, True),
        ({"owner": OWNER, "config_delay": ACK_BY - NOW + 1}, False),
        ({"pending_from": ACK_BY}, True),
        ({"pending_from": ACK_BY + 1}, False),
    ],
)
async def test_an_owner_cannot_void_an_acknowledged_claim_by_a_new_configuration(
    view: dict[str, Any], refused: bool
) -> None:
    """A configuration that ends before the Ack voids the agreement; one that may is not worked for."""
    work = _work(oracle_table(STATE), [FAMILY])
    if refused:
        with pytest.raises(Refused, match="UNSUPPORTED"):
            await _started(_l1(**view), work)
    else:
        assert await _started(_l1(**view), work) == [1]


async def test_a_configuration_younger_than_the_agreement_is_not_acknowledged() -> None:
    """The claim would be checked against the one before it."""
    work = _work(oracle_table(STATE), [FAMILY])
    assert await _started(_l1(effective_from=NOW), work) == [1]
    with pytest.raises(Refused, match="STALE"):
        await _started(_l1(effective_from=NOW + 1), work)


async def test_a_moved_root_does_not_stop_a_restarted_prover_that_owes_the_proof() -> None:
    """Before the Ack it declines; after it only a proof saves the bond, and a claim asks for no live root."""
    core = oracle_table(STATE)
    with pytest.raises(Refused, match="STALE"):
        await _started(_l1(root=1), _work(core, [FAMILY]))
    assert await _started(_l1(root=1), _work(core, [FAMILY], acknowledged=True)) == [1]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(ExecutionReverted(b"", None), Refused), (RpcUnreachable("http://l1", "away"), TryAgain)],
)
async def test_a_payload_about_a_rollup_that_does_not_exist_is_declined_and_ends_no_node(
    fault: ChainError, kind: type[PortError]
) -> None:
    """L1 reverts when asked about it; that, or an L1 that is away, must reach the loop as what it can handle."""
    with pytest.raises(kind):
        await _started(replace(_l1(), fault=fault), _work(oracle_table(STATE), [FAMILY]))
