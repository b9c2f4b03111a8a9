"""A World on pyrevm: a hundred times faster than py-evm, and another opinion on every contract.

Its gas figures are not those of a transaction: what an earlier call has touched stays warm. Figures come from
`World` and from anvil.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pyrevm import EVM, BlockEnv, CfgEnv, Env

from node.chain.evm import Call, EvmLog, Outcome
from tests.support.evmworld import CHAIN_ID, GAS_LIMIT, START_TIME, World

_REVERT: Final = re.compile(r"^Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}$")
_HALT: Final = re.compile(r"^Halt \{ reason: (.*), gas_used: (\d+) \}$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A point in the life of a NativeWorld."""

    journal: Any
    funded: int
    """Length of the list of balances that were set by hand."""
    time: int
    number: int


class NativeWorld(World):
    """State and time of the chain, on pyrevm."""

    def __init__(self) -> None:
        self.time = START_TIME
        self.number = 1
        environment = Env(cfg=CfgEnv(chain_id=CHAIN_ID), block=self._block())
        self._evm = EVM(env=environment, gas_limit=GAS_LIMIT, spec_id="PRAGUE")
        # set_balance is not in the journal: (account, balance before) of each
        self._funded: list[tuple[bytes, int]] = []

    def _block(self) -> BlockEnv:
        return BlockEnv(
            number=self.number,
            coinbase="0x" + "c0" * 20,
            timestamp=self.time,
            prevrandao=bytes(32),
            basefee=0,
            gas_limit=GAS_LIMIT,
        )

    def pass_time(self, seconds: int) -> None:
        """A new block, that much later."""
        self.time += seconds
        self.number += 1
        self._evm.set_block_env(self._block())

    def balance(self, address: bytes) -> int:
        """wei of an account."""
        return int(self._evm.get_balance(_text(address)))

    def fund(self, address: bytes, wei: int = 10**24) -> None:
        """Set a balance."""
        self._funded.append((address, self.balance(address)))
        self._evm.set_balance(_text(address), wei)

    def code(self, address: bytes) -> bytes:
        """Runtime code."""
        return bytes(self._evm.get_code(_text(address)) or b"").rstrip(b"\x00")

    def snapshot(self) -> Checkpoint:  # type: ignore[override]
        """A point to go back to, once, with `restore`."""
        return Checkpoint(journal=self._evm.snapshot(), funded=len(self._funded), time=self.time, number=self.number)

    def restore(self, point: Checkpoint) -> None:  # type: ignore[override]
        """Undo everything since `point`."""
        self._evm.revert(point.journal)
        while len(self._funded) > point.funded:
            address, before = self._funded.pop()
            self._evm.set_balance(_text(address), before)
        self.time, self.number = point.time, point.number
        self._evm.set_block_env(self._block())

    def try_out(self, call: Call) -> Outcome:
        """A transaction that is not kept."""
        point = self._evm.snapshot()
        outcome = self.run(call)
        self._evm.revert(point)
        return outcome

    def run(self, call: Call) -> Outcome:
        """A transaction; one that failed changes nothing."""
        self._evm.reset_transient_storage()
        sender, created, output = _text(call.sender), None, b""
        try:
            if call.to is None:
                created = bytes.fromhex(self._evm.deploy(sender, call.data, call.value, call.gas)[2:])
            else:
                output = bytes(
                    self._evm.message_call(
                        caller=sender, to=_text(call.to), calldata=call.data, value=call.value, gas=call.gas
                    )
                )
        except RuntimeError as error:  # pyrevm has no other way to say it
            return _failure(str(error))
        result = self._evm.result
        assert result is not None
        return Outcome(
            succeeded=True,
            output=output,
            gas_used=result.gas_used,
            gas_refund=result.gas_refunded,
            logs=tuple(
                EvmLog(
                    address=bytes.fromhex(log.address[2:]),
                    topics=tuple(bytes.fromhex(topic[2:]) for topic in log.topics),
                    data=_log_data(log.data),
                )
                for log in result.logs
            ),
            halt=None,
            created=created,
        )


def _log_data(data: Any) -> bytes:
    # pyrevm hands (topics, data) back
    return bytes(data[1] if isinstance(data, tuple) else data)


def _failure(text: str) -> Outcome:
    reverted, halted = _REVERT.match(text), _HALT.match(text)
    if reverted is None and halted is None:
        raise AssertionError(text)
    return Outcome(
        succeeded=False,
        output=bytes.fromhex(reverted.group(2)) if reverted else b"",
        gas_used=int(reverted.group(1) if reverted else halted.group(2)),  # type: ignore[union-attr]
        gas_refund=0,
        logs=(),
        halt=None if reverted else halted.group(1),  # type: ignore[union-attr]
        created=None,
    )


def _text(address: bytes) -> str:
    return "0x" + address.hex()
