"""Ready tables: announced to the sidecars of self-building proposers, sealed to their keys, pulled before landing
(SPEC §9.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.duties import Duties
from node.frames import FrameWriter
from node.ports import Clock, Direct, Gossip, Peer, Refused
from protocol.codec import encode_body
from protocol.errors import Ignore, Reject
from protocol.gossip import MAX_TABLE_LOG2
from protocol.hashing import keccak256
from protocol.messages import PullStatus, ReadyTable, ReleasePolicy, TablePull, TableReply
from protocol.reqresp import MAX_SEALED_TABLE, TABLE_EXCHANGE
from protocol.sealing import SealError, SealKeyPair, seal, table_info
from protocol.table import Core
from protocol.types import Hash32

MIN_TABLE_LOG2: Final = 10
MAX_SLOTS_AHEAD: Final = 64  # two epochs: duties are not known further ahead
MAX_OFFERED: Final = 32  # tables kept for pulling; the oldest goes first


def padded_table(table: bytes) -> tuple[bytes, int]:
    """`salt | length | raw` zero-padded to a power of two, and its logarithm.

    Raises:
        Refused: it is larger than an execution client would pool.
    """
    size_log2 = max(MIN_TABLE_LOG2, (len(table) - 1).bit_length())
    if size_log2 > MAX_TABLE_LOG2:
        raise Refused("TABLE_TOO_LARGE", f"{len(table)} bytes")
    return table.ljust(1 << size_log2, b"\0"), size_log2


def raw_transaction(padded: bytes) -> bytes:
    """The signed transaction in a ready table.

    Raises:
        Reject: lengths or padding are wrong.
    """
    size = int.from_bytes(padded[32:36], "big")
    if len(padded) < 36 or size == 0 or 36 + size > len(padded) or any(padded[36 + size :]):
        raise Reject("READY_TABLE_FORM", size=len(padded))
    return padded[36 : 36 + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """A proposer that builds its own blocks, as a requester knows it."""

    key: bytes
    """X25519 public key of its sidecar."""
    duties: Duties
    """Its slots."""


class ReadyTables:
    """Offers the node's own ready tables."""

    def __init__(
        self,
        *,
        gossip: Gossip,
        direct: Direct,
        frames: FrameWriter,
        clock: Clock,
        sidecars: Sequence[bytes],
        vouch: Callable[[bytes], None] = lambda body: None,
        proposers: Sequence[Proposer] = (),
        release_ms: int = 0,
    ) -> None:
        """
        Args:
            sidecars: X25519 public keys that get each table at once.
            proposers: those that get it before their slots, `release_ms` before.
            vouch: tells our own validator that a public announcement, by its body, is as it says.
        """
        self._vouch = vouch
        self._proposers = tuple(proposers)
        self._release_ms = release_ms
        self._gossip = gossip
        self._direct = direct
        self._frames = frames
        self._clock = clock
        self._sidecars = tuple(sidecars)
        self._offered: dict[bytes, bytes] = {}  # table id -> sealed content, oldest first

    def wait_ms(self, configured_ms: int) -> int:
        """How long a transaction waits for sidecars: nothing if there are none."""
        return configured_ms if self._sidecars or self._proposers else 0

    async def announce(self, table: bytes, *, ticket: int, valid_until: int) -> None:
        """Announces a table to each sidecar; again is harmless: the id is the same, the box another.

        Args:
            table: salt 32 | length 4 | raw transaction; the salt is stored, so that the id never changes.
            ticket: a live escrow ticket of ours.
            valid_until: unix seconds.
        """
        for number, sidecar in enumerate(self._sidecars):
            await self._seal_to(number, sidecar, table, ticket=ticket, valid_until=valid_until)

    async def announce_by_slot(
        self, current: Callable[[], Awaitable[bytes | None]], *, ticket: int, valid_until: int
    ) -> None:
        """Seals a table to each proposer shortly before its slot and to nobody else, slot after slot.

        Args:
            current: the table, as for `announce`, at the moment; None once it has landed or is given up.
            valid_until: unix seconds; no slot after it is waited for.

        Raises:
            TryAgain: the duties are not known.
        """
        served = dict.fromkeys(range(len(self._proposers)), -1)  # the last slot of each, by number
        while served:
            found = [(await self._next_slot(number, served[number], valid_until), number) for number in served]
            slots = sorted((start_ms, slot, number) for (start_ms, slot), number in found if slot >= 0)
            if not slots:
                return
            start_ms, slot, number = slots[0]
            await self._clock.sleep_until(start_ms - self._release_ms)
            table = await current()
            if table is None:
                return
            await self._seal_to(
                len(self._sidecars) + number,
                self._proposers[number].key,
                table,
                ticket=ticket,
                valid_until=valid_until,
            )
            served[number] = slot

    async def _next_slot(self, number: int, after: int, valid_until: int) -> tuple[int, int]:
        """Begin and number of the next slot of a proposer that has not begun; (0, -1) if there is none in time."""
        duties = self._proposers[number].duties
        times = await duties.times()
        first = max(after, times.slot_at(self._clock.now_ms())) + 1
        for slot in range(first, first + MAX_SLOTS_AHEAD):
            if times.start_s(slot) > valid_until:
                break
            if await duties.is_ours(slot):
                return times.start_ms(slot), slot
        return 0, -1

    async def _seal_to(self, number: int, sidecar: bytes, table: bytes, *, ticket: int, valid_until: int) -> None:
        padded, size_log2 = padded_table(table)
        # One id per sidecar, so that each pulls the box that it can open.
        content = keccak256(table[:32] + number.to_bytes(4, "big")) + padded[32:]
        table_id = keccak256(content)
        try:
            box = seal(content, sidecar, table_info(table_id))
        except SealError as error:
            raise Refused("SIDECAR_KEY", sidecar.hex()) from error
        self._offer(table_id, box)
        message = ReadyTable(
            table_id=table_id,
            policy=int(ReleasePolicy.SEALED),
            seal_key=sidecar,
            size_log2=size_log2,
            not_before=self._clock.now_ms() // 1000,
            valid_until=valid_until,
            rollup_ids=(),
            pre_roots=(),
            post_roots=(),
            ticket=ticket,
            peer_id=self._direct.own.peer_id,
            addresses=self._direct.own.addresses,
        )
        await self._gossip.publish("ready", await self._frames.frame(message))

    async def publish(self, table: bytes, core: Core, *, ticket: int) -> None:
        """Announces a table to everybody: from now on any proposer can land it.

        Args:
            table: as for `announce`.
            core: the table in it.
            ticket: a live escrow ticket of ours.
        """
        content, size_log2 = padded_table(table)
        table_id = keccak256(content)
        self._offer(table_id, content)
        message = ReadyTable(
            table_id=table_id,
            policy=int(ReleasePolicy.PUBLIC),
            seal_key=b"",
            size_log2=size_log2,
            not_before=core.not_before,
            valid_until=core.valid_until,
            rollup_ids=tuple(member.rollup_id for member in core.lockset),
            pre_roots=tuple(Hash32(member.pre_root.to_bytes(32, "big")) for member in core.lockset),
            post_roots=tuple(Hash32(root.to_bytes(32, "big")) for root in core.roots_after(len(core.entries) - 1)),
            ticket=ticket,
            peer_id=self._direct.own.peer_id,
            addresses=self._direct.own.addresses,
        )
        self._vouch(encode_body(message))  # our own transaction was run through before it was signed
        await self._gossip.publish("ready", await self._frames.frame(message))

    def serve(self) -> None:
        """Answers pulls from now on."""
        self._direct.serve(TABLE_EXCHANGE, self._answer)

    def _offer(self, table_id: bytes, box: bytes) -> None:
        self._offered[table_id] = box
        while len(self._offered) > MAX_OFFERED:
            del self._offered[next(iter(self._offered))]

    async def _answer(self, data: bytes) -> bytes:
        return await answer_pull(data, self._frames, lambda table_id: self._offered.get(table_id, b""))


async def answer_pull(data: bytes, frames: FrameWriter, content_of: Callable[[bytes], bytes]) -> bytes:
    """The answer to a TABLE_PULL; the same question gets the same content again.

    Args:
        content_of: sealed or plain content by table id, empty if there is none.

    Raises:
        Reject, Ignore: it is no such question.
    """
    pull = frames.read(data, TablePull, signer=None).message
    assert isinstance(pull, TablePull)
    content = content_of(pull.table_id)
    reply = TableReply(
        table_id=pull.table_id,
        status=int(PullStatus.HERE if content else PullStatus.UNKNOWN),
        content_bytes=len(content),
        content_hash=keccak256(content) if content else bytes(32),
    )
    return await frames.frame(reply) + content


async def fetch_table(announcement: ReadyTable, peer: Peer, *, direct: Direct, frames: FrameWriter) -> bytes:
    """Pulls the content of a public table from anybody who has it: its name is its hash.

    Raises:
        TryAgain: the peer cannot be reached.
        Refused: it does not have it, or gave something else.
    """
    raw = await direct.ask(peer, TABLE_EXCHANGE, await frames.frame(TablePull(table_id=announcement.table_id)))
    try:
        answer = frames.read(raw, TableReply, max_attachment=MAX_SEALED_TABLE, signer=None)
    except (Reject, Ignore) as error:
        raise Refused(error.reason) from error
    content = answer.attachment
    if len(content) != 1 << announcement.size_log2 or keccak256(content) != announcement.table_id:
        raise Refused("TABLE_NOT_HERE")
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledTable:
    """A ready table that its announcer meant for us."""

    announcement: ReadyTable
    announcer: bytes
    """The account that signed the announcement."""
    raw: bytes
    """Signed L1 transaction, not verified."""


async def pull_table(
    announcement: ReadyTable, announcer: bytes, *, direct: Direct, frames: FrameWriter, key: SealKeyPair
) -> PulledTable:
    """Pulls and opens a table that is sealed to our key.

    Raises:
        TryAgain: the announcer cannot be reached.
        Refused: it does not have the table, or the content is not what was announced.
    """
    peer = Peer(peer_id=announcement.peer_id, addresses=announcement.addresses)
    request = await frames.frame(TablePull(table_id=announcement.table_id))
    raw = await direct.ask(peer, TABLE_EXCHANGE, request)
    try:
        answer = frames.read(raw, TableReply, max_attachment=MAX_SEALED_TABLE, signer=announcer)
        reply = answer.message
        assert isinstance(reply, TableReply)
        if reply.status != PullStatus.HERE or reply.table_id != announcement.table_id:
            raise Refused("TABLE_NOT_HERE")
        content = key.open(answer.attachment, table_info(announcement.table_id))
        if keccak256(content) != announcement.table_id or len(content) != 1 << announcement.size_log2:
            raise Refused("TABLE_NOT_AS_ANNOUNCED")
        return PulledTable(announcement=announcement, announcer=announcer, raw=raw_transaction(content))
    except (Reject, Ignore) as error:
        raise Refused(error.reason) from error
    except SealError as error:
        raise Refused("TABLE_DOES_NOT_OPEN") from error
