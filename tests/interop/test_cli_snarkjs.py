"""The command line beside snarkjs, as a user types both: key, proof and verdict pass from one to the other."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.cli import main
from protocol.hashing import selector
from protocol.vm.programs import program
from proving.circuit.tiers import SHAPE_S
from proving.r1cs import write_r1cs
from proving.wtns import write_wtns
from tests.support.circuits import witness_of
from tests.support.stories import Story, state_of
from tests.support.tools import snarkjs
from tests.unit.proving.circuits import random_circuit

pytestmark = pytest.mark.interop

INCREMENT = selector("increment()").to_bytes(4, "big")


@dataclass(frozen=True)
class Shell:
    """A user in a folder. `unveto` runs in this process: the table VM's circuit is then compiled once."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def unveto(self, *arguments: str, status: int = 0) -> Any:
        """The JSON object that a command prints."""
        self.capsys.readouterr()
        assert main([*arguments, "--json"]) == status
        return json.loads(self.capsys.readouterr().out)

    def snarkjs(self, *arguments: str, status: int = 0) -> str:
        """What it says."""
        command = [*snarkjs(), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def test_a_users_round_through_both_programs(shell: Shell) -> None:
    """Our key and proof are good for snarkjs, its proof with our key is good for us, and both refuse other inputs."""
    circuit = random_circuit(200, 3, seed=7)
    (shell.folder / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    (shell.folder / "c.wtns").write_bytes(write_wtns(circuit.witness()))

    made = shell.unveto("setup", "dev", "--r1cs", "c.r1cs", "--zkey", "c.zkey", "--vkey", "vk.json")
    proved = shell.unveto("prove", "c.zkey", "c.wtns", "proof.json", "public.json")

    assert made["dev_key"]
    assert "not for production" in made["warning"]
    assert json.loads((shell.folder / "public.json").read_text()) == proved["public"]
    assert "OK!" in shell.snarkjs("groth16", "verify", "vk.json", "public.json", "proof.json")
    shell.snarkjs("groth16", "prove", "c.zkey", "c.wtns", "proof2.json", "public2.json")
    assert shell.unveto("verify", "vk.json", "public2.json", "proof2.json") == {"valid": True}

    wrong = [str(int(proved["public"][0]) ^ 1), *proved["public"][1:]]
    (shell.folder / "wrong.json").write_text(json.dumps(wrong))
    assert "Invalid proof" in shell.snarkjs("groth16", "verify", "vk.json", "wrong.json", "proof.json", status=1)
    refused = shell.unveto("verify", "vk.json", "wrong.json", "proof.json", status=1)
    assert refused["error"]["code"] == "PRV-035"


def test_snarkjs_verifies_a_proof_of_the_table_vm(shell: Shell) -> None:
    """Tier S with the cached developer key: a counter's entry, proven from the command line."""
    story = Story(state_of(program("counter")))
    story.call(INCREMENT)
    witness = witness_of(story, SHAPE_S)
    (shell.folder / "s.wtns").write_bytes(witness.wtns)

    made = shell.unveto("setup", "dev", "--tier", "S", "--vkey", "vk.json")
    proved = shell.unveto("prove", made["zkey"], "s.wtns", "proof.json", "public.json", "--threads", "2")

    assert proved["public"] == [str(value) for value in witness.public]
    assert "OK!" in shell.snarkjs("groth16", "verify", "vk.json", "public.json", "proof.json")
    proof = json.loads((shell.folder / "proof.json").read_text())
    proof["pi_a"], proof["pi_c"] = proof["pi_c"], proof["pi_a"]
    (shell.folder / "wrong.json").write_text(json.dumps(proof))
    assert "Invalid proof" in shell.snarkjs("groth16", "verify", "vk.json", "public.json", "wrong.json", status=1)
