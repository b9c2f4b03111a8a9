"""A small world of real node processes on a real development L1: one relay, one user, some provers, made-up wishes.

What the demo plays with seven nodes, with knobs: auction windows, number of provers, kill points, restarts. Every wish
gets a rollup of its own (the option on the oracle's price settles once) and every paid one a ticket of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import trio

from market.lifecycle import TERMINAL, Order, State
from node.chain.launch import L1Kind, L1Process, start_l1
from node.chain.sender import Payload, Sender, SignedTransaction
from node.config import AuctionSection, NetworkSection, NodeConfig, RequesterSection, StandardSection
from node.demo.cast import casting
from node.demo.stage import FUNDS_WEI, L1, PRICE, READER, STRIKE, TICKET_CLASS, Stage, raise_stage
from node.identity import AccountKey, load_or_create_account
from node.inbox import Inbox
from node.l1 import TicketView, deposit
from node.launch import NodeProcess, stop_all
from node.orderview import OrderView
from protocol.hashing import selector
from protocol.types import endpoint
from protocol.vm.genesis import Genesis
from protocol.vm.programs import oracle_reader_account
from proving.circuit.table_vm import circuit_for
from proving.keys import cached_dev_key
from proving.zkey import read_zkey
from tests.support.forks import ForkedNode, Forks
from tests.support.tools import anvil

UP_TIMEOUT_S: Final = 60
CONNECTED_TIMEOUT_S: Final = 30
ANSWER_TIMEOUT_S: Final = 60
LOOK_EVERY_S: Final = 0.05
TICKETS: Final = 6
PRICE_STEP: Final = 1_234_567_890_123_456_789_012_345_678_901_234
SETTLE: Final = selector("settle()").to_bytes(4, "big")

AUCTION: Final = AuctionSection(
    lane="standard",
    standard=StandardSection(bid=1_500, accept=10_000, ack=120_000, prove=240_000, margin=60_000, claim=3_600_000),
    ready_wait_ms=0,
    rounds=0,
)
"""Bids close soon; whatever a busy machine slows down has time."""


@cache
def dev_key() -> Path:
    """The developer key of tier S; made on the first use on a machine, half a minute."""
    return cached_dev_key(circuit_for(0).r1cs_bytes)


@dataclass(slots=True, kw_only=True)
class World:
    """The chain and the nodes. `trio.run(raise_world, ...)` makes one, `trio.run(world.close)` ends it."""

    l1: L1Process
    stage: Stage
    user: ForkedNode
    provers: tuple[ForkedNode, ...]
    relay: ForkedNode
    _ticket: int = -1
    _options: int = 0
    _asked: list[bytes] = field(default_factory=list)

    @property
    def nodes(self) -> tuple[ForkedNode, ...]:
        """Every node, the relay first."""
        return (self.relay, *self.provers, self.user)

    @property
    def view(self) -> OrderView:
        """The user's orders."""
        return OrderView(self.user.folder)

    @property
    def orders(self) -> tuple[bytes, ...]:
        """Ids of all wishes so far."""
        return tuple(self._asked)

    def account(self, node: NodeProcess) -> AccountKey:
        """A node's chain account."""
        return load_or_create_account(node.folder / "account.key")

    def address(self, node: NodeProcess) -> bytes:
        """A node's chain account, 20 bytes."""
        return bytes.fromhex(self.account(node).address[2:])

    async def up(self, *nodes: ForkedNode) -> None:
        """Wait until nodes run and gossip with the relay."""
        for node in nodes:
            await node.status("node", timeout_s=UP_TIMEOUT_S)
        for node in nodes:
            if node is not self.relay:
                await node.status("connected", timeout_s=CONNECTED_TIMEOUT_S)

    async def restart(self, node: ForkedNode) -> None:
        """Stop a node if it runs, start it on the same folder, and wait until it is up."""
        await node.stop()
        node.start()
        await self.up(node)

    async def with_ticket(self, **auction: Any) -> None:
        """Start the user again with its next ticket, and other terms if given."""
        self._ticket += 1
        await self.with_terms(**auction)

    async def with_terms(self, **auction: Any) -> None:
        """Start the user again with the ticket it has and other terms; windows by their names, in milliseconds."""
        section = self.user.config.requester
        windows = {name: auction.pop(name) for name in StandardSection.__slots__ if name in auction}
        terms = replace(section.auction, standard=replace(section.auction.standard, **windows), **auction)
        changed = replace(section, ticket=self._ticket, auction=terms)
        self.user.config = replace(self.user.config, requester=changed)
        await self.restart(self.user)

    async def ticket(self) -> TicketView:
        """The user's present ticket, as L1 has it."""
        return await self.stage.contracts.ticket(self.address(self.user), self._ticket)

    async def new_option(self) -> int:
        """A rollup with an option that has not settled, on an oracle with a price that no table has shown yet."""
        self._options += 1
        oracle = await self.stage.deployer.create("PriceOracle", PRICE + self._options * PRICE_STEP)
        reader = oracle_reader_account(READER, endpoint(0, oracle), STRIKE + self._options)
        return await self.stage.deployer.create_rollup(self.stage.deployment, Genesis(accounts=(reader,)))

    async def wish(self, rollup: int) -> bytes:
        """The user asks for the option to be settled; the request's id. Survives restarts of the user."""
        inbox = Inbox(self.user.folder)
        arguments = {"rollup_id": rollup, "destination": READER.hex(), "value_wei": "0", "data": SETTLE.hex()}
        answer = await self._answer(inbox, inbox.ask("request", arguments))
        order_id = bytes.fromhex(str(answer["request_id"]))
        self._asked.append(order_id)
        return order_id

    async def submit(self, order_id: bytes) -> None:
        """What `unveto submit` does."""
        inbox = Inbox(self.user.folder)
        await self._answer(inbox, inbox.ask("submit", {"request_id": order_id.hex()}))

    @staticmethod
    async def _answer(inbox: Inbox, command: str) -> dict[str, Any]:
        with trio.fail_after(ANSWER_TIMEOUT_S):
            while (answer := inbox.answer_of(command)) is None:
                await trio.sleep(LOOK_EVERY_S)
        assert "error" not in answer, answer
        return dict(answer)

    async def reach(self, order_id: bytes, wanted: Collection[State], *, timeout_s: float) -> Order:
        """Wait until the user's order is in one of the states.

        Raises:
            AssertionError: it ended otherwise; the message tells its history.
            trio.TooSlowError.
        """
        view = self.view
        with trio.fail_after(timeout_s):
            while (order := view.order(order_id)).state not in wanted:
                told = [(line.event, line.target.value, line.reason) for line in view.history(order_id)]
                assert order.state not in TERMINAL, f"wanted {wanted}: {told}"
                await trio.sleep(LOOK_EVERY_S)
        return order

    async def end(self, order_id: bytes, *, timeout_s: float) -> Order:
        """Wait until the user's order is over."""
        return await self.reach(order_id, TERMINAL, timeout_s=timeout_s)

    async def credit(self, node: NodeProcess) -> int:
        """What the market owes a node's account, wei."""
        return await self.stage.contracts.payout_of(self.address(node))

    async def money(self) -> int:
        """Everything that the market owes anybody, wei: tickets and credits of all nodes."""
        owed = 0
        for node in (self.user, *self.provers):
            owner = self.address(node)
            owed += await self.credit(node)
            for number in range(await self.stage.contracts.ticket_count(owner)):
                ticket = await self.stage.contracts.ticket(owner, number)
                owed += ticket.amount_wei + ticket.bond_wei
        return owed

    async def close(self) -> None:
        """Stop everything."""
        await stop_all(list(self.nodes))
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.l1.close)


async def raise_world(
    forks: Forks, folder: Path, auction: AuctionSection = AUCTION, provers: int = 1, kind: L1Kind = "py-evm"
) -> World:
    """Chain, contracts, money, nodes; everybody is up when this returns. The first `provers` of the demo's are used."""
    key = await trio.to_thread.run_sync(dev_key)
    verifying_key = (await trio.to_thread.run_sync(read_zkey, key)).verifying_key().to_bytes()
    binary = anvil() if kind == "anvil" else None  # skips by name where there is none
    process = await trio.to_thread.run_sync(partial(start_l1, kind, anvil=binary))
    l1 = L1(kind=process.kind, url=process.url, key=process.accounts[0].key)
    stage = await raise_stage(l1, verifying_key)
    cast = casting(stage, folder, auction)
    world = World(
        l1=process,
        stage=stage,
        user=_forked(forks, cast.user, requester=RequesterSection(auction=auction)),
        provers=tuple(_forked(forks, node, prover=_patient(node.config, key)) for node in cast.provers[:provers]),
        relay=_forked(forks, cast.relays[0]),
    )
    for node in (world.user, *world.provers):
        node.folder.mkdir(mode=0o700, parents=True)
        await fund_account(stage, world.account(node), tickets=TICKETS)
    listen = f"/ip4/127.0.0.1/tcp/{_free_port()}"  # a relay that comes back is found where it was
    world.relay.config = replace(world.relay.config, network=replace(world.relay.config.network, listen=listen))
    world.relay.start()
    addresses = (await world.relay.status("node", timeout_s=UP_TIMEOUT_S))["addresses"]
    for node in (world.user, *world.provers):
        # A node that comes back is found where it was: others keep the addresses of its messages.
        network = NetworkSection(listen=f"/ip4/127.0.0.1/tcp/{_free_port()}", peers=tuple(addresses))
        node.config = replace(node.config, network=network)
    for node in world.provers:
        node.start()
    await world.with_ticket()
    await world.up(*world.provers)
    return world


@contextmanager
def world_of_module(forks: Forks, folder: Path, **settings: Any) -> Iterator[World]:
    """A world that several tests share, for a fixture."""
    world = trio.run(partial(raise_world, forks, folder, **settings))
    try:
        yield world
    finally:
        trio.run(world.close)


def _forked(forks: Forks, node: NodeProcess, **sections: Any) -> ForkedNode:
    return ForkedNode(name=node.name, config=replace(node.config, **sections), forks=forks)


def _patient(config: NodeConfig, key: Path) -> Any:
    # Estimates of zero, so that no deadline of a test is too near to bid on.
    return replace(config.prover, zkey=str(key), ms_per_proof=1, overhead_ms=1, bid_delay_ms=0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


async def fund_account(stage: Stage, account: AccountKey, *, tickets: int) -> None:
    """Give an account ether, and let it deposit tickets."""
    await stage.deployer.send(bytes.fromhex(account.address[2:]), value=2 * FUNDS_WEI, gas=21_000)
    sender = Sender(stage.rpc, account.secret, chain_id=stage.contracts.chain_id, persist=_forget)
    data, value = deposit(TICKET_CLASS, tickets)
    await sender.send("deposit", Payload(to=stage.deployment.market, data=data, value=value))
    await sender.wait("deposit")


async def _forget(_transaction: SignedTransaction) -> None:
    """A test's world is never resumed."""
