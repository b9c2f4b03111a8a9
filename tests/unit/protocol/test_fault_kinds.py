"""Each kind of evidence: the real thing convinces a stranger from its bytes alone, and nothing near it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from protocol.agreement import (
    Ack,
    Agreement,
    Decline,
    Settlement,
    agreement_of,
    awarded_agreement,
    by_key,
    pack_dated,
    pack_decline,
    pack_settlement,
)
from protocol.codec import encode_body, read_frame
from protocol.commitments import bids_root, pack_opening
from protocol.errors import Ignore, Reject
from protocol.faults import (
    WITNESSES_NEEDED,
    FaultKind,
    OpenTo,
    accusation_of,
    delivered_in,
    verify_accusation,
)
from protocol.gossip import validate
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import Award, BidsSeen, Fault, KeyRelease, ProofDelivery, RollupProof
from protocol.sealing import SealError, SealKeyPair, bid_info, seal_opening
from protocol.signing import AccountKey, ack_digest, agreement_digest, decline_digest
from protocol.table import core_id, statement_commit
from protocol.types import Hash32
from protocol.verdicts import WireCode
from tests.support.wire_samples import (
    MARKET,
    NOW_MS,
    NOW_S,
    PROVERS,
    REQUEST_SEAL,
    REQUESTER,
    AllTickets,
    award,
    bid,
    bids_seen,
    double_award,
    framed,
    opening,
    request,
    sealed_bid,
)

RELAYS = tuple(AccountKey(bytes([0x70 + n]) * 32) for n in range(WITNESSES_NEEDED))
LATE_MS = (NOW_S + 7_200) * 1000
CORE = b"the packed core of a table"
SALT = keccak256(b"statement salt")


def holds(fault: Fault) -> None:
    """What every node does with evidence, without any memory. Raises Reject."""
    accusation_of(fault, chain_id=MARKET.chain_id, market=MARKET.contract)
    verify_accusation(fault, chain_id=MARKET.chain_id, market=MARKET.contract)


def expect_nothing(fault: Fault) -> None:
    """It is no evidence, whatever the reason."""
    with pytest.raises(Reject):
        holds(fault)


# -- a better bid passed over ------------------------------------------------------------------------------------------


def left_out(**changes: Any) -> Award:
    """An award to PROVERS[1] as if PROVERS[0], who is cheaper, had not bid."""
    whole = award()
    alone = replace(whole, openings=whole.openings[1:], bid_count=1, **changes)
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, awarded_agreement(REQUESTER.address, request(), alone))
    return replace(alone, agreement_hash=digest, requester_signature=REQUESTER.sign_digest(digest))


def ignored(place: int = 0, pieces: dict[int, bytes] | None = None, price_wei: int = 10**14) -> Fault:
    """The fault about `left_out`; `pieces` replaces some."""
    told = sealed_bid(place, price_wei)
    whole = {
        0: framed(request()),
        1: framed(left_out(), sequence=2),
        2: encode_body(told),
        3: PROVERS[place].address + pack_opening(opening(place, price_wei)),
    }
    for number, relay in enumerate(RELAYS):
        whole[4 + number] = framed(bids_seen(told, sealed_bid(1, 2 * 10**14)), key=relay)
    whole |= pieces or {}
    return Fault(kind=int(FaultKind.BID_IGNORED), pieces=tuple(whole[place] for place in sorted(whole)))


def seen(relay: AccountKey, message: BidsSeen | None = None, **header: Any) -> bytes:
    """A relay's receipt for the bid of `ignored`."""
    return framed(message or bids_seen(sealed_bid(0)), key=relay, **header)


def test_three_relays_show_that_a_better_bid_was_there_in_time() -> None:
    """The request, the award, the bid, its opening and three receipts are all that anybody needs."""
    holds(ignored())
    said = accusation_of(ignored(), chain_id=MARKET.chain_id, market=MARKET.contract)

    assert (FaultKind.BID_IGNORED, REQUESTER.address, request().request_id) == (said.kind, said.accused, said.subject)
    assert {relay.address for relay in RELAYS} == {account for account, _ in said.witnesses}
    assert OpenTo.NOBODY is said.open_to


def _unopenable() -> dict[int, bytes]:
    """A bid whose box holds rubbish: the requester could not have taken it, whatever the prover says now."""
    plain = replace(bid(0), sealed_opening=bytes(164))
    return {2: encode_body(plain)} | {4 + n: seen(relay, bids_seen(plain)) for n, relay in enumerate(RELAYS)}


def _sealed_to_another_key() -> dict[int, bytes]:
    info = bid_info(request().request_id, PROVERS[0].address, bid(0).bid_hash)
    box = seal_opening(pack_opening(opening(0)), opening(0).salt, SealKeyPair(b"\x09" * 32).public, info)
    other = replace(bid(0), sealed_opening=box)
    return {2: encode_body(other)} | {4 + n: seen(relay, bids_seen(other)) for n, relay in enumerate(RELAYS)}


def _other_bond() -> dict[int, bytes]:
    other = replace(sealed_bid(0), bond_wei=sealed_bid(0).bond_wei + 1)
    return {2: encode_body(other)} | {4 + n: seen(relay, bids_seen(other)) for n, relay in enumerate(RELAYS)}


FORGED_BIDS: dict[str, Callable[[], Fault]] = {
    "it was awarded": lambda: ignored(pieces={1: framed(award(), sequence=2)}),
    "it was awarded as a runner-up": lambda: ignored(1, {1: framed(award(), sequence=2)}, 2 * 10**14),
    "it is not better": lambda: ignored(2, {3: PROVERS[2].address + pack_opening(opening(2, 3 * 10**14))}, 3 * 10**14),
    "an award of a runner-up": lambda: ignored(pieces={1: framed(award(rank=2), sequence=2)}),
    "an award of nobody": lambda: ignored(pieces={1: framed(replace(left_out(), openings=()), sequence=2)}),
    "an award by another": lambda: ignored(pieces={1: framed(left_out(), key=PROVERS[0])}),
    "an award that nobody signed": lambda: ignored(
        pieces={1: framed(left_out(), key=PROVERS[0], signer=REQUESTER.address)}
    ),
    "another request": lambda: ignored(pieces={0: framed(request(tier=1))}),
    "a request whose id is not its own": lambda: ignored(pieces={0: framed(replace(request(), bond_min_wei=1))}),
    "a request that nobody signed": lambda: ignored(
        pieces={0: framed(request(), key=PROVERS[0], signer=REQUESTER.address)}
    ),
    "a request of another market": lambda: ignored(pieces={0: framed(request(), market=bytes(20))}),
    "another prover's opening": lambda: ignored(pieces={3: PROVERS[2].address + pack_opening(opening(0))}),
    "a cheaper opening than the bid": lambda: ignored(pieces={3: PROVERS[0].address + pack_opening(opening(0, 1))}),
    "an opening cut short": lambda: ignored(pieces={3: pack_opening(opening(0))}),
    "a bid that could not be opened": lambda: ignored(pieces=_unopenable()),
    "a bid sealed to another key": lambda: ignored(pieces=_sealed_to_another_key()),
    "a bid that says another bond": lambda: ignored(pieces=_other_bond()),
    "two relays": lambda: ignored(pieces={6: seen(RELAYS[0], sequence=9)}),
    "a relay that saw other bids": lambda: ignored(pieces={6: seen(RELAYS[2], bids_seen(sealed_bid(1)))}),
    "the prover as its own witness": lambda: ignored(pieces={6: seen(PROVERS[0])}),
    "the winner as a witness": lambda: ignored(pieces={6: seen(PROVERS[1])}),
    "the requester as a witness": lambda: ignored(pieces={6: seen(REQUESTER)}),
    "a receipt of after the award": lambda: ignored(
        pieces={6: seen(RELAYS[2], created_ms=NOW_MS + 9_000, expires_ms=NOW_MS + 60_000)}
    ),
    "a receipt that nobody signed": lambda: ignored(pieces={6: seen(PROVERS[2], signer=RELAYS[2].address)}),
    "a receipt of another chain": lambda: ignored(pieces={6: seen(RELAYS[2], chain_id=1)}),
    "a receipt for another request": lambda: ignored(
        pieces={6: seen(RELAYS[2], replace(bids_seen(sealed_bid(0)), request_id=bytes(32)))}
    ),
    "no receipts": lambda: replace(ignored(), pieces=ignored().pieces[:4]),
}


@pytest.mark.parametrize("name", FORGED_BIDS)
def test_nobody_makes_a_passed_over_bid_out_of_another(name: str) -> None:
    """Each variant lacks one thing that makes the real one true."""
    expect_nothing(FORGED_BIDS[name]())


def test_a_bid_that_would_have_been_late_was_rightly_passed_over() -> None:
    """Its own estimate was beyond the delivery."""
    slow = replace(opening(0), eta_ms=200_000)
    told = replace(sealed_bid(0), bid_hash=keccak256(b"slow"))
    expect_nothing(ignored(pieces={2: encode_body(told), 3: PROVERS[0].address + pack_opening(slow)}))


def test_relays_without_tickets_convince_nobody_and_blame_nobody() -> None:
    """Names cost nothing; a ticket costs a deposit."""

    class NoTickets:
        def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
            return None

    data = framed(ignored(), key=PROVERS[2], sequence=50)
    common: dict[str, Any] = {"market": MARKET, "now_ms": NOW_MS, "memory": GossipMemory()}
    with pytest.raises(Ignore) as refused:
        validate("fault", data, view=NoTickets(), **common)
    assert WireCode.UNKNOWN_TICKET == refused.value.reason
    assert ignored() == validate("fault", data, view=AllTickets(), **common).message


def test_an_opening_is_sealed_in_one_way_that_the_requester_opens() -> None:
    """By the library, which knows nothing of how the box was made; and by nobody else."""
    info = bid_info(request().request_id, PROVERS[0].address, bid(0).bid_hash)
    packed = pack_opening(opening(0))
    box = seal_opening(packed, opening(0).salt, REQUEST_SEAL.public, info)

    assert box == seal_opening(packed, opening(0).salt, REQUEST_SEAL.public, info)
    assert packed == REQUEST_SEAL.open(box, info)
    assert box[:32] != seal_opening(packed, opening(1).salt, REQUEST_SEAL.public, info)[:32]
    assert box[:32] != seal_opening(packed, opening(0).salt, REQUEST_SEAL.public, info + b"x")[:32]
    with pytest.raises(SealError):
        SealKeyPair(b"\x08" * 32).open(box, info)
    with pytest.raises(SealError):
        seal_opening(packed, opening(0).salt, bytes(32), info)


# -- agreements --------------------------------------------------------------------------------------------------------


def agreed(**changes: Any) -> Agreement:
    """What REQUESTER and PROVERS[0] agreed about CORE."""
    plain = agreement_of(REQUESTER.address, request(), 1, award().openings[0])
    return replace(plain, **{"statement_commit": statement_commit(Hash32(SALT), core_id(CORE))} | changes)


def digest_of(agreement: Agreement) -> bytes:
    """agreementHash."""
    return agreement_digest(MARKET.chain_id, MARKET.contract, agreement)


def settled(
    agreement: Agreement | None = None, requester: AccountKey = REQUESTER, prover: AccountKey = PROVERS[0]
) -> bytes:
    """A settlement with both signatures."""
    agreement = agreement or agreed()
    digest = digest_of(agreement)
    return pack_settlement(
        Settlement(
            agreement=agreement,
            salt=SALT,
            requester_signature=by_key(requester.sign_digest(digest)),
            prover_signature=by_key(prover.sign_digest(digest)),
        )
    )


def acked(prover: AccountKey = PROVERS[0], ack_at: int | None = None, **changes: Any) -> bytes:
    """The prover's dated Ack."""
    at = agreed().ack_by if ack_at is None else ack_at
    fields: dict[str, Any] = {"agreement_hash": digest_of(agreed()), "payload_commit": agreed().payload_commit}
    ack = Ack(**(fields | changes), ack_at=at)
    return pack_dated(at, by_key(prover.sign_digest(ack_digest(MARKET.chain_id, MARKET.contract, ack))))


def no_proof(settlement: bytes | None = None, ack: bytes | None = None) -> Fault:
    """An Ack that came to nothing."""
    return Fault(kind=int(FaultKind.NO_PROOF), pieces=(settlement or settled(), ack or acked()))


def test_an_ack_without_a_proof_is_told_when_it_is_due_and_left_to_l1() -> None:
    """What the prover owed is in the bytes; that it gave nothing is on chain."""
    holds(no_proof())
    said = accusation_of(no_proof(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (PROVERS[0].address, digest_of(agreed()), OpenTo.L1) == (said.accused, said.subject, said.open_to)

    memory = GossipMemory()
    early = framed(no_proof(), key=PROVERS[2], sequence=50)
    with pytest.raises(Ignore) as refused:
        validate("fault", early, market=MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())
    assert WireCode.EARLY_FAULT == refused.value.reason
    due = framed(no_proof(), key=PROVERS[2], sequence=51, created_ms=LATE_MS, expires_ms=LATE_MS + 1_000)
    assert no_proof() == validate("fault", due, market=MARKET, now_ms=LATE_MS, memory=memory, view=AllTickets()).message


@pytest.mark.parametrize(
    "fault",
    [
        no_proof(settled(prover=PROVERS[1])),
        no_proof(settled(requester=PROVERS[1])),
        no_proof(settled(agreed(price_wei=1))),
        no_proof(ack=acked(PROVERS[1])),
        no_proof(ack=acked(agreement_hash=bytes(32))),
        no_proof(ack=acked(payload_commit=bytes(32))),
        no_proof(ack=acked(ack_at=agreed().ack_by + 1)),
        no_proof(ack=(agreed().ack_by - 1).to_bytes(8, "big") + acked()[8:]),
        no_proof(ack=acked()[:-1]),
        replace(no_proof(), pieces=no_proof().pieces[:1]),
        replace(no_proof(), pieces=(*no_proof().pieces, b"x")),
    ],
)
def test_without_its_own_ack_a_prover_owes_nothing(fault: Fault) -> None:
    """Other signatures, another agreement, another payload, an Ack that came too late, or was cut."""
    expect_nothing(fault)


PROOFS = (RollupProof(rollup_id=1, system=bytes(20), proof=b"rubbish"),)


def delivery(key: AccountKey = PROVERS[0], agreement_hash: bytes | None = None, **header: Any) -> bytes:
    """The prover's PROOF_DELIVERY."""
    message = ProofDelivery(
        request_id=agreed().request_id,
        agreement_hash=agreement_hash or digest_of(agreed()),
        proofs=PROOFS,
        prove_ms=1,
    )
    return framed(message, key=key, **header)


def bad_proof(settlement: bytes | None = None, frame: bytes | None = None, core: bytes = CORE) -> Fault:
    """A delivery that its receiver found wanting."""
    pieces = (settlement or settled(), frame or delivery(), core)
    return Fault(kind=int(FaultKind.BAD_PROOF), pieces=pieces)


def test_a_bad_proof_comes_with_all_that_a_verifier_needs() -> None:
    """The agreement binds the table, the delivery the proof; both are the prover's own word."""
    holds(bad_proof())
    said = accusation_of(bad_proof(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (PROVERS[0].address, OpenTo.VERIFIER) == (said.accused, said.open_to)

    given = delivered_in(bad_proof(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (agreed(), digest_of(agreed()), CORE, PROOFS) == (
        given.agreement,
        given.agreement_hash,
        given.core,
        given.proofs,
    )


@pytest.mark.parametrize(
    "fault",
    [
        bad_proof(core=CORE + b"x"),
        bad_proof(settled(agreed(statement_commit=bytes(32)))),
        bad_proof(settled(prover=PROVERS[1])),
        bad_proof(frame=delivery(PROVERS[1])),
        bad_proof(frame=delivery(PROVERS[1], signer=PROVERS[0].address)),
        bad_proof(frame=delivery(agreement_hash=bytes(32))),
        bad_proof(frame=delivery(chain_id=1)),
        bad_proof(frame=framed(request())),
        bad_proof(settled() + (1).to_bytes(2, "big") + bytes(32) + settled()[-132:]),
    ],
)
def test_a_proof_of_another_table_or_by_another_is_not_held_against_a_prover(fault: Fault) -> None:
    """Another core, agreement, deliverer, market; or after an amend, of which no bytes tell when it was signed."""
    expect_nothing(fault)


# -- payloads ----------------------------------------------------------------------------------------------------------


def release(size: int, key: AccountKey = REQUESTER, **changes: Any) -> bytes:
    """KEY_RELEASE of a box of this many bytes."""
    header = {name: changes.pop(name) for name in ("signer", "market") if name in changes}
    fields: dict[str, Any] = {"request_id": request().request_id, "agreement_hash": digest_of(agreed())}
    fields |= {"statement_commit": bytes(32), "amend_signature": b""}
    return framed(KeyRelease(**(fields | changes), cipher_bytes=size, cipher_hash=bytes(32)), key=key, **header)


SAID = (1 << request().size_log2) + 48


def wrong_size(asked: bytes | None = None, sent: bytes | None = None) -> Fault:
    """A payload twice as large as was said."""
    pieces = (asked or framed(request()), sent or release(2 * SAID - 48))
    return Fault(kind=int(FaultKind.WRONG_SIZE), pieces=pieces)


def test_an_oversize_payload_convicts_whoever_announced_its_size() -> None:
    """Request and release are both the requester's; the box itself is not needed."""
    holds(wrong_size())
    holds(wrong_size(sent=release(SAID - 1)))
    said = accusation_of(wrong_size(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (REQUESTER.address, request().request_id) == (said.accused, said.subject)


@pytest.mark.parametrize(
    "fault",
    [
        wrong_size(sent=release(SAID)),
        wrong_size(sent=release(2 * SAID, PROVERS[0])),
        wrong_size(sent=release(2 * SAID, PROVERS[0], signer=REQUESTER.address)),
        wrong_size(sent=release(2 * SAID, request_id=bytes(32))),
        wrong_size(sent=release(2 * SAID, market=bytes(20))),
        wrong_size(asked=framed(request(size_log2=13))),
        wrong_size(asked=framed(replace(request(), size_log2=13))),
        wrong_size(asked=framed(request(), key=PROVERS[0], signer=REQUESTER.address)),
    ],
)
def test_a_payload_of_the_size_that_was_said_is_no_fault(fault: Fault) -> None:
    """Nor one that somebody else sent, or for another request."""
    expect_nothing(fault)


def declined(
    requester: AccountKey = REQUESTER, prover: AccountKey = PROVERS[0], verdict: int = 1, **changes: Any
) -> bytes:
    """A decline that both signed."""
    fields: dict[str, Any] = {"agreement_hash": digest_of(agreed()), "verdict": verdict, "fee_wei": 10**13}
    decline = Decline(**(fields | changes))
    digest = decline_digest(MARKET.chain_id, MARKET.contract, decline)
    return pack_decline(decline, by_key(requester.sign_digest(digest)), by_key(prover.sign_digest(digest)))


def broken(settlement: bytes | None = None, decline: bytes | None = None) -> Fault:
    """A payload that broke its envelope, as its sender admits."""
    pieces = (settlement or settled(), decline or declined())
    return Fault(kind=int(FaultKind.BROKEN_ENVELOPE), pieces=pieces)


def test_a_countersigned_decline_is_an_admission() -> None:
    """Of the requester, about its own envelope."""
    holds(broken())
    said = accusation_of(broken(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (REQUESTER.address, request().request_id) == (said.accused, said.subject)


@pytest.mark.parametrize(
    "fault",
    [
        broken(decline=declined(requester=PROVERS[0])),
        broken(decline=declined(prover=REQUESTER)),
        broken(decline=declined(verdict=3)),
        broken(decline=b"\x02" + declined()[1:]),
        broken(decline=declined(agreement_hash=bytes(32))),
        broken(decline=declined()[:-1]),
        broken(settled(requester=PROVERS[0])),
    ],
)
def test_a_decline_that_its_sender_did_not_sign_admits_nothing(fault: Fault) -> None:
    """One signature, the wrong ones, another verdict or agreement."""
    expect_nothing(fault)


# -- all of them -------------------------------------------------------------------------------------------------------

REAL = {
    FaultKind.DOUBLE_AWARD: double_award(),
    FaultKind.BID_IGNORED: ignored(),
    FaultKind.NO_PROOF: no_proof(),
    FaultKind.BAD_PROOF: bad_proof(),
    FaultKind.WRONG_SIZE: wrong_size(),
    FaultKind.BROKEN_ENVELOPE: broken(),
}


@pytest.mark.parametrize("kind", REAL)
def test_every_changed_byte_of_evidence_spoils_it(kind: FaultKind) -> None:
    """One byte in each stretch of every piece; a salt that opens nothing public may be anything."""
    real = REAL[kind]
    holds(real)
    for place, piece in enumerate(real.pieces):
        step = max(1, len(piece) // 40)
        for at in range(0, len(piece), step):
            if kind in (FaultKind.NO_PROOF, FaultKind.BROKEN_ENVELOPE) and place == 0 and 261 <= at < 293:
                continue
            changed = piece[:at] + bytes([piece[at] ^ 0x10]) + piece[at + 1 :]
            pieces = (*real.pieces[:place], changed, *real.pieces[place + 1 :])
            expect_nothing(replace(real, pieces=pieces))


@pytest.mark.parametrize("kind", REAL)
def test_evidence_fits_into_its_frame_and_is_told_once(kind: FaultKind) -> None:
    """Whoever tells it, in whatever frame."""
    memory = GossipMemory()
    first, second = (
        framed(REAL[kind], key=key, sequence=60, created_ms=LATE_MS, expires_ms=LATE_MS + 1_000) for key in PROVERS[:2]
    )
    common: dict[str, Any] = {"market": MARKET, "now_ms": LATE_MS, "memory": memory, "view": AllTickets()}
    assert read_frame(first).body == encode_body(REAL[kind])
    assert REAL[kind] == validate("fault", first, **common).message
    with pytest.raises(Ignore) as refused:
        validate("fault", second, **common)
    assert WireCode.KNOWN_FAULT == refused.value.reason


def test_the_largest_evidence_fits() -> None:
    """Three receipts of sixty-four bids each."""
    full = tuple(sorted({keccak256(encode_body(sealed_bid(0))), *(keccak256(bytes([n])) for n in range(63))}))
    assert 64 == len(full)
    message = replace(bids_seen(sealed_bid(0)), bids=full)
    fault = ignored(pieces={4 + n: seen(relay, message) for n, relay in enumerate(RELAYS)})

    holds(fault)
    assert (
        fault
        == validate(
            "fault", framed(fault, sequence=9), market=MARKET, now_ms=NOW_MS, memory=GossipMemory(), view=AllTickets()
        ).message
    )


def test_only_known_kinds_with_their_pieces_are_read() -> None:
    """Anything else is refused before a signature is looked at."""
    for kind in (0, 8, 255):
        expect_nothing(replace(double_award(), kind=kind))
    for kind in REAL:
        expect_nothing(replace(REAL[kind], pieces=()))
        expect_nothing(replace(REAL[kind], pieces=REAL[kind].pieces[:-1]))


# -- receipts on the wire ----------------------------------------------------------------------------------------------


def test_receipts_are_bounded_and_each_relay_speaks_once() -> None:
    """Of a known request, ascending, with a live ticket."""
    memory = GossipMemory()
    common: dict[str, Any] = {"market": MARKET, "now_ms": NOW_MS, "memory": memory, "view": AllTickets()}

    def refused(data: bytes) -> tuple[type, Any]:
        with pytest.raises((Reject, Ignore)) as caught:
            validate("bid", data, **common)
        return type(caught.value), caught.value.reason

    list_ = bids_seen(bid(0), bid(1))
    assert (Ignore, WireCode.UNKNOWN_REQUEST) == refused(framed(list_, key=RELAYS[0]))
    validate("req", framed(request(), sequence=1), **common)
    assert (Reject, WireCode.BAD_LIST) == refused(framed(replace(list_, bids=()), key=RELAYS[0]))
    assert (Reject, WireCode.BAD_LIST) == refused(framed(replace(list_, bids=list_.bids[::-1]), key=RELAYS[0]))
    assert (Reject, WireCode.BAD_LIST) == refused(framed(replace(list_, bids=list_.bids[:1] * 2), key=RELAYS[0]))
    assert (Ignore, WireCode.UNKNOWN_TICKET) == refused(framed(replace(list_, ticket=100), key=RELAYS[0]))
    validate("bid", framed(list_, key=RELAYS[0]), **common)
    assert (Ignore, WireCode.REPLAYED) == refused(framed(list_, key=RELAYS[0], sequence=2))
    for number in range(15):
        validate("bid", framed(list_, key=AccountKey(bytes([0x40 + number]) * 32)), **common)
    assert (Ignore, WireCode.WITNESSES_FULL) == refused(framed(list_, key=RELAYS[1]))


def test_only_closed_requests_with_bids_are_witnessed() -> None:
    """From the close of bids until nobody may be awarded any more."""
    memory = GossipMemory()
    common: dict[str, Any] = {"market": MARKET, "now_ms": NOW_MS, "memory": memory, "view": AllTickets()}
    validate("req", framed(request()), **common)
    assert () == memory.closed(request().bid_close_ms)
    validate("bid", framed(bid(0), key=PROVERS[0]), **common)

    assert () == memory.closed(request().bid_close_ms - 1)
    (known,) = memory.closed(request().bid_close_ms)
    assert {PROVERS[0].address: encode_body(bid(0))} == known.bodies
    assert () == memory.closed(request().accept_by_ms + 1)
    assert bids_root([]) == bytes(32)
