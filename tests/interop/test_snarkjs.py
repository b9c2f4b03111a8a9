"""snarkjs accepts what this prover makes, and this prover accepts what snarkjs makes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proving import errors
from proving.bn254 import R
from proving.groth16 import prove, setup_dev, verify
from proving.native import DEFAULT_OPTIONS, load, view, writable
from proving.r1cs import write_r1cs
from proving.sections import read_sections
from proving.setup_dev import hash_uncontributed
from proving.snark_json import (
    proof_json,
    public_json,
    read_proof_json,
    read_public_json,
    read_verifying_key_json,
    verifying_key_json,
)
from proving.wtns import Witness, write_wtns
from proving.zkey import Zkey, points_to_evm, read_zkey
from tests.support.tools import snarkjs
from tests.unit.proving.circuits import Circuit, random_circuit, square_and_product

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Case:
    """Files of one circuit in one folder, all made by this prover."""

    folder: Path
    circuit: Circuit
    key: Zkey

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Runs snarkjs in the folder; its output without colours."""
        done = subprocess.run(
            [*snarkjs(), *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["by hand", "random"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("snarkjs")
    circuit = square_and_product() if request.param == "by hand" else random_circuit(1000, 3, seed=1)
    (folder / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    (folder / "c.wtns").write_bytes(write_wtns(circuit.witness()))
    key = setup_dev(folder / "c.r1cs", folder / "c.zkey")
    proof, public = prove(folder / "c.zkey", folder / "c.wtns")
    (folder / "proof.json").write_text(proof_json(proof))
    (folder / "public.json").write_text(public_json(public))
    (folder / "vk.json").write_text(verifying_key_json(key.verifying_key()))
    yield Case(folder, circuit, key)


def test_snarkjs_verifies_our_proof_under_our_key(case: Case) -> None:
    assert "OK!" in case.run("groth16", "verify", "vk.json", "public.json", "proof.json")


def test_snarkjs_exports_the_verifying_key_that_we_write(case: Case) -> None:
    """Byte for byte, the precomputed pairing included."""
    case.run("zkey", "export", "verificationkey", "c.zkey", "exported.json")

    assert (case.folder / "exported.json").read_text() == (case.folder / "vk.json").read_text()


def test_we_verify_the_proof_that_snarkjs_makes_with_our_key(case: Case) -> None:
    case.run("groth16", "prove", "c.zkey", "c.wtns", "theirs.json", "their_public.json")
    proof, public = read_proof_json(case.folder / "theirs.json"), read_public_json(case.folder / "their_public.json")
    vk = case.key.verifying_key()

    verify(vk, public, proof)
    assert public == case.circuit.witness().public(case.circuit.n_public)
    assert (case.folder / "theirs.json").read_text() == proof_json(proof)
    with pytest.raises(errors.PairingFailed):
        verify(vk, (public[0] ^ 1, *public[1:]), proof)


def test_snarkjs_reads_our_constraints_and_witness(case: Case) -> None:
    assert "WITNESS IS CORRECT" in case.run("wtns", "check", "c.r1cs", "c.wtns")
    info = case.run("r1cs", "info", "c.r1cs")
    assert f"# of Constraints: {len(case.circuit.rows)}" in info
    assert f"# of Wires: {len(case.circuit.values)}" in info


def test_snarkjs_refuses_what_we_refuse(tmp_path: Path) -> None:
    """A proof for other inputs, and a witness that breaks a constraint."""
    circuit = square_and_product()
    key = setup_dev(circuit.r1cs(), tmp_path / "c.zkey")
    case = Case(tmp_path, circuit, key)
    proof, _ = prove(key, circuit.witness())
    (tmp_path / "proof.json").write_text(proof_json(proof))
    (tmp_path / "public.json").write_text(public_json((48,)))
    (tmp_path / "vk.json").write_text(verifying_key_json(key.verifying_key()))
    (tmp_path / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    (tmp_path / "bad.wtns").write_bytes(write_wtns(Witness.from_ints([1, 49, 7, 3, 79])))

    assert "Invalid proof" in case.run("groth16", "verify", "vk.json", "public.json", "proof.json", expect=1)
    assert "WITNESS IS CORRECT" not in case.run("wtns", "check", "c.r1cs", "bad.wtns", expect=1)


def test_a_ceremony_key_of_snarkjs_proves_here_and_has_the_circuit_hash_that_we_compute(tmp_path: Path) -> None:
    """tau from snarkjs, two contributions, no secret known here; our hash over the uncontributed key is theirs."""
    circuit = square_and_product()
    case = Case(tmp_path, circuit, setup_dev(circuit.r1cs(), tmp_path / "ours.zkey"))
    (tmp_path / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    case.run("powersoftau", "new", "bn128", "3", "0.ptau")
    case.run("powersoftau", "contribute", "0.ptau", "1.ptau", "--name=a", "-e=some entropy")
    case.run("powersoftau", "prepare", "phase2", "1.ptau", "2.ptau")
    case.run("groth16", "setup", "c.r1cs", "2.ptau", "0.zkey")
    case.run("zkey", "contribute", "0.zkey", "1.zkey", "--name=somebody", "-e=more entropy")

    initial, key = read_zkey(tmp_path / "0.zkey"), read_zkey(tmp_path / "1.zkey")
    tau_g1 = read_sections(memoryview((tmp_path / "2.ptau").read_bytes()), b"ptau", 1, errors.MalformedInput)[2]

    assert hash_uncontributed(initial, initial.l, h_points(tau_g1, key.domain)) == key.circuit_hash
    assert [c.name for c in key.contributions] == ["somebody"]
    assert not key.is_dev_key
    assert key.coefficients == case.key.coefficients
    proof, public = prove(key, circuit.witness())
    verify(key.verifying_key(), public, proof)
    case.run("zkey", "export", "verificationkey", "1.zkey", "vk.json")
    assert read_verifying_key_json(tmp_path / "vk.json") == key.verifying_key()
    assert json.loads((tmp_path / "vk.json").read_text()) == json.loads(verifying_key_json(key.verifying_key()))
    with pytest.raises(errors.PairingFailed):
        verify(case.key.verifying_key(), public, proof)


def h_points(tau_g1: memoryview, domain: int) -> bytes:
    """tau^i (tau^domain - 1) in zkey encoding, from the powers of tau in a ptau file."""
    out = bytearray()
    for i in range(domain - 1):
        pair = points_to_evm(1, tau_g1[64 * (i + domain) :][:64]) + points_to_evm(1, tau_g1[64 * i :][:64])
        difference = bytearray(64)
        scalars = (1).to_bytes(32, "little") + (R - 1).to_bytes(32, "little")
        load().call("probe_msm", DEFAULT_OPTIONS, 1, view(pair), view(scalars), writable(difference))
        point = bytearray(64)
        load().call("points_evm_to_zkey", DEFAULT_OPTIONS, 1, view(difference), writable(point))
        out += point
    return bytes(out)
