"""Makes the node's own frames and judges everybody's: the edge between bytes and messages."""

from __future__ import annotations

from typing import Final, Protocol

from market.effects import Effect
from market.lifecycle import Role
from node.market_state import REQUEST, unpack_request
from node.ports import Clock, InThread
from node.skew import Skew
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from protocol.codec import Header, encode_frame
from protocol.errors import Ignore
from protocol.gossip import MarketId, TicketView, validate
from protocol.gossip_memory import GossipMemory
from protocol.messages import Message
from protocol.reqresp import Direct as DirectMessage
from protocol.reqresp import read_direct
from protocol.signing import AccountKey

FRAME_LIFETIME_MS: Final = 120_000  # long enough for catch-up of late peers, far below the limit of ten minutes


class Judge(Protocol):
    """Decides about one frame."""

    def __call__(self, channel: str, data: bytes, shard: int | None = None) -> None:
        """Raises protocol.errors.Reject or Ignore unless it is accepted."""
        ...


class FrameWriter:
    """Signs messages of one account into frames, each with a fresh sequence number that is on disk before it is
    used."""

    def __init__(
        self,
        *,
        market: MarketId,
        key: AccountKey,
        sequences: Sequences,
        clock: Clock,
        in_thread: InThread,
        skew: Skew | None = None,
    ) -> None:
        self.market = market
        self.key = key
        self._sequences = sequences
        self._clock = clock
        self._skew = skew or Skew()
        self._in_thread = in_thread

    async def frame(self, message: Message) -> bytes:
        """A signed frame, created now."""
        sequence = await self._in_thread(self._sequences.next)
        now_ms = self._clock.now_ms()
        header = Header(
            message_id=message.ID,
            chain_id=self.market.chain_id,
            market=self.market.contract,
            created_ms=now_ms,
            expires_ms=now_ms + FRAME_LIFETIME_MS,
            signer=self.key.address,
            sequence=sequence,
        )
        return encode_frame(header, message, self.key.sign_digest)

    def read(
        self, data: bytes, expected: type[Message], *, max_attachment: int = 0, signer: bytes | None
    ) -> DirectMessage:
        """Checks a direct message to us; see `protocol.reqresp.read_direct`."""
        now_ms = self._clock.now_ms()
        try:
            message = read_direct(
                data, expected, max_attachment=max_attachment, market=self.market, now_ms=now_ms, signer=signer
            )
        except Ignore as verdict:
            self._skew.refuse(verdict)
            raise
        self._skew.heard(message.signer, message.frame.header.created_ms, now_ms)
        return message


def gossip_judge(
    *, market: MarketId, clock: Clock, memory: GossipMemory, view: TicketView, skew: Skew | None = None
) -> Judge:
    """`judge(channel, frame)`, with the shard where there are some: returns if the frame is accepted, raises
    protocol.errors.Reject or Ignore else.

    Transports call it for every frame before it is forwarded or handed up, own frames included.
    """

    known = skew or Skew()

    def judge(channel: str, data: bytes, shard: int | None = None) -> None:
        now_ms = clock.now_ms()
        try:
            heard = validate(channel, data, market=market, now_ms=now_ms, memory=memory, view=view, shard=shard)
        except Ignore as verdict:
            known.refuse(verdict)
            raise
        # What is passed on late looks as if its signer's clock were behind: only the other way says something.
        if heard.frame.header.created_ms > now_ms:
            known.heard(heard.signer, heard.frame.header.created_ms, now_ms)

    return judge


def recall_requests(store: OrderStore, role: Role, memory: GossipMemory) -> None:
    """Tells a fresh validator about the requests of our live orders, so that after a restart it accepts what we say
    about them."""
    unpublished = {pending.order_id for pending in store.pending(role) if pending.effect is Effect.PUBLISH_REQUEST}
    for order in store.live(role):
        document = store.document(order.order_id, role, REQUEST)
        # What is still to be published is judged, and remembered, when it is.
        if document is not None and order.order_id not in unpublished:
            memory.remember_request(*unpack_request(document))
