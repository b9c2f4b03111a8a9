"""A second review: one transaction in which several users load and call (SPEC §8, Bundles).

Strangers act before a user's bundle, or are called by it. Tests marked `open` show an attack that works (`REVIEW.md`).
"""

from __future__ import annotations

import random

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.contracts.artifacts import call_data
from protocol.table import Core, Entry, triggers_hash
from protocol.types import Address
from tests.contracts.test_response_registry import ASKS, RESPONSE, dapp, register, response
from tests.contracts.test_review_round2_flows import ACT, READ, reading, reads
from tests.contracts.test_table_ends import identity, keys
from tests.support.cores import l2tx
from tests.support.evmworld import Contract, Reverted
from tests.support.marketworld import PRICE, Party, agree, digest, paid, settle_bytes
from tests.support.playing import Step, call_l2, execute, names, play
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    direct,
    l1_call,
    l2_transaction,
    load_header,
    load_step,
    proxy_of,
)
from tests.support.script import script, teach


def bundled(by: Contract, *steps: Step) -> Step:
    """Steps of one account inside a transaction of several."""
    return by.address, 0, call_data("Bundle", "run", list(steps))


def closes(made: Setup, core: Core) -> Step:
    """closeTable."""
    return made.rollups.address, 0, call_data("IRollups", "closeTable", identity(core))


def asks(made: Setup, consumer: Contract) -> Step:
    """A user makes the dapp ask rollup 1."""
    return consumer.address, 0, call_data("Consumer", "ask", proxy_of(made, PROGRAM, 1).hex, ASKS)


def test_a_table_that_another_user_leaves_open_hides_no_registered_response(made: Setup, bundle: Contract) -> None:
    """Mallory needs no prover: any other registered response, loaded again as a transient copy, will do."""
    one, two = dapp(made), dapp(made)
    other = response(made, l1_call(one.address, 1, data=ASKS))
    register(made, other)
    register(made, response(made, l1_call(two.address, 1, data=ASKS)))
    play(made, bundle, other, asks(made, two))
    assert two.view("lastAnswer") == RESPONSE


def test_a_table_that_has_fired_its_triggers_hides_no_registered_response(made: Setup, bundle: Contract) -> None:
    """No malice is needed: a user fires its table, then uses a dapp for which a response waits."""
    consumer = dapp(made)
    register(made, response(made, l1_call(consumer.address, 1, data=ASKS)))
    own = reading(made, bundle.address)
    play(made, bundle, load_step(made, own, (0,)), asks(made, consumer))
    assert consumer.view("lastAnswer") == RESPONSE


def test_a_table_that_cannot_be_entered_hides_no_registered_response(made: Setup, bundle: Contract) -> None:
    """It has an entry for the very call, but only the one load that fires its fixed triggers may enter it."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call))
    entry = Entry(mid=False, new_root=1001, trigger=call, next_action=answer(call))
    hostile = made.open_core([entry], triggers_hash=triggers_hash(()))
    play(made, bundle, hostile, asks(made, consumer))
    assert consumer.view("lastAnswer") == RESPONSE


def alices(made: Setup, alice: Contract, **changes: Address) -> Core:
    """A table that moves rollup 1 by a call of Alice's; without executor unless said otherwise."""
    return made.open_core([direct(made, 1, 1001, source=alice.address)], **changes)


def test_a_copy_loaded_before_does_not_lead_a_users_calls_to_another_table(made: Setup, bundle: Contract) -> None:
    """Mallory loads Alice's core, then another of the same rollup; Alice's own load comes last."""
    alice, mallory = made.world.deploy("Bundle"), made.world.deploy("Bundle")
    core, other = alices(made, alice), made.open_core([direct(made, 1, 1900, b"other")])
    before = bundled(mallory, load_step(made, core, ()), load_step(made, other, ()))
    play(made, bundle, before, bundled(alice, load_step(made, core, ()), call_l2(made, 1, b"")))
    assert made.root(1) == 1001


def test_a_copy_loaded_before_does_not_use_up_a_users_entry(made: Setup, bundle: Contract, actor: Contract) -> None:
    """A public contract reads rollup 1; who made it read before Alice has used up the entry of her table."""
    alice, mallory = made.world.deploy("Bundle"), made.world.deploy("Bundle")
    teach(made, actor, ACT, [reads(made)], answer=b"ok")
    both = load_step(made, reading(made, actor.address), ()), (actor.address, 0, ACT)
    play(made, bundle, bundled(mallory, *both), bundled(alice, *both))
    assert actor.view("played", ACT) == 2


@pytest.mark.parametrize("closing", [False, True])
def test_a_copy_loaded_by_a_callee_takes_nobodys_table_away(made: Setup, closing: bool) -> None:
    """A hook of Alice's bundle loads her core again: she could not close it, or the hook closes it before her call."""
    alice, mallory = made.world.deploy("Bundle"), made.world.deploy("Bundle")
    core = alices(made, alice)
    loads, end = load_step(made, core, ()), closes(made, core)
    hook = bundled(mallory, loads, end) if closing else bundled(mallory, loads)
    play(made, alice, loads, hook, call_l2(made, 1, b""), *(() if closing else (end,)))
    assert made.root(1) == 1001


def test_a_table_loaded_by_a_callee_captures_no_call_that_names_its_table(made: Setup) -> None:
    """A hook of Alice's bundle loads any other table of the rollup: who calls strangers pins what comes after."""
    alice, mallory = made.world.deploy("Bundle"), made.world.deploy("Bundle")
    core = alices(made, alice, executor=Address(alice.address))
    hook = bundled(mallory, load_step(made, made.open_core([direct(made, 1, 1900, b"other")]), ()))
    pinned = call_data("IRollups", "callL2Pinned", identity(core), 1, PROGRAM, b"")
    play(made, alice, load_step(made, core, ()), hook, (made.rollups.address, 0, pinned))
    assert made.root(1) == 1001


class Crowd:
    """Alice and two strangers, who act in her transaction at random, short of moving the root."""

    def __init__(self, made: Setup, seed: int) -> None:
        self.made, self.rng = made, random.Random(seed)
        self.alice, self.public = made.world.deploy("Bundle"), made.world.deploy("Player")
        self.strangers = [made.world.deploy("Player") for _ in range(2)]
        teach(made, self.public, ACT, [reads(made)], answer=b"ok")
        for stranger in self.strangers:
            made.world.fund(stranger.address)
        self.bound = alices(made, self.alice, executor=Address(self.alice.address))
        self.open = alices(made, self.alice)
        self.cores = [
            self.bound,
            self.open,
            reading(made, self.public.address),
            reading(made, self.public.address, triggers_hash=triggers_hash(())),
            reading(made, self.strangers[0].address, 2),
            made.open_core([direct(made, 1, 1000, READ, self.strangers[1].address)], (1, 2)),
        ]

    def act(self) -> Step:
        """A stranger does one thing."""
        made, core, rollup_id = self.made, self.rng.choice(self.cores), self.rng.choice((1, 2))
        at, bond = made.rollups.address, BOND_PER_ENTRY * len(core.entries)
        stored = call_data("IRollups", "loadL2Executions", abi_executions(core), load_header(core) + made.proofs(core))
        named = call_data("IRollups", "callL2Pinned", identity(core), rollup_id, PROGRAM, READ)
        attempt = call_data("IRollups", "tryCallL2", rollup_id, PROGRAM, READ, 0)
        cleaned = call_data("IRollups", "cleanup", identity(core), keys(core))
        settled = call_data("IRollups", "settleLoaded", identity(core), b"x")
        loads, closing = load_step(made, core, ()), closes(made, core)
        many = [loads, loads, closing, closing, (at, bond, stored), (at, 0, named), (at, 3, attempt)]
        return self.rng.choice([*many, (at, 0, cleaned), (at, 0, settled), (self.public.address, 0, ACT)])

    def hook(self) -> Step:
        """A stranger is called, and does several things, of which each may fail."""
        stranger, part = self.rng.choice(self.strangers), self.rng.randbytes(4)
        teach(self.made, stranger, part, [(*self.act(), True) for _ in range(self.rng.randrange(1, 7))])
        return stranger.address, 0, part


@pytest.mark.parametrize("seed", range(16))
def test_whatever_others_did_before_an_executors_calls_meet_what_it_loaded(
    made: Setup, bundle: Contract, seed: int
) -> None:
    crowd = Crowd(made, seed)
    loads, end = load_step(made, crowd.bound, ()), closes(made, crowd.bound)
    mine = bundled(crowd.alice, loads, call_l2(made, 1, b""), end)
    play(made, bundle, crowd.hook(), crowd.hook(), mine)
    assert made.root(1) == 1001


@pytest.mark.parametrize("seed", range(12))
def test_whatever_callees_do_a_pinned_call_meets_its_table_which_its_loader_closes(
    made: Setup, bundle: Contract, seed: int
) -> None:
    """Also without an executor: strangers load the same core, and close it, before and between."""
    crowd = Crowd(made, seed)
    loads, end, hook = load_step(made, crowd.open, ()), closes(made, crowd.open), crowd.hook
    named = call_data("IRollups", "callL2Pinned", identity(crowd.open), 1, PROGRAM, b"")
    pinned = made.rollups.address, 0, named
    play(made, bundle, hook(), bundled(crowd.alice, hook(), loads, hook(), hook(), pinned, hook(), end), hook())
    assert made.root(1) == 1001


@pytest.mark.parametrize("failed", [False, True])
def test_another_provers_table_entered_on_the_way_leaves_the_session_as_it_was(
    made: Setup, bundle: Contract, actor: Contract, failed: bool
) -> None:
    """It names rollup 1 too and becomes its table while it runs; the later callback must meet the first table again."""
    first, other = script(made, 1), script(made, 1, 2)
    for s in (first, other):
        s.begins(l2tx())
        s.tries(2, OTHER, b"b")
    other.enters()
    other.returns(b"B", failed=failed)
    first.answered(b"B", failed=failed)
    first.calls(0, actor.address, ACT)
    first.begins(l1_call(actor.address, 1, data=b"back"))
    first.returns(b"here")
    first.answered()
    first.returns()
    teach(made, actor, ACT, [call_l2(made, 1, b"back")])
    receipt = play(made, bundle, other.incomplete(), first.core(), execute(made))
    assert (names(receipt), made.root(1)) == ([0, 1, 2, 3] if failed else [0, 1, 1, 2, 3], first.root())


# -- copied loads ------------------------------------------------------------------------------------------------------


def test_nobody_makes_a_user_pay_for_a_part_of_its_table(made: Setup, who: Party) -> None:
    """Two transactions of rollup 1, no executor, no fixed triggers: a copier fires the first and leaves the second."""
    s = script(made, 1)
    for data in (b"first", b"second"):
        s.begins(l2_transaction(1, data))
        s.returns()
    core = s.core()
    agreement = agree(made, who, core)
    agreed, settlement = digest(made, agreement), settle_bytes(made, who, agreement)

    def fire(triggers: tuple[int, ...], sender: bytes) -> None:
        made.run(core, triggers, sender=sender, payee=who.payee, agreement=agreed, settlement=settlement)

    with pytest.raises(Reverted):
        fire((0,), made.stranger)
    fire((0, 1), who.requester.address)
    assert (made.root(1), paid(made, who)) == (s.root(), PRICE)
