"""Measured costs of proofs on this machine: made by `unveto prover calibrate`, read by the prover's bids.

A circuit costs its whole size however little runs in it, so any table measures a tier: a program that returns at once.
The proofs are made as for an order, by the same child process, and verified.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import trio

from market.pricing import ProofCost
from node.errors import CalibrationError, ProofFailed
from node.jobs import Machine
from node.proofs import ProofRunner
from protocol.challenge import challenge, evaluate
from protocol.errors import ProtocolError
from protocol.payload import encode_witness, make_witness
from protocol.statement import TIERS, Tier, words
from protocol.table import Core, encode_core
from protocol.types import Hash32
from protocol.vm.assembler import assemble
from protocol.vm.trial import TRIAL_ROLLUP, trial_core, try_program
from proving.backends import Backend
from proving.errors import ProvingError
from proving.groth16 import verify
from proving.points import VerifyingKey
from proving.solidity import TableProof
from proving.table_job import TableJob

FILE_NAME: Final = "calibration.json"
FORMAT: Final = "unveto calibration 1"
MAX_FILE_BYTES: Final = 1 << 16
MAX_MS: Final = 1 << 32
MAX_MIB: Final = 1 << 24
WALL_S: Final = 3600.0
"""Of one proof; a machine that needs longer is of no use in an auction."""
_TIME: Final = 1
_FAMILY: Final = Hash32(b"\x01" * 32)
_PUBLIC_INPUT: Final = Hash32(b"\x02" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured, and with what: other settings have other costs."""

    backend: str
    threads: int
    costs: Mapping[int, ProofCost]
    """By number of the tier."""

    def fits(self, backend: str, threads: int) -> bool:
        """Whether it was measured with these settings."""
        return (self.backend, self.threads) == (backend, threads)


def load_calibration(folder: Path) -> Calibration | None:
    """The file in a node's folder; None without one.

    Raises:
        CalibrationError: it is not one of ours, or damaged.
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CalibrationError(what=str(path), problem=error.strerror or "unreadable") from error
    try:
        return _parsed(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CalibrationError(what=str(path), problem=f"not a calibration: {error}") from error


def _parsed(raw: bytes) -> Calibration:
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    value = json.loads(raw)
    if value["format"] != FORMAT:
        raise ValueError("another format")
    numbers = {tier.name: tier.number for tier in TIERS}
    costs = {
        numbers[name]: ProofCost(
            prove_ms=_whole(cost["prove_ms"], MAX_MS), memory_mib=_whole(cost["memory_mib"], MAX_MIB)
        )
        for name, cost in value["tiers"].items()
        if name in numbers
    }
    return Calibration(backend=str(value["backend"]), threads=_whole(value["threads"], 1 << 16), costs=costs)


def _whole(value: object, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= limit:
        raise ValueError(f"{value!r} is not a whole number from 1 to {limit}")
    return value


def save_calibration(folder: Path, calibration: Calibration) -> Path:
    """Replaces the file in one step; tiers that were not measured now keep what they had."""
    try:
        before = load_calibration(folder)
    except CalibrationError:
        before = None
    if before is not None and before.fits(calibration.backend, calibration.threads):
        calibration = replace(calibration, costs={**before.costs, **calibration.costs})
    path = folder / FILE_NAME
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(as_json(calibration), indent=1) + "\n")
    os.replace(scratch, path)
    return path


def as_json(calibration: Calibration) -> dict[str, Any]:
    """What the file holds."""
    names = {tier.number: tier.name for tier in TIERS}
    return {
        "format": FORMAT,
        "backend": calibration.backend,
        "threads": calibration.threads,
        "tiers": {
            names[number]: {"prove_ms": cost.prove_ms, "memory_mib": cost.memory_mib}
            for number, cost in sorted(calibration.costs.items())
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The table that is proven."""

    core: Core
    witness: bytes

    @staticmethod
    def make() -> Sample:
        """One call of a program that returns at once."""
        runs = try_program(assemble("RETURN 0"), l2_time=_TIME)
        return Sample(core=trial_core(runs, l2_time=_TIME), witness=encode_witness(make_witness(runs[0].pre, runs)))


async def measure(
    machine: Machine, tier: Tier, key: VerifyingKey | None, runner: ProofRunner, *, runs: int
) -> ProofCost:
    """Proves `runs` times in a row.

    Args:
        key: that of the tier, which every proof must satisfy; None for a command, whose proofs only L1 can judge.

    Returns:
        The median time from starting the process to having the proof, and the largest memory.

    Raises:
        CalibrationError: a proof failed, or is wrong.
    """
    sample = Sample.make()
    times_ms, memory_mib = [], 1
    for _ in range(runs):
        began = time.perf_counter()
        try:
            async with runner.slot(), runner.start(_job(machine, tier, sample)) as running:
                await running.checked()
                proof, _ = await running.prove()
                times_ms.append(round((time.perf_counter() - began) * 1000))
                memory_mib = max(memory_mib, running.peak_mib)
        except ProofFailed as error:
            raise CalibrationError(what=f"of tier {tier.name}", problem=str(error)) from error
        if key is not None:
            await trio.to_thread.run_sync(_require_valid, sample, tier, proof, key)
    return ProofCost(prove_ms=max(1, round(median(times_ms))), memory_mib=memory_mib)


def _require_valid(sample: Sample, tier: Tier, raw: bytes, key: VerifyingKey) -> None:
    try:
        proof = TableProof.from_bytes(raw)
        laid_out = words(sample.core, TRIAL_ROLLUP, tier)
        z = challenge(family=_FAMILY, tier=tier.number, public_input=_PUBLIC_INPUT, words=laid_out, h=proof.h)
        verify(key, (proof.h, z, evaluate(laid_out, z)), proof.proof)
    except (ProvingError, ProtocolError) as error:
        raise CalibrationError(what=f"of tier {tier.name}", problem=f"the proof is wrong: {error}") from error


def _job(machine: Machine, tier: Tier, sample: Sample) -> TableJob:
    return TableJob(
        backend=machine.backend,
        tier=tier.number,
        rollup_id=TRIAL_ROLLUP,
        core=encode_core(sample.core).hex(),
        witness=sample.witness.hex(),
        family=_FAMILY.hex(),
        public_input=_PUBLIC_INPUT.hex(),
        deadline=int(time.time() + WALL_S),
        zkey=str(machine.key_of(tier.number)),
        command=machine.command,
        directory="",
        threads=machine.threads,
        wall_s=WALL_S,
        memory_mib=machine.memory_mib,
        disk_mib=machine.disk_mib,
        files=machine.files,
    )


def is_groth16(machine: Machine) -> bool:
    """Whether proofs can be verified here."""
    return machine.backend is not Backend.COMMAND
