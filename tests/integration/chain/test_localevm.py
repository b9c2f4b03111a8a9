"""The local EVM does what the chain then does: same result, same logs, same gas. anvil is an independent oracle."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth_abi.abi import decode
from eth_typing import Address

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import RpcUnreachable
from node.chain.evm import Call, EvmLog, EvmState, Outcome, execution_context, run_call
from node.chain.localevm import LocalEvm, Overrides
from node.chain.records import block_from_json
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import ARTIFACT, Probe, calldata, nonce_of

GAS = 3_000_000


class CountingTransport(HttpTransport):
    """Counts what the node is asked."""

    asked: list[str]

    def request(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        return super().request(method, *params)

    def batch(self, calls: Any) -> list[Any]:
        self.asked.extend(method for method, _ in calls)
        return super().batch(calls)


def local(probe: Probe) -> LocalEvm:
    """An EVM at the head."""
    head = block_from_json("eth_getBlockByNumber", probe.transport.request("eth_getBlockByNumber", "latest", False))
    return LocalEvm(probe.transport, head, chain_id=DEV_CHAIN_ID)


def planned(probe: Probe, signature: str, *arguments: object, value: int = 0) -> Call:
    """The call that `Probe.send` would make."""
    return Call(
        sender=probe.account.address,
        to=probe.address,
        data=calldata(signature, *arguments),
        value=value,
        gas=GAS,
    )


def receipt_logs(receipt: dict[str, Any]) -> tuple[EvmLog, ...]:
    """Logs as the local EVM gives them."""
    return tuple(
        EvmLog(
            address=bytes.fromhex(log["address"][2:]),
            topics=tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
            data=bytes.fromhex(log["data"][2:]),
        )
        for log in receipt["logs"]
    )


@pytest.mark.parametrize(
    ("signature", "arguments", "value"),
    [
        ("store(uint256,uint256)", (7, 70), 0),  # 0 -> x
        ("store(uint256,uint256)", (1, 11), 0),  # x -> y
        ("store(uint256,uint256)", (1, 0), 0),  # x -> 0, refund
        ("store(uint256,uint256)", (1, 10), 0),  # unchanged
        ("emitMany(uint256)", (5,), 0),
        ("storeMany(uint256,uint256)", (0, 12), 0),
        ("setLane(uint256)", (3,), 0),
        ("setAndReadLane(uint256)", (3,), 0),
        ("laneAfterInnerRevert(uint256,uint256)", (3, 4), 0),
        ("refuse(uint256)", (3,), 0),
        ("panic(uint256)", (0,), 0),
        ("halt()", (), 0),
        ("spawn()", (), 0),
        ("pairing(bytes)", (b"",), 0),
        ("pairing(bytes)", (b"\x01" * 192,), 0),
        ("forward(address,uint256,bytes)", ("0x" + "66" * 20, 5, b"\x01"), 3),  # new account
        ("forward(address,uint256,bytes)", ("0x" + "66" * 20, 0, b""), 0),  # touches an empty account
        ("forward(address,uint256,bytes)", ("0x" + "66" * 20, 9, b""), 3),  # not enough ether
        ("environment()", (), 1),  # not payable
        ("unknown()", (), 0),
    ],
)
def test_the_chain_does_what_the_local_run_said(
    probe: Probe, signature: str, arguments: tuple[object, ...], value: int
) -> None:
    """Status, gas used and logs agree for writes, refunds, transient storage, creation, ether, reverts and halts."""
    probe.send("store(uint256,uint256)", 1, 10)
    outcome = local(probe).run(planned(probe, signature, *arguments, value=value))
    receipt = probe.send(signature, *arguments, value=value, gas=GAS)
    assert outcome.succeeded == (receipt["status"] == "0x1")
    assert outcome.gas_used == int(receipt["gasUsed"], 16)
    assert outcome.logs == receipt_logs(receipt)


def test_creation_agrees_with_the_chain(probe: Probe) -> None:
    """Address, code deposit and initcode gas of a contract creation."""
    from tests.integration.chain.probe import send

    initcode = bytes.fromhex(ARTIFACT["bytecode"][2:])
    call = Call(sender=probe.account.address, to=None, data=initcode, value=5, gas=GAS)
    outcome = local(probe).run(call)
    receipt = send(probe.transport, probe.account, data=initcode, value=5, gas=GAS)
    assert outcome.created == bytes.fromhex(receipt["contractAddress"][2:])
    assert outcome.gas_used == int(receipt["gasUsed"], 16)
    too_large = Call(sender=probe.account.address, to=None, data=bytes.fromhex("626001015ff3"), gas=GAS)
    assert not local(probe).run(too_large).succeeded


def test_output_revert_data_and_inner_reverts_are_given(probe: Probe) -> None:
    """A revert that the contract swallowed is still seen; an exceptional halt has no data."""
    evm = local(probe)
    swallowed = evm.run(planned(probe, "laneAfterInnerRevert(uint256,uint256)", 3, 4))
    assert decode(["uint256"], swallowed.output) == (3,)
    assert [(each.address, each.data[35]) for each in swallowed.reverts] == [(probe.address, 4)]
    refused = evm.run(planned(probe, "refuse(uint256)", 9))
    assert refused.reverted
    assert refused.output == refused.reverts[-1].data
    halted = evm.run(planned(probe, "halt()"))
    assert (halted.halt, halted.output, halted.reverts, halted.gas_used) == ("InvalidInstruction", b"", (), GAS)
    poor = evm.run(planned(probe, "store(uint256,uint256)", 1, 1, value=10**40))
    assert poor.halt == "insufficient funds"


def test_each_fact_is_fetched_once_and_runs_are_independent(probe: Probe) -> None:
    """A second run asks the node nothing and starts from the block again."""
    head = block_from_json("eth_getBlockByNumber", probe.transport.request("eth_getBlockByNumber", "latest", False))
    transport = CountingTransport(probe.transport._url)
    transport.asked = []
    evm = LocalEvm(transport, head, chain_id=DEV_CHAIN_ID)
    call = planned(probe, "storeMany(uint256,uint256)", 0, 3)
    first = evm.run(call)
    asked = list(transport.asked)
    assert set(asked) == {"eth_getTransactionCount", "eth_getBalance", "eth_getCode", "eth_getStorageAt"}
    assert asked.count("eth_getStorageAt") == 3
    assert evm.run(call) == first
    assert transport.asked == asked
    accounts, slots = evm.learned_by_node
    assert {probe.address, probe.account.address} <= accounts
    assert {account for account, _ in slots} == {probe.address}
    assert len(slots) == 3
    transport.close()


def test_the_state_is_that_of_the_pinned_block(probe: Probe) -> None:
    """Later blocks do not show through."""
    probe.send("store(uint256,uint256)", 1, 10)
    evm = local(probe)
    probe.send("store(uint256,uint256)", 1, 99)
    assert decode(["uint256"], evm.run(planned(probe, "values(uint256)", 1)).output) == (10,)


def test_block_and_code_can_be_overridden(probe: Probe) -> None:
    """Time, height with its block hash, and the code of one account."""
    evm = local(probe)
    block = evm.pinned.block

    def environment(overrides: Overrides | None = None) -> tuple[Any, ...]:
        outcome = evm.run(planned(probe, "environment()"), overrides)
        return decode(["uint256", "uint256", "uint256", "bytes32", "uint256", "address"], outcome.output)

    me = "0x" + probe.account.address.hex()
    assert environment() == (block.timestamp, block.number + 1, DEV_CHAIN_ID, block.hash, 5, me)
    at = environment(Overrides(timestamp=block.timestamp + 12, number=block.number))
    assert at == (block.timestamp + 12, block.number, DEV_CHAIN_ID, block.parent_hash, 5, me)
    assert environment(Overrides(number=block.number + 2))[3] == bytes(32)
    answers_7 = bytes.fromhex("60075f5260205ff3")
    outcome = evm.run(planned(probe, "readLane()"), Overrides(code={probe.address: answers_7}))
    assert decode(["uint256"], outcome.output) == (7,)
    assert decode(["uint256"], evm.run(planned(probe, "readLane()")).output) == (0,)


def test_the_deepest_recursion_fits_a_worker_thread() -> None:
    """1,024 nested calls in a thread with the usual stack."""
    context = execution_context(
        chain_id=1,
        number=1,
        timestamp=1,
        gas_limit=10**15,
        base_fee_wei=0,
        coinbase=bytes(20),
        prev_randao=bytes(32),
        prev_hashes=(),
    )
    state = EvmState(AtomicDB(), context, BLANK_ROOT_HASH)
    state.set_code(Address(b"\x33" * 20), bytes.fromhex("5f5f5f5f5f305af1"))  # PUSH0 x5, ADDRESS, GAS, CALL
    outcomes: list[Outcome] = []

    def run() -> None:
        outcomes.append(run_call(state, Call(sender=b"\x01" * 20, to=b"\x33" * 20, gas=10**15)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert outcomes[0].succeeded


def test_a_node_that_goes_away_is_an_error_and_not_a_zero(probe: Probe) -> None:
    """A missing value must never look like an empty account."""
    head = local(probe).pinned.block
    gone = HttpTransport("http://127.0.0.1:9")
    with pytest.raises(RpcUnreachable):
        LocalEvm(gone, head, chain_id=DEV_CHAIN_ID).run(planned(probe, "values(uint256)", 1))
    assert nonce_of(probe.transport, probe.account) > 0
    gone.close()
