"""A small world on a development L1: contracts, an oracle, one rollup with the example programs."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from node.chain.devaccounts import DevAccount
from node.chain.rpc import Rpc
from node.chain.sender import Payload, Sender, SignedTransaction
from node.chain.transport import HttpTransport
from node.deploy import Deployer, Deployment
from node.follower import Follower
from node.l1 import Contracts, load_and_run
from protocol.hashing import selector
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, endpoint
from protocol.vm.genesis import Genesis
from protocol.vm.programs import counter_account, oracle_reader_account

COUNTER = Address(bytes.fromhex("c0" * 20))
READER = Address(bytes.fromhex("d0" * 20))
STRIKE = 1500
SETTLE = selector("settle()").to_bytes(4, "big")
INCREMENT = selector("increment()").to_bytes(4, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a test acts on."""

    rpc: Rpc
    contracts: Contracts
    deployment: Deployment
    deployer: Deployer
    oracle: Address
    rollup_id: int
    user: DevAccount


def genesis(oracle: Address) -> Genesis:
    """A counter, and an oracle reader that settles at STRIKE."""
    return Genesis(
        accounts=(counter_account(COUNTER), oracle_reader_account(READER, endpoint(0, oracle), STRIKE)),
    )


async def build_scene(
    transport: HttpTransport, accounts: tuple[DevAccount, ...], price: int, *, verifying_key: bytes | None = None
) -> Scene:
    """Deploy everything and create one rollup.

    Args:
        verifying_key: of tier S; None uses a test-only proof system that accepts anything.
    """
    rpc = Rpc(transport, poll_s=0.02)
    chain_id = await rpc.chain_id()
    deployer = Deployer(rpc, accounts[0].key, chain_id)
    if verifying_key is not None:
        deployment = await deployer.deploy([verifying_key])
    else:
        deployment = await _accepting(rpc, deployer, chain_id)
    oracle = await deployer.create("PriceOracle", price)
    return Scene(
        rpc=rpc,
        contracts=Contracts(rpc=rpc, chain_id=chain_id, rollups=deployment.rollups, market=deployment.market),
        deployment=deployment,
        deployer=deployer,
        oracle=oracle,
        rollup_id=await deployer.create_rollup(deployment, genesis(oracle)),
        user=accounts[1],
    )


async def _accepting(rpc: Rpc, deployer: Deployer, chain_id: int) -> Deployment:
    head = await rpc.head()
    rollups = await deployer.create_rollups()
    contracts = Contracts(rpc=rpc, chain_id=chain_id, rollups=rollups, market=Address(bytes(20)))
    return Deployment(
        rollups=rollups,
        market=await contracts.market_of_rollups(),
        proof_system=await deployer.create("AcceptAllProofSystem"),
        family=Hash32(ZERO_HASH[:-1] + b"\x01"),
        start_block=head.number,
    )


async def follow(scene: Scene, nursery: trio.Nursery) -> Follower:
    """A follower at the head."""
    follower = Follower(
        scene.rpc, scene.deployment.rollups, start_block=scene.deployment.start_block, confirmations=0, poll_s=0.02
    )
    await nursery.start(follower.serve)
    return follower


async def land(scene: Scene, core: bytes, expects: bytes, triggers: bytes, value_wei: int = 0) -> bool:
    """Whether the user's transaction with this table succeeds, where every proof is accepted."""
    item = ProofItem(rollup_id=scene.rollup_id, system=scene.deployment.proof_system, proof=b"any")
    proofs = encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=ZERO_HASH, items=(item,)))
    sender = Sender(scene.rpc, scene.user.key, chain_id=scene.contracts.chain_id, persist=never)
    data = load_and_run(core, proofs, expects, triggers, b"")
    await sender.send("land", Payload(to=scene.deployment.rollups, data=data, value=value_wei))
    return (await sender.wait("land")).succeeded


async def never(_transaction: SignedTransaction) -> None:
    """Persists nothing: these tests do not restart."""
