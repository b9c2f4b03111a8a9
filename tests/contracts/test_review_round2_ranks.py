"""Second adversarial round: what a requester can do with the ranks of its own request, and with settling by itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from node.chain.evm import Call
from protocol.agreement import Agreement, by_contract
from protocol.constants import WITHDRAW_DELAY
from protocol.contracts.artifacts import call_data
from protocol.signing import AccountKey
from protocol.table import Core, Entry, core_id, encode_core
from tests.support.delegation import Delegated
from tests.support.evmworld import Contract, Reverted, World
from tests.support.marketworld import (
    PRICE,
    SALT,
    TICKET,
    TICKET_CLASS,
    Party,
    agree,
    amended,
    claim,
    credit,
    declined_bytes,
    digest,
    land,
    names,
    paid,
    parties,
    receipt_bytes,
    settle_bytes,
    slash,
    table,
    ticket,
)
from tests.support.playing import Step, play
from tests.support.rollupworld import PROGRAM, Setup, answer, expect_revert, l1_call, setup


def sybil_of(made: Setup, who: Party) -> Party:
    """The requester with a prover that is its own."""
    key = AccountKey(b"\x07" * 32)
    made.world.fund(key.address)
    return Party(requester=who.requester, prover=key, payee=key.address)


def test_who_delivered_what_was_agreed_is_compensated_if_another_table_was_paid(made: Setup, who: Party) -> None:
    """Rank 2, the requester's own, is amended to a table about a state that never was: a claim asks for no live root,
    so its proof, of the smallest tier, was made at leisure. Rank 1 claims in its window and finds the ticket spent."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, rank=2)
    member = replace(core.lockset[0], pre_root=424242)
    invented = replace(core, lockset=(member,), entries=(replace(core.entries[0], new_root=424242),))
    moved = settle_bytes(made, sybil, own, amend=amended(made, sybil, own, invented))
    claim(made, sybil, invented, own, moved, receipt_bytes(made, sybil, own, invented))
    assert names(claim(made, who, core, victim)) == ["DeliveredUnpaid"]
    packed = settle_bytes(made, sybil, own), settle_bytes(made, who, victim)
    made.market.send("slashEquivocation", *packed, core_id(encode_core(invented)), sender=made.stranger)
    assert paid(made, who) == PRICE


def test_who_did_not_deliver_reports_no_honest_failover(made: Setup, who: Party) -> None:
    """Rank 1 was silent; its table went stale, so rank 2 was amended to a fresh one, and paid."""
    core, fresh = table(made, who), table(made, who, new_root=1002)
    first, rival = agree(made, who, core), sybil_of(made, who)
    second = agree(made, rival, core, rank=2)
    made.world.pass_time(31)
    settlement = settle_bytes(made, rival, second, amend=amended(made, rival, second, fresh))
    land(made, rival, fresh, second, settlement)
    packed = settle_bytes(made, rival, second), settle_bytes(made, who, first)
    for paid_core in (core_id(encode_core(fresh)), core_id(encode_core(core)), bytes(32)):
        for pair in (packed, packed[::-1]):
            with expect_revert("(NotEquivocation|NotThePayment)"):
                made.market.send("slashEquivocation", *pair, paid_core, sender=who.prover.address)
    made.world.pass_time(600)
    evidence = core_id(encode_core(fresh)) + settlement
    slash(made, who, first, failover=evidence)
    assert ticket(made, who.requester)[2] == ticket(made, who.prover)[2] != 0
    assert credit(made, bytes(20)) == 0


def test_an_honest_failover_is_not_reported_with_a_salt_of_ones_own(made: Setup, who: Party) -> None:
    """Both ranks deliver the same table and the second is paid. Nobody signs the salt: what it opens is no evidence."""
    core = table(made, who)
    first, rival = agree(made, who, core), sybil_of(made, who)
    second = agree(made, rival, core, rank=2)
    land(made, rival, core, second)
    assert names(claim(made, who, core, first)) == ["DeliveredUnpaid"]
    for salt in (SALT, bytes(32), b"\x01" * 32):
        packed = settle_bytes(made, rival, second, salt=salt), settle_bytes(made, who, first, salt=salt)
        for changed in (
            packed,
            (settle_bytes(made, rival, second), packed[1]),
            (packed[0], settle_bytes(made, who, first)),
        ):
            with expect_revert("NotEquivocation"):
                made.market.send("slashEquivocation", *changed, core_id(encode_core(core)), sender=who.prover.address)
    assert ticket(made, who.requester)[2] == TICKET


def test_silence_to_two_forced_releases_costs_no_more_than_two_sixteenths(made: Setup, who: Party) -> None:
    """A prover that has countersigned for two requests on one ticket is away for ten minutes."""
    made.market.send("deposit", TICKET_CLASS, 1, sender=who.requester.address, value=2 * TICKET)
    core, long = table(made, who), {"claim_by": made.world.time + 2000}
    deals = [agree(made, who, core, **long)]
    deals.append(agree(made, who, core, request_id=b"\x78" * 32, requester_ticket=1, **long))
    for deal in deals:
        made.market.send("forceRelease", settle_bytes(made, who, deal), b"box", sender=who.requester.address)
    made.world.pass_time(601)
    for deal in deals:
        with suppress(Reverted):
            made.market.send("takePeekPenalty", settle_bytes(made, who, deal), sender=made.stranger)
    left = credit(made, who.prover.address) + sum(ticket(made, who.prover)[1:3])
    assert 0 < 2 * TICKET - left <= 2 * TICKET // 16


def test_ranks_are_paid_once_whatever_is_claimed_landed_and_amended(made: Setup, who: Party) -> None:
    """Three ranks, three tables, every one with a receipt: one price leaves the ticket."""
    cores = [table(made, who, new_root=1001 + i) for i in range(3)]
    deals = []
    for rank, payee in enumerate((b"\x9a" * 20, b"\x9b" * 20, b"\x9c" * 20), start=1):
        party = replace(who, payee=payee)
        deals.append((party, agree(made, party, cores[0], rank=rank)))
    for party, agreement in deals:
        for counter, core in enumerate(cores):
            amend: dict[str, Any] = {} if counter == 0 else {"amend": amended(made, party, agreement, core, counter)}
            settlement = settle_bytes(made, party, agreement, **amend)
            with suppress(Reverted):
                claim(made, party, core, agreement, settlement, receipt_bytes(made, party, agreement, core))
    assert sum(credit(made, party.payee) for party, _ in deals) == PRICE


# -- settling inside one transaction -----------------------------------------------------------------------------------


def load_for(made: Setup, core: Core, agreement: Agreement) -> Step:
    """A load without triggers, with proofs made for this agreement."""
    proofs = made.proofs(core, agreement.payee, digest(made, agreement))
    return made.rollups.address, 0, call_data("IRollups", "loadAndRun", encode_core(core), proofs, b"\0", b"", b"")


def settle_for(made: Setup, who: Party, core: Core, agreement: Agreement) -> Step:
    """settleLoaded."""
    settlement = settle_bytes(made, who, agreement)
    return made.rollups.address, 0, call_data("IRollups", "settleLoaded", core_id(encode_core(core)), settlement)


def bundled(made: Setup, who: Party) -> tuple[Contract, Core, Step]:
    """A contract that runs steps, a table whose call it makes, and that call."""
    bundle = made.world.deploy("Bundle")
    trigger = l1_call(bundle.address, 1)
    core = made.open_core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))])
    return bundle, core, (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, b""))


def test_settling_twice_and_claiming_pays_once(made: Setup, who: Party) -> None:
    bundle, core, call = bundled(made, who)
    agreement = agree(made, who, core)
    pays = settle_for(made, who, core, agreement)
    play(made, bundle, load_for(made, core, agreement), call, pays, pays)
    with expect_revert("AlreadySettled"):
        claim(made, who, core, agreement)
    assert (paid(made, who), made.root(1)) == (PRICE, 1001)


def test_of_two_loads_of_one_table_the_last_ones_agreement_is_paid_and_no_other(made: Setup, who: Party) -> None:
    """Both ranks have proven it: whoever runs it chooses, pays one, and cannot settle what it did not load last."""
    bundle, core, call = bundled(made, who)
    first, rival = agree(made, who, core), sybil_of(made, who)
    second = agree(made, rival, core, rank=2)
    loads = load_for(made, core, first), load_for(made, core, second)
    for wrong in (settle_for(made, who, core, first), settle_for(made, who, core, replace(second, price_wei=1))):
        with expect_revert("AgreementMismatch"):
            play(made, bundle, *loads, call, wrong)
    play(made, bundle, *loads, call, settle_for(made, rival, core, second))
    assert (paid(made, who), credit(made, rival.payee)) == (0, PRICE)


def test_a_settlement_that_fails_takes_the_whole_bundle_with_it(made: Setup, who: Party) -> None:
    """The table does not stay run if its payment is refused in the same transaction."""
    bundle, core, call = bundled(made, who)
    agreement = agree(made, who, core, price_wei=TICKET + 1)
    with expect_revert("Unfunded"):
        play(made, bundle, load_for(made, core, agreement), call, settle_for(made, who, core, agreement))
    assert made.root(1) == 1000


# -- submitters --------------------------------------------------------------------------------------------------------


def test_a_stolen_submitter_spends_what_it_may_sign_for_and_no_bond_of_a_requester(made: Setup, who: Party) -> None:
    """It withdraws nothing, but an agreement and a decline with the thief draw a ticket as its owner would."""
    hot, thief = AccountKey(b"\x05" * 32), AccountKey(b"\x06" * 32)
    owner = who.requester.address
    made.market.send("proposeSubmitter", hot.address, sender=owner)
    made.market.send("acceptSubmitter", owner, sender=hot.address)
    spends = Party(requester=hot, prover=thief, payee=thief.address)
    agreement = agree(made, spends, table(made, who), requester=owner, price_wei=TICKET)
    packed, declined = settle_bytes(made, spends, agreement), declined_bytes(made, spends, agreement, TICKET)
    for function in ("requestWithdraw", "withdraw"):
        with expect_revert("NoTicket"):
            made.market.send(function, 0, sender=hot.address)
    point = made.world.snapshot()
    made.market.send("decline", packed, declined, sender=thief.address)
    assert (credit(made, thief.address), ticket(made, who.requester)[1:3]) == (TICKET, (0, TICKET))
    made.world.restore(point)
    made.market.send("revokeSubmitter", owner, hot.address, sender=owner)
    made.world.pass_time(WITHDRAW_DELAY + 1)
    late = agree(made, spends, table(made, who), requester=owner, price_wei=TICKET)
    with expect_revert("BadSignature"):
        draw = declined_bytes(made, spends, late, TICKET)
        made.market.send("decline", settle_bytes(made, spends, late), draw, sender=thief.address)


# -- accounts whose code changes (EIP-7702) ----------------------------------------------------------------------------


def test_a_key_signs_whatever_code_its_account_runs_and_a_record_outlives_the_code() -> None:
    """The requester delegates to code that signs everything, to code that signs nothing, and to none."""
    made = setup(World())
    who = parties(made)
    core = table(made, who)
    agreement = agree(made, who, core)
    by_code = settle_bytes(made, who, agreement, requester_signature=by_contract(b"anything"))
    by_its_key = settle_bytes(made, who, agreement)
    yes, no = (made.world.deploy("OddSigner") for _ in range(2))

    def delegate(to: bytes) -> None:
        account = Delegated(world=made.world, secret=b"\x01" * 32, runner=Contract(made.world, "OddSigner", to))
        assert account.address == who.requester.address
        account.send(made.stranger, b"", delegate=True)

    def is_signed(packed: bytes) -> bool:
        call = Call(sender=made.stranger, to=made.market.address, data=call_data("ProofMarket", "record", packed))
        return made.world.try_out(call).succeeded

    assert (is_signed(by_its_key), is_signed(by_code)) == (True, False)
    delegate(yes.address)
    assert (is_signed(by_its_key), is_signed(by_code)) == (True, True)
    Contract(made.world, "OddSigner", who.requester.address).send("set", 1, sender=made.stranger)
    delegate(no.address)  # on the storage of the account: it says no now
    assert (is_signed(by_its_key), is_signed(by_code)) == (True, False)
    Contract(made.world, "OddSigner", who.requester.address).send("set", 0, sender=made.stranger)
    made.market.send("record", by_code, sender=made.stranger)
    delegate(bytes(20))
    assert made.world.code(who.requester.address) == b""
    claim(made, who, core, agreement, by_code)
    assert paid(made, who) == PRICE
