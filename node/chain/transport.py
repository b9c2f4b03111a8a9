"""JSON-RPC over HTTP, synchronously: one request or one batch per call, bounded in size and time.

Thread-safe. Used by `node.chain.rpc` from trio's worker threads, and by the local EVM inside the thread that runs it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

import urllib3

from node.chain.errors import RpcMisbehaved, RpcOverloaded, RpcRefused, RpcTimedOut, RpcUnreachable

Json = Any
MAX_RESPONSE_BYTES: Final = 64 << 20  # 64 MiB: ten thousand logs of a few kilobytes each
MAX_BATCH: Final = 100  # requests; common limit of node operators
EXECUTION_REVERTED: Final = 3  # JSON-RPC code of a revert that carries data


class RevertedCall(Exception):
    """The node says that the call reverted. `node.chain.rpc` turns this into `ExecutionReverted`."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data.hex())
        self.data = data


class Transport(Protocol):
    """How JSON-RPC is asked: one node, or several that must agree (`node.chain.agreement`)."""

    @property
    def endpoints(self) -> Sequence[HttpTransport]:
        """The nodes, each by itself: for answers that prove themselves, any will do."""

    def request(self, method: str, *params: Json) -> Json:
        """Result of one call; raises as `HttpTransport.request`."""

    def batch(self, calls: Sequence[tuple[str, tuple[Json, ...]]]) -> list[Json]:
        """Results of several calls in order."""


class HttpTransport:
    """Connections to one node."""

    def __init__(self, url: str, *, timeout_s: float = 10.0, connections: int = 8) -> None:
        """Nothing is connected yet.

        Args:
            url: http or https URL; a key in its path or user part never appears in errors.
            timeout_s: for connecting and for each wait on the node's answer.
            connections: kept open at most.
        """
        parsed = urllib3.util.parse_url(url)
        self._url = url
        self.shown_url = f"{parsed.scheme}://{parsed.netloc}"  # without user and path
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, retries=False, timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s)
        )

    @property
    def endpoints(self) -> Sequence[HttpTransport]:
        """This node."""
        return (self,)

    def request(self, method: str, *params: Json) -> Json:
        """Result of one call.

        Raises:
            Recoverable: no answer; the request may or may not have had its effect.
            RpcRefused, RevertedCall: the node's error object.
            RpcMisbehaved: not JSON-RPC.
        """
        identifier = next(self._ids)
        answer = self._post(method, {"jsonrpc": "2.0", "id": identifier, "method": method, "params": list(params)})
        return _result(method, answer, identifier)

    def batch(self, calls: Sequence[tuple[str, tuple[Json, ...]]]) -> list[Json]:
        """Results of several calls in order; the first error of any of them is raised.

        Raises:
            as `request`.
        """
        results: list[Json] = []
        for start in range(0, len(calls), MAX_BATCH):
            part = calls[start : start + MAX_BATCH]
            requests = [
                {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
                for method, params in part
            ]
            answers = self._post("a batch", requests)
            if isinstance(answers, dict):  # the whole batch was refused
                results.append(_result("a batch", answers, answers.get("id")))
            if not isinstance(answers, list) or len(answers) != len(part):
                raise RpcMisbehaved("a batch", f"not a list of {len(part)} answers")
            by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
            for request, (method, _) in zip(requests, part, strict=True):
                results.append(_result(method, by_id.get(request["id"]), request["id"]))
        return results

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _post(self, method: str, request: Json) -> Json:
        body = json.dumps(request, separators=(",", ":")).encode()
        try:
            response = self._pool.request(
                "POST", self._url, body=body, headers={"Content-Type": "application/json"}, preload_content=False
            )
            try:
                content = response.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
                if len(content) > MAX_RESPONSE_BYTES:
                    response.close()
                    raise RpcMisbehaved(method, f"longer than {MAX_RESPONSE_BYTES} bytes")
                response.drain_conn()
            finally:
                response.release_conn()
        except urllib3.exceptions.NewConnectionError as error:  # counts itself among the timeouts
            raise RpcUnreachable(self.shown_url, "connection refused or no such host") from error
        except urllib3.exceptions.TimeoutError as error:
            raise RpcTimedOut(self.shown_url, self._timeout_s) from error
        except urllib3.exceptions.HTTPError as error:
            raise RpcUnreachable(self.shown_url, type(error).__name__) from error
        if response.status == 429 or response.status >= 500:
            raise RpcOverloaded(self.shown_url, response.status)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RpcMisbehaved(method, f"HTTP {response.status} without JSON") from error


def _result(method: str, answer: Json, identifier: Json) -> Json:
    if not isinstance(answer, dict) or answer.get("id") != identifier:
        raise RpcMisbehaved(method, "no answer with the request's id")
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise RpcMisbehaved(method, "neither result nor error")
        return answer["result"]
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        raise RpcMisbehaved(method, "error without a code")
    data = _revert_data(error.get("data"))
    if error["code"] == EXECUTION_REVERTED and data is not None:
        raise RevertedCall(data)
    raise RpcRefused(method, error["code"], str(error.get("message", ""))[:500])


def _revert_data(value: Json) -> bytes | None:
    if not isinstance(value, str) or not value.startswith("0x"):
        return None
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        return None
