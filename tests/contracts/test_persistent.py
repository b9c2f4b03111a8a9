"""The persistent lane: tables that wait on L1, what they may answer unasked, bonds, and their removal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol import constants
from protocol.constants import (
    BOND_PER_ENTRY,
    FORCE_BOUNTY,
    FORCED_GAP,
    MAX_FORCED_BYTES,
    MAX_SKEW,
    MAX_SYSTEMS,
    MAX_TABLE_BLOCKS,
    NONE,
)
from protocol.contracts.artifacts import call_data
from protocol.load import Expectation, encode_expects
from protocol.table import (
    Core,
    Entry,
    core_id,
    encode_core,
    encode_header,
    encode_triggers,
    entry_key,
    stamp,
    triggers_hash,
)
from protocol.types import ZERO_HASH
from tests.support.cores import revert_at
from tests.support.evmworld import Receipt
from tests.support.rollupworld import (
    ORACLE_PRICE,
    PROGRAM,
    Setup,
    abi_action,
    abi_executions,
    answer,
    call_out,
    direct,
    expect_revert,
    l1_call,
    load_header,
    proxy_of,
    word,
)

BOND = BOND_PER_ENTRY


def load(made: Setup, core: Core, sender: bytes | None = None, value: int | None = None) -> Receipt:
    """loadL2Executions."""
    return made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=sender or made.user,
        value=BOND * len(core.entries) if value is None else value,
    )


def call(made: Setup, data: bytes = b"", sender: bytes | None = None) -> Receipt:
    """callL2 of rollup 1's program."""
    return made.rollups.send("callL2", 1, PROGRAM, data, sender=sender or made.user)


def pinned(made: Setup, core: Core, sender: bytes | None = None, data: bytes = b"") -> Receipt:
    """callL2Pinned of rollup 1's program."""
    identity = core_id(encode_core(core))
    return made.rollups.send("callL2Pinned", identity, 1, PROGRAM, data, sender=sender or made.user)


def keys(core: Core, epoch: int = 1) -> list[bytes]:
    """Where the contract keeps the entries."""
    identity = core_id(encode_core(core))
    return [
        entry_key(identity, core.trigger_hash(i), [stamp(root, epoch) for root in core.roots_before(i)])
        for i in range(len(core.entries))
    ]


def claimable(made: Setup, account: bytes) -> int:
    """Credit for bonds."""
    return int(made.rollups.view("claimableOf", account))


def test_the_abi_form_loads_the_same_core(made: Setup) -> None:
    core = made.oracle_table(triggers_hash=ZERO_HASH)
    receipt = load(made, core)
    assert receipt.value == core_id(encode_core(core))
    (loaded,) = [e.values for e in receipt.events]
    assert (loaded["core"], loaded["lane"]) == (encode_core(core), 1)
    block, valid_until, remaining, loader, closed = made.rollups.view("table", receipt.value)
    assert not closed
    assert (block, valid_until, remaining) == (made.world.number, core.valid_until, 2)
    assert loader == "0x" + made.user.hex()


def test_a_complete_open_table_answers_an_unsuspecting_call(made: Setup) -> None:
    load(made, made.open_core([direct(made, 1, 1001, b"data")]), sender=made.stranger)
    made.world.pass_time(12)
    assert call(made, b"data").value == b"data!"
    assert made.root(1) == 1001
    assert claimable(made, made.stranger) == BOND


def test_an_unsuspecting_proxy_call_is_answered_too(made: Setup) -> None:
    load(made, made.open_core([direct(made, 1, 1001, b"\x01\x02\x03\x04")]), sender=made.stranger)
    outcome = made.world.send_raw(proxy_of(made, PROGRAM, 1).address, b"\x01\x02\x03\x04", sender=made.user)
    assert outcome.output == b"\x01\x02\x03\x04!"


def test_a_table_of_several_entries_captures_nobodys_call(made: Setup) -> None:
    core = made.oracle_table(triggers_hash=ZERO_HASH)
    load(made, core, sender=made.stranger)
    data = core.entries[0].trigger.data
    with expect_revert("ExecutionNotFound"):
        call(made, data)
    assert pinned(made, core, data=data).value == word(1)
    assert made.root(1) == 1002


def test_only_the_executor_enters_a_pinned_table(made: Setup) -> None:
    core = made.core([direct(made, 1, 1001)], triggers_hash=ZERO_HASH)
    load(made, core)
    with expect_revert("ExecutionNotFound"):
        call(made)  # not open: it names an executor
    with expect_revert("NotExecutor"):
        pinned(made, core, sender=made.stranger)
    pinned(made, core)
    assert made.root(1) == 1001


def test_fixed_triggers_need_the_transient_lane(made: Setup) -> None:
    with expect_revert("TriggersFixed"):
        load(made, made.core([direct(made, 1, 1001)], triggers_hash=triggers_hash((0,))))


def test_an_entry_is_consumed_once(made: Setup) -> None:
    same = replace(direct(made, 1, 1001), new_root=1000)  # back to the same root: the key would match again
    load(made, made.open_core([same]))
    call(made)
    with expect_revert("ExecutionNotFound"):
        call(made)
    assert made.rollups.view("table", core_id(encode_core(made.open_core([same]))))[0] == 0


def test_a_copied_load_changes_nothing_and_the_bond_comes_back(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    load(made, core)
    receipt = load(made, core, sender=made.stranger)
    assert not receipt.events
    assert made.rollups.view("table", receipt.value)[3] == "0x" + made.user.hex()
    assert claimable(made, made.stranger) == BOND
    made.rollups.send("claim", made.stranger, sender=made.user)
    assert claimable(made, made.stranger) == 0
    with expect_revert("NothingToClaim"):
        made.rollups.send("claim", made.stranger, sender=made.user)


def test_the_lanes_do_not_disturb_each_other(made: Setup) -> None:
    """A stranger copies the core into the persistent lane; the user's own transaction runs as if it had not."""
    core = made.open_core([direct(made, 1, 1001)])
    load(made, core, sender=made.stranger)
    made.run(core)
    assert made.root(1) == 1001
    assert claimable(made, made.stranger) == 0


@pytest.mark.parametrize("value", [0, BOND - 1, BOND + 1])
def test_the_bond_is_exact(made: Setup, value: int) -> None:
    with expect_revert("WrongValue"):
        load(made, made.open_core([direct(made, 1, 1001)]), value=value)


def test_a_stale_table_answers_nobody_and_lookup_gas_does_not_depend_on_it(made: Setup) -> None:
    for new_root in range(1100, 1110):
        load(made, made.open_core([direct(made, 1, new_root)], valid_until=made.world.time + new_root))
    # ten tables for the same call: the first live offer stays; stale ones cost nothing
    first = call(made)
    assert made.root(1) == 1100
    with expect_revert("ExecutionNotFound"):
        call(made)
    load(made, made.open_core([direct(made, 1, 1200)]))
    assert call(made).gas_used <= first.gas_used


def test_an_expired_table_is_not_met_and_a_later_one_takes_its_place(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    load(made, core)
    made.world.pass_time(121)
    with expect_revert("ExecutionNotFound"):
        call(made)
    with expect_revert("ExecutionNotFound"):
        pinned(made, core)
    load(made, made.open_core([direct(made, 1, 1002)]))
    call(made)
    assert made.root(1) == 1002


def test_cleanup_pays_the_cleaner_half_and_the_loader_the_rest(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001, b"a"), direct(made, 1, 1002, b"b")])
    identity = load(made, core).value
    with expect_revert("NotCleanable"):
        made.rollups.send("cleanup", identity, keys(core), sender=made.stranger)
    made.world.pass_time(121)
    with expect_revert("WrongKey"):
        made.rollups.send("cleanup", identity, [bytes(32)], sender=made.stranger)
    with expect_revert("WrongKey"):
        made.rollups.send("cleanup", identity, keys(core)[:1] * 2, sender=made.stranger)
    made.rollups.send("cleanup", identity, keys(core)[:1], sender=made.stranger)
    assert (claimable(made, made.stranger), claimable(made, made.user)) == (BOND // 2, BOND // 2)
    made.rollups.send("cleanup", identity, keys(core)[1:], sender=made.user)
    assert claimable(made, made.user) == BOND // 2 + BOND
    with expect_revert("NoSuchTable"):
        made.rollups.send("cleanup", identity, [], sender=made.user)
    for account in (made.user, made.stranger):
        made.rollups.send("claim", account, sender=made.stranger)
    assert made.world.balance(made.rollups.address) == 0


def test_a_loader_may_clean_early(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    identity = load(made, core).value
    made.rollups.send("cleanup", identity, keys(core), sender=made.user)
    with expect_revert("ExecutionNotFound"):
        call(made)
    assert claimable(made, made.user) == BOND


def test_a_table_inside_a_flow_of_another_lane(made: Setup) -> None:
    """A waiting open table answers the nested call of a transient one."""
    puppet = made.world.deploy("Puppet")
    puppet.send("instruct", proxy_of(made, PROGRAM, 2).hex, 0, b"\x09\x09\x09\x09", sender=made.stranger)
    inner = l1_call(puppet.address, 2, PROGRAM, b"\x09\x09\x09\x09")
    waiting = Entry(mid=False, new_root=2001, trigger=inner, next_action=answer(inner, b"w"))
    load(made, made.open_core([waiting], members=(2,)), sender=made.stranger)
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(
            parent=0,
            reply_to=0,
            mid=False,
            new_root=1002,
            trigger=answer(asked, b"w"),
            next_action=answer(trigger, b"t"),
        ),
    ]
    assert made.run(made.core(entries)).value == (b"t",)
    assert (made.root(1), made.root(2)) == (1002, 2001)


def test_malformed_abi_tables_are_refused_by_name(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    good, header = abi_executions(core), encode_header(core)
    trigger = good[0][5]
    proofs = made.proofs(core)
    samples: list[tuple[str, list[Any], bytes]] = [
        ("BadEntryCount", [], header + proofs),
        ("Truncated", good, header[:50]),
        ("Truncated", good, b""),
        ("BadVersion", good, b"\x02" + header[1:] + proofs),
        ("BadKind", [(*good[0][:5], (9, *trigger[1:]), good[0][6])], header + proofs),
        ("DataTooLong", [(*good[0][:5], (*trigger[:10], bytes(1025)), good[0][6])], header + proofs),
        ("ScopeTooLong", [(*good[0][:5], (*trigger[:9], [1] * 8, b""), good[0][6])], header + proofs),
        ("MissingGas", [(*good[0][:5], (1, *trigger[1:]), good[0][6])], header + proofs),
        ("BadTrigger", [(*good[0][:5], abi_action(revert_at(1, (0,))), good[0][6])], header + proofs),
        ("BadRevertOf", [(NONE, NONE, 0, *good[0][3:])], header + proofs),
        ("MalformedProofs", good, header),
    ]
    for error, executions, proof in samples:
        with expect_revert(error):
            made.rollups.send("loadL2Executions", executions, proof, sender=made.user, value=BOND)
    assert made.rollups.view("rollupCount") == 2


# -- epochs ------------------------------------------------------------------------------------------------------------


def schedule(made: Setup, threshold: int = 1) -> int:
    """The owner announces the same system under another family."""
    config = ([made.accept_all.hex], [b"\x0e" * 32], threshold)
    return int(made.rollups.send("scheduleConfig", 1, config, sender=made.world.account("owner")).value)


def test_a_new_configuration_switches_by_itself_and_kills_waiting_tables(made: Setup) -> None:
    load(made, made.open_core([direct(made, 1, 1001)], valid_until=made.world.time + 10_000))
    due = schedule(made)
    assert due == made.world.time + 600
    made.world.pass_time(599)
    assert made.rollup(1)["epoch"] == 1
    made.world.pass_time(1)
    assert made.rollup(1)["epoch"] == 2
    with expect_revert("ExecutionNotFound"):
        call(made)
    assert made.root(1) == 1000


def test_a_later_announcement_replaces_one_that_is_not_due(made: Setup) -> None:
    schedule(made)
    made.world.pass_time(300)
    due = schedule(made)
    made.world.pass_time(599)
    assert (made.rollup(1)["epoch"], made.rollup(1)["pending_from"]) == (1, due)
    made.world.pass_time(1)
    assert (made.rollup(1)["epoch"], made.rollup(1)["pending_from"]) == (2, 0)
    schedule(made)
    made.world.pass_time(600)
    assert made.rollup(1)["epoch"] == 3
    assert [made.rollups.view("config", 1, epoch)[0][1] for epoch in (1, 2, 3)] == [
        (b"\xfa" * 32,),
        (b"\x0e" * 32,),
        (b"\x0e" * 32,),
    ]


def test_proofs_are_checked_against_the_configuration_of_the_asked_time(made: Setup) -> None:
    start = made.world.time
    core = made.open_core([direct(made, 1, 1001)])
    schedule(made)
    made.world.pass_time(700)
    schedule(made)
    made.world.pass_time(700)
    proofs = made.proofs(core)
    families = {
        time: made.rollups.view("checkProofs", encode_core(core), proofs, time)[3]
        for time in (0, start, start + 599, start + 600, start + 1299, start + 1300, start + 9999)
    }
    old, new = families[start], families[start + 600]
    assert old != new
    assert list(families.values()) == [old, old, old, new, new, new, new]


def test_only_the_owner_announces_and_may_hand_over(made: Setup) -> None:
    owner = made.world.account("owner")
    config = ([made.accept_all.hex], [ZERO_HASH], 1)
    with expect_revert("NotOwner"):
        made.rollups.send("scheduleConfig", 1, config, sender=made.user)
    with expect_revert("NotOwner"):
        made.rollups.send("transferRollupOwnership", 1, made.user, sender=made.user)
    made.rollups.send("transferRollupOwnership", 1, made.user, sender=owner)
    with expect_revert("NotOwner"):
        made.rollups.send("scheduleConfig", 1, config, sender=owner)
    made.rollups.send("scheduleConfig", 1, config, sender=made.user)
    made.rollups.send("transferRollupOwnership", 1, b"\x00" * 20, sender=made.user)
    with expect_revert("NotOwner"):
        made.rollups.send("scheduleConfig", 1, config, sender=made.user)


def test_a_configuration_cannot_switch_inside_a_flow(made: Setup) -> None:
    """Even without a delay: the owner is an L1 contract that the flow calls."""
    puppet = made.world.deploy("Puppet")
    made.rollups.send("transferRollupOwnership", 1, puppet.address, sender=made.world.account("owner"))
    change = call_data("IRollups", "scheduleConfig", 1, ([made.accept_all.hex], [ZERO_HASH], 1))
    puppet.send("instruct", made.rollups.hex, 0, change, sender=made.stranger)
    trigger = l1_call(made.user, 1)
    entry = Entry(mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, puppet.address, ORACLE_PRICE))
    with expect_revert("CallFailed"):
        made.run(made.core([entry]))
    assert made.rollup(1)["pending_from"] == 0


def test_bad_configurations_and_geneses_are_refused(made: Setup) -> None:
    a, b = sorted((made.accept_all.hex, made.oracle.hex))
    family, root, genesis = ZERO_HASH, word(5), b"\x01\x00\x00"
    good = ([a], [family], 1)
    odd = sorted(made.world.deploy("OddProofSystem").hex for _ in range(MAX_SYSTEMS + 1))
    samples: list[tuple[str, Any, bytes, bytes]] = [
        ("BadConfig", ([], [], 1), root, genesis),
        ("BadConfig", ([a], [], 1), root, genesis),
        ("BadConfig", (odd[: MAX_SYSTEMS + 1], [family] * (MAX_SYSTEMS + 1), 1), root, genesis),
        ("BadConfig", ([a], [family], 0), root, genesis),
        ("BadConfig", ([a], [family], 2), root, genesis),
        ("BadConfig", ([b, a], [family] * 2, 1), root, genesis),
        ("BadConfig", ([a, a], [family] * 2, 1), root, genesis),
        ("BadConfig", ([b"\x01" * 20], [family], 1), root, genesis),
        ("GenesisTooLong", good, root, bytes(65537)),
        ("GenesisRootNotFieldElement", good, b"\xff" * 32, genesis),
    ]
    for error, config, first_root, bytes_ in samples:
        with expect_revert(error):
            made.rollups.send("createRollup", config, made.user, 0, first_root, bytes_, sender=made.user)
    many = (odd[:MAX_SYSTEMS], [family] * MAX_SYSTEMS, MAX_SYSTEMS)
    made.rollups.send("createRollup", many, made.user, 0, root, genesis, sender=made.user)
    receipt = made.rollups.send("createRollup", good, made.user, 0, root, bytes(65536), sender=made.user)
    (created,) = receipt.events
    assert (created.name, created.values["rollupId"], created.values["genesis"]) == ("RollupCreated", 4, bytes(65536))


def test_the_epoch_in_a_bundle_is_pinned_by_its_expectation(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)], valid_until=made.world.time + 10_000)
    schedule(made)
    made.world.pass_time(600)
    with expect_revert("PrecheckFailed"):
        made.run(core, expects=[Expectation(rollup_id=1, root=1000, epoch=1)])
    arguments = (encode_core(core), made.proofs(core), encode_expects(()), encode_triggers((0,)), b"")
    made.rollups.send("loadAndRun", *arguments, sender=made.user)
    assert made.root(1) == 1001


MARKET_CONSTANTS = (
    "TICKET_UNIT",
    "MAX_CLASS",
    "MAX_TERM",
    "CLAIM_GRACE",
    "SLASH_WINDOW",
    "WITHDRAW_DELAY",
    "RELEASE_WINDOW",
    "PEEK_DIVISOR",
    "SIGNATURE_GAS",
    "MAX_BOX",
)


def test_the_contracts_have_the_specified_constants(made: Setup) -> None:
    found = {"BOND_PER_ENTRY": made.rollups.view("bondPerEntry"), "MAX_SKEW": made.rollups.view("maxSkew")}
    found["MAX_TABLE_BLOCKS"] = made.rollups.view("maxTableBlocks")
    found |= {"FORCE_BOUNTY": made.rollups.view("forceBounty"), "FORCED_GAP": made.rollups.view("forcedGap")}
    found["MAX_FORCED_BYTES"] = made.rollups.view("maxForcedBytes")
    found |= {name: made.market.view(name) for name in MARKET_CONSTANTS}
    assert found == {
        "BOND_PER_ENTRY": BOND_PER_ENTRY,
        "MAX_SKEW": MAX_SKEW,
        "MAX_TABLE_BLOCKS": MAX_TABLE_BLOCKS,
        "FORCE_BOUNTY": FORCE_BOUNTY,
        "FORCED_GAP": FORCED_GAP,
        "MAX_FORCED_BYTES": MAX_FORCED_BYTES,
        **{name: getattr(constants, name) for name in MARKET_CONSTANTS},
    }
