"""Composition root: one process, one role. What each role is made of, in which order it starts, and how it ends.

Start: folder and keys, chain (checked), database, L1 replay, ticket book, libp2p host, then the role. A cancellation
ends them in the reverse order; every task hangs below the one nursery of `run_node`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from trio_typing import TaskStatus

from market.admission import Capability
from market.capacity import Capacity
from market.lanes import Lane
from market.lifecycle import Role
from node.account import open_account
from node.api.board import ReadyBoard
from node.api.server import Api, listen_of
from node.bidding import Offer
from node.chain.reverts import ErrorBook
from node.chain.rpc import Rpc
from node.churn import RootMoves
from node.conditions import ConditionsWatch, about_offer, calibration_of, memory_for_proofs_mib, offer_of
from node.config import NetworkSection, NodeConfig
from node.desk import Desk
from node.endpoints import connect_all
from node.errors import ChainMismatch, ConfigError
from node.escrow import Escrow
from node.evidence import FrameLog
from node.follower import Follower
from node.frames import FrameWriter, recall_requests
from node.identity import load_or_create_account, load_or_create_host_key
from node.inbox import Inbox
from node.injector import Injector
from node.jobs import TableProver
from node.keptfile import KeptFiles
from node.killpoints import hook_for_tests
from node.l1 import Contracts, address_from_text
from node.l1port import L1Port
from node.machine import machine_of, systems_of
from node.network import MarketDirect, MarketGossip
from node.p2p.addresses import is_public, parse_transport
from node.p2p.host import Host
from node.peering import market_host, reached
from node.planning import TablePlanner
from node.ports import SystemClock
from node.prices import ClearingPrices
from node.proofs import ProofRunner
from node.proposing import duties_of, execution_client, ready_keeper, recipients_of
from node.prover import ProvingNode
from node.proverdesk import ProverDesk
from node.ready import ReadyTables
from node.readypool import ReadyKeeper
from node.readyrelay import Hearing, ReadyRelay
from node.replay import Snapshot
from node.requester import Requester, Terms
from node.sidecar import Sidecar
from node.skew import Skew, show_skew
from node.states import make_follower, rollups_of, state_server
from node.statusfile import StatusFile
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.slots import SlotStore
from node.store.transactions import TransactionStore
from node.store.vault import Vault
from node.store.writer import WriterThread
from node.terms import lane_windows
from node.ticketbook import TicketBook
from node.verifying import ProofVerifier
from node.vigilance import Vigilance
from protocol.contracts.artifacts import artifact
from protocol.gossip import MarketId
from protocol.gossip_memory import GossipMemory
from protocol.messages import GOSSIP_CHANNELS, MAX_OPENINGS
from protocol.sealing import SealKeyPair
from protocol.signing import AccountKey
from protocol.types import Address

log = logging.getLogger("unveto.app")

READS: Final = {
    "requester": frozenset({"bid", "award", "fault"}),
    "prover": frozenset({"req", "award", "fault"}),
    "proposer": frozenset({"ready"}),
    "relay": frozenset({"fault"}),
}
"""Gossip channels that a role's own loop reads; it judges and relays all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every role is made of."""

    config: NodeConfig
    source: Path | None
    """File of the configuration; None if it has none."""
    key: AccountKey
    contracts: Contracts
    proof_system: Address
    port: L1Port
    store: OrderStore
    faults: FaultStore
    in_thread: WriterThread
    clock: SystemClock
    follower: Follower
    host: Host
    gossip: MarketGossip
    direct: MarketDirect
    frames: FrameWriter
    skew: Skew
    memory: GossipMemory
    slots: SlotStore
    hearing: Hearing
    status: StatusFile

    @property
    def poll_ms(self) -> int:
        """Time between two looks at L1."""
        return self.config.chain.poll_ms


async def run_node(config: NodeConfig, source: Path | None = None) -> None:
    """Run one node until cancelled.

    Args:
        source: the file that `config` was read from; a prover looks at it for new prices.

    Raises:
        NodeError, ChainError, IdentityError, StoreError, P2PError: it cannot start; the code says why.
    """
    folder = config.path("")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FolderLock(folder):
        async with _parts(config, source, folder) as parts, trio.open_nursery() as nursery:
            serve = {
                "requester": _serve_requester,
                "prover": _serve_prover,
                "proposer": _serve_proposer,
                "relay": _serve_relay,
            }[config.role]
            await nursery.start(serve, parts)
            nursery.start_soon(_show_rollups, parts)
            nursery.start_soon(_show_peers, parts)
            nursery.start_soon(show_skew, parts.skew, parts.clock, partial(parts.status.put, "clock"))
            parts.status.put("node", _about(parts))
            log.info("%s %s is up", config.role, parts.host.peer_id)


class FolderLock:
    """Keeps a second process off a node's folder: two would sign with the same keys."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "lock").open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(where="data_dir", problem=f"{folder} is in use by another node") from error

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _about(parts: Parts) -> dict[str, object]:
    return {
        "role": parts.config.role,
        "pid": os.getpid(),
        "account": "0x" + parts.key.address.hex(),
        "peer_id": parts.host.peer_id,
        "addresses": list(parts.host.addresses),
        "chain_id": parts.contracts.chain_id,
    }


# -- what all roles have -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _parts(config: NodeConfig, source: Path | None, folder: Path) -> AsyncIterator[Parts]:
    chain = config.chain
    rpc = Rpc(connect_all(chain), errors=_errors(), poll_s=chain.poll_ms / 1000)
    contracts, proof_system = await _checked_contracts(config, rpc)
    clock = SystemClock(time.time)
    account = load_or_create_account(folder / "account.key")
    key = AccountKey(account.secret)
    vault = Vault(folder / "vault.key")
    database = Database(
        config.store_url, now_ms=clock.now_ms(), owner=vault.fingerprint, on_commit=hook_for_tests(os.environ)
    )
    in_thread = WriterThread(database.together)
    market = MarketId(chain_id=contracts.chain_id, contract=contracts.market)
    book = TicketBook(rpc, contracts.market, start_block=chain.start_block, poll_s=chain.poll_ms / 1000)
    store = OrderStore(database, vault)
    memory = GossipMemory()
    for role in (Role.REQUESTER, Role.PROVER):
        recall_requests(store, role, memory)  # blocks, but nothing runs yet
    follower = await make_follower(config, contracts)
    skew = Skew()
    frames = FrameWriter(
        market=market,
        key=key,
        sequences=Sequences(database, key.address),
        clock=clock,
        in_thread=in_thread,
        skew=skew,
    )
    hearing = Hearing()
    with ExitStack() as closing:
        closing.callback(database.close)
        host = closing.enter_context(
            market_host(
                config.network,
                folder,
                market=market,
                clock=clock,
                memory=memory,
                view=book,
                unchecked=hearing,
                skew=skew,
            )
        )
        server = state_server(config, follower, host)
        gossip = MarketGossip(host, market, memory)
        for channel in frozenset(GOSSIP_CHANNELS) - READS[config.role]:
            gossip.ignore(channel)
        if config.role == "relay":
            # Before the host listens: a relay's evidence has no gap at its beginning.
            evidence = FrameLog(folder, hook_for_tests(os.environ))
            closing.callback(evidence.close)
            host.gossip.add_tap(evidence)
        async with trio.open_nursery() as nursery:
            await nursery.start(follower.serve)
            if server is not None:
                nursery.start_soon(server.serve)
            await nursery.start(book.serve)
            await nursery.start(host.serve)
            port, transactions = await open_account(
                config,
                contracts,
                account.secret,
                stored=TransactionStore(database),
                orders=store,
                in_thread=in_thread,
                clock=clock,
            )
            await nursery.start(transactions.serve)
            yield Parts(
                config=config,
                source=source,
                key=key,
                contracts=contracts,
                proof_system=proof_system,
                port=port,
                store=store,
                faults=FaultStore(database),
                in_thread=in_thread,
                clock=clock,
                follower=follower,
                host=host,
                gossip=gossip,
                direct=MarketDirect(
                    host, now_ms=clock.now_ms, dials_private=config.network.dial_private or _is_local(config.network)
                ),
                frames=frames,
                skew=skew,
                memory=memory,
                slots=SlotStore(database, vault),
                hearing=hearing,
                status=StatusFile(folder),
            )
            nursery.cancel_scope.cancel()


def _is_local(network: NetworkSection) -> bool:
    """Whether the node listens where only its own machine or network reaches it."""
    host = network.listen.split("/")[2]
    return host not in ("0.0.0.0", "::") and not is_public(parse_transport(network.listen))


def _errors() -> ErrorBook:
    return ErrorBook([*artifact("IRollups").abi, *artifact("IProofMarket").abi, *artifact("IGroth16ProofSystem").abi])


async def _checked_contracts(config: NodeConfig, rpc: Rpc) -> tuple[Contracts, Address]:
    chain = config.chain
    if chain.chain_id:
        await rpc.expect_chain(chain.chain_id)
    chain_id = await rpc.chain_id()
    addresses = []
    for name in ("rollups", "market", "proof_system"):
        text = getattr(chain, name)
        if len(text) != 42 or not await rpc.code(address_from_text(text)):
            raise ChainMismatch(what=f"chain.{name}", expected="a contract", actual=text or "no address")
        addresses.append(address_from_text(text))
    rollups, market, proof_system = addresses
    contracts = Contracts(rpc=rpc, chain_id=chain_id, rollups=rollups, market=market, state=chain.state)
    if await contracts.market_of_rollups() != market:
        raise ChainMismatch(what="chain.market", expected="the market of chain.rollups", actual=chain.market)
    return contracts, proof_system


async def _show_peers(parts: Parts) -> None:
    """The section appears once frames of ours would reach every wanted peer."""
    wanted = [address.rsplit("/p2p/", 1)[1] for address in parts.config.network.peers]
    await reached(parts.host, parts.frames.market, wanted)
    parts.status.put("connected", {"wanted": wanted})


async def _show_rollups(parts: Parts) -> None:
    snapshot = parts.follower.latest
    while True:
        parts.status.put("rollups", _rollup_status(snapshot))
        snapshot = await parts.follower.change()


def _rollup_status(snapshot: Snapshot) -> dict[str, object]:
    return {
        "block": snapshot.number,
        "heads": {
            str(rollup_id): {
                "root": None if followed.state is None else f"{followed.state.root:#066x}",
                "entries": followed.entries,
                "fault": followed.fault,
            }
            for rollup_id, followed in snapshot.rollups.items()
        },
    }


# -- roles -------------------------------------------------------------------------------------------------------------


async def _serve_requester(parts: Parts, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    section = parts.config.requester
    auction = section.auction
    planner = TablePlanner(
        contracts=parts.contracts,
        follower=rollups_of(parts.config, parts.follower, parts.contracts, parts.host, hook_for_tests(os.environ)),
        fee_recipient=Address(parts.key.address),
        confirmations=parts.config.chain.confirmations,
    )
    moves = RootMoves(clock=parts.clock)
    at_once, by_slot = recipients_of(section, parts.config.chain.slot_ms)
    requester = Requester(
        store=parts.store,
        in_thread=parts.in_thread,
        clock=parts.clock,
        gossip=parts.gossip,
        direct=parts.direct,
        chain=parts.port,
        verifier=ProofVerifier(contracts=parts.contracts, proof_system=parts.proof_system),
        frames=parts.frames,
        ready=ReadyTables(
            gossip=parts.gossip,
            direct=parts.direct,
            frames=parts.frames,
            clock=parts.clock,
            sidecars=at_once,
            proposers=by_slot,
            release_ms=section.release_ms,
            vouch=partial(parts.memory.remember_table, is_good=True),
        ),
        terms=Terms(
            lane=None if auction.lane == "auto" else Lane(auction.lane),
            windows=lane_windows(parts.config),
            standbys=min(auction.standbys, MAX_OPENINGS - 1),
            rounds=auction.rounds,
            bump_permille=auction.bump_permille,
            spare_tickets=section.spare_tickets,
            max_price_wei=auction.max_price_wei,
            bond_min_wei=auction.bond_wei,
            force=auction.force_release,
            record_permille=auction.record_permille,
            ready_wait_ms=auction.ready_wait_ms,
            is_submitted=auction.submit,
            publish_after_ms=section.publish_after_ms if section.publish else None,
        ),
        prices=ClearingPrices(parts.gossip, parts.memory.request),
        replan=planner.plan_again,
        churn=moves.churn,
        rollups=parts.contracts.rollups,
        faults=parts.faults,
        files=KeptFiles(parts.config.path("")),
        poll_ms=parts.poll_ms,
    )
    desk = Desk(
        inbox=Inbox(parts.config.path("")),
        requester=requester,
        planner=planner,
        store=parts.store,
        in_thread=parts.in_thread,
        ticket=section.ticket,
        chain=parts.port,
        account=parts.key.address,
        inclusion_list=parts.config.transactions.inclusion_list,
        escrow=_escrow(parts, Role.REQUESTER),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(_vigilance(parts).serve)
        await nursery.start(requester.serve)
        await nursery.start(desk.serve)
        nursery.start_soon(moves.serve, parts.follower)
        task_status.started()


def _escrow(parts: Parts, role: Role) -> Escrow:
    return Escrow(
        port=parts.port,
        store=parts.store,
        in_thread=parts.in_thread,
        clock=parts.clock,
        role=role,
        account=parts.key.address,
    )


async def _serve_prover(parts: Parts, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    section = parts.config.prover
    machine, family = await trio.to_thread.run_sync(
        partial(machine_of, parts.config, parts.contracts.chain_id, parts.proof_system)
    )
    runner = ProofRunner(max(section.max_jobs, 1), parts.config.path("jobs"))
    runner.sweep()
    tiers = machine.tiers
    vigilance = _vigilance(parts)

    def offer(config: NodeConfig) -> Offer:
        measured = calibration_of(config, machine.backend)
        return offer_of(config, measured, tiers=tiers, account=Address(parts.key.address))

    prover = ProvingNode(
        store=parts.store,
        in_thread=parts.in_thread,
        clock=parts.clock,
        gossip=parts.gossip,
        direct=parts.direct,
        chain=parts.port,
        prover=TableProver(
            contracts=parts.contracts,
            machine=machine,
            runner=runner,
            clock=parts.clock,
        ),
        able=partial(_able, systems_of(machine.proof_system, family), frozenset(tiers), section.max_size_log2),
        capacity=Capacity(
            slots=max(section.max_jobs, 1) + section.spare_bids, memory_mib=memory_for_proofs_mib(section)
        ),
        frames=parts.frames,
        offer=offer(parts.config),
        faults=parts.faults,
        accuse=vigilance.watch.accuse,
        poll_ms=parts.poll_ms,
    )

    def adopt(config: NodeConfig) -> None:
        prover.adopt(offer(config))
        parts.status.put("prover", about_offer(prover.offer))

    parts.status.put("prover", about_offer(prover.offer))
    async with trio.open_nursery() as nursery:
        await nursery.start(vigilance.serve)
        await nursery.start(prover.serve)
        desk = ProverDesk(inbox=Inbox(parts.config.path("")), prover=prover, escrow=_escrow(parts, Role.PROVER))
        await nursery.start(desk.serve)
        if parts.source is not None:
            nursery.start_soon(ConditionsWatch(parts.source, parts.config, parts.clock, adopt).serve)
        task_status.started()


def _able(
    systems: frozenset[bytes],
    tiers: frozenset[int],
    max_size_log2: int,
    bond_wei: int,
    free_slots: int,
    free_memory_mib: int,
) -> Capability:
    return Capability(
        systems=systems,
        tiers=tiers,
        free_slots=free_slots,
        free_memory_mib=free_memory_mib,
        max_size_log2=max_size_log2,
        bond_wei=bond_wei,
    )


async def _serve_proposer(parts: Parts, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    configured = parts.config.proposer.sidecar_key
    key = load_or_create_seal_key(Path(configured) if configured else parts.config.path("sidecar.key"))
    parts.status.put("sidecar", {"seal_key": key.public.hex()})
    keeper = ready_keeper(parts.contracts, parts.proof_system, parts.clock)
    sidecar = Sidecar(
        gossip=parts.gossip,
        direct=parts.direct,
        frames=parts.frames,
        keeper=keeper,
        clock=parts.clock,
        key=key,
        status=parts.status,
    )
    async with trio.open_nursery() as nursery:
        duties = duties_of(parts.config.proposer)
        if duties is not None:
            injector = Injector(
                duties=duties,
                chooser=keeper,
                client=execution_client(parts.config.proposer, parts.contracts.rpc),
                store=parts.slots,
                in_thread=parts.in_thread,
                clock=parts.clock,
                status=parts.status,
                inject_ms=parts.config.proposer.inject_ms,
            )
            await nursery.start(injector.serve)
        await nursery.start(sidecar.serve)
        await nursery.start(_ready_relay(parts, keeper, sidecar.show).serve)
        await _serve_api(parts, keeper, nursery)
        task_status.started()


async def _serve_api(parts: Parts, keeper: ReadyKeeper, nursery: trio.Nursery) -> None:
    if parts.config.api.listen:
        listen = listen_of(parts.config.api.listen)
        board = ReadyBoard(keeper, parts.clock, shows_sealed=listen.is_loopback)
        api = Api(listen, board, rate=parts.config.api.rate, on_url=lambda url: parts.status.put("api", {"url": url}))
        await nursery.start(api.serve)


def load_or_create_seal_key(path: Path) -> SealKeyPair:
    """The X25519 key of a sidecar; made by the rules of every other key file, whose content it derives from."""
    return SealKeyPair(load_or_create_host_key(path).seed)


def _vigilance(parts: Parts) -> Vigilance:
    relay = parts.config.relay
    return Vigilance.of(
        store=parts.store,
        faults=parts.faults,
        in_thread=parts.in_thread,
        clock=parts.clock,
        memory=parts.memory,
        host=parts.host,
        gossip=parts.gossip,
        direct=parts.direct,
        frames=parts.frames,
        chain=parts.port,
        witness_ticket=relay.ticket if parts.config.role == "relay" and relay.witness else None,
    )


async def _serve_relay(parts: Parts, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """A relay's work is the host's: judging, passing on, keeping; and telling what it can prove."""
    keeper = ready_keeper(parts.contracts, parts.proof_system, parts.clock)
    async with trio.open_nursery() as nursery:
        await nursery.start(_vigilance(parts).serve)
        await nursery.start(_ready_relay(parts, keeper).serve)
        await _serve_api(parts, keeper, nursery)
        task_status.started()


def _ready_relay(parts: Parts, keeper: ReadyKeeper, on_change: Callable[[], None] = lambda: None) -> ReadyRelay:
    relay = ReadyRelay(
        gossip=parts.gossip,
        direct=parts.direct,
        frames=parts.frames,
        keeper=keeper,
        memory=parts.memory,
        clock=parts.clock,
        blame=parts.host.strike,
        on_change=on_change,
    )
    parts.hearing.hear = relay.hear
    return relay
