"""Where fault tests end the process: a hook around every database write (`node.store.database.OnCommit`).

Only the two variables named here arm it, and both say that they are for tests. Unarmed it does nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from node.store.database import OnCommit, nothing

KILL_EACH_ONCE: Final = "UNVETO_TEST_KILL_EACH_ONCE"
"""File: every point is written to it when it is reached for the first time, and the process ends there by SIGKILL."""
LIST_POINTS: Final = "UNVETO_TEST_LIST_POINTS"
"""File: every point that is reached is appended to it; nothing ends."""


def hook_for_tests(environment: Mapping[str, str]) -> OnCommit:
    """The hook that the environment asks for."""
    if KILL_EACH_ONCE in environment:
        return _kill_each_once(Path(environment[KILL_EACH_ONCE]))
    if LIST_POINTS in environment:
        return _list_points(Path(environment[LIST_POINTS]))
    return nothing


def _append(path: Path, point: str) -> None:
    with path.open("a") as file:
        file.write(point + "\n")
        file.flush()
        os.fsync(file.fileno())


def _list_points(path: Path) -> OnCommit:
    return lambda point: _append(path, point)


def _kill_each_once(path: Path) -> OnCommit:
    done = set(path.read_text().splitlines()) if path.exists() else set()

    def hook(point: str) -> None:
        if point not in done:
            _append(path, point)
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
