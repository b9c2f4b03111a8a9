"""Direct messages: bounds, counterparty, attachment."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.constants import MAX_DIRECT_AGE_MS
from protocol.errors import Ignore, Reject
from protocol.gossip import MarketId
from protocol.hashing import keccak256
from protocol.messages import AwardAccept, KeyRelease, Message, ProofDelivery, TablePull
from protocol.reqresp import EXCHANGES, KEY_EXCHANGE, Direct, read_direct
from protocol.verdicts import WireCode
from tests.support.wire_samples import MARKET, NOW_MS, PROVERS, REQUESTER, award, framed, request, samples

CIPHERTEXT = bytes(range(200)) * 10
RELEASE = KeyRelease(
    request_id=request().request_id,
    agreement_hash=award().agreement_hash,
    cipher_bytes=len(CIPHERTEXT),
    cipher_hash=keccak256(CIPHERTEXT),
    statement_commit=bytes(32),
    amend_signature=b"",
)
WHOLE = framed(RELEASE) + CIPHERTEXT


def read(
    data: bytes,
    expected: type[Message] = KeyRelease,
    *,
    max_attachment: int = KEY_EXCHANGE.request_attachment,
    signer: bytes | None = REQUESTER.address,
    now_ms: int = NOW_MS,
    market: MarketId = MARKET,
) -> Direct:
    """`read_direct` for the key exchange unless said otherwise."""
    return read_direct(data, expected, max_attachment=max_attachment, market=market, now_ms=now_ms, signer=signer)


def test_a_sealed_payload_arrives_with_its_frame() -> None:
    """Message and attachment."""
    direct = read(WHOLE)

    assert (RELEASE, CIPHERTEXT, REQUESTER.address) == (direct.message, direct.attachment, direct.signer)


@pytest.mark.parametrize(
    ("code", "data", "changes"),
    [
        (WireCode.TOO_SHORT, b"", {}),
        (WireCode.TOO_SHORT, WHOLE[:100], {}),
        (WireCode.TOO_LONG, WHOLE, {"max_attachment": len(CIPHERTEXT) - 1}),
        (WireCode.BODY_LENGTH, framed(RELEASE)[:-1], {}),
        (WireCode.ATTACHMENT, framed(RELEASE), {}),
        (WireCode.ATTACHMENT, WHOLE[:-1], {}),
        (WireCode.ATTACHMENT, WHOLE + b"\0", {}),
        (WireCode.ATTACHMENT, WHOLE[:-1] + b"\0", {}),
        (WireCode.WRONG_CHANNEL, WHOLE, {"expected": AwardAccept}),
        (WireCode.WRONG_SIGNER, WHOLE, {"signer": PROVERS[0].address}),
        (WireCode.WRONG_SIGNER, framed(RELEASE, key=PROVERS[0], signer=REQUESTER.address) + CIPHERTEXT, {}),
        (WireCode.WRONG_CHAIN, WHOLE, {"market": MarketId(chain_id=1, contract=MARKET.contract)}),
        (WireCode.WRONG_MARKET, WHOLE, {"market": MarketId(chain_id=MARKET.chain_id, contract=bytes(20))}),
        (WireCode.BAD_LIFETIME, framed(RELEASE, expires_ms=NOW_MS) + CIPHERTEXT, {}),
    ],
)
def test_a_bad_direct_message_is_rejected(code: WireCode, data: bytes, changes: dict[str, Any]) -> None:
    """Also one that is perfect for another exchange, counterparty or market."""
    with pytest.raises(Reject) as refused:
        read(data, **changes)

    assert code == refused.value.reason


@pytest.mark.parametrize("now_ms", [NOW_MS + 60_000, NOW_MS - 2_001])
def test_a_direct_message_out_of_its_time_is_ignored(now_ms: int) -> None:
    """Expired, or from the future."""
    with pytest.raises(Ignore):
        read(WHOLE, now_ms=now_ms)


def test_anybody_may_ask_where_no_counterparty_is_named() -> None:
    """A pull; its signature is checked all the same."""
    pull = TablePull(table_id=bytes(32))

    assert pull == read(framed(pull, key=PROVERS[2]), TablePull, signer=None, max_attachment=0).message


def test_exchanges_have_room_for_their_messages() -> None:
    """Every sample fits the bound that the stream enforces; ids are unique and versioned."""
    bounds = {exchange.request: exchange.max_request_bytes for exchange in EXCHANGES}
    bounds |= {exchange.answer: exchange.max_answer_bytes for exchange in EXCHANGES}

    assert all(len(framed(message)) <= bounds[type(message)] for message in samples() if type(message) in bounds)
    assert len(EXCHANGES) == len({exchange.protocol_id for exchange in EXCHANGES})
    assert all(exchange.protocol_id.endswith("/1") for exchange in EXCHANGES)
    assert bounds[ProofDelivery] == 80 + 65535 + 65


def test_a_direct_message_is_taken_only_while_it_is_fresh() -> None:
    """Made for its stream: an older one is a clock that is behind, or a replay."""
    long = framed(RELEASE, created_ms=NOW_MS, expires_ms=NOW_MS + 600_000) + CIPHERTEXT

    assert RELEASE == read(long, now_ms=NOW_MS + MAX_DIRECT_AGE_MS).message
    with pytest.raises(Ignore) as refused:
        read(long, now_ms=NOW_MS + MAX_DIRECT_AGE_MS + 1)
    assert WireCode.FROM_PAST == refused.value.reason
    assert MAX_DIRECT_AGE_MS > max(exchange.timeout_ms for exchange in EXCHANGES)
