"""How the operator's commands reach a running node: small files in its folder, written whole, answered by files.

A command has an id that its sender chose. The node answers each id once, also if it dies in between: what a command
has done is found again by the id. Nothing listens on the network for it; who may write into the folder may command the
node.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_COMMAND_BYTES: Final = 1 << 18  # a prepared table in hexadecimal is half of that
MAX_COMMANDS: Final = 64  # taken in one look
_FOLDER: Final = "inbox"
_ASK: Final = ".ask.json"
_ANSWER: Final = ".answer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command."""

    command_id: str
    """32 hex digits."""
    name: str
    arguments: Mapping[str, Any]


class Inbox:
    """The commands of one node's folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / _FOLDER

    def open(self) -> None:
        """Make the folder, for its owner alone."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ask(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Leave a command; its id."""
        self.open()
        command_id = secrets.token_hex(16)
        self._write(command_id + _ASK, {"name": name, "arguments": dict(arguments)})
        return command_id

    def answer_of(self, command_id: str) -> Mapping[str, Any] | None:
        """The node's answer, None before there is one."""
        try:
            value = json.loads((self._folder / (command_id + _ANSWER)).read_text())
        except FileNotFoundError:
            return None
        assert isinstance(value, dict)
        return value

    def pending(self) -> tuple[Command, ...]:
        """Commands without an answer, oldest first. Files that are no commands are moved aside."""
        found = []
        asks = sorted(self._folder.glob("*" + _ASK), key=lambda path: path.stat().st_mtime_ns)
        for path in asks[:MAX_COMMANDS]:
            command = _read(path)
            if command is None:
                path.rename(path.with_suffix(".bad"))
            else:
                found.append(command)
        return tuple(found)

    def answer(self, command: Command, value: Mapping[str, Any]) -> None:
        """Answer a command, which ends it."""
        self._write(command.command_id + _ANSWER, value)
        (self._folder / (command.command_id + _ASK)).unlink(missing_ok=True)

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        scratch = self._folder / (name + ".tmp")
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._folder / name)


def _read(path: Path) -> Command | None:
    command_id = path.name.removesuffix(_ASK)
    with path.open("rb") as file:
        raw = file.read(MAX_COMMAND_BYTES + 1)
    try:
        value = json.loads(raw) if len(raw) <= MAX_COMMAND_BYTES else None
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("arguments"), dict) or len(command_id) != 32:
        return None
    return Command(command_id=command_id, name=str(value.get("name")), arguments=value["arguments"])
