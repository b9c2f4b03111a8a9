"""Bounded request/response.

Wire form: the client opens a stream on a protocol id whose last part is an ordinal (/unveto/pull/1), sends one frame,
and receives one status byte and one frame. The body of a refusal is at most 64 printable ASCII characters: the code of
the error and the name of the rule (PRO-001 WRONG_SIGNER). Both sides then close. A request may arrive twice (the caller
retries on Unreachable), so handlers must be idempotent.
"""

import enum
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from node.p2p.config import P2PConfig
from node.p2p.errors import (
    DeadlineExceeded,
    FrameTooLarge,
    MalformedFrame,
    RequestRefused,
    ShuttingDown,
    StreamBroken,
    Unreachable,
)
from node.p2p.streams import FramedStream, parting
from node.p2p.verdicts import refusal_word
from protocol.errors import ProtocolError, Reject

MAX_CODE_CHARS = 64
BUSY_REPLY_S = 1.0  # a peer that is not admitted gets no more of our time than this

log = logging.getLogger("unveto.p2p")

Handler = Callable[[str, bytes], Awaitable[bytes]]
"""`await handler(peer_id, request) -> response`; may raise protocol.errors.Reject or Ignore to refuse."""

OpenStream = Callable[[str, str], Awaitable[FramedStream]]
"""`await open(peer_id, protocol_id)`."""


class Status(enum.IntEnum):
    """First byte of a response."""

    OK = 0
    REFUSED = 1
    """The application refuses; the body is its code."""
    TOO_LARGE = 2
    """The request is over the limit."""
    BUSY = 3
    """Too many requests at the moment, of this peer or in total."""
    TIMEOUT = 4
    """The request did not arrive, or could not be answered, in time."""
    FAULT = 5
    """The serving node has a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Limits of one protocol, the same on both sides."""

    protocol_id: str
    handler: Handler
    max_request: int
    """Bytes of a request body, at most."""
    max_response: int
    """Bytes of a response body, at most."""
    timeout_s: float
    """Seconds for receiving the request and making the response, and again for sending the response."""


class RequestService:
    """Both sides of request/response. The caller connects it to streams."""

    def __init__(self, config: P2PConfig, open_stream: OpenStream, strike: Callable[[str], None]) -> None:
        self._config = config
        self._open_stream = open_stream
        self._strike = strike
        self._protocols: dict[str, Protocol] = {}
        self._active: Counter[tuple[str, str]] = Counter()  # by peer and protocol
        self._open = 0  # streams being answered, refusals and farewells included
        self._idle = trio.Event()  # set whenever `_open` returns to 0
        self._is_draining = False
        self.counts: Counter[str] = Counter()
        """Requests served, by status name in lower case."""

    @property
    def active(self) -> int:
        """Requests being served."""
        return self._active.total()

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused because the host shuts down."""
        return self._is_draining

    def register(self, protocol: Protocol) -> None:
        """Serve a protocol.

        Raises:
            ValueError: The id is taken or has no ordinal, or a limit is out of range.
        """
        ordinal = protocol.protocol_id.rpartition("/")[2]
        if not protocol.protocol_id.startswith("/") or not ordinal.isdecimal():
            raise ValueError(f"protocol id {protocol.protocol_id!r} must start with / and end with an ordinal")
        if protocol.protocol_id in self._protocols:
            raise ValueError(f"protocol id {protocol.protocol_id!r} is served already")
        if protocol.timeout_s <= 0 or not 0 <= max(protocol.max_request, protocol.max_response) < 1 << 32:
            raise ValueError(f"limits of {protocol.protocol_id!r} are out of range")
        self._protocols[protocol.protocol_id] = protocol

    async def request(
        self, peer_id: str, protocol_id: str, body: bytes, *, timeout_s: float, max_response: int | None = None
    ) -> bytes:
        """Send one request and return the response body.

        Args:
            peer_id: Base58 id; connected, or with an address in the book.
            protocol_id: Protocol to speak.
            body: Request.
            timeout_s: Seconds for everything, dialling included.
            max_response: Bytes accepted; needed where this node does not serve the protocol itself.

        Raises:
            RequestRefused: The peer answered with a refusal.
            FrameTooLarge: The request is over the limit, or the announced response is.
            MalformedFrame: The response has no known status.
            Unreachable: Everything that a retry may cure.
        """
        if self._is_draining:
            raise ShuttingDown(peer_id, "closing")
        known = self._protocols.get(protocol_id)
        if known is not None and len(body) > known.max_request:
            raise FrameTooLarge(len(body), known.max_request)
        limit = max_response if max_response is not None else known.max_response if known is not None else 0
        try:
            with trio.fail_after(timeout_s):
                stream = await self._open_stream(peer_id, protocol_id)
                async with parting(stream):
                    status, response = await self._exchange(stream, body, limit)
        except trio.TooSlowError:
            raise DeadlineExceeded(peer_id, f"{protocol_id} took more than {timeout_s} s") from None
        if status is not Status.OK:
            raise RequestRefused(peer_id, protocol_id, status.name, _printable(response))
        return response

    async def answer(self, protocol_id: str, stream: FramedStream) -> None:
        """Serve one inbound stream of a registered protocol, from its first byte to its end."""
        self._open += 1
        try:
            sent = False
            try:
                sent = await self._admit(protocol_id, stream)
            except StreamBroken as fault:
                log.debug("request on %s: %s", protocol_id, fault)
                self.counts["broken"] += 1
            if sent:
                await stream.part()
            else:
                await stream.reset()
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()
                self._idle = trio.Event()

    async def drain(self) -> None:
        """Refuse new requests and wait until the present ones have ended and their clients have read the answer.

        The last point matters: when a connection closes, the client's library drops what it has not yet read.
        """
        self._is_draining = True
        while self._open:
            await self._idle.wait()

    async def _admit(self, protocol_id: str, stream: FramedStream) -> bool:
        """Answer, or say that there is no room. Returns whether the answer was sent."""
        share = stream.peer_id, protocol_id
        if (
            self._is_draining
            or self._active.total() >= self._config.max_inbound_requests
            or self._active[share] >= self._config.max_inbound_requests_per_peer
        ):
            return await self._reply(stream, Status.BUSY, b"", BUSY_REPLY_S)
        self._active[share] += 1
        try:
            protocol = self._protocols[protocol_id]
            status, body = await self._handle(protocol, stream)
            return await self._reply(stream, status, body, protocol.timeout_s)
        finally:
            self._active[share] -= 1
            if not self._active[share]:
                del self._active[share]

    async def _exchange(self, stream: FramedStream, body: bytes, limit: int) -> tuple[Status, bytes]:
        refusal: Unreachable | None = None
        try:
            await stream.send(body)
        except StreamBroken as fault:
            refusal = fault  # the peer may have refused without reading on: its answer says more than our failure
        try:
            (number,) = await stream.receive_exactly(1)
            status = Status(number)
            return status, await stream.receive(limit if status is Status.OK else MAX_CODE_CHARS)
        except ValueError:
            raise MalformedFrame(f"status {number} from {stream.peer_id}") from None
        except StreamBroken as fault:
            raise (refusal or fault) from fault

    async def _handle(self, protocol: Protocol, stream: FramedStream) -> tuple[Status, bytes]:
        outcome = Status.TIMEOUT, b""
        with trio.move_on_after(protocol.timeout_s):
            outcome = await self._outcome(protocol, stream)
        return outcome

    async def _outcome(self, protocol: Protocol, stream: FramedStream) -> tuple[Status, bytes]:
        try:
            request = await stream.receive(protocol.max_request)
        except FrameTooLarge:
            return Status.TOO_LARGE, b""
        try:
            response = await protocol.handler(stream.peer_id, request)
        except ProtocolError as refusal:
            if isinstance(refusal, Reject):
                self._strike(stream.peer_id)
            return Status.REFUSED, refusal_word(refusal).encode("ascii", errors="replace")[:MAX_CODE_CHARS]
        except trio.TooSlowError:
            return Status.TIMEOUT, b""
        except Exception:
            # Our bug, but a stranger's request reached it: the peer gets a coded answer and the node lives.
            log.exception("handler of %s failed on a request of %s", protocol.protocol_id, stream.peer_id)
            return Status.FAULT, b""
        if len(response) > protocol.max_response:
            log.error("handler of %s made %d bytes", protocol.protocol_id, len(response))
            return Status.FAULT, b""
        return Status.OK, response

    async def _reply(self, stream: FramedStream, status: Status, body: bytes, timeout_s: float) -> bool:
        """Send a response. Returns False if the peer did not take it in time."""
        self.counts[status.name.lower()] += 1
        sent = False
        with trio.move_on_after(timeout_s):
            await stream.send_raw(bytes([status]))
            await stream.send(body)
            sent = True
        return sent


def _printable(code: bytes) -> str:
    text = code.decode("ascii", errors="replace")
    return text if text.isprintable() and text.isascii() else ""
