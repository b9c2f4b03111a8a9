"""The World of `evmworld`, on anvil: another EVM implementation, reached by JSON-RPC. Senders are impersonated."""

from __future__ import annotations

import time
from typing import Any, cast

from node.chain.evm import Call, EvmLog, Outcome
from node.chain.transport import HttpTransport
from tests.support.evmworld import GAS_LIMIT, RICH, Snapshot, World

GAS_PRICE = 10**10
"""wei; far above anvil's base fee."""


class AnvilWorld(World):
    """Each transaction is a block of its own, one second after the last."""

    def __init__(self, transport: HttpTransport) -> None:
        """Takes a fresh anvil."""
        self._rpc = transport
        self._ask("anvil_autoImpersonateAccount", True)
        self.number = int(self._ask("eth_blockNumber"), 16)
        self.time = int(self._ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 100

    def _ask(self, method: str, *params: Any) -> Any:
        return cast(Any, self._rpc.request(method, *params))

    def pass_time(self, seconds: int) -> None:
        """The next block is that much later."""
        self.time += seconds

    def fund(self, address: bytes, wei: int = RICH) -> None:
        """Set a balance."""
        self._ask("anvil_setBalance", "0x" + address.hex(), hex(wei))

    def balance(self, address: bytes) -> int:
        """wei of an account."""
        return int(self._ask("eth_getBalance", "0x" + address.hex(), "latest"), 16)

    def code(self, address: bytes) -> bytes:
        """Runtime code."""
        return bytes.fromhex(self._ask("eth_getCode", "0x" + address.hex(), "latest")[2:])

    def snapshot(self) -> Snapshot:
        """A point to go back to, once."""
        root = bytes.fromhex(self._ask("evm_snapshot")[2:].zfill(64))
        return Snapshot(root=root, time=self.time, number=self.number)

    def restore(self, point: Snapshot) -> None:
        """Undo everything since `point`."""
        assert self._ask("evm_revert", hex(int.from_bytes(point.root, "big")))
        self.time, self.number = point.time, point.number

    def try_out(self, call: Call) -> Outcome:
        """A transaction that is not kept."""
        point = self.snapshot()
        outcome = self.run(call)
        self.restore(point)
        return outcome

    def _receipt(self, sent: str) -> Any:
        """Of a transaction that anvil mines as it comes in, in a thread of its own."""
        deadline = time.monotonic() + 30
        while (receipt := self._ask("eth_getTransactionReceipt", sent)) is None:
            assert time.monotonic() < deadline, f"{sent} is not mined"
            time.sleep(0.005)
        return receipt

    def run(self, call: Call) -> Outcome:
        """A transaction in a block at `time`; time then moves on by a second."""
        self.fund(call.sender, max(self.balance(call.sender), RICH))
        self._ask("evm_setNextBlockTimestamp", self.time)
        transaction = {
            "from": "0x" + call.sender.hex(),
            "data": "0x" + call.data.hex(),
            "value": hex(call.value),
            "gas": hex(min(call.gas, GAS_LIMIT)),
            "gasPrice": hex(GAS_PRICE),
        } | ({} if call.to is None else {"to": "0x" + call.to.hex()})
        sent = self._ask("eth_sendTransaction", transaction)
        receipt = self._receipt(sent)
        trace = self._ask("debug_traceTransaction", sent, {"tracer": "callTracer"})
        self.time += 1
        self.number += 1
        succeeded = receipt["status"] == "0x1"
        created = receipt["contractAddress"]
        return Outcome(
            succeeded=succeeded,
            output=bytes.fromhex(trace.get("output", "0x")[2:]),
            gas_used=int(receipt["gasUsed"], 16),
            gas_refund=0,
            logs=tuple(
                EvmLog(
                    address=bytes.fromhex(log["address"][2:]),
                    topics=tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
                    data=bytes.fromhex(log["data"][2:]),
                )
                for log in receipt["logs"]
            ),
            halt=None,
            created=bytes.fromhex(created[2:]) if succeeded and created else None,
        )
