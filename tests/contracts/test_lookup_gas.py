"""A lookup costs the same however many entries exist: among ten thousand of others', really loaded.

On pyrevm, which loads them in seconds. The figure of a whole transaction is `open_call` in the committed gas file,
where it is the same beside sixteen other entries.
"""

from __future__ import annotations

import json

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.table import Core, core_id, encode_core
from tests.support.rollupworld import PROGRAM, Setup, abi_executions, direct, load_header, setup
from tests.support.write_gas import GAS_FILE

OTHERS = 10_000
PER_TABLE = 100
CALL = b"\x00"


def load(made: Setup, core: Core) -> None:
    """loadL2Executions by a stranger."""
    made.world.fund(made.stranger)
    made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=made.stranger,
        value=BOND_PER_ENTRY * len(core.entries),
    )


def figures(others: int) -> tuple[int, int]:
    """Gas of meeting a table, unnamed and by its name, among so many entries of other tables."""
    world = pytest.importorskip("tests.support.nativeworld", reason="elsewhere this takes minutes").NativeWorld()
    made = setup(world)
    core = made.open_core([direct(made, 1, 1001, CALL)])
    load(made, core)
    for first in range(0, others, PER_TABLE):
        # for the same rollup and root, and in each of the tables one for the very call that will be made
        data = [CALL, *((first + i).to_bytes(3, "big") for i in range(1, PER_TABLE))]
        entries = [direct(made, 1, 2000 + first + i, each) for i, each in enumerate(data)]
        load(made, made.open_core(entries))
    used = []
    for function in (("callL2",), ("callL2Pinned", core_id(encode_core(core)))):
        point = world.snapshot()
        used.append(made.rollups.send(*function, 1, PROGRAM, CALL, sender=made.user).gas_used)
        assert made.root(1) == 1001
        world.restore(point)
    return used[0], used[1]


def test_a_lookup_costs_the_same_among_ten_thousand_entries() -> None:
    assert figures(0) == figures(OTHERS)


def test_the_committed_lookup_does_not_know_how_many_others_there_are() -> None:
    lane = json.loads(GAS_FILE.read_text(encoding="utf-8"))["persistent_lane"]
    assert lane["open_call"] == lane["open_call_beside_16_entries"]
