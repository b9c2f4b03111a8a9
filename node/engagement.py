"""What the requester does with one prover that it has awarded: countersignature, payload, Ack, delivery, bond.

The same for the winner and for each runner-up (`node.standby`): the events have the same names in both tables. Only
this file, `node.requester` and the planner see the plaintext of a table before it lands.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from typing import Final, TypeVar

from market.effects import Effect
from market.lanes import is_capacity
from market.lifecycle import Event, Order, Role, State
from market.payload_check import PayloadRefused, judge_payload
from node import market_state as kept
from node.broker import Observe, OrderLoop, Perform
from node.frames import FrameWriter
from node.l1 import slash
from node.market_state import Deal, pack_plan, settlement_of, unpack_plan
from node.order_part import OrderCall
from node.ports import (
    AgreementView,
    Chain,
    Clock,
    Direct,
    InThread,
    Landing,
    Peer,
    PlannedTable,
    Refused,
    Verifier,
)
from node.statements import countersigned, digest_of, signed_offer
from node.store.orders import OrderStore
from protocol.agreement import Ack, Decline, Receipt, by_key, decline_fee, pack_dated
from protocol.codec import decode_body, encode_body
from protocol.errors import Ignore, Reject
from protocol.hashing import keccak256
from protocol.messages import (
    AckVerdict,
    Amend,
    AwardAccept,
    BidCommit,
    DeclineReply,
    DeclineRequest,
    DeliveryReceipt,
    KeyRelease,
    Message,
    ProofDelivery,
    ProverAck,
    ReceiptVerdict,
    RequestCommit,
    RollupProof,
)
from protocol.reqresp import AWARD_EXCHANGE, KEY_EXCHANGE
from protocol.sealing import SealError, payload_info, seal
from protocol.signing import ack_digest, decline_digest, receipt_digest, recover_signer
from protocol.table import statement_commit
from protocol.types import Hash32
from protocol.verdicts import WireCode

M = TypeVar("M", bound=Message)

log = logging.getLogger("unveto.engagement")

PAID_VERDICTS: Final = frozenset({AckVerdict.OVERSIZE, AckVerdict.INVALID})

WAIT_FOR_PROOF: Final = frozenset({State.PROVING, State.AMENDING, State.AMENDED, State.S_PROVING})
BEFORE_ACK: Final = frozenset({State.ACCEPTED, State.KEYED, State.S_CALLED, State.S_KEYED})
BEING_JUDGED: Final = frozenset({State.DELIVERED, State.S_DELIVERED, State.S_VERIFIED})
SLASH_UNSIGNED: Final = frozenset({State.SLASH_DUE, State.S_SLASH_DUE})
SLASH_UNDER_WAY: Final = frozenset({State.SLASH_DUE, State.SLASHING, State.S_SLASH_DUE, State.S_SLASHING})


FirstTable = Callable[[Order, Deal], Awaitable[PlannedTable]]
"""Raises Refused if there is none within what was agreed, TryAgain if it cannot be planned now."""


class Engagement:
    """The engagements of one account in one role, and the loop that moves them."""

    def __init__(
        self,
        role: Role,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        direct: Direct,
        chain: Chain,
        verifier: Verifier,
        frames: FrameWriter,
        first_table: FirstTable,
        perform: Mapping[Effect, Perform],
        observe: Observe,
        watched: frozenset[State],
        poll_ms: int,
    ) -> None:
        """
        Args:
            first_table: the table of an order whose request named none.
            perform: the role's effects beside those that are performed here.
            poll_ms: time between two looks at the chain for one order.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._direct = direct
        self._chain = chain
        self._verifier = verifier
        self._frames = frames
        self.first_table = first_table
        self._slash = OrderCall("slash", chain=chain, clock=clock, to=frames.market.contract)
        self.loop = OrderLoop(
            role,
            store=store,
            in_thread=in_thread,
            clock=clock,
            perform={
                Effect.ASK_ACCEPTANCE: self._ask_acceptance,
                Effect.SEAL_PAYLOAD: self._seal_payload,
                Effect.RELEASE_PAYLOAD: self._release_payload,
                Effect.VERIFY_DELIVERY: self._verify_delivery,
                **perform,
            },
            observe=observe,
            watched=watched,
            poll_ms=poll_ms,
        )

    # -- countersignature and payload ------------------------------------------------------------------------------

    async def _ask_acceptance(self, order: Order) -> None:
        deal = await self.deal(order)
        frame = await self._frames.frame(deal.award)
        raw = await self._direct.ask(await self.peer(deal), AWARD_EXCHANGE, frame)
        answer = self.read(raw, AwardAccept, deal.winner.prover)
        if answer.agreement_hash != deal.agreement_hash or not _is_by(
            deal.winner.prover, deal.agreement_hash, answer.prover_signature
        ):
            raise Refused(WireCode.BAD_AGREEMENT, "the prover signed something else")
        await self.loop.happen(order.order_id, Event.ACCEPT_RECEIVED, document={kept.ACCEPT: answer.prover_signature})

    async def _seal_payload(self, order: Order) -> None:
        deal = await self.deal(order)
        try:
            plan = await (self.first_table(order, deal) if is_capacity(deal.request) else self.plan(order))
            box = seal(plan.payload, deal.opening.seal_key, payload_info(deal.agreement_hash))
        except SealError:
            await self.loop.happen(order.order_id, Event.ACK_TIMEOUT, reason="BAD_SEAL_KEY")
            return
        except Refused as refused:  # the wish has outgrown the capacity: nothing leaves, so nothing is owed
            await self.loop.happen(order.order_id, Event.CANCEL, reason=refused.code)
            return
        if not is_capacity(deal.request):
            await self.loop.happen(order.order_id, Event.PAYLOAD_SEALED, document={kept.BOX: box})
            return
        offer = encode_body(signed_offer(self._frames, deal, 1, plan, box))
        await self.loop.happen(
            order.order_id,
            Event.PAYLOAD_SEALED,
            document={kept.BOX: box, kept.AMEND_OFFER: offer, kept.TRIED: bytes((1,))},
            secret={kept.NEXT_PLAN: pack_plan(plan)},
        )

    async def _release_payload(self, order: Order) -> None:
        deal = await self.deal(order)
        box = await self.document(order, kept.BOX)
        offer = None
        if is_capacity(deal.request):
            offer = decode_body(Amend, await self.document(order, kept.AMEND_OFFER))
        message = KeyRelease(
            request_id=deal.request.request_id,
            agreement_hash=deal.agreement_hash,
            cipher_bytes=len(box),
            cipher_hash=keccak256(box),
            statement_commit=bytes(32) if offer is None else offer.statement_commit,
            amend_signature=b"" if offer is None else offer.requester_signature,
        )
        frame = await self._frames.frame(message)
        raw = await self._direct.ask(await self.peer(deal), KEY_EXCHANGE, frame + box)
        answer = self.read(raw, ProverAck, deal.winner.prover)
        if answer.agreement_hash != deal.agreement_hash:
            raise Refused(WireCode.WRONG_AGREEMENT)
        if answer.verdict != AckVerdict.START:
            verdict = AckVerdict(answer.verdict).name if answer.verdict <= max(AckVerdict) else "UNKNOWN"
            await self.loop.happen(order.order_id, Event.DECLINE_RECEIVED, reason=f"DECLINED_{verdict}")
            return
        ack = Ack(
            agreement_hash=deal.agreement_hash,
            payload_commit=deal.request.payload_commit,
            ack_at=answer.ack_at,
        )
        market = self._frames.market
        digest = ack_digest(market.chain_id, market.contract, ack)
        if answer.ack_at > order.ack_by or not _is_by(deal.winner.prover, digest, answer.ack_signature):
            raise Refused(WireCode.BAD_VERDICT, "an Ack that L1 would not accept")
        if offer is None:
            await self.loop.happen(order.order_id, Event.ACK_RECEIVED, document={kept.ACK: encode_body(answer)})
            return
        amend = digest_of(self._frames, deal, offer.counter, offer.statement_commit)
        if not _is_by(deal.winner.prover, amend, answer.amend_signature):
            raise Refused(WireCode.BAD_VERDICT, "an Ack without the signed table")
        plan = await self.secret(order, kept.NEXT_PLAN)
        await self.loop.happen(
            order.order_id,
            Event.ACK_RECEIVED,
            document={kept.ACK: encode_body(answer), kept.AMEND: countersigned(offer, answer.amend_signature)},
            secret={kept.PLAN: plan},
            due={"valid_until": unpack_plan(plan).valid_until},
        )

    # -- delivery --------------------------------------------------------------------------------------------------

    async def answer_delivery(self, order: Order, delivery: ProofDelivery, signer: bytes) -> bytes:
        """The receipt frame for a delivery to one of our orders, once it is judged.

        Raises:
            Reject, Ignore: it is not the awarded prover's, too early or too late.
        """
        deal = await self.deal(order)
        if signer != deal.winner.prover or delivery.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=signer)
        if order.state in WAIT_FOR_PROOF:
            await self.loop.happen(
                order.order_id, Event.PROOF_RECEIVED, document={kept.DELIVERY: encode_body(delivery)}
            )
        elif order.state in BEFORE_ACK:
            # The Ack has not arrived. Asking for the payload's answer again brings it, then this delivery is welcome.
            raise Ignore(WireCode.BAD_VERDICT, state=order.state.value)
        await self.loop.wait_for(order.order_id, lambda now: now.state not in BEING_JUDGED)
        stored = await self.optional(order, kept.RECEIPT)
        if stored is None:
            raise Ignore(WireCode.LATE, state=order.state.value)
        return await self._frames.frame(decode_body(DeliveryReceipt, stored))

    async def _verify_delivery(self, order: Order) -> None:
        deal = await self.deal(order)
        plan = await self.plan(order)
        delivery = decode_body(ProofDelivery, await self.document(order, kept.DELIVERY))
        try:
            _require_order(delivery.proofs)
            await self._verifier.verify(plan, deal.agreement, deal.agreement_hash, delivery.proofs)
        except Refused as error:
            refusal = self.receipt(deal, plan, ReceiptVerdict.INVALID_PROOF)
            await self.loop.happen(
                order.order_id, Event.PROOF_INVALID, reason=error.code, document={kept.RECEIPT: refusal}
            )
            return
        # A runner-up gets its receipt only when its proof is the one that is used: two receipts were two promises.
        receipt = {} if order.role is Role.STANDBY else {kept.RECEIPT: self.receipt(deal, plan, ReceiptVerdict.VALID)}
        await self.loop.happen(order.order_id, Event.PROOF_VALID, document=receipt)

    def receipt(self, deal: Deal, plan: PlannedTable, verdict: ReceiptVerdict) -> bytes:
        """Body of a receipt of this moment; only a VALID one is signed for L1."""
        now_s = self._clock.now_ms() // 1000
        signature = b""
        if verdict is ReceiptVerdict.VALID:
            market = self._frames.market
            said = Receipt(agreement_hash=deal.agreement_hash, core_id=plan.core_id, received_at=now_s)
            signature = self._frames.key.sign_digest(receipt_digest(market.chain_id, market.contract, said))
        return encode_body(
            DeliveryReceipt(
                request_id=deal.request.request_id,
                agreement_hash=deal.agreement_hash,
                verdict=int(verdict),
                core_id=plan.core_id,
                received_at=now_s,
                receipt_signature=signature,
            )
        )

    async def answer_decline(self, order: Order, message: DeclineRequest, signer: bytes) -> bytes:
        """Our signature for a decline, if the payload really is not what the request said: we look ourselves.

        Nothing is stored for it: the same question gets the same answer.

        Raises:
            Reject: it is not the awarded prover's, or asks for what no decline gives.
        """
        deal = await self.deal(order)
        if signer != deal.winner.prover or message.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=signer)
        if message.fee_wei > decline_fee(deal.agreement) or message.verdict not in PAID_VERDICTS:
            raise Reject(WireCode.BAD_VERDICT, fee_wei=message.fee_wei, verdict=message.verdict)
        market = self._frames.market
        agreed = Decline(agreement_hash=deal.agreement_hash, verdict=message.verdict, fee_wei=message.fee_wei)
        digest = decline_digest(market.chain_id, market.contract, agreed)
        if not _is_by(signer, digest, message.prover_signature):
            raise Reject(WireCode.BAD_SIGNATURE, signer=signer)
        wanted, payload = await self._released(order, deal)
        signature = b""
        try:
            judge_payload(wanted, payload)
        except PayloadRefused as refused:
            log.warning("order %s: our payload breaks its envelope: %s", order.order_id.hex()[:8], refused.reason)
            signature = self._frames.key.sign_digest(digest)
        return await self._frames.frame(
            DeclineReply(
                request_id=message.request_id, agreement_hash=deal.agreement_hash, requester_signature=signature
            )
        )

    async def _released(self, order: Order, deal: Deal) -> tuple[RequestCommit, bytes]:
        """What a prover was told that it would get, and the payload that it got."""
        if not is_capacity(deal.request) and not await self.optional(order, kept.AMEND):
            return deal.request, (await self.plan(order)).payload
        plan = await self.told(order) or await self.plan(order)
        statement = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
        return kept.amended(deal.request, statement, plan.payload), plan.payload

    async def told(self, order: Order) -> PlannedTable | None:
        """The table that the prover of a request for capacity was told last; None before."""
        if await self.optional(order, kept.AMEND):
            return await self.plan(order)
        named = await self.loop.secret(order.order_id, kept.NEXT_PLAN)
        return None if named is None else unpack_plan(named)

    # -- the bond --------------------------------------------------------------------------------------------------

    async def settlement(self, order: Order, salt: bytes) -> bytes:
        """What L1 reads the agreement from; `salt` opens its statement."""
        accepted, amend = await self.document(order, kept.ACCEPT), await self.optional(order, kept.AMEND)
        return settlement_of(await self.deal(order), salt, accepted, amend)

    async def build_slash(self, order: Order, failover: bytes = b"") -> None:
        """Signs the transaction that takes the bond.

        Args:
            failover: core id and settlement of the later rank that was paid instead; empty if nobody was.

        Raises:
            TryAgain: not now; the slash window ends by itself.
        """
        ack = decode_body(ProverAck, await self.document(order, kept.ACK))
        # An Ack that L1 was shown is not shown again.
        packed_ack = pack_dated(ack.ack_at, by_key(ack.ack_signature)) if ack.ack_signature else b""
        settlement = await self.settlement(order, (await self.plan(order)).salt)
        data = slash(settlement, packed_ack, failover)
        await self._slash.prepare(order, data)
        await self.loop.happen(order.order_id, Event.SLASH_SIGNED)

    async def send_slash(self, order: Order) -> None:
        """Sends it."""
        await self._chain.send(self._slash.purpose(order))

    async def observe_slash(self, order: Order) -> None:
        """What L1 says about the bond of an order in SLASH_UNDER_WAY."""
        deal = await self.deal(order)
        if await self._chain.is_slashed(deal.agreement_hash):
            await self.loop.happen(order.order_id, Event.SLASH_SEEN)
        elif (freed := _freed(await self._chain.agreement(deal.agreement_hash))) and order.state in SLASH_UNSIGNED:
            await self.loop.happen(order.order_id, Event.SLASH_FAILED, reason=freed)
        elif order.state in (State.SLASHING, State.S_SLASHING):
            if await self._slash.landing(order) is Landing.FAILED:
                await self.loop.happen(order.order_id, Event.SLASH_FAILED, reason="SLASH_REVERTED")
            else:
                await self._slash.send_again(order)

    # -- reading what is stored ------------------------------------------------------------------------------------

    async def optional(self, order: Order, name: str) -> bytes | None:
        """A document, if it is there."""
        return await self.loop.document(order.order_id, name)

    async def document(self, order: Order, name: str) -> bytes:
        """A document that the order's state says is there."""
        return await self.loop.needed(order, name)

    async def secret(self, order: Order, name: str) -> bytes:
        """A secret that the order's state says is there."""
        return await self.loop.needed_secret(order, name)

    async def plan(self, order: Order) -> PlannedTable:
        """The order's table."""
        return unpack_plan(await self.secret(order, kept.PLAN))

    async def deal(self, order: Order) -> Deal:
        """Its request and award."""
        return await self.loop.deal(order)

    async def peer(self, deal: Deal) -> Peer:
        """Where the awarded prover can be asked, as its bid said."""
        stored = await self._in_thread(lambda: self._store.bids(deal.request.request_id))
        body = next(bid.body for bid in stored if bid.prover == deal.winner.prover)
        bid = decode_body(BidCommit, body)
        return Peer(peer_id=bid.peer_id, addresses=bid.addresses)

    def read(self, raw: bytes, kind: type[M], signer: bytes) -> M:
        """A checked answer. Raises Refused."""
        try:
            message = self._frames.read(raw, kind, signer=signer).message
        except (Reject, Ignore) as error:
            raise Refused(error.reason, "a malformed answer") from error
        assert isinstance(message, kind)
        return message


def _freed(view: AgreementView) -> str:
    """Why a prover owes nothing under an agreement, as L1 says; empty if it may."""
    if view.is_delivered:
        return "DELIVERED_UNPAID"
    return "RELIEVED" if view.is_relieved else ""


def _require_order(proofs: tuple[RollupProof, ...]) -> None:
    """Valid proofs in another order, or one of them twice, are packed and taken by nobody: not even by us.

    Raises:
        Refused: PROOFS_ORDER.
    """
    places = [(proof.rollup_id, proof.system) for proof in proofs]
    if any(earlier >= later for earlier, later in pairwise(places)):
        raise Refused("PROOFS_ORDER", "proofs do not ascend by rollup and system")


def _is_by(signer: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        return recover_signer(digest, signature) == signer
    except Reject:
        return False
