"""A rollup's state: tree, suspended frames, programs; and where things lie in the tree (SPEC §3.2, §3.3, §4.5).

API:
    VmState(tree, frames, programs).root
    Frame(...).hash                     a frame suspended in an outgoing call; frames form a chain by `parent`
    storage_key(account, slot), account_key(account);  account words: pack_account, unpack_account
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from protocol.actions import Words, answer_words, pack_scope
from protocol.constants import NS_ACCOUNT, NS_DOMAIN, NS_QUEUE, NS_STORAGE, TAG_DATA, TAG_FRAME, TAG_UNWIND
from protocol.vm.isa import U128, Instruction, Program
from protocol.vm.poseidon import P, list_hash
from protocol.vm.state_tree import StateTree

INTEGER_WORD = 0
"""v1 of a storage leaf that holds an integer word."""
FIELD_WORD = 1
"""v1 of a storage leaf that holds a field word."""


@lru_cache(maxsize=4096)
def storage_key(account: int, slot: int) -> int:
    """Tree key of a storage slot.

    Args:
        account: address as an integer.
        slot: field element.
    """
    return P(3, (NS_STORAGE, account, slot))


@lru_cache(maxsize=4096)
def account_key(account: int) -> int:
    """Tree key of an account leaf."""
    return P(3, (NS_ACCOUNT, account, 0))


DOMAIN_KEY = P(3, (NS_DOMAIN, 0, 0))
"""Tree key of the domain that transactions are signed for."""
QUEUE_KEY = P(3, (NS_QUEUE, 0, 0))
"""Tree key of the forced queue's cursor."""


def pack_account(nonce: int, balance: int) -> int:
    """v0 of an account leaf: nonce u64 above balance u128 (wei)."""
    return nonce << 128 | balance


def unpack_account(v0: int) -> tuple[int, int]:
    """(nonce, balance in wei) from v0 of an account leaf."""
    return v0 >> 128, v0 & (U128 - 1)


def data_hash(meta: int, words: Words) -> int:
    """L(TAG_DATA, dataMeta, hi_0, lo_0, ...) over the words present (SPEC §4.5)."""
    return list_hash(TAG_DATA, (meta, *(half for word in words for half in word)))


class Origin(IntEnum):
    """What a frame was begun by."""

    CALL = 0
    """CALL or TRY_CALL of another rollup."""
    L2TX = 1
    ICALL = 2


class Waits(IntEnum):
    """What a suspended frame waits for."""

    XCALL = 0
    XTRY = 1
    ICALL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A program's run, suspended in the outgoing call at `pc`."""

    address: int
    """Account whose program runs, 160 bits."""
    code_hash: int
    pc: int
    """Of the XCALL; the run continues behind it."""
    steps: int
    """Executed so far, the XCALL included."""
    caller: int
    """Endpoint of the trigger's source."""
    value: int
    """wei that came with the call."""
    args_meta: int
    """dataMeta of the call data."""
    args: Words
    """Argument words present."""
    start_tree: StateTree
    """What a revert restores: the tree from before the value was credited."""
    registers: tuple[int, ...]
    """r0..r11, f0..f3."""
    parent: Frame | None
    """The frame suspended below this one."""
    scope: tuple[int, ...] = ()
    """In which its outgoing calls are made."""
    origin: Origin = Origin.CALL
    waits: Waits = Waits.XCALL
    called: bool = False
    """Whether it, or a frame that ended inside it, has made an outgoing call, the suspending one included."""
    children: int = 0
    """Scopes opened in it so far."""
    _hash: list[int] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def args_hash(self) -> int:
        """Hash of the call data."""
        return data_hash(self.args_meta, self.args)

    @property
    def meta(self) -> int:
        """origin + 4 waits + 16 called + 32 children."""
        return self.origin | self.waits << 2 | self.called << 4 | self.children << 5

    @property
    def hash(self) -> int:
        """Hash of the frame and, through its parent, of the chain."""
        if not self._hash:
            words = [self.address, self.code_hash, self.pc, self.steps, self.caller, self.value, self.args_hash]
            words += [self.start_tree.root, self.start_tree.next_index, pack_scope(self.scope), self.meta]
            words += [*self.registers, frames_hash(self.parent)]
            self._hash.append(list_hash(TAG_FRAME, words))
        return self._hash[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwind:
    """Stands on the frames while a scope is undone: its frame has failed, and its caller does not know yet."""

    scope: tuple[int, ...]
    data: bytes
    """What the frame failed with."""
    below: Frame | None
    """The caller's frame; None for the body of a transaction."""

    @property
    def hash(self) -> int:
        """L(TAG_UNWIND, scope, dataMeta, hi_0, lo_0, .., frames below)."""
        words = [half for word in answer_words(self.data) for half in word]
        return list_hash(TAG_UNWIND, [pack_scope(self.scope), len(self.data) << 32, *words, frames_hash(self.below)])


Drafts = Mapping[int, tuple[int, tuple[Instruction, ...]]]
"""Chunks of programs that are being deployed, by the hash up to their end: the hash before, the instructions."""
Frames = Frame | Unwind | None
"""What a root commits to beside the tree: the innermost suspended frame, a scope that is being undone, or nothing."""


def frames_hash(frames: Frames) -> int:
    """The `frames` value of a root: 0 for none."""
    return 0 if frames is None else frames.hash


@dataclass(frozen=True, slots=True, kw_only=True)
class VmState:
    """One version of a rollup. Immutable; versions share what they can."""

    tree: StateTree
    frames: Frames
    programs: Mapping[int, Program]
    """By code hash: every program that an account of the tree may have."""
    drafts: Drafts = field(default_factory=dict)

    @property
    def root(self) -> int:
        """The rollup's root: P_3(treeRoot, nextIndex, frames)."""
        return P(3, (self.tree.root, self.tree.next_index, frames_hash(self.frames)))

    @property
    def is_mid(self) -> bool:
        """Whether frames are suspended."""
        return self.frames is not None
