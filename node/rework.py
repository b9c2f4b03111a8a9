"""A prover that begins anew with the table of an amend (SPEC §10)."""

from __future__ import annotations

from typing import Final

from market.lanes import amends_signed, is_capacity
from market.lifecycle import Event, Order, State
from market.payload_check import PayloadRefused, judge_payload
from node import market_state as kept
from node.frames import FrameWriter
from node.market_state import Deal
from node.order_part import OrderPart
from node.ports import Clock, InThread
from protocol.agreement import SignedAmend, StatementAmend, by_key, pack_amend, unpack_amend
from protocol.errors import Ignore, Reject
from protocol.messages import AckVerdict, Amend, AmendReply, KeyRelease, RequestCommit
from protocol.reqresp import MAX_SEALED_PAYLOAD
from protocol.sealing import SealError, SealKeyPair, payload_info
from protocol.signing import amend_digest, recover_signer
from protocol.verdicts import WireCode

STATEMENT_BYTES: Final = 32


class Rework(OrderPart):
    """Answers the amends of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, in_thread: InThread, clock: Clock, frames: FrameWriter) -> None:
        super().__init__()
        self._in_thread = in_thread
        self._clock = clock
        self._frames = frames

    async def request_of(self, order: Order, deal: Deal, payload: bytes) -> RequestCommit:
        """The request that a payload is held against: the agreed one, with the commitments of the last amend."""
        amend = await self._loop.document(order.order_id, kept.AMEND)
        if amend is not None:
            return kept.amended(deal.request, unpack_amend(amend).statement_commit, payload)
        if not is_capacity(deal.request):
            return deal.request
        first = await self._loop.needed(order, kept.AMEND_OFFER)
        return kept.amended(deal.request, first[:STATEMENT_BYTES], payload)

    def first_table(self, deal: Deal, release: KeyRelease) -> bytes:
        """The AMEND_OFFER document of a KEY_RELEASE: the table's commitment and the requester's word for it.

        Raises:
            Reject: it names a table where the request did, or none where it did not, or is signed by somebody else.
        """
        if not is_capacity(deal.request):
            if any(release.statement_commit) or release.amend_signature:
                raise Reject(WireCode.BAD_AGREEMENT, statement=release.statement_commit)
            return b""
        if not any(release.statement_commit) or not release.amend_signature:
            raise Reject(WireCode.BAD_AGREEMENT, statement=release.statement_commit)
        digest = self._first_digest(deal, release.statement_commit)
        if recover_signer(digest, release.amend_signature) != deal.requester:
            raise Reject(WireCode.BAD_SIGNATURE, counter=1)
        return release.statement_commit + release.amend_signature

    async def sign_first(self, order: Order, deal: Deal) -> tuple[bytes, bytes]:
        """Our signature of the table that was named with the payload, and the packed amend; both empty if the request
        named it."""
        if not is_capacity(deal.request):
            return b"", b""
        offer = await self._loop.needed(order, kept.AMEND_OFFER)
        statement, theirs = offer[:STATEMENT_BYTES], offer[STATEMENT_BYTES:]
        ours = self._frames.key.sign_digest(self._first_digest(deal, statement))
        both = SignedAmend(
            counter=1,
            statement_commit=statement,
            requester_signature=by_key(theirs),
            prover_signature=by_key(ours),
        )
        return ours, pack_amend(both)

    def _first_digest(self, deal: Deal, statement: bytes) -> bytes:
        market = self._frames.market
        first = StatementAmend(agreement_hash=deal.agreement_hash, counter=1, statement_commit=statement)
        return amend_digest(market.chain_id, market.contract, first)

    async def answer(self, data: bytes) -> bytes:
        """The reply to an AMEND. Raises Reject, Ignore."""
        received = self._frames.read(data, Amend, max_attachment=MAX_SEALED_PAYLOAD, signer=None)
        amend = received.message
        assert isinstance(amend, Amend)
        order = self._loop.order(amend.request_id)
        if order is None or await self._loop.document(order.order_id, kept.ACK) is None:
            raise Ignore(WireCode.WRONG_AGREEMENT, request_id=amend.request_id)
        deal = await self._loop.deal(order)
        if received.signer != deal.requester or amend.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=received.signer)
        market = self._frames.market
        said = StatementAmend(
            agreement_hash=deal.agreement_hash, counter=amend.counter, statement_commit=amend.statement_commit
        )
        digest = amend_digest(market.chain_id, market.contract, said)
        if recover_signer(digest, amend.requester_signature) != deal.requester:
            raise Reject(WireCode.BAD_SIGNATURE, counter=amend.counter)
        stored = await self._loop.document(order.order_id, kept.AMEND)
        last = None if stored is None else unpack_amend(stored)
        if last is None or (last.counter, last.statement_commit) != (amend.counter, amend.statement_commit):
            if order.state is State.ACKED:
                raise Ignore(WireCode.LATE, state=order.state.value)  # soon, when the witness is built
            verdict = await self._take_amend(order, deal, amend, received.attachment, digest, last)
        else:
            verdict = AckVerdict.START  # asked again: the same answer
        signature = self._frames.key.sign_digest(digest) if verdict is AckVerdict.START else b""
        return await self._frames.frame(
            AmendReply(
                request_id=order.order_id,
                agreement_hash=deal.agreement_hash,
                verdict=int(verdict),
                prover_signature=signature,
            )
        )

    async def _take_amend(
        self, order: Order, deal: Deal, amend: Amend, box: bytes, digest: bytes, last: SignedAmend | None
    ) -> AckVerdict:
        """Begins anew with the amended table, if there is time and it is no more than what was agreed."""
        if order.state is not State.AT_WORK or amend.counter != (1 if last is None else last.counter + 1):
            return AckVerdict.UNSUPPORTED  # the agreed table is done, or one counter was signed for two tables
        if amend.counter > amends_signed(deal.request):
            return AckVerdict.UNSUPPORTED  # work that was begun in vain often enough
        if self._clock.now_ms() + deal.opening.eta_ms > order.deliver_by * 1000:
            return AckVerdict.STALE
        key = SealKeyPair(await self._loop.needed_secret(order, kept.SEAL))
        try:
            payload = key.open(box, payload_info(deal.agreement_hash))
            wanted = kept.amended(deal.request, amend.statement_commit, payload)
            await self._in_thread(lambda: judge_payload(wanted, payload))
        except SealError:
            return AckVerdict.INVALID
        except PayloadRefused as refused:
            return refused.verdict
        both = SignedAmend(
            counter=amend.counter,
            statement_commit=amend.statement_commit,
            requester_signature=by_key(amend.requester_signature),
            prover_signature=by_key(self._frames.key.sign_digest(digest)),
        )
        after = await self._loop.happen(
            order.order_id,
            Event.TABLE_AMENDED,
            reason=f"AMENDED_{amend.counter}",
            document={kept.AMEND: pack_amend(both)},
            secret={kept.PAYLOAD: payload},
        )
        return AckVerdict.UNSUPPORTED if after is None else AckVerdict.START
