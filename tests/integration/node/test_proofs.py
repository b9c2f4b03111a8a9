"""Proving children: whatever becomes of one, its parent learns it and goes on."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import trio

from node.errors import ProofFailed
from node.proofs import ProofRunner
from protocol.payload import encode_witness, make_witness
from protocol.table import encode_core
from protocol.vm.rollup import run_core
from proving.table_job import TableJob
from tests.support.machines import oracle_state, oracle_table


def _job() -> TableJob:
    """The oracle table, with everything that is needed but a key."""
    state = oracle_state()
    core = oracle_table(state)
    return TableJob(
        tier=0,
        rollup_id=1,
        core=encode_core(core).hex(),
        witness=encode_witness(make_witness(state, run_core(state, core, 1).values())).hex(),
        family="11" * 32,
        public_input="22" * 32,
        zkey="/nonexistent",
        threads=1,
        memory_mib=3072,
    )


async def test_a_good_witness_is_checked_and_a_missing_key_is_a_coded_failure() -> None:
    async with ProofRunner(1).start(_job()) as running:
        event = await running.checked()
        assert event["event"] == "checked"
        with pytest.raises(ProofFailed, match="PRV-052: FileNotFoundError"):
            await running.prove()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"core": "00"}, "PRO-01"),
        ({"witness": "00" * 80}, "PRO-01"),
        ({"rollup_id": 7}, "PRO-011"),
        ({"tier": 9}, "PRV-052"),
        ({"family": "zz"}, "PRV-052"),
        ({"memory_mib": 64}, "PRV-051|status"),
    ],
)
async def test_a_job_that_cannot_be_done_fails_with_a_reason(changes: dict[str, object], reason: str) -> None:
    async with ProofRunner(1).start(replace(_job(), **changes)) as running:  # type: ignore[arg-type]
        with pytest.raises(ProofFailed, match=reason):
            await running.checked()


async def test_a_killed_child_ends_one_job_only() -> None:
    runner = ProofRunner(1)
    async with runner.slot(), runner.start(_job()) as running:
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(ProofFailed, match="status -9"):
            await running.checked()
    async with runner.slot(), runner.start(_job()) as running:
        await running.checked()


async def test_leaving_the_block_ends_the_child_and_frees_its_slot() -> None:
    runner = ProofRunner(1)
    with trio.CancelScope() as scope:
        async with runner.slot(), runner.start(_job()) as running:
            pid = running.pid
            assert runner.free == 0
            scope.cancel()
            await running.checked()

    assert runner.free == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
