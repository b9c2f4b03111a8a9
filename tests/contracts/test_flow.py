"""Loading and running tables in the transient lane: what a table moves, and in which order."""

from __future__ import annotations

from tests.support.rollupworld import Setup


def test_oracle_round_trip_moves_the_root_twice_and_logs_both(made: Setup) -> None:
    core = made.oracle_table()
    receipt = made.run(core)
    assert made.root(1) == 1002
    consumed = [e.values for e in receipt.events if e.name == "ExecutionConsumed"]
    assert [(c["index"], c["rollupId"], int.from_bytes(c["newRoot"], "big")) for c in consumed] == [
        (0, 1, 1001),
        (1, 1, 1002),
    ]
