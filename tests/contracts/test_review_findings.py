"""Attacks that an adversarial review found: each test says what must hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.contracts.artifacts import call_data
from protocol.load import ProofItem, Proofs, config_hash, encode_proofs, lockset_systems_hash
from protocol.signing import AccountKey
from protocol.table import Entry, core_id, encode_core
from protocol.types import Address, Hash32, RollupId
from tests.contracts.test_response_registry import ASKS, RESPONSE, register, response
from tests.support.marketworld import (
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    agree,
    amended,
    claim,
    declined_bytes,
    digest,
    land,
    names,
    paid,
    receipt_bytes,
    settle_bytes,
    slash,
    table,
    ticket,
)
from tests.support.playing import play
from tests.support.rollupworld import (
    DELAY,
    FAMILY,
    PROGRAM,
    Setup,
    abi,
    answer,
    call_out,
    error_selector,
    expect_revert,
    l1_call,
    load_step,
    proxy_of,
    word,
)

OTHER_REQUEST = b"\x78" * 32


def sybil_of(made: Setup, who: Party) -> Party:
    """The requester and a prover that is its own."""
    key = AccountKey(b"\x07" * 32)
    made.world.fund(key.address)
    return Party(requester=who.requester, prover=key, payee=key.address)


def require_draining_costs_the_bond(made: Setup, who: Party, **changes: object) -> None:
    """The requester draws its ticket by a decline with a sybil, then the victim reports it."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, **changes)
    made.market.send(
        "decline", settle_bytes(made, sybil, own), declined_bytes(made, sybil, own, PRICE), sender=made.stranger
    )
    assert ticket(made, who.requester)[1] == 0
    packed = settle_bytes(made, sybil, own), settle_bytes(made, who, victim)
    made.market.send("slashEquivocation", *packed, b"\0" * 32, sender=made.stranger)
    assert paid(made, who) == PRICE


def test_a_decline_of_an_agreement_about_the_future_does_not_draw_a_ticket_for_free(made: Setup, who: Party) -> None:
    t = made.world.time + 601
    with expect_revert("AgreementNotOpen"):
        require_draining_costs_the_bond(
            made,
            who,
            request_id=OTHER_REQUEST,
            open_from=t,
            ack_by=t,
            deliver_by=t,
            claim_from=t,
            claim_by=t + 1,
        )


def test_a_decline_of_a_made_up_rank_does_not_draw_a_ticket_for_free(made: Setup, who: Party) -> None:
    require_draining_costs_the_bond(made, who, rank=2)


def test_a_decline_about_another_request_costs_the_bond(made: Setup, who: Party) -> None:
    require_draining_costs_the_bond(made, who, request_id=OTHER_REQUEST)


def test_a_ticket_lost_long_after_its_promise_ended_owes_that_promise_nothing(made: Setup, who: Party) -> None:
    core = table(made, who)
    over = agree(made, who, core)  # never delivered, never paid
    made.world.pass_time(5000)
    key = AccountKey(b"\x09" * 32)
    made.world.fund(key.address)
    made.market.send("deposit", TICKET_CLASS, 1, sender=key.address, value=2 * TICKET)
    both = Party(requester=key, prover=who.requester, payee=b"\x9b" * 20)
    later = agree(made, both, core, request_id=OTHER_REQUEST)
    made.world.pass_time(601)
    slash(made, both, later)
    packed = settle_bytes(made, both, later), settle_bytes(made, who, over)
    with expect_revert("NotEquivocation"):
        made.market.send("slashEquivocation", *packed, b"\0" * 32, sender=made.stranger)


def test_a_closed_table_hides_no_registered_response(made: Setup) -> None:
    """Alice's bundle ends its table; Bob's dapp, later in the transaction, gets the response that was registered."""
    consumer, bundle = made.world.deploy("Consumer"), made.world.deploy("Bundle")
    proxy = proxy_of(made, PROGRAM, 1)
    register(made, response(made, l1_call(consumer.address, 1, data=ASKS)))
    alices = made.open_core(
        [Entry(mid=False, new_root=1900, trigger=(c := l1_call(b"\x0a" * 20, 1)), next_action=answer(c))]
    )
    ask = (consumer.address, 0, call_data("Consumer", "ask", proxy.hex, ASKS))
    close = (made.rollups.address, 0, call_data("IRollups", "closeTable", core_id(encode_core(alices))))
    play(made, bundle, load_step(made, alices, ()), close, ask)
    assert consumer.view("lastAnswer") == RESPONSE


def test_a_callee_whose_failure_is_caught_cannot_end_the_flow(made: Setup) -> None:
    """Rollup 1 calls a contract that swallows its callees' failures; one of them leaves its own rollup mid."""
    router, mallory, bundle = (made.world.deploy(n) for n in ("Puppet", "Puppet", "Bundle"))
    inner = l1_call(mallory.address, 2, data=b"mall")
    evil = made.open_core([Entry(mid=True, new_root=2001, trigger=inner, next_action=answer(inner))], (2,))
    register(made, evil)
    pinned = call_data("IRollups", "callL2Pinned", core_id(encode_core(evil)), 2, PROGRAM, b"mall")
    mallory.send("instruct", made.rollups.hex, 0, pinned, sender=made.stranger)
    router.send("instruct", mallory.hex, 0, b"\x01\x02\x03\x04", sender=made.stranger)
    router.send("swallowFailures", True, sender=made.stranger)

    trigger = l1_call(made.user, 1, data=b"user")
    asked = call_out(1, 0, router.address, b"\x0a\x0b\x0c\x0d")
    first = Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked)
    entries = [first]
    for root, said in ((1002, abi(("bytes", b""))), (1003, error_selector("FlowNotFinal(uint256)") + word(2))):
        reply = answer(asked, said)
        entries.append(
            Entry(parent=0, reply_to=0, mid=False, new_root=root, trigger=reply, next_action=answer(trigger))
        )
    made.run(made.core(entries))
    assert made.root(1) in (1002, 1003)


def test_an_offer_that_cannot_be_met_any_more_makes_room(made: Setup) -> None:
    """Mallory's response stays behind while the state goes forth and back with younger tables."""
    consumer = made.world.deploy("Consumer")
    proxy = proxy_of(made, PROGRAM, 1)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, new_root=1900, data=b"old", valid_until=made.world.time + 10**6))
    made.world.pass_time(10)
    for new in (1001, 1000):
        t = l1_call(made.user, 1, data=b"move")
        made.run(made.core([Entry(mid=False, new_root=new, trigger=t, next_action=answer(t))]))
    register(made, response(made, call))
    consumer.send("ask", proxy.hex, ASKS, sender=made.user)
    assert made.root(1) == 1001


def test_a_made_up_rank_that_proves_a_table_of_its_own_does_not_draw_the_ticket_for_free(
    made: Setup, who: Party
) -> None:
    """No decline: a second 'rank' of the request, about the requester's own rollup 2, lands first."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    call = l1_call(who.requester.address, 2)
    dummy = made.core(
        [Entry(mid=False, new_root=2001, trigger=call, next_action=answer(call))],
        (2,),
        executor=who.requester.address,
    )
    own = agree(made, sybil, dummy, rank=2)
    land(made, sybil, dummy, own)
    assert names(claim(made, who, core, victim)) == ["DeliveredUnpaid"]
    packed = settle_bytes(made, sybil, own), settle_bytes(made, who, victim)
    made.market.send("slashEquivocation", *packed, core_id(encode_core(dummy)), sender=made.stranger)
    assert paid(made, who) == PRICE


def test_a_rank_of_its_own_cannot_draw_the_ticket_with_a_table_of_systems_that_were_not_agreed(
    made: Setup, who: Party
) -> None:
    """The rank promises what the victim's does, and is amended to a rollup with a proof system of its own."""
    lenient = replace(made, accept_all=made.world.deploy("AcceptAllProofSystem"))
    made.create_rollup(3, system=lenient.accept_all, owner=who.requester.address)
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, rank=2)
    call = l1_call(who.requester.address, 3)
    dummy = made.core(
        [Entry(mid=False, new_root=3001, trigger=call, next_action=answer(call))],
        (3,),
        executor=who.requester.address,
        valid_until=made.world.time + 1000,
    )
    packed = settle_bytes(made, sybil, own, amend=amended(made, sybil, own, dummy))
    with expect_revert("SystemsMismatch"):
        land(lenient, sybil, dummy, own, packed)
    made.world.pass_time(361)  # rank 1's turn to claim is over
    with expect_revert("SystemsMismatch"):
        claim(lenient, sybil, dummy, own, packed)
    claim(made, who, core, victim, receipt=receipt_bytes(made, who, victim, core))
    assert paid(made, who) == PRICE


@pytest.mark.parametrize("change", ["threshold", "further system", "family"])
def test_an_agreement_is_about_all_of_who_decides_what_a_proof_is(made: Setup, who: Party, change: str) -> None:
    """One more system of its own, or fewer that must agree, would let a requester say what was proven."""
    systems = sorted([made.accept_all.address, made.world.deploy("AcceptAllProofSystem").address])
    families, threshold = [FAMILY] * 2, 2
    agreed = lockset_systems_hash([config_hash(threshold, [Address(s) for s in systems], families)])
    if change == "threshold":
        threshold = 1
    elif change == "family":
        families = [FAMILY, Hash32(b"\xfb" * 32)]
    else:
        systems = sorted([*systems, made.world.deploy("AcceptAllProofSystem").address])
        families = [FAMILY] * 3
    made.rollups.send(
        "createRollup", (systems, families, threshold), bytes(20), 0, word(3000), b"\x01\x00\x00", sender=made.stranger
    )
    call = l1_call(who.requester.address, 3)
    core = made.core(
        [Entry(mid=False, new_root=3001, trigger=call, next_action=answer(call))], (3,), executor=who.requester.address
    )
    agreement = agree(made, who, core, systems_hash=agreed)
    items = tuple(ProofItem(rollup_id=RollupId(3), system=Address(s), proof=b"") for s in systems[:threshold])
    proofs = Proofs(payee=Address(who.payee), agreement_hash=Hash32(digest(made, agreement)), items=items)
    with expect_revert("SystemsMismatch"):
        made.market.send(
            "claimWithProof",
            encode_core(core),
            encode_proofs(proofs),
            settle_bytes(made, who, agreement),
            b"",
            sender=made.stranger,
        )


def test_an_offer_that_is_behind_is_no_answer_of_the_rollup(made: Setup) -> None:
    """Who tries a call must not take the failure of an unusable offer for the failure of the call."""
    consumer = made.world.deploy("Consumer")
    proxy = proxy_of(made, PROGRAM, 1)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, new_root=1900, data=b"old", valid_until=made.world.time + 10**6))
    made.world.pass_time(10)
    for new in (1001, 1000):
        t = l1_call(made.user, 1, data=b"move")
        made.run(made.core([Entry(mid=False, new_root=new, trigger=t, next_action=answer(t))]))
    with expect_revert("ExecutionNotFound"):
        consumer.send("ask", proxy.hex, ASKS, sender=made.user)


def test_a_new_epoch_of_the_same_systems_pays_as_agreed(made: Setup, who: Party) -> None:
    """An agreement names systems and no epoch: the owner's renewal costs a new proof, not the payment."""
    core = table(made, who)
    agreement = agree(made, who, core)
    config = ([made.accept_all.hex], [FAMILY], 1)
    made.rollups.send("scheduleConfig", 1, config, sender=made.world.account("owner"))
    made.world.pass_time(DELAY)
    again = table(made, who)
    later = agree(made, who, again, systems_hash=agreement.systems_hash)
    land(made, who, again, later)
    assert (made.rollup(1)["epoch"], paid(made, who)) == (2, PRICE)
