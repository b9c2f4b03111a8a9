"""The node's HTTP API: `GET /v1/ready`. Read only, bounded, slow on purpose, on loopback unless told otherwise.

A browser on the same machine can be made to ask a loopback address under another name (DNS rebinding), so the Host
header must name where we listen.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from trio_typing import TaskStatus

from node.api.board import DEFAULT_SHOWN, MAX_SHOWN, ReadyBoard, Wanted
from node.errors import ConfigError
from node.p2p.verdicts import TokenBucket
from node.ports import TryAgain

log = logging.getLogger("unveto.api")

MAX_HEADER_BYTES: Final = 4_096
MAX_QUERY: Final = 8  # parameters
MAX_NUMBER_DIGITS: Final = 20
MAX_AT_WORK: Final = 4  # answers in the making


class ApiRefused(Exception):
    """A request that gets no answer but a reason."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.reason = status, code
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the API listens."""

    host: str
    """An IP address."""
    port: int
    """0 takes a free one."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can ask."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def bind(self) -> str:
        """As a server wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen_of(text: str) -> Listen:
    """Where `ADDRESS:PORT` is.

    Raises:
        ConfigError: it is not one.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        if not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
            raise ValueError(port)
    except ValueError as error:
        raise ConfigError(where="api.listen", problem=f"not ADDRESS:PORT: {text}") from error
    return Listen(host=str(address), port=int(port))


class Api:
    """One server. Made without side effects; `serve` runs it."""

    def __init__(
        self, listen: Listen, board: ReadyBoard, *, rate: int, on_url: Callable[[str], None] = lambda _: None
    ) -> None:
        """
        Args:
            rate: requests a second that are answered, of everybody together; twice that in a burst.
            on_url: told where it listens.
        """
        self._listen = listen
        self._board = board
        self._rate = float(max(1, rate))
        self._on_url = on_url
        self._bucket: TokenBucket | None = None
        self._at_work = 0
        self._names: frozenset[str] = frozenset()

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        self._bucket = TokenBucket(self._rate, trio.current_time())
        config = Config()
        config.bind = [self._listen.bind]
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = MAX_HEADER_BYTES
        config.keep_alive_timeout = 5.0
        config.read_timeout = 10
        config.graceful_timeout = 0.5
        config.backlog = 32
        config.alpn_protocols = ["http/1.1"]
        # The two libraries describe ASGI with types that do not match.
        app: Any = Starlette(routes=[Route("/v1/ready", self._ready, methods=["GET"])])
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, app, config))
            self._names = _names(url)
            self._on_url(url)
            task_status.started()

    async def _ready(self, request: Request) -> Response:
        try:
            self._admit(request)
            wanted = _wanted(request.query_params.multi_items())
        except ApiRefused as refused:
            return _refusal(refused)
        self._at_work += 1
        try:
            return JSONResponse(await self._board.ready(wanted), headers={"Cache-Control": "no-store"})
        except TryAgain as error:
            return _refusal(ApiRefused(503, "L1_AWAY", error.code))
        finally:
            self._at_work -= 1

    def _admit(self, request: Request) -> None:
        assert self._bucket is not None
        if not self._bucket.take(trio.current_time()):
            raise ApiRefused(429, "RATE", "too many requests")
        if request.headers.get("host", "") not in self._names:
            raise ApiRefused(421, "HOST", "this is not the host that was meant")
        if self._at_work >= MAX_AT_WORK:
            raise ApiRefused(503, "BUSY", "too many requests at a time")


def _names(url: str) -> frozenset[str]:
    """Host headers that mean us."""
    own = url.removeprefix("http://")
    port = own.rpartition(":")[2]
    return frozenset({own, f"localhost:{port}"})


def _refusal(refused: ApiRefused) -> Response:
    return JSONResponse({"error": {"code": refused.reason, "message": str(refused)}}, status_code=refused.status)


def _wanted(query: list[tuple[str, str]]) -> Wanted:
    if len(query) > MAX_QUERY:
        raise ApiRefused(400, "QUERY", "too many parameters")
    known: Mapping[str, tuple[str, int]] = {
        "rollup": ("rollup_id", (1 << 64) - 1),
        "max_gas": ("max_gas", (1 << 64) - 1),
        "limit": ("limit", MAX_SHOWN),
    }
    values: dict[str, int] = {"limit": DEFAULT_SHOWN}
    seen = set()
    for name, text in query:
        if name not in known or name in seen:
            raise ApiRefused(400, "QUERY", f"parameters are {', '.join(known)}, each once")
        seen.add(name)
        field, largest = known[name]
        if not text.isascii() or not text.isdigit() or len(text) > MAX_NUMBER_DIGITS or not 1 <= int(text) <= largest:
            raise ApiRefused(400, "QUERY", f"{name} is 1..{largest}")
        values[field] = int(text)
    return Wanted(rollup_id=values.get("rollup_id"), max_gas=values.get("max_gas"), limit=values["limit"])
