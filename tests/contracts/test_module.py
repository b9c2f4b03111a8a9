"""Rollups and its module are two contracts and one: one storage, one address, no function hidden."""

from __future__ import annotations

import pytest

from protocol.contracts.artifacts import artifact, call_data, signature
from protocol.hashing import keccak256
from tests.support.evmworld import Contract, Reverted
from tests.support.rollupworld import DELAY, FAMILY, GENESIS, Setup, expect_revert, word


def functions(name: str) -> set[str]:
    """Signatures of a contract's functions."""
    return {signature(item) for item in artifact(name).abi if item["type"] == "function"}


def test_both_have_one_storage_layout() -> None:
    rollups, module = artifact("Rollups"), artifact("RollupsAdmin")
    assert rollups.storage == module.storage and len(rollups.storage) > 3
    assert rollups.transient == module.transient and len(rollups.transient) > 3


def test_no_function_of_the_module_is_hidden_and_none_of_the_interface_is_missing() -> None:
    rollups, module = functions("Rollups"), functions("RollupsAdmin")
    assert not rollups & module
    selectors = [keccak256(each.encode())[:4] for each in rollups | module]
    assert len(set(selectors)) == len(selectors)
    assert functions("IRollups") == (rollups | module) - functions("IProxyDeployer")


def test_the_module_runs_on_the_storage_of_rollups_only(made: Setup) -> None:
    """Called at its own address it begins no registry, and so has nothing to move."""
    module = Contract(made.world, "RollupsAdmin", bytes.fromhex(made.rollups.view("module")[2:]))
    assert made.rollups.view("rollupCount") == 2 and module.view("rollupCount") == 0
    config = ([made.accept_all.hex], [FAMILY], 1)
    with expect_revert("NotDelegated"):
        module.send("createRollup", config, made.user, DELAY, word(1), GENESIS, sender=made.user)
    for function, arguments, error in (
        ("scheduleConfig", (1, config), "UnknownRollup"),
        ("transferRollupOwnership", (1, made.user), "UnknownRollup"),
        ("cleanup", (bytes(32), []), "NoSuchTable"),
        ("claim", (made.user,), "NothingToClaim"),
    ):
        with expect_revert(error):
            module.send(function, *arguments, sender=made.user)


def test_the_module_has_no_immutables() -> None:
    """So that its code can be compared with the artifact, and none of its own values can leak into Rollups."""
    for name in ("RollupsAdmin", "TableReader"):
        assert not artifact(name).immutables, name
    assert artifact("Rollups").immutables


def test_rollups_is_not_made_without_its_parts(made: Setup) -> None:
    good = [made.rollups.view("reader"), made.rollups.view("module")]
    for place in (0, 1):
        parts = [made.world.account("nobody") if i == place else good[i] for i in range(2)]
        with expect_revert("NoCode"):
            made.world.deploy("Rollups", *parts)


def test_unknown_functions_and_plain_ether_are_refused(made: Setup) -> None:
    for data in (b"\xde\xad\xbe\xef", b"\xde\xad"):
        for value in (0, 1):
            with pytest.raises(Reverted):
                made.world.send_raw(made.rollups.address, data, sender=made.user, value=value)
    with expect_revert("PlainTransfer") as caught:
        made.world.send_raw(made.rollups.address, b"", sender=made.user, value=7)
    assert caught.value.revert.values["value"] == 7


def test_ether_sent_along_with_a_function_of_the_module_is_refused(made: Setup) -> None:
    data = call_data("IRollups", "claim", made.user)
    with pytest.raises(Reverted):
        made.world.send_raw(made.rollups.address, data, sender=made.user, value=1)
    assert made.world.balance(made.rollups.address) == 0
