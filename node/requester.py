"""The requester's side of an order: what its effects do and what its messages mean. The order moves in `node.broker`.

Only this file and the planner see the plaintext of a table before it lands. Everything that is signed here is stored
before it is sent.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.auction import ReceivedBid, choose
from market.effects import Effect
from market.lifecycle import Event, Order, Role, State
from market.tickets import highest_payable
from node import market_state as kept
from node.broker import OrderLoop, Resender
from node.frames import FrameWriter
from node.l1 import load_and_run, slash
from node.market_state import Deal, pack_plan, pack_request, unpack_deal, unpack_plan, unpack_request
from node.ports import (
    Chain,
    ChainCall,
    Clock,
    Direct,
    Gossip,
    InThread,
    Landing,
    Peer,
    PlannedTable,
    Refused,
    TryAgain,
    Verifier,
)
from node.ready import ReadyTables
from node.store.orders import OrderStore
from protocol.agreement import (
    Ack,
    Receipt,
    Settlement,
    awarded_agreement,
    by_key,
    pack_dated,
    pack_settlement,
)
from protocol.codec import decode_body, encode_body
from protocol.commitments import request_id
from protocol.errors import Ignore, Reject
from protocol.hashing import keccak256
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import (
    AckVerdict,
    Award,
    AwardAccept,
    BidCommit,
    Cancel,
    DeliveryReceipt,
    KeyRelease,
    Message,
    ProofDelivery,
    ProverAck,
    ReceiptVerdict,
    RequestCommit,
    RollupProof,
)
from protocol.payload import payload_commit
from protocol.reqresp import AWARD_EXCHANGE, KEY_EXCHANGE, PROOF_EXCHANGE
from protocol.sealing import SealError, SealKeyPair, payload_info, seal
from protocol.signing import ack_digest, agreement_digest, receipt_digest, recover_signer
from protocol.table import statement_commit
from protocol.types import Address, Hash32
from protocol.verdicts import WireCode

M = TypeVar("M", bound=Message)

log = logging.getLogger("unveto.requester")

WATCHED: Final = frozenset(
    {State.TX_SENT, State.LANDED, State.OWING, State.LAPSED, State.DEFAULTED, State.SLASH_DUE, State.SLASHING}
)
"""States in which the chain may say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Windows and limits of one auction, as configured."""

    bid_window_ms: int
    accept_window_ms: int
    ack_window_ms: int
    prove_window_ms: int
    claim_window_s: int
    max_price_wei: int
    bond_min_wei: int
    ready_wait_ms: int
    """How long proposers have to pull the ready table before the transaction is sent."""
    is_submitted: bool
    """Whether the transaction is sent when the proof is verified; else `submit` waits for the user."""


class Requester:
    """Runs the auctions of one account. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: Chain,
        verifier: Verifier,
        frames: FrameWriter,
        ready: ReadyTables,
        terms: Terms,
        rollups: bytes,
        poll_ms: int,
    ) -> None:
        """
        Args:
            rollups: address of the Rollups contract.
            poll_ms: time between two looks at the chain for one order.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._gossip = gossip
        self._direct = direct
        self._chain = chain
        self._verifier = verifier
        self._frames = frames
        self._ready = ready
        self._terms = terms
        self._rollups = rollups
        self._resend = Resender(chain, clock)
        self._submitted: set[bytes] = set()
        self._submit = trio.Event()
        self.loop = OrderLoop(
            Role.REQUESTER,
            store=store,
            in_thread=in_thread,
            clock=clock,
            perform={
                Effect.PUBLISH_REQUEST: self._publish_request,
                Effect.CHOOSE_WINNER: self._choose_winner,
                Effect.PUBLISH_AWARD: self._publish_award,
                Effect.ASK_ACCEPTANCE: self._ask_acceptance,
                Effect.SEAL_PAYLOAD: self._seal_payload,
                Effect.RELEASE_PAYLOAD: self._release_payload,
                Effect.VERIFY_DELIVERY: self._verify_delivery,
                Effect.BUILD_TRANSACTION: self._build_transaction,
                Effect.ANNOUNCE_READY: self._announce_ready,
                Effect.SEND_TRANSACTION: self._send_transaction,
                Effect.BUILD_SLASH: self._build_slash,
                Effect.PUBLISH_CANCEL: self._publish_cancel,
            },
            observe=self._observe,
            watched=WATCHED,
            poll_ms=poll_ms,
        )

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.loop.serve)
            self._direct.serve(PROOF_EXCHANGE, self._answer_delivery)
            self._ready.serve()
            nursery.start_soon(self._read_bids)
            task_status.started()

    # -- what a user asks for --------------------------------------------------------------------------------------

    async def request(self, plan: PlannedTable, *, ticket: int, origin: bytes = b"") -> Order:
        """Stores an order for a planned table and starts its auction.

        Args:
            ticket: our escrow ticket that will pay.
            origin: what the user's wish is called; stored with the order, so that one wish is one order.

        Raises:
            Refused: TICKET_BUSY, another live order has taken it; NO_TICKET, it is not free on L1.
            TryAgain: L1 cannot be asked.
        """
        if ticket in await self._in_thread(lambda: self._store.tickets_in_use(Role.REQUESTER)):
            raise Refused("TICKET_BUSY", f"ticket {ticket} pays for another order that has not ended")
        if await self._chain.ticket_wei(self._frames.key.address, ticket) is None:
            raise Refused("NO_TICKET", f"ticket {ticket} is spent, withdrawn or was never deposited")
        now_ms = self._clock.now_ms()
        terms = self._terms
        key_secret = secrets.token_bytes(32)
        key = SealKeyPair(key_secret)
        bid_close_ms = now_ms + terms.bid_window_ms
        award_by_ms = bid_close_ms + terms.accept_window_ms // 2
        accept_by_ms = bid_close_ms + terms.accept_window_ms
        ack_by = -(-(accept_by_ms + terms.ack_window_ms) // 1000)
        deliver_by = max(ack_by, -(-(accept_by_ms + terms.prove_window_ms) // 1000))
        statement = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
        payload = payload_commit(plan.payload)
        us = self._frames.key.address
        message = RequestCommit(
            request_id=request_id(us, statement, payload, key.public),
            statement_commit=statement,
            payload_commit=payload,
            seal_key=key.public,
            systems_hash=plan.systems_hash,
            tier=plan.tier,
            proof_count=plan.proof_count,
            work_log2=plan.work_log2,
            size_log2=plan.size_log2,
            bid_close_ms=bid_close_ms,
            award_by_ms=award_by_ms,
            accept_by_ms=accept_by_ms,
            ack_by=ack_by,
            deliver_by=deliver_by,
            claim_by=deliver_by + terms.claim_window_s,
            requester_ticket=ticket,
            bond_min_wei=terms.bond_min_wei,
            privacy=0,
            peer_id=self._direct.own.peer_id,
            addresses=self._direct.own.addresses,
        )
        order = Order(
            order_id=message.request_id,
            role=Role.REQUESTER,
            state=State.DRAFT,
            bid_close_ms=bid_close_ms,
            award_by_ms=award_by_ms,
            accept_by_ms=accept_by_ms,
            ack_by=ack_by,
            deliver_by=deliver_by,
            claim_by=message.claim_by,
            valid_until=plan.valid_until,
        )
        await self.loop.open(
            order,
            ticket=ticket,
            document={kept.REQUEST: pack_request(us, message), kept.ORIGIN: origin},
            secret={kept.PLAN: pack_plan(plan), kept.SEAL: key_secret},
        )
        started = await self.loop.happen(order.order_id, Event.COMMIT)
        assert started is not None  # nobody else knows the order yet
        return started

    async def cancel(self, order_id: bytes) -> bool:
        """Withdraws an order that is not awarded; False if it is too late."""
        return await self.loop.happen(order_id, Event.CANCEL, reason="CANCELLED") is not None

    def submit(self, order_id: bytes) -> None:
        """Lets an order's transaction be sent where configuration keeps it back."""
        self._submitted.add(order_id)
        self._submit.set()
        self._submit = trio.Event()

    # -- auction ---------------------------------------------------------------------------------------------------

    async def _publish_request(self, order: Order) -> None:
        _, message = unpack_request(await self._document(order, kept.REQUEST))
        await self._gossip.publish("req", await self._frames.frame(message))

    async def _publish_cancel(self, order: Order) -> None:
        await self._gossip.publish("award", await self._frames.frame(Cancel(request_id=order.order_id, reason=0)))

    async def _read_bids(self) -> None:
        async for frame in self._gossip.frames("bid"):
            prover, body = frame[52:72], frame[80:-65]
            bid = decode_body(BidCommit, body)
            order = self.loop.order(bid.request_id)
            if order is not None and order.state is State.COMMITTED:
                received_ms = self._clock.now_ms()
                if received_ms < order.bid_close_ms:
                    await self._in_thread(partial(self._store.add_bid, bid.request_id, prover, body, received_ms))

    async def _choose_winner(self, order: Order) -> None:
        us, request = unpack_request(await self._document(order, kept.REQUEST))
        key = SealKeyPair(await self._secret(order, kept.SEAL))
        stored = await self._in_thread(lambda: self._store.bids(order.order_id))
        received = [ReceivedBid(prover=bid.prover, bid=decode_body(BidCommit, bid.body)) for bid in stored]
        ticket_wei = await self._chain.ticket_wei(us, request.requester_ticket)
        if ticket_wei is None:
            await self.loop.happen(order.order_id, Event.NO_BIDS, reason="NO_TICKET")
            return
        limit_wei = highest_payable(ticket_wei, self._terms.max_price_wei)
        outcome = choose(request, received, key, limit_wei)
        for prover, reason in outcome.void:
            log.info("order %s: bid of 0x%s is void: %s", order.order_id.hex()[:8], prover.hex(), reason)
        if not outcome.ranked:
            await self.loop.happen(
                order.order_id, Event.NO_BIDS, reason="NO_VALID_BIDS" if outcome.bid_count else "NO_BIDS"
            )
            return
        unsigned = Award(
            request_id=order.order_id,
            rank=1,
            bids_root=outcome.bids_root,
            bid_count=outcome.bid_count,
            openings=outcome.ranked,
            agreement_hash=bytes(32),
            requester_signature=bytes(65),
        )
        market = self._frames.market
        digest = agreement_digest(market.chain_id, market.contract, awarded_agreement(us, request, unsigned))
        award = Award(
            request_id=unsigned.request_id,
            rank=unsigned.rank,
            bids_root=unsigned.bids_root,
            bid_count=unsigned.bid_count,
            openings=unsigned.openings,
            agreement_hash=digest,
            requester_signature=self._frames.key.sign_digest(digest),
        )
        await self.loop.happen(order.order_id, Event.WINNER_CHOSEN, document={kept.AWARD: encode_body(award)})

    async def _publish_award(self, order: Order) -> None:
        deal = await self._deal(order)
        await self._gossip.publish("award", await self._frames.frame(deal.award))

    async def _ask_acceptance(self, order: Order) -> None:
        deal = await self._deal(order)
        frame = await self._frames.frame(deal.award)
        raw = await self._direct.ask(await self._winner(order, deal), AWARD_EXCHANGE, frame)
        answer = self._read(raw, AwardAccept, deal.winner.prover)
        if answer.agreement_hash != deal.agreement_hash or not _is_by(
            deal.winner.prover, deal.agreement_hash, answer.prover_signature
        ):
            raise Refused(WireCode.BAD_AGREEMENT, "the winner signed something else")
        await self.loop.happen(order.order_id, Event.ACCEPT_RECEIVED, document={kept.ACCEPT: answer.prover_signature})

    # -- payload ---------------------------------------------------------------------------------------------------

    async def _seal_payload(self, order: Order) -> None:
        deal = await self._deal(order)
        plan = await self._plan(order)
        try:
            box = seal(plan.payload, deal.opening.seal_key, payload_info(deal.agreement_hash))
        except SealError:
            await self.loop.happen(order.order_id, Event.ACK_TIMEOUT, reason="BAD_SEAL_KEY")
            return
        await self.loop.happen(order.order_id, Event.PAYLOAD_SEALED, document={kept.BOX: box})

    async def _release_payload(self, order: Order) -> None:
        deal = await self._deal(order)
        box = await self._document(order, kept.BOX)
        message = KeyRelease(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            cipher_bytes=len(box),
            cipher_hash=keccak256(box),
        )
        frame = await self._frames.frame(message)
        raw = await self._direct.ask(await self._winner(order, deal), KEY_EXCHANGE, frame + box)
        answer = self._read(raw, ProverAck, deal.winner.prover)
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
        await self.loop.happen(order.order_id, Event.ACK_RECEIVED, document={kept.ACK: encode_body(answer)})

    # -- delivery --------------------------------------------------------------------------------------------------

    async def _answer_delivery(self, data: bytes) -> bytes:
        received = self._frames.read(data, ProofDelivery, signer=None)
        delivery = received.message
        assert isinstance(delivery, ProofDelivery)
        order = self.loop.order(delivery.request_id)
        if order is None:
            raise Ignore(WireCode.UNKNOWN_REQUEST, request_id=delivery.request_id)
        if await self._optional(order, kept.AWARD) is None:
            raise Reject(WireCode.WRONG_AGREEMENT)
        deal = await self._deal(order)
        if received.signer != deal.winner.prover or delivery.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=received.signer)
        if order.state is State.PROVING:
            await self.loop.happen(
                order.order_id, Event.PROOF_RECEIVED, document={kept.DELIVERY: encode_body(delivery)}
            )
        elif order.state in (State.KEYED, State.ACCEPTED):
            # The Ack has not arrived. Asking for the payload's answer again brings it, then this delivery is welcome.
            raise Ignore(WireCode.BAD_VERDICT, state=order.state.value)
        await self.loop.wait_for(order.order_id, lambda now: now.state is not State.DELIVERED)
        stored = await self._optional(order, kept.RECEIPT)
        if stored is None:
            raise Ignore(WireCode.LATE, state=order.state.value)
        return await self._frames.frame(decode_body(DeliveryReceipt, stored))

    async def _verify_delivery(self, order: Order) -> None:
        deal = await self._deal(order)
        plan = await self._plan(order)
        delivery = decode_body(ProofDelivery, await self._document(order, kept.DELIVERY))
        now_s = self._clock.now_ms() // 1000
        try:
            _require_order(delivery.proofs)
            await self._verifier.verify(plan, deal.agreement, deal.agreement_hash, delivery.proofs)
        except Refused as error:
            refusal = self._receipt(deal, plan, ReceiptVerdict.INVALID_PROOF, now_s, b"")
            await self.loop.happen(
                order.order_id, Event.PROOF_INVALID, reason=error.code, document={kept.RECEIPT: refusal}
            )
            return
        market = self._frames.market
        digest = receipt_digest(
            market.chain_id,
            market.contract,
            Receipt(agreement_hash=deal.agreement_hash, core_id=plan.core_id, received_at=now_s),
        )
        signed = self._receipt(deal, plan, ReceiptVerdict.VALID, now_s, self._frames.key.sign_digest(digest))
        await self.loop.happen(order.order_id, Event.PROOF_VALID, document={kept.RECEIPT: signed})

    @staticmethod
    def _receipt(deal: Deal, plan: PlannedTable, verdict: ReceiptVerdict, now_s: int, signature: bytes) -> bytes:
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

    # -- landing ---------------------------------------------------------------------------------------------------

    async def _build_transaction(self, order: Order) -> None:
        deal = await self._deal(order)
        plan = await self._plan(order)
        delivery = decode_body(ProofDelivery, await self._document(order, kept.DELIVERY))
        proofs = Proofs(
            payee=Address(deal.opening.payee),
            agreement_hash=Hash32(deal.agreement_hash),
            items=tuple(
                ProofItem(rollup_id=item.rollup_id, system=Address(item.system), proof=item.proof)
                for item in delivery.proofs
            ),
        )
        data = load_and_run(
            plan.core, encode_proofs(proofs), plan.expects, plan.triggers, await self._settlement(order, deal, plan)
        )
        call = ChainCall(purpose=_landing_of(order), to=self._rollups, data=data, value_wei=plan.value_wei)
        try:
            prepared = await self._chain.prepare(call)
        except Refused as error:
            # A root or a result on L1 has moved since planning. The prover is still owed its price.
            await self.loop.happen(order.order_id, Event.TABLE_EXPIRED, reason=error.code)
            return
        table = secrets.token_bytes(32) + len(prepared.raw).to_bytes(4, "big") + prepared.raw
        await self.loop.happen(order.order_id, Event.TX_SIGNED, secret={kept.TABLE: table})

    async def _settlement(self, order: Order, deal: Deal, plan: PlannedTable) -> bytes:
        return pack_settlement(
            Settlement(
                agreement=deal.agreement,
                salt=plan.salt,
                requester_signature=by_key(deal.award.requester_signature),
                prover_signature=by_key(await self._document(order, kept.ACCEPT)),
            )
        )

    async def _announce_ready(self, order: Order) -> None:
        _, request = unpack_request(await self._document(order, kept.REQUEST))
        table = await self._secret(order, kept.TABLE)
        await self._ready.announce(table, ticket=request.requester_ticket, valid_until=order.valid_until)

    async def _send_transaction(self, order: Order) -> None:
        if order.state is State.SLASHING:
            await self._chain.send(_slash_of(order))
            return
        while not self._terms.is_submitted and order.order_id not in self._submitted:
            await self._submit.wait()
        history = await self._in_thread(lambda: self._store.history(order.order_id, Role.REQUESTER))
        signed_ms = next(line.at_ms for line in reversed(history) if line.target is State.TX_STORED)
        await self._clock.sleep_until(signed_ms + self._ready.wait_ms(self._terms.ready_wait_ms))
        try:
            await self._chain.send(_landing_of(order))
        except Refused as error:
            raise TryAgain(error.code, str(error)) from error  # the table's end decides, not one client's opinion
        await self.loop.happen(order.order_id, Event.TX_ACCEPTED)

    async def _build_slash(self, order: Order) -> None:
        deal = await self._deal(order)
        plan = await self._plan(order)
        ack = decode_body(ProverAck, await self._document(order, kept.ACK))
        packed_ack = pack_dated(ack.ack_at, by_key(ack.ack_signature))
        data = slash(await self._settlement(order, deal, plan), packed_ack)
        try:
            await self._chain.prepare(ChainCall(purpose=_slash_of(order), to=self._frames.market.contract, data=data))
        except Refused as error:
            raise TryAgain(error.code, str(error)) from error  # its window ends by itself
        await self.loop.happen(order.order_id, Event.SLASH_SIGNED)

    async def _observe(self, order: Order) -> None:
        """What L1 says about an order that waits for it."""
        match order.state:
            case State.TX_SENT:
                landing = await self._chain.landing(_landing_of(order))
                if landing is Landing.SUCCEEDED:
                    await self.loop.happen(order.order_id, Event.TX_LANDED)
                elif landing is Landing.FAILED:
                    await self.loop.happen(order.order_id, Event.TX_FAILED, reason="TX_REVERTED")
                else:
                    await self._resend.send(_landing_of(order))
            case State.LANDED | State.OWING | State.LAPSED | State.DEFAULTED:
                deal, plan = await self._deal(order), await self._plan(order)
                if await self._chain.is_paid(deal.agreement, deal.agreement_hash, plan.core_id):
                    await self.loop.happen(order.order_id, Event.PAYMENT_SEEN)
            case State.SLASH_DUE | State.SLASHING:
                deal = await self._deal(order)
                if await self._chain.is_slashed(deal.agreement_hash):
                    await self.loop.happen(order.order_id, Event.SLASH_SEEN)
                elif order.state is State.SLASHING:
                    if await self._chain.landing(_slash_of(order)) is Landing.FAILED:
                        await self.loop.happen(order.order_id, Event.SLASH_FAILED, reason="SLASH_REVERTED")
                    else:
                        await self._resend.send(_slash_of(order))
            case _:
                pass

    # -- reading what is stored ------------------------------------------------------------------------------------

    async def _optional(self, order: Order, name: str) -> bytes | None:
        return await self.loop.document(order.order_id, name)

    async def _document(self, order: Order, name: str) -> bytes:
        found = await self.loop.document(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def _secret(self, order: Order, name: str) -> bytes:
        found = await self.loop.secret(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def _plan(self, order: Order) -> PlannedTable:
        return unpack_plan(await self._secret(order, kept.PLAN))

    async def _deal(self, order: Order) -> Deal:
        return unpack_deal(await self._document(order, kept.REQUEST), await self._document(order, kept.AWARD))

    async def _winner(self, order: Order, deal: Deal) -> Peer:
        stored = await self._in_thread(lambda: self._store.bids(order.order_id))
        body = next(bid.body for bid in stored if bid.prover == deal.winner.prover)
        bid = decode_body(BidCommit, body)
        return Peer(peer_id=bid.peer_id, addresses=bid.addresses)

    def _read(self, raw: bytes, kind: type[M], signer: bytes) -> M:
        try:
            message = self._frames.read(raw, kind, signer=signer).message
        except (Reject, Ignore) as error:
            raise Refused(error.reason, "a malformed answer") from error
        assert isinstance(message, kind)
        return message


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


def _landing_of(order: Order) -> str:
    return f"land {order.order_id.hex()}"


def _slash_of(order: Order) -> str:
    return f"slash {order.order_id.hex()}"
