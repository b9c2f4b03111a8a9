"""Every command's `--json` output is what its schema says, and nothing else: tools are written against the schemas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.chain.launch import L1Process
from node.chain.sender import Payload, Sender
from node.chain.transport import HttpTransport
from node.cli import build_parser, main
from node.commands.request import signed_arguments
from node.config import AuctionSection, ChainSection, NodeConfig, RequesterSection, StandardSection, load_config
from node.identity import load_or_create_rollup_key
from node.l1 import deposit
from node.launch import NodeProcess
from protocol.vm.transactions import decode_transaction
from proving.build_cuda import build_for_host
from proving.r1cs import write_r1cs
from proving.wtns import write_wtns
from tests.support.market_ledger import planned_table
from tests.support.market_sim import World
from tests.support.scene import COUNTER, build_scene, never
from tests.support.schemas import check_output, check_schemas, problems, schemas
from tests.support.tools import ROOT
from tests.unit.proving.circuits import square_and_product

SHARED = {"error", "order"}
Command = Callable[..., Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in an empty folder: command("vm asm", "a", "b") returns the object that it printed, validated."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str, status: int = 0) -> Any:
        capsys.readouterr()
        assert main([*name.split(), *arguments, "--json"]) == status
        value = json.loads(capsys.readouterr().out)
        check_output(name.replace(" ", "_"), value)
        assert problems(name.replace(" ", "_"), value | {"more": 1}) != []
        return value

    return run


def leaves(parser: Any, name: tuple[str, ...] = ()) -> list[str]:
    """Commands that can be run, as users type them."""
    groups = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    if not groups:
        return [" ".join(name)]
    return [leaf for word, sub in groups[0].items() for leaf in leaves(sub, (*name, word))]


def test_every_command_has_one_schema() -> None:
    """Well-formed, and none is left over."""
    assert sorted(name.replace(" ", "_") for name in leaves(build_parser())) == sorted(set(schemas()) - SHARED)
    check_schemas()


def test_ceremony(command: Command, tmp_path: Path) -> None:
    """setup ceremony: from nothing to a verified key, and refusals."""
    (tmp_path / "c.r1cs").write_bytes(write_r1cs(square_and_product().r1cs()))

    assert command("setup ceremony new", "0.ptau", "--power", "2")["hash"] is None
    mine = command("setup ceremony contribute", "0.ptau", "1.ptau", "--name", "me")["hash"]
    command("setup ceremony beacon", "1.ptau", "2.ptau", "0x" + "ab" * 32)
    command("setup ceremony prepare", "2.ptau", "3.ptau")
    powers = command("setup ceremony verify", "3.ptau")
    assert (powers["power"], powers["prepared"], powers["contributions"][0]["hash"]) == (2, True, mine)
    circuit = command("setup ceremony new", "0.zkey", "--r1cs", "c.r1cs", "--ptau", "3.ptau")["hash"]
    command("setup ceremony contribute", "0.zkey", "1.zkey")
    command("setup ceremony beacon", "1.zkey", "2.zkey", "cd" * 32, "--name", "block 1")
    key = command("setup ceremony verify", "2.zkey", "--r1cs", "c.r1cs", "--ptau", "3.ptau")
    assert [c["name"] for c in key["contributions"]] == ["", "block 1"]
    assert key["circuit_hash"] == circuit

    for arguments, code in (
        (("new", "x"), "PRV-040"),
        (("new", "x", "--power", "2", "--r1cs", "c.r1cs", "--ptau", "3.ptau"), "PRV-040"),
        (("new", "x", "--r1cs", "c.r1cs", "--ptau", "2.ptau"), "PRV-040"),
        (("contribute", "c.r1cs", "x"), "PRV-040"),
        (("beacon", "1.zkey", "x", "not hexadecimal"), "PRV-040"),
        (("prepare", "1.zkey", "x"), "PRV-017"),
        (("verify", "0.ptau"), "PRV-041"),
        (("verify", "2.zkey"), "PRV-040"),
        (("verify", "0.zkey", "--r1cs", "c.r1cs", "--ptau", "3.ptau"), "PRV-041"),
    ):
        refused = command(f"setup ceremony {arguments[0]}", *arguments[1:], status=1)
        assert refused["error"]["code"] == code
    assert not (tmp_path / "x").exists()


def test_programs(command: Command, tmp_path: Path) -> None:
    """vm asm, disasm and run: results, a program that waits, one that traps, refusals."""
    (tmp_path / "a.uvm").write_text("LDF f0, 170\nXCALL f0, 5, 0, 7\nRETLO r0, 0\nSUB r1, r1, r0\nRETURN 0\n")

    command("vm asm", "a.uvm", "a.uvm1")
    command("vm disasm", "a.uvm1")
    assert command("vm run", "a.uvm1", "--data", "")["outcome"] == "XCALL"
    assert command("vm run", "a.uvm1", "--data", "", "--answer", "01" * 32, "--trace")["outcome"] == "TRAP"
    command("vm run", "a.uvm1", "--data", "", "--answer", "01" * 32, "--max-steps", "3", status=1)
    (tmp_path / "b.uvm").write_text("LDI r0, 0\nDIV r1, r0, r0\nRETURN 0\n")
    command("vm asm", "b.uvm", "b.uvm1")
    divided = command("vm run", "b.uvm1", "--data", "")
    assert divided["runs"][0]["trap"] == "DIVISION"
    assert command("vm run", "a.uvm1", "--data", "", "--answer", "00" * 32, "--prove")["verified"]
    command("vm deploy", "a.uvm1", "--caller", "0x" + "11" * 20)
    command("vm deploy", "a.uvm1", "--caller", "0x" + "11" * 20, "--salt", "-1", status=1)
    where = ("--chain-id", "1", "--contract", "0x" + "42" * 20, "--rollup", "1", "--to", "0x" + "99" * 20)
    command("vm sign", "--key", "key", "--nonce", "0", *where, "--data", "0x11223344")
    command("vm sign", "--key", "key", "--nonce", "0", *where, "--data", "0x11", status=1)
    command("vm asm", "absent", "b", status=1)
    command("vm disasm", "a.uvm", status=1)


def test_keys_and_proofs(command: Command, tmp_path: Path) -> None:
    """setup dev, prove and verify, with a small circuit."""
    circuit = square_and_product()
    (tmp_path / "c.r1cs").write_bytes(write_r1cs(circuit.r1cs()))
    (tmp_path / "c.wtns").write_bytes(write_wtns(circuit.witness()))

    command("setup dev", "--r1cs", "c.r1cs", "--zkey", "c.zkey", "--vkey", "vk.json")
    proved = command("prove", "c.zkey", "c.wtns", "proof.json", "public.json")
    command("verify", "vk.json", "public.json", "proof.json")

    (tmp_path / "public.json").write_text(json.dumps([str(int(proved["public"][0]) + 1)]))
    assert command("verify", "vk.json", "public.json", "proof.json", status=1)["error"]["code"] == "PRV-035"
    command("prove", "c.wtns", "c.zkey", "a", "b", status=1)
    measured = command("bench prove", "--zkey", "c.zkey", "--wtns", "c.wtns", "--runs", "1", "--threads", "1")
    assert measured["size"] | {"zkey_bytes": 0} == {"domain": 4, "wires": 5, "public": 1, "zkey_bytes": 0}
    assert [result["verified"] for result in measured["results"]] == [True]
    command("setup dev", "--r1cs", "c.zkey", "--zkey", "d.zkey", status=1)


def test_a_compiled_cuda_prover(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setup cuda: a compiler that hands out the host build of the kernels, and one that fails."""
    nvcc, built = tmp_path / "nvcc", build_for_host()
    monkeypatch.setenv("UNVETO_NVCC", str(nvcc))
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    version = '#!/bin/sh\nif [ "$1" = --version ]; then echo Build; exit; fi\n'
    nvcc.write_text(f'{version}while [ "$1" != -o ]; do shift; done\ncp "{built}" "$2"\n')
    nvcc.chmod(0o755)

    done = command("setup cuda", "--arch", "90")
    nvcc.write_text(f"{version}exit 1\n")
    failed = command("setup cuda", "--arch", "80", status=1)

    assert done["library"].endswith("-sm90.so")
    assert failed["error"]["code"] == "PRV-067"


def test_measurements(command: Command) -> None:
    """bench: every kind at a small size, on a circuit that it makes, and refusals."""
    assert command("bench prove", "--log2", "10", "--runs", "2")["size"]["domain"] == 1024
    assert command("bench msm", "--log2", "6", "--runs", "1")["verified"]
    assert command("bench msm", "--log2", "4", "--runs", "1", "--group", "2")["verified"]
    assert command("bench ntt", "--log2", "6", "--runs", "3")["verified"]
    command("bench ntt", "--log2", "25", status=1)
    command("bench msm", "--runs", "0", status=1)
    command("bench prove", "--zkey", "absent", status=1)
    command("bench prove", "--vs", "snarkjs", status=1)  # not installed in this empty folder, nor on the path


def test_a_measured_market(command: Command) -> None:
    """bench market: a relay, a requester and a prover, each a process; and refusals."""
    (result,) = command("bench market", "--nodes", "3", "--orders", "1")["results"]

    assert (result["completed"], result["bids_per_order"], result["missing"]) == (1, 1, 0)
    assert result["frames_per_order"] == 3  # request, bid, award
    assert 2_500 < result["request_to_key_ms"]["max"] < 60_000
    assert result["peak_mib"]["max"] < 300
    command("bench market", "--nodes", "2", status=1)
    command("bench market", "--orders", "0", status=1)


def test_the_machine(command: Command, tmp_path: Path) -> None:
    """doctor, for this machine and for a configuration whose L1 does not answer."""
    (tmp_path / "node.toml").write_text(
        f'role = "relay"\ndata_dir = "{tmp_path}"\n[chain]\nrpc = ["http://127.0.0.1:1"]\n'
    )

    assert command("doctor")["ok"]
    assert not command("doctor", "--config", "node.toml", status=1)["ok"]


def test_a_prover(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """prover calibrate with real proofs, prover standing of one that has played, and refusals."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the proving process
    (tmp_path / "relay.toml").write_text(f'role = "relay"\ndata_dir = "{tmp_path}"\n')
    played = trio.run(_auction, tmp_path / "paid", True, clock=MockClock(autojump_threshold=0))
    config = _prover(tmp_path, played)

    measured = command("prover calibrate", "--config", config, "--runs", "1", "--tier", "S")
    assert list(measured["tiers"]) == ["S"]
    assert measured["tiers"]["S"]["memory_mib"] > 50
    assert json.loads((tmp_path / "paid" / "prover node" / "calibration.json").read_text()) == measured
    counted = command("prover standing", "--config", config, "--why")
    assert counted["orders"] == {"p-paid": 1}
    assert (counted["skipped"], counted["node"]) == ([], None)
    assert [each["standing_milli"] > 0 for each in counted["requesters"]] == [True]
    command("prover calibrate", "--config", config, "--runs", "0", status=1)
    for name in ("calibrate", "standing", "run"):
        command(f"prover {name}", "--config", "relay.toml", status=1)


def test_orders(command: Command, tmp_path: Path) -> None:
    """status, of a requester whose whole auction has been played on a mock clock, and of one without provers."""
    played = trio.run(_auction, tmp_path / "paid", True, clock=MockClock(autojump_threshold=0))
    config = _requester(tmp_path, played)

    (listed,) = command("status", "--config", config)["orders"]
    order = command("status", "--config", config, listed["request_id"])

    assert (order["state"], order["reason"]) == ("paid", "")
    assert order["history"][-1]["state"] == "paid"
    assert (order["means"], order["until_ms"], order["then"]) == ("the prover was paid", None, None)
    assert len(order["bids"]) > 0
    command("status", "--config", config, "00" * 32, status=1)
    expired = trio.run(_auction, tmp_path / "expired", False, clock=MockClock(autojump_threshold=0))
    config = _requester(tmp_path, expired)
    (listed,) = command("status", "--config", config)["orders"]
    order = command("status", "--config", config, listed["request_id"])
    assert (order["state"], order["winner"], order["price_wei"]) == ("expired", None, None)


async def _auction(folder: Path, provers: bool) -> Path:
    folder.mkdir()
    world = World(folder)
    if not provers:
        world.provers = ()
    world.requester.asks = planned_table()
    async with trio.open_nursery() as nursery:
        for party in world.parties:
            await nursery.start(party.run)
        with trio.fail_after(20_000):  # of mock time
            await world.requester.ended.wait()
            if provers:
                await world.winner.ended.wait()
        nursery.cancel_scope.cancel()
    return folder


def _requester(tmp_path: Path, played: Path) -> str:
    """Configuration of a node that has that requester's files."""
    return _configured(tmp_path, played, "requester", "requester")


def _prover(tmp_path: Path, played: Path) -> str:
    """The same for the prover that won."""
    return _configured(tmp_path, played, "prover", "prover2")


def _configured(tmp_path: Path, played: Path, role: str, party: str) -> str:
    folder = played / f"{role} node"
    folder.mkdir()
    for path in played.glob(f"{party}.db*"):
        shutil.copy(path, folder / path.name.replace(f"{party}.db", "node.db"))
    shutil.copy(played / f"{party}.key", folder / "vault.key")
    config = tmp_path / f"{role}.toml"
    config.write_text(f'role = "{role}"\ndata_dir = "{folder}"\n')
    return str(config)


def test_a_running_node(command: Command, l1: L1Process, tmp_path: Path) -> None:
    """node run, request, submit and status of a requester on a real chain, to whom nobody bids."""
    node, rollup_id = trio.run(_requester_node, l1, tmp_path / "node")
    config = str(node.config_path)
    arguments = [sys.executable, "-m", "node", "node", "run", "--config", config, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        node.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True
        )
    try:
        trio.run(partial(node.status, "node", timeout_s=120))
        wanted = ("request", "--config", config, "--rollup", str(rollup_id), "--to", "0x" + COUNTER.hex())
        planned = command(*wanted, "--call", "increment()", "--dry-run")
        assert [(each["trigger"], each["next"]) for each in planned["entries"]] == [("CALL", "RESULT")]
        assert planned["seen_by"]["peers"] == ["nothing: this node replays all rollups from L1 logs"]
        load_or_create_rollup_key(tmp_path / "l2.key")
        signed = ("--call", "increment()", "--sign", str(tmp_path / "l2.key"))
        typed = signed_arguments(build_parser().parse_args([*wanted, *signed]), load_config(node.config_path))
        assert decode_transaction(bytes.fromhex(typed["data"])).nonce == 0
        command(*wanted, "--call", "increment()", "--sign", str(tmp_path / "absent.key"), status=1)
        (tmp_path / "junk.uvt").write_bytes(bytes(100))
        command("request", "--config", config, "--table", str(tmp_path / "junk.uvt"), "--dry-run", status=1)
        assert command("status", "--config", config)["orders"] == []  # nothing was begun
        assert command(*wanted, "--call", "increment()", status=1)["state"] == "expired"
        ordered = command(*wanted, "--call", "increment()", "--detach")["request_id"]
        command("submit", "--config", config, ordered)
        assert "nothing" == command("cancel", "--config", config, ordered)["price"]
        command("cancel", "--config", config, ordered, status=1)
        command("slash", "--config", config, ordered, status=1)
        command("refund", "--config", config, status=1)
        assert "requested" == command("refund", "--config", config, "--ticket", "0")["step"]
        # a wish that nobody proves is auctioned three times
        assert len(command("status", "--config", config)["orders"]) == 4
        command("submit", "--config", config, "00" * 32, status=1)
        command("request", "--config", config, "--rollup", "99", "--to", "0x" + COUNTER.hex(), "--data", "", status=1)
        node.process.terminate()
        printed, _ = node.process.communicate(timeout=60)
    finally:
        node.kill()

    assert node.process.returncode == 0
    check_output("node_run", json.loads(printed))


async def _requester_node(l1: L1Process, folder: Path) -> tuple[NodeProcess, int]:
    """A requester's folder: an account with ether and a ticket, and a configuration."""
    transport = HttpTransport(l1.url, timeout_s=30)
    scene = await build_scene(transport, l1.accounts, 2000)
    sender = Sender(scene.rpc, scene.user.key, chain_id=scene.contracts.chain_id, persist=never)
    data, value = deposit(0, 1)
    await sender.send("deposit", Payload(to=scene.deployment.market, data=data, value=value))
    await sender.wait("deposit")
    transport.close()
    chain = ChainSection(
        rpc=(l1.url,),
        chain_id=scene.contracts.chain_id,
        rollups="0x" + scene.deployment.rollups.hex(),
        market="0x" + scene.deployment.market.hex(),
        proof_system="0x" + scene.deployment.proof_system.hex(),
        start_block=scene.deployment.start_block,
        poll_ms=100,
    )
    # Long enough to type `submit` on a slow machine before the order ends.
    section = RequesterSection(auction=AuctionSection(lane="standard", standard=StandardSection(bid=417)))
    settings = NodeConfig(role="requester", data_dir=str(folder), chain=chain, requester=section)
    node = NodeProcess(name="requester", config=settings)
    node.write_config()
    key = folder / "account.key"
    key.touch(mode=0o600)
    key.write_text("0x" + scene.user.key.hex() + "\n")
    return node, scene.rollup_id


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("node run", ("--config", "absent")),
        ("request", ("--config", "absent", "--rollup", "1", "--to", "0x" + "11" * 20, "--data", "")),
        ("status", ("--config", "absent")),
        ("submit", ("--config", "absent", "00" * 32)),
        ("cancel", ("--config", "absent", "00" * 32)),
        ("claim", ("--config", "absent", "00" * 32)),
        ("slash", ("--config", "absent", "00" * 32)),
        ("refund", ("--config", "absent", "--ticket", "0")),
        ("demo", ("--keep", ".")),
    ],
)
def test_refusals_of_commands_that_need_a_running_node(
    name: str, arguments: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    """Their results are validated where nodes run; their refusals here."""
    (tmp_path / "something").write_text("")

    assert set(command(name, *arguments, status=1)) == {"error"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("error", {"error": {"code": "NOD-001", "message": "x"}}),
        ("error", {"error": {"code": "", "message": "x", "values": {}}}),
        ("error", {"error": {"code": "NOD-001", "message": "x", "values": {"wei": 5}}}),
        ("verify", {"valid": False}),
        ("verify", {"valid": True, "error": {"code": "NOD-001", "message": "x", "values": {}}}),
        ("submit", {"request_id": "0x" + "00" * 32}),
        ("vm_asm", {"instructions": 0, "code_hash": "0x" + "00" * 32}),
        ("doctor", {"ok": True, "findings": [{"name": "a", "level": "fine", "text": ""}]}),
        ("status", {"node": [], "orders": []}),
        ("status", {"orders": []}),
    ],
)
def test_other_values_are_refused(name: str, value: object) -> None:
    """A schema that accepts everything would say nothing."""
    assert problems(name, value) != []
