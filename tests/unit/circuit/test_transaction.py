"""The transaction gadgets against the machine: what it takes and what it refuses, and neither passes for the other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from protocol.actions import answer_words
from protocol.constants import FIELD_ORDER as R
from protocol.errors import DecodeError
from protocol.types import Address
from protocol.vm.babyjub import BASE, IDENTITY, SUBGROUP_ORDER, Point, add, compress, key_address, multiply, negate
from protocol.vm.eddsa import Signature, SigningKey, challenge
from protocol.vm.ledger import Ledger
from protocol.vm.state import DOMAIN_KEY, account_key, pack_account
from protocol.vm.state_tree import StateTree
from protocol.vm.transactions import (
    Transaction,
    admit,
    decode_transaction,
    encode_transaction,
    message_of,
    sign_transaction,
)
from proving.circuit.builder import Builder, Expr
from proving.circuit.transaction import read_transaction, take_transaction
from tests.support.gadgets import Gadget, Made

RNG = random.Random(48)
WORDS = 16
"""Places for data words: as many as a forced transaction needs."""
ROLLUP, DOMAIN = 5, 77
KEY, POOR, NEW, ORDINARY = (SigningKey(bytes([i]) * 32) for i in range(4))
PAYEE, RICH = Address(b"\xfe" * 20), Address(b"\xfd" * 20)
LIMIT = 1 << 128
NONCE, BALANCE = 3, 1000
LAST = (1 << 64) - 1
ORDER_TWO = Point(0, R - 1)
CONSTRAINTS = 7325


def body(b: Builder, xs: list[Expr]) -> list[Expr]:
    """Inputs: dataMeta, words, rollup id, domain, the signer's first word, the payee and its first word."""
    high, low = xs[1 : 1 + WORDS], xs[1 + WORDS : 1 + 2 * WORDS]
    rollup_id, domain, signer, payee, recipient = xs[1 + 2 * WORDS :]
    signed = read_transaction(b, meta=xs[0], high=high, low=low, rollup_id=rollup_id, domain=domain)
    done = take_transaction(b, signed, signer=signer, payee=payee, recipient=recipient)
    fields = [signed.fee, signed.nonce, signed.value, signed.selector, signed.destination, signed.meta]
    verdict = [signed.valid, signed.sender, done.pays, done.taken, done.funded]
    return [*verdict, done.signer_after, done.recipient_after, *fields, *signed.arguments]


@cache
def gadget() -> Gadget:
    """Recorded once."""
    return Gadget(body, 6 + 2 * WORDS)


def accounts(domain: int = DOMAIN) -> StateTree:
    """A signer with a balance, one without, and one whose nonces are used up."""
    ledger = Ledger(StateTree.empty())
    if domain:
        ledger.put(DOMAIN_KEY, domain, 0)
    for key, nonce, balance in ((KEY, NONCE, BALANCE), (POOR, NONCE, 0), (ORDINARY, LAST, BALANCE)):
        ledger.put(account_key(int.from_bytes(key.address, "big")), pack_account(nonce, balance), 0)
    ledger.put(account_key(int.from_bytes(RICH, "big")), pack_account(0, LIMIT - 5), 0)
    return ledger.tree


def fill(
    data: bytes, tree: StateTree, payee: Address, lies: dict[int, int] | None = None, rollup_id: int = ROLLUP
) -> Made:
    """The gadget between the leaves that it asks for, as the circuit puts it."""
    words = answer_words(data)
    words += ((0, 0),) * (WORDS - len(words))
    statement = [
        len(data) << 32,
        *(hi for hi, _ in words),
        *(lo for _, lo in words),
        rollup_id,
        tree.get(DOMAIN_KEY)[0],
    ]
    to = int.from_bytes(payee, "big")
    signer, recipient = 0, tree.get(account_key(to))[0]
    try:
        transaction = decode_transaction(data)
    except DecodeError:
        # No key, so no account to look at.
        return gadget().fill([*statement, signer, to, recipient], lies)
    signer = tree.get(account_key(int.from_bytes(transaction.sender, "big")))[0]
    if transaction.sender == payee:
        recipient = 0
    return gadget().fill([*statement, signer, to, recipient], lies)


def judged(data: bytes, payee: Address = PAYEE, tree: StateTree | None = None, rollup_id: int = ROLLUP) -> int:
    """An honest witness, which holds and says what the machine says."""
    before = accounts() if tree is None else tree
    made = fill(data, before, payee, rollup_id=rollup_id)
    assert made.first_broken() is None
    ledger = Ledger(before)
    admitted = admit(ledger, data, rollup_id=rollup_id, fee_recipient=payee)
    valid, sender, pays, taken, funded, signer_after, recipient_after, *fields = made.outputs
    assert taken == int(isinstance(admitted, Transaction))
    assert max(taken, pays) <= valid
    assert funded <= taken
    if isinstance(admitted, Transaction):
        assert funded == int(ledger.debit(sender, admitted.value))
        assert pays == int(admitted.fee > 0 and admitted.sender != payee)
        assert sender == int.from_bytes(admitted.sender, "big")
        halves = [half for column in zip(*admitted.words, strict=True) for half in column] or []
        count = len(admitted.words)
        wanted = [admitted.fee, admitted.nonce, admitted.value, admitted.selector, admitted.destination, admitted.meta]
        assert fields[:6] == wanted
        places = WORDS - 6
        assert fields[6 : 6 + count] + fields[6 + places : 6 + places + count] == halves
        ledger.credit(sender, admitted.value * funded)
        after = {account_key(sender): signer_after}
        if pays:
            after[account_key(int.from_bytes(payee, "big"))] = recipient_after
        assert {key: ledger.tree.get(key)[0] for key in after} == after
    return taken


def signed(key: SigningKey = KEY, **changes: object) -> bytes:
    """A right transaction, or one with other fields."""
    fields = {
        "domain": DOMAIN,
        "rollup_id": ROLLUP,
        "nonce": NONCE,
        "destination": Address(b"\x0d" * 20),
        "selector": 0xAABBCCDD,
        "words": ((1, 2), (LIMIT - 1, 7)),
        "value": 9,
        "fee": 40,
    }
    return sign_transaction(key, **(fields | changes))  # type: ignore[arg-type]


def resigned(transaction: Transaction, key: SigningKey = KEY) -> bytes:
    """Signed after the fact, whatever its fields are."""
    signature = key.sign(message_of(transaction, DOMAIN, ROLLUP))
    return encode_transaction(replace(transaction, signature=signature))


def put(data: bytes, at: int, word: int) -> bytes:
    """Another word."""
    return data[: 32 * at] + word.to_bytes(32, "big") + data[32 * at + 32 :]


def test_constraint_count() -> None:
    """Committed: a tier has one for each transaction."""
    count = gadget().circuit.n_constraints
    assert count == CONSTRAINTS


@pytest.mark.parametrize("count", [0, 3, 4, 10])
def test_transactions_of_every_length_are_taken(count: int) -> None:
    """One chunk of the message's hash and two."""
    assert judged(signed(words=tuple((i, LIMIT - 1 - i) for i in range(count)))) == 1


@pytest.mark.parametrize("fee", [0, 1, BALANCE])
@pytest.mark.parametrize("payee", [PAYEE, KEY.address])
def test_fees_move(fee: int, payee: Address) -> None:
    """To somebody new, or from the signer to itself; none touches nobody."""
    assert judged(signed(fee=fee), payee) == 1


@pytest.mark.parametrize("value", [0, BALANCE - 40, BALANCE - 39, LIMIT - 1])
def test_a_transaction_that_cannot_pay_its_value_is_taken(value: int) -> None:
    """Its fee is, too; the value must be there behind it."""
    assert judged(signed(value=value)) == 1
    assert judged(signed(value=value), KEY.address) == 1


def test_a_new_account_signs_for_nothing() -> None:
    """Its leaf is absent and reads as zeros."""
    assert judged(signed(NEW, nonce=0, fee=0)) == 1
    assert judged(signed(NEW, nonce=0, fee=1)) == 0


def refused() -> Iterator[tuple[str, bytes, dict[str, object]]]:
    """What is wrong, the data, and around it."""
    good = signed()
    decoded = decode_transaction(good)
    s = decoded.signature.s
    for nonce in (0, NONCE - 1, NONCE + 1, NONCE + (1 << 64), LAST):
        changed = replace(decoded, nonce=nonce)
        yield f"nonce {nonce}", resigned(changed), {}
    yield "last nonce", signed(ORDINARY, nonce=LAST), {}
    yield "nonce behind the last", resigned(replace(decoded, nonce=LAST + 1, public=ORDINARY.public), ORDINARY), {}
    yield "another rollup", good, {"rollup_id": ROLLUP + 1}
    yield "another domain", good, {"tree": accounts(DOMAIN + 1)}
    yield "no domain", signed(domain=0), {"tree": accounts(0)}
    yield "fee above the balance", signed(fee=BALANCE + 1), {}
    yield "fee of the poor", signed(POOR, fee=1), {}
    yield "fee of the poor to itself", signed(POOR, fee=1), {"payee": POOR.address}
    yield "fee that has no room", signed(fee=5), {"payee": RICH}
    yield "S not below the order", put(good, 2, s + SUBGROUP_ORDER), {}
    yield "another S", put(good, 2, s ^ 1), {}
    yield "another key", put(good, 0, compress(POOR.public)), {}
    yield "a key of small order", put(good, 0, compress(ORDER_TWO)), {}
    yield "the neutral key", put(good, 0, compress(IDENTITY)), {}
    yield "a key that is no point", put(good, 0, 2), {}
    yield "a key not below r", put(good, 0, compress(KEY.public) % (1 << 255) + R), {}
    yield "the key's other root", put(good, 0, compress(KEY.public) ^ 1 << 255), {}
    yield "R8 beside its subgroup", put(good, 1, compress(add(decoded.signature.r8, ORDER_TWO))), {}
    yield "R8 negated", put(good, 1, compress(negate(decoded.signature.r8))), {}
    yield "R8 that is no point", put(good, 1, R - 1 + (1 << 255)), {}
    for at in range(3, 8):
        yield f"bit of word {at}", put(good, at, int.from_bytes(good[32 * at :][:32], "big") ^ 1), {}
        yield f"high bit of word {at}", put(good, at, int.from_bytes(good[32 * at :][:32], "big") ^ 1 << 200), {}
    yield "a selector too long", resigned(replace(decoded, selector=1 << 32)), {}
    yield "a destination too long", resigned(replace(decoded, destination=1 << 160)), {}
    yield "no data", b"", {}
    yield "five words", good[:160], {}
    yield "a byte less", good[:-1], {}
    yield "a byte more", good + b"\0", {}
    yield "a word more", good + bytes(32), {}
    yield "a word less", good[:-32], {}
    yield "zeros", bytes(192), {}


@pytest.mark.parametrize(("data", "around"), [x[1:] for x in refused()], ids=[x[0] for x in refused()])
def test_what_the_machine_refuses_is_not_taken(data: bytes, around: dict[str, object]) -> None:
    """And is provable as that."""
    assert judged(data, **around) == 0  # type: ignore[arg-type]


def test_a_key_with_a_part_of_small_order_may_sign() -> None:
    """As EdDSA's rule has it: 8 removes that part."""
    public, r8 = add(multiply(5, BASE), ORDER_TWO), multiply(9, BASE)
    unsigned = replace(decode_transaction(signed(fee=0, nonce=0)), public=public)
    s = (9 + 8 * challenge(public, message_of(unsigned, DOMAIN, ROLLUP), r8) * 5) % SUBGROUP_ORDER
    assert key_address(public) != key_address(multiply(5, BASE))
    assert judged(encode_transaction(replace(unsigned, signature=Signature(r8=r8, s=s)))) == 1


def test_every_bit_of_the_signed_words_matters() -> None:
    """A signature is for one nonce, fee, value, selector, destination and argument."""
    good = signed()
    for bit in RNG.sample(range(8 * 96, 8 * len(good)), 8):
        changed = (int.from_bytes(good, "big") ^ 1 << (8 * len(good) - 1 - bit)).to_bytes(len(good), "big")
        assert judged(changed) == 0


# -- wires -------------------------------------------------------------------------------------------------------------


def explained(made: Made, wire: int) -> bool:
    """An inverse of 0: it occurs in one constraint, x * wire = 1 - zero."""
    constraints = gadget().constraints
    numbers = constraints.touching(wire)
    if len(numbers) != 1:
        return False
    a, b, _ = constraints.sides(numbers[0])
    return [w for w, _ in b] == [wire] and sum(k * made.values[w] for w, k in a) % R == 0


CASES = {"taken": signed(), "refused": signed(nonce=0), "nothing": b""}


@pytest.mark.parametrize("name", CASES)
def test_wires_are_determined_and_changes_are_noticed(name: str) -> None:
    """Full rank; and a change of any one of a sample of wires."""
    made = fill(CASES[name], accounts(), PAYEE)
    loose = gadget().loose(made)
    sample = RNG.sample(list(made.inner), 400)
    free = gadget().unnoticed(made, sample, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x))

    assert [wire for wire in {*loose, *free} if not explained(made, wire)] == []


@pytest.mark.parametrize("name", CASES)
def test_a_lie_in_a_hint_is_caught_or_changes_nothing(name: str) -> None:
    """Whoever flips a hint and fills all the rest consistently gets no other answer."""
    honest = fill(CASES[name], accounts(), PAYEE)
    hinted = [wire for wire in sorted(honest.hinted) if wire in honest.inner]
    # Flags of zero tests and comparisons, which decide; and a sample of all others.
    flags = [wire for wire in hinted if honest.values[wire] in (0, 1)]
    for wire in {*RNG.sample(flags, 8), *RNG.sample(hinted, 8), *hinted[-131:-129]}:
        lied = fill(CASES[name], accounts(), PAYEE, {wire: (1 - honest.values[wire]) % R})
        assert lied.first_broken() is not None or lied.outputs == honest.outputs
