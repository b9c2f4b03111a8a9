"""The EVM rules that the development L1 and the local planner share: py-evm at the Prague fork.

Prague is Cancun (EIP-1153 transient storage) with EIP-7702 and the calldata floor price of EIP-7623, so that gas
figures agree with a present-day L1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import eth
from eth._utils.address import generate_contract_address
from eth.abc import ComputationAPI
from eth.exceptions import Revert
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth_typing import Address, BlockNumber, Hash32

from node.chain.precompiles import bn254_precompiles

# py-evm needs 12 Python frames for each of 1,024 nested calls and asks for that. py_ecc, which it imports, asks for so
# many that deeply nested JSON from anybody would overflow the C stack instead of raising RecursionError.
sys.setrecursionlimit(eth.EVM_RECURSION_LIMIT)

FORK: Final = "prague"
MAX_CODE_BYTES: Final = 24_576  # EIP-170, enforced by py-evm
MAX_INITCODE_BYTES: Final = 49_152  # EIP-3860, enforced by py-evm
GAS_TX: Final = 21_000
GAS_TX_CREATE: Final = 32_000
GAS_ZERO: Final = 4  # per byte of calldata
GAS_NONZERO: Final = 16
GAS_FLOOR_PER_TOKEN: Final = 10  # EIP-7623; a nonzero byte is 4 tokens
MAX_REFUND_QUOTIENT: Final = 5  # EIP-3529
DYNAMIC_FEE_TYPE: Final = 2


class EvmComputation(PragueComputation):
    """Prague execution with native BN254 precompiles where available."""

    _precompiles = dict(bn254_precompiles())


class EvmState(PragueState):
    """Prague state whose calls run `EvmComputation`."""

    computation_class = EvmComputation


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An unsigned message, run as a transaction of `sender`."""

    sender: bytes
    """20 bytes."""
    to: bytes | None
    """20 bytes, or None to create a contract from `data`."""
    value: int = 0
    """Wei."""
    data: bytes = b""
    gas: int = 30_000_000
    """Gas limit, intrinsic gas included."""
    max_fee_wei: int = 0
    """Wei per gas; 0 charges nobody."""
    tip_wei: int = 0
    """Wei per gas on top of the base fee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmLog:
    """One log of an executed call."""

    address: bytes
    topics: tuple[bytes, ...]
    """Each 32 bytes."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerRevert:
    """A call frame that ended in REVERT, whatever its caller made of that."""

    address: bytes
    """The account that reverted."""
    data: bytes
    live_logs: tuple[EvmLog, ...] | None = ()
    """The account's own logs that stood when it reverted, itself included: none of a call that had failed before. None
    where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerCall:
    """A call that some frame made."""

    depth: int
    """1 for calls of the outermost frame."""
    address: bytes
    """Whose code ran; empty for a creation."""
    gas_used: int
    """Everything below it included, refunds not subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call did."""

    succeeded: bool
    output: bytes
    """Return data, or revert data when `reverted`."""
    gas_used: int
    """Intrinsic gas, refunds and the calldata floor included: what a receipt would say."""
    gas_refund: int
    logs: tuple[EvmLog, ...]
    halt: str | None
    """Name of the exceptional halt (out of gas, bad opcode, no funds), None for success and for REVERT."""
    created: bytes | None
    """Address of the created contract, when `to` was None."""
    reverts: tuple[InnerRevert, ...] = ()
    """Every frame that reverted, the outermost included, in the order in which they ended."""

    calls: tuple[InnerCall, ...] = ()
    """All calls in the order in which they began: who spent the gas."""

    @property
    def reverted(self) -> bool:
        """The EVM met REVERT (and not an exceptional halt)."""
        return not self.succeeded and self.halt is None


class _UnsignedTransaction:
    """The attributes that py-evm's transaction executor reads, without a signature to recover."""

    type_id = DYNAMIC_FEE_TYPE
    access_list: tuple[()] = ()
    authorization_list: tuple[()] = ()

    def __init__(self, call: Call) -> None:
        self.sender = Address(call.sender)
        self.to = Address(b"" if call.to is None else call.to)
        self.value = call.value
        self.data = call.data
        self.gas = call.gas
        self.max_fee_per_gas = call.max_fee_wei
        self.max_priority_fee_per_gas = call.tip_wei
        self.intrinsic_gas = _intrinsic_gas(call.data, is_create=call.to is None)


def evm_log(address: bytes, topics: Iterable[int], data: bytes) -> EvmLog:
    """Log from py-evm's form, where topics are integers."""
    return EvmLog(address=bytes(address), topics=tuple(topic.to_bytes(32, "big") for topic in topics), data=bytes(data))


def _intrinsic_gas(data: bytes, *, is_create: bool) -> int:
    """Gas charged before the first instruction; py-evm charges for the length of initcode (EIP-3860) as it starts."""
    zeros = data.count(0)
    return GAS_TX + (GAS_TX_CREATE if is_create else 0) + GAS_ZERO * zeros + GAS_NONZERO * (len(data) - zeros)


def floor_gas(data: bytes) -> int:
    """Least gas a transaction with this calldata pays (EIP-7623)."""
    zeros = data.count(0)
    return GAS_TX + GAS_FLOOR_PER_TOKEN * (zeros + 4 * (len(data) - zeros))


def execution_context(
    *,
    chain_id: int,
    number: int,
    timestamp: int,
    gas_limit: int,
    base_fee_wei: int,
    coinbase: bytes,
    prev_randao: bytes,
    prev_hashes: Iterable[bytes],
) -> ExecutionContext:
    """Block environment of one execution. `prev_hashes` starts at the parent and may be lazy."""
    return ExecutionContext(
        coinbase=Address(coinbase),
        timestamp=timestamp,
        block_number=BlockNumber(number),
        difficulty=0,
        mix_hash=Hash32(prev_randao),
        gas_limit=gas_limit,
        prev_hashes=(Hash32(each) for each in prev_hashes),
        chain_id=chain_id,
        base_fee_per_gas=base_fee_wei,
        excess_blob_gas=0,
    )


def run_call(state: EvmState, call: Call) -> Outcome:
    """Execute `call` on `state`, changing it as a transaction would: nonce, and ether for value and fee.

    Never raises for anything that the called code does.
    """
    transaction = _UnsignedTransaction(call)
    needed = max(transaction.intrinsic_gas, floor_gas(call.data))
    if call.gas < needed:
        return _nothing_ran(call.gas, f"intrinsic gas is {needed}")
    if call.max_fee_wei and call.max_fee_wei < max(state.base_fee, call.tip_wei):
        return _nothing_ran(call.gas, "max fee is below the base fee or the tip")
    if state.get_balance(Address(call.sender)) < call.gas * call.max_fee_wei + call.value:
        return _nothing_ran(call.gas, "insufficient funds")
    state.lock_changes()
    executor = state.get_transaction_executor()
    created = None
    if call.to is None:
        created = bytes(generate_contract_address(Address(call.sender), state.get_nonce(Address(call.sender))))
    message = executor.build_evm_message(transaction)  # type: ignore[arg-type]
    computation = executor.build_computation(message, transaction)  # type: ignore[arg-type]
    remaining = computation.get_gas_remaining()
    refund = min(computation.get_gas_refund(), (call.gas - remaining) // MAX_REFUND_QUOTIENT)
    executor.finalize_computation(transaction, computation)  # type: ignore[arg-type]
    state.clear_transient_storage()
    error = computation.error if computation.is_error else None
    return Outcome(
        succeeded=error is None,
        output=bytes(computation.output) if error is None or isinstance(error, Revert) else b"",
        gas_used=max(call.gas - remaining - refund, floor_gas(call.data)),
        gas_refund=refund,
        logs=tuple(evm_log(address, topics, data) for address, topics, data in computation.get_log_entries()),
        halt=None if error is None or isinstance(error, Revert) else type(error).__name__,
        created=created if error is None else None,
        reverts=_reverts_of(computation),
        calls=tuple(_calls_of(computation)),
    )


def _reverts_of(computation: ComputationAPI) -> tuple[InnerRevert, ...]:
    found = []
    open_frames: list[tuple[ComputationAPI, tuple[ComputationAPI, ...]]] = [(computation, ())]
    while open_frames:  # parents before children, later before earlier: the reverse of the order of ending
        frame, above = open_frames.pop()
        path = (*above, frame)
        if frame.is_error and isinstance(frame.error, Revert):
            address = bytes(frame.msg.storage_address)
            found.append(InnerRevert(address=address, data=bytes(frame.output), live_logs=_live_logs(path, address)))
        open_frames.extend((child, path) for child in frame.children)
    return tuple(reversed(found))


def _live_logs(path: tuple[ComputationAPI, ...], address: bytes) -> tuple[EvmLog, ...]:
    """Logs of an account that stand when the last frame of a path of calls ends, in their order."""
    raw: list[tuple[int, bytes, tuple[int, ...], bytes]] = []
    for frame, below in zip(path, (*path[1:], None), strict=True):
        raw.extend(frame._log_entries)  # the public way hides those of a frame that failed
        for child in frame.children:
            if child is below:
                break
            raw.extend(child.get_raw_log_entries())
    return tuple(evm_log(*entry[1:]) for entry in sorted(raw) if bytes(entry[1]) == address)


def _calls_of(computation: ComputationAPI) -> Iterator[InnerCall]:
    frames = [(1, child) for child in reversed(computation.children)]
    while frames:
        depth, frame = frames.pop()
        address = b"" if frame.msg.is_create else bytes(frame.msg.code_address)
        yield InnerCall(depth=depth, address=address, gas_used=frame.get_gas_used())
        frames.extend((depth + 1, child) for child in reversed(frame.children))


def _nothing_ran(gas: int, why: str) -> Outcome:
    return Outcome(succeeded=False, output=b"", gas_used=gas, gas_refund=0, logs=(), halt=why, created=None)
