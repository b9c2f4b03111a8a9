"""Deeply nested input must raise RecursionError, not overflow the C stack of a node."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMES_OF_THE_EVM = 12 * 1024
"""What py-evm asks for; JSON that deep fits the stack of a thread."""


@pytest.mark.parametrize("modules", ["node.identity", "node.chain.sender, node.chain.evm", "node.chain.evm, web3"])
def test_no_import_leaves_a_recursion_limit_that_json_can_overflow(modules: str) -> None:
    """In a process of its own: the limit depends on the order of the imports."""
    script = f"import json, sys, {modules}\nprint(sys.getrecursionlimit())\ntry:\n    json.loads('[' * 90000)\n"
    script += "except RecursionError:\n    print('refused')\n"

    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    limit, outcome = done.stdout.split()
    assert int(limit) <= FRAMES_OF_THE_EVM
    assert "refused" == outcome
