"""Streams with length-prefixed frames: the only reads and writes of application bytes.

Wire form of a frame: length u32 big-endian, then that many bytes. Deadlines are the caller's (`trio.fail_after`).
"""

import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError

from node.p2p.errors import FrameTooLarge, P2PError, StreamBroken

PIECE_BYTES = 1 << 16  # one muxer frame; bounds what a read allocates before its bytes have arrived
LENGTH_BYTES = 4
GOODBYE_S = 2.0  # for the other side's end of stream, or for a reset to be written
GOODBYE_BYTES = 1 << 20  # unread bytes that are drained so that a refusal is not overtaken by a reset

log = logging.getLogger("unveto.p2p")


@contextmanager
def library_edge(peer_id: str) -> Iterator[None]:
    """Map what the library raises inside the block to StreamBroken.

    Only calls into the library belong inside. It documents one error base class and also lets KeyError and ValueError
    of its internals through when a connection dies under a call.
    """
    try:
        yield
    except (P2PError, trio.TooSlowError):
        raise
    except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as fault:
        raise StreamBroken(peer_id, type(fault).__name__) from fault
    except Exception as fault:
        log.debug("library fault on a stream of %s", peer_id, exc_info=True)
        raise StreamBroken(peer_id, type(fault).__name__) from fault


class FramedStream:
    """One stream to one peer. Not for concurrent senders or concurrent receivers."""

    def __init__(self, stream: INetStream, peer_id: str) -> None:
        self._stream = stream
        self.peer_id = peer_id
        """Base58 id of the other side, proven by its handshake."""

    async def send(self, body: bytes) -> None:
        """Send one frame.

        Raises:
            StreamBroken: The other side is gone, or has not read for 5 s (the muxer's limit).
        """
        await self.send_raw(struct.pack(">I", len(body)) + body[: PIECE_BYTES - LENGTH_BYTES])
        for start in range(PIECE_BYTES - LENGTH_BYTES, len(body), PIECE_BYTES):
            await self.send_raw(body[start : start + PIECE_BYTES])

    async def receive(self, limit_bytes: int) -> bytes:
        """Receive one frame of at most `limit_bytes`; nothing is allocated for bytes that have not arrived.

        Raises:
            FrameTooLarge: The prefix announces more; the frame is left unread.
            StreamBroken: The stream ended or was reset before the frame was complete.
        """
        (length,) = struct.unpack(">I", await self.receive_exactly(LENGTH_BYTES))
        if length > limit_bytes:
            raise FrameTooLarge(length, limit_bytes)
        return await self.receive_exactly(length)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes without a prefix."""
        with library_edge(self.peer_id):
            await self._stream.write(data)

    async def receive_exactly(self, count: int) -> bytes:
        """Receive exactly `count` bytes, in reads of at most 64 KiB."""
        received = bytearray()
        while len(received) < count:
            with library_edge(self.peer_id):
                piece = await self._stream.read(min(PIECE_BYTES, count - len(received)))
            if not piece:
                raise StreamBroken(self.peer_id, "end of stream")
            received += piece
        return bytes(received)

    async def close(self) -> None:
        """Say that we send nothing more. Frames of the other side can still be received."""
        with library_edge(self.peer_id):
            await self._stream.close()

    async def part(self) -> None:
        """End the stream politely: wait a bounded time for the other side's end, then close, else reset.

        A reset right after the last write can overtake it: the library's reader drops what it has buffered.
        """
        drained = 0
        with trio.move_on_after(GOODBYE_S):
            while drained < GOODBYE_BYTES:
                try:
                    drained += len(await self.receive_exactly(1))
                    with library_edge(self.peer_id):
                        drained += len(await self._stream.read(PIECE_BYTES))
                except StreamBroken:
                    await self._end(self._stream.close)
                    return
        await self.reset()

    async def reset(self) -> None:
        """End the stream at once in both directions; never raises, never blocks for long."""
        await self._end(self._stream.reset)

    async def _end(self, how: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(GOODBYE_S):
            try:
                with library_edge(self.peer_id):
                    await how()
            except StreamBroken as fault:
                log.debug("ending a stream: %s", fault)


@asynccontextmanager
async def parting(stream: FramedStream) -> AsyncIterator[FramedStream]:
    """Close the stream after the block, and reset it when the block fails or is cancelled."""
    try:
        yield stream
    except BaseException:
        await stream.reset()
        raise
    await stream.close()
