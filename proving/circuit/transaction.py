"""A transaction of the rollup's own format: who signed what, and whether it is taken (SPEC §4.8, §4.9).

`read_transaction` looks at the words of an L2TX and the rollup's domain only; `take_transaction` at the accounts that
it touches before its body begins. Both give an answer for whatever words there are: a transaction that is none is as
provable as one that is, which a forced one needs. Its fields then say nothing; whoever reads them looks at `valid` or
`taken` first.

Relied on: halves of data words are below 2^128 and zero behind the data's end, and an account's first word holds a u64
and a u128 (the contract and the machine see to it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import ADDRESS_BITS, INT_BITS, MAX_WORDS, TAG_TX
from protocol.vm.poseidon import P
from protocol.vm.transactions import HEAD_WORDS
from proving.circuit.bits import from_bits, is_zero, raw_bits, to_bits
from proving.circuit.builder import Builder, Expr, plus, total, value
from proving.circuit.compare import CANONICAL_BITS, at_most
from proving.circuit.eddsa import verify_words
from proving.circuit.list_hash import CHUNK, absorb
from proving.circuit.poseidon import poseidon

_SIGNATURE_WORDS: Final = 3
_NONCE_BITS: Final = 64
_LAST_NONCE: Final = (1 << _NONCE_BITS) - 1
_LIMIT: Final = 1 << INT_BITS


@dataclass(slots=True, kw_only=True)
class SignedTransaction:
    """What the words of a transaction say."""

    valid: Expr
    """1 if they are one, signed for this rollup; 0 if anything is wrong with them."""
    sender: Expr
    """Address of the key; 0 if not valid."""
    fee: Expr
    """Below 2^128, valid or not."""
    nonce: Expr
    """Below 2^128."""
    value: Expr
    """Below 2^128, valid or not."""
    selector: Expr
    destination: Expr
    arguments: list[Expr]
    """hi_0.., then lo_0.., as many of both as there may be; zeros behind the last one."""
    counts: list[Expr]
    """For each number of arguments from 0: 1 if there are so many; all 0 if the data's length is no transaction's."""

    @property
    def length(self) -> Expr:
        """Of the call's data in bytes."""
        return total((4 + 32 * n, flag) for n, flag in enumerate(self.counts))

    @property
    def meta(self) -> Expr:
        """dataMeta of the call."""
        return self.length * (1 << 32) + self.selector


def read_transaction(
    b: Builder, *, meta: Expr, high: Sequence[Expr], low: Sequence[Expr], rollup_id: Expr, domain: Expr
) -> SignedTransaction:
    """Judge the words of an L2TX.

    Args:
        meta: dataMeta: length * 2^32.
        high, low: halves of the data words, single wires; at least six.
        rollup_id: a single wire.
        domain: v0 of the rollup's leaf NS_DOMAIN, 0 if absent; a single wire.
    """
    most = min(len(high) - HEAD_WORDS, MAX_WORDS)
    counts = [is_zero(b, meta - (32 * (HEAD_WORDS + n) << 32)) for n in range(most + 1)]
    words = [
        half
        for k in range(_SIGNATURE_WORDS, HEAD_WORDS + most)
        for half in (high[k], low[k])
    ]  # fmt: skip
    message = _message(b, counts, [domain, rollup_id, *words])
    signed = verify_words(b, list(zip(high, low, strict=True))[:_SIGNATURE_WORDS], message)
    (digest,) = b.stamp(poseidon(2), [b.define(x) for x in signed.public])
    sender = from_bits(b.stamp(CANONICAL_BITS, [b.define(digest)])[:ADDRESS_BITS])
    right = b.mul(is_below_power(b, low[4], 32), is_below_power(b, high[5], ADDRESS_BITS - INT_BITS))
    known = b.mul(plus(counts), 1 - is_zero(b, domain))
    valid = b.mul(b.mul(right, known), signed.valid)
    return SignedTransaction(
        valid=valid,
        sender=b.mul(valid, sender),
        fee=high[3],
        nonce=low[3],
        value=high[4],
        selector=low[4],
        destination=high[5] * _LIMIT + low[5],
        arguments=[*high[HEAD_WORDS : HEAD_WORDS + most], *low[HEAD_WORDS : HEAD_WORDS + most]],
        counts=counts,
    )


def _message(b: Builder, counts: Sequence[Expr], words: Sequence[Expr]) -> Expr:
    """L(TAG_TX, words) of as many words as there are; anything if the number is none of a transaction's."""
    fewest = 2 + 2 * (HEAD_WORDS - _SIGNATURE_WORDS)
    sizes = [fewest + 2 * n for n in range(len(counts))]
    state = b.define(total((P(2, (TAG_TX, size)), flag) for size, flag in zip(sizes, counts, strict=True)))
    ends = []
    for at in range(0, len(words), CHUNK):
        state = absorb(b, state, words[at : at + CHUNK])
        here = plus(flag for size, flag in zip(sizes, counts, strict=True) if at < size <= at + CHUNK)
        ends.append(b.mul(here, state))
    return b.define(plus(ends))


def is_below_power(b: Builder, x: Expr, bits: int) -> Expr:
    """1 if a number below 2^128 is below 2^bits, else 0."""
    return is_zero(b, plus(to_bits(b, x, INT_BITS)[bits:]))


@dataclass(slots=True, kw_only=True)
class Account:
    """The first word of an account's leaf."""

    nonce: Expr
    balance: Expr


def split_account(b: Builder, packed: Expr) -> Account:
    """Nonce and balance; refuses a word of 2^192 or more, which no account has."""
    balance = from_bits(raw_bits(b, lambda: value(packed) % _LIMIT, INT_BITS))
    nonce = from_bits(raw_bits(b, lambda: value(packed) >> INT_BITS & _LAST_NONCE, _NONCE_BITS))
    b.equal(nonce * _LIMIT + balance, packed)
    return Account(nonce=nonce, balance=balance)


@dataclass(slots=True, kw_only=True)
class Taken:
    """What a transaction does before its body begins. The signer's leaf is looked at if it is valid."""

    taken: Expr
    """1 if it is done: then both leaves change as below."""
    signer_after: Expr
    """First word of the signer's leaf then."""
    pays: Expr
    """1 if the recipient's leaf is looked at: nonce and balance are right, and the fee is not 0 and for another."""
    recipient_after: Expr
    """First word of that leaf then, if it is looked at."""
    funded: Expr
    """1 if it is taken and the signer then has the value that it sends: only then does the body begin."""


def take_transaction(b: Builder, signed: SignedTransaction, *, signer: Expr, payee: Expr, recipient: Expr) -> Taken:
    """Use up the nonce and pay the fee.

    Args:
        signer: first word of the signer's leaf, 0 if absent.
        payee: address of feeRecipient. Who pays itself moves nothing, so that no leaf changes twice.
        recipient: first word of its leaf, 0 if absent or not looked at.
    """
    before, fed = split_account(b, signer), split_account(b, recipient)
    is_next = b.mul(is_zero(b, signed.nonce - before.nonce), 1 - is_zero(b, before.nonce - _LAST_NONCE))
    charged = b.mul(b.mul(signed.valid, is_next), at_most(b, signed.fee, before.balance))
    moved = b.mul(signed.fee, 1 - is_zero(b, signed.sender - payee))
    taken = b.mul(charged, at_most(b, signed.fee, _LIMIT - 1 - fed.balance))
    return Taken(
        taken=taken,
        funded=b.mul(taken, at_most(b, signed.value, b.mul(charged, before.balance - moved))),
        signer_after=signer + _LIMIT - moved,
        pays=b.mul(charged, 1 - is_zero(b, moved)),
        recipient_after=recipient + moved,
    )
