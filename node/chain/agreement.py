"""Several L1 endpoints as one that is believed only where they agree.

What names a block (by height or hash), and so everything that decides money - heads, tickets, roots, events, receipts
- is asked of all endpoints at once. `quorum` of them must give the same answer; if two give different ones, nothing
is believed and `EndpointsDisagree` is raised. An endpoint that is away, behind or does not know counts for nothing.
"latest" is the highest block that `quorum` endpoints have and none contradicts. Answers that decide nothing (a fee, a
client's name) come from the first endpoint that gives one. A transaction goes to all of them.

Thread-safe, as `HttpTransport`. Answers that prove themselves need no agreement: see `endpoints`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from node.chain.errors import ChainError, EndpointsDisagree, QuorumMissed, Recoverable, RpcMisbehaved
from node.chain.records import quantity
from node.chain.transport import HttpTransport, RevertedCall, Transport

log = logging.getLogger("unveto.chain")

MAX_ENDPOINTS: Final = 8
GRACE_S: Final = 1.0  # once enough agree, how long the others have to disagree
FORK_BLOCKS: Final = 3  # so far below the newest block is looked for one that all agree on
REST_S: Final = 5.0  # an endpoint that gave no answer is not waited for in this time

ANY: Final = frozenset(
    "web3_clientVersion eth_maxPriorityFeePerGas eth_feeHistory eth_estimateGas eth_getTransactionByHash".split()
)
"""Answers that decide nothing, or of which a caller checks the rest: the first endpoint that has one gives it."""
BLOCKS: Final = (
    "number",
    "hash",
    "parentHash",
    "timestamp",
    "gasLimit",
    "gasUsed",
    "miner",
    "mixHash",
    "baseFeePerGas",
)
LOGS: Final = (
    "address",
    "topics",
    "data",
    "blockNumber",
    "blockHash",
    "transactionHash",
    "transactionIndex",
    "logIndex",
)
RECEIPTS: Final = ("transactionHash", "blockHash", "blockNumber", "status", "gasUsed", "effectiveGasPrice", "logs")
"""Fields that must agree; clients differ in what else they say."""


@dataclass(slots=True, eq=False)
class _Endpoint:
    transport: HttpTransport
    rests_until: float = 0.0
    height: int = 0
    """Of its head, when it was last asked."""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Said:
    """One endpoint's answer: results of a batch, or that the call reverted with these data."""

    endpoint: _Endpoint
    results: list[Any] = field(default_factory=list)
    reverted: bytes | None = None


class AgreeingTransport:
    """Connections to some nodes of one chain."""

    def __init__(
        self,
        endpoints: Sequence[HttpTransport],
        *,
        quorum: int,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Nothing is connected yet.

        Args:
            quorum: how many must give an answer, 1 to their number.
            clock: seconds.
        """
        if not 1 <= quorum <= len(endpoints) <= MAX_ENDPOINTS:
            raise ValueError(f"a quorum of {quorum} among {len(endpoints)} endpoints")
        self._all = tuple(_Endpoint(each) for each in endpoints)
        self.quorum = quorum
        self._grace_s = grace_s
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_workers=4 * len(endpoints), thread_name_prefix="l1")
        self._lock = threading.Lock()

    @property
    def endpoints(self) -> Sequence[HttpTransport]:
        """The nodes, those that answered lately first."""
        now = self._clock()
        return [each.transport for each in sorted(self._all, key=lambda each: each.rests_until > now)]

    def request(self, method: str, *params: Any) -> Any:
        """Result of one call.

        Raises:
            EndpointsDisagree: two gave different answers.
            QuorumMissed: too few gave one.
            RevertedCall, RpcRefused, RpcMisbehaved: as the endpoints say.
        """
        if method == "eth_sendRawTransaction":
            return self._send(method, *params)
        if method in ANY:
            return self._any([(method, params)])[0]
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return self._head(*params[1:])
        if method == "eth_getTransactionCount" and params[1] == "pending":
            return hex(self._reached(method, params, lambda answer: quantity(method, answer)))
        return self.batch([(method, params)])[0]

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Results of several calls in order, all of one kind: what must agree, or what need not.

        Raises:
            as `request`.
        """
        if not calls:
            return []
        if any("latest" in params for _, params in calls):
            head = self._head(False)["number"]
            calls = [(name, tuple(head if each == "latest" else each for each in params)) for name, params in calls]
        needed = max((_height_in(method, params) for method, params in calls), default=0)
        said = self._ask_all(calls, needed)
        reverted = {each.reverted for each in said}
        if len(reverted) > 1:
            raise self._disagree(calls[0][0], said)
        (revert,) = reverted
        if revert is not None:
            raise RevertedCall(revert)
        return [self._decided(calls[place][0], place, said) for place in range(len(calls))]

    def close(self) -> None:
        """Close all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for each in self._all:
            each.transport.close()

    def standing(self) -> list[dict[str, object]]:
        """Per endpoint, without secrets: where it is, the head that it named last, how often it failed."""
        now = self._clock()
        return [
            {
                "url": each.transport.shown_url,
                "height": each.height,
                "failures": each.failures,
                "rests": each.rests_until > now,
            }
            for each in self._all
        ]

    # -- agreement ---------------------------------------------------------------------------------------------

    def _decided(self, method: str, place: int, said: Sequence[_Said]) -> Any:
        """What the endpoints agree on; None where too few know."""
        known = [each for each in said if each.results[place] is not None]
        if len({_essence(method, each.results[place]) for each in known}) > 1:
            raise self._disagree(method, known)
        return known[0].results[place] if len(known) >= self.quorum else None

    def _head(self, full: Any = False) -> Any:
        """The highest block that a quorum has."""
        calls = [("eth_getBlockByNumber", ("latest", full))]
        said = [each for each in self._ask_all(calls, 0) if isinstance(each.results[0], dict)]
        for each in said:
            each.endpoint.height = quantity("eth_getBlockByNumber", each.results[0].get("number"))
        if len(said) < self.quorum:
            raise QuorumMissed("eth_getBlockByNumber", len(said), self.quorum)
        height = sorted((each.endpoint.height for each in said), reverse=True)[self.quorum - 1]
        there = [each for each in said if each.endpoint.height == height]
        if len(there) == len(said) and len({_essence("eth_getBlockByNumber", each.results[0]) for each in there}) == 1:
            return there[0].results[0]
        return self._below(height, full)

    def _below(self, height: int, full: Any) -> Any:
        """The highest block from a height down that endpoints agree on: the newest ones fork now and then."""
        for depth in range(FORK_BLOCKS + 1):
            try:
                block = self.batch([("eth_getBlockByNumber", (hex(max(height - depth, 0)), full))])[0]
            except EndpointsDisagree:
                if depth == FORK_BLOCKS:
                    raise
                continue
            if block is None:
                break
            return block
        raise QuorumMissed("eth_getBlockByNumber", 0, self.quorum)

    def _reached(self, method: str, params: tuple[Any, ...], number: Callable[[Any], int]) -> int:
        """The largest number that a quorum has reached: one endpoint alone moves it nowhere."""
        said = self._ask_all([(method, params)], 0)
        return sorted((number(each.results[0]) for each in said), reverse=True)[self.quorum - 1]

    def _disagree(self, method: str, said: Sequence[_Said]) -> EndpointsDisagree:
        error = EndpointsDisagree(method, tuple(each.endpoint.transport.shown_url for each in said))
        log.warning("%s", error)
        return error

    # -- asking ------------------------------------------------------------------------------------------------

    def _ask_all(self, calls: Sequence[tuple[str, tuple[Any, ...]]], height: int) -> list[_Said]:
        """Answers of at least a quorum, and of who else answers within the grace.

        Args:
            height: endpoints that are known to be behind it are not asked, unless there is no quorum without them.
        """
        now = self._clock()
        able = [each for each in self._all if each.rests_until <= now and (not each.height or each.height >= height)]
        asked = able if len(able) >= self.quorum else list(self._all)
        running = {self._threads.submit(_ask, each, calls): each for each in asked}
        said: list[_Said] = []
        failures: list[ChainError] = []
        enough_at: float | None = None
        while running:
            left_s = None if enough_at is None else enough_at + self._grace_s - self._clock()
            if left_s is not None and left_s <= 0:
                break
            done, _ = wait(running, timeout=left_s, return_when=FIRST_COMPLETED)
            for each in done:
                self._collect(running.pop(each), each, said, failures)
            if enough_at is None and len(said) >= self.quorum:
                enough_at = self._clock()
        for late in running.values():
            self._failed(late)
        if len(said) >= self.quorum:
            return said
        # All of them refused, or something is wrong with the question: what the endpoint says is of more use.
        telling = [error for error in failures if not isinstance(error, Recoverable)]
        if telling and not said:
            raise telling[0]
        raise QuorumMissed(calls[0][0], len(said), self.quorum)

    def _collect(
        self, endpoint: _Endpoint, future: Future[_Said], said: list[_Said], failures: list[ChainError]
    ) -> None:
        try:
            said.append(future.result())
        except ChainError as error:
            failures.append(error)
            if isinstance(error, Recoverable | RpcMisbehaved):
                self._failed(endpoint)

    def _failed(self, endpoint: _Endpoint) -> None:
        with self._lock:
            endpoint.failures += 1
            endpoint.rests_until = self._clock() + REST_S

    def _any(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        failure: ChainError | None = None
        answer: list[Any] = []
        for transport in self.endpoints:
            try:
                answer = transport.batch(calls)
            except ChainError as error:
                failure = error
                continue
            if any(each is not None for each in answer):
                return answer
        if answer or failure is None:
            return answer
        raise failure

    def _send(self, method: str, *params: Any) -> Any:
        """To all endpoints: taken if one takes it."""
        running = [self._threads.submit(each.transport.request, method, *params) for each in self._all]
        failures: list[ChainError] = []
        for future in running:
            try:
                return future.result()
            except ChainError as error:
                failures.append(error)
        raise next((error for error in failures if isinstance(error, Recoverable)), failures[0])


def _ask(endpoint: _Endpoint, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> _Said:
    try:
        return _Said(endpoint, endpoint.transport.batch(calls))
    except RevertedCall as revert:
        return _Said(endpoint, reverted=revert.data)


def _height_in(method: str, params: tuple[Any, ...]) -> int:
    """The height that a call is about, 0 if it names none."""
    texts = [each for each in params if isinstance(each, str) and len(each) <= 18]
    if method == "eth_getLogs":
        texts = [str(params[0].get("toBlock", ""))]
    elif method.startswith("eth_getBlock"):
        texts = texts[:1]
    else:
        texts = texts[-1:]
    try:
        return int(texts[0], 16) if texts and texts[0].startswith("0x") else 0
    except ValueError:
        return 0


def _essence(method: str, answer: Any) -> str:
    """What must be the same in two answers, in one form."""
    if method.startswith("eth_getBlock"):
        return _picked(answer, BLOCKS)
    if method == "eth_getTransactionReceipt":
        return _picked(answer, RECEIPTS)
    if method == "eth_getLogs" and isinstance(answer, list):
        return repr([_picked(each, LOGS) for each in answer])
    return repr(answer).lower()


def _picked(answer: Any, names: Sequence[str]) -> str:
    if not isinstance(answer, dict):
        return repr(answer)
    found = [(name, _picked_logs(answer.get(name)) if name == "logs" else answer.get(name)) for name in names]
    return repr(found).lower()


def _picked_logs(logs: Any) -> Any:
    return [_picked(each, LOGS) for each in logs] if isinstance(logs, list) else logs


def connect(urls: Sequence[str], *, quorum: int) -> Transport:
    """Connections to the configured endpoints.

    Args:
        quorum: 0 is all of them.
    """
    endpoints = [HttpTransport(url) for url in urls]
    if len(endpoints) == 1:
        return endpoints[0]
    return AgreeingTransport(endpoints, quorum=quorum or len(endpoints))
