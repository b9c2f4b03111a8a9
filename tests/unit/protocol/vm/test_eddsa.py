"""EdDSA-Poseidon: what verifies, what does not, and that secrets stay where they are."""

from __future__ import annotations

import random

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.errors import RuleError
from protocol.vm.babyjub import BASE, IDENTITY, SUBGROUP_ORDER, Point, add, key_address, multiply, negate
from protocol.vm.eddsa import Signature, SigningKey, challenge, verify

RNG = random.Random(6)
KEY = SigningKey(bytes(range(32)))
ORDER_TWO = Point(0, R - 1)


def test_signatures_verify() -> None:
    """Of the smallest, the largest and a random message; by the right key for the right message only."""
    other = SigningKey(RNG.randbytes(32))
    for message in (0, R - 1, RNG.randrange(R)):
        signature = KEY.sign(message)

        assert verify(KEY.public, message, signature)
        assert not verify(KEY.public, (message + 1) % R, signature)
        assert not verify(other.public, message, signature)
    assert KEY.address == key_address(KEY.public)


def test_signing_is_deterministic_and_nonces_differ() -> None:
    """Equal nonces of two messages would give the key away."""
    assert KEY.sign(1) == KEY.sign(1)
    assert len({KEY.sign(m).r8 for m in range(4)} | {SigningKey(bytes(32)).sign(0).r8}) == 5


def test_every_changed_part_is_refused() -> None:
    """Also S + l, which is the same scalar, coordinates above the field, and points off the curve."""
    message = 12345
    good = KEY.sign(message)
    r8, s = good.r8, good.s
    wrong = [
        Signature(r8=r8, s=s + 1),
        Signature(r8=r8, s=s + SUBGROUP_ORDER),
        Signature(r8=r8, s=s - SUBGROUP_ORDER),
        Signature(r8=r8, s=0),
        Signature(r8=negate(r8), s=s),
        Signature(r8=add(r8, ORDER_TWO), s=s),
        Signature(r8=IDENTITY, s=s),
        Signature(r8=Point(r8.x, r8.y + 1), s=s),
        Signature(r8=Point(r8.x + R, r8.y), s=s),
    ]

    assert verify(KEY.public, message, good)
    assert [signature for signature in wrong if verify(KEY.public, message, signature)] == []
    assert not verify(KEY.public, message + R, good)
    assert not verify(Point(KEY.public.x, KEY.public.y + 1), message, good)
    assert not verify(Point(KEY.public.x + R, KEY.public.y), message, good)


@pytest.mark.parametrize("public", [IDENTITY, ORDER_TWO])
def test_keys_of_small_order_sign_nothing(public: Point) -> None:
    """S B = R8 alone would be a signature of every message."""
    assert not verify(public, 7, Signature(r8=multiply(9, BASE), s=9))


def test_a_key_with_a_part_of_small_order_verifies() -> None:
    """8 removes it, as in circomlib."""
    tweaked = add(multiply(5, BASE), ORDER_TWO)
    r8 = multiply(9, BASE)
    s = (9 + 8 * challenge(tweaked, 7, r8) * 5) % SUBGROUP_ORDER

    assert verify(tweaked, 7, Signature(r8=r8, s=s))


def test_an_r8_outside_the_subgroup_is_refused() -> None:
    """Even if all else fits: there is no factor 8 on R8's side."""
    r8 = add(multiply(9, BASE), ORDER_TWO)
    s = (9 + 8 * challenge(KEY.public, 7, r8) * KEY._scalar(b"unveto/eddsa/key/1")) % SUBGROUP_ORDER

    assert not verify(KEY.public, 7, Signature(r8=r8, s=s))


def test_wrong_secrets_and_messages_are_refused_without_being_shown() -> None:
    """Codes for callers; no secret in any text."""
    secret = RNG.randbytes(31)
    with pytest.raises(RuleError) as caught:
        SigningKey(secret)
    assert caught.value.reason == "EDDSA_SECRET_LENGTH"
    with pytest.raises(RuleError) as out_of_range:
        KEY.sign(R)
    assert out_of_range.value.reason == "EDDSA_MESSAGE"
    shown = f"{caught.value} {caught.value.values} {out_of_range.value} {KEY} {KEY!r}"
    assert not any(text in shown for text in (secret.hex(), repr(secret), KEY.secret.hex(), repr(KEY.secret)))
