"""A second review of Rollups and flows: what an outsider with transactions, contracts and rollups of its own tried.

Each test says what must hold. Those marked `open` show an attack that works. `REVIEW.md` beside this file lists all
that was tried, with those whose property other tests hold already.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from protocol.constants import BOND_PER_ENTRY, FORCE_BOUNTY, FORCED_GAP, MAX_ENTRIES, MAX_LOCKSET
from protocol.contracts.artifacts import call_data
from protocol.load import ProofItem, Proofs, encode_expects, encode_proofs
from protocol.table import Core, Entry, encode_core, encode_triggers, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, RollupId
from tests.contracts.test_forced_queue import TX, credit, force, takes
from tests.contracts.test_proof_systems import KEY, adapt, toy_proof
from tests.contracts.test_response_registry import ASKS, ask, dapp, register, response
from tests.contracts.test_table_ends import clean, identity, keys, load, pinned, table
from tests.support.actor import End, Program
from tests.support.actor import Step as ActorStep
from tests.support.cores import l2tx
from tests.support.delegation import Delegated
from tests.support.evmworld import Contract, Reverted
from tests.support.playing import Step, call_l2, execute, give_ether, names, play
from tests.support.rollupworld import (
    DELAY,
    FAMILY,
    GENESIS,
    OTHER,
    PROGRAM,
    Setup,
    answer,
    direct,
    error_selector,
    expect_revert,
    l1_call,
    proxy_of,
    send,
    setup,
    word,
)
from tests.support.script import REVERT, script, teach

ACT = b"\x0a\xc7\x00\x01"
READ = b"\x4e\xad\x00\x02"
WEEK = 7 * 24 * 3600


def create_with_queue(made: Setup, wait: int) -> None:
    """Rollup 3, whose forced transactions wait so many blocks."""
    config = ([made.accept_all.hex], [FAMILY], 1)
    arguments = (config, made.world.account("owner"), DELAY, word(3000), GENESIS, wait)
    made.rollups.send("createRollupWithQueue", *arguments, sender=made.stranger)


def reading(made: Setup, source: bytes, rollup_id: int = 1, **changes: object) -> Core:
    """A table that answers one call of `source` and moves nothing."""
    trigger = l1_call(source, rollup_id, data=READ)
    entry = Entry(mid=False, new_root=made.root(rollup_id), trigger=trigger, next_action=answer(trigger, b"42"))
    return made.open_core([entry], (rollup_id,), **changes)


def reads(made: Setup, rollup_id: int = 1) -> Step:
    """The call that it answers."""
    return call_l2(made, rollup_id, READ)


# -- who chooses whether a tried call fails ----------------------------------------------------------------------------


def tried(made: Setup, actor: Contract, failure: bytes, gas: int = 2_000_000) -> tuple[Core, int, int]:
    """Rollup 1 tries `actor`; the table, and the roots after its success and after this failure."""
    s = script(made, 1)
    s.begins(l2tx())
    s.tries(0, actor.address, ACT, gas=gas)
    fork = s.mark()
    s.answered(b"ok")
    s.returns(b"yes")
    good = s.root()
    s.back_to(fork)
    s.answered(failure, failed=True)
    s.returns(b"no")
    return s.core(), good, s.root()


def ending(made: Setup, bundle: Contract, *what: Core | Step) -> int:
    """Root of rollup 1 after a transaction, whether it reverts or not; nothing is kept."""
    point = made.world.snapshot()
    with suppress(Reverted):
        play(made, bundle, *what)
    root = made.root(1)
    made.world.restore(point)
    return root


def test_no_sender_chooses_a_callees_failure_by_a_table_of_fixed_triggers(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """The callee asks rollup 2. Loaded with an empty fixed list of triggers, its table cannot be entered."""
    teach(made, actor, ACT, [reads(made, 2)], answer=b"ok")
    hostile = reading(made, actor.address, 2, triggers_hash=triggers_hash(()))
    core, good, bad = tried(made, actor, error_selector("TriggersFixed(bytes32)") + identity(hostile))
    assert ending(made, bundle, reading(made, actor.address, 2), core, execute(made)) == good
    assert ending(made, bundle, hostile, core, execute(made)) != bad


def test_no_sender_chooses_a_callees_failure_by_leaving_a_forced_transaction(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """The sender could take the head first, and does not; or queued it for this purpose."""
    create_with_queue(made, 1)
    teach(made, actor, ACT, [reads(made, 3)], answer=b"ok")
    core, good, bad = tried(made, actor, error_selector("ForcedFirst(uint64,uint64)") + word(3) + word(0))
    assert ending(made, bundle, reading(made, actor.address, 3), core, execute(made)) == good
    force(made)
    made.world.pass_blocks(1)
    assert ending(made, bundle, reading(made, actor.address, 3), core, execute(made)) != bad


def test_the_room_that_a_limit_needs_because_a_table_may_be_stored(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """Whether storage or transient storage answers a callee is the sender's choice, and not free (SPEC §8)."""
    teach(made, actor, ACT, [reads(made, 2)], answer=b"ok")
    waiting = reading(made, actor.address, 2)

    def need(*loads: Core) -> int:
        low, high = 50_000, 1_000_000
        while high - low > 4_000:
            gas = (low + high) // 2
            core, good, _bad = tried(made, actor, b"", gas)
            low, high = (low, gas) if ending(made, bundle, *loads, core, execute(made)) == good else (gas, high)
        return high

    transient = need(waiting)
    register(made, waiting)
    assert 0 < need() - transient < 100_000


# -- entries that are missing from a live table ------------------------------------------------------------------------


def test_a_table_with_a_hole_does_not_pass_for_a_loaded_one(made: Setup) -> None:
    """Mallory loads the user's core first and would take an entry out; the user's load neither changes nor heals it."""
    core = table(made, 2)
    load(made, core, sender=made.stranger)
    with expect_revert("NotCleanable"):
        clean(made, core, made.stranger, slice(0, 1))
    load(made, core)
    pinned(made, core)
    assert made.root(1) == 1001


def test_cleaning_one_entry_twice_in_one_call_pays_nothing(made: Setup) -> None:
    core = table(made, 2)
    load(made, core)
    made.world.pass_time(121)
    with expect_revert("WrongKey"):
        made.rollups.send("cleanup", identity(core), [keys(core)[0]] * 2, sender=made.stranger)
    made.rollups.send("cleanup", identity(core), [], sender=made.stranger)
    assert credit(made, made.stranger) == 0


def test_a_stored_table_whose_last_entry_goes_inside_a_scope_ends_as_it_should(made: Setup, actor: Contract) -> None:
    """The table is deleted while its flow still runs in two frames of scopes."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0, 1))
    s.answered()
    s.calls(0, actor.address, ACT, scope=(0, 2))
    s.answered()
    s.returns(b"x")
    core = s.core()
    load(made, core)
    receipt = made.rollups.send("executeL2TXPinned", identity(core), 1, l2tx().data, sender=made.stranger)
    assert (receipt.value, names(receipt), made.root(1)) == ((True, b"x"), [0, 1, 2], s.root())
    assert (credit(made, made.user), made.rollups.view("table", identity(core))[0]) == (3 * BOND_PER_ENTRY, 0)


def test_the_counts_of_a_table_are_bounded_where_the_format_says(made: Setup) -> None:
    """256 entries of 8 rollups fit into a block; none, and one more of either, do not load."""
    for rollup_id in range(3, 9):
        made.create_rollup(rollup_id)
    entries = [direct(made, 1, 1001 + i, i.to_bytes(2, "big")) for i in range(MAX_ENTRIES)]
    full = made.open_core(entries, range(1, MAX_LOCKSET + 1))
    raw, one = encode_core(full), encode_core(made.open_core(entries[:1]))
    head, entry = one[: 2 + 40 + 96], one[2 + 40 + 96 + 2 :]
    ninth = (9).to_bytes(8, "big") + word(9000)
    wrong = {
        head + b"\x00\x00": "BadEntryCount",
        head + (MAX_ENTRIES + 1).to_bytes(2, "big") + entry * (MAX_ENTRIES + 1): "BadEntryCount",
        b"\x01\x00" + one[42:]: "BadLockset",
        b"\x01\x09" + raw[2 : 2 + 40 * MAX_LOCKSET] + ninth + raw[2 + 40 * MAX_LOCKSET :]: "BadLockset",
    }
    for core, error in wrong.items():
        with expect_revert(error):
            send(made, core, made.proofs(full), encode_expects(()), b"")
    assert send(made, raw, made.proofs(full), encode_expects(()), b"") is not None


def test_a_pinned_call_without_an_id_meets_nothing(made: Setup) -> None:
    """A dapp whose stored id is still 0 asked for one table, not for whichever is offered."""
    load(made, table(made))
    with pytest.raises(Reverted):
        made.rollups.send("callL2Pinned", bytes(32), 1, PROGRAM, b"\x00", sender=made.user)


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_stored_table_moves_a_state_at_its_own_time_and_never_after_its_end(made: Setup) -> None:
    """A program's TIME bounds L1's from below only: what was proven before a deadline lives as long as its table."""
    began = made.world.time
    register(made, response(made, l1_call(made.user, 1, data=b"bid"), valid_until=began + WEEK))
    made.world.pass_time(WEEK - 60)
    point = made.world.snapshot()
    made.rollups.send("callL2", 1, PROGRAM, b"bid", sender=made.user)
    assert made.rollup(1)["last_l2_time"] == began
    made.world.restore(point)
    made.world.pass_time(61)
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("callL2", 1, PROGRAM, b"bid", sender=made.user)


def test_an_old_answer_gives_way_to_a_fresh_one(made: Setup) -> None:
    """What was proven before the time came ("not yet") would be what the dapp hears for a week."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, data=b"not yet", valid_until=made.world.time + WEEK))
    made.world.pass_time(WEEK - 60)
    register(made, response(made, call, data=b"now"), sender=made.user)
    assert ask(made, consumer) == b"now"


def moves(made: Setup, *roots: int) -> None:
    """Rollup 1 goes to these roots, now."""
    for root in roots:
        made.run(made.open_core([direct(made, 1, root, b"there and back")]))


def test_an_answer_that_only_reads_is_good_again_when_the_state_returns(made: Setup) -> None:
    """Nothing but the root has to be the same: l2Time is not compared where no root moves."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, new_root=1000, data=b"still so"))
    made.world.pass_time(10)
    moves(made, 1500, 1000)
    assert ask(made, consumer) == b"still so"


def test_an_offer_that_is_behind_hides_none_that_is_not(made: Setup) -> None:
    """The second was registered while the first could still be met."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, data=b"first"))
    made.world.pass_time(10)
    register(made, response(made, call, data=b"second"))
    moves(made, 1500, 1000)
    assert ask(made, consumer) == b"second"


def test_a_configuration_switches_in_its_second_and_not_before(made: Setup) -> None:
    config = ([made.accept_all.hex], [b"\x0e" * 32], 1)
    made.rollups.send("scheduleConfig", 1, config, sender=made.world.account("owner"))
    core = made.open_core([direct(made, 1, 1001)], valid_until=made.world.time + WEEK)
    register(made, core)
    point = made.world.snapshot()
    made.world.pass_time(DELAY - 1)
    pinned(made, core, b"")
    assert (made.root(1), made.rollup(1)["epoch"]) == (1001, 1)
    made.world.restore(point)
    made.world.pass_time(DELAY)
    with expect_revert("ExecutionNotFound"):
        pinned(made, core, b"")
    assert made.rollup(1)["epoch"] == 2


# -- forced transactions -----------------------------------------------------------------------------------------------


def test_no_forced_transaction_is_due_sooner_than_the_gap_after_the_one_before(made: Setup) -> None:
    """With a short wait, whoever queues one in each block would keep the head overdue for ever."""
    create_with_queue(made, 1)
    force(made)
    made.world.pass_blocks(1)
    made.run(made.open_core([takes()], members=(3,)))
    taken = made.world.number
    force(made, b"again")
    assert made.rollups.view("forcedQueue", 3)[3] >= taken + FORCED_GAP


@pytest.mark.parametrize("how", ["scope", "try"])
def test_what_is_queued_in_an_undone_part_of_a_flow_is_not_queued(
    made: Setup, bundle: Contract, actor: Contract, how: str
) -> None:
    """The bounty is back with who paid it, and the next one gets the place."""
    create_with_queue(made, 10)
    made.world.fund(actor.address, FORCE_BOUNTY)
    queues = (made.rollups.address, FORCE_BOUNTY, call_data("IRollups", "forceL2TX", 3, TX))
    s = script(made, 1)
    s.begins(l2tx())
    if how == "scope":
        teach(made, actor, ACT, [queues])
        s.calls(0, actor.address, ACT, scope=(0,))
        s.answered()
        s.reverts(0)
        s.continues()
    else:
        teach(made, actor, ACT, [queues], answer=b"no", ending=REVERT)
        s.tries(0, actor.address, ACT)
        s.answered(b"no", failed=True)
    s.returns()
    play(made, bundle, s.core(), execute(made))
    assert made.root(1) == s.root()
    assert made.rollups.view("forcedQueue", 3)[1:] == (0, 0, 0)
    assert (made.world.balance(actor.address), made.world.balance(made.rollups.address)) == (FORCE_BOUNTY, 0)
    assert force(made).value == 0


# -- ether and credits -------------------------------------------------------------------------------------------------


def test_a_bounty_owed_to_a_proxy_makes_the_proxy_do_nothing(made: Setup) -> None:
    """A proxy obeys Rollups, and a payout is a call by Rollups."""
    create_with_queue(made, 10)
    force(made)
    proxy = proxy_of(made, PROGRAM, 1).address
    made.run(made.open_core([takes()], members=(3,)), payee=proxy)
    with expect_revert("PaymentFailed"):
        made.rollups.send("claim", proxy, sender=made.stranger)
    assert credit(made, proxy) == FORCE_BOUNTY == made.world.balance(made.rollups.address)


def test_a_bounty_owed_to_rollups_itself_is_nobodys(made: Setup) -> None:
    create_with_queue(made, 10)
    force(made)
    made.run(made.open_core([takes()], members=(3,)), payee=made.rollups.address)
    with expect_revert("PaymentFailed"):
        made.rollups.send("claim", made.rollups.address, sender=made.stranger)
    assert [made.rollup(r)["ether"] for r in (1, 2, 3)] == [0, 0, 0]


def test_an_account_that_claims_while_it_is_paid_is_paid_once(made: Setup) -> None:
    account = made.world.deploy("OddSigner")
    account.send("instruct", made.rollups.hex, call_data("IRollups", "claim", account.address), sender=made.stranger)
    create_with_queue(made, 10)
    force(made)
    give_ether(made, 1, 10 * FORCE_BOUNTY)
    made.run(made.open_core([takes()], members=(3,)), payee=account.address)
    made.rollups.send("claim", account.address, sender=made.stranger)
    assert made.world.balance(account.address) == FORCE_BOUNTY
    assert made.world.balance(made.rollups.address) == 10 * FORCE_BOUNTY


def test_ether_that_waits_at_a_proxys_address_moves_with_no_call(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """Sent before the proxy exists: neither what the proxy sends nor what it is sent includes it."""
    address = bytes.fromhex(made.rollups.view("computeProxyAddress", PROGRAM, 1)[2:])
    made.world.fund(address, 77)
    give_ether(made, 1, 20)
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, value=5)
    s.answered()
    s.returns()
    play(made, bundle, s.core(), execute(made))
    assert (actor.view("received"), made.world.balance(address)) == (5, 77)
    assert (made.rollup(1)["ether"], made.world.balance(made.rollups.address)) == (15, 15)


def test_a_credit_made_in_a_tried_call_that_fails_is_undone_with_it(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """tryCallL2 credits what was not taken; its caller fails afterwards and has its ether back."""
    made.world.fund(actor.address, 50)
    missing = (made.rollups.address, 50, call_data("IRollups", "tryCallL2", 2, PROGRAM, b"nobody answers", 0))
    teach(made, actor, ACT, [missing], answer=b"no", ending=REVERT)
    core, _good, bad = tried(made, actor, b"no")
    play(made, bundle, core, execute(made))
    assert (made.root(1), credit(made, actor.address)) == (bad, 0)
    assert (made.world.balance(actor.address), made.world.balance(made.rollups.address)) == (50, 0)


def test_no_amount_wraps_around_in_its_packed_place(made: Setup) -> None:
    """etherBalance and bounties have 96 bits, values 128; nobody has so much ether, and it would not wrap."""
    made.world.fund(made.user, 2**140)
    give_ether(made, 1, 2**96 - 1)
    for value in (1, 2**96, 2**128 - 1):
        with expect_revert("ValueTooLarge"):
            give_ether(made, 1, value)
    with expect_revert("ValueTooLarge"):
        made.rollups.send("callL2", 1, PROGRAM, b"", sender=made.user, value=2**128)
    assert made.rollup(1)["ether"] == 2**96 - 1
    create_with_queue(made, 2**32 - 1)
    with expect_revert("ValueTooLarge"):
        force(made, value=2**96)
    force(made, value=2**96 - 1)
    made.run(made.open_core([takes()], members=(3,)), payee=OTHER)
    assert credit(made, OTHER) == 2**96 - 1


def test_the_longest_delays_are_long(made: Setup) -> None:
    """2^32 - 1 seconds for a configuration and blocks for a queue: neither is due at once."""
    config = ([made.accept_all.hex], [FAMILY], 1)
    arguments = (config, made.user, 2**32 - 1, word(3000), GENESIS, 2**32 - 1)
    made.rollups.send("createRollupWithQueue", *arguments, sender=made.stranger)
    made.rollups.send("scheduleConfig", 3, config, sender=made.user)
    assert (made.rollup(3)["epoch"], made.rollup(3)["pending_from"]) == (1, made.world.time + 2**32 - 1)
    force(made)
    assert made.rollups.view("forcedQueue", 3)[3] == made.world.number + 2**32 - 1
    made.run(made.open_core([direct(made, 3, 3001)], (3,)))
    assert made.root(3) == 3001
    made.world.pass_time(2**32 - 2)
    assert made.rollup(3)["epoch"] == 1
    made.world.pass_time(1)
    assert made.rollup(3)["epoch"] == 2


# -- who speaks --------------------------------------------------------------------------------------------------------


def test_a_proof_serves_no_other_deployment(made: Setup) -> None:
    """A second Rollups shares reader, module and adapter, and has the same rollups at the same roots."""
    first = adapt(made, made.world.deploy("KeyedVerifier", KEY))
    core = first.core()
    good = toy_proof(first.input(core))
    parts = [made.rollups.view(part) for part in ("reader", "module")]
    elsewhere = Contract(made.world, "IRollups", made.world.deploy("Rollups", *parts).address)
    config = ([first.adapter.hex], [first.family], 1)
    for _ in range(3):
        elsewhere.send("createRollup", config, bytes(20), 0, word(3000), GENESIS, sender=made.stranger)
    twin = replace(first, made=replace(made, rollups=elsewhere))
    with expect_revert("InvalidProof"):
        twin.land(core, good)
    twin.land(core, toy_proof(twin.input(core)))
    first.land(core, good)
    assert (made.root(3), twin.made.root(3)) == (3001, 3001)


def test_a_proof_for_one_rollup_serves_no_other_with_the_same_system(made: Setup) -> None:
    """Both are in the lockset, with one adapter and one family; each needs its own."""
    first = adapt(made, made.world.deploy("KeyedVerifier", KEY))
    config = ([first.adapter.hex], [first.family], 1)
    made.rollups.send("createRollup", config, bytes(20), 0, word(4000), GENESIS, sender=made.stranger)
    entries = [direct(made, 3, 3001), direct(made, 4, 4001)]
    core = made.open_core(entries, (3, 4), triggers_hash=triggers_hash((0,)))
    system, good = Address(first.adapter.address), toy_proof(first.input(core))
    items = tuple(ProofItem(rollup_id=RollupId(r), system=system, proof=good) for r in (3, 4))
    with expect_revert("InvalidProof") as caught:
        send(
            made,
            encode_core(core),
            encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=ZERO_HASH, items=items)),
            encode_expects(()),
            encode_triggers((0,)),
        )
    assert caught.value.revert.values["rollupId"] == 4


def test_an_account_that_runs_a_proxys_code_is_no_proxy() -> None:
    """An EOA may delegate (EIP-7702) to any code; what Rollups believes is the address."""
    made = setup()
    account = Delegated(world=made.world, secret=b"\x37" * 32, runner=proxy_of(made, PROGRAM, 1))
    made.world.fund(account.address)
    register(made, reading(made, made.user))
    with expect_revert("NotProxy"):
        account.send(account.address, READ, delegate=True)


@pytest.mark.parametrize("end", [End.ANSWER, End.FAIL, End.BURN])
def test_a_rollup_tries_an_account_with_a_delegate_like_any_contract(end: End) -> None:
    """Value, exact gas, failure: and the account calls rollup 2 as itself, not as its delegate."""
    made = setup()
    account = Delegated(world=made.world, secret=b"\x37" * 32, runner=made.world.deploy("Actor"))
    made.world.fund(account.address)
    account.send(made.stranger, b"", delegate=True)
    held = made.world.balance(account.address)
    give_ether(made, 1, 50)
    asking = ActorStep(target=made.rollups.address, value=0, data=reads(made, 2)[2], swallow=False)
    program = Program(steps=(asking,), end=end, data=b"said").encode()
    said = b"" if end is End.BURN else b"said"
    s = script(made, 1)
    s.begins(l2tx())
    s.tries(0, account.address, program, gas=1_000_000, value=20)
    s.answered(said, failed=end is not End.ANSWER)
    s.returns()
    play(made, made.world.deploy("Bundle"), reading(made, account.address, 2), s.core(), execute(made))
    got = 20 if end is End.ANSWER else 0
    assert (made.root(1), made.rollup(1)["ether"]) == (s.root(), 50 - got)
    assert made.world.balance(account.address) - held == got
