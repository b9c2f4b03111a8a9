"""The two keys of a node: its libp2p host key and its chain account.

Both live in files of their own, mode 0600, made once. Nothing here logs, and no secret shows in a `repr`.

Host key file: the libp2p private-key message for Ed25519 (libp2p specs, peer-ids "Keys"): 08 01 12 40, then seed and
public key, 68 bytes. Account file: one line, 0x and 64 hex digits, as most wallets import it.
"""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount

from protocol.vm.eddsa import SigningKey

_HOST_KEY_PREFIX = bytes.fromhex("08011240")  # protobuf: Type = Ed25519, Data = 64 bytes
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class IdentityError(Exception):
    """A key file cannot be used. The message names the file and the rule, never its content."""

    code: ClassVar[str] = "IDN-000"

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"[{self.code}] {path}: {reason}")


class KeyFileMalformed(IdentityError):
    """The file does not hold a key of the expected kind."""

    code = "IDN-001"


class KeyFileExposed(IdentityError):
    """Others than the owner can read the file."""

    code = "IDN-002"


@dataclass(frozen=True, slots=True)
class HostKey:
    """Ed25519 key of a libp2p host."""

    seed: bytes = field(repr=False)
    """32 bytes, the private seed."""
    public_key: bytes
    """32 bytes."""

    @classmethod
    def from_seed(cls, seed: bytes) -> "HostKey":
        """The key of a 32-byte seed."""
        return cls(seed, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class AccountKey:
    """secp256k1 key of the node's chain account."""

    secret: bytes = field(repr=False)
    """32 bytes, big-endian, 1 <= value < group order."""
    address: str
    """Checksummed 0x address."""

    @classmethod
    def from_secret(cls, secret: bytes) -> "AccountKey":
        """The account of a 32-byte secret."""
        account: LocalAccount = Account.from_key(secret)
        return cls(secret, account.address)

    def signer(self) -> LocalAccount:
        """A signer for transactions and typed data."""
        account: LocalAccount = Account.from_key(self.secret)
        return account


def load_or_create_host_key(path: Path) -> HostKey:
    """Read the host key at `path`, or make one there.

    Raises:
        KeyFileMalformed: The content is not an Ed25519 key, or its halves disagree.
        KeyFileExposed: Group or others can read the file.
        OSError: The file system refused.
    """
    raw = _read_private(path)
    if raw is None:
        key = HostKey.from_seed(secrets.token_bytes(32))
        raw = _create_private(path, _HOST_KEY_PREFIX + key.seed + key.public_key)
    if len(raw) != 68 or raw[:4] != _HOST_KEY_PREFIX:
        raise KeyFileMalformed(path, "expected a 68-byte libp2p Ed25519 private key")
    key = HostKey.from_seed(raw[4:36])
    if key.public_key != raw[36:]:
        raise KeyFileMalformed(path, "the public half does not belong to the private half")
    return key


def load_or_create_account(path: Path) -> AccountKey:
    """Read the account key at `path`, or make one there.

    Raises:
        KeyFileMalformed: The content is not one line of 0x and 64 hex digits, or not a valid secret.
        KeyFileExposed: Group or others can read the file.
        OSError: The file system refused.
    """
    secret = _secret_line(path)
    if not _is_secret(secret):
        raise KeyFileMalformed(path, "the number is not a secp256k1 secret")
    return AccountKey.from_secret(secret)


def load_or_create_rollup_key(path: Path) -> SigningKey:
    """Read the secret of a rollup's account at `path`, in the form of an account file, or make one there.

    Raises:
        KeyFileMalformed, KeyFileExposed, OSError.
    """
    return SigningKey(_secret_line(path))


def _secret_line(path: Path) -> bytes:
    raw = _read_private(path)
    if raw is None:
        secret = b""
        while not _is_secret(secret):
            secret = secrets.token_bytes(32)
        raw = _create_private(path, b"0x" + secret.hex().encode() + b"\n")
    text = raw.decode("ascii", errors="replace").removesuffix("\n")
    digits = text.removeprefix("0x")
    if len(text) != 66 or len(digits) != 64 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise KeyFileMalformed(path, "expected one line of 0x and 64 hex digits")
    return bytes.fromhex(digits)


def _is_secret(secret: bytes) -> bool:
    return len(secret) == 32 and 0 < int.from_bytes(secret, "big") < _SECP256K1_ORDER


def _read_private(path: Path) -> bytes | None:
    """The first kilobyte of a file that only its owner can read; None where there is no file."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileExposed(path, f"mode is {mode:04o}, must be 0600")
            return file.read(1024)
    except FileNotFoundError:
        return None


def _create_private(path: Path, content: bytes) -> bytes:
    """Put `content` at `path` unless something is there already; returns what is there afterwards.

    The content is complete on disk before the name exists, and link() never replaces: of two processes that start at
    once both end with the same key, and a crash leaves either no key or a whole one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            existing = _read_private(path)
            if existing is not None:
                return existing
            raise
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return content
