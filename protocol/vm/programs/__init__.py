"""Example programs, as assembler sources beside this file, and the genesis accounts that run them.

API:
    source(name), program(name)      name: of NAMES
    counter_account, token_account, oracle_reader_account, coin_account, pair_account, nft_account, bridge_account,
    compliance_account, flash_lender_account, insurance_account -> GenesisAccount
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from protocol.types import Address, Endpoint
from protocol.vm.assembler import assemble
from protocol.vm.genesis import GenesisAccount, GenesisSlot
from protocol.vm.isa import Program
from protocol.vm.poseidon import P
from protocol.vm.state import FIELD_WORD, INTEGER_WORD

NAMES: Final = (
    "counter",
    "token",
    "oracle_reader",
    "coin",
    "pair",
    "nft",
    "bridge",
    "compliance",
    "flash_lender",
    "insurance",
)
INCLUDES: Final = ("coin.inc",)

COUNTER_SLOT: Final = 0
TOKEN_BALANCES: Final = 1
ORACLE_SLOT: Final = 0
STRIKE_SLOT: Final = 1
PRICE_SLOT: Final = 2
READINGS_SLOT: Final = 3
SETTLED_SLOT: Final = 4


def source(name: str) -> str:
    """Assembler source of an example program."""
    return files(__name__).joinpath(f"{name}.uvm").read_text(encoding="utf-8")


@cache
def program(name: str) -> Program:
    """An example program, assembled."""
    return assemble(
        source(name), {each: files(__name__).joinpath(each).read_text(encoding="utf-8") for each in INCLUDES}
    )


def counter_account(address: Address) -> GenesisAccount:
    """A counter at 0."""
    return GenesisAccount(address=address, program=program("counter"))


def token_slot(holder: Endpoint) -> int:
    """Slot of a holder's balance."""
    return P(2, (TOKEN_BALANCES, holder))


def token_account(address: Address, balances: Mapping[Endpoint, int]) -> GenesisAccount:
    """A token.

    Args:
        balances: minted tokens by holder, each positive and below 2^128.
    """
    slots = sorted((token_slot(holder), amount) for holder, amount in balances.items())
    return GenesisAccount(
        address=address,
        program=program("token"),
        slots=tuple(GenesisSlot(slot=slot, kind=INTEGER_WORD, value=amount) for slot, amount in slots),
    )


def oracle_reader_account(address: Address, oracle: Endpoint, strike: int) -> GenesisAccount:
    """An option on an oracle's price.

    Args:
        oracle: not 0.
        strike: positive, below 2^128.
    """
    slots = (
        GenesisSlot(slot=ORACLE_SLOT, kind=FIELD_WORD, value=oracle),
        GenesisSlot(slot=STRIKE_SLOT, kind=INTEGER_WORD, value=strike),
    )
    return GenesisAccount(address=address, program=program("oracle_reader"), slots=slots)


def _account(name: str, address: Address, fields: Mapping[int, int], integers: Mapping[int, int]) -> GenesisAccount:
    slots = [GenesisSlot(slot=slot, kind=FIELD_WORD, value=value) for slot, value in fields.items()]
    slots += [GenesisSlot(slot=slot, kind=INTEGER_WORD, value=value) for slot, value in integers.items() if value]
    slots.sort(key=lambda each: each.slot)
    return GenesisAccount(address=address, program=program(name), slots=tuple(slots))


def coin_account(address: Address, balances: Mapping[Endpoint, int]) -> GenesisAccount:
    """A coin whose holders are any endpoints.

    Args:
        balances: minted coins by holder, each positive and below 2^128.
    """
    return _account("coin", address, {}, {token_slot(holder): amount for holder, amount in balances.items()})


def pair_account(address: Address, first: Endpoint, second: Endpoint) -> GenesisAccount:
    """A pair of two coins of the same rollup, without reserves."""
    return _account("pair", address, {0: first, 1: second}, {})


def nft_account(address: Address) -> GenesisAccount:
    """Tokens that are one of a kind; none is there yet."""
    return _account("nft", address, {}, {})


def bridge_account(address: Address, vault: Endpoint) -> GenesisAccount:
    """The rollup's end of a bridge to a BridgeVault."""
    return _account("bridge", address, {2: vault}, {})


def compliance_account(address: Address, officer: Endpoint, register: Endpoint) -> GenesisAccount:
    """An empty list of an officer, and a register on L1."""
    return _account("compliance", address, {2: officer, 3: register}, {})


def flash_lender_account(address: Address) -> GenesisAccount:
    """A lender without ether."""
    return _account("flash_lender", address, {}, {})


def insurance_account(
    address: Address, *, holder: Endpoint, gauge: Endpoint, register: Endpoint, payout: int, level: int
) -> GenesisAccount:
    """A policy that is not funded yet.

    Args:
        holder: an endpoint of the same rollup.
        gauge, register: contracts on L1.
        payout: wei.
        level: from which reading on it pays.
    """
    return _account("insurance", address, {0: holder, 1: gauge, 2: register}, {3: payout, 4: level})
