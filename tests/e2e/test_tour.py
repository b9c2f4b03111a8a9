"""The tour: the whole product in one run, and what each of its results must look like. Copy this file to begin a test.

One command plays the story: `unveto demo`. Here it runs on anvil, an execution client that nobody of this project
wrote, with one operating-system process for each of the seven nodes. `--json` prints what was found as one object,
`--keep` leaves the nodes' folders behind, so that a test can look at what each of them wrote down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from market.lifecycle import State
from node.demo.cast import PROVERS, RELAYS
from node.evidence import read_frames
from node.orderview import OrderView
from node.statusfile import read_status
from tests.support.schemas import check_output
from tests.support.tools import ROOT, anvil

DEMO_TIMEOUT_S = 270
NODES = (*RELAYS, *(name for name, *_ in PROVERS), "proposer", "user")


@dataclass(frozen=True, slots=True)
class Told:
    """One run of the demo."""

    status: int
    output: str
    folder: Path

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        value = json.loads(self.output)
        assert isinstance(value, dict)
        return value


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Plays the story once for all tests of this file."""
    folder = tmp_path_factory.mktemp("tour")
    # Without anvil this skips by name on a developer's machine and fails in CI.
    environment = {**os.environ, "UNVETO_ANVIL": str(anvil())}
    command = [sys.executable, "-m", "node", "demo", "--json", "--anvil", "--keep", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=DEMO_TIMEOUT_S, check=False
    )
    yield Told(done.returncode, done.stdout, folder)


def test_the_story_ends_well_and_prints_one_object(told: Told) -> None:
    """Exit status 0 says: the payee was paid, and nothing private was seen."""
    assert 0 == told.status, told.output
    assert "anvil" in told.json["l1"]["kind"]
    assert 31337 == told.json["chain_id"]
    check_output("demo", told.json)


def test_every_node_was_a_process_with_a_folder_of_its_own(told: Told) -> None:
    """Seven status files, seven process ids, seven libp2p identities."""
    about = [(read_status(told.folder / name) or {})["node"] for name in NODES]

    assert 7 == len({node["pid"] for node in about})
    assert 7 == len({node["peer_id"] for node in about})
    assert ["relay", "relay", "prover", "prover", "prover", "proposer", "requester"] == [n["role"] for n in about]


def test_the_lowest_of_the_sealed_bids_won_and_was_paid_its_price(told: Told) -> None:
    """Each prover bid once, from the envelope alone. Wei are strings: they do not fit a JSON number."""
    story = told.json
    prices = [int(bid["price_wei"]) for bid in story["bids"]]

    assert {name for name, *_ in PROVERS} == {bid["name"] for bid in story["bids"]}
    assert 3 == len(set(prices)) == story["bid_count"]
    assert min(prices) == int(story["price_wei"])
    assert story["winner"] == min(story["bids"], key=lambda bid: int(bid["price_wei"]))["prover"]
    # The winner's own account is its payee; the credit was collected to it, so this is ether that arrived.
    assert story["payee"] == story["winner"]
    assert story["price_wei"] == story["payee_balance_delta_wei"]


def test_the_proof_is_one_of_the_real_circuit(told: Told) -> None:
    """Groth16 of tier S; the count of its constraints is the committed one."""
    counted = json.loads((ROOT / "proving/circuit/constraints.json").read_text())
    proof = told.json["proof"]

    assert ("groth16-bn254", "S") == (proof["system"], proof["tier"])
    assert proof["constraints"] == counted["S"]["constraints"]
    assert proof["prove_ms"] > 0
    assert proof["bytes"] == 289  # tier, proof, public values: SPEC's proof item


def test_one_transaction_of_the_user_carried_everything(told: Told) -> None:
    """The table has CALL and RESULT; the parts of the gas add up to no more than the whole."""
    story = told.json
    gas = story["gas"]

    assert story["table"]["entries"] >= 2
    assert story["table"]["tx_bytes"] > story["table"]["core_bytes"] > 0
    assert min(gas["verify"], gas["settle"], gas["other_calls"]) > 0
    assert gas["verify"] + gas["settle"] + gas["other_calls"] < gas["total"]
    assert gas["total"] == gas["replayed_total"]  # our local EVM agrees with anvil to the last unit
    view = OrderView(told.folder / "user")
    assert len(view.landing(bytes.fromhex(story["request_id"])).raw) == story["table"]["tx_bytes"]
    assert State.PAID is view.order(bytes.fromhex(story["request_id"])).state


def test_followers_rebuilt_the_roots_from_logs_alone(told: Told) -> None:
    """The oracle's answer changed A; B did not take part."""
    roots = told.json["roots"]
    a, b = roots["before"]

    assert roots["before"][a] != roots["after"][a]
    assert roots["before"][b] == roots["after"][b]
    assert dict.fromkeys(RELAYS, roots["after"]) == told.json["follower"]["roots"]


def test_nothing_private_was_seen_by_others(told: Told) -> None:
    """Gossip carried request, bids, award and ready; the search knows what it looks for."""
    gossip = told.json["gossip"]
    frames = {frame for name in RELAYS for _topic, frame in read_frames(told.folder / name)}

    assert 0 == gossip["payload_leaks"]
    assert gossip["private_fields"] >= 16
    assert len(frames) == gossip["frames"] >= 6


def test_the_proposer_had_the_table_before_it_landed(told: Told) -> None:
    """Sealed to its sidecar, pulled and checked at its head."""
    (ready,) = told.json["ready_tables"].values()

    assert told.json["table"]["tx_bytes"] == ready["bytes"]
    assert told.json["gas"]["total"] == ready["gas_used"]
    assert (
        OrderView(told.folder / "user").landing(bytes.fromhex(told.json["request_id"])).tx_hash.hex()
        == ready["tx_hash"]
    )


def test_the_timeline_is_complete_and_in_order(told: Told) -> None:
    """Milliseconds since the wish."""
    timeline = told.json["timeline_ms"]
    steps = ["committed", "bids_closed", "awarded", "accepted", "payload_sealed", "acked", "delivered", "verified"]

    assert [*steps, "signed", "sent", "landed", "paid"] == list(timeline)
    assert sorted(timeline.values()) == list(timeline.values())
