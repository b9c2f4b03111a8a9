"""What a prover proves with, as configured: backend, key or command, and the family that its proofs belong to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from node.config import NodeConfig, ProverSection
from node.errors import ConfigError
from node.jobs import Machine
from protocol.constants import MAX_LOCKSET
from protocol.load import config_hash, lockset_systems_hash
from protocol.table import family_hash
from protocol.types import Address, Hash32
from proving.backends import Backend, choose
from proving.circuit.stored import stored_r1cs
from proving.circuit.tiers import SHAPES
from proving.keys import cached_dev_key, cached_dev_verifying_key
from proving.points import VerifyingKey
from proving.solidity import vk_hash
from proving.zkey import is_dev_key, read_zkey

log = logging.getLogger("unveto.machine")

DEV_CHAINS: Final = frozenset({31337, 131277322940537})
"""Chain ids of development chains, where developer keys are in order."""


def machine_of(config: NodeConfig, chain_id: int, proof_system: Address) -> tuple[Machine, Hash32]:
    """The machine, and the family hash of its proofs.

    Args:
        proof_system: the Groth16 system; a command may prove for another.

    Raises:
        ConfigError: a developer key on a chain that is no development chain; a command without its parts.
        BackendUnavailable: CUDA was named and does not work here.
    """
    section = config.prover
    chosen = choose(section.backend)
    log.info("backend %s: %s", chosen.backend, chosen.reason)
    if chosen.backend is Backend.COMMAND:
        return _commanded(section, proof_system)
    zkey = _proving_key(section, chain_id)
    machine = _machine(section, chosen.backend, zkey, proof_system)
    return machine, family_hash([vk_hash(key) for key in verifying_keys(machine)])


def verifying_keys(machine: Machine) -> list[VerifyingKey]:
    """Of each tier, in order. That of a developer key that is not made yet follows from its circuit."""
    keys = [read_zkey(machine.zkey).verifying_key()]
    for number, path in enumerate(machine.larger_zkeys, start=1):
        if path is None:
            keys.append(cached_dev_verifying_key(stored_r1cs(number)))
        else:
            keys.append(read_zkey(path).verifying_key())
    return keys


def systems_of(proof_system: Address, family: Hash32) -> frozenset[bytes]:
    """The systemsHashes of all locksets whose every member is proven by this one family of this one system."""
    alone = config_hash(1, [proof_system], [family])
    return frozenset(lockset_systems_hash([alone] * count) for count in range(1, MAX_LOCKSET + 1))


def _machine(section: ProverSection, backend: Backend, zkey: Path, proof_system: Address) -> Machine:
    return Machine(
        backend=backend,
        zkey=zkey,
        larger_zkeys=tuple(Path(name) if name else None for name in section.larger_zkeys),
        command=section.command,
        proof_system=proof_system,
        threads=section.threads,
        memory_mib=section.memory_mib,
        disk_mib=section.disk_mib,
        files=section.job_files,
    )


def _commanded(section: ProverSection, proof_system: Address) -> tuple[Machine, Hash32]:
    if not section.command:
        raise ConfigError(where="prover.command", problem="the backend command needs a program")
    family = _hexadecimal("prover.family", section.family, 32)
    if section.proof_system:
        proof_system = Address(_hexadecimal("prover.proof_system", section.proof_system, 20))
    return _machine(section, Backend.COMMAND, Path(), proof_system), Hash32(family)


def _hexadecimal(where: str, text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != size:
        raise ConfigError(where=where, problem=f"must be {2 * size} hex digits")
    return value


def refuses_dev_keys(section: ProverSection, chain_id: int) -> bool:
    """Whether a node on this chain would not start with a developer key."""
    return chain_id not in DEV_CHAINS and not section.allow_dev_key


def _proving_key(section: ProverSection, chain_id: int) -> Path:
    """Path of the key of tier S.

    Raises:
        ConfigError: it, or one of a larger tier, is a developer key and the chain is no development chain; there are
            more keys than tiers.
    """
    if len(section.larger_zkeys) >= len(SHAPES):
        raise ConfigError(where="prover.larger_zkeys", problem=f"{len(SHAPES) - 1} tiers are above S")
    path = Path(section.zkey) if section.zkey else cached_dev_key(stored_r1cs(0), notice=log.info)
    larger = {"prover.larger_zkeys": any(not name or is_dev_key(Path(name)) for name in section.larger_zkeys)}
    for where, is_known in ({"prover.zkey": is_dev_key(path)} | larger).items():
        if is_known and refuses_dev_keys(section, chain_id):
            raise ConfigError(
                where=where,
                problem=f"a developer key, whose secrets are public, on chain {chain_id} (prover.allow_dev_key "
                "overrides)",
            )
    return path
