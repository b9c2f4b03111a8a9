"""What a prover's configuration makes it prove with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.commands.doctor import backend_findings, key_finding
from node.config import NodeConfig, ProverSection
from node.errors import ConfigError
from node.machine import machine_of, systems_of
from node.ports import Refused
from protocol.load import config_hash, lockset_systems_hash
from protocol.types import Address
from proving.backends import Backend, choose, prover
from proving.errors import BackendUnavailable
from proving.groth16 import prove
from proving.setup_dev import known_secrets, make_key
from proving.zkey import name_parameter, write_zkey
from tests.unit.proving.circuits import square_and_product

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
    alone = config_hash(1, [GROTH16], [family])
    assert lockset_systems_hash([alone] * 8) in systems_of(GROTH16, family)
    assert lockset_systems_hash([alone] * 8) not in systems_of(OTHER, family)


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
    with pytest.raises(BackendUnavailable, match=r"PRV-06\d: groth16-cuda: "):
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


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A developer key, the same key under an honest contributor's name, and a file that is no key."""
    folder = tmp_path_factory.mktemp("keys")
    r1cs = square_and_product().r1cs()
    key = make_key(r1cs, known_secrets(r1cs.circuit_hash()))
    named = replace(key.contributions[0], parameters=name_parameter("somebody"))
    write_zkey(folder / "dev.zkey", key)
    write_zkey(folder / "honest.zkey", replace(key, contributions=(named,)))
    (folder / "none.zkey").write_bytes(b"zkey")
    return {name: folder / f"{name}.zkey" for name in ("dev", "honest", "none")}


def test_a_developer_key_is_refused_on_a_chain_that_is_not_for_development_unless_forced(
    key_files: dict[str, Path],
) -> None:
    section = ProverSection(backend="groth16-cpu", zkey=str(key_files["dev"]))
    for chain_id in (1, 10, 11155111):
        with pytest.raises(ConfigError, match="developer key"):
            machine_of(configured(section), chain_id, GROTH16)
        machine_of(configured(replace(section, allow_dev_key=True)), chain_id, GROTH16)
        machine_of(configured(replace(section, zkey=str(key_files["honest"]))), chain_id, GROTH16)
    machine, _ = machine_of(configured(section), 31337, GROTH16)

    assert machine.zkey == key_files["dev"]


def test_a_key_for_each_tier_of_the_family(key_files: dict[str, Path]) -> None:
    honest, dev = str(key_files["honest"]), str(key_files["dev"])
    section = ProverSection(backend="groth16-cpu", zkey=honest)
    alone, family = machine_of(configured(section), 1, GROTH16)
    machine, larger = machine_of(configured(replace(section, larger_zkeys=(honest,))), 1, GROTH16)

    assert (alone.tiers, machine.tiers) == ((0,), (0, 1))
    assert [str(machine.key_of(tier)) for tier in machine.tiers] == [honest, honest]
    assert family != larger
    for refused in (alone, machine):
        with pytest.raises(Refused, match="TIER"):
            refused.key_of(len(refused.tiers))
    with pytest.raises(ConfigError, match="larger_zkeys"):
        machine_of(configured(replace(section, larger_zkeys=(dev,))), 1, GROTH16)
    with pytest.raises(ConfigError, match="larger_zkeys"):
        machine_of(configured(replace(section, larger_zkeys=("",))), 1, GROTH16)
    with pytest.raises(ConfigError, match="tiers are above S"):
        machine_of(configured(replace(section, larger_zkeys=(honest,) * 4)), 1, GROTH16)


@pytest.mark.parametrize(
    ("file", "chain_id", "is_forced", "level", "says"),
    [
        ("dev", 1, False, "bad", "developer key, whose secrets everybody knows; refused on chain 1"),
        ("dev", 1, True, "note", "developer key, whose secrets everybody knows; used on chain 1"),
        ("dev", 31337, False, "note", "developer key, whose secrets everybody knows; used on chain 31337"),
        ("dev", 0, False, "note", "developer key"),
        ("honest", 1, False, "ok", "honest.zkey"),
        ("none", 1, False, "bad", "PRV-012"),
        ("", 1, False, "bad", "none configured: developer key"),
        ("", 31337, False, "note", "none configured: developer key"),
    ],
)
def test_doctor_names_a_developer_key(
    key_files: dict[str, Path], file: str, chain_id: int, is_forced: bool, level: str, says: str
) -> None:
    section = ProverSection(zkey=str(key_files[file]) if file else "", allow_dev_key=is_forced)
    finding = key_finding(section, chain_id)

    assert finding.level == level
    assert says in finding.text
