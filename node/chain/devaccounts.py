"""Accounts that every development L1 funds: the first keys of the public test mnemonic. Worthless anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic
from eth_account.hdaccount.deterministic import HDPath

DEV_CHAIN_ID: Final = 31_337
DEV_MNEMONIC: Final = "test test test test test test test test test test test junk"
DEV_ACCOUNT_COUNT: Final = 20
DEV_BALANCE_WEI: Final = 10_000 * 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class DevAccount:
    """A funded account with its key."""

    address: bytes
    """20 bytes."""
    key: bytes = field(repr=False)
    """32-byte secp256k1 private key, public knowledge."""


def dev_accounts(count: int = DEV_ACCOUNT_COUNT) -> tuple[DevAccount, ...]:
    """The first `count` accounts at BIP-44 path m/44'/60'/0'/0/i."""
    seed = seed_from_mnemonic(DEV_MNEMONIC, "")
    accounts = []
    for index in range(count):
        key = HDPath(f"m/44'/60'/0'/0/{index}").derive(seed)
        accounts.append(DevAccount(address=bytes.fromhex(Account.from_key(key).address[2:]), key=bytes(key)))
    return tuple(accounts)
