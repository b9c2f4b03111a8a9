"""What admissions and deployments look at and how they come out, by the reference machine (`services.py`).

API:
    admitted(core, run) -> Admitted            of a transaction's entry
    arrived(frame, tree) -> Arrived            of a call to DEPLOYER
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.constants import INT_BITS
from protocol.errors import DecodeError
from protocol.table import Core
from protocol.vm.deployment import Code, deploy, deploy_key, deployed_address
from protocol.vm.ledger import Ledger
from protocol.vm.machine import EntryRun
from protocol.vm.state import DOMAIN_KEY, QUEUE_KEY, Frame, account_key, unpack_account
from protocol.vm.state_tree import StateTree
from protocol.vm.transactions import Transaction, admit, decode_transaction
from proving.circuit.admission import AdmissionHint, DeploymentHint

_NO_CODE = Code(programs={}, drafts={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A leaf that is looked at."""

    claim: int
    """Its number among the claims of the place."""
    key: int
    found: tuple[int, int]
    after: tuple[int, int] | None
    """v0, v1 then, if it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """How a transaction comes out."""

    hint: AdmissionHint
    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """How a part of a program comes out."""

    hint: DeploymentHint
    accesses: tuple[Access, ...]


def _access(claim: int, key: int, before: StateTree, after: StateTree | None) -> Access:
    return Access(claim=claim, key=key, found=before.get(key), after=None if after is None else after.get(key))


def admitted(core: Core, run: EntryRun) -> Admitted:
    """The admission of an entry's transaction, done again.

    Args:
        run: of an entry whose trigger is an L2TX.
    """
    trigger, before = run.trigger, run.pre.tree
    ledger = Ledger(before)
    accesses = [_access(0, DOMAIN_KEY, before, None)]
    if trigger.gas:
        ledger.put(QUEUE_KEY, trigger.gas, 0)
        accesses.append(_access(1, QUEUE_KEY, before, ledger.tree))
    verdict = admit(ledger, trigger.data, rollup_id=trigger.rollup_id, fee_recipient=core.fee_recipient)
    try:
        transaction = decode_transaction(trigger.data)
    except DecodeError:
        transaction = None
    goes, sender = False, 0
    if transaction is not None and (isinstance(verdict, Transaction) or verdict in ("TX_NONCE", "TX_FEE")):
        sender = int.from_bytes(transaction.sender, "big")
        after = ledger.tree if isinstance(verdict, Transaction) else None
        accesses.append(_access(2, account_key(sender), before, after))
        fed = verdict != "TX_NONCE" and unpack_account(before.get(account_key(sender))[0])[1] >= transaction.fee
        if fed and transaction.fee and transaction.sender != core.fee_recipient:
            accesses.append(_access(3, account_key(int.from_bytes(core.fee_recipient, "big")), before, after))
        goes = after is not None and unpack_account(after.get(account_key(sender))[0])[1] >= transaction.value
    hint = AdmissionHint(sender=sender, goes=goes, forced=trigger.gas > 0)
    return Admitted(hint=hint, accesses=tuple(accesses))


def arrived(frame: Frame, tree: StateTree) -> Arrived:
    """A call to DEPLOYER, done again.

    Args:
        frame: as it begins.
        tree: on which it does.
    """
    ledger = Ledger(tree)
    done = None
    if frame.value == 0:
        done = deploy(ledger, _NO_CODE, caller=frame.caller, meta=frame.args_meta, words=frame.args)
    if not ledger.operations:
        # Refused before anything was looked at.
        return Arrived(hint=DeploymentHint(deployed=False, answer=(0, 0, 0, 0)), accesses=())
    address = deployed_address(frame.caller, frame.args[0][1])
    leaf, account = deploy_key(address), account_key(address)
    whole = done is not None and ledger.tree.get(account) != tree.get(account)
    accesses = (
        _access(0, leaf, tree, None if done is None else ledger.tree),
        _access(1, account, tree, ledger.tree if whole else None),
    )
    answer = (0, 0, 0, 0)
    if done is not None:
        there = ledger.tree.get(leaf)[1] & 0xFFFFFFFF
        answer = (address >> INT_BITS, address % (1 << INT_BITS), 0, there)
    return Arrived(hint=DeploymentHint(deployed=done is not None, answer=answer), accesses=accesses)
