"""snarkjs reads the circuit of tier S and accepts its witnesses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from protocol.hashing import selector
from protocol.vm.programs import program
from tests.support.circuits import circuit, witness_of
from tests.support.stories import Story, state_of
from tests.support.tools import snarkjs

pytestmark = pytest.mark.interop


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """snarkjs in a folder."""
    return subprocess.run(
        [*snarkjs(), *arguments], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )


def test_snarkjs_checks_a_witness_of_tier_s(tmp_path: Path) -> None:
    """An honest one is correct, one with a changed wire is not."""
    story = Story(state_of(program("counter")))
    story.call(selector("increment()").to_bytes(4, "big"))
    wtns = bytearray(witness_of(story).wtns)
    (tmp_path / "s.r1cs").write_bytes(circuit().r1cs_bytes)
    (tmp_path / "s.wtns").write_bytes(wtns)
    wtns[-1] ^= 1
    (tmp_path / "changed.wtns").write_bytes(wtns)

    honest = run(tmp_path, "wtns", "check", "s.r1cs", "s.wtns")
    changed = run(tmp_path, "wtns", "check", "s.r1cs", "changed.wtns")

    assert "WITNESS IS CORRECT" in honest.stdout
    assert "WITNESS IS CORRECT" not in changed.stdout
