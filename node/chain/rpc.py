"""The node's view of L1 from trio: typed JSON-RPC calls in worker threads, with limits, retries and coded errors.

Reads run several at a time and are retried when the world failed; sending runs one at a time and is never repeated
here, because only `node.chain.sender` knows whether repeating is safe.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from node.chain.errors import ExecutionReverted, NotYetMined, Recoverable, RpcMisbehaved, RpcRefused, WrongChain
from node.chain.records import (
    Block,
    Fees,
    Log,
    Receipt,
    Tag,
    block_from_json,
    data,
    hex_of,
    logs_from_json,
    quantity,
    receipt_from_json,
    tag_json,
)
from node.chain.reverts import ErrorBook
from node.chain.transport import RevertedCall, Transport

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
READERS: Final = 4  # an L1 node answers no faster with more, and the threads are shared
NO_TOPICS: Final[tuple[frozenset[bytes] | None, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long a read waits for a node that is away."""

    attempts: int = 4
    """At least 1."""
    first_wait_s: float = 0.2
    """Doubles after each attempt."""


class Rpc:
    """L1: one node, or several that must agree."""

    def __init__(
        self,
        transport: Transport,
        *,
        errors: ErrorBook | None = None,
        retry: Retry | None = None,
        poll_s: float = 0.25,
        readers: int = READERS,
        sleep: Sleep = trio.sleep,
    ) -> None:
        """Nothing is asked yet.

        Args:
            transport: also used directly by `node.chain.localevm`, which runs inside a worker thread.
            errors: ABIs by which reverts are decoded.
            retry: for reads only.
            poll_s: seconds between two looks at the head.
            readers: reads in flight at once.
            sleep: waits; tests inject one that mines a block instead.
        """
        self.transport = transport
        self.poll_s = poll_s
        self.sleep = sleep
        self._errors = errors if errors is not None else ErrorBook()
        self._retry = retry if retry is not None else Retry()
        self._readers = trio.CapacityLimiter(readers)
        self._writer = trio.CapacityLimiter(1)

    # -- chain -------------------------------------------------------------------------------------------------

    async def chain_id(self) -> int:
        """EIP-155 chain id."""
        return quantity("eth_chainId", await self._read("eth_chainId"))

    async def expect_chain(self, chain_id: int) -> None:
        """Check that the node serves this chain.

        Raises:
            WrongChain: it does not.
        """
        found = await self.chain_id()
        if found != chain_id:
            raise WrongChain(chain_id, found)

    async def client_version(self) -> str:
        """What the node calls itself."""
        return str(await self._read("web3_clientVersion"))[:200]

    async def block(self, tag: Tag = "latest") -> Block | None:
        """Header of a block, None when the node has no such block."""
        if isinstance(tag, bytes):
            method, answer = "eth_getBlockByHash", await self._read("eth_getBlockByHash", hex_of(tag), False)
        else:
            method, answer = "eth_getBlockByNumber", await self._read("eth_getBlockByNumber", tag_json(tag), False)
        return None if answer is None else block_from_json(method, answer)

    async def head(self) -> Block:
        """The latest block."""
        block = await self.block("latest")
        if block is None:
            raise RpcMisbehaved("eth_getBlockByNumber", "there is no latest block")
        return block

    async def blocks(self, first: int, last: int) -> tuple[Block, ...]:
        """Headers first..last in one batch; shorter when the node has no more."""
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in range(first, last + 1)]
        found: list[Block] = []
        for answer in await self._read_batch(calls):
            if answer is None:
                break
            found.append(block_from_json("eth_getBlockByNumber", answer))
        return tuple(found)

    async def logs(
        self,
        first: int,
        last: int,
        addresses: Sequence[bytes],
        topics: Sequence[frozenset[bytes] | None] = NO_TOPICS,
    ) -> tuple[Log, ...]:
        """Logs of blocks first..last in chain order; a range that the node finds too large is asked in halves.

        Args:
            addresses: 20 bytes each; none means any.
            topics: per position the wanted values, None for any.
        """
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": [hex_of(each) for each in addresses],
            "topics": [None if each is None else sorted(hex_of(topic) for topic in each) for each in topics],
        }
        try:
            found = logs_from_json("eth_getLogs", await self._read("eth_getLogs", query))
        except RpcRefused:
            if first >= last:
                raise
            middle = (first + last) // 2
            return (
                *await self.logs(first, middle, addresses, topics),
                *await self.logs(middle + 1, last, addresses, topics),
            )
        if any(not first <= each.block_number <= last for each in found):
            raise RpcMisbehaved("eth_getLogs", f"a log outside of {first}..{last}")
        return tuple(sorted(found, key=lambda each: (each.block_number, each.log_index)))

    # -- accounts ----------------------------------------------------------------------------------------------

    async def balance(self, account: bytes, tag: Tag = "latest") -> int:
        """Wei."""
        return quantity("eth_getBalance", await self._read("eth_getBalance", hex_of(account), tag_json(tag)))

    async def nonce(self, account: bytes, tag: Tag = "latest") -> int:
        """Transactions sent; with "pending" the node's pool counts too."""
        answer = await self._read("eth_getTransactionCount", hex_of(account), tag_json(tag))
        return quantity("eth_getTransactionCount", answer)

    async def code(self, account: bytes, tag: Tag = "latest") -> bytes:
        """Contract code, empty for none."""
        return data("eth_getCode", await self._read("eth_getCode", hex_of(account), tag_json(tag)))

    async def storage(self, account: bytes, slot: int, tag: Tag = "latest") -> bytes:
        """One storage word, 32 bytes."""
        answer = await self._read("eth_getStorageAt", hex_of(account), hex(slot), tag_json(tag))
        return data("eth_getStorageAt", answer, 32)

    # -- execution ---------------------------------------------------------------------------------------------

    async def call(
        self, to: bytes, calldata: bytes, *, sender: bytes = bytes(20), value: int = 0, tag: Tag = "latest"
    ) -> bytes:
        """Return data of eth_call.

        Raises:
            ExecutionReverted: with the decoded custom error where its ABI is known.
            RpcRefused: halted without revert data, or the node refused.
        """
        request = _call_object(sender, to, calldata, value)
        return data("eth_call", await self._read("eth_call", request, tag_json(tag)))

    async def estimate_gas(self, sender: bytes, to: bytes | None, calldata: bytes, value: int = 0) -> int:
        """Gas limit with which the transaction would succeed now.

        Raises:
            ExecutionReverted, RpcRefused: it would not.
        """
        request = _call_object(sender, to, calldata, value)
        return quantity("eth_estimateGas", await self._read("eth_estimateGas", request))

    async def fees(self) -> Fees:
        """Base fee of the next block, and the tip that the node suggests."""
        history = await self._read("eth_feeHistory", "0x1", "latest", [])
        tip = quantity("eth_maxPriorityFeePerGas", await self._read("eth_maxPriorityFeePerGas"))
        if not isinstance(history, dict) or not isinstance(history.get("baseFeePerGas"), list):
            raise RpcMisbehaved("eth_feeHistory", "no base fees")
        if not history["baseFeePerGas"]:
            raise RpcMisbehaved("eth_feeHistory", "no base fees")
        return Fees(base_wei=quantity("eth_feeHistory", history["baseFeePerGas"][-1]), tip_wei=tip)

    # -- transactions ------------------------------------------------------------------------------------------

    async def send_raw(self, raw: bytes) -> bytes:
        """Hand a signed transaction to the node, once. Cancellation waits for the answer.

        Raises:
            Recoverable: it may or may not have arrived.
            RpcRefused: the node does not take it, or already has it.
        """
        answer = await trio.to_thread.run_sync(
            self.transport.request, "eth_sendRawTransaction", hex_of(raw), limiter=self._writer
        )
        return data("eth_sendRawTransaction", answer, 32)

    async def is_known(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, mined or waiting."""
        return await self._read("eth_getTransactionByHash", hex_of(tx_hash)) is not None

    async def calldata(self, tx_hash: bytes) -> bytes | None:
        """What a transaction calls with; None if the node does not know it."""
        answer = await self._read("eth_getTransactionByHash", hex_of(tx_hash))
        if answer is None:
            return None
        text = answer.get("input", answer.get("data")) if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text.startswith("0x"):
            raise RpcMisbehaved("eth_getTransactionByHash", "no input")
        try:
            return bytes.fromhex(text[2:])
        except ValueError as error:
            raise RpcMisbehaved("eth_getTransactionByHash", "no hexadecimal input") from error

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Receipt of a mined transaction."""
        answer = await self._read("eth_getTransactionReceipt", hex_of(tx_hash))
        return None if answer is None else receipt_from_json("eth_getTransactionReceipt", answer)

    async def wait_receipt(self, tx_hash: bytes, *, confirmations: int = 0, max_polls: int | None = None) -> Receipt:
        """Receipt once `confirmations` blocks are on top of its block and it is still canonical.

        Raises:
            NotYetMined: after `max_polls` looks (None: never; use `trio.fail_after`).
        """
        polls = 0
        while max_polls is None or polls < max_polls:
            if polls:
                await self.sleep(self.poll_s)
            polls += 1
            receipt = await self.final_receipt(tx_hash, confirmations)
            if receipt is not None:
                return receipt
        raise NotYetMined(tx_hash, polls)

    async def final_receipt(self, tx_hash: bytes, confirmations: int) -> Receipt | None:
        """Receipt if it is canonical and deep enough at this moment."""
        receipt = await self.receipt(tx_hash)
        if receipt is None:
            return None
        head = await self.head()
        if head.number < receipt.block_number + confirmations:
            return None
        block = head if head.number == receipt.block_number else await self.block(receipt.block_number)
        return receipt if block is not None and block.hash == receipt.block_hash else None

    # -- inside ------------------------------------------------------------------------------------------------

    async def _read(self, method: str, *params: Any) -> Any:
        return await self._retried(lambda: self.transport.request(method, *params))

    async def _read_batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        return await self._retried(lambda: self.transport.batch(calls))

    async def _retried(self, ask: Callable[[], T]) -> T:
        wait_s = self._retry.first_wait_s
        for attempts_left in range(self._retry.attempts - 1, -1, -1):
            try:
                # A read that nobody waits for any more may end by itself: it changes nothing.
                # (The stubs that libp2p pulls in describe an older trio.)
                return await trio.to_thread.run_sync(
                    ask,
                    limiter=self._readers,
                    abandon_on_cancel=True,  # type: ignore[call-arg]
                )
            except RevertedCall as revert:
                raise ExecutionReverted(revert.data, self._errors.decode(revert.data)) from revert
            except Recoverable:
                if not attempts_left:
                    raise
            await self.sleep(wait_s)
            wait_s *= 2
        raise AssertionError("attempts is at least 1")


def _call_object(sender: bytes, to: bytes | None, calldata: bytes, value: int) -> dict[str, str]:
    request = {"from": hex_of(sender), "data": hex_of(calldata), "value": hex(value)}
    if to is not None:
        request["to"] = hex_of(to)
    return request
