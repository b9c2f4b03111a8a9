"""The requester is killed as a chunk of a state is on disk; started again, it asks only for the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from node.killpoints import KILL_EACH_ONCE
from tests.support.bigstates import big_state
from tests.support.tools import ROOT


def test_a_download_killed_at_a_chunk_goes_on_with_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), KILL_EACH_ONCE: str(tmp_path / "killed")}
    command = [sys.executable, "-m", "tests.support.chunkchild", str(tmp_path / "states")]

    killed, ended = (
        subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
        for _ in range(2)
    )

    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed").read_text() == "chunk\n"
    assert ended.returncode == 0
    root, from_disk = ended.stdout.split()
    assert int(root) == big_state().root
    assert int(from_disk) >= 1
