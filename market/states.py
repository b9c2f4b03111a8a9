"""The states of an order, for its requester, for each runner-up that it engages and for each prover that saw it, and
the events that move it (SPEC §10).

What is true in a state:

Requester
- DRAFT: the table is planned and its secrets are stored. Nothing has left this machine.
- COMMITTED: the request may have been seen; bids are collected. Nobody can claim anything.
- CLOSED: the set of bids is frozen. Opening and ranking may be repeated and give the same winner.
- AWARDED: the agreement signed by us is stored and may have been seen. The winner may countersign; it has no payload.
- ACCEPTED: the winner's countersignature is stored. The payload is still here only.
- KEYED: the sealed payload is stored and may have left. From here on the winner must be assumed to know the table.
- PROVING: the winner's signed Ack is stored. No proof by deliverBy costs it the bond.
- AMENDING: the agreed table cannot load any more; another one is being planned.
- AMENDED: the amend that we signed and its sealed payload are stored and may have been seen. The prover signs it too,
  or finishes the agreed table.
- DELIVERED: proofs are stored, not judged.
- VERIFIED: the proofs hold for exactly our table; a signed receipt is stored. The price is owed.
- TX_STORED: the signed raw transaction is stored with its nonce. Only these bytes, or the same call with raised fees
  at the same nonce, are ever sent for this order.
- TX_SENT: an execution client has taken the transaction.
- LANDED: it is in a block and succeeded. Whether the payee is paid is read from the chain.
- OWING: we have a valid proof, but our transaction did not do it. The prover may claim until claimBy.
- LAPSED: the winner was silent or declined before its Ack. Nobody is slashed; the ticket is free after claimBy.
- DEFAULTED: the winner gave its Ack and no valid proof. After claimBy its bond can be taken.
- WITHDRAWN: its owner gave it up after the award and before an Ack that is known here. No payload is sent any more; who
  has it may still give its Ack, prove and claim.
- GIVEN_UP: its owner gave it up after the Ack. The proof is owed the price, by claim; no proof costs the bond.
- SLASH_DUE: claimBy has passed without payment; the slash transaction is not signed yet.
- SLASHING: the signed slash transaction is stored.
- Ends: PAID, REFUNDED (nothing was paid, the ticket is free), SLASHED, EXPIRED (no agreement), CANCELLED.

Standby: the requester's view of one runner-up, which may take the winner's place
- S_DRAFT: the agreement with its rank is stored.
- S_AWARDED: the award may have been seen.
- S_READY: its countersignature is stored. It has no payload and owes nothing.
- S_CALLED: its time has come, or everybody before it is out. The payload is still here only.
- S_KEYED, S_PROVING, S_DELIVERED: as KEYED, PROVING, DELIVERED.
- S_VERIFIED: its proof holds; whether it is the first decides the request's own order.
- S_MISSED: it gave its Ack, and no valid proof in time. After claimBy its bond can be taken, if nobody was paid or a
  later rank.
- S_SLASH_DUE, S_SLASHING: as SLASH_DUE, SLASHING.
- S_SILENT: it has countersigned, the sealed payload has left, and ackBy has passed without a word. The winner is one of
  these too, in an order beside the request's own, which goes on without it.
- S_FORCE_DUE: whether publishing the sealed payload is worth its gas is being decided.
- S_FORCING: the signed transaction that publishes it is stored.
- S_FORCED: it is on L1. The prover answers by its Ack or gives up until ackBy, which is L1's deadline now.
- S_PEEKED: it did neither: the peek penalty is ours to take. S_FINING: the signed transaction for that is stored.
- Ends: S_CHOSEN (its proof is the order's), S_SPARE (nothing is owed), S_SLASHED, S_KEPT (the bond was not taken),
  S_FINED (the peek penalty was taken).

Prover
- SEEN: the request passed validation.
- BID: opening, salt and keys of our bid are stored; it may have been seen.
- WON: an award names us and its signature holds. We owe nothing yet.
- SIGNED: our countersignature is stored and may have been seen.
- HOLDING: the payload is stored, encrypted; not checked.
- ACKED: our signed Ack is stored and may have been seen: non-delivery is slashable now.
- AT_WORK: a proving process runs; after a restart it is started again.
- PROVED: the proofs are stored.
- RECEIPTED: the requester's receipt is stored.
- OWED: deliverBy has passed and nobody paid; the claim transaction is not signed yet.
- CLAIMING: the signed claim transaction is stored.
- DISPUTED: the payload breaks its envelope; our decline is stored, and the requester is asked for the fee of it.
- FEE_DUE: the decline that both signed is stored.
- FEE_SENT: the signed transaction that collects the fee is stored.
- WRONGED: L1 has our proof and the ticket that was promised for it paid another promise; the evidence is stored.
- ACCUSING: the signed transaction that takes our part of that ticket's bond is stored.
- MISSED: we have no proof although we gave our Ack. The bond is at risk until the slash window ends.
- VOIDING: as MISSED, but a configuration ended before our Ack, and the signed transaction that voids the agreement for
  that is stored.
- Ends: SKIPPED, LOST, RELEASED (the requester went silent before our Ack), DECLINED, COMPENSATED, EARNED, FORFEITED,
FORGIVEN, VINDICATED, UNPAID.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Whose view of an order."""

    REQUESTER = "requester"
    PROVER = "prover"
    STANDBY = "standby"


class State(StrEnum):
    """See the module's text for what is true in each."""

    DRAFT = "draft"
    COMMITTED = "committed"
    CLOSED = "closed"
    AWARDED = "awarded"
    ACCEPTED = "accepted"
    KEYED = "keyed"
    PROVING = "proving"
    AMENDING = "amending"
    AMENDED = "amended"
    DELIVERED = "delivered"
    VERIFIED = "verified"
    TX_STORED = "tx-stored"
    TX_SENT = "tx-sent"
    LANDED = "landed"
    OWING = "owing"
    LAPSED = "lapsed"
    DEFAULTED = "defaulted"
    WITHDRAWN = "withdrawn"
    GIVEN_UP = "given-up"
    SLASH_DUE = "slash-due"
    SLASHING = "slashing"
    PAID = "paid"
    REFUNDED = "refunded"
    SLASHED = "slashed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    S_DRAFT = "s-draft"
    S_AWARDED = "s-awarded"
    S_READY = "s-ready"
    S_CALLED = "s-called"
    S_KEYED = "s-keyed"
    S_PROVING = "s-proving"
    S_DELIVERED = "s-delivered"
    S_VERIFIED = "s-verified"
    S_MISSED = "s-missed"
    S_SLASH_DUE = "s-slash-due"
    S_SLASHING = "s-slashing"
    S_SILENT = "s-silent"
    S_FORCE_DUE = "s-force-due"
    S_FORCING = "s-forcing"
    S_FORCED = "s-forced"
    S_PEEKED = "s-peeked"
    S_FINING = "s-fining"
    S_FINED = "s-fined"
    S_CHOSEN = "s-chosen"
    S_SPARE = "s-spare"
    S_SLASHED = "s-slashed"
    S_KEPT = "s-kept"

    SEEN = "p-seen"
    BID = "p-bid"
    WON = "p-won"
    SIGNED = "p-signed"
    HOLDING = "p-keyed"
    ACKED = "p-acked"
    AT_WORK = "p-proving"
    PROVED = "p-proved"
    RECEIPTED = "p-delivered"
    OWED = "p-owed"
    CLAIMING = "p-claiming"
    MISSED = "p-missed"
    VOIDING = "p-voiding"
    SKIPPED = "p-skipped"
    LOST = "p-lost"
    RELEASED = "p-released"
    DECLINED = "p-declined"
    DISPUTED = "p-disputed"
    FEE_DUE = "p-fee-due"
    FEE_SENT = "p-fee-sent"
    COMPENSATED = "p-compensated"
    WRONGED = "p-wronged"
    ACCUSING = "p-accusing"
    VINDICATED = "p-vindicated"
    EARNED = "p-paid"
    FORFEITED = "p-slashed"
    FORGIVEN = "p-forgiven"
    UNPAID = "p-unpaid"

    @property
    def role(self) -> Role:
        """Whose state it is."""
        return {"p-": Role.PROVER, "s-": Role.STANDBY}.get(self.value[:2], Role.REQUESTER)


class Event(StrEnum):
    """What can happen to an order. Events carry no data: what they bring is stored in the same transaction."""

    COMMIT = "commit"
    CANCEL = "cancel"
    BIDS_CLOSED = "bids-closed"
    WINNER_CHOSEN = "winner-chosen"
    NO_BIDS = "no-bids"
    ACCEPT_RECEIVED = "accept-received"
    ACCEPT_TIMEOUT = "accept-timeout"
    PAYLOAD_SEALED = "payload-sealed"
    ACK_RECEIVED = "ack-received"
    DECLINE_RECEIVED = "decline-received"
    ACK_TIMEOUT = "ack-timeout"
    PROOF_RECEIVED = "proof-received"
    PROOF_VALID = "proof-valid"
    PROOF_INVALID = "proof-invalid"
    PROOF_TIMEOUT = "proof-timeout"
    TX_SIGNED = "tx-signed"
    TX_ACCEPTED = "tx-accepted"
    TX_LANDED = "tx-landed"
    TX_FAILED = "tx-failed"
    TABLE_EXPIRED = "table-expired"
    PAYMENT_SEEN = "payment-seen"
    CLAIMS_OVER = "claims-over"
    SLASH_SIGNED = "slash-signed"
    SLASH_SEEN = "slash-seen"
    SLASH_FAILED = "slash-failed"
    TAKEN_OVER = "taken-over"
    PLAN_STALE = "plan-stale"
    AMEND_SIGNED = "amend-signed"
    AMEND_ACCEPTED = "amend-accepted"
    AMEND_REFUSED = "amend-refused"
    CALLED = "called"
    FORCE_DUE = "force-due"
    NOT_FORCED = "not-forced"
    RELEASE_SIGNED = "release-signed"
    RELEASE_SEEN = "release-seen"
    RELEASE_FAILED = "release-failed"
    RELEASE_DECLINED = "release-declined"
    RESPONSE_OVER = "response-over"
    PENALTY_SIGNED = "penalty-signed"
    PENALTY_SEEN = "penalty-seen"
    PENALTY_FAILED = "penalty-failed"
    CHOSEN = "chosen"
    NOT_NEEDED = "not-needed"

    BID_MADE = "bid-made"
    SKIP = "skip"
    AWARDED_US = "awarded-us"
    AWARDED_OTHER = "awarded-other"
    NO_AWARD = "no-award"
    REQUEST_CANCELLED = "request-cancelled"
    ACCEPT_SIGNED = "accept-signed"
    PAYLOAD_RECEIVED = "payload-received"
    PAYLOAD_MISSING = "payload-missing"
    PAYLOAD_GOOD = "payload-good"
    PAYLOAD_BAD = "payload-bad"
    PROOF_STARTED = "proof-started"
    PROOF_MADE = "proof-made"
    PROOF_FAILED = "proof-failed"
    RECEIPT_RECEIVED = "receipt-received"
    CLAIM_DUE = "claim-due"
    CLAIM_SIGNED = "claim-signed"
    CLAIM_FAILED = "claim-failed"
    OUTRUN = "outrun"
    VOID_SIGNED = "void-signed"
    VOID_SEEN = "void-seen"
    VOID_FAILED = "void-failed"
    TABLE_AMENDED = "table-amended"
    PAYLOAD_BREAKS = "payload-breaks"
    FEE_GRANTED = "fee-granted"
    FEE_REFUSED = "fee-refused"
    DECLINE_SIGNED = "decline-signed"
    FEE_SEEN = "fee-seen"
    FEE_FAILED = "fee-failed"
    PROMISE_BROKEN = "promise-broken"
    EQUIVOCATION_SIGNED = "equivocation-signed"
    EQUIVOCATION_SEEN = "equivocation-seen"
    EQUIVOCATION_FAILED = "equivocation-failed"
