"""What a prover's configuration makes it prove with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.commands.doctor import backend_findings
from node.config import NodeConfig, ProverSection
from node.errors import ConfigError
from node.machine import families_of, machine_of
from protocol.load import lockset_family_hash
from protocol.types import Address, Hash32
from proving.backends import Backend, choose, prover
from proving.errors import BackendUnavailable
from proving.groth16 import prove

GROTH16, OTHER = Address(b"\x16" * 20), Address(b"\x0a" * 20)
FAMILY = "fa" * 32
COMMAND = ProverSection(backend="command", command=("/bin/true", "-x"), family=FAMILY, disk_mib=7, job_files=9)


def has_cuda() -> bool:
    """Whether this machine would prove on a device."""
    return choose("auto").backend is Backend.CUDA


def configured(section: ProverSection) -> NodeConfig:
    return NodeConfig(role="prover", prover=section)


def test_a_command_proves_for_the_family_and_system_that_it_is_configured_for() -> None:
    machine, family = machine_of(configured(COMMAND), 1, GROTH16)
    elsewhere, _ = machine_of(configured(replace(COMMAND, proof_system="0x" + OTHER.hex())), 1, GROTH16)

    assert (machine.backend, machine.command) == (Backend.COMMAND, ("/bin/true", "-x"))
    assert (machine.disk_mib, machine.files) == (7, 9)
    assert family == bytes.fromhex(FAMILY)
    assert machine.proof_system == GROTH16
    assert elsewhere.proof_system == OTHER
    assert lockset_family_hash([(Hash32(family),)] * 8) in families_of(family)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"command": ()}, "prover.command"),
        ({"family": ""}, "prover.family"),
        ({"family": "fa" * 31}, "prover.family"),
        ({"family": "xy" * 32}, "prover.family"),
        ({"proof_system": "0x12"}, "prover.proof_system"),
    ],
)
def test_a_command_without_its_parts_stops_the_node(changes: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        machine_of(configured(replace(COMMAND, **changes)), 1, GROTH16)  # type: ignore[arg-type]


def test_without_a_device_auto_takes_the_cpu_and_says_why_and_cuda_by_name_is_refused() -> None:
    if has_cuda():
        pytest.skip("this machine has a CUDA device")
    chosen = choose("auto")

    assert chosen.backend is Backend.CPU
    assert chosen.reason.startswith("PRV-")
    assert prover(chosen.backend) is prove
    with pytest.raises(BackendUnavailable, match="PRV-056: groth16-cuda: "):
        choose("groth16-cuda")


def test_a_command_is_no_prover_of_circuits_and_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError):
        prover(Backend.COMMAND)
    with pytest.raises(ValueError):
        choose("abacus")


@pytest.mark.parametrize(
    ("section", "level", "text"),
    [
        (ProverSection(backend="groth16-cpu"), "ok", "groth16-cpu: configured"),
        (COMMAND, "ok", "command: /bin/true -x"),
        (replace(COMMAND, command=()), "bad", "command: no program ''"),
        (replace(COMMAND, command=("/nonexistent",)), "bad", "command: no program '/nonexistent'"),
        (replace(COMMAND, command=(str(Path(sys.prefix)),)), "bad", "command: no program"),
    ],
)
def test_doctor_shows_the_backend(section: ProverSection, level: str, text: str) -> None:
    (finding,) = backend_findings(section)

    assert finding.level == level
    assert finding.text.startswith(text)
