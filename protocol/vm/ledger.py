"""The tree while an entry runs: accounts, storage, and a record of every access (SPEC §3.2).

API:
    Ledger(tree)                  .tree, .operations
    read(key), put(key, v0, v1)   a leaf's words
    code_hash_of, balance_of, debit, credit    of accounts
"""

from __future__ import annotations

from protocol.vm.isa import U128
from protocol.vm.state import account_key, pack_account, unpack_account
from protocol.vm.state_tree import StateTree, TreeOperation


class Ledger:
    """Mutable: the newest tree, and all accesses in order, those that were undone included."""

    __slots__ = ("operations", "tree")

    def __init__(self, tree: StateTree) -> None:
        self.tree = tree
        self.operations: list[TreeOperation] = []

    def read(self, key: int) -> tuple[int, int]:
        """(v0, v1) of a leaf, (0, 0) if absent."""
        opening = self.tree.open(key)
        self.operations.append(opening)
        return opening.values

    def put(self, key: int, v0: int, v1: int) -> TreeOperation:
        """Rewrite a leaf, or insert it."""
        operation: TreeOperation
        if self.tree.open(key).found:
            self.tree, operation = self.tree.update(key, v0, v1)
        else:
            self.tree, operation = self.tree.insert(key, v0, v1)
        self.operations.append(operation)
        return operation

    def balance_of(self, address: int) -> int:
        """wei that an account holds."""
        return unpack_account(self.read(account_key(address))[0])[1]

    def debit(self, address: int, value: int) -> bool:
        """Take wei from an account; False, and nothing happens, if it has less. No value touches no account."""
        if value == 0:
            return True
        key = account_key(address)
        v0, code_hash = self.tree.open(key).values
        nonce, balance = unpack_account(v0)
        if balance < value:
            self.read(key)
            return False
        self.put(key, pack_account(nonce, balance - value), code_hash)
        return True

    def credit(self, address: int, value: int) -> bool:
        """Give wei to an account; False, and nothing happens, if it would hold 2^128 or more."""
        if value == 0:
            return True
        key = account_key(address)
        v0, code_hash = self.tree.open(key).values
        nonce, balance = unpack_account(v0)
        if balance + value >= U128:
            self.read(key)
            return False
        self.put(key, pack_account(nonce, balance + value), code_hash)
        return True

    def code_hash_of(self, address: int, *, accessed: bool = False) -> int:
        """Hash of an account's program, 0 if it has none.

        Args:
            accessed: the account's leaf is on record already.
        """
        key = account_key(address)
        return (self.tree.open(key).values if accessed else self.read(key))[1]
