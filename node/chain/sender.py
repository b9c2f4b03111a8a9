"""Sends transactions of one account so that a crash at any point neither loses nor doubles one.

The rule is write before send: `persist` must have stored the exact signed bytes before they go to the node. After a
restart the stored transactions are given back as `known`; they keep their nonces and are broadcast again as they are.
Every transaction carries a `purpose`, the caller's idempotency key: asking twice for one purpose is one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from node.chain.errors import (
    FeeTooHigh,
    NonceTaken,
    NotYetMined,
    Recoverable,
    RpcRefused,
    Superseded,
    TransactionFailed,
    TransactionRefused,
)
from node.chain.records import Fees, Receipt
from node.chain.rpc import Rpc

BUMP_PERCENT: Final = 13  # clients ask for 10 to 12.5 on both fees; rounding must not fall below
PLAIN_GAS: Final = 21_000  # of a transaction that does nothing
SUPERSEDED_LOOKS: Final = 4  # looks in a row; with a poll between them this outlasts a node's own bookkeeping
GAS_MARGIN_PERCENT: Final = 20  # added to an estimate: the state may have changed when the transaction lands


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a transaction shall do."""

    to: bytes | None
    """20 bytes, or None to create a contract."""
    data: bytes = b""
    value: int = 0
    """Wei."""
    gas: int | None = None
    """Gas limit; None estimates it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """An EIP-1559 transaction as it is stored and sent. Never changed; a replacement is another one."""

    purpose: str
    """The caller's idempotency key."""
    account: bytes
    """20 bytes."""
    nonce: int
    tx_hash: bytes
    """32 bytes."""
    raw: bytes
    """What is broadcast."""
    max_fee_wei: int
    tip_wei: int
    replaces: bytes | None = None
    """Hash of the transaction at this nonce whose fees this one raises."""


Persist = Callable[[SignedTransaction], Awaitable[None]]


class Sender:
    """One account on one chain. Exactly one live Sender may exist per account."""

    def __init__(
        self,
        rpc: Rpc,
        key: bytes,
        *,
        chain_id: int,
        persist: Persist,
        known: Iterable[SignedTransaction] = (),
        max_fee_limit_wei: int = 500 * 10**9,
        min_tip_wei: int = 0,
        outlets: Sequence[Rpc] = (),
    ) -> None:
        """Take over what was stored. Nothing is sent yet: see `rebroadcast`.

        Args:
            rpc: the node.
            key: 32-byte secp256k1 private key.
            chain_id: EIP-155 chain id that is signed for.
            persist: returns only when the transaction is stored durably; if it raises, nothing was sent.
            known: every stored transaction of this account that may not be final.
            max_fee_limit_wei: per gas; above it nothing is signed.
            min_tip_wei: per gas; what the node suggests, if that is more.
            outlets: nodes that get the transactions; none means `rpc`. They may be private: `rpc` only reads.

        Raises:
            NonceTaken: two stored transactions share a nonce and neither replaces the other.
        """
        self._rpc = rpc
        self._signer = Account.from_key(key)
        self.account = bytes.fromhex(self._signer.address[2:])
        self._chain_id = chain_id
        self._persist = persist
        self._max_fee_limit_wei = max_fee_limit_wei
        self._min_tip_wei = min_tip_wei
        self._outlets = tuple(outlets) or (rpc,)
        self._by_nonce: dict[int, list[SignedTransaction]] = {}
        self._suspected: dict[int, int] = {}  # nonce -> looks in a row that found it used by none of ours
        self._lock = trio.Lock()
        for transaction in sorted(known, key=lambda each: (each.nonce, each.max_fee_wei)):
            self._admit(transaction)

    def transactions(self, purpose: str) -> tuple[SignedTransaction, ...]:
        """What was signed for a purpose: the transaction and its replacements, cheapest first."""
        for group in self._by_nonce.values():
            if group[0].purpose == purpose:
                return tuple(group)
        return ()

    @property
    def purposes(self) -> tuple[str, ...]:
        """What is known and not forgotten, by nonce."""
        return tuple(self._by_nonce[nonce][0].purpose for nonce in sorted(self._by_nonce))

    async def sign_aside(self, purpose: str, payload: Payload) -> SignedTransaction:
        """Sign for the next nonce without taking it: neither stored nor sent, and the next transaction may use it up.

        Raises:
            ExecutionReverted, FeeTooHigh, Recoverable: as `send`.
        """
        async with self._lock:
            return await self._signed(purpose, payload)

    async def forget(self, purpose: str) -> None:
        """Drop what was signed for a purpose: it is final, or nobody but us has ever had it.

        Raises:
            KeyError: nothing was signed for it.
        """
        async with self._lock:
            group = self.transactions(purpose)
            if not group:
                raise KeyError(purpose)
            del self._by_nonce[group[0].nonce]
            self._suspected.pop(group[0].nonce, None)

    def is_last(self, purpose: str) -> bool:
        """Whether no later nonce was signed: then forgetting it leaves no gap."""
        group = self.transactions(purpose)
        return bool(group) and group[0].nonce == max(self._by_nonce)

    async def withdraw(self, purpose: str) -> SignedTransaction:
        """Replace the transaction of a purpose by one that does nothing, so that later nonces do not wait for it.

        Raises:
            KeyError, FeeTooHigh, TransactionRefused, Recoverable: as `replace`.
        """
        nothing = Payload(to=self.account, gas=PLAIN_GAS)
        return await self._replaced(purpose, None, nothing)

    async def send(self, purpose: str, payload: Payload) -> SignedTransaction:
        """Sign, store and broadcast, unless this purpose was signed before: then that transaction is broadcast again.

        Raises:
            ExecutionReverted: the gas estimate says that it would fail; nothing was signed.
            FeeTooHigh: nothing was signed.
            TransactionRefused: stored, but the node does not take it.
            Recoverable: where anything was signed it is stored; call again with the same purpose.
        """
        async with self._lock:
            signed = await self._prepared(purpose, payload)
            await self._broadcast(signed)
            return signed

    async def prepare(self, purpose: str, payload: Payload) -> SignedTransaction:
        """Sign and store without sending; `send` with the same purpose sends it.

        Raises:
            ExecutionReverted, FeeTooHigh, Recoverable: as `send`.
        """
        async with self._lock:
            return await self._prepared(purpose, payload)

    async def replace(self, purpose: str, *, fees: Fees | None = None) -> SignedTransaction:
        """Raise the fees of the latest transaction of a purpose by what clients demand, or to `fees` if more.

        Raises:
            KeyError: nothing was signed for this purpose.
            FeeTooHigh, TransactionRefused, Recoverable: as `send`.
        """
        return await self._replaced(purpose, fees, None)

    async def rebroadcast(self, is_wanted: Callable[[str], bool] = lambda _: True) -> tuple[SignedTransaction, ...]:
        """After a restart: hand every stored transaction that is not mined to the node again.

        Args:
            is_wanted: purposes; others, which may be meant to wait, are left alone.

        Returns:
            Those that wait to be mined.

        Raises:
            Superseded: a stored transaction's nonce was used by one that is not ours.
        """
        async with self._lock:
            mined_below = await self._rpc.nonce(self.account, "latest")
            waiting = []
            superseded: int | None = None
            for nonce in sorted(self._by_nonce):
                group = self._by_nonce[nonce]
                if not is_wanted(group[0].purpose):
                    continue
                if nonce >= mined_below:
                    await self._broadcast(group[-1])
                    waiting.append(group[-1])
                elif not await self._any_mined(group):
                    superseded = nonce if superseded is None else superseded
            if superseded is not None:  # told at the end: it is no reason to keep the others back
                raise Superseded(self.account, superseded)
            return tuple(waiting)

    async def wait(self, purpose: str, *, confirmations: int = 0, max_polls: int | None = None) -> Receipt:
        """Receipt of whichever transaction of this purpose was mined, once it is deep enough.

        Raises:
            KeyError: nothing was signed for this purpose.
            TransactionFailed: mined with status 0 and final.
            Superseded: the nonce was used by a transaction that is not ours.
            NotYetMined: after `max_polls` looks (None: never; use `trio.fail_after`).
        """
        if not self.transactions(purpose):
            raise KeyError(purpose)
        polls = 0
        while max_polls is None or polls < max_polls:
            if polls:
                await self._rpc.sleep(self._rpc.poll_s)
            polls += 1
            group = self.transactions(purpose)  # a replacement may have been added meanwhile
            used = await self._is_used(group[0].nonce)
            for transaction in reversed(group):
                receipt = await self._rpc.final_receipt(transaction.tx_hash, confirmations)
                if receipt is not None:
                    if not receipt.succeeded:
                        raise TransactionFailed(receipt.tx_hash, receipt.block_number, receipt.gas_used)
                    return receipt
            # The chain may move between two reads, and a node may count a nonce before it shows the receipt: only a
            # nonce that stays used, over several looks and without a receipt, condemns.
            if used and not await self._any_mined(group) and await self._is_used(group[0].nonce):
                looks = self._suspected.get(group[0].nonce, 0) + 1
                self._suspected[group[0].nonce] = looks
                if looks >= SUPERSEDED_LOOKS:
                    raise Superseded(self.account, group[0].nonce)
            else:
                self._suspected.pop(group[0].nonce, None)
        raise NotYetMined(self.transactions(purpose)[-1].tx_hash, polls)

    # -- inside ------------------------------------------------------------------------------------------------

    async def _prepared(self, purpose: str, payload: Payload) -> SignedTransaction:
        group = self.transactions(purpose)
        if group:
            return group[-1]
        signed = await self._signed(purpose, payload)
        await self._store(signed)
        return signed

    async def _signed(self, purpose: str, payload: Payload) -> SignedTransaction:
        gas = payload.gas
        if gas is None:
            estimate = await self._rpc.estimate_gas(self.account, payload.to, payload.data, payload.value)
            gas = estimate * (100 + GAS_MARGIN_PERCENT) // 100
        fees = await self._rpc.fees()
        tip_wei = max(fees.tip_wei, self._min_tip_wei)
        max_fee_wei = fees.max_fee_wei - fees.tip_wei + tip_wei
        return self._sign(purpose, payload, gas, await self._next_nonce(), max_fee_wei, tip_wei, None)

    async def _replaced(self, purpose: str, fees: Fees | None, payload: Payload | None) -> SignedTransaction:
        async with self._lock:
            group = self.transactions(purpose)
            if not group:
                raise KeyError(purpose)
            old = group[-1]
            fees = fees if fees is not None else await self._rpc.fees()
            tip = max(_bumped(old.tip_wei), fees.tip_wei)
            max_fee = max(_bumped(old.max_fee_wei), fees.base_wei * 2 + tip)
            same, gas = _payload_of(old)
            if payload is not None:
                same, gas = payload, payload.gas or gas
            signed = self._sign(purpose, same, gas, old.nonce, max_fee, tip, old.tx_hash)
            await self._store(signed)
            await self._broadcast(signed)
            return signed

    async def _store(self, transaction: SignedTransaction) -> None:
        # Shielded: a stored transaction that this object does not know would get a twin on the next call.
        with trio.CancelScope(shield=True):
            await self._persist(transaction)
        self._admit(transaction)

    def _admit(self, transaction: SignedTransaction) -> None:
        """Give a nonce to a transaction. One nonce belongs to one purpose; only a replacement may join it."""
        group = self._by_nonce.setdefault(transaction.nonce, [])
        if any(each.tx_hash == transaction.tx_hash for each in group):
            return
        if transaction.account != self.account:
            raise NonceTaken(self.account, transaction.nonce, transaction.tx_hash)
        if group and transaction.replaces not in [each.tx_hash for each in group]:
            raise NonceTaken(self.account, transaction.nonce, group[-1].tx_hash)
        group.append(transaction)

    async def _is_used(self, nonce: int) -> bool:
        return await self._rpc.nonce(self.account, "latest") > nonce

    async def _next_nonce(self) -> int:
        on_chain = await self._rpc.nonce(self.account, "pending")
        return max([on_chain, *(nonce + 1 for nonce in self._by_nonce)])

    def _sign(
        self,
        purpose: str,
        payload: Payload,
        gas: int,
        nonce: int,
        max_fee_wei: int,
        tip_wei: int,
        replaces: bytes | None,
    ) -> SignedTransaction:
        if max_fee_wei > self._max_fee_limit_wei:
            raise FeeTooHigh(max_fee_wei, self._max_fee_limit_wei)
        group = self._by_nonce.get(nonce, [])
        if group and replaces not in [each.tx_hash for each in group]:
            raise NonceTaken(self.account, nonce, group[-1].tx_hash)
        fields: dict[str, object] = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "value": payload.value,
            "data": payload.data,
            "gas": gas,
            "maxFeePerGas": max_fee_wei,
            "maxPriorityFeePerGas": min(tip_wei, max_fee_wei),
        }
        if payload.to is not None:
            fields["to"] = payload.to
        raw = bytes(self._signer.sign_transaction(fields).raw_transaction)
        return SignedTransaction(
            purpose=purpose,
            account=self.account,
            nonce=nonce,
            tx_hash=keccak(raw),
            raw=raw,
            max_fee_wei=max_fee_wei,
            tip_wei=min(tip_wei, max_fee_wei),
            replaces=replaces,
        )

    async def _broadcast(self, transaction: SignedTransaction) -> None:
        """Send to every outlet; one that takes it is enough. A refusal does not count when the transaction, or another
        of its nonce, arrived before."""
        failures: list[RpcRefused | Recoverable] = []
        for outlet in self._outlets:
            try:
                await outlet.send_raw(transaction.raw)
            except RpcRefused as refusal:
                if await outlet.is_known(transaction.tx_hash):
                    continue
                failures.append(refusal)
            except Recoverable as failure:
                # The answer was lost, perhaps not the transaction.
                try:
                    if await outlet.is_known(transaction.tx_hash):
                        continue
                except Recoverable:
                    pass  # it is away; what it said first is what counts
                failures.append(failure)
        if len(failures) < len(self._outlets) or await self._any_mined(self._by_nonce[transaction.nonce]):
            return
        for each in failures:
            if isinstance(each, Recoverable):
                raise each
        refused = failures[0]
        assert isinstance(refused, RpcRefused)
        raise TransactionRefused(transaction.tx_hash, refused.message) from refused

    async def _any_mined(self, group: Iterable[SignedTransaction]) -> bool:
        for transaction in group:
            if await self._rpc.receipt(transaction.tx_hash) is not None:
                return True
        return False


def _bumped(fee_wei: int) -> int:
    return fee_wei * (100 + BUMP_PERCENT) // 100 + 1


def _payload_of(transaction: SignedTransaction) -> tuple[Payload, int]:
    """What a stored transaction does, read from the bytes that were stored."""
    fields = TypedTransaction.from_bytes(HexBytes(transaction.raw)).as_dict()
    to = bytes(fields["to"])
    payload = Payload(to=to if to else None, data=bytes(fields["data"]), value=int(fields["value"]))
    return payload, int(fields["gas"])
