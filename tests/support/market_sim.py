"""A market in one process for tests of the loops: real brokers, stores, signatures, sealing and gossip validation; a
network of queues, a
toy proof system and a ledger that checks settlements as ProofMarket does. Time is the test's clock."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import trio
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from trio_typing import TaskStatus

from market.admission import Capability
from market.capacity import Capacity
from market.lanes import Churn, Lane, Windows
from market.lifecycle import Order, Role, State
from market.pricing import Curve, ProofCost
from node.accusing import Accuse
from node.bidding import Offer
from node.broker import OrderLoop
from node.frames import FrameWriter, gossip_judge, recall_requests
from node.keptfile import KeptFiles
from node.ports import (
    ChainCall,
    Clock,
    Direct,
    Gossip,
    InThread,
    PlannedTable,
    Refused,
    TryAgain,
)
from node.prices import ClearingPrices
from node.prosecution import Prosecution
from node.prover import ProvingNode
from node.ready import ReadyTables
from node.requester import Requester, Terms
from node.store.database import Database
from node.store.errors import DatabaseFailed
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.transactions import TransactionStore
from node.store.vault import Vault
from node.store.writer import WriterThread
from node.watch import Watch
from protocol.gossip_memory import GossipMemory, KnownRequest
from protocol.messages import Fault
from protocol.sealing import SealKeyPair
from protocol.signing import AccountKey
from tests.support.market_ledger import (
    BOND_WEI,
    MARKET,
    ROLLUPS,
    START_MS,
    SYSTEMS_HASH,
    TICKET_WEI,
    Ledger,
    TestClock,
    ToyProver,
    ToyVerifier,
    planned_table,
)
from tests.support.sim_chain import LedgerChain
from tests.support.sim_network import Link, Network

T = TypeVar("T")

POLL_MS = 2_000
WINDOWS = Windows(bid_ms=2_500, accept_ms=2_000, ack_ms=15_000, prove_ms=60_000, margin_ms=30_000, claim_s=120)
CLOCK_STEP_S = 30
SOON_S = 200  # after the start: most stories end before
LATER_LOOK_S = 20
TERMS = Terms(
    lane=Lane.STANDARD,
    windows=dict.fromkeys(Lane, WINDOWS),
    standbys=0,
    rounds=0,
    bump_permille=500,
    spare_tickets=(),
    max_price_wei=10**16,
    bond_min_wei=BOND_WEI,
    force="never",
    record_permille=0,
    ready_wait_ms=3_000,
    is_submitted=True,
)


def timed(terms: Terms, **windows: int) -> Terms:
    """The same terms with other windows, in every lane."""
    return replace(terms, windows=dict.fromkeys(Lane, replace(WINDOWS, **windows)))


async def inline(function: Callable[[], T]) -> T:
    """Runs the store in place of a worker thread: a mock clock cannot see threads."""
    await trio.lowlevel.checkpoint()
    return function()


@contextmanager
def memory_folder(disk: Path) -> Iterator[Path]:
    """A folder in memory where the system has one, for tests that write a lot and never lose power; else `disk`."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield disk
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass
class PartyClock(TestClock):
    """A machine's clock, which may jump."""

    offset_s: int = 0

    def now_ms(self) -> int:
        """Unix ms, as this machine has them."""
        return super().now_ms() + 1000 * self.offset_s

    async def sleep_until(self, unix_ms: int) -> None:
        """In steps, as `node.ports.SystemClock` does, while a jump may come."""
        while (left_ms := unix_ms - self.now_ms()) > 0:
            await trio.sleep(min(left_ms / 1000, CLOCK_STEP_S))


def fill_disk(database: Database, party: Party) -> None:
    """Lets the write that the party's `full_at` names fail as SQLite does on a full disk."""

    def is_full(moment: str) -> bool:
        return party.full_at.removeprefix(f"{moment} ") in party.open_writes

    def on_execute(_cursor: object, statement: str, _parameters: object, _context: object) -> None:
        if is_full("at start") and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            party.full_at = ""
            raise sqlite3.OperationalError("database or disk is full")

    def on_commit(_connection: object) -> None:
        if is_full("at commit"):
            party.full_at = ""
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))

    event.listen(database.engine, "do_execute", on_execute)
    event.listen(database.engine, "commit", on_commit)


@dataclass
class Party:
    """One node: what survives its death (folder, prepared transactions), and how to start it."""

    name: str
    role: Role
    folder: Path
    network: Network
    ledger: Ledger
    key: AccountKey
    price_wei: int = 0
    slots: int = 1
    """Orders that a prover takes on at a time."""
    asks: PlannedTable | None = None
    """What a requester requests once it is up, unless it has an order already."""
    prover: ToyProver = field(default_factory=ToyProver)
    sidecars: tuple[bytes, ...] = ()
    deaf_to: frozenset[str] = frozenset()
    terms: Terms = TERMS
    poll_ms: int = POLL_MS
    seen_wei: tuple[int, ...] = ()
    """Clearing prices of the toy table's class that a requester has seen."""
    replans: PlannedTable | None = None
    """What a requester's planner makes of every intent."""
    churn: Churn = Churn(moves=0, seen_ms=0)
    """Of every table, as a requester has seen it."""
    cannot_plan: bool = False
    """No plan fulfils an intent of the requester any more."""
    planned: list[bytes] = field(default_factory=list)
    """Intents that were planned again."""
    prepared: dict[str, ChainCall] = field(default_factory=dict)
    points: list[str] = field(default_factory=list)
    """Both sides of every write."""
    open_writes: set[str] = field(default_factory=set)
    """That were begun and are not durable."""
    acts: list[str] = field(default_factory=list)
    """Both sides of everything that others can see."""
    steps: list[str] = field(default_factory=list)
    """Points and acts as they came."""
    kill_at: str = ""
    """A point or an act at which the node ends."""
    then_kill_at: str = ""
    """The next one, once it has ended there."""
    down_s: float = 0.5
    """How long it stays away."""
    full_at: str = ""
    """A write, "at start NAME" or "at commit NAME", for which the disk has no room; there is room after a restart."""
    clock: PartyClock = field(default_factory=PartyClock)
    jump_at: str = ""
    """A point at which the machine's clock jumps."""
    jump_s: int = 0
    intent: bytes = b""
    """What the requester's table was planned from."""
    confirm_s: int = 0
    """Age of a block before the node believes it."""
    store: OrderStore | None = None
    """Of the present life."""
    in_thread: InThread = inline
    is_dead: bool = False
    known: Callable[[bytes], KnownRequest | None] = lambda _: None
    """Live requests, as the node's validator remembers them."""
    faults: FaultStore | None = None
    accuser: Accuse | None = None
    node: Requester | ProvingNode | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    """Set when the node's order has ended."""

    def on_commit(self, point: str) -> None:
        """A side of a write."""
        side, name = point.split(" ", 1)
        (self.open_writes.add if side == "before" else self.open_writes.discard)(name)
        self._reach(point, self.points)

    def on_act(self, point: str) -> None:
        """A side of an act."""
        self._reach(point, self.acts)

    def _reach(self, point: str, reached: list[str]) -> None:
        """Counts the points, and ends the node at the chosen one."""
        if self.is_dead:
            raise Killed(point)  # a task of a process that has ended
        reached.append(point)
        self.steps.append(point)
        if point == self.jump_at:
            self.jump_at = ""
            self.clock.offset_s += self.jump_s
        if point == self.kill_at:
            self.kill_at, self.then_kill_at, self.is_dead = self.then_kill_at, "", True
            raise Killed(point)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> bool:
        """One life of the node. True if it was killed."""
        clock = self.clock
        self.is_dead = False
        self.open_writes.clear()
        try:
            database = Database(
                f"sqlite:///{self.folder / (self.name + '.db')}", now_ms=START_MS, on_commit=self.on_commit
            )
        except Killed:
            task_status.started()
            return True
        fill_disk(database, self)
        self.in_thread = WriterThread(database.together, inline)
        chain = LedgerChain(
            self.ledger,
            self.key.address,
            TestClock(),
            self.prepared,
            transactions=TransactionStore(database),
            in_thread=self.in_thread,
            on_act=self.on_act,
            confirm_s=self.confirm_s,
        )
        self.store = store = OrderStore(database, Vault(self.folder / f"{self.name}.key"))
        memory = GossipMemory()
        recall_requests(store, self.role, memory)
        judge = gossip_judge(market=MARKET, clock=clock, memory=memory, view=chain)
        link = Link(self.network, self.name.encode(), judge, self.on_act)
        link.deaf_to |= self.deaf_to
        frames = FrameWriter(
            market=MARKET, key=self.key, sequences=Sequences(database, self.key.address), clock=clock, in_thread=inline
        )
        self.known, self.faults = memory.request, FaultStore(database)
        node = self.make_node(store, clock, link, link, chain, frames)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                await nursery.start(node.serve)
                nursery.start_soon(self._watch, node.loop, store)
                nursery.start_soon(chain.forget_final, self._live)
                watch = Watch(
                    memory=memory,
                    faults=self.faults,
                    in_thread=self.in_thread,
                    gossip=link,
                    frames=frames,
                    clock=clock,
                    is_slashed=chain.is_slashed,
                )
                self.accuser = watch.accuse
                await nursery.start(watch.serve)
                prosecution = Prosecution(
                    store=store, in_thread=self.in_thread, memory=memory, clock=clock, accuse=watch.accuse
                )
                await nursery.start(prosecution.serve)
                link.catch_up()
                task_status.started()
                if self.asks is not None and not store.recent(1):
                    assert isinstance(node, Requester)
                    await self._ask(node, self.asks)
        except BaseExceptionGroup as group:
            killed, rest = group.split((Killed, DatabaseFailed))
            if rest is not None:
                raise rest from None
            return killed is not None
        finally:
            link.leave()
            database.close()
        return False

    def _live(self) -> frozenset[str]:
        assert self.store is not None
        return frozenset(order.order_id.hex() for role in Role for order in self.store.live(role))

    async def _ask(self, node: Requester, plan: PlannedTable) -> None:
        while True:
            try:
                await node.request(plan, ticket=0, intent=self.intent)
            except TryAgain:
                await trio.sleep(1)
            else:
                return

    async def _watch(self, loop: OrderLoop, store: OrderStore) -> None:
        # On disk too: an order that had ended before a restart is not loaded.
        while not any(order.is_over for order in (*loop.orders(), *self._of_role(store))):
            await trio.sleep(1 if trio.current_time() < SOON_S else LATER_LOOK_S)
        self.ended.set()

    async def reaches(self, state: State) -> None:
        """Returns when the node's order is in a state; bounded by the caller."""
        while self.node is None or not any(order.state is state for order in self.node.loop.orders()):
            await trio.sleep(0.05)

    async def run_lives(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Starts the node again, on the same disk, whenever it was killed."""
        while await self.run(task_status=task_status):
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(self.down_s)  # somebody starts it again

    def make_node(
        self,
        store: OrderStore,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: LedgerChain,
        frames: FrameWriter,
    ) -> Requester | ProvingNode:
        """The node's loop on a given network."""
        make = self._requester if self.role is Role.REQUESTER else self._prover
        self.node = make(store, clock, gossip, direct, chain, frames)
        return self.node

    def _requester(
        self,
        store: OrderStore,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: LedgerChain,
        frames: FrameWriter,
    ) -> Requester:
        return Requester(
            store=store,
            in_thread=self.in_thread,
            clock=clock,
            gossip=gossip,
            direct=direct,
            chain=chain,
            verifier=ToyVerifier(),
            frames=frames,
            ready=ReadyTables(gossip=gossip, direct=direct, frames=frames, clock=clock, sidecars=self.sidecars),
            terms=self.terms,
            prices=self._prices(gossip),
            replan=self.replan,
            churn=lambda core: self.churn,
            rollups=ROLLUPS,
            faults=self.faults or FaultStore(Database("sqlite://", now_ms=START_MS)),
            files=KeptFiles(self.folder / self.name),
            poll_ms=self.poll_ms,
        )

    def _prices(self, gossip: Gossip) -> ClearingPrices:
        prices = ClearingPrices(gossip, self.known)
        for price_wei in self.seen_wei:
            prices.add((0, 1, planned_table().work_log2), price_wei)
        return prices

    async def accuse(self, fault: Fault) -> None:
        """By the node's watch, once it runs."""
        if self.accuser is not None:
            await self.accuser(fault)

    async def replan(self, intent: bytes) -> PlannedTable:
        """The toy planner makes the same table, good for a second longer each time, unless it has another one."""
        await trio.lowlevel.checkpoint()
        self.planned.append(intent)
        if self.cannot_plan:
            raise Refused("NOT_PLANNABLE")
        if self.replans is not None:
            return self.replans
        return planned_table(len(self.planned))

    def _prover(
        self,
        store: OrderStore,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: LedgerChain,
        frames: FrameWriter,
    ) -> ProvingNode:
        return ProvingNode(
            store=store,
            in_thread=self.in_thread,
            clock=clock,
            gossip=gossip,
            direct=direct,
            chain=chain,
            prover=self.prover,
            able=lambda bond_wei, free_slots, free_memory_mib: Capability(
                systems=frozenset({SYSTEMS_HASH}),
                tiers=frozenset({0}),
                free_slots=free_slots,
                free_memory_mib=free_memory_mib,
                max_size_log2=20,
                bond_wei=bond_wei,
            ),
            capacity=Capacity(slots=self.slots, memory_mib=1_024),
            frames=frames,
            offer=Offer(
                curve=Curve(
                    wei_per_step=0,
                    wei_per_proof=0,
                    floor_wei=self.price_wei,
                    margin_permille=0,
                    overhead_ms=1_000,
                    costs={0: ProofCost(prove_ms=9_000, memory_mib=100)},
                ),
                payee=b"payee of " + self.name.encode().ljust(11, b"_"),
                tickets=tuple(range(self.slots)),
                collect_wei=1,
                bid_delay_ms=100,
            ),
            accuse=self.accuse,
            faults=self.faults or FaultStore(Database("sqlite://", now_ms=START_MS)),
            poll_ms=self.poll_ms,
        )

    def order(self) -> Order | None:
        """The node's last order in its role as it is on disk, read by a process of its own."""
        with self.disk() as store:
            found = self._of_role(store)
        return found[0] if found else None

    @contextmanager
    def disk(self) -> Iterator[OrderStore]:
        """The node's orders, opened by a process of its own."""
        database = Database(f"sqlite:///{self.folder / (self.name + '.db')}", now_ms=START_MS, is_reader=True)
        try:
            yield OrderStore(database, Vault(self.folder / f"{self.name}.key"))
        finally:
            database.close()

    def _of_role(self, store: OrderStore) -> tuple[Order, ...]:
        return tuple(order for order in store.recent(9) if order.role is self.role)


@dataclass
class World:
    """One requester, three provers, one ledger."""

    folder: Path
    network: Network = field(default_factory=Network)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.requester = self._party("requester", Role.REQUESTER, 1, 0)
        self.provers = tuple(
            self._party(f"prover{n}", Role.PROVER, 1 + n, price)
            for n, price in ((1, 3 * 10**14), (2, 10**14), (3, 2 * 10**14))
        )
        self.sidecar = SealKeyPair(b"\x55" * 32)

    @property
    def parties(self) -> tuple[Party, ...]:
        """All of them."""
        return (self.requester, *self.provers)

    @property
    def winner(self) -> Party:
        """The cheapest prover."""
        return self.provers[1]

    def _party(self, name: str, role: Role, number: int, price_wei: int) -> Party:
        key = AccountKey(bytes([number]) * 32)
        self.ledger.tickets[(key.address, 0)] = TICKET_WEI if role is Role.REQUESTER else BOND_WEI
        return Party(
            name=name,
            role=role,
            folder=self.folder,
            network=self.network,
            ledger=self.ledger,
            key=key,
            price_wei=price_wei,
        )
