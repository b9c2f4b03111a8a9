"""The command line beside snarkjs, as a user types both: key, proof and verdict pass from one to the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol.hashing import selector
from protocol.vm.programs import program
from proving.circuit.table_vm import circuit_for
from proving.keys import cached_dev_key
from proving.r1cs import write_r1cs
from proving.wtns import write_wtns
from tests.support.circuits import witness_of
from tests.support.stories import Story, state_of
from tests.support.tools import ROOT, snarkjs
from tests.unit.proving.circuits import random_circuit

pytestmark = pytest.mark.interop

INCREMENT = selector("increment()").to_bytes(4, "big")


def _run(command: list[str], folder: Path, status: int) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def unveto(folder: Path, *arguments: str, status: int = 0) -> Any:
    """Runs a command in the folder; its JSON object."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from node.cli import main; sys.exit(main(sys.argv[1:]))"
    return json.loads(_run([sys.executable, "-c", script, *arguments, "--json"], folder, status))


def theirs(folder: Path, *arguments: str, status: int = 0) -> str:
    """Runs snarkjs in the folder; what it says."""
    return _run([*snarkjs(), *arguments], folder, status)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A circuit and a witness, in the files that circom and snarkjs would leave."""
    circuit = random_circuit(200, 3, seed=7)
    (tmp_path / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    (tmp_path / "c.wtns").write_bytes(write_wtns(circuit.witness()))
    return tmp_path


def test_a_users_round_through_both_programs(folder: Path) -> None:
    """Our key and proof are good for snarkjs, its proof with our key is good for us, and both refuse other inputs."""
    made = unveto(folder, "setup", "dev", "--r1cs", "c.r1cs", "--zkey", "c.zkey", "--vkey", "vk.json")
    proved = unveto(folder, "prove", "c.zkey", "c.wtns", "proof.json", "public.json")

    assert made["dev_key"]
    assert "not for production" in made["warning"]
    assert json.loads((folder / "public.json").read_text()) == proved["public"]
    assert "OK!" in theirs(folder, "groth16", "verify", "vk.json", "public.json", "proof.json")
    theirs(folder, "groth16", "prove", "c.zkey", "c.wtns", "proof2.json", "public2.json")
    assert unveto(folder, "verify", "vk.json", "public2.json", "proof2.json") == {"valid": True}

    wrong = [str(int(proved["public"][0]) ^ 1), *proved["public"][1:]]
    (folder / "wrong.json").write_text(json.dumps(wrong))
    assert "Invalid proof" in theirs(folder, "groth16", "verify", "vk.json", "wrong.json", "proof.json", status=1)
    refused = unveto(folder, "verify", "vk.json", "wrong.json", "proof.json", status=1)
    assert refused["error"]["code"] == "PRV-035"


def test_snarkjs_verifies_a_proof_of_the_table_vm(tmp_path: Path) -> None:
    """Tier S with the cached developer key: a counter's entry, proven from the command line."""
    zkey = cached_dev_key(circuit_for(0).r1cs_bytes)
    story = Story(state_of(program("counter")))
    story.call(INCREMENT)
    (tmp_path / "s.wtns").write_bytes(witness_of(story).wtns)

    made = unveto(tmp_path, "setup", "dev", "--tier", "S", "--vkey", "vk.json")
    proved = unveto(tmp_path, "prove", made["zkey"], "s.wtns", "proof.json", "public.json", "--threads", "2")

    assert Path(made["zkey"]) == zkey
    assert proved["public"] == [str(value) for value in witness_of(story).public]
    assert "OK!" in theirs(tmp_path, "groth16", "verify", "vk.json", "public.json", "proof.json")
    proof = json.loads((tmp_path / "proof.json").read_text())
    proof["pi_a"], proof["pi_c"] = proof["pi_c"], proof["pi_a"]
    (tmp_path / "wrong.json").write_text(json.dumps(proof))
    assert "Invalid proof" in theirs(tmp_path, "groth16", "verify", "vk.json", "public.json", "wrong.json", status=1)
