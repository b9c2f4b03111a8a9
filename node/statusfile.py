"""A node's public face on its own disk: `status.json` in its folder, replaced atomically.

Operators, `unveto doctor` and whoever starts nodes as processes read it; it holds no secret. Its first version appears
when the node listens, which is how a supervisor knows that the node is up.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATUS_NAME = "status.json"

log = logging.getLogger("unveto.status")


class StatusFile:
    """Holds the latest value of each section and writes the whole file on every change."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATUS_NAME
        self._sections: dict[str, Any] = {}

    def put(self, section: str, value: Mapping[str, Any]) -> None:
        """Replace one section."""
        if self._sections.get(section) == value:
            return
        self._sections[section] = dict(value)
        scratch = self._path.with_suffix(".tmp")
        try:
            scratch.write_text(json.dumps(self._sections, indent=1, sort_keys=True))
            os.replace(scratch, self._path)
        except OSError as error:  # a full disk; the next change is another chance
            log.warning("%s is out of date: %s", self._path, error.strerror)


def read_status(folder: Path) -> dict[str, Any] | None:
    """The last written status, or None before the first."""
    try:
        value = json.loads((folder / STATUS_NAME).read_text())
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None
