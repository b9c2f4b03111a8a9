"""Places at which a stretch has something done that few stretches need: a transaction's admission, a deployment.

A circuit has a few such places (`Shape.transactions`, `Shape.deployments`). Each serves one stretch or none: it reads
what comes in with the stretch, makes claims on leaves for it, and ties the stretch's own wires (`admission.py`) to its
verdict. A place that serves nobody reads zeros, which is a transaction or a call like any other wrong one; nothing in
it asks whether it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.constants import NS_ACCOUNT
from protocol.vm.state import DOMAIN_KEY, QUEUE_KEY
from proving.circuit.bits import flags, select, weighted
from proving.circuit.builder import Builder, Expr, plus
from proving.circuit.claims import Claim, Found, found_wires
from proving.circuit.deployment import deploy, read_deploy
from proving.circuit.forced import require_taken, take_turn
from proving.circuit.poseidon import poseidon
from proving.circuit.stretch import OpenStretch
from proving.circuit.transaction import read_transaction, take_transaction

TRANSACTION_CLAIMS = 4
"""Domain, cursor, signer, recipient."""
DEPLOYMENT_CLAIMS = 2
"""What is there of the program, its account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHint:
    """Whom a place serves."""

    stretch: int
    found: Sequence[Found]
    """For each of its claims."""


def _account_key(b: Builder, address: Expr) -> Expr:
    (key,) = b.stamp(poseidon(3, (NS_ACCOUNT, None, 0)), [address])
    return key


def _served(b: Builder, stretches: Sequence[OpenStretch], hint: ServiceHint | None) -> list[Expr]:
    """One flag for each stretch, of which at most one is 1."""
    serves = flags(b, len(stretches), lambda: hint.stretch if hint else None)
    b.enforce(plus(serves), plus(serves) - 1, 0)
    return serves


def _came(b: Builder, serves: Sequence[Expr], columns: Sequence[Sequence[Expr]]) -> list[Expr]:
    """Single wires: of each column what the served stretch has."""
    return [b.define(select(b, serves, column)) for column in zip(*columns, strict=True)]


def admit(
    b: Builder, stretches: Sequence[OpenStretch], *, rollup_id: Expr, payee: Expr, hints: Sequence[ServiceHint | None]
) -> list[Claim]:
    """Admit the transactions of a table.

    Args:
        rollup_id, payee: single wires; payee is the address of feeRecipient.
        hints: one for each place.

    Returns:
        Four claims for each place.
    """
    claims: list[Claim] = []
    serving: list[list[Expr]] = []
    payee_key = _account_key(b, payee)
    for hint in hints:
        serves = _served(b, stretches, hint)
        serving.append(serves)
        meta, gas, *words = _came(b, serves, [[s.came.meta, s.admission.gas, *s.came.words] for s in stretches])
        high, low = words[: len(words) // 2], words[len(words) // 2 :]
        founds = [found_wires(b, hint.found[i] if hint else None) for i in range(TRANSACTION_CLAIMS)]
        domain, cursor, signer, recipient = founds
        used, number = plus(serves), weighted(serves)
        signed = read_transaction(b, meta=meta, high=high, low=low, rollup_id=rollup_id, domain=domain[0])
        turn = take_turn(b, used=used, gas=gas, cursor=cursor[0])
        done = take_transaction(b, signed, signer=signer[0], payee=payee, recipient=recipient[0])
        require_taken(b, used=used, forced=turn.forced, taken=done.taken)
        for serve, stretch in zip(serves, stretches, strict=True):
            mine = stretch.admission
            wanted = (signed.sender, done.funded, turn.forced)
            for x, y in zip((mine.sender, mine.goes, mine.forced), wanted, strict=True):
                b.enforce(serve, x - y, 0)
        paid = b.mul(done.taken, done.pays)
        claims += [
            Claim(stretch=number, wanted=used, key=DOMAIN_KEY, found=domain, written=0, after=(0, 0)),
            Claim(
                stretch=number,
                wanted=turn.forced,
                key=QUEUE_KEY,
                found=cursor,
                written=turn.forced,
                after=(turn.cursor_after, 0),
            ),
            Claim(
                stretch=number,
                wanted=signed.valid,
                key=_account_key(b, b.define(signed.sender)),
                found=signer,
                written=done.taken,
                after=(done.signer_after, signer[1]),
            ),
            Claim(
                stretch=number,
                wanted=done.pays,
                key=payee_key,
                found=recipient,
                written=paid,
                after=(done.recipient_after, recipient[1]),
            ),
        ]
    for s, stretch in enumerate(stretches):
        b.equal(plus(serves[s] for serves in serving), stretch.admission.admits)
    return claims


def take_programs(b: Builder, stretches: Sequence[OpenStretch], *, hints: Sequence[ServiceHint | None]) -> list[Claim]:
    """Take the parts of programs that arrive.

    Args:
        hints: one for each place.

    Returns:
        Two claims for each place.
    """
    claims: list[Claim] = []
    serving: list[list[Expr]] = []
    for hint in hints:
        serves = _served(b, stretches, hint)
        serving.append(serves)
        columns = [[s.came.source, s.came.value, s.came.meta, *s.came.words] for s in stretches]
        caller, value, meta, *words = _came(b, serves, columns)
        high, low = words[: len(words) // 2], words[len(words) // 2 :]
        leaf, account = (found_wires(b, hint.found[i] if hint else None) for i in range(DEPLOYMENT_CLAIMS))
        call = read_deploy(b, caller=caller, value=value, meta=meta, high=high, low=low)
        end = deploy(b, call, code_hash=account[1], leaf=leaf)
        for serve, stretch in zip(serves, stretches, strict=True):
            mine = stretch.deployment
            for x, y in zip((mine.deployed, *mine.answer), (end.deployed, *end.answer), strict=True):
                b.enforce(serve, x - y, 0)
        number = weighted(serves)
        claims += [
            Claim(
                stretch=number,
                wanted=call.well_meant,
                key=call.key,
                found=leaf,
                written=end.deployed,
                after=end.leaf,
            ),
            Claim(
                stretch=number,
                wanted=call.well_meant,
                key=_account_key(b, call.address),
                found=account,
                written=end.whole,
                after=(account[0], end.leaf[0]),
            ),
        ]
    for s, stretch in enumerate(stretches):
        b.equal(plus(serves[s] for serves in serving), stretch.deployment.deploys)
    return claims


def orders(transactions: int, deployments: int) -> list[range]:
    """Claims, by their numbers, that insert in the order in which they stand: all but the domain, place by place."""
    first = TRANSACTION_CLAIMS * transactions
    return [
        *(range(TRANSACTION_CLAIMS * i + 1, TRANSACTION_CLAIMS * (i + 1)) for i in range(transactions)),
        *(range(first + DEPLOYMENT_CLAIMS * i, first + DEPLOYMENT_CLAIMS * (i + 1)) for i in range(deployments)),
    ]
