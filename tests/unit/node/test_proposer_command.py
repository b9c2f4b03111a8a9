"""`unveto proposer`: only for a proposer's configuration; its duties are read strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli import main
from node.config import NodeConfig, ProposerSection, dump_config
from node.duties import BeaconDuties, FixedDuties, SlotTimes
from node.errors import ConfigError, UsageError
from node.proposing import duties_of
from tests.support.schemas import check_output


def configured(folder: Path, role: str) -> str:
    """Path of a configuration file."""
    path = folder / "node.toml"
    path.write_text(dump_config(NodeConfig(role=role, data_dir=str(folder))))  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize("action", ["run", "slots"])
def test_another_role_is_refused(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is opened or started."""
    assert 1 == main(["proposer", action, "--config", configured(tmp_path, "relay"), "--json"])
    told = json.loads(capsys.readouterr().out)

    assert "NOD-002" == told["error"]["code"]
    check_output(f"proposer_{action}", told)
    assert ["node.toml"] == [path.name for path in tmp_path.iterdir()]


def test_a_proposer_that_never_ran_has_no_slots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said, not made up; nothing is created by looking."""
    assert 1 == main(["proposer", "slots", "--config", configured(tmp_path, "proposer"), "--json"])

    assert "NOD-003" == json.loads(capsys.readouterr().out)["error"]["code"]
    assert ["node.toml"] == [path.name for path in tmp_path.iterdir()]


def test_duties_come_from_one_place() -> None:
    """A beacon node goes before the schedule; without both a proposer only pools."""
    fixed = ProposerSection(schedule="3/8", genesis_s=1_000, slot_ms=2_000)

    assert duties_of(ProposerSection()) is None
    assert FixedDuties(slot_times=SlotTimes(genesis_ms=1_000_000, slot_ms=2_000), remainder=3, period=8) == duties_of(
        fixed
    )
    assert isinstance(duties_of(replace(fixed, beacon_url="http://127.0.0.1:5052")), BeaconDuties)
    with pytest.raises(ConfigError):
        duties_of(replace(fixed, slot_ms=0))
    with pytest.raises(UsageError):
        duties_of(replace(fixed, schedule="8/8"))
