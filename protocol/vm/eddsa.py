"""EdDSA on Baby Jubjub with Poseidon, as circomlib verifies it.

API:
    Signature(r8, s)
    SigningKey(secret).public, .address, .sign(message) -> Signature
    verify(public, message, signature) -> bool

With l the order of the subgroup, B its generator (circomlib's Base8), P_5 Poseidon and a message that is one field
element: a signature (R8, S) of the key A is valid if A and R8 are on the curve, 8 A is not neutral, S < l, and

    S B = R8 + 8 h A   with   h = P_5(R8.x, R8.y, A.x, A.y, message).

All terms but R8 lie in the subgroup, so R8 must, too. A may have a part of small order, which 8 removes; a key of small
order alone has no valid signature. S >= l is refused and R8 is hashed, so nobody but the signer can make a second
signature out of a first one.

Secrets. The scalar k and the nonce of a signature are derived by SHA-512, keyed by purpose: one secret and one message
give one signature, and no bad randomness can give the key away.

    k     = 1 + int(SHA-512("unveto/eddsa/key/1"   | secret))               mod (l - 1)
    nonce = 1 + int(SHA-512("unveto/eddsa/nonce/1" | secret | message b32)) mod (l - 1)     (big-endian)
    A = k B,  R8 = nonce B,  S = nonce + 8 h k mod l

Only the signer runs this; another rule of derivation gives signatures that verify as well. Not constant time: sign on
a machine that nobody else measures.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.errors import RuleError
from protocol.types import Address
from protocol.vm.babyjub import BASE, COFACTOR, IDENTITY, SUBGROUP_ORDER, Point, add, is_on_curve, key_address, multiply
from protocol.vm.poseidon import P

SECRET_BYTES: Final = 32
_KEY_TAG: Final = b"unveto/eddsa/key/1"
_NONCE_TAG: Final = b"unveto/eddsa/nonce/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """(R8, S), as read from bytes; any numbers, `verify` judges them."""

    r8: Point
    s: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of 32 random bytes; it is never shown by repr, str or an error."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise RuleError("EDDSA_SECRET_LENGTH", length=len(self.secret), expected=SECRET_BYTES)

    def _scalar(self, tag: bytes, *parts: bytes) -> int:
        digest = hashlib.sha512(b"".join((tag, self.secret, *parts))).digest()
        return 1 + int.from_bytes(digest, "big") % (SUBGROUP_ORDER - 1)

    @property
    def public(self) -> Point:
        """A."""
        return multiply(self._scalar(_KEY_TAG), BASE)

    @property
    def address(self) -> Address:
        """The account that this key controls."""
        return key_address(self.public)

    def sign(self, message: int) -> Signature:
        """Sign a field element.

        Raises:
            RuleError: EDDSA_MESSAGE, the message is not in [0, r).
        """
        if not 0 <= message < R:
            raise RuleError("EDDSA_MESSAGE", message=message)
        k, nonce = self._scalar(_KEY_TAG), self._scalar(_NONCE_TAG, message.to_bytes(32, "big"))
        r8 = multiply(nonce, BASE)
        h = challenge(multiply(k, BASE), message, r8)
        return Signature(r8=r8, s=(nonce + COFACTOR * h * k) % SUBGROUP_ORDER)


def challenge(public: Point, message: int, r8: Point) -> int:
    """h: a field element, not reduced by the order of the subgroup."""
    return P(5, (*r8, *public, message))


def verify(public: Point, message: int, signature: Signature) -> bool:
    """Whether a signature is valid, by the rule above. Never raises, whatever the numbers are; cheapest check first."""
    if not 0 <= message < R or not 0 <= signature.s < SUBGROUP_ORDER:
        return False
    if not is_on_curve(public) or not is_on_curve(signature.r8):
        return False
    cleared = multiply(COFACTOR, public)
    if cleared == IDENTITY:
        return False
    h = challenge(public, message, signature.r8)
    return multiply(signature.s, BASE) == add(signature.r8, multiply(h % SUBGROUP_ORDER, cleared))
