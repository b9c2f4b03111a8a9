"""The JSON forms of snarkjs: exact output, strict input."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from proving import errors
from proving.points import Proof, VerifyingKey
from proving.snark_json import (
    proof_json,
    public_json,
    read_proof_json,
    read_public_json,
    read_verifying_key_json,
    verifying_key_json,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "groth16.json").read_text())
PROOF = Proof.from_bytes(bytes.fromhex(VECTORS["proof"]))
VK = VerifyingKey.from_bytes(bytes.fromhex(VECTORS["vk"]))


@cache
def vk_text() -> str:
    return verifying_key_json(VK)


def test_all_three_documents_round_trip() -> None:
    infinity = Proof(a=(0, 0), b=((0, 0), (0, 0)), c=(0, 0))

    assert read_proof_json(proof_json(PROOF)) == PROOF
    assert read_proof_json(proof_json(infinity)) == infinity
    assert read_public_json(public_json((0, 1, 2**254))) == (0, 1, 2**254)
    assert read_verifying_key_json(vk_text()) == VK


def test_proof_json_has_the_layout_of_snarkjs() -> None:
    head = f'{{\n "pi_a": [\n  "{PROOF.a[0]}",\n  "{PROOF.a[1]}",\n  "1"\n ],\n "pi_b": [\n  [\n'

    assert proof_json(PROOF).startswith(head)
    assert proof_json(PROOF).endswith('\n "protocol": "groth16",\n "curve": "bn128"\n}')


def test_a_verifying_key_without_its_precomputed_pairing_is_read() -> None:
    members = json.loads(vk_text())
    del members["vk_alphabeta_12"]

    assert read_verifying_key_json(json.dumps(members)) == VK


def change(text: str, path: tuple[str | int, ...], value: object) -> str:
    members = json.loads(text)
    place = members
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(members)


BAD_NUMBERS = ["", "-1", "+1", "01", " 1", "1 ", "0x1", "1e3", "1.0", "١", str(1 << 256), "9" * 79, 1, None, ["1"]]


@pytest.mark.parametrize("number", BAD_NUMBERS, ids=repr)
def test_numbers_in_any_other_form_are_refused(number: object) -> None:
    with pytest.raises(errors.ProofMalformed):
        read_proof_json(change(proof_json(PROOF), ("pi_a", 0), number))
    with pytest.raises(errors.PublicMalformed):
        read_public_json(json.dumps([number]))
    with pytest.raises(errors.VerifyingKeyMalformed):
        read_verifying_key_json(change(vk_text(), ("vk_beta_2", 1, 0), number))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pi_a",), ["1", "2"]),
        (("pi_a", 2), "2"),
        (("pi_a", 2), "0"),
        (("pi_b",), [["1", "2"], ["3", "4"]]),
        (("pi_b", 2, 1), "1"),
        (("pi_b", 0), ["1", "2", "3"]),
        (("pi_b", 0), "12"),
        (("pi_c",), "123"),
        (("pi_c",), {}),
        (("protocol",), "plonk"),
        (("protocol",), None),
        (("curve",), "bls12381"),
        (("extra",), 1),
    ],
)
def test_proofs_of_another_shape_are_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(errors.ProofMalformed):
        read_proof_json(change(proof_json(PROOF), path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [(("nPublic",), 2), (("nPublic",), "1"), (("IC",), []), (("IC",), "x"), (("IC", 1), ["1", "2"]), (("more",), 1)],
)
def test_verifying_keys_of_another_shape_are_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(errors.VerifyingKeyMalformed):
        read_verifying_key_json(change(vk_text(), path, value))


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", '"x"', "\ud800", b"\xff\xfe", b"\x00", "[" * 10000, '{"a": NaN}']
)
def test_documents_that_are_no_objects_are_refused(text: str | bytes) -> None:
    with pytest.raises(errors.ProofMalformed):
        read_proof_json(text)
    with pytest.raises(errors.VerifyingKeyMalformed):
        read_verifying_key_json(text)


def test_a_member_given_twice_is_refused() -> None:
    text = proof_json(PROOF).replace('"curve": "bn128"', '"curve": "bn128",\n "curve": "bn128"')
    with pytest.raises(errors.ProofMalformed, match="twice"):
        read_proof_json(text)


def test_a_document_over_its_limit_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_text(proof_json(PROOF) + " " * (1 << 14))
    with pytest.raises(errors.ProofMalformed, match="more than 16384 bytes"):
        read_proof_json(tmp_path / "proof.json")


def test_public_inputs_that_are_no_list_are_refused() -> None:
    for text in ("{}", "null", '"1"', '{"0": "1"}'):
        with pytest.raises(errors.PublicMalformed):
            read_public_json(text)
