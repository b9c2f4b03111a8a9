"""The life of an order as one table (SPEC §10): what is true in each state, `market.states` says.

An order changes only by `advance`, which looks up (state, event) and says what must happen next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from market.effects import Effect
from market.errors import InvalidTransition
from market.states import Event as Event
from market.states import Role as Role
from market.states import State as State
from protocol.constants import SLASH_WINDOW


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads, and what must happen then."""

    target: State
    effects: tuple[Effect, ...] = ()


def _table() -> Iterator[tuple[tuple[State, Event], Step]]:
    s, e, f = State, Event, Effect
    rows: tuple[tuple[State, Event, State, tuple[Effect, ...]], ...] = (
        (s.DRAFT, e.COMMIT, s.COMMITTED, (f.PUBLISH_REQUEST,)),
        (s.DRAFT, e.CANCEL, s.CANCELLED, ()),
        (s.COMMITTED, e.BIDS_CLOSED, s.CLOSED, (f.CHOOSE_WINNER,)),
        (s.COMMITTED, e.CANCEL, s.CANCELLED, (f.PUBLISH_CANCEL,)),
        (s.CLOSED, e.WINNER_CHOSEN, s.AWARDED, (f.PUBLISH_AWARD, f.ASK_ACCEPTANCE)),
        (s.CLOSED, e.NO_BIDS, s.EXPIRED, (f.PUBLISH_CANCEL, f.REAUCTION)),  # else its ticket stays taken for every peer
        (s.CLOSED, e.CANCEL, s.CANCELLED, (f.PUBLISH_CANCEL,)),
        (s.AWARDED, e.ACCEPT_RECEIVED, s.ACCEPTED, (f.SEAL_PAYLOAD,)),
        (s.AWARDED, e.ACCEPT_TIMEOUT, s.LAPSED, (f.REAUCTION,)),
        (s.ACCEPTED, e.PAYLOAD_SEALED, s.KEYED, (f.RELEASE_PAYLOAD,)),
        (s.ACCEPTED, e.ACK_TIMEOUT, s.LAPSED, (f.REAUCTION,)),
        (s.KEYED, e.ACK_RECEIVED, s.PROVING, ()),
        (s.KEYED, e.DECLINE_RECEIVED, s.LAPSED, (f.REAUCTION,)),
        (s.KEYED, e.ACK_TIMEOUT, s.LAPSED, (f.CHASE, f.REAUCTION)),
        (s.PROVING, e.PROOF_RECEIVED, s.DELIVERED, (f.VERIFY_DELIVERY,)),
        (s.PROVING, e.PROOF_TIMEOUT, s.DEFAULTED, (f.REAUCTION,)),
        (s.PROVING, e.PLAN_STALE, s.AMENDING, (f.REPLAN,)),
        (s.AMENDING, e.AMEND_SIGNED, s.AMENDED, (f.SEND_AMEND,)),
        (s.AMENDING, e.AMEND_REFUSED, s.PROVING, ()),
        (s.AMENDING, e.PROOF_RECEIVED, s.DELIVERED, (f.VERIFY_DELIVERY,)),
        (s.AMENDING, e.PROOF_TIMEOUT, s.DEFAULTED, (f.REAUCTION,)),
        (s.AMENDED, e.AMEND_ACCEPTED, s.PROVING, (f.RECORD_AMEND,)),
        (s.AMENDED, e.AMEND_REFUSED, s.PROVING, ()),
        (s.AMENDED, e.PROOF_RECEIVED, s.DELIVERED, (f.VERIFY_DELIVERY,)),
        (s.AMENDED, e.PROOF_TIMEOUT, s.DEFAULTED, (f.REAUCTION,)),
        (s.DELIVERED, e.PROOF_VALID, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.DELIVERED, e.PROOF_INVALID, s.PROVING, ()),
        (s.VERIFIED, e.TX_SIGNED, s.TX_STORED, (f.ANNOUNCE_READY, f.SEND_TRANSACTION)),
        (s.VERIFIED, e.TABLE_EXPIRED, s.OWING, ()),
        (s.TX_STORED, e.TX_ACCEPTED, s.TX_SENT, ()),
        (s.TX_STORED, e.TABLE_EXPIRED, s.OWING, ()),
        (s.TX_SENT, e.TX_LANDED, s.LANDED, ()),
        (s.TX_SENT, e.TX_FAILED, s.OWING, ()),
        (s.LANDED, e.PAYMENT_SEEN, s.PAID, ()),
        (s.LANDED, e.CLAIMS_OVER, s.REFUNDED, ()),
        (s.OWING, e.PAYMENT_SEEN, s.PAID, ()),
        (s.OWING, e.CLAIMS_OVER, s.REFUNDED, ()),
        (s.LAPSED, e.PAYMENT_SEEN, s.PAID, ()),
        (s.LAPSED, e.CLAIMS_OVER, s.REFUNDED, ()),
        (s.DEFAULTED, e.PAYMENT_SEEN, s.PAID, ()),
        (s.DEFAULTED, e.CLAIMS_OVER, s.SLASH_DUE, (f.BUILD_SLASH,)),
        *((state, e.CANCEL, s.WITHDRAWN, ()) for state in (s.AWARDED, s.ACCEPTED, s.KEYED, s.LAPSED)),
        *((state, e.CANCEL, s.GIVEN_UP, ()) for state in (s.PROVING, s.AMENDING, s.AMENDED, s.DEFAULTED)),
        (s.VERIFIED, e.CANCEL, s.OWING, ()),
        (s.WITHDRAWN, e.PAYMENT_SEEN, s.PAID, ()),
        (s.WITHDRAWN, e.CLAIMS_OVER, s.REFUNDED, ()),
        (s.GIVEN_UP, e.PAYMENT_SEEN, s.PAID, ()),
        (s.GIVEN_UP, e.CLAIMS_OVER, s.SLASH_DUE, (f.BUILD_SLASH,)),
        (s.SLASH_DUE, e.SLASH_SIGNED, s.SLASHING, (f.SEND_TRANSACTION,)),
        (s.SLASH_DUE, e.SLASH_SEEN, s.SLASHED, ()),
        (s.SLASH_DUE, e.SLASH_FAILED, s.REFUNDED, ()),
        (s.SLASHING, e.SLASH_SEEN, s.SLASHED, ()),
        (s.SLASHING, e.SLASH_FAILED, s.REFUNDED, ()),
        (s.AWARDED, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.ACCEPTED, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.KEYED, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.PROVING, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.LAPSED, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        (s.DEFAULTED, e.TAKEN_OVER, s.VERIFIED, (f.BUILD_TRANSACTION,)),
        #
        (s.S_DRAFT, e.COMMIT, s.S_AWARDED, (f.PUBLISH_AWARD, f.ASK_ACCEPTANCE)),
        (s.S_DRAFT, e.CANCEL, s.S_SPARE, ()),
        (s.S_AWARDED, e.ACCEPT_RECEIVED, s.S_READY, ()),
        (s.S_AWARDED, e.ACCEPT_TIMEOUT, s.S_SPARE, ()),
        (s.S_AWARDED, e.NOT_NEEDED, s.S_SPARE, (f.STAND_DOWN,)),
        (s.S_READY, e.CALLED, s.S_CALLED, (f.SEAL_PAYLOAD,)),
        (s.S_READY, e.NOT_NEEDED, s.S_SPARE, (f.STAND_DOWN,)),
        (s.S_CALLED, e.PAYLOAD_SEALED, s.S_KEYED, (f.RELEASE_PAYLOAD,)),
        (s.S_CALLED, e.ACK_TIMEOUT, s.S_SPARE, ()),
        (s.S_CALLED, e.NOT_NEEDED, s.S_SPARE, (f.STAND_DOWN,)),
        (s.S_KEYED, e.ACK_RECEIVED, s.S_PROVING, ()),
        (s.S_KEYED, e.DECLINE_RECEIVED, s.S_SPARE, ()),
        (s.S_KEYED, e.ACK_TIMEOUT, s.S_SILENT, ()),
        (s.S_KEYED, e.NOT_NEEDED, s.S_SPARE, (f.STAND_DOWN,)),
        (s.S_SILENT, e.FORCE_DUE, s.S_FORCE_DUE, (f.BUILD_RELEASE,)),
        *((state, e.NOT_NEEDED, s.S_SPARE, ()) for state in (s.S_SILENT, s.S_FORCE_DUE, s.S_FORCED, s.S_PEEKED)),
        (s.S_FORCE_DUE, e.NOT_FORCED, s.S_SPARE, ()),
        (s.S_FORCE_DUE, e.RELEASE_SIGNED, s.S_FORCING, (f.SEND_TRANSACTION,)),
        (s.S_FORCING, e.RELEASE_SEEN, s.S_FORCED, ()),
        (s.S_FORCING, e.RELEASE_FAILED, s.S_SPARE, ()),
        (s.S_FORCED, e.ACK_RECEIVED, s.S_PROVING, ()),
        (s.S_FORCED, e.RELEASE_DECLINED, s.S_SPARE, ()),
        (s.S_FORCED, e.RESPONSE_OVER, s.S_PEEKED, (f.BUILD_PENALTY,)),
        (s.S_PEEKED, e.PENALTY_SIGNED, s.S_FINING, (f.SEND_TRANSACTION,)),
        (s.S_PEEKED, e.PENALTY_SEEN, s.S_FINED, ()),
        (s.S_PEEKED, e.PENALTY_FAILED, s.S_KEPT, ()),
        (s.S_FINING, e.PENALTY_SEEN, s.S_FINED, ()),
        (s.S_FINING, e.PENALTY_FAILED, s.S_KEPT, ()),
        (s.S_PROVING, e.PROOF_RECEIVED, s.S_DELIVERED, (f.VERIFY_DELIVERY,)),
        (s.S_PROVING, e.PROOF_TIMEOUT, s.S_MISSED, ()),
        (s.S_PROVING, e.NOT_NEEDED, s.S_SPARE, ()),
        (s.S_DELIVERED, e.PROOF_VALID, s.S_VERIFIED, (f.TAKE_OVER,)),
        (s.S_DELIVERED, e.PROOF_INVALID, s.S_PROVING, ()),
        (s.S_VERIFIED, e.CHOSEN, s.S_CHOSEN, ()),
        (s.S_VERIFIED, e.NOT_NEEDED, s.S_SPARE, ()),
        (s.S_MISSED, e.NOT_NEEDED, s.S_SPARE, ()),
        (s.S_MISSED, e.CLAIMS_OVER, s.S_SLASH_DUE, (f.BUILD_SLASH,)),
        (s.S_SLASH_DUE, e.SLASH_SIGNED, s.S_SLASHING, (f.SEND_TRANSACTION,)),
        (s.S_SLASH_DUE, e.SLASH_SEEN, s.S_SLASHED, ()),
        (s.S_SLASH_DUE, e.SLASH_FAILED, s.S_KEPT, ()),
        (s.S_SLASHING, e.SLASH_SEEN, s.S_SLASHED, ()),
        (s.S_SLASHING, e.SLASH_FAILED, s.S_KEPT, ()),
        #
        (s.SEEN, e.BID_MADE, s.BID, (f.PUBLISH_BID,)),
        (s.SEEN, e.SKIP, s.SKIPPED, ()),
        (s.SEEN, e.REQUEST_CANCELLED, s.SKIPPED, ()),
        (s.BID, e.AWARDED_US, s.WON, (f.SIGN_ACCEPTANCE,)),
        (s.BID, e.AWARDED_OTHER, s.LOST, ()),
        (s.BID, e.NO_AWARD, s.LOST, ()),
        (s.BID, e.REQUEST_CANCELLED, s.LOST, ()),
        (s.WON, e.ACCEPT_SIGNED, s.SIGNED, ()),
        (s.WON, e.PAYLOAD_MISSING, s.RELEASED, ()),
        (s.WON, e.NOT_NEEDED, s.RELEASED, ()),
        (s.SIGNED, e.PAYLOAD_RECEIVED, s.HOLDING, (f.CHECK_PAYLOAD,)),
        (s.SIGNED, e.PAYLOAD_MISSING, s.RELEASED, ()),
        (s.SIGNED, e.NOT_NEEDED, s.RELEASED, ()),
        (s.HOLDING, e.PAYLOAD_GOOD, s.ACKED, (f.START_PROOF,)),
        (s.HOLDING, e.PAYLOAD_BAD, s.DECLINED, ()),
        (s.HOLDING, e.PAYLOAD_MISSING, s.RELEASED, ()),
        (s.HOLDING, e.PAYLOAD_BREAKS, s.DISPUTED, (f.ASK_FEE,)),
        (s.DISPUTED, e.FEE_GRANTED, s.FEE_DUE, (f.BUILD_DECLINE,)),
        (s.DISPUTED, e.FEE_REFUSED, s.DECLINED, ()),
        (s.FEE_DUE, e.DECLINE_SIGNED, s.FEE_SENT, (f.SEND_TRANSACTION,)),
        (s.FEE_DUE, e.FEE_FAILED, s.DECLINED, ()),
        (s.FEE_SENT, e.FEE_SEEN, s.COMPENSATED, ()),
        (s.FEE_SENT, e.FEE_FAILED, s.DECLINED, ()),
        (s.ACKED, e.PROOF_STARTED, s.AT_WORK, ()),
        (s.AT_WORK, e.TABLE_AMENDED, s.ACKED, (f.START_PROOF,)),
        (s.AT_WORK, e.PROOF_MADE, s.PROVED, (f.DELIVER_PROOF,)),
        (s.AT_WORK, e.PROOF_FAILED, s.MISSED, (f.LOOK_FOR_VOID,)),
        (s.ACKED, e.PROOF_FAILED, s.MISSED, (f.LOOK_FOR_VOID,)),
        (s.MISSED, e.VOID_SIGNED, s.VOIDING, (f.SEND_TRANSACTION,)),
        (s.VOIDING, e.VOID_SEEN, s.FORGIVEN, ()),
        (s.VOIDING, e.VOID_FAILED, s.MISSED, ()),
        (s.VOIDING, e.SLASH_SEEN, s.FORFEITED, ()),
        (s.VOIDING, e.CLAIMS_OVER, s.FORGIVEN, ()),
        (s.VOIDING, e.OUTRUN, s.FORGIVEN, ()),
        (s.PROVED, e.RECEIPT_RECEIVED, s.RECEIPTED, ()),
        (s.PROVED, e.PAYMENT_SEEN, s.EARNED, ()),
        (s.PROVED, e.CLAIM_DUE, s.OWED, (f.BUILD_CLAIM,)),
        (s.RECEIPTED, e.PAYMENT_SEEN, s.EARNED, ()),
        (s.RECEIPTED, e.CLAIM_DUE, s.OWED, (f.BUILD_CLAIM,)),
        (s.OWED, e.CLAIM_SIGNED, s.CLAIMING, (f.SEND_TRANSACTION,)),
        (s.OWED, e.PAYMENT_SEEN, s.EARNED, ()),
        (s.OWED, e.CLAIM_FAILED, s.UNPAID, ()),
        (s.CLAIMING, e.PAYMENT_SEEN, s.EARNED, ()),
        (s.CLAIMING, e.CLAIM_FAILED, s.UNPAID, ()),
        (s.CLAIMING, e.PROMISE_BROKEN, s.WRONGED, (f.BUILD_ACCUSATION,)),
        (s.WRONGED, e.EQUIVOCATION_SIGNED, s.ACCUSING, (f.SEND_TRANSACTION,)),
        (s.WRONGED, e.EQUIVOCATION_FAILED, s.UNPAID, ()),
        (s.ACCUSING, e.EQUIVOCATION_SEEN, s.VINDICATED, ()),
        (s.ACCUSING, e.EQUIVOCATION_FAILED, s.UNPAID, ()),
        (s.MISSED, e.SLASH_SEEN, s.FORFEITED, ()),
        (s.MISSED, e.CLAIMS_OVER, s.FORGIVEN, ()),
        (s.MISSED, e.OUTRUN, s.FORGIVEN, ()),
        (s.ACKED, e.OUTRUN, s.UNPAID, ()),
        (s.AT_WORK, e.OUTRUN, s.UNPAID, ()),
        (s.PROVED, e.OUTRUN, s.UNPAID, ()),
        (s.RECEIPTED, e.OUTRUN, s.UNPAID, ()),
        (s.OWED, e.OUTRUN, s.UNPAID, ()),
    )
    for state, event, target, effects in rows:
        yield (state, event), Step(target, effects)


TRANSITIONS: Final[Mapping[tuple[State, Event], Step]] = MappingProxyType(dict(_table()))
"""Every change that an order can go through."""

TERMINAL: Final = frozenset(set(State) - {state for state, _ in TRANSITIONS})
"""States without an exit."""

INITIAL: Final[Mapping[Role, State]] = MappingProxyType(
    {Role.REQUESTER: State.DRAFT, Role.PROVER: State.SEEN, Role.STANDBY: State.S_DRAFT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order in one role. Times are fixed when it is made."""

    order_id: bytes
    """The request id, 32 bytes."""
    role: Role
    state: State
    reason: str = ""
    """Stable word that says why the order is in this state, empty on the ordinary path."""
    bid_close_ms: int
    """Unix ms; as `award_by_ms`, `accept_by_ms`."""
    award_by_ms: int
    accept_by_ms: int
    ack_by: int
    """Unix seconds, as the agreement has them; also the next two."""
    deliver_by: int
    claim_by: int
    valid_until: int
    """Last second at which the table can load; requester only, 0 for a prover."""
    call_ms: int = 0
    """Unix ms at which a standby is called at the latest, if nobody has a proof by then; 0 for other roles."""

    @property
    def is_over(self) -> bool:
        """Whether the state has no exits."""
        return self.state in TERMINAL


def advance(order: Order, event: Event, reason: str = "") -> tuple[Order, tuple[Effect, ...]]:
    """The order after an event, and what must happen then.

    Args:
        reason: stable word for the operator; kept as the order's reason if not empty.

    Raises:
        InvalidTransition: the event cannot happen in this state.
    """
    step = TRANSITIONS.get((order.state, event))
    if step is None:
        raise InvalidTransition(order.state.value, event.value)
    return replace(order, state=step.target, reason=reason or order.reason), step.effects


def deadline(order: Order) -> tuple[int, Event, str] | None:
    """(unix ms, event, reason) of what happens to the order if nothing else does; None if it can wait for ever.

    After a restart this is all that is needed to arm an order's timer again. Before an event that follows from
    silence on the
    chain (the ones after `claim_by` and `valid_until`) the broker looks at the chain once more.
    """
    s, e = State, Event
    match order.state:
        case s.DRAFT:  # only if the process ended before the request was stored as sent
            return order.bid_close_ms, e.CANCEL, "NOT_STARTED"
        case s.COMMITTED:
            return order.bid_close_ms, e.BIDS_CLOSED, ""
        case s.AWARDED:
            return order.accept_by_ms + GRACE_MS, e.ACCEPT_TIMEOUT, "NOT_ACCEPTED"
        case s.ACCEPTED | s.KEYED:
            return order.ack_by * 1000 + GRACE_MS, e.ACK_TIMEOUT, "NO_ACK"
        case s.PROVING | s.AMENDING | s.AMENDED:
            return order.deliver_by * 1000 + GRACE_MS, e.PROOF_TIMEOUT, "NO_PROOF"
        case s.VERIFIED | s.TX_STORED:
            return order.valid_until * 1000 + GRACE_MS, e.TABLE_EXPIRED, "TABLE_EXPIRED"
        case s.TX_SENT:
            return order.valid_until * 1000 + INCLUSION_MS, e.TX_FAILED, "NOT_INCLUDED"
        case s.LANDED | s.OWING | s.LAPSED | s.DEFAULTED | s.WITHDRAWN | s.GIVEN_UP:
            return order.claim_by * 1000 + GRACE_MS, e.CLAIMS_OVER, ""
        case s.SLASH_DUE | s.SLASHING:
            return (order.claim_by + SLASH_WINDOW) * 1000 + GRACE_MS, e.SLASH_FAILED, "SLASH_WINDOW_OVER"
        case s.S_DRAFT:
            return order.accept_by_ms, e.CANCEL, "NOT_STARTED"
        case s.S_AWARDED:
            return order.accept_by_ms + GRACE_MS, e.ACCEPT_TIMEOUT, "NOT_ACCEPTED"
        case s.S_READY:
            return max(order.call_ms, order.accept_by_ms + GRACE_MS), e.CALLED, "IN_PARALLEL"
        case s.S_CALLED | s.S_KEYED:
            return order.ack_by * 1000 + GRACE_MS, e.ACK_TIMEOUT, "NO_ACK"
        case s.S_PROVING:
            return order.deliver_by * 1000 + GRACE_MS, e.PROOF_TIMEOUT, "NO_PROOF"
        case s.S_MISSED:
            return order.claim_by * 1000 + GRACE_MS, e.CLAIMS_OVER, ""
        case s.S_SLASH_DUE | s.S_SLASHING:
            return (order.claim_by + SLASH_WINDOW) * 1000 + GRACE_MS, e.SLASH_FAILED, "SLASH_WINDOW_OVER"
        case s.S_SILENT:
            return order.ack_by * 1000 + GRACE_MS, e.FORCE_DUE, "NO_ACK"
        case s.S_FORCE_DUE:
            return order.deliver_by * 1000, e.NOT_FORCED, "FORCE_TOO_LATE"
        case s.S_FORCING:
            return order.deliver_by * 1000 + INCLUSION_MS, e.RELEASE_FAILED, "FORCE_TOO_LATE"
        case s.S_FORCED:
            return order.ack_by * 1000 + GRACE_MS, e.RESPONSE_OVER, "PEEKED"
        case s.S_PEEKED | s.S_FINING:
            return (order.claim_by + SLASH_WINDOW) * 1000 + GRACE_MS, e.PENALTY_FAILED, "SLASH_WINDOW_OVER"
        case s.SEEN:
            return order.bid_close_ms, e.SKIP, "CLOSED"
        case s.BID:
            return order.accept_by_ms + GRACE_MS, e.NO_AWARD, "NO_AWARD"
        case s.WON | s.SIGNED | s.HOLDING:
            return order.ack_by * 1000 + GRACE_MS, e.PAYLOAD_MISSING, "NO_PAYLOAD"
        case s.DISPUTED:
            return order.deliver_by * 1000 + GRACE_MS, e.FEE_REFUSED, "NO_FEE"
        case s.FEE_DUE | s.FEE_SENT:
            return order.claim_by * 1000 + GRACE_MS, e.FEE_FAILED, "CLAIMS_OVER"
        case s.ACKED | s.AT_WORK:
            return order.claim_by * 1000, e.PROOF_FAILED, "TOO_SLOW"
        case s.PROVED | s.RECEIPTED:
            return (order.deliver_by + CLAIM_AFTER_S) * 1000, e.CLAIM_DUE, "NOT_PAID"
        case s.OWED | s.CLAIMING:
            return order.claim_by * 1000 + GRACE_MS, e.CLAIM_FAILED, "CLAIMS_OVER"
        case s.WRONGED | s.ACCUSING:  # the bond of a ticket that was used stays longer
            return (order.claim_by + SLASH_WINDOW) * 1000 + GRACE_MS, e.EQUIVOCATION_FAILED, "BOND_OVER"
        case s.MISSED | s.VOIDING:
            return (order.claim_by + SLASH_WINDOW) * 1000 + GRACE_MS, e.CLAIMS_OVER, ""
        case _:
            return None


GRACE_MS: Final = 1_000  # what a counterparty's clock and the way may take beyond a deadline
INCLUSION_MS: Final = 60_000  # how long after validUntil a block may still turn up that holds our transaction
CLAIM_AFTER_S: Final = 30  # after deliverBy; a claim shows the table to everybody, so landing comes first


def diagram() -> str:
    """The table as a Mermaid state diagram; SPEC §10 holds this text and a test compares."""
    lines = ["stateDiagram-v2"]
    for role in Role:
        lines.append(f"    state {role.value} {{")
        lines.append(f"        [*] --> {_node(INITIAL[role])}")
        for (state, event), step in TRANSITIONS.items():
            if state.role is role:
                lines.append(f"        {_node(state)} --> {_node(step.target)}: {event.value}")
        lines.extend(f"        {_node(state)} --> [*]" for state in State if state in TERMINAL and state.role is role)
        lines.append("    }")
    return "\n".join(lines) + "\n"


def _node(state: State) -> str:
    return state.value.replace("-", "_")
