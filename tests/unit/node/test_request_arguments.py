"""`unveto request`: from what a user types to the intent that is planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli import build_parser
from node.commands.request import request_arguments
from node.desk import intent_of
from node.errors import UsageError
from node.intents import AnyIntent, TableIntent
from node.planner import Intent, TransactionIntent
from protocol.constants import MAX_CORE_BYTES
from protocol.types import Address

ACCOUNT = Address(b"\x33" * 20)
TO = "0x" + "44" * 20


def asked(*words: str, rollup: tuple[str, ...] = ("--rollup", "7")) -> AnyIntent:
    """The intent of a command line."""
    args = build_parser().parse_args(["request", "--config", "x", *rollup, *words])
    return intent_of(request_arguments(args), ACCOUNT)


def test_a_call_is_an_intent() -> None:
    """By the node's own account."""
    wanted = Intent(sender=ACCOUNT, rollup_id=7, destination=Address(b"\x44" * 20), value_wei=5, data=b"\1\2")
    assert asked("--to", TO, "--data", "0102", "--value", "5") == wanted


def test_a_transaction_is_an_intent() -> None:
    """Anybody's; with its place if it is queued."""
    assert asked("--transaction", "0x0a0b") == TransactionIntent(sender=ACCOUNT, rollup_id=7, data=b"\x0a\x0b")
    forced = asked("--transaction", "0a0b", "--forced", "0")
    assert forced == TransactionIntent(sender=ACCOUNT, rollup_id=7, data=b"\x0a\x0b", forced=0)


def test_a_table_is_an_intent(tmp_path: Path) -> None:
    """The file's bytes, whatever they are: the planner says whether they are a table."""
    path = tmp_path / "a.uvt"
    path.write_bytes(b"\x01\x02")
    assert asked("--table", str(path), rollup=()) == TableIntent(sender=ACCOUNT, core=b"\x01\x02")
    with pytest.raises(UsageError, match="says everything"):
        asked("--table", str(path))
    path.write_bytes(bytes(MAX_CORE_BYTES + 1))
    with pytest.raises(UsageError, match="longer"):
        asked("--table", str(path), rollup=())
    with pytest.raises(UsageError, match="absent"):
        asked("--table", str(tmp_path / "absent"), rollup=())


def test_a_call_needs_a_rollup() -> None:
    with pytest.raises(UsageError, match="--rollup"):
        asked("--to", TO, "--data", "01", rollup=())


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--data", "01"),
        ("--to", "0x44", "--data", "01"),
        ("--to", TO, "--data", "01", "--forced", "1"),
        ("--transaction", "zz"),
        ("--transaction", "01", "--to", TO),
        ("--transaction", "01", "--data", "01"),
        ("--transaction", "01", "--value", "1"),
    ],
)
def test_what_is_neither_or_both_is_refused(words: tuple[str, ...]) -> None:
    """Before anything is planned."""
    with pytest.raises(UsageError):
        asked(*words)
