"""Planning runs by eth_call: the same outcome as far as it shows, and what it does not show is known."""

from __future__ import annotations

import pytest
from eth_abi.abi import decode

from node.chain.callevm import CallEvm
from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import RpcUnreachable
from node.chain.evm import Call
from node.chain.localevm import LocalEvm, Overrides
from node.chain.records import block_from_json
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import Probe, calldata

ANSWERS_7 = bytes.fromhex("60075f5260205ff3")


def _call(probe: Probe, signature: str, *arguments: object) -> Call:
    data = calldata(signature, *arguments)
    return Call(sender=probe.account.address, to=probe.address, data=data, gas=3_000_000)


def _both(probe: Probe) -> tuple[CallEvm, LocalEvm]:
    head = block_from_json("eth_getBlockByNumber", probe.transport.request("eth_getBlockByNumber", "latest", False))
    return CallEvm(probe.transport, head), LocalEvm(probe.transport, head, chain_id=DEV_CHAIN_ID)


def test_what_eth_call_shows_is_what_a_local_run_shows(probe: Probe) -> None:
    """Success with its output, a revert with its data, a halt; state of the pinned block."""
    probe.send("store(uint256,uint256)", 1, 10)
    outside, inside = _both(probe)
    probe.send("store(uint256,uint256)", 1, 99)
    for signature, arguments in (("values(uint256)", (1,)), ("refuse(uint256)", (3,)), ("halt()", ())):
        call = _call(probe, signature, *arguments)
        seen, known = outside.run(call), inside.run(call)
        assert (seen.succeeded, seen.output, seen.reverted) == (known.succeeded, known.output, known.reverted)
    (inner,) = outside.run(_call(probe, "refuse(uint256)", 3)).reverts
    assert (inner.address, inner.live_logs) == (probe.address, None)
    assert outside.run(_call(probe, "values(uint256)", 1)).gas_used >= 21_000


def test_code_and_time_are_overridden(probe: Probe) -> None:
    outside, inside = _both(probe)
    shown = outside.run(_call(probe, "readLane()"), Overrides(code={probe.address: ANSWERS_7}))
    assert decode(["uint256"], shown.output) == (7,)
    later = inside.pinned.block.timestamp + 1234
    assert decode(["uint256"], outside.run(_call(probe, "environment()"), Overrides(timestamp=later)).output[:32]) == (
        later,
    )


def test_a_swallowed_failure_is_not_seen_and_who_could_hide_one_is_named(probe: Probe) -> None:
    outside, inside = _both(probe)
    call = _call(probe, "laneAfterInnerRevert(uint256,uint256)", 3, 4)
    assert (outside.run(call).reverts, len(inside.run(call).reverts)) == ((), 1)
    assert outside.may_mask(frozenset({probe.address, probe.account.address})) == probe.address
    assert outside.may_mask(frozenset({probe.account.address})) is None
    assert inside.may_mask(frozenset({probe.address})) is None


def test_a_node_that_goes_away_is_an_error(probe: Probe) -> None:
    gone = HttpTransport("http://127.0.0.1:9")
    with pytest.raises(RpcUnreachable):
        CallEvm(gone, _both(probe)[1].pinned.block).run(_call(probe, "values(uint256)", 1))
    gone.close()
