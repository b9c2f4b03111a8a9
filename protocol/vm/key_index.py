"""Persistent ordered map from tree keys to leaf places: where is the largest key not above a given one?

A 16-ary trie over the hexadecimal digits of a key, most significant first. Keys are Poseidon hashes, so it is
balanced without any work. All nodes are tuples; an insertion copies one path.
"""

from __future__ import annotations

from typing import Final, Union

from protocol.errors import StateError

_DIGITS = 64
"""Hexadecimal digits of a field element."""


class _Entry:
    __slots__ = ("index", "key")

    def __init__(self, key: int, index: int) -> None:
        self.key = key
        self.index = index


KeyIndex = tuple[Union[_Entry, "KeyIndex", None], ...]
"""16 children: nothing, one entry, or a node of the next digit."""

EMPTY_INDEX: Final[KeyIndex] = (None,) * 16


def _digit(key: int, depth: int) -> int:
    return (key >> (4 * (_DIGITS - 1 - depth))) & 15


def index_insert(node: KeyIndex, key: int, index: int, depth: int = 0) -> KeyIndex:
    """Add a key.

    Raises:
        StateError: KEY_PRESENT.
    """
    digit = _digit(key, depth)
    child = node[digit]
    new: _Entry | KeyIndex
    if child is None:
        new = _Entry(key, index)
    elif isinstance(child, _Entry):
        if child.key == key:
            raise StateError("KEY_PRESENT", key=key)
        below = list(EMPTY_INDEX)
        below[_digit(child.key, depth + 1)] = child
        new = index_insert(tuple(below), key, index, depth + 1)
    else:
        new = index_insert(child, key, index, depth + 1)
    return (*node[:digit], new, *node[digit + 1 :])


def _last(node: KeyIndex) -> int:
    child = next(c for c in reversed(node) if c is not None)
    return child.index if isinstance(child, _Entry) else _last(child)


def index_floor(node: KeyIndex, key: int, depth: int = 0) -> int | None:
    """Place of the largest key that is not above `key`; None if there is none."""
    digit = _digit(key, depth)
    child = node[digit]
    if isinstance(child, _Entry):
        if child.key <= key:
            return child.index
    elif child is not None:
        found = index_floor(child, key, depth + 1)
        if found is not None:
            return found
    for lower in range(digit - 1, -1, -1):
        child = node[lower]
        if child is not None:
            return child.index if isinstance(child, _Entry) else _last(child)
    return None
