"""Blocks that go away (S17), loads that others copy first (S8), logs when a contract did it all (S15).

A reorganisation is the chain going back to a point and other transactions, or the same ones in other blocks, following.
"""

from __future__ import annotations

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.contracts.artifacts import call_data
from protocol.table import Core, core_id, decode_core, encode_core
from tests.support.evmworld import Receipt
from tests.support.rollupworld import (
    PROGRAM,
    Setup,
    abi_executions,
    direct,
    expect_revert,
    load_header,
    load_step,
    root_of,
)


def load(made: Setup, core: Core, sender: bytes | None = None) -> Receipt:
    """loadL2Executions."""
    return made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=sender or made.user,
        value=BOND_PER_ENTRY * len(core.entries),
    )


def call(made: Setup) -> Receipt:
    """The call that the waiting table answers."""
    return made.rollups.send("callL2", 1, PROGRAM, b"", sender=made.user)


def live(made: Setup, core: Core) -> int:
    """Entries of the waiting table."""
    return int(made.rollups.view("table", core_id(encode_core(core)))[2])


# -- S17 ---------------------------------------------------------------------------------------------------------------


def test_when_the_block_of_the_trigger_goes_the_table_waits_as_before(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    load(made, core)
    point = made.world.snapshot()
    call(made)
    assert (made.root(1), live(made, core), made.rollups.view("claimableOf", made.user)) == (1001, 0, BOND_PER_ENTRY)

    made.world.restore(point)
    assert (made.root(1), live(made, core), made.rollups.view("claimableOf", made.user)) == (1000, 1, 0)
    made.world.pass_time(24)
    call(made)  # the same transaction in a later block
    assert (made.root(1), live(made, core)) == (1001, 0)


def test_when_another_trigger_comes_first_after_a_reorganisation_the_table_is_stale_and_its_bond_is_not_lost(
    made: Setup,
) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    load(made, core)
    point = made.world.snapshot()
    call(made)
    made.world.restore(point)
    made.run(made.open_core([direct(made, 1, 1500, b"other")]))
    with expect_revert("ExecutionNotFound"):
        call(made)
    assert (made.root(1), live(made, core)) == (1500, 1)


def test_when_the_block_of_the_load_goes_its_trigger_meets_nothing_until_it_is_loaded_again(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    point = made.world.snapshot()
    first = load(made, core)
    call(made)
    made.world.restore(point)
    with expect_revert("ExecutionNotFound"):
        call(made)
    assert (made.root(1), live(made, core)) == (1000, 0)
    made.world.pass_time(24)
    again = load(made, core, sender=made.stranger)  # whoever has the proof
    assert again.value == first.value
    call(made)
    assert (made.root(1), made.rollups.view("claimableOf", made.stranger)) == (1001, BOND_PER_ENTRY)


def test_a_bundle_in_one_transaction_is_the_same_in_whatever_block_it_lands(made: Setup) -> None:
    """Nothing in a table names a block: it lands again while its roots and times hold, else nothing happens."""
    core = made.oracle_table()
    point = made.world.snapshot()
    first = made.run(core)
    made.world.restore(point)
    point = made.world.snapshot()
    made.world.pass_time(60)
    again = made.run(core)
    assert [(e.name, e.values) for e in first.events] == [(e.name, e.values) for e in again.events]

    made.world.restore(point)
    made.run(made.open_core([direct(made, 1, 1500, b"other")]))
    with expect_revert("StaleTable"):
        made.run(core)
    assert made.root(1) == 1500


# -- S8 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["transient", "persistent"])
def test_a_load_that_somebody_copies_first_does_what_it_would_have_done(made: Setup, lane: str) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    if lane == "transient":
        made.run(core, (), sender=made.stranger)  # the copier's transaction is over, and with it its table
        made.run(core)
    else:
        load(made, core, sender=made.stranger)
        load(made, core)
        call(made)
    assert made.root(1) == 1001
    assert made.rollups.view("claimableOf", made.user) == (BOND_PER_ENTRY if lane == "persistent" else 0)


def test_a_copy_in_the_same_transaction_changes_nothing_either(made: Setup) -> None:
    bundle = made.world.deploy("Bundle")
    core = made.open_core([direct(made, 1, 1001, source=bundle.address)])
    steps = [load_step(made, core, ()), load_step(made, core, ()), load_step(made, core, (0,))]
    receipt = bundle.send("run", steps, sender=made.user)
    assert [e.name for e in receipt.events] == ["TableLoaded", "ExecutionConsumed"]


# -- S15 ---------------------------------------------------------------------------------------------------------------


def test_a_follower_needs_only_the_logs_when_contracts_load_and_trigger(made: Setup) -> None:
    """The transaction calls a contract that calls a contract; its call data is of no use, and not looked at."""
    inner, outer = made.world.deploy("Bundle"), made.world.deploy("Bundle")
    core = made.open_core(
        [direct(made, 1, 1001, b"a", inner.address), direct(made, 2, 2001, b"b", inner.address)], members=(1, 2)
    )
    calls = [
        (made.rollups.address, 0, call_data("IRollups", "callL2", rollup_id, PROGRAM, data))
        for rollup_id, data in ((1, b"a"),)
    ]
    nested = call_data("Bundle", "run", [load_step(made, core, ()), *calls])
    receipt = outer.send("run", [(inner.address, 0, nested)], sender=made.user)

    roots = {1: root_of(1), 2: root_of(2)}
    cores = {}
    for event in receipt.events:
        assert event.contract == made.rollups.address
        if event.name == "TableLoaded":
            cores[event.values["coreId"]] = decode_core(event.values["core"])
        elif event.name == "ExecutionConsumed":
            entry = cores[event.values["coreId"]].entries[event.values["index"]]
            assert entry.new_root == int.from_bytes(event.values["newRoot"], "big")
            roots[entry.owner] = entry.new_root
    assert cores == {core_id(encode_core(core)): core}
    assert roots == {1: made.root(1), 2: made.root(2)} == {1: 1001, 2: 2000}
