"""Several endpoints: what they must agree on, who may be away, and what a liar among them achieves: a refusal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from node.chain.agreement import AgreeingTransport, connect
from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import EndpointsDisagree, QuorumMissed, RpcRefused, RpcUnreachable
from node.chain.logs import Cursor, LogFollower
from node.chain.rpc import Retry, Rpc
from node.chain.transport import HttpTransport, RevertedCall
from tests.integration.chain.probe import Probe, nonce_of, signed
from tests.support.lyingrpc import Twist, TwistedTransport, honest

DEAD = "http://127.0.0.1:9"


@contextmanager
def agreeing(probe: Probe, *others: Twist | str, quorum: int, grace_s: float = 0.3) -> Iterator[AgreeingTransport]:
    """The honest node and some others: twisted ones, or addresses."""
    url = probe.transport._url
    made = [HttpTransport(each) if isinstance(each, str) else TwistedTransport(url, each) for each in others]
    transport = AgreeingTransport([HttpTransport(url), *made], quorum=quorum, grace_s=grace_s)
    try:
        yield transport
    finally:
        transport.close()


def changing(method: str, change: Callable[[Any], Any]) -> Twist:
    """An endpoint that lies about one method."""
    return lambda asked, _params, ask: change(ask()) if asked == method else ask()


def test_those_who_agree_are_one_chain(probe: Probe) -> None:
    """Heads, calls, events, receipts and transactions, as from one node."""
    with agreeing(probe, honest, honest, quorum=3) as transport:
        receipt = probe.send("emitMany(uint256)", 3)
        head = transport.request("eth_getBlockByNumber", "latest", False)
        assert head == probe.transport.request("eth_getBlockByNumber", "latest", False)
        tx_hash = receipt["transactionHash"]
        assert transport.request("eth_getTransactionReceipt", tx_hash)["blockHash"] == receipt["blockHash"]
        query = {"fromBlock": "0x0", "toBlock": head["number"], "address": "0x" + probe.address.hex()}
        assert len(transport.request("eth_getLogs", query)) >= 3
        raw = signed(probe.account, nonce_of(probe.transport, probe.account), to=probe.account.address)
        sent = transport.request("eth_sendRawTransaction", "0x" + raw.hex())
        assert transport.request("eth_getTransactionByHash", sent)["hash"] == sent
        assert transport.request("eth_getTransactionReceipt", "0x" + "77" * 32) is None
        with pytest.raises(RevertedCall):
            transport.request("eth_call", probe.request("refuse(uint256)", 3), "latest")


LIES: dict[str, tuple[str, Callable[[Any], Any], tuple[Any, ...]]] = {
    "another head": ("eth_getBlockByNumber", lambda a: {**a, "hash": "0x" + "66" * 32}, ("latest", False)),
    "another time": ("eth_getBlockByNumber", lambda a: {**a, "timestamp": "0x7"}, ("latest", False)),
    "another answer of a contract": ("eth_call", lambda a: "0x" + "00" * 31 + "63", ()),
    "no events": ("eth_getLogs", lambda a: [], ()),
    "an event more": ("eth_getLogs", lambda a: [*a, a[0]], ()),
    "an event changed": ("eth_getLogs", lambda a: [{**a[0], "data": "0x63"}, *a[1:]], ()),
    "a receipt of success": ("eth_getTransactionReceipt", lambda a: {**a, "status": "0x0"}, ()),
    "a receipt with other logs": ("eth_getTransactionReceipt", lambda a: {**a, "logs": a["logs"][1:]}, ()),
    "another balance": ("eth_getBalance", lambda a: "0x63", ()),
    "another chain": ("eth_chainId", lambda a: "0x1", ()),
}


@pytest.mark.parametrize("name", sorted(LIES))
@pytest.mark.parametrize("others", [(), (honest,)])
def test_a_liar_is_a_coded_refusal_whatever_the_majority_says(
    probe: Probe, name: str, others: tuple[Twist, ...]
) -> None:
    receipt = probe.send("emitMany(uint256)", 3)
    method, change, params = LIES[name]
    block = receipt["blockNumber"]
    asked: dict[str, tuple[Any, ...]] = {
        "eth_call": (probe.request("values(uint256)", 1), "latest"),
        "eth_getLogs": ({"fromBlock": block, "toBlock": block},),
        "eth_getTransactionReceipt": (receipt["transactionHash"],),
        "eth_getBalance": ("0x" + probe.account.address.hex(), block),
    }
    with agreeing(probe, changing(method, change), *others, quorum=2) as transport:
        with pytest.raises(EndpointsDisagree) as refused:
            transport.request(method, *(params or asked.get(method, ())))
    assert refused.value.code == "CHN-006"


def test_one_that_is_away_is_tolerated_by_a_quorum_and_only_by_one(probe: Probe) -> None:
    with agreeing(probe, honest, DEAD, quorum=2) as transport:
        assert transport.request("eth_chainId") == hex(DEV_CHAIN_ID)
        assert transport.request("eth_getBlockByNumber", "latest", False)["number"]
        assert [each["failures"] for each in transport.standing()] == [0, 0, 1]  # then it rests and is not asked
    with agreeing(probe, honest, DEAD, quorum=3) as transport:
        with pytest.raises(QuorumMissed):
            transport.request("eth_chainId")


def test_one_that_hangs_costs_the_grace_once(probe: Probe) -> None:
    """It is not waited for beyond that, and then rests."""
    end = threading.Event()
    begun = []

    def hang(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        begun.append(method)
        assert end.wait(30)
        return ask()

    with agreeing(probe, honest, hang, quorum=2) as transport:
        for _ in range(3):
            assert transport.request("eth_chainId") == hex(DEV_CHAIN_ID)
        end.set()
    assert begun == ["eth_chainId"]


def test_the_head_is_one_that_a_quorum_has(probe: Probe) -> None:
    """Neither one that runs ahead nor, with a quorum, one that stays behind decides it."""
    behind = probe.transport.request("eth_getBlockByNumber", "latest", False)
    for _ in range(3):
        probe.send("emitMany(uint256)", 1)
    now = probe.transport.request("eth_getBlockByNumber", "latest", False)
    old = int(behind["number"], 16)

    def lag(method: str, params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        if method == "eth_getBlockByNumber":
            return behind if params[0] == "latest" else ask() if int(params[0], 16) <= old else None
        return ask()

    def dream(method: str, params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return {**ask(), "number": "0xffffff", "hash": "0x" + "66" * 32}
        return ask()

    with agreeing(probe, honest, lag, quorum=2) as transport:
        assert transport.request("eth_getBlockByNumber", "latest", False)["hash"] == now["hash"]
        assert transport.request("eth_getBlockByNumber", now["number"], False)["hash"] == now["hash"]
    with agreeing(probe, lag, quorum=2) as transport:
        assert transport.request("eth_getBlockByNumber", "latest", False)["hash"] == behind["hash"]
    with agreeing(probe, dream, quorum=2) as transport:
        assert transport.request("eth_getBlockByNumber", "latest", False)["hash"] == now["hash"]


def test_a_fork_of_the_newest_block_is_stood_below_and_a_deeper_one_refused(probe: Probe) -> None:
    """What forks now and then is not yet believed; what differs further down is a lie."""
    for _ in range(6):
        probe.send("emitMany(uint256)", 1)
    tip = int(probe.transport.request("eth_getBlockByNumber", "latest", False)["number"], 16)

    def forked(first: int) -> Twist:
        def twist(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
            answer = ask()
            if method == "eth_getBlockByNumber" and int(answer["number"], 16) >= first:
                return {**answer, "hash": "0x" + "66" * 32}
            return answer

        return twist

    with agreeing(probe, forked(tip), quorum=2) as transport:
        assert int(transport.request("eth_getBlockByNumber", "latest", False)["number"], 16) == tip - 1
        with pytest.raises(EndpointsDisagree):
            transport.request("eth_getBlockByNumber", hex(tip), False)
    with agreeing(probe, forked(tip - 4), quorum=2) as transport, pytest.raises(EndpointsDisagree):
        transport.request("eth_getBlockByNumber", "latest", False)


def test_a_transaction_is_sent_if_one_takes_it(probe: Probe) -> None:
    def refuse(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        if method == "eth_sendRawTransaction":
            raise RpcRefused(method, -32000, "not today")
        return ask()

    raw = signed(probe.account, nonce_of(probe.transport, probe.account), to=probe.account.address)
    with agreeing(probe, refuse, DEAD, quorum=1) as transport:
        assert transport.request("eth_sendRawTransaction", "0x" + raw.hex())
    with agreeing(probe, refuse, DEAD, quorum=1) as transport, pytest.raises((RpcRefused, RpcUnreachable)):
        transport.request("eth_sendRawTransaction", "0x" + raw.hex())  # known already


async def test_logs_are_followed_only_as_far_as_all_agree(probe: Probe) -> None:
    """Nothing is skipped: when the liar is gone, the same blocks come."""
    start = int(probe.transport.request("eth_getBlockByNumber", "latest", False)["number"], 16)
    lies = [True]
    probe.send("emitMany(uint256)", 3)

    def sometimes(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        return [] if lies[0] and method == "eth_getLogs" else ask()

    with agreeing(probe, sometimes, quorum=2) as transport:
        rpc = Rpc(transport, retry=Retry(attempts=1))
        follower = LogFollower(rpc, [probe.address], Cursor(start=start + 1))
        with pytest.raises(EndpointsDisagree):
            await follower.advance()
        lies[0] = False
        events = await follower.advance()
        assert sum(len(getattr(event, "logs", ())) for event in events) == 3


def test_keys_in_addresses_are_in_no_message(probe: Probe) -> None:
    """Providers put them into the path or before the host."""
    port = probe.transport._url.rpartition(":")[2].strip("/")
    urls = [f"http://user:s3cret@127.0.0.1:{port}/", f"http://127.0.0.1:{port}/?token=k3y"]
    transport = connect(urls, quorum=0)
    assert isinstance(transport, AgreeingTransport)
    said = repr(transport.standing())
    liar = AgreeingTransport(
        [HttpTransport(urls[0]), TwistedTransport(urls[1], changing("eth_chainId", lambda _: "0x1"))], quorum=2
    )
    with pytest.raises(EndpointsDisagree) as refused:
        liar.request("eth_chainId")
    gone = HttpTransport("http://user:s3cret@127.0.0.1:9/k3y")
    with pytest.raises(RpcUnreachable) as unreachable:
        gone.request("eth_chainId")
    for text in (said, str(refused.value), str(unreachable.value), repr(unreachable.value)):
        assert "s3cret" not in text
        assert "k3y" not in text
    for each in (transport, liar, gone):
        each.close()


@pytest.mark.parametrize("quorum", [0, 3])
def test_a_quorum_out_of_range_is_refused(quorum: int) -> None:
    with pytest.raises(ValueError, match="quorum"):
        AgreeingTransport([HttpTransport(DEAD), HttpTransport(DEAD)], quorum=quorum)
