"""The contracts of SPEC §8 as this node calls them: addresses, calldata, views, events. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode

from node.chain.records import Log, Tag
from node.chain.rpc import Rpc
from protocol.hashing import keccak256
from protocol.load import config_hash, lockset_family_hash
from protocol.types import Address, Hash32

AGREEMENT_TUPLE = (
    "(bytes32,uint8,address,uint32,address,uint32,address,uint96,uint96,bytes32,bytes32,bytes32,uint64,uint64,uint64)"
)


@cache
def selector(signature: str) -> bytes:
    """First four bytes of the hash of `name(type,...)`."""
    return keccak256(signature.encode())[:4]


def calldata(signature: str, *arguments: object) -> bytes:
    """ABI-encoded call of `name(type,...)`."""
    types = signature[signature.index("(") + 1 : -1]
    return selector(signature) + (encode(_split(types), arguments) if types else b"")


def _split(types: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, char in enumerate(types):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(types[start:at])
            start = at + 1
    return [*parts, types[start:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupView:
    """A rollup as L1 has it."""

    root: int
    ether_balance: int
    """wei"""
    last_l2_time: int
    epoch: int
    owner: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofConfig:
    """Proof systems of a rollup in one epoch."""

    systems: tuple[Address, ...]
    families: tuple[Hash32, ...]
    threshold: int

    @property
    def hash(self) -> Hash32:
        """Comparable in an expectation."""
        return config_hash(self.threshold, self.systems, self.families)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketView:
    """An escrow ticket."""

    amount_wei: int
    withdrawable_at: int
    """unix seconds, 0 if no withdrawal was requested"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Where the contracts are, and how they are asked."""

    rpc: Rpc
    chain_id: int
    rollups: Address
    market: Address

    async def _view(self, to: bytes, signature: str, returns: str, *arguments: object, tag: Tag = "latest") -> Any:
        answer = await self.rpc.call(to, calldata(signature, *arguments), tag=tag)
        return decode(_split(returns), answer)

    async def rollup(self, rollup_id: int, tag: Tag = "latest") -> RollupView:
        """State of one rollup."""
        ((root, ether, last, epoch, owner, _delay, _pending),) = await self._view(
            self.rollups,
            "rollup(uint64)",
            "(bytes32,uint256,uint64,uint64,address,uint32,uint64)",
            rollup_id,
            tag=tag,
        )
        return RollupView(
            root=int.from_bytes(root, "big"),
            ether_balance=ether,
            last_l2_time=last,
            epoch=epoch,
            owner=address_from_text(owner),
        )

    async def config(self, rollup_id: int, epoch: int, tag: Tag = "latest") -> ProofConfig:
        """Proof systems of one rollup in one epoch."""
        (config, _from) = await self._view(
            self.rollups, "config(uint64,uint64)", "(address[],bytes32[],uint8),uint64", rollup_id, epoch, tag=tag
        )
        systems, families, threshold = config
        return ProofConfig(
            systems=tuple(address_from_text(each) for each in systems),
            families=tuple(Hash32(each) for each in families),
            threshold=threshold,
        )

    async def family_hash(self, rollup_ids: Sequence[int]) -> Hash32:
        """An agreement's familyHash for a lockset, as configured now."""
        families = []
        for rollup_id in rollup_ids:
            view = await self.rollup(rollup_id)
            families.append((await self.config(rollup_id, view.epoch)).families)
        return lockset_family_hash(families)

    async def ticket(self, owner: bytes, number: int) -> TicketView:
        """One escrow ticket."""
        ((amount, withdrawable),) = await self._view(
            self.market, "ticketOf(address,uint32)", "(uint96,uint64)", owner, number
        )
        return TicketView(amount_wei=amount, withdrawable_at=withdrawable)

    async def settled_by(self, requester: bytes, request_id: bytes) -> Hash32:
        """The agreement that was paid for a request, 0 for none."""
        (found,) = await self._view(self.market, "settledBy(address,bytes32)", "bytes32", requester, request_id)
        return Hash32(found)

    async def payout_of(self, account: bytes) -> int:
        """Credit that `collect` would send, wei."""
        (amount,) = await self._view(self.market, "payoutOf(address)", "uint256", account)
        assert isinstance(amount, int)
        return amount


def address_from_text(text: str) -> Address:
    """20 bytes of a hexadecimal address."""
    return Address(bytes.fromhex(text.removeprefix("0x")))


def load_and_run(core: bytes, proofs: bytes, expects: bytes, triggers: bytes, settlement: bytes) -> bytes:
    """Calldata of the user's one transaction."""
    return calldata("loadAndRun(bytes,bytes,bytes,bytes,bytes)", core, proofs, expects, triggers, settlement)


# -- errors and events -------------------------------------------------------------------------------------------------

EXECUTION_NOT_FOUND = selector("ExecutionNotFound(bytes32,bytes)")
ROLLUP_CREATED = keccak256(b"RollupCreated(uint64,bytes32,bytes,address,uint32,address[],bytes32[],uint8)")
TABLE_LOADED = keccak256(b"TableLoaded(bytes32,uint8,bytes,address,bytes32)")
EXECUTION_CONSUMED = keccak256(b"ExecutionConsumed(bytes32,uint16,uint64,bytes32,uint64)")


def missing_execution(revert_data: bytes) -> tuple[Hash32, bytes] | None:
    """(actionHash, packed action) of an ExecutionNotFound, None for any other revert."""
    if revert_data[:4] != EXECUTION_NOT_FOUND:
        return None
    action_hash, action = decode(["bytes32", "bytes"], revert_data[4:])
    return Hash32(action_hash), action


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
    payee: Address
    agreement_hash: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConsumed:
    """An entry happened."""

    core_id: Hash32
    index: int
    rollup_id: int
    new_root: int


Event = RollupCreated | TableLoaded | ExecutionConsumed
FOLLOWED = frozenset({ROLLUP_CREATED, TABLE_LOADED, EXECUTION_CONSUMED})


def event_from_log(log: Log) -> Event | None:
    """The followed event that a log of Rollups is, None for others."""
    topics = log.topics
    if not topics or topics[0] not in FOLLOWED:
        return None
    if topics[0] == ROLLUP_CREATED:
        root, genesis, *_ = decode(
            ["bytes32", "bytes", "address", "uint32", "address[]", "bytes32[]", "uint8"], log.data
        )
        rollup_id = int.from_bytes(topics[1], "big")
        return RollupCreated(rollup_id=rollup_id, genesis_root=int.from_bytes(root, "big"), genesis=genesis)
    if topics[0] == TABLE_LOADED:
        _lane, core, payee, agreement = decode(["uint8", "bytes", "address", "bytes32"], log.data)
        return TableLoaded(
            core_id=Hash32(topics[1]), core=core, payee=address_from_text(payee), agreement_hash=Hash32(agreement)
        )
    index, new_root, _epoch = decode(["uint16", "bytes32", "uint64"], log.data)
    return ExecutionConsumed(
        core_id=Hash32(topics[1]),
        index=index,
        rollup_id=int.from_bytes(topics[2], "big"),
        new_root=int.from_bytes(new_root, "big"),
    )
