"""Runs a call by eth_call with overrides, for endpoints that give no state proofs (`[chain] state = "call"`).

The node is believed, and sees the whole transaction that is being planned. It tells only how the outermost frame
ended: a contract that called into a rollup, missed an entry and swallowed that (try/catch) looks like success. So an
account is trusted not to have done so only if its code holds no instruction that could call anybody: `may_mask`.
"""

from __future__ import annotations

from typing import Any, Final

from node.chain.errors import RpcMisbehaved, RpcRefused
from node.chain.evm import Call, InnerRevert, Outcome
from node.chain.localevm import Overrides
from node.chain.records import Block, data, hex_of, quantity, tag_json
from node.chain.transport import RevertedCall, Transport

CALLING: Final = frozenset({0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA})
"""CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL."""
EOF_OR_DELEGATION: Final = 0xEF
"""First byte of code that is not plain instructions: an account that runs another's code (EIP-7702), or EOF."""
PUSH1: Final = 0x60
PUSH32: Final = 0x7F


class CallEvm:
    """An L1 node's EVM at one block. Calls block the calling thread."""

    def __init__(self, transport: Transport, block: Block) -> None:
        """Nothing is asked yet."""
        self._transport = transport
        self._tag = tag_json(block.hash)
        self._leaves: dict[bytes, bool] = {}

    def run(self, call: Call, overrides: Overrides | None = None) -> Outcome:
        """What the node says of a call. Without overridden code, gas is what it estimates at its head; else 0.

        Raises:
            Recoverable, RpcRefused, RpcMisbehaved: it says nothing.
        """
        overrides = overrides if overrides is not None else Overrides()
        request: dict[str, Any] = {"from": hex_of(call.sender), "value": hex(call.value), "data": hex_of(call.data)}
        if call.to is not None:
            request["to"] = hex_of(call.to)
        params: list[Any] = [
            request,
            self._tag,
            {hex_of(at): {"code": hex_of(it)} for at, it in overrides.code.items()},
        ]
        if overrides.timestamp is not None:
            params.append({"time": hex(overrides.timestamp)})
        try:
            output = data("eth_call", self._transport.request("eth_call", *params))
        except RevertedCall as revert:
            inner = InnerRevert(address=call.to or b"", data=revert.data, live_logs=None)
            return _outcome(succeeded=False, output=revert.data, reverts=(inner,))
        except RpcRefused as refused:  # an exceptional halt, or a question that it does not take
            return _outcome(succeeded=False, halt=str(refused))
        return _outcome(succeeded=True, output=output, gas_used=0 if overrides.code else self._gas(request))

    def may_mask(self, accounts: frozenset[bytes]) -> bytes | None:
        """An account among these whose code could have called another and hidden that the call failed."""
        for account in sorted(accounts):
            if account not in self._leaves:
                code = data("eth_getCode", self._transport.request("eth_getCode", hex_of(account), self._tag))
                self._leaves[account] = not may_call(code)
            if not self._leaves[account]:
                return account
        return None

    def _gas(self, request: dict[str, Any]) -> int:
        try:
            return quantity("eth_estimateGas", self._transport.request("eth_estimateGas", request))
        except RevertedCall as revert:
            raise RpcMisbehaved("eth_estimateGas", "reverts where eth_call does not") from revert


def may_call(code: bytes) -> bool:
    """Whether some instruction of a code calls or creates, reachable or not."""
    if code[:1] == bytes((EOF_OR_DELEGATION,)):
        return True
    at = 0
    while at < len(code):
        if code[at] in CALLING:
            return True
        at += code[at] - PUSH1 + 2 if PUSH1 <= code[at] <= PUSH32 else 1
    return False


def _outcome(
    *,
    succeeded: bool,
    output: bytes = b"",
    gas_used: int = 0,
    halt: str | None = None,
    reverts: tuple[InnerRevert, ...] = (),
) -> Outcome:
    return Outcome(
        succeeded=succeeded,
        output=output,
        gas_used=gas_used,
        gas_refund=0,
        logs=(),
        halt=halt,
        created=None,
        reverts=reverts,
    )
