"""Circuits of circomlib, compiled by circom: set up by this program or by snarkjs, proven here, and verified by both
and by the contract that snarkjs writes, on a chain in this process."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.chain.evm import Call
from protocol.hashing import keccak256
from proving import errors
from proving.ceremony import phase1, phase2
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.phase2_verify import verify_key
from proving.groth16 import Proof, prove, setup_dev, verify
from proving.points import public_bytes
from proving.r1cs import check, read_r1cs
from proving.snark_json import proof_json, public_json, verifying_key_json
from proving.wtns import read_wtns
from proving.zkey import Zkey, read_zkey
from tests.support.evmworld import World
from tests.support.tools import node, node_environment, npm_package, snarkjs

pytestmark = pytest.mark.interop

POWER = 10
BELOW_LIMIT = """
pragma circom 2.0.0;
include "circuits/poseidon.circom";
include "circuits/comparators.circom";
template BelowLimit() {
    signal input secret[2];
    signal input limit;
    signal output hash;
    component digest = Poseidon(2);
    digest.inputs[0] <== secret[0];
    digest.inputs[1] <== secret[1];
    hash <== digest.out;
    component less = LessThan(64);
    less.in[0] <== secret[0];
    less.in[1] <== limit;
    less.out === 1;
}
component main {public [limit]} = BelowLimit();
"""
SIGNED = """
pragma circom 2.0.0;
include "circuits/eddsaposeidon.circom";
component main {public [M]} = EdDSAPoseidonVerifier();
"""
DIGEST = """
pragma circom 2.0.0;
include "circuits/sha256/sha256.circom";
component main {public [in]} = Sha256(1024);
"""
SIGN = """
const { buildEddsa } = require("circomlibjs");
buildEddsa().then((eddsa) => {
  const F = eddsa.F, key = Buffer.alloc(32, 7), message = F.e(1234);
  const [x, y] = eddsa.prv2pub(key), signature = eddsa.signPoseidon(key, message);
  const text = (value) => F.toObject(value).toString();
  process.stdout.write(JSON.stringify({
    enabled: "1", Ax: text(x), Ay: text(y), S: signature.S.toString(),
    R8x: text(signature.R8[0]), R8y: text(signature.R8[1]), M: "1234" }));
  process.exit(0);
});
"""
COMPILE = """
const solc = require("solc"), source = require("fs").readFileSync(0, "utf8");
const input = { language: "Solidity", sources: { v: { content: source } },
  settings: { optimizer: { enabled: true }, outputSelection: { "*": { "*": ["evm.bytecode.object"] } } } };
const contract = JSON.parse(solc.compile(JSON.stringify(input))).contracts.v.Groth16Verifier;
process.stdout.write(contract.evm.bytecode.object);
"""


@dataclass(frozen=True)
class Compiled:
    """A circuit's files in a folder: c.r1cs, and the program that computes its witness."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def run(self, *command: str, given: str | None = None, status: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=node_environment(), input=given, capture_output=True, text=True,
            timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def js(self, *arguments: str) -> str:
        """What snarkjs says."""
        return self.run(*snarkjs(), *arguments)

    def witness(self, name: str, inputs: dict[str, object], status: int = 0) -> Path:
        """Written by circom's own program; one that the circuit forbids ends it."""
        self[name + ".json"].write_text(json.dumps(inputs))
        self.run(str(node()), "c_js/generate_witness.js", "c_js/c.wasm", name + ".json", name, status=status)
        return self[name]

    def verified_everywhere(self, key: Zkey, proof: Proof, public: tuple[int, ...]) -> None:
        """By this program, by snarkjs, and by its contract; and refused by all with another public value."""
        vk, other = key.verifying_key(), (public[0] ^ 1, *public[1:])
        self["vk.json"].write_text(verifying_key_json(vk))
        self["proof.json"].write_text(proof_json(proof))
        self["public.json"].write_text(public_json(public))
        self["other.json"].write_text(public_json(other))
        verify(vk, public, proof)
        with pytest.raises(errors.PairingFailed):
            verify(vk, other, proof)
        assert "OK!" in self.js("groth16", "verify", "vk.json", "public.json", "proof.json")
        refusal = self.run(*snarkjs(), "groth16", "verify", "vk.json", "other.json", "proof.json", status=1)
        assert "Invalid proof" in refusal

    def on_chain(self, zkey: str, proof: Proof, public: tuple[int, ...]) -> list[bool]:
        """What the contract of a key says to a proof: with its public values, and with another first one."""
        self.js("zkey", "export", "solidityverifier", zkey, "v.sol")
        code = self.run(str(node()), "-e", COMPILE, given=self["v.sol"].read_text())
        world = World()
        deployed = world.run(Call(sender=world.account("deployer"), to=None, data=bytes.fromhex(code)))
        assert deployed.created is not None
        selector = keccak256(f"verifyProof(uint256[2],uint256[2][2],uint256[2],uint256[{len(public)}])".encode())[:4]
        answers = []
        for values in (public, (public[0] ^ 1, *public[1:])):
            data = selector + proof.to_bytes() + public_bytes(values)
            outcome = world.try_out(Call(sender=world.account("anybody"), to=deployed.created, data=data))
            assert outcome.succeeded
            answers.append(int.from_bytes(outcome.output, "big") == 1)
        return answers


def compiled(folder: Path, source: str) -> Compiled:
    # circom2 sees only the folder it is started in.
    shutil.copytree(npm_package("circomlib") / "circuits", folder / "circuits")
    circuit = Compiled(folder)
    circuit["c.circom"].write_text(source)
    circuit.run(str(node()), str(npm_package("circom2") / "cli.js"), "c.circom", "--r1cs", "--wasm", "--O1")
    return circuit


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The circuit, a witness, and powers of tau for it that only this program worked on."""
    circuit = compiled(tmp_path_factory.mktemp("below"), BELOW_LIMIT)
    circuit.witness("good.wtns", {"secret": ["41", "5"], "limit": "42"})
    phase1.new(POWER, circuit["0.ptau"])
    phase1.contribute(circuit["0.ptau"], circuit["1.ptau"], "one")
    phase1.prepare(circuit["1.ptau"], circuit["2.ptau"])
    return circuit


def test_the_powers_for_it_verify_with_snarkjs(below: Compiled) -> None:
    verify_ptau(below["2.ptau"])

    assert "Powers of Tau Ok!" in below.js("powersoftau", "verify", "2.ptau")


def test_a_key_of_ours_proves_it(below: Compiled) -> None:
    phase2.new_key(below["c.r1cs"], below["2.ptau"], below["0.zkey"])
    phase2.contribute(below["0.zkey"], below["1.zkey"], "one")
    key = verify_key(below["1.zkey"], below["c.r1cs"], below["2.ptau"])

    proof, public = prove(key, below["good.wtns"])

    assert key.domain == 1 << POWER
    assert public[1] == 42
    below.verified_everywhere(key, proof, public)
    assert below.on_chain("1.zkey", proof, public) == [True, False]


def test_a_key_of_snarkjs_proves_it(below: Compiled) -> None:
    """And is the one that this program makes, before anybody contributed."""
    below.js("groth16", "setup", "c.r1cs", "2.ptau", "theirs0.zkey")
    below.js("zkey", "contribute", "theirs0.zkey", "theirs1.zkey", "--name=one", "-e=entropy")
    key = verify_key(below["theirs1.zkey"], below["c.r1cs"], below["2.ptau"])

    proof, public = prove(key, below["good.wtns"])

    assert read_zkey(below["theirs0.zkey"]) == phase2.new_key(below["c.r1cs"], below["2.ptau"], below["ours0.zkey"])
    verify(key.verifying_key(), public, proof)
    assert below.on_chain("theirs1.zkey", proof, public) == [True, False]


def test_a_witness_that_circom_forbids_is_none_here(below: Compiled) -> None:
    """circom stops at it; made by hand from a good one, it breaks a constraint and no proof comes out."""
    below.witness("bad.wtns", {"secret": ["42", "5"], "limit": "42"}, status=1)
    good = read_wtns(below["good.wtns"])
    assert check(read_r1cs(below["c.r1cs"]), good) is None
    good.values[32 * 2] ^= 1  # the limit

    assert check(read_r1cs(below["c.r1cs"]), good) is not None
    with pytest.raises(errors.WitnessUnsatisfied):
        prove(setup_dev(below["c.r1cs"], below["dev.zkey"]), good)


def test_a_signature_circuit_of_2_to_the_13(tmp_path: Path) -> None:
    """EdDSA over Baby Jubjub with Poseidon, under a developer key."""
    circuit = compiled(tmp_path, SIGNED)
    inputs = json.loads(circuit.run(str(node()), "-e", SIGN))
    circuit.witness("good.wtns", inputs)
    circuit.witness("bad.wtns", inputs | {"M": "1235"}, status=1)
    key = setup_dev(circuit["c.r1cs"], circuit["dev.zkey"])

    proof, public = prove(key, circuit["good.wtns"])

    assert key.domain == 1 << 13
    assert public == (1234,)
    circuit.verified_everywhere(key, proof, public)


@pytest.mark.campaign
def test_a_digest_circuit_of_2_to_the_17(tmp_path: Path) -> None:
    """SHA-256 of 128 bytes, each bit a public value, under a developer key."""
    message = bytes(range(128))
    circuit = compiled(tmp_path, DIGEST)
    bits = [byte >> (7 - place) & 1 for byte in message for place in range(8)]
    witness = circuit.witness("good.wtns", {"in": [str(bit) for bit in bits]})
    key = setup_dev(circuit["c.r1cs"], circuit["dev.zkey"])

    proof, public = prove(key, witness)

    assert key.domain == 1 << 17
    digest = hashlib.sha256(message).digest()
    assert list(public) == [byte >> (7 - place) & 1 for byte in digest for place in range(8)] + bits
    circuit.verified_everywhere(key, proof, public)
