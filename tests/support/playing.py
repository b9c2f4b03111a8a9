"""One transaction that loads tables and does things, by a contract, and what can be seen afterwards."""

from __future__ import annotations

from typing import Any

from node.chain.evm import Call
from protocol.contracts.artifacts import call_data
from protocol.table import Core, Entry
from tests.support.cores import l2tx
from tests.support.evmworld import Contract, Receipt
from tests.support.rollupworld import PROGRAM, Setup, answer, l1_call, load_step

Step = tuple[bytes, int, bytes]
TX = l2tx().data


def execute(made: Setup, rollup_id: int = 1, data: bytes = TX) -> Step:
    """executeL2TX."""
    return made.rollups.address, 0, call_data("IRollups", "executeL2TX", rollup_id, data)


def call_l2(made: Setup, rollup_id: int, data: bytes, destination: bytes = PROGRAM, value: int = 0) -> Step:
    """callL2."""
    return made.rollups.address, value, call_data("IRollups", "callL2", rollup_id, destination, data)


def play(made: Setup, bundle: Contract, *what: Core | Step, value: int = 0, gas: int = 30_000_000) -> Receipt:
    """Load the tables and do the steps, in order, in one transaction of a contract that owns nothing."""
    todo = [load_step(made, each, ()) if isinstance(each, Core) else each for each in what]
    return bundle.send("run", todo, sender=made.user, value=value, gas=gas)


def names(receipt: Receipt) -> list[Any]:
    """Events of a flow in order: consumed entries by index, others by name; loads are left out."""
    return [
        e.values["index"] if e.name == "ExecutionConsumed" else (e.name, e.values["index"])
        for e in receipt.events
        if e.name in ("ExecutionConsumed", "ScopeReverted")
    ]


def seen(made: Setup, *actors: Contract, rollups: int = 2) -> dict[str, Any]:
    """Everything that a flow can move."""
    views = {r: made.rollup(r) for r in range(1, rollups + 1)}
    return {
        "roots": {r: view["root"] for r, view in views.items()},
        "ether": {r: view["ether"] for r, view in views.items()},
        "mid": [r for r in views if made.rollups.view("isMid", r)],
        "held": made.world.balance(made.rollups.address),
        "actors": {a.address: (a.view("received"), made.world.balance(a.address)) for a in actors},
    }


def give_ether(made: Setup, rollup_id: int, wei: int) -> None:
    """Put ether into a rollup by a table that does nothing else."""
    trigger = l1_call(made.user, rollup_id, data=b"donate", value=wei)
    entry = Entry(mid=False, new_root=made.root(rollup_id), trigger=trigger, next_action=answer(trigger))
    made.run(made.core([entry], (rollup_id,)))


def outcome_gas(made: Setup, to: Contract, data: bytes, gas: int) -> bool:
    """Whether a transaction with that much gas succeeds; it is not kept."""
    return made.world.try_out(Call(sender=made.user, to=to.address, data=data, gas=gas)).succeeded
