"""Key files: made once, private, whole or absent, strictly read."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node.identity import (
    AccountKey,
    HostKey,
    KeyFileExposed,
    KeyFileMalformed,
    load_or_create_account,
    load_or_create_host_key,
)

Load = Callable[[Path], HostKey | AccountKey]
BOTH = pytest.mark.parametrize("load", [load_or_create_host_key, load_or_create_account])

# RFC 8032 §7.1, test 1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


@BOTH
def test_key_is_made_once_and_is_private(load: Load, tmp_path: Path) -> None:
    """The second start finds the first start's key; nobody else can read it; no draft stays behind."""
    path = tmp_path / "keys" / "key"

    first = load(path)

    assert first == load(path)
    assert 0o600 == path.stat().st_mode & 0o777
    assert ["key"] == os.listdir(path.parent)


@BOTH
def test_two_nodes_get_different_keys(load: Load, tmp_path: Path) -> None:
    """Each file gets fresh randomness."""
    assert load(tmp_path / "a") != load(tmp_path / "b")


@BOTH
def test_starts_that_race_agree_on_one_key(load: Load, tmp_path: Path) -> None:
    """Whoever loses the race uses the winner's key."""
    found: list[HostKey | AccountKey] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        found.append(load(tmp_path / "key"))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 4 == len(found)
    assert all(key == found[0] for key in found)
    assert ["key"] == os.listdir(tmp_path)


@BOTH
def test_failed_write_leaves_no_key_and_no_draft(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported, and the next start begins afresh."""

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        load(tmp_path / "key")

    assert [] == os.listdir(tmp_path)


@BOTH
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_file_that_others_can_read_is_refused(load: Load, tmp_path: Path, mode: int) -> None:
    """The key may be known already; going on silently would hide it."""
    path = tmp_path / "key"
    load(path)
    path.chmod(mode)

    with pytest.raises(KeyFileExposed):
        load(path)


def test_host_key_is_the_libp2p_message(tmp_path: Path) -> None:
    """Other libp2p implementations read the file."""
    path = tmp_path / "key"
    path.write_bytes(bytes.fromhex("08011240") + SEED + PUBLIC)
    path.chmod(0o600)

    assert HostKey(SEED, PUBLIC) == load_or_create_host_key(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        SEED,
        bytes.fromhex("08011240") + SEED,
        bytes.fromhex("08011240") + SEED + PUBLIC + b"\n",
        bytes.fromhex("08021240") + SEED + PUBLIC,  # another key type
        bytes.fromhex("08011240") + SEED + bytes(32),
        bytes(4096),
    ],
)
def test_malformed_host_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    """Replacing it would change the node's identity without a word."""
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileMalformed):
        load_or_create_host_key(path)

    assert content == path.read_bytes()


def test_account_key_gives_its_known_address(tmp_path: Path) -> None:
    """Secret 1 is the generator of the group, whose address is well known."""
    path = tmp_path / "key"
    path.write_text("0x" + "1".zfill(64) + "\n")
    path.chmod(0o600)

    assert "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf" == load_or_create_account(path).address
    assert "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf" == load_or_create_account(path).signer().address


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1".zfill(64),
        "0x" + "1".zfill(63),
        "0x" + "1".zfill(65),
        "0x" + "g".zfill(64),
        "0x" + "0" * 64,
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",  # the group order
        "0x" + "1".zfill(64) + "\n\n",
        " 0x" + "1".zfill(64),
        "0x" + "\u0661" * 64,  # Arabic digits, which int() would take
    ],
)
def test_malformed_account_key_is_refused(tmp_path: Path, content: str) -> None:
    """Only one spelling of a key is read."""
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileMalformed) as error:
        load_or_create_account(path)

    assert content.strip() == "" or content.strip() not in str(error.value)


def test_secrets_do_not_show_in_text_forms(tmp_path: Path) -> None:
    """Log lines and tracebacks print objects with repr."""
    host, account = HostKey.from_seed(SEED), AccountKey.from_secret(SEED)

    for text in (repr(host), str(host), repr(account), str(account), f"{host} {account!r}"):
        assert SEED.hex() not in text.lower()
        assert repr(SEED) not in text
