"""A prover's conditions: from configuration and calibration, and again when their files change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from market.pricing import PriceRule, ProofCost
from node.calibration import FILE_NAME, MAX_FILE_BYTES, Calibration, load_calibration, save_calibration
from node.conditions import ConditionsWatch, calibration_of, offer_of
from node.config import NodeConfig, OverrideSection, ProverSection, dump_config, parse_config
from node.errors import CalibrationError, ConfigError
from protocol.types import Address
from tests.support.market_ledger import TestClock

US = Address(b"\x05" * 20)
CALIBRATION = Calibration(backend="groth16-cpu", threads=2, costs={0: ProofCost(prove_ms=1_234, memory_mib=400)})


def config(folder: Path, **prover: object) -> NodeConfig:
    """Of a prover."""
    return NodeConfig(role="prover", data_dir=str(folder), prover=ProverSection(**prover))  # type: ignore[arg-type]


def test_a_calibration_is_kept_and_read(tmp_path: Path) -> None:
    """As it was; tiers that were not measured again stay."""
    assert load_calibration(tmp_path) is None
    save_calibration(tmp_path, CALIBRATION)
    save_calibration(tmp_path, Calibration(backend="groth16-cpu", threads=2, costs={}))

    assert load_calibration(tmp_path) == CALIBRATION


def test_a_calibration_with_other_settings_replaces_all(tmp_path: Path) -> None:
    """Its figures say nothing about these."""
    save_calibration(tmp_path, CALIBRATION)
    other = Calibration(backend="groth16-cuda", threads=2, costs={})
    save_calibration(tmp_path, other)

    assert load_calibration(tmp_path) == other


@pytest.mark.parametrize(
    "change",
    [
        {"format": "unveto calibration 2"},
        {"threads": 0},
        {"threads": True},
        {"tiers": {"S": {"prove_ms": 0, "memory_mib": 1}}},
        {"tiers": {"S": {"prove_ms": 1.5, "memory_mib": 1}}},
        {"tiers": {"S": {"prove_ms": 1, "memory_mib": 1 << 25}}},
        {"tiers": {"S": {"prove_ms": 1}}},
        {"tiers": 7},
    ],
)
def test_a_damaged_calibration_is_a_coded_error_and_not_used(tmp_path: Path, change: dict[str, object]) -> None:
    """Prices then follow the configuration."""
    path = save_calibration(tmp_path, CALIBRATION)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(CalibrationError, match="NOD-021"):
        load_calibration(tmp_path)
    assert calibration_of(config(tmp_path), "groth16-cpu") is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b" " * (MAX_FILE_BYTES + 1)])
def test_what_is_no_calibration_is_refused(tmp_path: Path, raw: bytes) -> None:
    """Whatever it is."""
    (tmp_path / FILE_NAME).write_bytes(raw)

    with pytest.raises(CalibrationError):
        load_calibration(tmp_path)


def test_a_calibration_of_another_device_is_not_used(tmp_path: Path) -> None:
    """Or with other threads."""
    save_calibration(tmp_path, CALIBRATION)

    assert calibration_of(config(tmp_path), "groth16-cpu") == CALIBRATION
    assert calibration_of(config(tmp_path), "groth16-cuda") is None
    assert calibration_of(config(tmp_path, threads=4), "groth16-cpu") is None


def test_measured_tiers_cost_what_was_measured(tmp_path: Path) -> None:
    """Others what the configuration says; tiers that are not offered nothing."""
    section = {"ms_per_proof": 77, "memory_mib": 88, "wei_per_second": 9, "payee": "0x" + "ab" * 20}
    offer = offer_of(config(tmp_path, **section), CALIBRATION, tiers=(0, 1), account=US)

    assert offer.curve.costs == {0: CALIBRATION.costs[0], 1: ProofCost(prove_ms=77, memory_mib=88)}
    assert (offer.curve.wei_per_second, offer.payee) == (9, b"\xab" * 20)
    assert offer_of(config(tmp_path), None, tiers=(), account=US).payee == US


def test_overrides_become_rules(tmp_path: Path) -> None:
    """In their order; written and read as tables."""
    written = config(
        tmp_path,
        overrides=(OverrideSection(requester="0x" + "cd" * 20, price_permille=0), OverrideSection(tier="S")),
    )
    offer = offer_of(parse_config(dump_config(written)), None, tiers=(0,), account=US)

    assert offer.curve.rules == (
        PriceRule(requester=b"\xcd" * 20, price_permille=0),
        PriceRule(tier=0, price_permille=1000),
    )


@pytest.mark.parametrize(
    "override", [{"tier": "s"}, {"requester": "0xzz"}, {"requester": "0x1234"}], ids=["tier", "digits", "length"]
)
def test_an_override_of_nobody_is_refused_by_name(tmp_path: Path, override: dict[str, str]) -> None:
    """With its place in the list."""
    wrong = config(tmp_path, overrides=(OverrideSection(), OverrideSection(**override)))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"prover\.overrides\[1\]"):
        offer_of(wrong, None, tiers=(0,), account=US)


def test_a_prover_without_a_bond_ticket_does_not_start(tmp_path: Path) -> None:
    """It could bid on nothing."""
    with pytest.raises(ConfigError, match=r"prover\.tickets"):
        offer_of(config(tmp_path, tickets=()), None, tiers=(0,), account=US)


class Desk:
    """A configuration on disk, and what a watch hands on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "node.toml"
        self.taken: list[NodeConfig] = []
        self.refuses = False
        self.stamp = 0
        start = config(folder)
        self.write(start)
        self.watch = ConditionsWatch(self.path, start, TestClock(), self.adopt)

    def adopt(self, fresh: NodeConfig) -> None:
        """As a prover."""
        if self.refuses:
            raise ConfigError(where="prover.overrides[0]", problem="no")
        self.taken.append(fresh)

    def write(self, fresh: NodeConfig | str) -> None:
        """At a later time, whatever the clock's resolution."""
        self.path.write_text(fresh if isinstance(fresh, str) else dump_config(fresh))
        self.stamp += 1
        os.utime(self.path, (self.stamp, self.stamp))


def test_new_prices_are_handed_on_once(tmp_path: Path) -> None:
    """Nothing happens while nothing changes."""
    desk = Desk(tmp_path)
    desk.watch.look()
    assert desk.taken == []
    desk.write(config(tmp_path, wei_per_step=5, margin_permille=7))
    desk.watch.look()
    desk.watch.look()

    (taken,) = desk.taken
    assert (taken.prover.wei_per_step, taken.prover.margin_permille) == (5, 7)


def test_what_is_no_price_waits_for_the_next_start(tmp_path: Path) -> None:
    """A running node's ticket, payee, backend and folder stay."""
    desk = Desk(tmp_path)
    desk.write(config(tmp_path, wei_per_step=5, tickets=(9,), payee="0x" + "11" * 20, threads=7))
    desk.watch.look()

    assert desk.taken == [config(tmp_path, wei_per_step=5)]


def test_a_wrong_file_changes_nothing_and_the_next_right_one_does(tmp_path: Path) -> None:
    """Cut off, with an unknown key, or refused by the prover."""
    desk = Desk(tmp_path)
    for text in ("role = ", "role = 'prover'\nspeed = 1"):
        desk.write(text)
        desk.watch.look()
    desk.refuses = True
    desk.write(config(tmp_path, wei_per_step=5))
    desk.watch.look()
    desk.refuses = False
    assert desk.taken == []
    desk.write(config(tmp_path, wei_per_step=6))
    desk.watch.look()

    assert [each.prover.wei_per_step for each in desk.taken] == [6]


def test_a_new_calibration_is_noticed(tmp_path: Path) -> None:
    """Beside an unchanged configuration."""
    desk = Desk(tmp_path)
    save_calibration(tmp_path, CALIBRATION)
    desk.watch.look()

    assert desk.taken == [config(tmp_path)]
