"""Second adversarial round, signatures: one form for each, one meaning for each, and no account that never signed.

Forgeries that fail, named after what they prevent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from node.chain.evm import Call
from protocol.agreement import (
    Ack,
    Decline,
    SignedAmend,
    StatementAmend,
    by_contract,
    by_key,
    pack_dated,
    pack_decline,
)
from protocol.agreement import Receipt as ReceiptOf
from protocol.constants import MAX_CONTRACT_SIGNATURE, SIGNATURE_GAS
from protocol.contracts.artifacts import call_data
from protocol.hashing import selector
from protocol.signing import (
    GROUP_ORDER,
    HALF_ORDER,
    AccountKey,
    ack_digest,
    agreement_digest,
    amend_digest,
    decline_digest,
    receipt_digest,
)
from protocol.table import core_id, encode_core
from tests.contracts.test_response_registry import register, response
from tests.support.evmworld import CHAIN_ID, Contract
from tests.support.marketworld import (
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    ack_bytes,
    agree,
    amended,
    claim,
    declined_bytes,
    digest,
    land,
    paid,
    parties,
    receipt_bytes,
    settle_bytes,
    table,
)
from tests.support.rollupworld import PROGRAM, Setup, abi, deploy_rollups, expect_revert, l1_call, proxy_of, word

MAGIC = selector("isValidSignature(bytes32,bytes)").to_bytes(4, "big")


@pytest.fixture
def made_here(_world: Setup) -> Iterator[Setup]:
    """The world of the other tests, but not on anvil, which mines no transaction whose gas is below its data's cost."""
    point = _world.world.snapshot()
    yield _world
    _world.world.restore(point)


# -- one form ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a packed signature is handed in, all else being right."""

    signature: bytes
    """The right one: 0 | r | s | v."""
    send: Callable[[bytes], Any]
    later: int = 0
    """Seconds until it may be handed in."""


def places(made: Setup, who: Party) -> dict[str, Place]:
    """Every signature that the market reads."""
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    agreed = digest(made, agreement)
    settlement = settle_bytes(made, who, agreement)
    amend = amended(made, who, agreement, moved)
    ack, receipt = ack_bytes(made, who, agreement), receipt_bytes(made, who, agreement, core)
    declined = declined_bytes(made, who, agreement, 7)

    def record(**changes: Any) -> Any:
        return made.market.send("record", settle_bytes(made, who, agreement, **changes), sender=made.stranger)

    def send(function: str, *arguments: bytes) -> Any:
        return made.market.send(function, *arguments, sender=made.stranger)

    requester, prover = (by_key(key.sign_digest(agreed)) for key in (who.requester, who.prover))
    return {
        "requester": Place(signature=requester, send=lambda s: record(requester_signature=s)),
        "prover": Place(signature=prover, send=lambda s: record(prover_signature=s)),
        "amend, requester": Place(
            signature=amend.requester_signature,
            send=lambda s: record(amend=replace(amend, requester_signature=s)),
        ),
        "amend, prover": Place(
            signature=amend.prover_signature, send=lambda s: record(amend=replace(amend, prover_signature=s))
        ),
        "decline, requester": Place(
            signature=declined[13:79], send=lambda s: send("decline", settlement, declined[:13] + s + declined[79:])
        ),
        "decline, prover": Place(
            signature=declined[79:], send=lambda s: send("decline", settlement, declined[:79] + s)
        ),
        "receipt": Place(
            signature=receipt[8:],
            send=lambda s: claim(made, who, core, agreement, receipt=receipt[:8] + s),
            later=400,
        ),
        "ack": Place(signature=ack[8:], send=lambda s: send("slash", settlement, ack[:8] + s, b""), later=601),
    }


PLACES = (
    "requester",
    "prover",
    "amend, requester",
    "amend, prover",
    "decline, requester",
    "decline, prover",
    "receipt",
    "ack",
)


def malleations(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Other writings of a signature `0 | r | s | v`, and what is none."""
    r, s, v = good[1:33], good[33:65], good[65]
    number = int.from_bytes(s, "big")
    other_v = 55 - v
    for name, changed in (
        ("high s", r + (GROUP_ORDER - number).to_bytes(32, "big") + bytes((other_v,))),
        ("high s, same v", r + (GROUP_ORDER - number).to_bytes(32, "big") + bytes((v,))),
        ("s plus the order", r + ((number + GROUP_ORDER) % 2**256).to_bytes(32, "big") + bytes((v,))),
        ("s just above half", r + (HALF_ORDER + 1).to_bytes(32, "big") + bytes((v,))),
        ("s 0", r + bytes(32) + bytes((v,))),
        ("r 0", bytes(32) + s + bytes((v,))),
        ("r the order", GROUP_ORDER.to_bytes(32, "big") + s + bytes((v,))),
        ("r and s swapped", s + r + bytes((v,))),
        ("nothing", bytes(65)),
        ("compact", r + (number | (v - 27) << 255).to_bytes(32, "big") + b"\0"),
        *((f"v {wrong}", r + s + bytes((wrong,))) for wrong in (0, 1, 2, 26, other_v, 29, 30, 35, 36, 128, 255)),
    ):
        yield name, b"\0" + changed
    yield "no kind", good[1:]
    yield "64 bytes", good[:65]
    yield "66 bytes", good + b"\0"
    yield "empty", b""
    for kind in (3, 4, 27, 255):
        yield f"kind {kind}", bytes((kind,)) + good[1:]
    yield "asked of an account without code", by_contract(good[1:])
    yield "too long", b"\1" + (MAX_CONTRACT_SIGNATURE + 1).to_bytes(2, "big") + bytes(MAX_CONTRACT_SIGNATURE + 1)
    yield "longer than it is", b"\1\4\0" + good[1:]


@pytest.mark.parametrize("place", PLACES)
def test_a_signature_has_one_form(made: Setup, who: Party, place: str) -> None:
    where = places(made, who)[place]
    made.world.pass_time(where.later)
    for _, bad in malleations(where.signature):
        with expect_revert("(BadSignature|MalformedSignature|MalformedSettlement|StaleAmend)"):
            where.send(bad)
    where.send(where.signature)


def test_all_places_are_covered(made: Setup, who: Party) -> None:
    assert tuple(places(made, who)) == PLACES


# -- one meaning -------------------------------------------------------------------------------------------------------


def test_an_ack_is_no_receipt_and_a_receipt_no_ack(made: Setup, who: Party) -> None:
    """One account on both sides, equal words: only the type tells them apart."""
    itself = Party(requester=who.prover, prover=who.prover, payee=who.payee)
    core = table(made, itself)
    agreement = agree(made, itself, core, payload_commit=core_id(encode_core(core)))
    ack, receipt = ack_bytes(made, itself, agreement, 7), receipt_bytes(made, itself, agreement, core, 7)
    assert ack[:8] == receipt[:8]
    made.world.pass_time(400)
    with expect_revert("BadSignature"):
        claim(made, itself, core, agreement, receipt=ack)
    made.world.pass_time(201)
    with expect_revert("BadSignature"):
        made.market.send("slash", settle_bytes(made, itself, agreement), receipt, b"", sender=made.stranger)


def test_an_amend_is_no_decline_and_a_decline_no_amend(made: Setup, who: Party) -> None:
    """Counter as verdict, statement as fee: the words are equal."""
    agreement = agree(made, who, table(made, who))
    agreed = digest(made, agreement)
    market = made.market.address
    decline = Decline(agreement_hash=agreed, verdict=1, fee_wei=7)
    amend = StatementAmend(agreement_hash=agreed, counter=1, statement_commit=word(7))
    of_decline, of_amend = decline_digest(CHAIN_ID, market, decline), amend_digest(CHAIN_ID, market, amend)
    keys = who.requester, who.prover
    as_amend = SignedAmend(
        counter=1,
        statement_commit=word(7),
        requester_signature=by_key(keys[0].sign_digest(of_decline)),
        prover_signature=by_key(keys[1].sign_digest(of_decline)),
    )
    with expect_revert("BadSignature"):
        made.market.send("record", settle_bytes(made, who, agreement, amend=as_amend), sender=made.stranger)
    as_decline = pack_decline(decline, *(by_key(key.sign_digest(of_amend)) for key in keys))
    with expect_revert("BadSignature"):
        made.market.send("decline", settle_bytes(made, who, agreement), as_decline, sender=made.stranger)


def test_the_signature_of_an_agreement_signs_nothing_about_it(made: Setup, who: Party) -> None:
    """The agreement's own signatures, offered as those of its amend, decline and Ack."""
    core = table(made, who)
    agreement = agree(made, who, core)
    agreed = digest(made, agreement)
    both = [by_key(key.sign_digest(agreed)) for key in (who.requester, who.prover)]
    amend = replace(amended(made, who, agreement, core), requester_signature=both[0], prover_signature=both[1])
    with expect_revert("BadSignature"):
        made.market.send("record", settle_bytes(made, who, agreement, amend=amend), sender=made.stranger)
    decline = pack_decline(Decline(agreement_hash=agreed, verdict=0, fee_wei=0), *both)
    with expect_revert("BadSignature"):
        made.market.send("decline", settle_bytes(made, who, agreement), decline, sender=made.stranger)
    made.world.pass_time(601)
    with expect_revert("BadSignature"):
        made.market.send(
            "slash",
            settle_bytes(made, who, agreement),
            pack_dated(agreement.ack_by, both[1]),
            b"",
            sender=made.stranger,
        )


@pytest.mark.parametrize("elsewhere", ["chain", "market"])
def test_what_was_signed_for_another_chain_or_market_means_nothing_here(
    made: Setup, who: Party, elsewhere: str
) -> None:
    """Each of the five types, by the right keys, under another domain."""
    chain, market = (CHAIN_ID + 1, made.market.address) if elsewhere == "chain" else (CHAIN_ID, b"\x44" * 20)
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    agreed, settlement = digest(made, agreement), settle_bytes(made, who, agreement)

    def signed(key: AccountKey, what: bytes) -> bytes:
        return by_key(key.sign_digest(what))

    other = agreement_digest(chain, market, agreement)
    for role in ("requester", "prover"):
        foreign = settle_bytes(made, who, agreement, **{f"{role}_signature": signed(getattr(who, role), other)})
        with expect_revert("BadSignature"):
            made.market.send("record", foreign, sender=made.stranger)
    amend = amended(made, who, agreement, moved)
    what = amend_digest(
        chain,
        market,
        StatementAmend(agreement_hash=agreed, counter=1, statement_commit=amend.statement_commit),
    )
    for role in ("requester", "prover"):
        changes: dict[str, Any] = {f"{role}_signature": signed(getattr(who, role), what)}
        foreign_amend = replace(amend, **changes)
        with expect_revert("BadSignature"):
            made.market.send("record", settle_bytes(made, who, agreement, amend=foreign_amend), sender=made.stranger)
    decline = Decline(agreement_hash=agreed, verdict=0, fee_wei=0)
    what = decline_digest(chain, market, decline)
    with expect_revert("BadSignature"):
        made.market.send(
            "decline",
            settlement,
            pack_decline(decline, signed(who.requester, what), signed(who.prover, what)),
            sender=made.stranger,
        )
    made.world.pass_time(400)
    receipt = ReceiptOf(agreement_hash=agreed, core_id=core_id(encode_core(core)), received_at=1)
    with expect_revert("BadSignature"):
        claim(
            made,
            who,
            core,
            agreement,
            receipt=pack_dated(1, signed(who.requester, receipt_digest(chain, market, receipt))),
        )
    made.world.pass_time(201)
    ack = Ack(agreement_hash=agreed, payload_commit=agreement.payload_commit, ack_at=1)
    with expect_revert("BadSignature"):
        made.market.send(
            "slash",
            settlement,
            pack_dated(1, signed(who.prover, ack_digest(chain, market, ack))),
            b"",
            sender=made.stranger,
        )


def test_a_settlement_of_one_market_pays_nothing_in_another(made: Setup, who: Party) -> None:
    """The same accounts have the same tickets in both."""
    second = deploy_rollups(made.world)
    market = Contract(made.world, "ProofMarket", bytes.fromhex(second.view("market")[2:]))
    other = replace(made, rollups=second, market=market)
    for rollup_id in (1, 2):
        other.create_rollup(rollup_id)
    for key in (who.requester, who.prover):
        market.send("deposit", TICKET_CLASS, 1, sender=key.address, value=2 * TICKET)
    core = table(made, who)
    agreement = agree(made, who, core)
    packed = settle_bytes(made, who, agreement)
    with expect_revert("BadSignature"):
        claim(other, who, core, agreement, packed)
    with expect_revert("AgreementMismatch"):  # even with the proofs of the first
        proofs = made.proofs(core, agreement.payee, digest(made, agreement))
        market.send(
            "claimWithProof", encode_core(core), proofs, settle_bytes(other, who, agreement), b"", sender=made.user
        )
    claim(made, who, core, agreement, packed)
    assert (paid(made, who), paid(other, who)) == (PRICE, 0)


# -- accounts that never signed ----------------------------------------------------------------------------------------


def contracts_of(made: Setup) -> dict[str, bytes]:
    """Every address of the system that anybody could name as a party."""
    runner = made.world.deploy("BundleRunner")
    groth16 = made.world.deploy("Groth16ProofSystem")
    return {
        "rollups": made.rollups.address,
        "market": made.market.address,
        "reader": bytes.fromhex(made.rollups.view("reader")[2:]),
        "module": bytes.fromhex(made.rollups.view("module")[2:]),
        "proxy": proxy_of(made, PROGRAM, 1).address,
        "runner": runner.address,
        "proof system": made.accept_all.address,
        "groth16": groth16.address,
        "oracle": made.oracle.address,
    } | {f"precompile {i}": i.to_bytes(20, "big") for i in (*range(18), 0x100)}


def test_no_contract_of_the_system_and_no_precompile_ever_signs(made_here: Setup) -> None:
    """Nobody can be made requester or prover by naming an address that answers whatever it is asked."""
    made, who = made_here, parties(made_here)
    for name, address in contracts_of(made).items():
        for role in ("requester", "prover"):
            agreement = agree(made, who, table(made, who), **{role: address})
            for data in (b"", bytes(32), bytes(65), MAGIC.ljust(32, b"\0"), bytes(MAX_CONTRACT_SIGNATURE)):
                for packed in (by_contract(data), by_contract(data, submitter=address), by_key(bytes(65))):
                    with expect_revert("BadSignature"):
                        made.market.send(
                            "record",
                            settle_bytes(made, who, agreement, **{f"{role}_signature": packed}),
                            sender=made.stranger,
                        )
        assert name


def test_a_proxy_does_not_sign_although_a_proven_response_says_yes(made: Setup, who: Party) -> None:
    """Anybody registers a table in which a rollup's program answers the market's question with the magic value."""
    proxy = proxy_of(made, PROGRAM, 1).address
    core = table(made, who)
    agreement = agree(made, who, core, prover=proxy)
    question = MAGIC + abi(("bytes32", digest(made, agreement)), ("bytes", b"yes"))
    yes = response(made, l1_call(made.market.address, 1, data=question), data=MAGIC.ljust(32, b"\0"))
    register(made, yes)
    with expect_revert("BadSignature"):
        made.market.send(
            "record", settle_bytes(made, who, agreement, prover_signature=by_contract(b"yes")), sender=made.stranger
        )
    assert made.root(1) == 1000


def test_nobody_signs_for_address_zero(made: Setup, who: Party) -> None:
    """A signature that recovers to nothing, a submitter that is nobody."""
    core = table(made, who)
    for role in ("requester", "prover"):
        agreement = agree(made, who, core, **{role: bytes(20)})
        for packed in (by_key(bytes(65)), by_key(bytes(64) + b"\x1b"), by_contract(b""), by_contract(b"", bytes(20))):
            signed = settle_bytes(made, who, agreement, **{f"{role}_signature": packed})
            with expect_revert("BadSignature"):
                made.market.send("record", signed, sender=made.stranger)
    for submitter in (bytes(20), who.prover.address):
        with expect_revert("BadSubmitter"):
            made.market.send("proposeSubmitter", submitter, sender=who.prover.address)


# -- contracts that burn -----------------------------------------------------------------------------------------------


def burner(made: Setup, spared: int = 150) -> bytes:
    """A contract that burns nearly all its gas and then says yes; a call with ether it passes on to the market."""
    pay_on = bytes.fromhex("36 5f 5f 37 5f 5f 36 5f 34 73") + made.market.address + bytes.fromhex("5a f1 00")
    start = 5 + len(pay_on)
    branch = bytes.fromhex("34 15 60") + bytes((start,)) + b"\x57"
    say = bytes.fromhex("5b 7f") + MAGIC.ljust(32, b"\0") + bytes.fromhex("5f 52")
    loop = start + len(say)
    burn = bytes.fromhex("5b 61") + spared.to_bytes(2, "big") + bytes.fromhex("5a 11 60") + bytes((loop,)) + b"\x57"
    code = branch + pay_on + say + burn + bytes.fromhex("60 20 5f f3")
    creation = bytes.fromhex("60 0b 38 03 80 60 0b 5f 39 5f f3") + code
    created = made.world.run(Call(sender=made.stranger, to=None, data=creation)).created
    assert created is not None
    return created


def test_four_signatures_at_the_limit_leave_enough_to_pay(made: Setup, who: Party) -> None:
    """Agreement and amend, both sides contracts that burn all but 150 gas, the longest signatures, a new payee."""
    requester, prover = burner(made), burner(made)
    made.world.fund(made.stranger)
    deposit = call_data("ProofMarket", "deposit", TICKET_CLASS, 1)
    made.world.send_raw(requester, deposit, sender=made.stranger, value=2 * TICKET)
    assert made.market.view("ticketOf", requester, 0)[1] == TICKET
    core = table(made, who)
    agreement = agree(made, who, core, requester=requester, prover=prover, statement_commit=bytes(32))
    yes = by_contract(bytes(MAX_CONTRACT_SIGNATURE))
    amend = amended(made, who, agreement, core, requester_signature=yes, prover_signature=yes)
    packed = settle_bytes(made, who, agreement, requester_signature=yes, prover_signature=yes, amend=amend)
    receipt = land(made, who, core, agreement, packed)
    assert receipt.gas_used > 4 * (SIGNATURE_GAS - 500)
    assert paid(made, who) == PRICE


def test_no_amount_of_gas_buys_a_table_without_its_payment(made_here: Setup) -> None:
    """A load or claim that ends well has paid, however little gas it was given."""
    made, who = made_here, parties(made_here)
    core = table(made, who)
    agreement = agree(made, who, core)
    packed = settle_bytes(made, who, agreement)
    proofs = made.proofs(core, agreement.payee, digest(made, agreement))
    landing = call_data("IRollups", "loadAndRun", encode_core(core), proofs, b"\0", b"\0\0", packed)
    claiming = call_data("ProofMarket", "claimWithProof", encode_core(core), proofs, packed, b"")
    for to, data, sender in (
        (made.rollups.address, landing, who.requester.address),
        (made.market.address, claiming, made.stranger),
    ):
        worked = 0
        for gas in range(40_000, 440_000, 5_000):
            point = made.world.snapshot()
            outcome = made.world.run(Call(sender=sender, to=to, data=data, gas=gas))
            assert outcome.succeeded is (paid(made, who) == PRICE), gas
            worked += outcome.succeeded
            made.world.restore(point)
        assert 20 < worked < 80
