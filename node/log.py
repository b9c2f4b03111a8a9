"""Logging of a node: one line per record on standard error, where a supervisor keeps it. Secrets never reach it."""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s"


def set_up(level: str) -> None:
    """Configure the root logger once, before any library does it its own way."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=FORMAT, datefmt="%H:%M:%S", force=True)
    for noisy in ("libp2p", "hypercorn", "urllib3", "web3", "eth"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
