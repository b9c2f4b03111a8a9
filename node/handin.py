"""Hands in a kept transaction: checked first, so that whoever does it learns why it cannot land instead of waiting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from node.chain.errors import RpcRefused
from node.chain.evm import Call, Outcome
from node.chain.localevm import LocalEvm, Overrides
from node.chain.rpc import Rpc
from node.errors import ChainMismatch, NotNow, UsageError
from node.keptfile import KeptTransaction
from node.landing import INCLUSION_LIST_BYTES
from node.ports import Refused
from node.rawtx import RawCall, decode_raw
from protocol.contracts.artifacts import decode_revert
from protocol.hashing import keccak256

WHAT: Final = "submit"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """What became of it."""

    tx_hash: bytes
    fits_inclusion_list: bool
    block_number: int | None
    """None: it was sent, and no block had it in time."""
    succeeded: bool | None


async def hand_in(kept: KeptTransaction, rpc: Rpc, *, now_s: int, wait_s: float) -> HandedIn:
    """Checks, sends, waits. One that landed before is found.

    Raises:
        UsageError: these bytes are no signed transaction.
        ChainMismatch: they are for another chain.
        NotNow: TABLE_EXPIRED, NONCE_USED, NONCE_GAP, NO_BALANCE, FEE_TOO_LOW, WOULD_FAIL, NOT_TAKEN.
        ChainError: the client cannot be asked.
    """
    try:
        call = decode_raw(kept.raw)
    except Refused as error:
        raise UsageError(problem=str(error)) from error
    chain_id = await rpc.chain_id()
    if chain_id != call.chain_id:
        raise ChainMismatch(what="kept transaction", expected=call.chain_id, actual=chain_id)
    tx_hash = keccak256(kept.raw)
    if await rpc.receipt(tx_hash) is None:
        await _check(kept, call, rpc, now_s)
        try:
            await rpc.send_raw(kept.raw)
        except RpcRefused as error:
            if not await rpc.is_known(tx_hash):
                raise NotNow(what=WHAT, reason="NOT_TAKEN", why=error.message) from error
    receipt = None
    with trio.move_on_after(wait_s):
        receipt = await rpc.wait_receipt(tx_hash)
    return HandedIn(
        tx_hash=tx_hash,
        fits_inclusion_list=len(kept.raw) <= INCLUSION_LIST_BYTES,
        block_number=None if receipt is None else receipt.block_number,
        succeeded=None if receipt is None else receipt.succeeded,
    )


async def _check(kept: KeptTransaction, call: RawCall, rpc: Rpc, now_s: int) -> None:
    if kept.valid_until < now_s:
        raise NotNow(what=WHAT, reason="TABLE_EXPIRED", why=f"the table was good until {kept.valid_until}")
    nonce = await rpc.nonce(call.sender, "latest")
    if nonce != call.nonce:
        reason = "NONCE_USED" if nonce > call.nonce else "NONCE_GAP"
        raise NotNow(what=WHAT, reason=reason, why=f"it has nonce {call.nonce}, its account is at {nonce}")
    if await rpc.balance(call.sender) < call.value + call.gas * call.max_fee_wei:
        raise NotNow(what=WHAT, reason="NO_BALANCE", why="its account cannot pay for it")
    base_wei = (await rpc.fees()).base_wei
    if call.max_fee_wei < base_wei:
        raise NotNow(what=WHAT, reason="FEE_TOO_LOW", why=f"it pays {call.max_fee_wei}, the base fee is {base_wei}")
    head = await rpc.head()
    evm = LocalEvm(rpc.transport, head, chain_id=call.chain_id)
    message = Call(sender=call.sender, to=call.to, value=call.value, data=call.data, gas=call.gas)

    def run() -> Outcome:
        return evm.run(message, Overrides(timestamp=max(head.timestamp, now_s)))

    outcome = await trio.to_thread.run_sync(partial(run))
    if not outcome.succeeded:
        why = outcome.halt or decode_revert(outcome.output).name or "it reverts"
        raise NotNow(what=WHAT, reason="WOULD_FAIL", why=why)
