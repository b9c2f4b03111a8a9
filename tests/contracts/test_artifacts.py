"""The committed artifacts are what the pinned compiler makes of the sources, and fit on L1."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from protocol.contracts.artifacts import ERRORS, artifact, artifact_names, decode_revert, signature
from protocol.hashing import keccak256
from tests.support import tools

CONTRACTS = tools.ROOT / "protocol" / "contracts"
BUILD = json.loads((CONTRACTS / "artifacts" / "build.json").read_text())
MAX_RUNTIME_BYTES = 24_576  # EIP-170
MAX_CREATION_BYTES = 49_152  # EIP-3860


def test_artifacts_belong_to_the_sources_as_they_are() -> None:
    source = CONTRACTS / "src"
    found = {
        str(path.relative_to(source)): hashlib.sha256(path.read_bytes()).hexdigest() for path in source.rglob("*.sol")
    }
    assert found == BUILD["sources"]


@pytest.mark.interop
def test_the_pinned_compiler_reproduces_every_artifact(tmp_path: Path) -> None:
    node, _ = tools.node(), tools.npm_package("solc")
    subprocess.run(
        [str(node), str(CONTRACTS / "compile.mjs"), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=280,
        env=tools.node_environment(),
    )
    committed = {path.name: path.read_bytes() for path in (CONTRACTS / "artifacts").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == committed


@pytest.mark.parametrize("name", artifact_names())
def test_code_fits_the_limits_of_l1(name: str) -> None:
    assert len(artifact(name).deployed_bytecode) <= MAX_RUNTIME_BYTES
    assert len(artifact(name).bytecode) <= MAX_CREATION_BYTES


def test_no_two_errors_share_a_selector() -> None:
    declared = {signature(i) for name in artifact_names() for i in artifact(name).abi if i["type"] == "error"}
    assert len({keccak256(each.encode())[:4] for each in declared}) == len(declared)
    assert len(ERRORS) == len(declared) + 2  # and Solidity's own Error and Panic


def test_function_names_are_unique_within_a_contract() -> None:
    for name in artifact_names():
        functions = [item["name"] for item in artifact(name).abi if item["type"] == "function"]
        assert len(functions) == len(set(functions)), name


def test_revert_data_is_named_with_its_values() -> None:
    data = keccak256(b"UnknownRollup(uint64)")[:4] + (7).to_bytes(32, "big")
    revert = decode_revert(data)
    assert (revert.name, dict(revert.values)) == ("UnknownRollup", {"rollupId": 7})


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\xde\xad\xbe\xef", keccak256(b"UnknownRollup(uint64)")[:4] + b"short"]
)
def test_revert_data_of_nobody_has_no_name(data: bytes) -> None:
    revert = decode_revert(data)
    assert (revert.name, revert.data) == ("", data)


@pytest.mark.parametrize(
    "name", ["IRollups", "IProofMarket", "IGroth16ProofSystem", "HashProofSystem", "BundleRunner", "CoreCodec"]
)
def test_the_specification_lists_the_whole_surface(name: str) -> None:
    surface = (tools.ROOT / "protocol" / "SPEC.md").read_text().partition("### 8.3 Surface")[2].partition("\n## 9")[0]
    listed = {re.sub(r"\s+", " ", item) for item in re.findall(r"`([^`]*)`", surface)}
    for item in artifact(name).abi:
        if item["type"] in ("constructor", "receive"):
            continue
        arguments = ", ".join(each["name"] or each["type"] for each in item["inputs"])
        assert f"{item['name']}({arguments})" in listed
