"""Proving for the prover's loop (`node.ports.Prover`): one agreement becomes child processes, one per rollup."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from node.errors import ProofDied, ProofFailed
from node.l1 import Contracts, ProofConfig, RollupView
from node.l1port import asked
from node.ports import Clock, ProofWork, Refused
from node.proofs import ProofRunner, RunningProof
from protocol.errors import ProtocolError
from protocol.load import lockset_systems_hash
from protocol.messages import RollupProof
from protocol.payload import Payload, decode_payload, encode_witness
from protocol.table import core_id, encode_core, public_input
from protocol.types import ZERO_ADDRESS, Address, Hash32
from proving.backends import Backend
from proving.circuit.stored import stored_r1cs
from proving.keys import cached_dev_key
from proving.table_job import TableJob

log = logging.getLogger("unveto.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this prover proves with."""

    backend: Backend = Backend.CPU
    zkey: Path
    """Proving key of tier S; for the Groth16 backends."""
    larger_zkeys: tuple[Path | None, ...] = ()
    """Of the tiers above it, in their order; None: the cached developer key."""
    command: tuple[str, ...] = ()
    """Program and first arguments; for the backend `command`."""
    proof_system: Address
    threads: int
    memory_mib: int
    disk_mib: int = 4096
    """Disk that a command may use for one job."""
    files: int = 1024
    """Files that a command may have in its job directory."""

    @property
    def tiers(self) -> tuple[int, ...]:
        """Numbers of the tiers that it has keys of."""
        return tuple(range(1 + len(self.larger_zkeys)))

    def key_of(self, tier: int) -> Path:
        """Path of a tier's key; a developer key is made first where there is none yet, which takes a minute or more.

        Raises:
            Refused: TIER, there is no key of it.
        """
        if tier not in self.tiers:
            raise Refused("TIER", f"no key of tier {tier}")
        path = self.zkey if tier == 0 else self.larger_zkeys[tier - 1]
        return path or cached_dev_key(stored_r1cs(tier), notice=log.info)


class RunningTable:
    """The children of one agreement."""

    def __init__(self, system: Address, children: list[tuple[int, RunningProof]]) -> None:
        self._system = system
        self._children = children

    async def checked(self) -> None:
        """Every witness satisfies the circuit.

        Raises:
            Refused: INVALID; DIED, which says nothing about the witness.
        """
        for _rollup, child in self._children:
            try:
                await child.checked()
            except ProofFailed as error:
                raise Refused(_code(error, "INVALID"), str(error)) from error

    async def prove(self) -> tuple[tuple[RollupProof, ...], int]:
        """All proofs, and the milliseconds of proving.

        Raises:
            Refused: FAILED or DIED.
        """
        proofs, total_ms = [], 0
        for rollup_id, child in self._children:
            try:
                proof, took_ms = await child.prove()
            except ProofFailed as error:
                raise Refused(_code(error, "FAILED"), str(error)) from error
            proofs.append(RollupProof(rollup_id=rollup_id, system=self._system, proof=proof))
            total_ms += took_ms
        return tuple(proofs), total_ms


@dataclass(slots=True, kw_only=True)
class TableProver:
    """Makes the proofs of agreements on this machine."""

    contracts: Contracts
    machine: Machine
    runner: ProofRunner
    clock: Clock

    @property
    def free(self) -> int:
        """How many agreements could be worked on now."""
        return self.runner.free

    @asynccontextmanager
    async def start(self, work: ProofWork) -> AsyncIterator[RunningTable]:
        """Start the children of one agreement; leaving the block ends them.

        Raises:
            Refused: INVALID, STALE, UNSUPPORTED, or L1's own reason, for example that a rollup does not exist.
            TryAgain: L1 cannot be asked.
        """
        payload = _payload(work)
        jobs, configs = [], []
        for place in range(len(payload.witnesses)):
            job, config = await self._job(work, payload, place)
            jobs.append(job)
            configs.append(config.hash)
        # L1 compares the same before it pays, so an Ack under another hash could only ever be slashed.
        if work.agreement.systems_hash != lockset_systems_hash(configs):
            raise Refused("STALE", "the lockset has other configurations than were agreed")
        async with self.runner.slot(), AsyncExitStack() as stack:
            children = [(job.rollup_id, await stack.enter_async_context(self.runner.start(job))) for job in jobs]
            yield RunningTable(self.machine.proof_system, children)

    async def _job(self, work: ProofWork, payload: Payload, place: int) -> tuple[TableJob, ProofConfig]:
        rollup_id, witness = payload.witnesses[place]
        view = await asked(lambda: self.contracts.rollup(rollup_id))
        if not work.acknowledged:
            if view.root != payload.core.lockset[place].pre_root:
                raise Refused("STALE", f"rollup {rollup_id} has moved")
            await self._require_settled(rollup_id, view, work.agreement.ack_by)
        config = await asked(lambda: self.contracts.config(rollup_id, view.epoch))
        if not work.acknowledged and config.effective_from > work.agreement.open_from:
            raise Refused("STALE", f"rollup {rollup_id} has changed its configuration since the agreement opened")
        if self.machine.proof_system not in config.systems or config.threshold != 1:
            raise Refused("UNSUPPORTED", f"rollup {rollup_id} wants other proof systems")
        family = config.families[config.systems.index(self.machine.proof_system)]
        core = encode_core(payload.core)
        inputs = public_input(
            chain_id=self.contracts.chain_id,
            rollups_contract=self.contracts.rollups,
            core=core_id(core),
            rollup_id=rollup_id,
            epoch=view.epoch,
            family=family,
            payee=Address(work.agreement.payee),
            agreement_hash=Hash32(work.agreement_hash),
        )
        job = TableJob(
            backend=self.machine.backend,
            tier=work.request.tier,
            rollup_id=rollup_id,
            core=core.hex(),
            witness=encode_witness(witness).hex(),
            family=family.hex(),
            public_input=inputs.hex(),
            deadline=work.agreement.claim_by,
            zkey=str(await trio.to_thread.run_sync(self.machine.key_of, work.request.tier)),
            command=self.machine.command,
            directory="",  # the runner makes one where it is needed
            threads=self.machine.threads,
            # Until claimBy a proof can still be claimed with; later it is worth nothing.
            wall_s=max(0.0, work.agreement.claim_by - self.clock.now_ms() / 1000),
            memory_mib=self.machine.memory_mib,
            disk_mib=self.machine.disk_mib,
            files=self.machine.files,
        )
        return job, config

    async def _require_settled(self, rollup_id: int, view: RollupView, ack_by: int) -> None:
        """A configuration that ends before the Ack voids the agreement: until ackBy nobody must be able to change it.

        Raises:
            Refused: UNSUPPORTED.
        """
        if 0 < view.pending_from <= ack_by:
            raise Refused("UNSUPPORTED", f"rollup {rollup_id} changes its configuration before ackBy")
        if view.owner == ZERO_ADDRESS:
            return
        now = (await asked(self.contracts.rpc.head)).timestamp
        if now + view.config_delay <= ack_by:
            raise Refused("UNSUPPORTED", f"the owner of rollup {rollup_id} could change its configuration before ackBy")


def _code(error: ProofFailed, said: str) -> str:
    return "DIED" if isinstance(error, ProofDied) else said


def _payload(work: ProofWork) -> Payload:
    try:
        return decode_payload(work.payload)
    except ProtocolError as error:
        raise Refused("INVALID", str(error)) from error
