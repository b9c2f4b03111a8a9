"""A ceremony that passes from this program to snarkjs and back: each verifies and continues what the other made."""

from __future__ import annotations

import hashlib
import resource
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from proving import errors
from proving.ceremony import phase1, phase2
from proving.ceremony.parameters import Beacon
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.phase2_verify import verify_key
from proving.groth16 import prove
from proving.r1cs import write_r1cs
from proving.snark_json import proof_json, public_json, verifying_key_json
from proving.zkey import Zkey, read_zkey
from tests.support.tools import snarkjs
from tests.unit.proving.circuits import Circuit, random_circuit

pytestmark = pytest.mark.interop

POWER = 6
BEACON = Beacon(value=hashlib.sha256(b"a block").digest(), iterations_exponent=10)


@cache
def circuit() -> Circuit:
    return random_circuit(40, 3, seed=9)


@dataclass(frozen=True)
class Shell:
    """A folder in which both programs work."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def js(self, *arguments: str, status: int = 0) -> str:
        """What snarkjs says."""
        command = [*snarkjs(), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The files that both phases start from: contributions of both programs, our beacon, our preparation."""
    shell = Shell(tmp_path_factory.mktemp("ceremony"))
    shell["c.r1cs"].write_bytes(write_r1cs(circuit().r1cs()))
    phase1.new(POWER, shell["0.ptau"])
    phase1.contribute(shell["0.ptau"], shell["1.ptau"], "unveto")
    shell.js("powersoftau", "contribute", "1.ptau", "2.ptau", "--name=snarkjs", "-e=entropy")
    phase1.apply_beacon(shell["2.ptau"], shell["3.ptau"], BEACON, "a block")
    phase1.prepare(shell["3.ptau"], shell["4.ptau"])
    return shell


def test_both_programs_write_the_same_blank_file(shell: Shell) -> None:
    shell.js("powersoftau", "new", "bn128", str(POWER), "theirs0.ptau")

    assert shell["theirs0.ptau"].read_bytes() == shell["0.ptau"].read_bytes()


def test_powers_of_both_verify_with_both(shell: Shell) -> None:
    """After all of it: two contributions, the beacon, the bases."""
    said = shell.js("powersoftau", "verify", "4.ptau")

    assert "Powers of Tau Ok!" in said
    names = [(c.parameters.name, c.is_beacon) for c in verify_ptau(shell["4.ptau"]).contributions]
    assert names == [("unveto", False), ("snarkjs", False), ("a block", True)]


def test_the_beacon_and_the_bases_are_the_same_bytes(shell: Shell) -> None:
    """Apart from what the stored hash state leaves in its unused bytes."""
    exponent = str(BEACON.iterations_exponent)
    shell.js("powersoftau", "beacon", "2.ptau", "theirs3.ptau", BEACON.value.hex(), exponent, "--name=a block")
    shell.js("powersoftau", "prepare", "phase2", "3.ptau", "theirs4.ptau")

    ours, theirs = verify_ptau(shell["3.ptau"]), verify_ptau(shell["theirs3.ptau"])
    assert ours.sections == theirs.sections
    assert ours.contributions[-1].next_challenge == theirs.contributions[-1].next_challenge
    assert ours.contributions[-1].keys == theirs.contributions[-1].keys
    assert shell["theirs4.ptau"].read_bytes() == shell["4.ptau"].read_bytes()


def test_both_refuse_powers_with_two_points_exchanged(shell: Shell) -> None:
    data = bytearray(shell["4.ptau"].read_bytes())
    at = data.index(verify_ptau(shell["4.ptau"]).sections[4][64:128])
    data[at : at + 128] = data[at + 64 : at + 128] + data[at : at + 64]
    shell["bad.ptau"].write_bytes(data)

    with pytest.raises(errors.CeremonyInvalid, match="section 4"):
        verify_ptau(shell["bad.ptau"])
    assert "Powers do not match" in shell.js("powersoftau", "verify", "bad.ptau", status=1)


@pytest.fixture(scope="module")
def keys(shell: Shell) -> Shell:
    """From nothing: ours; then a contribution of snarkjs, one of ours, the beacon."""
    phase2.new_key(shell["c.r1cs"], shell["4.ptau"], shell["0.zkey"])
    shell.js("zkey", "contribute", "0.zkey", "1.zkey", "--name=snarkjs", "-e=entropy")
    phase2.contribute(shell["1.zkey"], shell["2.zkey"], "unveto")
    phase2.apply_beacon(shell["2.zkey"], shell["3.zkey"], BEACON, "a block")
    return shell


def test_the_first_key_is_that_of_snarkjs(keys: Shell) -> None:
    """Every section and the circuit hash; only the order of sections in the file differs."""
    keys.js("groth16", "setup", "c.r1cs", "4.ptau", "theirs0.zkey")

    assert read_zkey(keys["theirs0.zkey"]) == read_zkey(keys["0.zkey"])


def test_a_key_of_both_verifies_with_both_and_proves(keys: Shell) -> None:
    said = keys.js("zkey", "verify", "c.r1cs", "4.ptau", "3.zkey")
    key = verify_key(keys["3.zkey"], keys["c.r1cs"], keys["4.ptau"])
    proof, public = prove(key, circuit().witness())
    keys["proof.json"].write_text(proof_json(proof))
    keys["public.json"].write_text(public_json(public))
    keys["vk.json"].write_text(verifying_key_json(key.verifying_key()))

    assert "ZKey Ok!" in said
    assert [c.name for c in key.contributions] == ["snarkjs", "unveto", "a block"]
    assert all(hash_words(key, i) in said for i in range(3))
    assert "OK!" in keys.js("groth16", "verify", "vk.json", "public.json", "proof.json")


def hash_words(key: Zkey, number: int) -> str:
    """The first line of a contribution's hash as snarkjs prints it."""
    text = phase2.contribution_hash(key.contributions[number]).hex()
    return " ".join(text[at : at + 8] for at in range(0, 32, 8))


def test_the_beacon_key_is_that_of_snarkjs(keys: Shell) -> None:
    exponent = str(BEACON.iterations_exponent)
    keys.js("zkey", "beacon", "2.zkey", "theirs3.zkey", BEACON.value.hex(), exponent, "--name=a block")

    assert read_zkey(keys["theirs3.zkey"]) == read_zkey(keys["3.zkey"])


def test_both_refuse_a_key_with_two_points_exchanged(keys: Shell) -> None:
    data = bytearray(keys["3.zkey"].read_bytes())
    at = data.index(read_zkey(keys["3.zkey"]).h[64:128])
    data[at : at + 128] = data[at + 64 : at + 128] + data[at : at + 64]
    keys["bad.zkey"].write_bytes(data)

    with pytest.raises(errors.CeremonyInvalid, match="section H"):
        verify_key(keys["bad.zkey"], keys["c.r1cs"], keys["4.ptau"])
    assert "H section does not match" in keys.js("zkey", "verify", "c.r1cs", "4.ptau", "bad.zkey", status=1)


@pytest.mark.campaign
@pytest.mark.parametrize("power", [7, 10, 14])
def test_preparing_gives_the_same_bytes_for_less(power: int, tmp_path: Path) -> None:
    """Run: python -m pytest -s -m campaign tests/interop/test_ceremony.py (many minutes at 2^14)."""
    shell = Shell(tmp_path)
    phase1.new(power, shell["0.ptau"])
    phase1.contribute(shell["0.ptau"], shell["1.ptau"])
    ours = cpu_seconds(resource.RUSAGE_SELF)
    phase1.prepare(shell["1.ptau"], shell["2.ptau"])
    ours = cpu_seconds(resource.RUSAGE_SELF) - ours
    theirs = cpu_seconds(resource.RUSAGE_CHILDREN)
    command = [*snarkjs(), "powersoftau", "prepare", "phase2", "1.ptau", "3.ptau"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    theirs = cpu_seconds(resource.RUSAGE_CHILDREN) - theirs

    print(f"\n2^{power}: {ours:.2f} CPU-seconds here, {theirs:.2f} with snarkjs, {theirs / ours:.0f} times as many")
    assert shell["2.ptau"].read_bytes() == shell["3.ptau"].read_bytes()


def cpu_seconds(who: int) -> float:
    """User and system time, of this process or of its ended children."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
