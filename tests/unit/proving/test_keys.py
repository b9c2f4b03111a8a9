"""The cache of developer keys, and what the contract is told of a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protocol.hashing import keccak256
from proving import errors
from proving.build import cache_dir
from proving.groth16 import prove, verify
from proving.keys import cached_dev_key, cached_dev_verifying_key, dev_key_path
from proving.points import Proof, VerifyingKey
from proving.solidity import TABLE_PROOF_BYTES, TableProof, vk_bytes, vk_hash
from proving.zkey import read_zkey
from tests.unit.proving.circuits import random_circuit, square_and_product

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "groth16.json").read_text())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path))
    return tmp_path


def test_a_key_is_made_once_and_then_found(cache: Path) -> None:
    notices: list[str] = []
    first = cached_dev_key(square_and_product().r1cs(), notice=notices.append)
    made = first.stat().st_mtime_ns

    again = cached_dev_key(square_and_product().r1cs(), notice=notices.append)

    assert again == first == dev_key_path(square_and_product().r1cs().circuit_hash())
    assert again.stat().st_mtime_ns == made
    assert len(notices) == 1 and "not for production" in notices[0]
    assert cache in first.parents


@pytest.mark.usefixtures("cache")
def test_each_circuit_has_its_own_key() -> None:
    assert cached_dev_key(square_and_product().r1cs()) != cached_dev_key(random_circuit(2, 1, seed=1).r1cs())


def test_the_verifying_half_is_found_without_the_key(cache: Path) -> None:
    """It is that of the key that is made later."""
    for circuit in (square_and_product(), random_circuit(5, 3, seed=1)):
        alone = cached_dev_verifying_key(circuit.r1cs())
        assert not dev_key_path(circuit.r1cs().circuit_hash()).exists()
        made = read_zkey(cached_dev_key(circuit.r1cs())).verifying_key()
        assert alone.to_bytes() == made.to_bytes() == cached_dev_verifying_key(circuit.r1cs()).to_bytes()
    assert len(list((cache / "keys").glob("*.zkey"))) == 2


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("damage", [b"", b"zkey", None], ids=["empty", "cut", "half"])
def test_a_damaged_key_is_made_again(damage: bytes | None) -> None:
    r1cs = square_and_product().r1cs()
    path = cached_dev_key(r1cs)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)

    assert cached_dev_key(r1cs).read_bytes() == whole


@pytest.mark.usefixtures("cache")
def test_the_cached_key_proves() -> None:
    key = read_zkey(cached_dev_key(square_and_product().r1cs()))
    proof, public = prove(key, square_and_product().witness())
    verify(key.verifying_key(), public, proof)

    assert public == (49,)


def test_the_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNVETO_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("UNVETO_CACHE")
    assert cache_dir() == Path("/b/unveto")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("/c/.cache/unveto")


def test_the_contract_is_told_the_key_in_spec_order() -> None:
    vk = VerifyingKey.from_bytes(bytes.fromhex(VECTORS["vk"]))
    words = [
        vk.alpha_g1[0].to_bytes(32, "big"),
        vk.alpha_g1[1].to_bytes(32, "big"),
        vk.beta_g2[0][1].to_bytes(32, "big"),
    ]

    assert vk_bytes(vk).startswith(b"".join(words))
    assert vk_bytes(vk)[448:452] == (2).to_bytes(4, "big")
    assert vk_bytes(vk).endswith(vk.gamma_abc_g1[1][1].to_bytes(32, "big"))
    assert vk_hash(vk) == keccak256(bytes.fromhex(VECTORS["vk"]))


def test_a_table_proof_round_trips_and_other_lengths_are_refused() -> None:
    proof = TableProof(tier=3, h=5, proof=Proof.from_bytes(bytes.fromhex(VECTORS["proof"])))
    data = proof.to_bytes()

    assert len(data) == TABLE_PROOF_BYTES == 289
    assert data[0] == 3 and data[1:33] == (5).to_bytes(32, "big") and data[33:].hex() == VECTORS["proof"]
    assert TableProof.from_bytes(data) == proof
    for bad in (b"", data[:-1], data + b"\0"):
        with pytest.raises(errors.ProofMalformed):
            TableProof.from_bytes(bad)
