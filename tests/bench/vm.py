"""How fast the reference machine is on one core: `python -m tests.bench.vm`. Best of five; nothing is gated by it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable

from protocol.vm.machine import run_entry
from protocol.vm.poseidon import P, reference, use
from proving.circuit.poseidon import native_hash
from tests.support.cores import call
from tests.support.machines import state_of

LOOP = "LDI r1, 20000\nLDI r2, 1\nl: SUB r1, r1, r2\nADD r3, r1, r2\nJNZ r1, l\nRETURN 0"
WRITES = "LDI r1, 50\nLDI r2, 1\nl: ITOF f1, r1\nSSTORE f1, r1\nSUB r1, r1, r2\nJNZ r1, l\nRETURN 0"


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of five runs."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    """Print one JSON object."""
    loop, writes = state_of(LOOP), state_of(WRITES)
    steps = run_entry(loop, rollup_id=1, l2_time=0, trigger=call(value=0)).step_count

    def hashes() -> None:
        for number in range(100):
            P(4, (number, 1, 2, 3))

    def written() -> int:
        return run_entry(writes, rollup_id=1, l2_time=0, trigger=call(value=0)).new_root

    figures = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "steps_per_s": round(steps / best(lambda: run_entry(loop, rollup_id=1, l2_time=0, trigger=call(value=0)))),
    }
    for name, implementation in (("python", reference), ("native", native_hash)):
        use(implementation)
        written()
        figures[f"P4_us_{name}"] = round(best(hashes) * 1e4, 1)
        figures[f"insertions_per_s_{name}"] = round(50 / best(written))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
