"""A rollup's owner changes its proof systems: before a load, between load and trigger, in its block, in a flow (S10).

A bundle sees the change by its expectations and reverts before anything moves; tables of the old configuration are
dead. The owner never sets the state: no function does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.contracts.artifacts import artifact, call_data
from protocol.load import Expectation, config_hash, encode_expects
from protocol.table import Core, Entry, core_id, encode_core
from protocol.types import Address, Hash32
from tests.support.evmworld import Contract
from tests.support.rollupworld import (
    DELAY,
    FAMILY,
    GENESIS,
    ORACLE_PRICE,
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    call_out,
    direct,
    expect_revert,
    l1_call,
    load_header,
    load_step,
    word,
)

NEXT_FAMILY = Hash32(b"\x0e" * 32)
LONG = 100_000


def config_of(system: Contract, family: bytes = NEXT_FAMILY) -> tuple[list[str], list[bytes], int]:
    """One system, threshold 1."""
    return ([system.hex], [family], 1)


def announce(made: Setup, system: Contract | None = None) -> int:
    """The owner of rollup 1 announces another configuration."""
    change = ("scheduleConfig", 1, config_of(system or made.accept_all))
    return int(made.rollups.send(*change, sender=made.world.account("owner")).value)


def expectation(made: Setup, rollup_id: int = 1, epoch: int = 1, family: Hash32 = FAMILY) -> Expectation:
    """What a wallet pins: root, epoch, configuration."""
    system = Address(made.accept_all.address)
    return Expectation(
        rollup_id=rollup_id, root=made.root(rollup_id), epoch=epoch, config_hash=config_hash(1, [system], [family])
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedByABundle:
    """Rollup 3 can be changed by a contract that also loads and triggers, without any delay."""

    made: Setup
    bundle: Contract

    def core(self) -> Core:
        """A call of the bundle that is answered at once."""
        return self.made.open_core([direct(self.made, 3, 3001, source=self.bundle.address)], members=(3,))

    def change(self) -> tuple[bytes, int, bytes]:
        """A step that starts a new epoch at once."""
        data = call_data("IRollups", "scheduleConfig", 3, config_of(self.made.accept_all))
        return self.made.rollups.address, 0, data

    def trigger(self) -> tuple[bytes, int, bytes]:
        """A step that makes the call."""
        return self.made.rollups.address, 0, call_data("IRollups", "callL2", 3, PROGRAM, b"")

    def run(self, *steps: tuple[bytes, int, bytes]) -> None:
        """One transaction."""
        self.bundle.send("run", list(steps), sender=self.made.stranger)


@pytest.fixture
def owned(made: Setup) -> OwnedByABundle:
    """Rollup 3 of a bundle."""
    bundle = made.world.deploy("Bundle")
    arguments = (config_of(made.accept_all, FAMILY), bundle.address, 0, word(3000), GENESIS)
    assert made.rollups.send("createRollup", *arguments, sender=made.stranger).value == 3
    return OwnedByABundle(made=made, bundle=bundle)


# -- before the load ---------------------------------------------------------------------------------------------------


def test_a_change_between_signing_and_inclusion_reverts_the_bundle_before_anything_moves(made: Setup) -> None:
    core = made.oracle_table(valid_until=made.world.time + LONG)
    pinned = expectation(made)
    announce(made)
    made.world.pass_time(DELAY)
    with expect_revert("PrecheckFailed") as caught:
        made.run(core, expects=[pinned])
    assert dict(caught.value.revert.values) == {"rollupId": 1, "what": 2}
    assert made.root(1) == 1000


def test_proofs_of_the_systems_before_the_change_do_not_load(made: Setup) -> None:
    core = made.oracle_table(valid_until=made.world.time + LONG)
    announce(made, system=made.world.deploy("OddProofSystem"))
    made.world.pass_time(DELAY - 1)
    proofs = made.proofs(core)
    assert made.rollups.view("checkProofs", encode_core(core), proofs, made.world.time)[3] != b""
    made.world.pass_time(1)
    with expect_revert("NotActiveSystem"):
        made.run(core)


def test_an_announcement_is_visible_before_it_is_due_and_changes_nothing_until_then(made: Setup) -> None:
    due = announce(made)
    assert (made.rollup(1)["pending_from"], made.rollup(1)["epoch"]) == (due, 1)
    assert made.rollups.view("config", 1, 2)[0][1] == (NEXT_FAMILY,)
    made.world.pass_time(DELAY - 1)
    made.run(made.oracle_table(), expects=[expectation(made)])
    assert made.root(1) == 1002


def test_the_configuration_is_pinned_by_its_hash_too(made: Setup) -> None:
    """All three fields refuse, each by its number; the pending configuration is not the one in force."""
    announce(made)
    good = expectation(made)
    wrong = {
        1: Expectation(rollup_id=1, root=7, epoch=1, config_hash=good.config_hash),
        2: Expectation(rollup_id=1, root=1000, epoch=2, config_hash=good.config_hash),
        3: expectation(made, family=NEXT_FAMILY),
    }
    for what, each in wrong.items():
        with expect_revert("PrecheckFailed") as caught:
            made.run(made.oracle_table(), expects=[good, each])
        assert caught.value.revert.values["what"] == what
    made.world.pass_time(DELAY)
    made.run(made.oracle_table(), expects=[expectation(made, epoch=2, family=NEXT_FAMILY)])
    assert made.root(1) == 1002


# -- between load and trigger ------------------------------------------------------------------------------------------


def test_a_waiting_table_dies_with_its_epoch(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)], valid_until=made.world.time + LONG)
    arguments = (abi_executions(core), load_header(core) + made.proofs(core))
    made.rollups.send("loadL2Executions", *arguments, sender=made.user, value=BOND_PER_ENTRY)
    announce(made)
    made.world.pass_time(DELAY)
    for function, first in (("callL2", ()), ("callL2Pinned", (core_id(encode_core(core)),))):
        with expect_revert("ExecutionNotFound"):
            made.rollups.send(function, *first, 1, PROGRAM, b"", sender=made.user)
    assert made.root(1) == 1000


def test_a_change_in_the_same_transaction_after_the_load_kills_the_loaded_table(owned: OwnedByABundle) -> None:
    load = load_step(owned.made, owned.core(), ())
    with expect_revert("ExecutionNotFound"):
        owned.run(load, owned.change(), owned.trigger())
    assert (owned.made.root(3), owned.made.rollup(3)["epoch"]) == (3000, 1)
    owned.run(load, owned.trigger(), owned.change())
    assert (owned.made.root(3), owned.made.rollup(3)["epoch"]) == (3001, 2)


def test_a_change_in_the_same_transaction_before_the_load_is_in_force_for_it(owned: OwnedByABundle) -> None:
    """Delay 0 is in force at once, in the same block: for the load, for expectations, for what follows."""
    made = owned.made
    expects = Expectation(rollup_id=3, root=3000, epoch=1)
    stale = call_data(
        "IRollups",
        "loadAndRun",
        encode_core(owned.core()),
        made.proofs(owned.core()),
        encode_expects([expects]),
        b"",
        b"",
    )
    with expect_revert("PrecheckFailed"):
        owned.run(owned.change(), (made.rollups.address, 0, stale))
    owned.run(owned.change(), load_step(made, owned.core(), ()), owned.trigger())
    assert (made.root(3), made.rollup(3)["epoch"]) == (3001, 2)


# -- in a flow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["scheduleConfig", "transferRollupOwnership"])
def test_the_owner_called_by_a_flow_cannot_change_the_configuration_under_it(made: Setup, function: str) -> None:
    puppet = made.world.deploy("Puppet")
    made.rollups.send("transferRollupOwnership", 1, puppet.address, sender=made.world.account("owner"))
    argument: object = config_of(made.accept_all) if function == "scheduleConfig" else made.user
    puppet.send("instruct", made.rollups.hex, 0, call_data("IRollups", function, 1, argument), sender=made.stranger)
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 0, puppet.address, ORACLE_PRICE)
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(
            parent=0, reply_to=0, mid=False, new_root=1002, trigger=answer(asked), next_action=answer(trigger, b"done")
        ),
    ]
    if function == "scheduleConfig":
        with expect_revert("CallFailed"):
            made.run(made.core(entries))
        assert (made.root(1), made.rollup(1)["pending_from"]) == (1000, 0)
    else:  # who may announce is no part of what a table stands on
        assert made.run(made.core(entries)).value == (b"done",)
        assert made.rollup(1)["owner"] == "0x" + made.user.hex()


# -- announcing --------------------------------------------------------------------------------------------------------


def test_keeping_the_rollup_busy_does_not_postpone_the_switch(made: Setup) -> None:
    due = announce(made)
    root = 5000
    while made.world.time < due:
        made.run(made.open_core([direct(made, 1, root)]), triggers=(0,))
        root += 1
        made.world.pass_time(60)
    assert (made.world.time, made.rollup(1)["epoch"], made.root(1)) == (due, 2, root - 1)
    with expect_revert("PrecheckFailed"):
        made.run(made.open_core([direct(made, 1, root)]), expects=[expectation(made)])


def test_announcing_again_restarts_the_delay_before_it_is_due_and_never_undoes_one_that_is(made: Setup) -> None:
    announce(made)
    made.world.pass_time(DELAY - 1)
    announce(made)
    made.world.pass_time(1)
    assert made.rollup(1)["epoch"] == 1
    made.world.pass_time(DELAY - 1)
    assert made.rollup(1)["epoch"] == 2
    announce(made, system=made.oracle)
    assert made.rollup(1)["epoch"] == 2
    assert made.rollups.view("config", 1, 2)[0] == ((made.accept_all.hex,), (NEXT_FAMILY,), 1)
    made.world.pass_time(DELAY)
    assert made.rollups.view("config", 1, made.rollup(1)["epoch"])[0][0] == (made.oracle.hex,)


def test_no_function_lets_an_owner_set_the_state(made: Setup) -> None:
    """The owner's whole power is two functions; neither takes a root, and neither moves one."""
    takes_a_rollup = {
        item["name"]
        for item in artifact("IRollups").abi
        if item["type"] == "function"
        and item["stateMutability"] not in ("view", "pure")
        and item["inputs"]
        and item["inputs"][0]["name"] == "rollupId"
    }
    owners = {"scheduleConfig", "transferRollupOwnership"}
    assert owners <= takes_a_rollup
    for name in takes_a_rollup - owners:  # and what others may call with a rollup's id does not ask who owns it
        assert name.startswith(("callL2", "tryCallL2", "executeL2TX", "onProxyCall", "forceL2TX")), name
    announce(made)
    made.world.pass_time(DELAY)
    made.rollups.send("transferRollupOwnership", 1, made.user, sender=made.world.account("owner"))
    assert made.root(1) == 1000
