"""What must happen next, as data. The broker performs effects; each is idempotent, so that after a crash it is
performed again."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """Names of effects. They are stored with the state change that asks for them; a name is never reused."""

    PUBLISH_REQUEST = "publish-request"
    CHOOSE_WINNER = "choose-winner"
    PUBLISH_AWARD = "publish-award"
    ASK_ACCEPTANCE = "ask-acceptance"
    SEAL_PAYLOAD = "seal-payload"
    RELEASE_PAYLOAD = "release-payload"
    VERIFY_DELIVERY = "verify-delivery"
    BUILD_TRANSACTION = "build-transaction"
    ANNOUNCE_READY = "announce-ready"
    SEND_TRANSACTION = "send-transaction"
    BUILD_SLASH = "build-slash"
    PUBLISH_CANCEL = "publish-cancel"
    REPLAN = "replan"
    SEND_AMEND = "send-amend"
    REAUCTION = "reauction"
    TAKE_OVER = "take-over"
    STAND_DOWN = "stand-down"
    CHASE = "chase"
    BUILD_RELEASE = "build-release"
    BUILD_PENALTY = "build-penalty"
    RECORD_AMEND = "record-amend"

    PUBLISH_BID = "publish-bid"
    SIGN_ACCEPTANCE = "sign-acceptance"
    CHECK_PAYLOAD = "check-payload"
    START_PROOF = "start-proof"
    DELIVER_PROOF = "deliver-proof"
    ASK_FEE = "ask-fee"
    BUILD_DECLINE = "build-decline"
    BUILD_ACCUSATION = "build-accusation"
    BUILD_CLAIM = "build-claim"
    LOOK_FOR_VOID = "look-for-void"
