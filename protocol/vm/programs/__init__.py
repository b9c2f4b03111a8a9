"""Example programs, as assembler sources beside this file, and the genesis accounts that run them.

API:
    source(name), program(name)      name: "counter", "token", "oracle_reader"
    counter_account, token_account, oracle_reader_account -> GenesisAccount
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

NAMES: Final = ("counter", "token", "oracle_reader")

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
    return assemble(source(name))


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
