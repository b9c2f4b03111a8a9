"""The World of `evmworld`, on anvil: another EVM implementation, reached by JSON-RPC. Senders are impersonated."""

from __future__ import annotations

import time
from typing import Any, cast

from node.chain.evm import Call, EvmLog, Outcome
from node.chain.transport import HttpTransport, RevertedCall
from tests.support.evmworld import GAS_LIMIT, RICH, Snapshot, World


class AnvilWorld(World):
    """Each transaction is a block of its own; time stands still until it is moved."""

    def __init__(self, transport: HttpTransport) -> None:
        """Takes a fresh anvil."""
        self._rpc = transport
        self._ask("anvil_autoImpersonateAccount", True)
        self.number = int(self._ask("eth_blockNumber"), 16)
        self.time = int(self._ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 100
        self.start = self.time
        self._ask("anvil_setNextBlockBaseFeePerGas", "0x0")
        self._ask("anvil_setBlockTimestampInterval", 0)
        self._ask("evm_setNextBlockTimestamp", self.time)

    def _ask(self, method: str, *params: Any) -> Any:
        return cast(Any, self._rpc.request(method, *params))

    def pass_time(self, seconds: int) -> None:
        """The next block is that much later."""
        self.time += seconds
        self._ask("evm_setNextBlockTimestamp", self.time)

    def pass_blocks(self, blocks: int, seconds: int = 12) -> None:
        """Empty blocks; the next one is that much later."""
        self._ask("anvil_mine", hex(blocks - 1))
        self.number += blocks - 1
        self.pass_time(seconds)

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
        self._ask("evm_setNextBlockTimestamp", self.time)

    def try_out(self, call: Call) -> Outcome:
        """A call at the next block's time, of which nothing is kept. It knows neither gas nor logs."""
        assert call.to is not None
        asked = {"from": "0x" + call.sender.hex(), "to": "0x" + call.to.hex(), "data": "0x" + call.data.hex()}
        block = {"time": hex(self.time), "number": hex(self.number + 1)}
        try:
            output = self._ask("eth_call", asked | {"value": hex(call.value)}, "latest", {}, block)
            return _called(bytes.fromhex(output[2:]), succeeded=True)
        except RevertedCall as reverted:
            return _called(reverted.data, succeeded=False)

    def _receipt(self, sent: str) -> Any:
        """Of a transaction that anvil mines as it comes in, in a thread of its own."""
        deadline = time.monotonic() + 30
        while (receipt := self._ask("eth_getTransactionReceipt", sent)) is None:
            assert time.monotonic() < deadline, f"{sent} is not mined"
            time.sleep(0.005)
        return receipt

    def run(self, call: Call) -> Outcome:
        """A transaction in a block at `time`."""
        self.fund(call.sender, max(self.balance(call.sender), RICH))
        transaction = {
            "from": "0x" + call.sender.hex(),
            "data": "0x" + call.data.hex(),
            "value": hex(call.value),
            "gas": hex(min(call.gas, GAS_LIMIT)),
            "gasPrice": "0x0",
        } | ({} if call.to is None else {"to": "0x" + call.to.hex()})
        return self._outcome(self._ask("eth_sendTransaction", transaction))

    def send_signed(self, raw: bytes) -> Outcome:
        """A signed transaction in a block at `time`."""
        return self._outcome(self._ask("eth_sendRawTransaction", "0x" + raw.hex()))

    def nonce(self, address: bytes) -> int:
        """Transactions sent by an account, and delegations signed."""
        return int(self._ask("eth_getTransactionCount", "0x" + address.hex(), "latest"), 16)

    def _outcome(self, sent: str) -> Outcome:
        receipt = self._receipt(sent)
        trace = self._ask(
            "debug_traceTransaction", sent, {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        )
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


def _called(output: bytes, *, succeeded: bool) -> Outcome:
    return Outcome(succeeded=succeeded, output=output, gas_used=0, gas_refund=0, logs=(), halt=None, created=None)
