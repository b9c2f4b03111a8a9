"""HPKE sealing of bid openings, payloads and ready tables (SPEC §9.3, §11; RFC 9180 base mode).

Suite: X25519, HKDF-SHA256, ChaCha20-Poly1305. A sealed box is the 32-byte encapsulated key, then ciphertext and
16-byte tag. The
`info` string binds a box to its place; a box opened anywhere else fails. The encapsulation takes its randomness from
the
operating system inside the library; nothing here depends on it.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
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


def seal_opening(opening: bytes, salt: bytes, public: bytes, info: bytes) -> bytes:
    """A box like `seal`'s whose ephemeral key follows from the opening's salt.

    So whoever knows the opening can make the same box: a bid that was passed over shows that it could have been opened.
    The salt is secret until then, and after it there is nothing left to hide.

    Raises:
        SealError: `public` is not a usable X25519 key.
    """
    place = domain("bid ephemeral") + public + info
    ephemeral = X25519PrivateKey.from_private_bytes(hmac.digest(salt, place, "sha256"))
    encapsulated = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a key of small order
        raise SealError("not a usable X25519 key") from error
    # RFC 9180 sections 4.1 (DHKEM) and 5.1 (key schedule, base mode): the library seals with randomness only.
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    agreed = _extract(kem, b"", b"eae_prk", shared)
    secret = _expand(kem, agreed, b"shared_secret", encapsulated + public, 32)
    context = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    schedule = _extract(suite, secret, b"secret", b"")
    key, nonce = (_expand(suite, schedule, name, context, size) for name, size in ((b"key", 32), (b"base_nonce", 12)))
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, opening, None)


def _extract(suite: bytes, salt: bytes, label: bytes, keying: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + keying, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """For at most the 32 bytes of one block."""
    return hmac.digest(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:size]


def bid_info(request_id: bytes, prover: bytes, bid_hash: bytes) -> bytes:
    """Place of a bid's opening: request, signer and commitment, so that a copied box opens for nobody else's bid."""
    return domain("bid box") + request_id + prover + bid_hash


def payload_info(agreement_hash: bytes) -> bytes:
    """Place of a payload (SPEC §11)."""
    return domain("key") + agreement_hash


def table_info(table_id: bytes) -> bytes:
    """Place of a sealed ready table."""
    return domain("table box") + table_id
