"""Whatever a client sends, a method answers with a result or a coded error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.devledger import DevLedger
from node.chain.devmethods import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    DevMethods,
    MethodError,
)

METHODS = [
    "eth_call",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getStorageAt",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_sendRawTransaction",
    "evm_increaseTime",
    "evm_mine",
    "evm_revert",
    "evm_setNextBlockTimestamp",
    "evm_setAutomine",
    "evm_snapshot",
]
SCALARS = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            1.5,
            1 << 70,
            "",
            "latest",
            "pending",
            "earliest",
            "0x",
            "0x0",
            "0x1",
            "0xg",
            "1",
        ),
        *("0x" + "00" * 20, "0x" + "ff" * 20, "0x" + "00" * 32, "0x" + "f" * 64, "0x" + "f" * 65, "0x00", "\u0660"),
    ]
)
FIELDS = ("from", "to", "data", "input", "value", "gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")
FILTER = ("fromBlock", "toBlock", "address", "topics", "blockHash", "blockNumber")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(FIELDS + FILTER), inner, max_size=5),
    max_leaves=8,
)


@pytest.fixture
def methods() -> DevMethods:
    """A fresh chain."""
    return new_methods()


def new_methods() -> DevMethods:
    """A chain with one rich account."""
    return DevMethods(DevLedger(chain_id=5, balances_wei={b"\xff" * 20: 10**20}, clock=lambda: 1_000))


SHARED = new_methods()


@given(method=st.sampled_from(METHODS), params=st.lists(VALUES, max_size=3))
def test_any_parameters_give_json_or_a_coded_error(method: str, params: list[Any]) -> None:
    """Nothing else ever leaves `handle`."""
    try:
        answer = SHARED.handle(method, params)
    except MethodError as error:
        assert error.code in (INVALID_PARAMS, SERVER_ERROR)
    else:
        json.dumps(answer)


def test_every_method_of_the_fuzz_test_exists(methods: DevMethods) -> None:
    """A misspelt name would be refused for that reason alone."""
    for method in METHODS:
        try:
            methods.handle(method, [])
        except MethodError as error:
            assert error.code != METHOD_NOT_FOUND


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_coinbase", [], METHOD_NOT_FOUND),
        ("eth_getBalance", ["0x" + "00" * 20, {"blockHash": "0x" + "00" * 32}], SERVER_ERROR),
        ("eth_getBalance", ["0x" + "00" * 20, {"blockNumber": None}], INVALID_PARAMS),
        ("eth_getBalance", ["0x" + "00" * 20, {}], INVALID_PARAMS),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32, "fromBlock": "0x0"}], INVALID_PARAMS),
        ("eth_getLogs", [{"address": ["0x" + "00" * 20] * 257}], INVALID_PARAMS),
        ("eth_feeHistory", ["0x401", "latest"], INVALID_PARAMS),
        ("eth_feeHistory", ["0x1", "latest", [101]], INVALID_PARAMS),
        ("eth_call", [{"to": "0x" + "00" * 20, "data": "0x" + "00" * 262_145}], INVALID_PARAMS),
        ("evm_setNextBlockTimestamp", [999], SERVER_ERROR),
        ("evm_setNextBlockTimestamp", [hex(1 << 63)], INVALID_PARAMS),
    ],
)
def test_bounds_and_unknown_blocks(methods: DevMethods, method: str, params: list[Any], code: int) -> None:
    """Each limit by name."""
    with pytest.raises(MethodError) as error:
        methods.handle(method, params)
    assert error.value.code == code


def test_a_call_that_halts_is_not_a_revert(methods: DevMethods) -> None:
    """Sending or promising more than one has: no revert data, code -32000."""
    call = {"from": "0x" + "01" * 20, "to": "0x" + "02" * 20}
    for extra in ({"value": "0x1"}, {"gasPrice": "0x" + "f" * 64}, {"maxFeePerGas": "0x1"}):
        for method in ("eth_call", "eth_estimateGas"):
            with pytest.raises(MethodError, match=r"insufficient funds|max fee") as error:
                methods.handle(method, [call | extra])
            assert (error.value.code, error.value.data) == (SERVER_ERROR, None)
    rich = {"from": "0x" + "ff" * 20, "to": "0x" + "02" * 20, "maxFeePerGas": hex(2 * 10**9), "gas": "0x5208"}
    assert methods.handle("eth_call", [rich]) == "0x"
