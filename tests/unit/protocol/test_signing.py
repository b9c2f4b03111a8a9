"""Signatures and sealed boxes: one form each, and nothing else passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data

from protocol.agreement import (
    Ack,
    Agreement,
    Decline,
    Receipt,
    Settlement,
    SignedAmend,
    StatementAmend,
    agreement_of,
    awarded_agreement,
    by_contract,
    by_key,
    claim_window,
    pack_settlement,
    unpack_settlement,
)
from protocol.codec import read_frame
from protocol.errors import Reject
from protocol.hashing import keccak256
from protocol.sealing import SEAL_OVERHEAD, SealError, SealKeyPair, bid_info, payload_info, seal
from protocol.signing import (
    GROUP_ORDER,
    AccountKey,
    ack_digest,
    agreement_digest,
    amend_digest,
    decline_digest,
    receipt_digest,
    recover_signer,
    verify_frame,
)
from protocol.verdicts import WireCode
from tests.support.wire_samples import MARKET, PROVER_SEALS, PROVERS, REQUESTER, award, framed, request

DIGEST = keccak256(b"digest")
AGREEMENT = awarded_agreement(REQUESTER.address, request(), award())

SOLIDITY_FIELDS = {
    "Agreement": "bytes32 requestId,uint8 rank,address requester,uint32 requesterTicket,address prover,"
    "uint32 proverTicket,address payee,uint96 priceWei,uint96 bondWei,bytes32 statementCommit,bytes32 payloadCommit,"
    "bytes32 systemsHash,uint64 openFrom,uint64 ackBy,uint64 deliverBy,uint64 claimFrom,uint64 claimBy",
    "Ack": "bytes32 agreementHash,bytes32 payloadCommit,uint64 ackAt",
    "Receipt": "bytes32 agreementHash,bytes32 coreId,uint64 receivedAt",
    "StatementAmend": "bytes32 agreementHash,uint16 counter,bytes32 statementCommit",
    "Decline": "bytes32 agreementHash,uint8 verdict,uint96 feeWei",
}


def typed_data_digest(name: str, values: tuple[int | bytes, ...]) -> bytes:
    """The EIP-712 digest as eth-account computes it."""
    fields = [tuple(text.split()) for text in SOLIDITY_FIELDS[name].split(",")]
    typed = encode_typed_data(
        {
            "name": "Unveto",
            "version": "1",
            "chainId": MARKET.chain_id,
            "verifyingContract": "0x" + MARKET.contract.hex(),
        },
        {name: [{"type": kind, "name": field} for kind, field in fields]},
        {
            field: "0x" + value.hex() if kind == "address" and isinstance(value, bytes) else value
            for (kind, field), value in zip(fields, values, strict=True)
        },
    )
    return keccak256(b"\x19" + typed.version + typed.header + typed.body)


def test_digests_equal_those_of_eth_account() -> None:
    """An independent EIP-712 implementation agrees on all five structs."""
    ack = Ack(agreement_hash=DIGEST, payload_commit=keccak256(b"p"), ack_at=7)
    receipt = Receipt(agreement_hash=DIGEST, core_id=keccak256(b"c"), received_at=8)
    amend = StatementAmend(agreement_hash=DIGEST, counter=9, statement_commit=keccak256(b"s"))
    decline = Decline(agreement_hash=DIGEST, verdict=2, fee_wei=1 << 95)
    where = (MARKET.chain_id, MARKET.contract)

    assert typed_data_digest("Agreement", AGREEMENT.values()) == agreement_digest(*where, AGREEMENT)
    assert typed_data_digest("Ack", (DIGEST, keccak256(b"p"), 7)) == ack_digest(*where, ack)
    assert typed_data_digest("Receipt", (DIGEST, keccak256(b"c"), 8)) == receipt_digest(*where, receipt)
    assert typed_data_digest("StatementAmend", (DIGEST, 9, keccak256(b"s"))) == amend_digest(*where, amend)
    assert typed_data_digest("Decline", (DIGEST, 2, 1 << 95)) == decline_digest(*where, decline)


@pytest.mark.parametrize("field", Agreement.__slots__)
def test_every_agreement_field_is_in_the_digest(field: str) -> None:
    """And in the settlement bytes."""
    value = getattr(AGREEMENT, field)
    changed = replace(AGREEMENT, **{field: value + 1 if isinstance(value, int) else keccak256(value)[: len(value)]})

    assert agreement_digest(1, MARKET.contract, AGREEMENT) != agreement_digest(1, MARKET.contract, changed)
    assert unpack_settlement(_settlement(changed)).agreement == changed


def _settlement(agreement: Agreement) -> bytes:
    return pack_settlement(
        Settlement(
            agreement=agreement,
            salt=DIGEST,
            requester_signature=by_key(REQUESTER.sign_digest(DIGEST)),
            prover_signature=by_key(PROVERS[0].sign_digest(DIGEST)),
        )
    )


def test_settlement_has_425_bytes_in_the_order_of_the_specification() -> None:
    """SPEC §8.2, offset by offset."""
    packed = _settlement(AGREEMENT)

    assert 425 == len(packed)
    assert AGREEMENT.request_id + b"\x01" + REQUESTER.address == packed[:53]
    assert AGREEMENT.payee == packed[81:101]
    assert AGREEMENT.price_wei == int.from_bytes(packed[101:113], "big")
    times = (AGREEMENT.open_from, AGREEMENT.ack_by, AGREEMENT.deliver_by, AGREEMENT.claim_from, AGREEMENT.claim_by)
    assert b"".join(time.to_bytes(8, "big") for time in times) == packed[221:261]
    assert DIGEST == packed[261:293]
    assert b"\0" + REQUESTER.sign_digest(DIGEST) + b"\0" + PROVERS[0].sign_digest(DIGEST) == packed[293:]


SIGNATURES = (by_key(bytes(range(65))), by_contract(b""), by_contract(b"x" * 1024), by_contract(b"y", b"\x07" * 20))


def test_settlements_with_every_kind_of_signature_and_an_amend_come_back_the_same() -> None:
    """`unpack_settlement` is the reverse of `pack_settlement`, and nothing can be cut off or added."""
    for first in SIGNATURES:
        for second in SIGNATURES:
            amend = SignedAmend(counter=7, statement_commit=DIGEST, requester_signature=second, prover_signature=first)
            for settlement in (
                Settlement(agreement=AGREEMENT, salt=DIGEST, requester_signature=first, prover_signature=second),
                Settlement(
                    agreement=AGREEMENT,
                    salt=DIGEST,
                    requester_signature=first,
                    prover_signature=second,
                    amend=amend,
                ),
            ):
                packed = pack_settlement(settlement)
                assert unpack_settlement(packed) == settlement
                with pytest.raises(Reject):
                    unpack_settlement(packed[:-1])
                with pytest.raises(Reject):
                    unpack_settlement(packed + b"\0")


@pytest.mark.parametrize("size", [0, 292, 293, 294, 424, 426])
def test_settlement_of_another_length_is_rejected(size: int) -> None:
    """Short and long."""
    with pytest.raises(Reject):
        unpack_settlement(bytes(size))


def test_signatures_of_another_form_are_rejected() -> None:
    """An unknown kind, a contract's signature that is too long, and keys' signatures of another length."""
    fixed = _settlement(AGREEMENT)[:293]
    for bad in (b"\x03" + bytes(65), b"\x01\x04\x01" + bytes(1025), b"\x02" + bytes(21)):
        with pytest.raises(Reject):
            unpack_settlement(fixed + bad + by_key(bytes(65)))
    for size in (64, 66):
        with pytest.raises(Reject):
            by_key(bytes(size))
    with pytest.raises(Reject):
        by_contract(bytes(1025))


def test_a_ranks_turn_to_claim_without_a_receipt_follows_the_one_before() -> None:
    """SPEC §8.2, claim windows: rank 1 has 300 s after deliverBy, with a receipt every rank the whole window."""
    agreed = replace(AGREEMENT, deliver_by=1000, claim_from=1000, claim_by=4000)

    def windows(agreement: Agreement, *, has_receipt: bool) -> list[tuple[int, int]]:
        return [claim_window(replace(agreement, rank=rank), has_receipt=has_receipt) for rank in (1, 2, 3)]

    assert windows(agreed, has_receipt=True) == [(1000, 4000)] * 3
    assert windows(agreed, has_receipt=False) == [(1000, 1300), (1301, 4000), (1601, 4000)]
    late = replace(agreed, claim_from=2000)
    assert windows(late, has_receipt=False) == [(2000, 2300), (2301, 4000), (2601, 4000)]
    short = replace(agreed, claim_by=1100)
    assert windows(short, has_receipt=False) == [(1000, 1100), (1301, 1100), (1601, 1100)]


@pytest.mark.parametrize("rank", [0, 3])
def test_a_rank_without_an_opening_is_rejected(rank: int) -> None:
    """Ranks count from 1."""
    with pytest.raises(Reject):
        awarded_agreement(REQUESTER.address, request(), replace(award(), rank=rank))


def test_an_agreement_follows_the_opened_bid() -> None:
    """Payee and price are those that the winner bid, whoever signs."""
    second = agreement_of(REQUESTER.address, request(), 2, award().openings[1])

    assert award().openings[1].opening.payee == second.payee
    assert PROVERS[1].address == second.prover


def test_a_signature_recovers_its_account_and_hides_its_key() -> None:
    """Deterministic; the representation holds no secret."""
    assert PROVERS[0].address == recover_signer(DIGEST, PROVERS[0].sign_digest(DIGEST))
    assert PROVERS[0].sign_digest(DIGEST) == PROVERS[0].sign_digest(DIGEST)
    assert "0202" not in repr(PROVERS[0])


def _flipped_s(signature: bytes) -> bytes:
    s = GROUP_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        REQUESTER.sign_digest(DIGEST)[:64],
        REQUESTER.sign_digest(DIGEST) + b"\0",
        REQUESTER.sign_digest(DIGEST)[:64] + b"\x00",
        REQUESTER.sign_digest(DIGEST)[:64] + b"\x1d",
        bytes(32) + REQUESTER.sign_digest(DIGEST)[32:],
        REQUESTER.sign_digest(DIGEST)[:32] + bytes(32) + b"\x1b",
        GROUP_ORDER.to_bytes(32, "big") + REQUESTER.sign_digest(DIGEST)[32:],
        # r of no point: 5 is not the x of a point of secp256k1
        (5).to_bytes(32, "big") + REQUESTER.sign_digest(DIGEST)[32:],
        _flipped_s(REQUESTER.sign_digest(DIGEST)),
    ],
)
def test_a_malformed_signature_is_rejected(signature: bytes) -> None:
    """Also the second valid form with s in the upper half."""
    with pytest.raises(Reject) as refused:
        recover_signer(DIGEST, signature)

    assert WireCode.BAD_SIGNATURE == refused.value.reason


def test_a_frame_claiming_another_signer_is_rejected() -> None:
    """The header's signer is what the signature must recover to."""
    with pytest.raises(Reject) as refused:
        verify_frame(read_frame(framed(request(), key=PROVERS[0], signer=REQUESTER.address)))

    assert WireCode.WRONG_SIGNER == refused.value.reason


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31), GROUP_ORDER.to_bytes(32, "big")])
def test_a_bad_account_key_is_refused(secret: bytes) -> None:
    """Length and range."""
    with pytest.raises(ValueError, match=r"."):
        AccountKey(secret)


def test_a_box_opens_only_in_its_place() -> None:
    """Another key, another place, any changed byte."""
    info = payload_info(DIGEST)
    box = seal(b"payload", PROVER_SEALS[0].public, info)

    assert b"payload" == PROVER_SEALS[0].open(box, info)
    assert len(b"payload") + SEAL_OVERHEAD == len(box)
    for key, place, sealed in (
        (PROVER_SEALS[1], info, box),
        (PROVER_SEALS[0], payload_info(bytes(32)), box),
        (PROVER_SEALS[0], bid_info(DIGEST, PROVERS[0].address, DIGEST), box),
        (PROVER_SEALS[0], info, box[:-1]),
        (PROVER_SEALS[0], info, b""),
        (PROVER_SEALS[0], info, bytes(32) + box[32:]),
        *((PROVER_SEALS[0], info, box[:i] + bytes([box[i] ^ 1]) + box[i + 1 :]) for i in range(len(box))),
    ):
        with pytest.raises(SealError):
            key.open(sealed, place)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(32)])
def test_a_key_of_small_order_cannot_be_sealed_to(public: bytes) -> None:
    """All boxes to the zero point would open to anybody."""
    with pytest.raises(SealError):
        seal(b"payload", public, b"")


def test_seal_keys_hide_their_secret() -> None:
    """In logs and tracebacks."""
    assert ("31" * 32) not in repr(SealKeyPair(b"\x31" * 32))
