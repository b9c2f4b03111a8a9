"""A proposer's slots in one process: the real injector and store on a mock clock, a made-up execution client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from market.ready_chain import Chain
from market.ready_pool import Move, ReadyTx
from node.duties import FixedDuties, SlotTimes
from node.injector import Inclusion, Injector
from node.ports import Refused, TryAgain
from node.statusfile import StatusFile
from node.store.database import Database
from node.store.slots import SlotPlan, SlotStore
from node.store.vault import Vault
from tests.support.market_ledger import START_MS, TestClock
from tests.support.market_sim import Killed, inline

SLOT_MS = 12_000
TIMES = SlotTimes(genesis_ms=START_MS - 100 * SLOT_MS - 5_000, slot_ms=SLOT_MS)
"""The run begins 5 s into slot 100."""
OURS = FixedDuties(slot_times=TIMES, remainder=2, period=3)
"""101, 104, ..."""
INJECT_MS = 4_000


def made_tx(number: int) -> ReadyTx:
    """A transaction that is told apart by its bytes."""
    return ReadyTx(
        tx_hash=bytes([number]) * 32,
        table_id=bytes([number]) * 32,
        sender=bytes([number]) * 20,
        nonce=0,
        gas=100_000,
        gas_used=90_000,
        max_fee_wei=10,
        tip_wei=5,
        value_wei=0,
        raw=b"raw " + bytes([number]) * 60,
        moves=(Move(rollup_id=number, pre_root=0, post_root=1),),
        not_before=0,
        valid_until=START_MS,
        received_ms=0,
        is_sealed=True,
    )


@dataclass
class Client:
    """An execution client that remembers, and makes blocks when told."""

    clock: TestClock = field(default_factory=TestClock)
    pool: list[bytes] = field(default_factory=list)
    handed: list[tuple[int, bytes]] = field(default_factory=list)
    """(unix ms, raw) of each eth_sendRawTransaction."""
    blocks: dict[bytes, Inclusion] = field(default_factory=dict)
    refuses: frozenset[bytes] = frozenset()
    away_until_ms: int = 0
    on_inject: Callable[[], None] = lambda: None

    async def inject(self, raw: bytes) -> None:
        """As `node.injector.ExecutionClient`."""
        await trio.lowlevel.checkpoint()
        if self.clock.now_ms() < self.away_until_ms:
            raise TryAgain("AWAY")
        if raw in self.refuses:
            raise Refused("CHN-011", "underpriced")
        self.handed.append((self.clock.now_ms(), raw))
        if raw not in self.pool:
            self.pool.append(raw)
        self.on_inject()

    async def inclusion(self, tx_hash: bytes) -> Inclusion | None:
        """Where it is."""
        await trio.lowlevel.checkpoint()
        return self.blocks.get(tx_hash)

    def mine(self, slot: int, *txs: ReadyTx, succeeded: bool = True) -> None:
        """The block of a slot."""
        for tx in txs:
            self.blocks[tx.tx_hash] = Inclusion(
                block_number=slot + 1_000,
                time_s=TIMES.start_s(slot),
                succeeded=succeeded,
                gas_used=tx.gas_used,
                tip_wei=tx.gas_used * tx.tip_wei,
            )


@dataclass
class Choices:
    """Gives what it was told, and counts the questions."""

    ready: list[Chain] = field(default_factory=list)
    """One for each question; the last one again and again."""
    asked_s: list[int] = field(default_factory=list)

    async def choose(self, time_s: int) -> Chain:
        """As `node.injector.Chooser`."""
        await trio.lowlevel.checkpoint()
        self.asked_s.append(time_s)
        return self.ready.pop(0) if len(self.ready) > 1 else self.ready[0]


def chain_of(*txs: ReadyTx) -> Chain:
    """A choice."""
    return Chain(txs=txs, fee_wei=sum(tx.gas_used * tx.tip_wei for tx in txs), is_best=True)


@dataclass
class Proposer:
    """One proposer; its folder survives its death."""

    folder: Path
    client: Client = field(default_factory=Client)
    choices: Choices = field(default_factory=lambda: Choices([chain_of(made_tx(1), made_tx(2))]))
    points: list[str] = field(default_factory=list)
    kill_at: str = ""
    duties: object = OURS

    def on_commit(self, point: str) -> None:
        """Ends the process at the chosen point, once."""
        self.points.append(point)
        if point == self.kill_at:
            self.kill_at = ""
            raise Killed(point)

    async def run(self) -> bool:
        """One life. True if it was killed."""
        database = None
        try:
            database = Database(
                f"sqlite:///{self.folder / 'slots.db'}", now_ms=self.client.clock.now_ms(), on_commit=self.on_commit
            )
            injector = Injector(
                duties=self.duties,  # type: ignore[arg-type]
                chooser=self.choices,
                client=self.client,
                store=SlotStore(database, Vault(self.folder / "vault.key")),
                in_thread=inline,
                clock=self.client.clock,
                status=StatusFile(self.folder),
                inject_ms=INJECT_MS,
            )
            await injector.serve()
        except Killed:
            return True
        except BaseExceptionGroup as group:
            killed, rest = group.split(Killed)
            if rest is not None:
                raise rest from None
            return killed is not None
        finally:
            if database is not None:
                database.close()

    async def run_lives(self) -> None:
        """Starts again whenever it was killed."""
        while await self.run():
            await trio.sleep(0.05)

    def plan(self, slot: int) -> SlotPlan | None:
        """What is on disk."""
        database = Database(f"sqlite:///{self.folder / 'slots.db'}", now_ms=START_MS, is_reader=True)
        try:
            return SlotStore(database, Vault(self.folder / "vault.key")).plan(slot)
        finally:
            database.close()


async def until(slot: int, after_ms: int = 0) -> None:
    """Let the clock come to a slot."""
    await trio.sleep((TIMES.start_ms(slot) + after_ms - TestClock().now_ms()) / 1000)
