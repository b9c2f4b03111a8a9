"""The demo's L1: a development chain, the contracts, an oracle, two rollups, and the money that the nodes need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import trio

from node.chain.launch import start_l1
from node.chain.rpc import Rpc
from node.chain.sender import Payload, Sender, SignedTransaction
from node.chain.transport import HttpTransport
from node.deploy import Deployer, Deployment
from node.errors import UsageError
from node.identity import AccountKey
from node.l1 import Contracts, deposit
from protocol.agreement import ticket_cap_wei
from protocol.types import Address, endpoint
from protocol.vm.genesis import Genesis
from protocol.vm.programs import counter_account, oracle_reader_account

DECIMALS: Final = 34  # of the oracle's prices, as in decimal128
PRICE: Final = 2_150 * 10**DECIMALS + 8_140_672_519_903_345_611_278_450_937_716_205  # what the oracle answers
STRIKE: Final = 2_000 * 10**DECIMALS  # from this price on the option settles
READER: Final = Address(bytes.fromhex("a11ce0000000000000000000000000000000d0e5"))
COUNTER: Final = Address(bytes.fromhex("c0417e4000000000000000000000000000000001"))
FUNDS_WEI: Final = 10**18
TICKET_CLASS: Final = 3
TICKET_WEI: Final = ticket_cap_wei(TICKET_CLASS)

L1Kind = Literal["py-evm", "anvil"]


@dataclass(frozen=True, slots=True, kw_only=True)
class L1:
    """The chain that the story is played on."""

    kind: str
    url: str
    key: bytes
    """Of a funded account that deploys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything is."""

    l1: L1
    rpc: Rpc
    contracts: Contracts
    deployer: Deployer
    deployment: Deployment
    oracle: Address
    rollup_a: int
    rollup_b: int


@asynccontextmanager
async def open_l1(kind: L1Kind, url: str | None, key: str | None) -> AsyncIterator[L1]:
    """A development chain of our own, or somebody's node."""
    if url is not None:
        if key is None:
            raise UsageError(problem="--l1 needs --key, the key of a funded account there")
        client = await Rpc(HttpTransport(url)).client_version()
        yield L1(kind=client, url=url, key=bytes.fromhex(key.removeprefix("0x")))
        return
    process = await trio.to_thread.run_sync(partial(start_l1, kind))
    try:
        yield L1(kind=process.kind, url=process.url, key=process.accounts[0].key)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.close)


async def raise_stage(l1: L1, verifying_key: bytes) -> Stage:
    """Deploy everything; rollup A runs the option, both run a counter."""
    rpc = Rpc(HttpTransport(l1.url, timeout_s=30), poll_s=0.1)
    deployer = Deployer(rpc, l1.key, await rpc.chain_id())
    deployment = await deployer.deploy([verifying_key])
    oracle = await deployer.create("PriceOracle", PRICE)
    reader = oracle_reader_account(READER, endpoint(0, oracle), STRIKE)
    rollup_a = await deployer.create_rollup(deployment, Genesis(accounts=(reader, counter_account(COUNTER))))
    rollup_b = await deployer.create_rollup(deployment, Genesis(accounts=(counter_account(COUNTER),)))
    contracts = Contracts(rpc=rpc, chain_id=await rpc.chain_id(), rollups=deployment.rollups, market=deployment.market)
    return Stage(
        l1=l1,
        rpc=rpc,
        contracts=contracts,
        deployer=deployer,
        deployment=deployment,
        oracle=oracle,
        rollup_a=rollup_a,
        rollup_b=rollup_b,
    )


async def fund(stage: Stage, account: AccountKey, *, with_ticket: bool) -> None:
    """Give a node's account ether, and let it deposit one ticket."""
    await stage.deployer.send(bytes.fromhex(account.address[2:]), value=FUNDS_WEI, gas=21_000)
    if with_ticket:
        sender = Sender(stage.rpc, account.secret, chain_id=stage.contracts.chain_id, persist=_forget)
        data, value = deposit(TICKET_CLASS, 1)
        await sender.send("deposit", Payload(to=stage.deployment.market, data=data, value=value))
        await sender.wait("deposit")


async def _forget(_transaction: SignedTransaction) -> None:
    """A demo that dies is started again from nothing."""
