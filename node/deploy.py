"""Puts the contracts on a chain and creates rollups: for development chains, demos and tests.

Whoever runs a real deployment reads the same few steps here; nothing needs an owner or an administrator afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from node.chain.records import Receipt
from node.chain.rpc import Rpc
from node.chain.sender import Payload, Sender, SignedTransaction
from node.l1 import Contracts
from protocol.contracts.artifacts import call_data, creation_code, decode_output
from protocol.types import ZERO_ADDRESS, Address, Hash32
from protocol.vm.genesis import Genesis, encode_genesis, state_from_genesis
from protocol.vm.transactions import transaction_domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where everything is."""

    rollups: Address
    market: Address
    proof_system: Address
    family: Hash32
    start_block: int


async def _forget(transaction: SignedTransaction) -> None:
    """A deployer keeps nothing: if it dies, somebody deploys again."""


class Deployer:
    """One funded account that sends one transaction after the other and waits for each."""

    def __init__(self, rpc: Rpc, key: bytes, chain_id: int) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._sender = Sender(rpc, key, chain_id=chain_id, persist=_forget)
        self._count = 0

    @property
    def account(self) -> Address:
        """Who sends."""
        return Address(self._sender.account)

    async def send(self, to: bytes | None, data: bytes = b"", value: int = 0, gas: int | None = None) -> Receipt:
        """Send and wait until mined.

        Raises:
            TransactionFailed, ExecutionReverted: it does not succeed.
        """
        self._count += 1
        payload = Payload(to=to, data=data, value=value, gas=gas)
        sent = await self._sender.send(f"deploy-{self._count}", payload)
        return await self._sender.wait(sent.purpose)

    async def create(self, name: str, *arguments: object) -> Address:
        """Deploy a contract by artifact name."""
        receipt = await self.send(None, creation_code(name, *arguments))
        assert receipt.created is not None
        return Address(receipt.created)

    async def create_rollups(self) -> Address:
        """Deploy Rollups after the two contracts that it is given for good."""
        reader, module = await self.create("TableReader"), await self.create("RollupsAdmin")
        return await self.create("Rollups", reader, module)

    async def deploy(self, verifying_keys: Sequence[bytes]) -> Deployment:
        """Rollups with its market, the Groth16 proof system, and one family of verifying keys in tier order."""
        head = await self._rpc.head()
        rollups = await self.create_rollups()
        contracts = Contracts(rpc=self._rpc, chain_id=self._chain_id, rollups=rollups, market=ZERO_ADDRESS)
        proof_system = await self.create("Groth16ProofSystem")
        hashes = [await self._register(proof_system, "registerKey", key) for key in verifying_keys]
        family = await self._register(proof_system, "registerFamily", hashes)
        return Deployment(
            rollups=rollups,
            market=await contracts.market_of_rollups(),
            proof_system=proof_system,
            family=family,
            start_block=head.number,
        )

    async def _register(self, proof_system: Address, function: str, argument: object) -> Hash32:
        data = call_data("IGroth16ProofSystem", function, argument)
        answer = await self._rpc.call(proof_system, data, sender=self.account)
        await self.send(proof_system, data)
        return Hash32(decode_output("IGroth16ProofSystem", function, answer)[0])

    async def create_rollup(self, deployment: Deployment, genesis: Genesis) -> int:
        """Register a rollup that the Groth16 system proves and nobody owns; its id.

        A genesis without domain gets that of this chain and contract, so that its users can sign transactions.
        """
        if not genesis.domain:
            genesis = replace(genesis, domain=transaction_domain(self._chain_id, deployment.rollups))
        root = state_from_genesis(genesis).root.to_bytes(32, "big")
        config = ([deployment.proof_system], [deployment.family], 1)
        data = call_data("IRollups", "createRollup", config, bytes(20), 0, root, encode_genesis(genesis))
        receipt = await self.send(deployment.rollups, data)
        return int.from_bytes(receipt.logs[0].topics[1], "big")
