"""`GET /v1/ready` and `unveto ready ls`, over real HTTP on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trio

from node.api.board import ReadyBoard
from node.api.server import Api, Listen, listen_of
from node.cli import main
from node.config import NodeConfig, dump_config
from node.errors import ConfigError
from node.readypool import ReadyKeeper
from node.statusfile import StatusFile
from tests.support.readyworld import GWEI, START_ROOT, USERS, DictL1, StillClock, keeper_on, signed, table
from tests.support.schemas import check_output

LOOPBACK = Listen(host="127.0.0.1", port=0)


async def filled(l1: DictL1) -> ReadyKeeper:
    """A pool with a public transaction, one that follows on it, and a sealed one of another rollup."""
    keeper = keeper_on(l1, StillClock())
    follower = table(pre_root=START_ROOT + 1, post_root=START_ROOT + 2)
    for raw, is_sealed in (
        (signed(maxPriorityFeePerGas=2 * GWEI), False),
        (signed(follower, USERS[1]), False),
        (signed(table(rollup_id=2), USERS[2], gas=700_000), True),
    ):
        call = keeper.read(raw)
        await keeper.admit(call, table_id=call.tx_hash[::-1], is_sealed=is_sealed)
    return keeper


@asynccontextmanager
async def served(keeper: ReadyKeeper, *, rate: int = 1_000, shows_sealed: bool = True) -> AsyncIterator[str]:
    """URL of an API."""
    urls: list[str] = []
    board = ReadyBoard(keeper, StillClock(), shows_sealed=shows_sealed)
    async with trio.open_nursery() as nursery:
        await nursery.start(Api(LOOPBACK, board, rate=rate, on_url=urls.append).serve)
        yield urls[0]
        nursery.cancel_scope.cancel()


async def test_the_pool_is_told_with_what_each_stands_on_and_the_best_block() -> None:
    """As the schema says; one look at L1 serves several questions."""
    l1 = DictL1()
    keeper = await filled(l1)
    l1.looks = 0
    async with served(keeper) as url, httpx.AsyncClient(base_url=url) as client:
        told = (await client.get("/v1/ready")).json()
        of_two = (await client.get("/v1/ready", params={"rollup": 2})).json()
        small = (await client.get("/v1/ready", params={"max_gas": 600_000, "limit": 1})).json()

    check_output("ready_ls", told)
    first, second, sealed = keeper.pool.txs
    assert 1 == l1.looks
    assert 3 == told["total"]
    assert ["0x" + first.tx_hash.hex()] == next(
        tx["requires"] for tx in told["transactions"] if tx["tx_hash"] == "0x" + second.tx_hash.hex()
    )
    assert {"0x" + tx.tx_hash.hex() for tx in (first, second, sealed)} == set(told["block"])
    assert ["0x" + sealed.raw.hex()] == [tx["raw"] for tx in of_two["transactions"]]
    assert (2, ["0x" + first.tx_hash.hex()]) == (small["total"], [tx["tx_hash"] for tx in small["transactions"]])


async def test_what_is_sealed_to_us_is_not_shown_beyond_loopback() -> None:
    """Nor its hash in the block."""
    keeper = await filled(DictL1())
    async with served(keeper, shows_sealed=False) as url, httpx.AsyncClient(base_url=url) as client:
        text = (await client.get("/v1/ready")).text

    assert 2 == json.loads(text)["total"]
    assert keeper.pool.txs[2].tx_hash.hex() not in text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?rollup=x", 400),
        ("?rollup=0", 400),
        ("?rollup=-1", 400),
        ("?rollup=1&rollup=1", 400),
        ("?limit=257", 400),
        ("?limit=" + "9" * 1_000, 400),
        ("?secret=1", 400),
        ("?" + "&".join(f"a{n}=1" for n in range(50)), 400),
        ("/../status.json", 404),
    ],
)
async def test_questions_that_are_none_are_refused(query: str, status: int) -> None:
    """With a reason, before L1 is asked."""
    l1 = DictL1()
    async with served(keeper_on(l1, StillClock())) as url, httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/v1/ready{query}")

    assert status == answer.status_code
    assert 0 == l1.looks


async def test_other_methods_hosts_and_too_many_questions_are_refused() -> None:
    """Nothing is written over this API; a page in a browser cannot ask under its own name; nobody asks all the time."""
    async with served(keeper_on(DictL1(), StillClock()), rate=2) as url, httpx.AsyncClient(base_url=url) as client:
        statuses = [(await client.post("/v1/ready")).status_code]
        statuses.append((await client.get("/v1/ready", headers={"Host": "evil.example"})).status_code)
        statuses += [(await client.get("/v1/ready")).status_code for _ in range(4)]

    assert [405, 421, 200, 200, 200, 429] == statuses


async def test_l1_away_is_said() -> None:
    """And the server goes on."""
    l1 = DictL1(is_away=True)
    async with served(keeper_on(l1, StillClock())) as url, httpx.AsyncClient(base_url=url) as client:
        assert 503 == (await client.get("/v1/ready")).status_code
        l1.is_away = False
        assert 200 == (await client.get("/v1/ready")).status_code


async def test_ready_ls_prints_what_the_api_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same schema; and a coded error where no node runs."""
    config = tmp_path / "node.toml"
    config.write_text(dump_config(replace(NodeConfig(role="proposer"), data_dir=str(tmp_path))))
    assert 1 == await trio.to_thread.run_sync(main, ["ready", "ls", "--config", str(config), "--json"])
    check_output("ready_ls", json.loads(capsys.readouterr().out))
    async with served(await filled(DictL1())) as url:
        StatusFile(tmp_path).put("api", {"url": url})
        command = ["ready", "ls", "--config", str(config), "--rollup", "1"]
        assert 0 == await trio.to_thread.run_sync(main, [*command, "--json"])
        told = json.loads(capsys.readouterr().out)
        assert 0 == await trio.to_thread.run_sync(main, command)
        assert 1 == await trio.to_thread.run_sync(main, [*command, "--limit", "0"])

    check_output("ready_ls", told)
    assert 2 == len(told["transactions"])
    assert "2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "8417", "localhost:1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "a:b:c"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    """Names are not resolved: where it listens must be plain."""
    with pytest.raises(ConfigError):
        listen_of(text)


def test_loopback_is_told_from_everywhere() -> None:
    """Both families."""
    assert listen_of("127.0.0.1:80").is_loopback
    assert listen_of("[::1]:80").is_loopback
    assert not listen_of("0.0.0.0:80").is_loopback
    assert "[::1]:80" == listen_of("[::1]:80").bind
