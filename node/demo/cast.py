"""The demo's seven nodes: their configurations, keys and processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from node.app import load_or_create_seal_key
from node.config import (
    AuctionSection,
    ChainSection,
    NetworkSection,
    NodeConfig,
    ProverSection,
    RequesterSection,
)
from node.demo.stage import Stage, fund
from node.identity import load_or_create_account
from node.launch import NodeProcess
from node.statusfile import read_status

UP_TIMEOUT_S: Final = 90
CONNECTED_TIMEOUT_S: Final = 30
RELAYS: Final = ("relay-1", "relay-2")
PROVERS: Final = (
    # name, price of a proof, price of a step, delay before bidding, promised ms, threads: three that differ
    ("prover-1", 40 * 10**12, 2 * 10**9, 50, 7_000, 2),
    ("prover-2", 30 * 10**12, 10**9, 250, 9_000, 2),
    ("prover-3", 90 * 10**12, 10**9, 0, 14_000, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The nodes by name."""

    user: NodeProcess
    provers: tuple[NodeProcess, ...]
    relays: tuple[NodeProcess, ...]
    proposer: NodeProcess

    @property
    def all(self) -> tuple[NodeProcess, ...]:
        """Every node."""
        return (*self.relays, *self.provers, self.proposer, self.user)


def casting(stage: Stage, root: Path, auction: AuctionSection, zkey: Path | None = None) -> Cast:
    """Configurations of all nodes; the peers of all but the relays are filled in when the relays listen.

    Args:
        zkey: proving key of tier S; None lets every prover find the cached one, which builds the circuit to name it.
    """
    chain = ChainSection(
        rpc=(stage.l1.url,),
        chain_id=stage.contracts.chain_id,
        rollups="0x" + stage.deployment.rollups.hex(),
        market="0x" + stage.deployment.market.hex(),
        proof_system="0x" + stage.deployment.proof_system.hex(),
        start_block=stage.deployment.start_block,
        poll_ms=150,
        slot_ms=1_000,  # blocks come on demand: windows are milliseconds
    )

    def node(name: str, config: NodeConfig) -> NodeProcess:
        return NodeProcess(name=name, config=replace(config, data_dir=str(root / name), chain=chain))

    proposer = node("proposer", NodeConfig(role="proposer"))
    sidecar = load_or_create_seal_key(_made(proposer.folder) / "sidecar.key").public.hex()
    provers = tuple(
        node(
            name,
            NodeConfig(
                role="prover",
                prover=ProverSection(
                    zkey="" if zkey is None else str(zkey),
                    wei_per_proof=per_proof,
                    wei_per_step=per_step,
                    bid_delay_ms=delay_ms,
                    ms_per_proof=proof_ms,
                    threads=threads,
                    allow_dev_key=True,
                ),
            ),
        )
        for name, per_proof, per_step, delay_ms, proof_ms, threads in PROVERS
    )
    return Cast(
        user=node(
            "user", NodeConfig(role="requester", requester=RequesterSection(sidecars=(sidecar,), auction=auction))
        ),
        provers=provers,
        relays=tuple(node(name, NodeConfig(role="relay")) for name in RELAYS),
        proposer=proposer,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


async def give_money(stage: Stage, cast: Cast) -> None:
    """Accounts for those who sign on L1, and a ticket each."""
    for node in (cast.user, *cast.provers):
        account = load_or_create_account(_made(node.folder) / "account.key")
        await fund(stage, account, with_ticket=True)


async def enter(cast: Cast) -> None:
    """Start the relays, then everybody else with the relays as peers; return when all are up and connected.

    Raises:
        NodeDied, trio.TooSlowError.
    """
    for relay in cast.relays:
        relay.start()
    addresses: list[str] = []
    for relay in cast.relays:
        addresses += (await relay.status("node", timeout_s=UP_TIMEOUT_S))["addresses"]
    others = [node for node in cast.all if node not in cast.relays]
    for node in others:
        node.config = replace(node.config, network=NetworkSection(peers=tuple(addresses)))
        node.start()
    for node in others:
        await node.status("node", timeout_s=UP_TIMEOUT_S)
    for node in others:
        await node.status("connected", timeout_s=CONNECTED_TIMEOUT_S)


def status_of(node: NodeProcess, section: str) -> dict[str, object]:
    """What a node's status file says now."""
    found = (read_status(node.folder) or {}).get(section, {})
    assert isinstance(found, dict)
    return found
