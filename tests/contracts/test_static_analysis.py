"""Slither reads every contract; each finding is fixed or explained, one by one, in `analysis.toml`.

Left out are its informational and optimisation detectors (style, assembly, naming) and contracts that only tests use.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import tools

SOURCES: Final = tools.ROOT / "protocol" / "contracts" / "src"
HERE: Final = Path(__file__).parent
LEFT_OUT: Final = ("test/", "examples/")
WEIGHTS: Final = ("High", "Medium", "Low")

pytestmark = pytest.mark.interop


def place(element: dict[str, Any]) -> str:
    """`Contract.function(types)` or `Contract.variable` of a finding's first element."""
    fields = element["type_specific_fields"]
    name = fields.get("signature", element["name"])
    parent = fields.get("parent", {})
    if element["type"] == "variable" and parent.get("type") == "function":
        inner = parent["type_specific_fields"]
        return f"{inner['parent']['name']}.{inner['signature']}.{element['name']}"
    return f"{parent['name']}.{name}" if parent else name


def analyse(folder: Path, sources: Path) -> set[tuple[str, str]]:
    """(detector, place) of each finding in the contracts below `sources`; works in `folder`."""
    if find_spec("slither") is None:
        tools.missing("slither-analyzer")
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    (folder / "hardhat.config.js").write_text("module.exports = {}\n")
    info = folder / "artifacts" / "build-info" / "all.json"
    script = [str(tools.node()), str(HERE / "build_info.mjs"), str(sources), str(info)]
    tools.npm_package("solc")
    subprocess.run(script, check=True, timeout=120, env=tools.node_environment())
    out = folder / "findings.json"
    command = ["-m", "slither", ".", "--hardhat-ignore-compile", "--compile-force-framework", "hardhat"]
    done = subprocess.run(
        [sys.executable, *command, "--json", str(out)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert out.exists(), done.stderr
    found = json.loads(out.read_text())
    assert found["success"], found["error"]
    return {
        (finding["check"], place(finding["elements"][0]))
        for finding in found["results"]["detectors"]
        if finding["impact"] in WEIGHTS
        and not finding["elements"][0]["source_mapping"]["filename_relative"].startswith(LEFT_OUT)
    }


def test_every_finding_is_explained_and_nothing_is_explained_in_vain(tmp_path: Path) -> None:
    explained = tomllib.loads((HERE / "analysis.toml").read_text())["explained"]
    expected = [(each["check"], where) for each in explained for where in each["where"]]
    assert len(expected) == len(set(expected))
    assert all(len(each["why"]) > 20 for each in explained)
    assert analyse(tmp_path / "work", SOURCES) == set(expected)


def test_a_fault_is_found(tmp_path: Path) -> None:
    """The analyser runs for real: a contract that gives its ether to whoever asks is reported."""
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "Till.sol").write_text(
        "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"
        "contract Till { function drain(address payable to) external { to.transfer(address(this).balance); } }\n"
    )
    assert ("arbitrary-send-eth", "Till.drain(address)") in analyse(tmp_path / "work", sources)
