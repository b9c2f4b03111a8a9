"""How a persistent table ends, who cleans it and who is paid (S11, S18): consumed, closed, expired by time or blocks.

The bond pays for the removal (V11): nobody who comes later pays for what others left. An ended table blocks neither a
load of the same core nor an offer of another table.
"""

from __future__ import annotations

import pytest

from protocol.constants import BOND_PER_ENTRY, MAX_TABLE_BLOCKS
from protocol.contracts.artifacts import call_data
from protocol.table import Core, Entry, core_id, encode_core, entry_key, stamp
from tests.support.evmworld import Receipt
from tests.support.rollupworld import (
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    call_out,
    direct,
    expect_revert,
    l1_call,
    load_header,
)

BOND = BOND_PER_ENTRY
YEAR = 366 * 24 * 3600


def load(made: Setup, core: Core, sender: bytes | None = None) -> Receipt:
    """loadL2Executions with the exact bond; by the user unless said otherwise."""
    return made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=sender or made.user,
        value=BOND * len(core.entries),
    )


def table(made: Setup, count: int = 1, lasting: int = 120, **changes: object) -> Core:
    """An open table of calls with data 0, 1, ..., each on the live root."""
    entries = [direct(made, 1, 1001 + i, bytes((i,))) for i in range(count)]
    return made.open_core(entries, valid_until=made.world.time + lasting, **changes)


def keys(core: Core) -> list[bytes]:
    """Where the contract keeps the entries."""
    identity = core_id(encode_core(core))
    return [
        entry_key(identity, core.trigger_hash(i), [stamp(root, 1) for root in core.roots_before(i)])
        for i in range(len(core.entries))
    ]


def identity(core: Core) -> bytes:
    """coreId."""
    return core_id(encode_core(core))


def clean(made: Setup, core: Core, sender: bytes, which: slice = slice(None)) -> Receipt:
    """cleanup of some entries."""
    return made.rollups.send("cleanup", identity(core), keys(core)[which], sender=sender)


def close(made: Setup, core: Core, sender: bytes) -> Receipt:
    """closeTable."""
    return made.rollups.send("closeTable", identity(core), sender=sender)


def call(made: Setup, data: bytes = b"\x00") -> Receipt:
    """The call that the table's first entry answers."""
    return made.rollups.send("callL2", 1, PROGRAM, data, sender=made.user)


def pinned(made: Setup, core: Core, data: bytes = b"\x00") -> Receipt:
    """The same by the table's name."""
    return made.rollups.send("callL2Pinned", identity(core), 1, PROGRAM, data, sender=made.user)


def credit(made: Setup, account: bytes) -> int:
    """What an account can claim."""
    return int(made.rollups.view("claimableOf", account))


# -- closed by its loader ----------------------------------------------------------------------------------------------


def test_a_closed_table_is_met_by_nobody_and_pays_its_loader_in_full(made: Setup) -> None:
    core = table(made, 2)
    load(made, core)
    (event,) = close(made, core, made.user).events
    assert (event.name, event.values) == ("TableClosed", {"coreId": identity(core), "lane": 1})
    assert made.rollups.view("table", identity(core)) == (
        made.world.number,
        core.valid_until,
        2,
        "0x" + made.user.hex(),
        True,
    )
    for meet in (lambda: call(made), lambda: pinned(made, core)):
        with expect_revert("ExecutionNotFound"):
            meet()
    clean(made, core, made.user)
    assert (credit(made, made.user), made.rollups.view("table", identity(core))[0]) == (2 * BOND, 0)


def test_only_the_loader_closes_once_and_never_inside_a_flow(made: Setup) -> None:
    core = table(made)
    with expect_revert("NoSuchTable"):
        close(made, core, made.user)
    load(made, core)
    with expect_revert("NotLoader"):
        close(made, core, made.stranger)
    puppet = made.world.deploy("Puppet")
    data = call_data("IRollups", "closeTable", identity(core))
    puppet.send("instruct", made.rollups.hex, 0, data, sender=made.stranger)
    trigger = l1_call(made.user, 2)
    entry = Entry(mid=True, new_root=2001, trigger=trigger, next_action=call_out(2, 0, puppet.address, b"\x01" * 4))
    with expect_revert("CallFailed"):
        made.run(made.core([entry], members=(2,)))
    close(made, core, made.user)
    with expect_revert("TableOver"):
        close(made, core, made.user)


def test_a_closed_table_may_be_cleaned_by_anybody_for_the_loaders_account(made: Setup) -> None:
    """So nobody keeps a core from being loaded by loading it first and closing it."""
    core = table(made)
    load(made, core, sender=made.stranger)
    close(made, core, made.stranger)
    with expect_revert("TableOver"):
        load(made, core)
    clean(made, core, made.user)
    assert (credit(made, made.user), credit(made, made.stranger)) == (0, BOND)
    load(made, core)
    assert call(made).value == b"\x00!"


def test_a_closed_table_that_expires_pays_whoever_cleans_it(made: Setup) -> None:
    core = table(made)
    load(made, core)
    close(made, core, made.user)
    made.world.pass_time(121)
    clean(made, core, made.stranger)
    assert (credit(made, made.user), credit(made, made.stranger)) == (BOND // 2, BOND // 2)


def test_a_table_that_somebody_else_loaded_too_stays_until_it_expires(made: Setup) -> None:
    """A copier that came first cannot take the table away from under the one it copied."""
    core = table(made)
    load(made, core, sender=made.stranger)
    load(made, core)
    assert credit(made, made.user) == BOND
    for end in (close, clean):
        with expect_revert("NotCleanable"):
            end(made, core, made.stranger)
    assert call(made).value == b"\x00!"
    assert credit(made, made.stranger) == BOND


def test_a_loader_who_loads_twice_may_still_close(made: Setup) -> None:
    core = table(made)
    load(made, core)
    load(made, core)
    assert credit(made, made.user) == BOND
    close(made, core, made.user)
    clean(made, core, made.user)
    assert credit(made, made.user) == 2 * BOND


# -- expired -----------------------------------------------------------------------------------------------------------


def test_a_table_is_live_up_to_its_last_block_and_second(made: Setup) -> None:
    core = table(made, lasting=YEAR)
    load(made, core)
    for attempt in ("clean", "call"):
        point = made.world.snapshot()
        made.world.pass_blocks(MAX_TABLE_BLOCKS)  # the attempt is in the last block
        if attempt == "clean":
            with expect_revert("NotCleanable"):
                clean(made, core, made.stranger)
        else:
            assert call(made).value == b"\x00!"
        made.world.restore(point)
    made.world.pass_blocks(MAX_TABLE_BLOCKS + 1)
    with expect_revert("ExecutionNotFound"):
        call(made)
    with expect_revert("ExecutionNotFound"):
        pinned(made, core)
    clean(made, core, made.stranger)
    assert credit(made, made.stranger) == BOND // 2


def test_the_validity_ends_a_table_before_the_blocks_do(made: Setup) -> None:
    core = table(made)
    load(made, core)
    made.world.pass_time(120)
    with expect_revert("NotCleanable"):
        clean(made, core, made.stranger)
    made.world.pass_time(1)
    with expect_revert("ExecutionNotFound"):
        pinned(made, core)
    clean(made, core, made.stranger)


def test_a_core_whose_table_ran_out_of_blocks_can_be_loaded_again_once_it_is_cleaned(made: Setup) -> None:
    core = table(made, lasting=YEAR)
    load(made, core)
    made.world.pass_blocks(MAX_TABLE_BLOCKS + 1)
    with expect_revert("TableOver"):
        load(made, core)
    clean(made, core, made.user)
    load(made, core)
    assert call(made).value == b"\x00!"


def test_an_expired_table_is_cleaned_once_in_parts_by_several(made: Setup) -> None:
    core = table(made, 4)
    load(made, core)
    made.world.pass_time(121)
    clean(made, core, made.stranger, slice(0, 1))
    clean(made, core, made.user, slice(1, 2))
    with expect_revert("WrongKey"):
        clean(made, core, made.stranger, slice(0, 1))
    with expect_revert("WrongKey"):
        clean(made, core, made.stranger, slice(1, 4))
    assert made.rollups.view("table", identity(core))[2] == 2
    clean(made, core, made.stranger, slice(2, 4))
    with expect_revert("NoSuchTable"):
        clean(made, core, made.stranger)
    assert (credit(made, made.stranger), credit(made, made.user)) == (3 * BOND // 2, 3 * BOND // 2 + BOND)


def test_nobody_cleans_a_live_table_or_another_tables_entries(made: Setup) -> None:
    live, expired = table(made, lasting=1000), table(made, 2)
    load(made, live)
    load(made, expired)
    with expect_revert("NotCleanable"):
        clean(made, expired, made.stranger)
    made.world.pass_time(121)
    with expect_revert("WrongKey"):
        made.rollups.send("cleanup", identity(expired), keys(live), sender=made.stranger)
    clean(made, expired, made.stranger)
    assert call(made).value == b"\x00!"


def test_the_bond_pays_more_than_the_gas_of_its_removal(made: Setup) -> None:
    """V11: a cleaner's half of each bond buys the gas of its removal up to this price."""
    core = table(made, 4)
    load(made, core)
    made.world.pass_time(121)
    gas = clean(made, core, made.stranger).gas_used
    assert credit(made, made.stranger) // gas > 60 * 10**9  # wei per gas


# -- offers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "out of time", "out of blocks", "consumed elsewhere"])
def test_the_offer_of_an_ended_table_gives_way_to_the_next(made: Setup, how: str) -> None:
    first = table(made, lasting=YEAR if how == "out of blocks" else 120)
    load(made, first, sender=made.stranger)
    if how == "closed":
        close(made, first, made.stranger)
    elif how == "out of time":
        made.world.pass_time(121)
    elif how == "out of blocks":
        made.world.pass_blocks(MAX_TABLE_BLOCKS + 1)
    else:
        reading = made.open_core([direct(made, 1, 1000, b"\x00")], valid_until=made.world.time + 60)
        clean(made, first, made.stranger)
        load(made, reading, sender=made.stranger)
        pinned(made, reading)  # consumed by name; the root is where it was
    second = made.open_core([direct(made, 1, 1500, b"\x00")], valid_until=made.world.time + 120)
    load(made, second)
    call(made)
    assert made.root(1) == 1500


def test_loading_again_renews_an_offer_that_another_table_held(made: Setup) -> None:
    """Whoever offers a call first and then takes the offer back does not shut others out."""
    mine = table(made)
    theirs = made.open_core([direct(made, 1, 1500, b"\x00")], valid_until=made.world.time + 60)
    load(made, theirs, sender=made.stranger)
    load(made, mine)
    close(made, theirs, made.stranger)
    with expect_revert("ExecutionNotFound"):
        call(made)
    load(made, mine)
    call(made)
    assert made.root(1) == 1001


def test_loading_again_at_another_root_or_epoch_takes_no_offer(made: Setup) -> None:
    """There the table answers nothing: an offer of it would shut out the table that does."""
    old = table(made, lasting=1000)
    load(made, old, sender=made.stranger)
    made.run(made.open_core([direct(made, 1, 1500, b"elsewhere")]))
    load(made, old, sender=made.stranger)
    load(made, made.open_core([direct(made, 1, 1600, b"\x00")], valid_until=made.world.time + 1000))
    point = made.world.snapshot()
    call(made)
    assert made.root(1) == 1600
    made.world.restore(point)

    config = ([made.accept_all.hex], [b"\x0e" * 32], 1)
    made.rollups.send("scheduleConfig", 1, config, sender=made.world.account("owner"))
    made.world.pass_time(600)
    again = made.open_core([direct(made, 1, 1700, b"\x00")], valid_until=made.world.time + 1000)
    older = made.open_core([direct(made, 1, 1600, b"\x00")], valid_until=made.world.time + 400)
    assert made.root(1) == 1500
    load(made, older, sender=made.stranger)
    load(made, again)
    call(made)
    assert made.root(1) == 1600


# -- a year later ------------------------------------------------------------------------------------------------------


def test_an_expired_table_a_year_later_moves_nothing_and_owes_exactly_its_bond(made: Setup) -> None:
    """S18."""
    core = table(made, 3)
    load(made, core)
    made.world.pass_blocks(MAX_TABLE_BLOCKS + 1, YEAR)
    for meet in (lambda: call(made), lambda: pinned(made, core)):
        with expect_revert("ExecutionNotFound"):
            meet()
    assert made.world.balance(made.rollups.address) == 3 * BOND
    clean(made, core, made.stranger)
    for account in (made.user, made.stranger):
        made.rollups.send("claim", account, sender=made.stranger)
    assert (made.world.balance(made.rollups.address), made.root(1)) == (0, 1000)


def test_a_table_of_one_call_that_returns_is_answered_again_only_by_a_new_load(made: Setup) -> None:
    """The root goes away and comes back: what was consumed is gone, what was not is good again."""
    there, back = direct(made, 1, 1500, b"\x00"), l1_call(made.user, 1, data=b"back")
    load(made, made.open_core([there]))
    call(made)
    entry = Entry(mid=False, new_root=1000, trigger=back, next_action=answer(back))
    load(made, made.open_core([entry]))
    call(made, b"back")
    with expect_revert("ExecutionNotFound"):
        call(made)
