"""Handing in a kept transaction with no key: what lands it, and each reason why it cannot."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.launch import L1Process
from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from node.cli import main
from node.errors import ChainMismatch, NotNow, UsageError
from node.handin import hand_in
from node.keptfile import KeptFiles, KeptTransaction
from tests.integration.chain.probe import GWEI, Probe, calldata, signed
from tests.support.schemas import check_output

PAYEE = b"\x42" * 20
NOW_S = int(time.time())


def kept(l1: L1Process, nonce: int = 0, valid_until: int = NOW_S + 600, **changed: object) -> KeptTransaction:
    """A transaction of the eighth development account."""
    fields: dict[str, object] = {
        "to": PAYEE,
        "value": 7,
        "gas": 21_000,
        "maxFeePerGas": 50 * GWEI,
        "maxPriorityFeePerGas": GWEI,
        **changed,
    }
    raw = signed(l1.accounts[7], nonce, **fields)
    return KeptTransaction(request_id=b"\x01" * 32, raw=raw, core=b"core", valid_until=valid_until)


async def test_anybody_lands_it_and_a_second_time_it_is_found(running_l1: L1Process, transport: HttpTransport) -> None:
    """The client gets the bytes once; who hands them in signs nothing."""
    rpc = Rpc(transport)
    mine = kept(running_l1)
    first = await hand_in(mine, rpc, now_s=NOW_S, wait_s=10)
    second = await hand_in(mine, rpc, now_s=NOW_S, wait_s=10)

    assert first == second
    assert first.succeeded
    assert first.fits_inclusion_list
    assert 7 == await rpc.balance(PAYEE)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"valid_until": NOW_S - 1}, "TABLE_EXPIRED"),
        ({"nonce": 1}, "NONCE_GAP"),
        ({"value": 10**30}, "NO_BALANCE"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, "FEE_TOO_LOW"),
    ],
)
async def test_what_cannot_land_says_why(
    changed: dict[str, object], reason: str, running_l1: L1Process, transport: HttpTransport
) -> None:
    """And is not sent."""
    with pytest.raises(NotNow, match=reason):
        await hand_in(kept(running_l1, **changed), Rpc(transport), now_s=NOW_S, wait_s=1)  # type: ignore[arg-type]


async def test_a_used_nonce_another_chain_and_a_revert_are_told(running_l1: L1Process, probe: Probe) -> None:
    """The owner was faster with something else; the file is of another chain; the call would fail."""
    rpc = Rpc(probe.transport)
    failing = kept(running_l1, to=probe.address, value=0, data=calldata("refuse(uint256)", 5), gas=200_000)
    with pytest.raises(NotNow, match="WOULD_FAIL"):
        await hand_in(failing, rpc, now_s=NOW_S, wait_s=1)
    with pytest.raises(ChainMismatch):
        await hand_in(kept(running_l1, chainId=DEV_CHAIN_ID + 1), rpc, now_s=NOW_S, wait_s=1)
    with pytest.raises(UsageError):
        await hand_in(
            KeptTransaction(request_id=b"", raw=b"\x02", core=b"", valid_until=NOW_S), rpc, now_s=NOW_S, wait_s=1
        )
    await hand_in(kept(running_l1), rpc, now_s=NOW_S, wait_s=10)
    with pytest.raises(NotNow, match="NONCE_USED"):
        await hand_in(kept(running_l1, value=8), rpc, now_s=NOW_S, wait_s=1)


def test_the_command_needs_a_file_and_a_client_and_nothing_else(
    running_l1: L1Process, transport: HttpTransport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`unveto submit --file F --rpc URL`, from a machine that has neither node nor key."""
    files = KeptFiles(tmp_path)
    files.write(kept(running_l1))
    path = str(files.path(b"\x01" * 32))
    for wrong in (["--file", path], ["--rpc", running_l1.url], ["--file", path, "--rpc", running_l1.url, "ab" * 32]):
        assert 1 == main(["submit", *wrong, "--json"])
        capsys.readouterr()
    assert 0 == main(["submit", "--file", path, "--rpc", running_l1.url, "--json"])
    told = json.loads(capsys.readouterr().out)

    check_output("submit", told)
    assert told["succeeded"]
    assert 0 == main(["submit", "--file", path, "--rpc", running_l1.url])
    assert f"in block {told['block']}" in capsys.readouterr().out
