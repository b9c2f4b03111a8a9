"""`unveto vm deploy` and `unveto vm sign`: what they print is what the machine takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.cli import main
from protocol.types import Address, endpoint
from protocol.vm.genesis import Genesis, state_from_genesis
from protocol.vm.machine import run_entry
from protocol.vm.transactions import decode_transaction, transaction_domain
from tests.support.cores import call, l2tx

CONTRACT = "0x" + "42" * 20
DOMAIN = transaction_domain(5, Address(b"\x42" * 20))
TO = "0x" + "99" * 20


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    """The JSON object that a command prints."""
    assert main(["vm", *arguments[:1], "--json", *arguments[1:]]) == status
    return json.loads(capsys.readouterr().out)


def signing(key: Path, **changes: str) -> list[str]:
    """Arguments of `vm sign`."""
    given = {
        "--key": str(key), "--chain-id": "5", "--contract": CONTRACT, "--rollup": "1", "--nonce": "0", "--to": TO,
        "--data": "", "--value": "0",
    } | {"--" + name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
    return ["sign", *(part for pair in given.items() for part in pair)]


def test_a_signed_transaction_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is made, kept and used again; the machine takes the transaction."""
    arguments = signing(tmp_path / "key", data="0x11223344" + "07" * 32)
    first, second = said(capsys, *arguments), said(capsys, *arguments)
    assert first == second
    data = bytes.fromhex(first["transaction"][2:])
    assert "0x" + decode_transaction(data).sender.hex() == first["sender"]
    state = state_from_genesis(Genesis(accounts=(), domain=DOMAIN))
    run = run_entry(state, rollup_id=1, l2_time=0, trigger=l2tx(data=data))
    assert not run.next_action.failed
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": "112233"}, "NOD-002"),
        ({"data": "11223344" + "00" * 31}, "NOD-002"),
        ({"data": "11223344" + "00" * 32 * 17}, "NOD-002"),
        ({"nonce": "-1"}, "NOD-002"),
        ({"rollup": str(1 << 64)}, "NOD-002"),
        ({"to": "0x99"}, "NOD-002"),
        ({"value": "-1"}, "NOD-002"),
    ],
)
def test_wrong_arguments_are_refused(
    changes: dict[str, str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is signed."""
    arguments = signing(tmp_path / "key", **({"data": "11223344"} | changes))
    assert said(capsys, *arguments, status=1)["error"]["code"] == code


def test_a_program_is_deployed_by_the_calls_that_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the address that is shown."""
    source = tmp_path / "long.uvm"
    source.write_text("MOV r1, r1\n" * 20 + "RETURN 0")
    caller = "0x" + "11" * 20
    shown = said(capsys, "deploy", str(source), "--caller", caller, "--salt", "3")
    state = state_from_genesis(Genesis(accounts=()))
    for data in shown["calls"]:
        deployer = Address(bytes(19) + b"\1")
        trigger = call(destination=deployer, value=0, data=bytes.fromhex(data[2:]))
        assert trigger.source == endpoint(0, bytes.fromhex(caller[2:]))
        run = run_entry(state, rollup_id=1, l2_time=0, trigger=trigger)
        state = run.post
    assert run.next_action.data[12:32].hex() == shown["address"][2:]
    assert [f"{x:#066x}" for x in state.programs] == [shown["code_hash"]]
    assert said(capsys, "deploy", str(source), "--caller", caller, "--salt=-1", status=1)["error"]["code"] == "NOD-002"
