"""HPKE sealing of bid openings, payloads and ready tables (SPEC §9.3, §11; RFC 9180 base mode).

Suite: X25519, HKDF-SHA256, ChaCha20-Poly1305. A sealed box is the 32-byte encapsulated key, then ciphertext and
16-byte tag. The
`info` string binds a box to its place; a box opened anywhere else fails. The encapsulation takes its randomness from
the
operating system inside the library; nothing here depends on it.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol.hashing import domain

SEAL_OVERHEAD: Final = 48  # encapsulated key 32, tag 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class SealError(Exception):
    """A box does not open: another key, another place, or changed bytes."""


class SealKeyPair:
    """An X25519 key pair. Its representation never shows the secret."""

    __slots__ = ("_private", "public")

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError unless `secret` is 32 bytes."""
        self._private = X25519PrivateKey.from_private_bytes(secret)
        self.public: Final = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"SealKeyPair({self.public.hex()})"

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The plaintext of a box sealed to this key with the same `info`. Raises SealError."""
        if len(sealed) < SEAL_OVERHEAD:
            raise SealError(f"{len(sealed)} bytes are no box")
        try:
            return bytes(_SUITE.decrypt(sealed, self._private, info))
        except (InvalidTag, ValueError) as error:  # ValueError: a key of small order
            raise SealError("the box does not open with this key and place") from error


def seal(plaintext: bytes, public: bytes, info: bytes) -> bytes:
    """A box for the holder of `public`; SEAL_OVERHEAD bytes longer than the plaintext.

    Raises:
        SealError: `public` is not a usable X25519 key.
    """
    try:
        return bytes(_SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info))
    except ValueError as error:
        raise SealError("not a usable X25519 key") from error


def bid_info(request_id: bytes, prover: bytes, bid_hash: bytes) -> bytes:
    """Place of a bid's opening: request, signer and commitment, so that a copied box opens for nobody else's bid."""
    return domain("bid box") + request_id + prover + bid_hash


def payload_info(agreement_hash: bytes) -> bytes:
    """Place of a payload (SPEC §11)."""
    return domain("key") + agreement_hash


def table_info(table_id: bytes) -> bytes:
    """Place of a sealed ready table."""
    return domain("table box") + table_id
