"""A second EVM (pyrevm) for calls on a state that `LocalEvm` has fetched: several times faster than py-evm, and an
independent opinion on every call that both run.

What was not fetched is empty here. A test that uses it therefore first runs at least one call of each kind on
`LocalEvm`, and compares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

from node.chain.evm import Call
from node.chain.lazystate import PinnedState

_REVERT: Final = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeOutcome:
    """What a call did."""

    succeeded: bool
    output: bytes
    """Return data, or revert data."""
    topics: tuple[tuple[bytes, bytes], ...]
    """(contract, first topic) of each log."""
    halt: str
    """What pyrevm says of an exceptional halt; empty otherwise."""


def run_native(pinned: PinnedState, call: Call, *, chain_id: int, timestamp: int) -> NativeOutcome:
    """Run a call in the block after the pinned one, on a state of its own.

    Args:
        pinned: its accounts and words are all that exists.
        call: the fee fields are not used.
        timestamp: of the block, unix seconds.
    """
    block = pinned.block
    environment = Env(
        cfg=CfgEnv(chain_id=chain_id),
        block=BlockEnv(
            number=block.number + 1,
            coinbase=_text(block.coinbase),
            timestamp=timestamp,
            prevrandao=block.prev_randao,
            basefee=0,
            gas_limit=block.gas_limit,
        ),
    )
    evm = EVM(env=environment, gas_limit=block.gas_limit, spec_id="PRAGUE")
    for address, account in pinned.accounts.items():
        evm.insert_account_info(_text(address), AccountInfo(nonce=account.nonce, code=account.code))
        evm.set_balance(_text(address), account.balance_wei)
    for (address, slot), word in pinned.storage.items():
        evm.insert_account_storage(_text(address), slot, word)
    assert call.to is not None
    try:
        output = evm.message_call(
            caller=_text(call.sender), to=_text(call.to), calldata=call.data, value=call.value, gas=call.gas
        )
    except RuntimeError as error:  # pyrevm has no other way to say it
        found = _REVERT.match(str(error))
        data = bytes.fromhex(found.group(1)) if found else b""
        return NativeOutcome(succeeded=False, output=data, topics=(), halt="" if found else str(error))
    assert evm.result is not None
    logs = tuple((bytes.fromhex(log.address[2:]), bytes.fromhex(log.topics[0][2:])) for log in evm.result.logs)
    return NativeOutcome(succeeded=True, output=bytes(output), topics=logs, halt="")


def _text(address: bytes) -> str:
    return "0x" + address.hex()
