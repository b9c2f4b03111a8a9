"""A small L1 in the process: contracts by name on py-evm (Prague rules), blocks and time moved by hand.

Every call is a transaction of its own, so transient storage ends with it. Nothing is signed: the sender is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.exceptions import Revert
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_abi.abi import decode
from eth_typing import Hash32

from node.chain.evm import Call, EvmState, Outcome, evm_log, execution_context, run_call
from protocol.contracts.artifacts import (
    ContractRevert,
    abi_type,
    artifact,
    call_data,
    creation_code,
    decode_output,
    decode_revert,
    signature,
)
from protocol.hashing import keccak256

CHAIN_ID: Final = 31337
START_TIME: Final = 1_800_000_000
GAS_LIMIT: Final = 30_000_000
RICH: Final = 10**24
VIEWER: Final = b"\x07" * 20


class Reverted(Exception):
    """A transaction that failed; `revert` says why, `halt` is set if it was no REVERT."""

    def __init__(self, revert: ContractRevert, halt: str | None) -> None:
        self.revert = revert
        self.halt = halt
        super().__init__(f"{revert.name or revert.data.hex() or halt}: {dict(revert.values)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A decoded log."""

    contract: bytes
    name: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A point in the life of a World."""

    root: bytes
    """State root."""
    time: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction that succeeded."""

    value: Any
    """Return value: nothing, one value, or a tuple."""
    gas_used: int
    events: tuple[Event, ...]


class World:
    """State and time of the chain."""

    def __init__(self, start: int = START_TIME) -> None:
        """An empty chain whose next block comes at `start`, unix seconds."""
        self.time = start
        self.number = 1
        self._db = AtomicDB()
        self._state = EvmState(self._db, self._context(), BLANK_ROOT_HASH)

    def _context(self) -> Any:
        return execution_context(
            chain_id=CHAIN_ID,
            number=self.number,
            timestamp=self.time,
            gas_limit=GAS_LIMIT,
            base_fee_wei=0,
            coinbase=b"\xc0" * 20,
            prev_randao=b"\x00" * 32,
            prev_hashes=(),
        )

    def pass_time(self, seconds: int) -> None:
        """A new block, that much later."""
        self.time += seconds
        self.number += 1
        self._state.execution_context = self._context()

    def pass_blocks(self, blocks: int, seconds: int = 12) -> None:
        """So many blocks, of which the last is that much later."""
        self.number += blocks - 1
        self.pass_time(seconds)

    def account(self, name: str, wei: int = RICH) -> bytes:
        """A funded address without a known key."""
        address = keccak256(name.encode())[:20]
        self.fund(address, wei)
        return address

    def balance(self, address: bytes) -> int:
        """wei of an account."""
        return int(self._state.get_balance(address))

    def fund(self, address: bytes, wei: int = RICH) -> None:
        """Set a balance."""
        self._state.set_balance(address, wei)

    def code(self, address: bytes) -> bytes:
        """Runtime code."""
        return bytes(self._state.get_code(address))

    def snapshot(self) -> Snapshot:
        """A point to go back to with `restore`."""
        self._state.persist()
        return Snapshot(root=self._state.state_root, time=self.time, number=self.number)

    def restore(self, point: Snapshot) -> None:
        """Undo everything since `point`."""
        self.time, self.number = point.time, point.number
        self._state = EvmState(self._db, self._context(), Hash32(point.root))

    def run(self, call: Call) -> Outcome:
        """A transaction; one that failed changes only the nonce."""
        return run_call(self._state, call)

    def try_out(self, call: Call) -> Outcome:
        """A transaction that is not kept."""
        self._state.persist()
        return run_call(EvmState(self._db, self._context(), self._state.state_root), call)

    def send_signed(self, raw: bytes) -> Outcome:
        """A signed transaction of any type, as a node would get it."""
        transaction = PragueTransactionBuilder().decode(raw)
        computation = self._state.apply_transaction(transaction)
        error = computation.error if computation.is_error else None
        return Outcome(
            succeeded=error is None,
            output=bytes(computation.output),
            gas_used=0,
            gas_refund=0,
            logs=tuple(evm_log(*log) for log in computation.get_log_entries()),
            halt=None if error is None or isinstance(error, Revert) else type(error).__name__,
            created=None,
        )

    def nonce(self, address: bytes) -> int:
        """Transactions sent by an account, and delegations signed."""
        return int(self._state.get_nonce(address))

    def deploy(self, name: str, *arguments: object, sender: bytes | None = None) -> Contract:
        """Deploy a contract by its Solidity name."""
        outcome = self.run(
            Call(sender=sender or self.account("deployer"), to=None, data=creation_code(name, *arguments))
        )
        if outcome.created is None:
            raise Reverted(decode_revert(outcome.output), outcome.halt)
        return Contract(self, name, outcome.created)

    def send_raw(self, to: bytes, data: bytes, *, sender: bytes, value: int = 0, gas: int = GAS_LIMIT) -> Outcome:
        """A transaction with given call data. Raises Reverted if it fails."""
        outcome = self.run(Call(sender=sender, to=to, data=data, value=value, gas=gas))
        if not outcome.succeeded:
            raise Reverted(decode_revert(outcome.output), outcome.halt)
        return outcome


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed contract."""

    world: World
    name: str
    address: bytes

    @property
    def hex(self) -> str:
        """Address as eth_abi wants it."""
        return "0x" + self.address.hex()

    def send(self, function: str, *arguments: object, sender: bytes, value: int = 0, gas: int = GAS_LIMIT) -> Receipt:
        """Call a function in a transaction. Raises Reverted if it fails."""
        data = call_data(self.name, function, *arguments)
        outcome = self.world.send_raw(self.address, data, sender=sender, value=value, gas=gas)
        values = decode_output(self.name, function, outcome.output)
        return Receipt(
            value=values[0] if len(values) == 1 else values,
            gas_used=outcome.gas_used,
            events=tuple(decode_event(log.address, log.topics, log.data) for log in outcome.logs),
        )

    def view(self, function: str, *arguments: object) -> Any:
        """Call a function and keep nothing."""
        data = call_data(self.name, function, *arguments)
        outcome = self.world.try_out(Call(sender=VIEWER, to=self.address, data=data))
        if not outcome.succeeded:
            raise Reverted(decode_revert(outcome.output), outcome.halt)
        values = decode_output(self.name, function, outcome.output)
        return values[0] if len(values) == 1 else values


def _event_table() -> dict[bytes, Any]:
    table = {}
    for name in ("IRollups", "IProofMarket", "IGroth16ProofSystem", "PriceOracle", "OperationBundle", "BridgeVault"):
        for item in artifact(name).abi:
            if item["type"] == "event":
                table[keccak256(signature(item).encode())] = item
    return table


_EVENTS: dict[bytes, Any] = {}


def decode_event(contract: bytes, topics: tuple[bytes, ...], data: bytes) -> Event:
    """Name and arguments of a log of one of our contracts."""
    if not _EVENTS:
        _EVENTS.update(_event_table())
    item = _EVENTS[topics[0]]
    plain = [each for each in item["inputs"] if not each["indexed"]]
    values = dict(zip((each["name"] for each in plain), decode([abi_type(x) for x in plain], data), strict=True))
    indexed = [each for each in item["inputs"] if each["indexed"]]
    for each, topic in zip(indexed, topics[1:], strict=True):
        values[each["name"]] = decode([abi_type(each)], topic)[0]
    return Event(contract=contract, name=item["name"], values=values)
