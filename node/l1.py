"""The contracts of SPEC §8 as this node calls them: addresses, calldata, views, events. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import trio
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from node.chain.callevm import CallEvm
from node.chain.errors import ExecutionReverted
from node.chain.evm import Call
from node.chain.localevm import LocalEvm
from node.chain.records import Block, Log, Tag
from node.chain.rpc import Rpc
from node.config import StateMode
from node.ports import AgreementView
from protocol.agreement import Agreement, ticket_cap_wei
from protocol.contracts.artifacts import AbiItem, abi_type, artifact, call_data, decode_output, decode_revert, signature
from protocol.hashing import keccak256
from protocol.load import config_hash, lockset_systems_hash
from protocol.types import Address, Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupView:
    """A rollup as L1 has it."""

    root: int
    ether_balance: int
    """wei"""
    last_l2_time: int
    epoch: int
    owner: Address
    """Zero for nobody: then the configuration is fixed."""
    config_delay: int
    """Seconds from an announcement of the owner to its effect."""
    pending_from: int
    """Unix seconds from which an announced configuration holds, 0 if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofConfig:
    """Proof systems of a rollup in one epoch."""

    systems: tuple[Address, ...]
    families: tuple[Hash32, ...]
    threshold: int
    effective_from: int = 0
    """Unix seconds from which it is or was in force."""

    @property
    def hash(self) -> Hash32:
        """Comparable in an expectation."""
        return config_hash(self.threshold, self.systems, self.families)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketView:
    """An escrow ticket."""

    amount_wei: int
    """What it can pay: its class's cap, or nothing once it paid or was withdrawn."""
    bond_wei: int
    """What answers for naming it in two requests at a time."""
    withdrawable_at: int
    """unix seconds, 0 if it neither paid nor a withdrawal was requested"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Where the contracts are, and how they are asked."""

    rpc: Rpc
    chain_id: int
    rollups: Address
    market: Address
    state: StateMode = "proof"
    """How L1 state is had for local runs: with proofs, on the endpoints' word, or not at all (eth_call)."""

    def evm(self, block: Block) -> LocalEvm | CallEvm:
        """L1 at a block, to try transactions on. Its methods block: run them in a thread."""
        if self.state == "call":
            return CallEvm(self.rpc.transport, block)
        return LocalEvm(self.rpc.transport, block, chain_id=self.chain_id, is_proven=self.state == "proof")

    async def _view(self, to: bytes, contract: str, function: str, *arguments: object, tag: Tag = "latest") -> Any:
        answer = await self.rpc.call(to, call_data(contract, function, *arguments), tag=tag)
        return decode_output(contract, function, answer)

    async def market_of_rollups(self) -> Address:
        """The market that Rollups settles with."""
        (market,) = await self._view(self.rollups, "IRollups", "market")
        return address_from_text(market)

    async def _view_on(self, evm: LocalEvm | CallEvm, function: str, *arguments: object) -> Any:
        call = Call(sender=bytes(20), to=self.rollups, data=call_data("IRollups", function, *arguments))
        outcome = await trio.to_thread.run_sync(evm.run, call)
        if not outcome.succeeded:
            raise ExecutionReverted(outcome.output, None)
        return decode_output("IRollups", function, outcome.output)

    async def rollup(self, rollup_id: int, tag: Tag = "latest") -> RollupView:
        """State of one rollup."""
        (view,) = await self._view(self.rollups, "IRollups", "rollup", rollup_id, tag=tag)
        return _rollup_view(view)

    async def rollup_on(self, evm: LocalEvm | CallEvm, rollup_id: int) -> RollupView:
        """State of one rollup by a local run: as proven as the EVM's state is."""
        (view,) = await self._view_on(evm, "rollup", rollup_id)
        return _rollup_view(view)

    async def config(self, rollup_id: int, epoch: int, tag: Tag = "latest") -> ProofConfig:
        """Proof systems of one rollup in one epoch."""
        return _proof_config(await self._view(self.rollups, "IRollups", "config", rollup_id, epoch, tag=tag))

    async def config_on(self, evm: LocalEvm | CallEvm, rollup_id: int, epoch: int) -> ProofConfig:
        """`config` by a local run."""
        return _proof_config(await self._view_on(evm, "config", rollup_id, epoch))

    async def systems_hash(self, rollup_ids: Sequence[int]) -> Hash32:
        """An agreement's systemsHash for a lockset, as configured now."""
        configs = []
        for rollup_id in rollup_ids:
            view = await self.rollup(rollup_id)
            configs.append((await self.config(rollup_id, view.epoch)).hash)
        return lockset_systems_hash(configs)

    async def verifying_key(self, proof_system: bytes, family: bytes, tier: int) -> bytes | None:
        """Bytes of a family's key as the Groth16 system stores them (as code, after one byte); None if it has none."""
        (pointer,) = await self._view(proof_system, "IGroth16ProofSystem", "keyOf", family, tier)
        code = await self.rpc.code(address_from_text(pointer))
        return code[1:] or None

    async def accepts(self, system: bytes, family: bytes, inputs: bytes, statement: bytes, proof: bytes) -> bool:
        """What a proof system's contract says of a proof, without a transaction."""
        (is_valid,) = await self._view(system, "IProofSystem", "verify", family, inputs, statement, proof)
        return bool(is_valid)

    async def ticket(self, owner: bytes, number: int) -> TicketView:
        """One escrow ticket."""
        (ticket,) = await self._view(self.market, "IProofMarket", "ticketOf", owner, number)
        _class, amount, bond, withdrawable, _paid_for = ticket
        return TicketView(amount_wei=amount, bond_wei=bond, withdrawable_at=withdrawable)

    async def ticket_count(self, owner: bytes) -> int:
        """How many tickets an account has had; they are numbered from 0."""
        (count,) = await self._view(self.market, "IProofMarket", "ticketCount", owner)
        assert isinstance(count, int)
        return count

    async def is_paid(self, agreement: Agreement, agreement_hash: bytes, core: bytes) -> bool:
        """Whether the requester's ticket paid for this core under this agreement."""
        arguments = (agreement.requester, agreement.requester_ticket, agreement_hash, core)
        (paid,) = await self._view(self.market, "IProofMarket", "isPaid", *arguments)
        assert isinstance(paid, bool)
        return paid

    async def agreement(self, agreement_hash: bytes) -> AgreementView:
        """What the market knows of an agreement."""
        (view,) = await self._view(self.market, "IProofMarket", "stateOf", agreement_hash)
        _recorded, delivered, slashed, cancelled, relieved, voided, answered, penalised, _counter, respond_by, _ = view
        return AgreementView(
            is_delivered=delivered,
            is_slashed=slashed,
            is_cancelled=cancelled,
            is_relieved=relieved,
            is_void=voided,
            is_answered=answered,
            is_penalised=penalised,
            respond_by=respond_by,
        )

    async def payout_of(self, account: bytes) -> int:
        """Credit that `collect` would send, wei."""
        (amount,) = await self._view(self.market, "IProofMarket", "payoutOf", account)
        assert isinstance(amount, int)
        return amount


def _rollup_view(view: Sequence[Any]) -> RollupView:
    root, ether, last, epoch, owner, delay, pending = view
    return RollupView(
        root=int.from_bytes(root, "big"),
        ether_balance=ether,
        last_l2_time=last,
        epoch=epoch,
        owner=address_from_text(owner),
        config_delay=delay,
        pending_from=pending,
    )


def _proof_config(values: Sequence[Any]) -> ProofConfig:
    (systems, families, threshold), effective_from = values
    return ProofConfig(
        systems=tuple(address_from_text(each) for each in systems),
        families=tuple(Hash32(each) for each in families),
        threshold=threshold,
        effective_from=effective_from,
    )


def address_from_text(text: str) -> Address:
    """20 bytes of a hexadecimal address."""
    return Address(bytes.fromhex(text.removeprefix("0x")))


def slash(settlement: bytes, ack: bytes, failover: bytes) -> bytes:
    """Calldata of ProofMarket.slash.

    Args:
        failover: empty where the requester's ticket is whole; else core id and settlement of the later rank that it
            paid.
    """
    return call_data("IProofMarket", "slash", settlement, ack, failover)


def slash_equivocation(first: bytes, second: bytes, paid_core: bytes) -> bytes:
    """Calldata of ProofMarket.slashEquivocation; `first` is what the ticket paid."""
    return call_data("IProofMarket", "slashEquivocation", first, second, paid_core)


def settlement_in(data: bytes) -> bytes | None:
    """The settlement in calldata of a load or a claim, None in any other."""
    for contract, function, place in _SETTLING:
        known = call_data(contract, function, *(b"" for _ in range(_SETTLING[(contract, function, place)])))[:4]
        if data[:4] == known:
            try:
                found = decode(["bytes"] * _SETTLING[(contract, function, place)], data[4:])[place]
            except DecodingError:
                return None
            assert isinstance(found, bytes)
            return found
    return None


_SETTLING: Final = {("IRollups", "loadAndRun", 4): 5, ("IProofMarket", "claimWithProof", 2): 4}
"""Contract, function, place of the settlement among its arguments, all of them bytes: how many."""


def force_release(settlement: bytes, box: bytes) -> bytes:
    """Calldata of ProofMarket.forceRelease."""
    return call_data("IProofMarket", "forceRelease", settlement, box)


def answer_release(settlement: bytes, ack: bytes) -> bytes:
    """Calldata of ProofMarket.answerRelease."""
    return call_data("IProofMarket", "answerRelease", settlement, ack)


def take_peek_penalty(settlement: bytes) -> bytes:
    """Calldata of ProofMarket.takePeekPenalty."""
    return call_data("IProofMarket", "takePeekPenalty", settlement)


def cancel_agreement(settlement: bytes) -> bytes:
    """Calldata of ProofMarket.cancelAgreement."""
    return call_data("IProofMarket", "cancelAgreement", settlement)


def record(settlement: bytes) -> bytes:
    """Calldata of ProofMarket.record."""
    return call_data("IProofMarket", "record", settlement)


def void_agreement(settlement: bytes, ack: bytes, core: bytes, rollup_id: int, epoch: int) -> bytes:
    """Calldata of ProofMarket.voidAgreement."""
    return call_data("IProofMarket", "voidAgreement", settlement, ack, core, rollup_id, epoch)


def collect(account: bytes) -> bytes:
    """Calldata of ProofMarket.collect."""
    return call_data("IProofMarket", "collect", "0x" + account.hex())


def request_withdraw(ticket: int) -> bytes:
    """Calldata of ProofMarket.requestWithdraw."""
    return call_data("IProofMarket", "requestWithdraw", ticket)


def withdraw(ticket: int) -> bytes:
    """Calldata of ProofMarket.withdraw."""
    return call_data("IProofMarket", "withdraw", ticket)


def decline(settlement: bytes, declined: bytes) -> bytes:
    """Calldata of ProofMarket.decline."""
    return call_data("IProofMarket", "decline", settlement, declined)


def claim_with_proof(core: bytes, proofs: bytes, settlement: bytes, receipt: bytes) -> bytes:
    """Calldata of ProofMarket.claimWithProof; an empty receipt is none."""
    return call_data("IProofMarket", "claimWithProof", core, proofs, settlement, receipt)


def deposit(ticket_class: int, count: int) -> tuple[bytes, int]:
    """Calldata of ProofMarket.deposit, and the wei that must go with it: cap and bond of each ticket."""
    return call_data("IProofMarket", "deposit", ticket_class, count), 2 * ticket_cap_wei(ticket_class) * count


def load_and_run(core: bytes, proofs: bytes, expects: bytes, triggers: bytes, settlement: bytes) -> bytes:
    """Calldata of the user's one transaction."""
    return call_data("IRollups", "loadAndRun", core, proofs, expects, triggers, settlement)


def missing_execution(revert_data: bytes) -> tuple[Hash32, bytes] | None:
    """(actionHash, packed action) of an ExecutionNotFound, None for any other revert."""
    revert = decode_revert(revert_data)
    if revert.name != "ExecutionNotFound":
        return None
    return Hash32(revert.values["actionHash"]), revert.values["action"]


# -- events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupCreated:
    """A rollup begins."""

    rollup_id: int
    genesis_root: int
    genesis: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLoaded:
    """A core is on L1."""

    core_id: Hash32
    core: bytes
    is_persistent: bool
    """Whether later transactions can consume its entries; else only the one that loaded it."""
    payee: Address
    agreement_hash: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConsumed:
    """An entry happened."""

    core_id: Hash32
    index: int
    rollup_id: int
    new_root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeReverted:
    """What happened since the scope of an entry's REVERT was opened is undone; so are its logs (SPEC §8.1)."""

    core_id: Hash32
    index: int
    rollup_id: int


Event = RollupCreated | TableLoaded | ExecutionConsumed | ScopeReverted


@cache
def _events(contract: str) -> Mapping[bytes, AbiItem]:
    return {keccak256(signature(item).encode()): item for item in artifact(contract).abi if item["type"] == "event"}


def event_topic(contract: str, event: str) -> bytes:
    """First topic of a contract's event."""
    (found,) = (topic for topic, item in _events(contract).items() if item["name"] == event)
    return found


def event_values(contract: str, log: Log) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of a contract's event; an empty name for any other log."""
    return _event_values(contract, log.topics, log.data)


def _event_values(contract: str, topics: tuple[bytes, ...], data: bytes) -> tuple[str, Mapping[str, Any]]:
    item = _events(contract).get(topics[0]) if topics else None
    if item is None:
        return "", {}
    indexed = [each for each in item["inputs"] if each["indexed"]]
    plain = [each for each in item["inputs"] if not each["indexed"]]
    values = {each["name"]: decode([abi_type(each)], topic)[0] for each, topic in zip(indexed, topics[1:], strict=True)}
    values |= zip((each["name"] for each in plain), decode([abi_type(each) for each in plain], data), strict=True)
    return item["name"], values


TABLE_LOADED: Final = event_topic("IRollups", "TableLoaded")


def consumed_entry(topics: tuple[bytes, ...], data: bytes) -> tuple[Hash32, int] | None:
    """(coreId, entry) of an ExecutionConsumed that a local run logged; None for any other log."""
    name, values = _event_values("IRollups", topics, data)
    return (Hash32(values["coreId"]), int(values["index"])) if name == "ExecutionConsumed" else None


def event_from_log(log: Log) -> Event | None:
    """The followed event that a log of Rollups is, None for others."""
    name, values = event_values("IRollups", log)
    match name:
        case "RollupCreated":
            return RollupCreated(
                rollup_id=values["rollupId"],
                genesis_root=int.from_bytes(values["genesisRoot"], "big"),
                genesis=values["genesis"],
            )
        case "TableLoaded":
            return TableLoaded(
                core_id=Hash32(values["coreId"]),
                core=values["core"],
                is_persistent=values["lane"] != 0,
                payee=address_from_text(values["payee"]),
                agreement_hash=Hash32(values["agreementHash"]),
            )
        case "ExecutionConsumed":
            return ExecutionConsumed(
                core_id=Hash32(values["coreId"]),
                index=values["index"],
                rollup_id=values["rollupId"],
                new_root=int.from_bytes(values["newRoot"], "big"),
            )
        case "ScopeReverted":
            return ScopeReverted(core_id=Hash32(values["coreId"]), index=values["index"], rollup_id=values["rollupId"])
        case _:
            return None
