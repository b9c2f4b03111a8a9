"""Public ready tables: pulled, checked in full and pooled before they are passed on (SPEC §9.6).

Gossip decides at once, and a table can be judged only by its content. So an announcement is first ignored; its content
is pulled from whoever brought it, or from who announced it, and checked; if it holds, the announcement is published
again from here, and whoever gets it can pull from here. What is not as announced is remembered, and rejected from then
on: whoever passes it on has not looked.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import trio
from trio_typing import TaskStatus

from node.frames import FrameWriter
from node.ports import Clock, Direct, Gossip, Peer, Refused, TryAgain
from node.ready import answer_pull, fetch_table, raw_transaction
from node.readypool import ReadyKeeper
from node.readytx import ReadyCall
from node.sidecar import PASSING
from protocol.codec import decode_body
from protocol.errors import Reject
from protocol.gossip_memory import GossipMemory
from protocol.messages import ReadyTable
from protocol.reqresp import TABLE_EXCHANGE

log = logging.getLogger("unveto.ready")

WORKERS: Final = 4
MAX_UNDER_WAY: Final = 256
MAX_OF_PEER: Final = 64  # announcements under way that one peer brought
MAX_OF_ANNOUNCER: Final = 8
MAX_FAILURES: Final = 8  # of one announcer, within FORGET_MS; beyond, it is not listened to
FORGET_MS: Final = 10 * 60_000
MAX_WAITING: Final = 64
AGAIN_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Heard:
    """An announcement that waits to be checked."""

    frame: bytes
    from_peer: str

    @property
    def announcer(self) -> bytes:
        """Account, 20 bytes; the frame's signature is checked before anything is heard."""
        return self.frame[52:72]

    @property
    def body(self) -> bytes:
        """What is claimed."""
        return self.frame[80:-65]


class Hearing:
    """What the validator tells, before and after there is a `ReadyRelay`; a node without one listens to nothing."""

    def __init__(self) -> None:
        self.hear: Callable[[bytes, str], None] = lambda frame, from_peer: None

    def __call__(self, frame: bytes, from_peer: str) -> None:
        self.hear(frame, from_peer)


class ReadyRelay:
    """Checks before it passes on. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        gossip: Gossip,
        direct: Direct,
        frames: FrameWriter,
        keeper: ReadyKeeper,
        memory: GossipMemory,
        clock: Clock,
        blame: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            memory: the validator's, which is told what was found.
            blame: called with a peer that passed on what it cannot have checked.
            on_change: called when the pool has changed.
        """
        self._gossip = gossip
        self._direct = direct
        self._frames = frames
        self._keeper = keeper
        self._memory = memory
        self._clock = clock
        self._blame = blame
        self._on_change = on_change
        self._send, self._receive = trio.open_memory_channel[_Heard](MAX_UNDER_WAY)
        self._under_way: dict[bytes, _Heard] = {}
        self._of_peer: Counter[str] = Counter()
        self._of_announcer: Counter[bytes] = Counter()
        self._failures: dict[bytes, list[int]] = {}
        self._waiting: dict[bytes, tuple[_Heard, ReadyCall, bytes]] = {}
        self._contents: dict[bytes, tuple[bytes, bytes]] = {}  # table id -> transaction hash, content

    def hear(self, frame: bytes, from_peer: str) -> None:
        """An announcement that the validator does not know: to be looked at, or dropped. Never waits."""
        heard = _Heard(frame, from_peer)
        if (
            heard.body in self._under_way
            or heard.body in self._waiting
            or len(self._under_way) >= MAX_UNDER_WAY
            or self._of_peer[from_peer] >= MAX_OF_PEER
            or self._of_announcer[heard.announcer] >= MAX_OF_ANNOUNCER
            or self._is_tiresome(heard.announcer)
        ):
            return
        self._under_way[heard.body] = heard
        self._of_peer[from_peer] += 1
        self._of_announcer[heard.announcer] += 1
        self._send.send_nowait(heard)

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Runs until cancelled."""
        self._direct.serve(TABLE_EXCHANGE, self._answer)
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._work)
            nursery.start_soon(self._try_again)
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("serves until cancelled")

    # -- one announcement ------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        async for heard in self._receive:
            try:
                await self._look_at(heard)
            finally:
                del self._under_way[heard.body]
                self._of_peer[heard.from_peer] -= 1
                self._of_announcer[heard.announcer] -= 1
                self._of_peer += Counter()  # drops what is at zero
                self._of_announcer += Counter()

    async def _look_at(self, heard: _Heard) -> None:
        said = decode_body(ReadyTable, heard.body)
        content = await self._pull(said, heard)
        if content is None:
            self._fail(heard)
            return
        try:
            call = self._compared(said, content)
        except Refused as error:
            # It says so itself: no chain is needed to see it.
            log.warning("table %s of 0x%s: %s", said.table_id.hex()[:8], heard.announcer.hex(), error)
            self._memory.remember_table(heard.body, is_good=False)
            self._blame(heard.from_peer)
            self._fail(heard)
            return
        await self._admit(heard, said, call, content)

    async def _admit(self, heard: _Heard, said: ReadyTable, call: ReadyCall, content: bytes) -> None:
        try:
            if call.tx_hash not in self._keeper.pool:
                await self._keeper.admit(call, table_id=said.table_id, is_sealed=False)
        except TryAgain as error:
            log.debug("table %s: %s", said.table_id.hex()[:8], error)
            self._wait(heard, call, content)
            return
        except Refused as error:
            log.info("table %s is not pooled: %s", said.table_id.hex()[:8], error)
            if error.code in PASSING:
                self._wait(heard, call, content)
                return
            if error.code != "KNOWN":  # else another worker was faster
                self._fail(heard)
                return
        self._contents[said.table_id] = (call.tx_hash, content)
        self._contents = {name: kept for name, kept in self._contents.items() if kept[0] in self._keeper.pool}
        self._memory.remember_table(heard.body, is_good=True)
        self._on_change()
        try:
            await self._gossip.publish("ready", heard.frame)
        except (Refused, TryAgain) as error:
            log.debug("table %s is not passed on: %s", said.table_id.hex()[:8], error)

    async def _pull(self, said: ReadyTable, heard: _Heard) -> bytes | None:
        """The content, from whoever brought the announcement, else from its announcer."""
        peers = [Peer(peer_id=heard.from_peer.encode(), addresses=())]
        if said.peer_id != peers[0].peer_id:
            peers.append(Peer(peer_id=said.peer_id, addresses=said.addresses))
        for peer in peers:
            try:
                return await fetch_table(said, peer, direct=self._direct, frames=self._frames)
            except (TryAgain, Refused) as error:
                log.debug("table %s from %r: %s", said.table_id.hex()[:8], peer.peer_id, error)
        return None

    def _compared(self, said: ReadyTable, content: bytes) -> ReadyCall:
        """The transaction, if it is one and what was said of it is true. Raises Refused."""
        try:
            call = self._keeper.read(raw_transaction(content))
        except Reject as error:
            raise Refused(str(error.reason)) from error
        core = call.core
        ends = {tuple(core.roots_after(place)) for place in range(len(core.entries))}
        if (
            said.rollup_ids != tuple(member.rollup_id for member in core.lockset)
            or tuple(map(_number, said.pre_roots)) != tuple(member.pre_root for member in core.lockset)
            or tuple(map(_number, said.post_roots)) not in ends
            or (said.not_before, said.valid_until) != (core.not_before, core.valid_until)
        ):
            raise Refused("READY_CLAIMS", "rollups, roots or window are not the table's")
        return call

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _answer(self, data: bytes) -> bytes:
        return await answer_pull(data, self._frames, lambda table_id: self._contents.get(table_id, (b"", b""))[1])

    async def _try_again(self) -> NoReturn:
        while True:
            await self._clock.sleep_until(self._clock.now_ms() + AGAIN_MS)
            now_ms = self._clock.now_ms()
            self._failures = {
                announcer: times for announcer, times in self._failures.items() if times[-1] + FORGET_MS > now_ms
            }
            for body, (heard, call, content) in list(self._waiting.items()):
                said = decode_body(ReadyTable, body)
                del self._waiting[body]
                if said.valid_until * 1000 > now_ms:
                    await self._admit(heard, said, call, content)

    def _wait(self, heard: _Heard, call: ReadyCall, content: bytes) -> None:
        self._waiting[heard.body] = (heard, call, content)
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def _fail(self, heard: _Heard) -> None:
        times = self._failures.setdefault(heard.announcer, [])
        times.append(self._clock.now_ms())
        del times[:-MAX_FAILURES]

    def _is_tiresome(self, announcer: bytes) -> bool:
        times = self._failures.get(announcer, [])
        return len(times) >= MAX_FAILURES and times[0] + FORGET_MS > self._clock.now_ms()


def _number(root: bytes) -> int:
    return int.from_bytes(root, "big")
