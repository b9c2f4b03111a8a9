"""The native BN254 precompiles agree with py-evm's own, on good input and bad.

Without pyrevm both sides are py-evm, and the first test says so.
"""

from __future__ import annotations

import random
from importlib.util import find_spec

import pytest
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState

from node.chain.evm import Call, EvmState, Outcome, execution_context, run_call
from node.chain.precompiles import bn254_precompiles, native_bn254_available

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
N = 21888242871839275222246405745257275088548364400416034343698204186575808495617
G1 = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")


def test_the_three_precompiles_are_native_exactly_where_pyrevm_is() -> None:
    """And no other precompile is replaced."""
    ours, theirs = bn254_precompiles(), PragueComputation.get_precompiles()
    replaced = {int.from_bytes(address, "big") for address in theirs if ours[address] is not theirs[address]}
    assert replaced == ({6, 7, 8} if native_bn254_available() else set())
    assert native_bn254_available() == (find_spec("pyrevm") is not None)


def outcome(state_class: type[EvmState], number: int, data: bytes) -> Outcome:
    """Call a precompile directly."""
    context = execution_context(
        chain_id=1,
        number=1,
        timestamp=1,
        gas_limit=30_000_000,
        base_fee_wei=0,
        coinbase=b"\x99" * 20,
        prev_randao=bytes(32),
        prev_hashes=(),
    )
    state = state_class(AtomicDB(), context, BLANK_ROOT_HASH)
    return run_call(state, Call(sender=b"\x01" * 20, to=number.to_bytes(20, "big"), data=data, gas=1_000_000))


def words(*values: int) -> bytes:
    """Big-endian 32-byte words."""
    return b"".join(value.to_bytes(32, "big") for value in values)


def multiple(factor: int) -> bytes:
    """A point of G1."""
    return outcome(EvmState, 7, G1 + words(factor)).output


CHANCE = random.Random(8)
ADD_INPUTS = [
    b"",
    G1,
    G1 + G1,
    G1 + words(1, P - 2),
    words(0, 0) + G1,
    words(1, 3) + G1,
    words(P + 1, 2) + G1,
    words(0, P),
    G1 + G1 + b"more than is read",
    G1[:63],
    b"\xff" * 128,
    *(multiple(CHANCE.randrange(N)) + multiple(CHANCE.randrange(N)) for _ in range(4)),
]
MULTIPLY_INPUTS = [
    b"",
    G1,
    G1 + words(0),
    G1 + words(N),
    G1 + words(N + 1),
    G1 + words(2**256 - 1),
    words(1, 3, 5),
    words(P, 0, 1),
    G1 + words(7)[:31],
    *(G1 + words(CHANCE.randrange(2**256)) for _ in range(4)),
]


@pytest.mark.parametrize("number, data", [(6, each) for each in ADD_INPUTS] + [(7, each) for each in MULTIPLY_INPUTS])
def test_addition_and_multiplication(number: int, data: bytes) -> None:
    """Same output, same gas, same refusal."""
    native, slow = outcome(EvmState, number, data), outcome(PragueState, number, data)  # type: ignore[arg-type]
    assert (native.succeeded, native.output, native.gas_used) == (slow.succeeded, slow.output, slow.gas_used)


G2 = words(
    11559732032986387107991004021392285783925812861821192530917403151452391805634,
    10857046999023057135944570762232829481370756359578518086990519993285655852781,
    4082367875863433681332203403145435568316851327593401208105741076214120093531,
    8495653923123431417604973247489272438418190587263600148770280649306958101930,
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(192),
        G1 + G2 + words(1, P - 2) + G2,
        G1 + G2,
        G1 + bytes(128),
        G1 + G2[:-1],
        G1 + G2[:-1] + b"\x00",
        words(1, 3) + G2,
        words(P + 1, 2) + G2,
        G1 + words(P) + G2[32:],
    ],
)
def test_pairing(data: bytes) -> None:
    """True, false, empty, infinity, wrong length, off the curve, coordinates too large."""
    native, slow = outcome(EvmState, 8, data), outcome(PragueState, 8, data)  # type: ignore[arg-type]
    assert (native.succeeded, native.output, native.gas_used) == (slow.succeeded, slow.output, slow.gas_used)
