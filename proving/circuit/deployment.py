"""A call to DEPLOYER: a part of a program arrives (SPEC §4.7). Provable whether it is taken or refused.

That all code in a state is well-formed rests on this and on genesis; the rest of the circuit relies on it.

Relied on: halves of data words are below 2^128, and the leaf NS_DEPLOY holds what this gadget put there, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import (
    ADDRESS_BITS,
    DEPLOY_CHUNK,
    INT_BITS,
    MAX_PROGRAM,
    NS_DEPLOY,
    TAG_ADDRESS,
    TAG_CODE,
)
from protocol.vm.deployment import DEPLOY
from proving.circuit.bits import from_bits, is_zero, raw_bits, to_bits, weighted
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.compare import CANONICAL_BITS
from proving.circuit.instruction import WELL_FORMED
from proving.circuit.list_hash import absorb
from proving.circuit.poseidon import poseidon

_LIMIT: Final = 1 << INT_BITS
_COUNT_BITS: Final = MAX_PROGRAM.bit_length()


@dataclass(slots=True, kw_only=True)
class DeployCall:
    """What the call itself says."""

    well_meant: Expr
    """1 if it has the selector, a length, a number of instructions and no value: then two leaves are looked at."""
    address: Expr
    """Of the program's account."""
    halves: tuple[Expr, Expr]
    """Its hi and lo."""
    key: Expr
    """Of its leaf NS_DEPLOY."""
    count: Expr
    """Of the program's instructions: 1 to MAX_PROGRAM if `well_meant`, else 0."""
    sizes: list[Expr]
    """For each number of instructions from 1: 1 if the call brings so many."""
    high: Sequence[Expr]
    low: Sequence[Expr]


def read_deploy(
    b: Builder, *, caller: Expr, value: Expr, meta: Expr, high: Sequence[Expr], low: Sequence[Expr]
) -> DeployCall:
    """Look at a call to DEPLOYER.

    Args:
        caller: endpoint, a single wire.
        value: wei.
        meta: dataMeta; high, low: halves of the data words, single wires, at least two and zeros behind the last.
    """
    places = min(len(high) - 1, DEPLOY_CHUNK)
    sizes = [is_zero(b, meta - ((4 + 32 * (1 + n)) << 32) - DEPLOY) for n in range(1, places + 1)]
    # 1 to MAX_PROGRAM - 1, or MAX_PROGRAM.
    upper = to_bits(b, high[0], INT_BITS)[_COUNT_BITS - 1 :]
    small = b.mul(is_zero(b, plus(upper)), 1 - is_zero(b, high[0]))
    counted = small + is_zero(b, high[0] - MAX_PROGRAM)
    well_meant = b.mul(b.mul(plus(sizes), counted), is_zero(b, value))
    (digest,) = b.stamp(poseidon(3, (TAG_ADDRESS, None, None)), [caller, low[0]])
    bits = b.stamp(CANONICAL_BITS, [b.define(digest)])
    address = b.define(from_bits(bits[:ADDRESS_BITS]))
    (key,) = b.stamp(poseidon(3, (NS_DEPLOY, None, 0)), [address])
    return DeployCall(
        well_meant=well_meant,
        address=address,
        halves=(from_bits(bits[INT_BITS:ADDRESS_BITS]), from_bits(bits[:INT_BITS])),
        key=key,
        count=b.mul(well_meant, high[0]),
        sizes=sizes,
        high=high[1 : 1 + places],
        low=low[1 : 1 + places],
    )


@dataclass(slots=True, kw_only=True)
class DeployEnd:
    """What the call does."""

    deployed: Expr
    """1 if the part is taken; 0: the call fails and nothing changes."""
    leaf: tuple[Expr, Expr]
    """v0, v1 of the leaf NS_DEPLOY then."""
    whole: Expr
    """1 if that was the last part: the account's code hash becomes `leaf[0]`."""
    answer: tuple[Expr, Expr, Expr, Expr]
    """hi and lo of the two words that answer: the address, and how many instructions are there; zeros if refused."""


def deploy(b: Builder, call: DeployCall, *, code_hash: Expr, leaf: tuple[Expr, Expr]) -> DeployEnd:
    """Take the part that a call brings, or refuse it.

    Args:
        code_hash: of the account at the address, 0 if it has none.
        leaf: v0, v1 of the leaf NS_DEPLOY, zeros if absent.
    """
    # What was announced and what is there: for a first part the call's own count and nothing.
    announced = from_bits(raw_bits(b, lambda: value(leaf[1]) >> 32, _COUNT_BITS))
    done = from_bits(raw_bits(b, lambda: value(leaf[1]) & 0xFFFFFFFF, _COUNT_BITS))
    b.equal(announced * (1 << 32) + done, leaf[1])
    first = is_zero(b, leaf[1])
    alike = is_zero(b, announced - call.count)
    same = b.mul_add(first, 1 - alike, alike)
    open_ = b.mul(b.mul(call.well_meant, same), is_zero(b, code_hash))
    # 0 to MAX_PROGRAM; 0 where the call fails anyhow.
    rest = b.mul(open_, call.count - done)
    size = weighted([0, *call.sizes])
    ends = b.mul(open_, is_zero(b, rest - size))
    many = to_bits(b, rest - DEPLOY_CHUNK + (1 << _COUNT_BITS), _COUNT_BITS + 1)[_COUNT_BITS]
    full = b.mul(call.sizes[-1], many) if len(call.sizes) == DEPLOY_CHUNK else 0
    # As many as fit, and all of them: the last part, or a full one with more to come.
    measured = b.mul_add(full, open_ - ends, ends)

    wrong: list[Expr] = []
    packed: list[Expr] = []
    for i, (high, low) in enumerate(zip(call.high, call.low, strict=True)):
        is_last = b.mul(ends, call.sizes[i])
        (fits,) = b.stamp(WELL_FORMED, [high, low, call.count, is_last])
        wrong.append(b.mul(plus(call.sizes[i:]), 1 - fits))
        packed.append(b.define(high * _LIMIT + low))
    deployed = b.mul(measured, is_zero(b, plus(wrong)))

    (start,) = b.stamp(poseidon(2, (TAG_CODE, None)), [call.count])
    running = absorb(b, b.mul_add(first, start - leaf[0], leaf[0]), packed)
    there = b.define(done + size)
    return DeployEnd(
        deployed=deployed,
        leaf=(running, call.count * (1 << 32) + there),
        whole=b.mul(deployed, ends),
        answer=(b.mul(deployed, call.halves[0]), b.mul(deployed, call.halves[1]), 0, b.mul(deployed, there)),
    )
