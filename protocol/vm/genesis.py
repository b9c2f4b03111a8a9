"""Genesis of a rollup: strict codec and the first state (SPEC §3.4).

API:
    Genesis(accounts), GenesisAccount(address, program, slots), GenesisSlot(slot, kind, value)
    encode_genesis / decode_genesis / state_from_genesis(genesis) -> VmState
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.constants import DEPLOYER, FIELD_ORDER, MAX_GENESIS_BYTES
from protocol.errors import DecodeError
from protocol.reader import Reader
from protocol.types import Address
from protocol.vm.isa import U128, Program, encode_instructions, read_instructions
from protocol.vm.state import DOMAIN_KEY, FIELD_WORD, INTEGER_WORD, VmState, account_key, storage_key
from protocol.vm.state_tree import StateTree

GENESIS_VERSION = 1
GENESIS_WITH_DOMAIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisSlot:
    """One storage slot that is set from the start."""

    slot: int
    """Field element."""
    kind: int
    """INTEGER_WORD or FIELD_WORD."""
    value: int
    """Not 0 and below 2^128 for an integer word, else a field element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisAccount:
    """One account that exists from the start, with nonce and balance 0."""

    address: Address
    program: Program | None
    slots: tuple[GenesisSlot, ...] = ()
    """Strictly ascending by slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """What a rollup starts from."""

    accounts: tuple[GenesisAccount, ...]
    """Strictly ascending by address."""
    domain: int = 0
    """Field element that transactions are signed for (`transactions.transaction_domain`); 0: the rollup has none."""


def _check_slots(account: GenesisAccount) -> None:
    previous = -1
    for slot in account.slots:
        if not previous < slot.slot < FIELD_ORDER:
            raise DecodeError("GENESIS_ORDER", slot=slot.slot)
        previous = slot.slot
        if slot.kind not in (INTEGER_WORD, FIELD_WORD):
            raise DecodeError("GENESIS_TYPE", type=slot.kind)
        limit = U128 if slot.kind == INTEGER_WORD else FIELD_ORDER
        if not (slot.kind == INTEGER_WORD) <= slot.value < limit:
            raise DecodeError("GENESIS_VALUE", slot=slot.slot, value=slot.value)


def check_genesis(genesis: Genesis) -> None:
    """Check order and ranges.

    Raises:
        DecodeError: GENESIS_ORDER, GENESIS_TYPE, GENESIS_VALUE, GENESIS_DEPLOYER, GENESIS_DOMAIN.
    """
    if not 0 <= genesis.domain < FIELD_ORDER:
        raise DecodeError("GENESIS_DOMAIN", domain=genesis.domain)
    previous = b""
    for account in genesis.accounts:
        if account.address <= previous:
            raise DecodeError("GENESIS_ORDER", address=account.address)
        if int.from_bytes(account.address, "big") == DEPLOYER:
            raise DecodeError("GENESIS_DEPLOYER")
        previous = account.address
        _check_slots(account)


def encode_genesis(genesis: Genesis) -> bytes:
    """Canonical bytes.

    Raises:
        DecodeError: the reasons of `check_genesis`, GENESIS_SIZE.
    """
    check_genesis(genesis)
    parts = [bytes((GENESIS_WITH_DOMAIN,)), genesis.domain.to_bytes(32, "big")]
    if genesis.domain == 0:
        parts = [bytes((GENESIS_VERSION,))]
    parts.append(len(genesis.accounts).to_bytes(2, "big"))
    for account in genesis.accounts:
        parts.append(account.address)
        parts.append(bytes(2) if account.program is None else encode_instructions(account.program))
        parts.append(len(account.slots).to_bytes(2, "big"))
        for slot in account.slots:
            parts += [slot.slot.to_bytes(32, "big"), bytes((slot.kind,)), slot.value.to_bytes(32, "big")]
    raw = b"".join(parts)
    if len(raw) > MAX_GENESIS_BYTES:
        raise DecodeError("GENESIS_SIZE", size=len(raw))
    return raw


def decode_genesis(raw: bytes) -> Genesis:
    """Decode and check.

    Raises:
        DecodeError: GENESIS_SIZE, GENESIS_VERSION, truncated, trailing, FIELD_RANGE, or the reasons of `check_genesis`.
        ProgramError: an ill-formed program.
    """
    if len(raw) > MAX_GENESIS_BYTES:
        raise DecodeError("GENESIS_SIZE", size=len(raw))
    reader = Reader(raw, "GENESIS")
    version = reader.uint(1)
    if version not in (GENESIS_VERSION, GENESIS_WITH_DOMAIN):
        raise DecodeError("GENESIS_VERSION", version=version)
    domain = reader.field() if version == GENESIS_WITH_DOMAIN else 0
    if version == GENESIS_WITH_DOMAIN and domain == 0:
        raise DecodeError("GENESIS_DOMAIN", domain=domain)
    accounts = tuple(_read_account(reader) for _ in range(reader.uint(2)))
    genesis = Genesis(accounts=accounts, domain=domain)
    reader.end()
    check_genesis(genesis)
    return genesis


def _read_account(reader: Reader) -> GenesisAccount:
    address = reader.address()
    count = reader.uint(2)
    program = None if count == 0 else read_instructions(reader, count)
    slots = tuple(
        GenesisSlot(slot=reader.field(), kind=reader.uint(1), value=reader.field()) for _ in range(reader.uint(2))
    )
    return GenesisAccount(address=address, program=program, slots=slots)


def state_from_genesis(genesis: Genesis) -> VmState:
    """The rollup's first state: the domain, then account by account the account leaf and its slots."""
    tree = StateTree.empty()
    if genesis.domain:
        tree, _ = tree.insert(DOMAIN_KEY, genesis.domain, 0)
    programs: dict[int, Program] = {}
    for account in genesis.accounts:
        number = int.from_bytes(account.address, "big")
        code_hash = 0
        if account.program is not None:
            code_hash = account.program.code_hash
            programs[code_hash] = account.program
        tree, _ = tree.insert(account_key(number), 0, code_hash)
        for slot in account.slots:
            tree, _ = tree.insert(storage_key(number, slot.slot), slot.value, slot.kind)
    return VmState(tree=tree, frames=None, programs=programs)
