"""Encryption of secrets at rest: ChaCha20-Poly1305 under a key that lies in a file of its own.

Whoever has the database without the key file learns sizes and times only. A box is bound to its order and name, so
that rows cannot be
exchanged.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from node.store.errors import VaultLocked

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
FINGERPRINT_TAG: Final = b"unveto vault key"


class Vault:
    """Seals and opens small secrets."""

    def __init__(self, path: Path) -> None:
        """Reads the key file, or makes it with mode 0600 if there is none.

        Raises:
            VaultLocked: it has another length, or others may read it.
        """
        self._path = path
        key = _read_key(path)
        self._cipher = ChaCha20Poly1305(key)
        self.fingerprint: Final = hashlib.sha256(FINGERPRINT_TAG + key).digest()
        """Names the key without telling it, 32 bytes: a database shows whose it is."""

    def seal(self, plaintext: bytes, place: bytes) -> bytes:
        """nonce 12 | ciphertext and tag."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, place)

    def open(self, box: bytes, place: bytes) -> bytes:
        """The plaintext. Raises VaultLocked if the key or the place is another, or the box was changed."""
        try:
            return self._cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            raise VaultLocked(str(self._path), "a stored secret does not open with this key") from error


def _read_key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise VaultLocked(str(path), "readable by others: chmod 600") from None
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise VaultLocked(str(path), f"{len(key)} bytes, not {KEY_BYTES}") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        key = os.urandom(KEY_BYTES)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key
