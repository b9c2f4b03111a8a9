"""Transactions that users of a rollup sign (SPEC §4.8).

API:
    Transaction(...); encode_transaction / decode_transaction(data)
    sign_transaction(key, domain=, rollup_id=, nonce=, ...) -> data of an L2TX
    admit(ledger, data, rollup_id=, fee_recipient=) -> Transaction, its nonce used and its fee paid; or why not
    transaction_domain(chain_id, contract), message_of(transaction, domain, rollup_id)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.actions import Words, answer_words, bytes_from_words
from protocol.constants import ADDRESS_BITS, FIELD_ORDER, INT_BITS, MAX_WORDS, TAG_TX
from protocol.errors import DecodeError
from protocol.hashing import abi_words, domain, keccak256
from protocol.types import Address
from protocol.vm.babyjub import Point, compress, decompress, key_address
from protocol.vm.eddsa import Signature, SigningKey, verify
from protocol.vm.isa import U128
from protocol.vm.ledger import Ledger
from protocol.vm.poseidon import list_hash
from protocol.vm.state import DOMAIN_KEY, account_key, pack_account, unpack_account

HEAD_WORDS: Final = 6
MAX_TRANSACTION_BYTES: Final = 32 * (HEAD_WORDS + MAX_WORDS)
_LAST_NONCE: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A decoded transaction; its signature is not checked."""

    public: Point
    """The signer's key, a point of the curve."""
    signature: Signature
    fee: int
    """wei, for the table's feeRecipient."""
    nonce: int
    """u64; must be the account's."""
    value: int
    """wei, for the destination."""
    selector: int
    destination: int
    """Account of the same rollup."""
    words: Words
    """Arguments, at most 16."""

    @property
    def sender(self) -> Address:
        """The account that pays."""
        return key_address(self.public)

    @property
    def meta(self) -> int:
        """dataMeta of the call that it makes."""
        return ((4 + 32 * len(self.words)) << 32) + self.selector


def _body(transaction: Transaction) -> Words:
    return (
        (transaction.fee, transaction.nonce),
        (transaction.value, transaction.selector),
        (transaction.destination >> INT_BITS, transaction.destination % U128),
        *transaction.words,
    )


def message_of(transaction: Transaction, domain: int, rollup_id: int) -> int:
    """What is signed: L(TAG_TX, domain, rollupId, the words after the signature)."""
    halves = [half for word in _body(transaction) for half in word]
    return list_hash(TAG_TX, [domain, rollup_id, *halves])


def transaction_domain(chain_id: int, contract: Address) -> int:
    """Domain of the rollups of one Rollups contract."""
    return int.from_bytes(keccak256(abi_words(domain("l2tx"), chain_id, contract)), "big") % FIELD_ORDER


def encode_transaction(transaction: Transaction) -> bytes:
    """Data of the L2TX."""
    signed = (compress(transaction.public), compress(transaction.signature.r8), transaction.signature.s)
    return b"".join(x.to_bytes(32, "big") for x in signed) + bytes_from_words(_body(transaction))


def decode_transaction(data: bytes) -> Transaction:
    """Decode the data of an L2TX.

    Raises:
        DecodeError: TX_LENGTH, TX_NONCE_RANGE, TX_SELECTOR_RANGE, TX_DESTINATION_RANGE, or a key that is no point.
    """
    count, rest = divmod(len(data), 32)
    if rest or not HEAD_WORDS <= count <= HEAD_WORDS + MAX_WORDS:
        raise DecodeError("TX_LENGTH", length=len(data))
    key, r8, s, *body = answer_words(data)
    (fee, nonce), (value, selector), (high, low), *words = body
    if nonce > _LAST_NONCE:
        raise DecodeError("TX_NONCE_RANGE", nonce=nonce)
    if selector >> 32:
        raise DecodeError("TX_SELECTOR_RANGE", selector=selector)
    if high >> (ADDRESS_BITS - INT_BITS):
        raise DecodeError("TX_DESTINATION_RANGE", high=high)
    return Transaction(
        public=decompress(key[0] << INT_BITS | key[1]),
        signature=Signature(r8=decompress(r8[0] << INT_BITS | r8[1]), s=s[0] << INT_BITS | s[1]),
        fee=fee,
        nonce=nonce,
        value=value,
        selector=selector,
        destination=high << INT_BITS | low,
        words=tuple(words),
    )


def sign_transaction(
    key: SigningKey,
    *,
    domain: int,
    rollup_id: int,
    nonce: int,
    destination: Address,
    selector: int = 0,
    words: Sequence[tuple[int, int]] = (),
    value: int = 0,
    fee: int = 0,
) -> bytes:
    """A signed transaction, as the data of an L2TX.

    Args:
        domain: of the rollup (`transaction_domain`).
        nonce: of the key's account: transactions so far.
        words: arguments as (hi, lo), at most 16; a forced transaction has room for 10.
        value, fee: wei, below 2^128.
    """
    unsigned = Transaction(
        public=key.public,
        signature=Signature(r8=key.public, s=0),
        fee=fee,
        nonce=nonce,
        value=value,
        selector=selector,
        destination=int.from_bytes(destination, "big"),
        words=tuple(words),
    )
    body = encode_transaction(unsigned)[96:]
    signature = key.sign(message_of(unsigned, domain, rollup_id))
    head = (compress(key.public), compress(signature.r8), signature.s)
    return b"".join(x.to_bytes(32, "big") for x in head) + body


def admit(ledger: Ledger, data: bytes, *, rollup_id: int, fee_recipient: Address) -> Transaction | str:
    """Check a transaction against the state, use its nonce up and pay its fee.

    Returns:
        The transaction; or a coded reason why it is none: then the ledger may have changed and is to be restored.
    """
    # Read first, so that whoever proves that the data are no transaction has it on record, too.
    rollup_domain, _ = ledger.read(DOMAIN_KEY)
    try:
        transaction = decode_transaction(data)
    except DecodeError as error:
        return error.reason
    if rollup_domain == 0:
        return "TX_NO_DOMAIN"
    if not verify(transaction.public, message_of(transaction, rollup_domain, rollup_id), transaction.signature):
        return "TX_SIGNATURE"
    key = account_key(int.from_bytes(transaction.sender, "big"))
    v0, code_hash = ledger.read(key)
    nonce, balance = unpack_account(v0)
    if transaction.nonce != nonce or nonce == _LAST_NONCE:
        return "TX_NONCE"
    if balance < transaction.fee:
        return "TX_FEE"
    ledger.put(key, pack_account(nonce + 1, balance - transaction.fee), code_hash)
    if not ledger.credit(int.from_bytes(fee_recipient, "big"), transaction.fee):
        return "TX_FEE"
    return transaction
