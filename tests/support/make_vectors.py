"""Writes vectors of this project's own formats: `python -m tests.support.make_vectors`.

Run it only when SPEC.md changes a format; the diff of the vectors is then the review of the change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.errors import CodedError
from protocol.statement import TIER_S, own_entries, words
from protocol.table import Core, core_id, decode_core, encode_core, entry_key, stamp, statement_commit
from protocol.types import Hash32
from tests.support.cores import call, oracle_core, two_rollup_core, with_entry
from tests.support.tools import ROOT


def core_case(name: str, core: Core) -> dict[str, Any]:
    """Everything that is derived from one core."""
    raw = encode_core(core)
    identity = core_id(raw)
    entries = []
    for index in range(len(core.entries)):
        stamps = [stamp(root, 3) for root in core.roots_before(index)]
        entries.append(
            {
                "link": core.link(index).hex(),
                "trigger": core.trigger_hash(index).hex(),
                "next": core.next_hash(index).hex(),
                "rootsBefore": [str(x) for x in core.roots_before(index)],
                "rootsAfter": [str(x) for x in core.roots_after(index)],
                "keyAtEpoch3": entry_key(identity, core.trigger_hash(index), stamps).hex(),
            }
        )
    owners = {m.rollup_id for m in core.lockset if own_entries(core, m.rollup_id)}
    return {
        "name": name,
        "core": raw.hex(),
        "coreId": identity.hex(),
        "statementCommit": statement_commit(Hash32(b"\x55" * 32), identity).hex(),
        "entries": entries,
        "statements": {str(r): [str(x) for x in words(core, r, TIER_S)] for r in sorted(owners)},
    }


def invalid_case(name: str, raw: bytes) -> dict[str, str]:
    """Bytes that must be refused, with the reason that the reference gives."""
    try:
        decode_core(raw)
    except CodedError as error:
        return {"name": name, "core": raw.hex(), "reason": error.reason}
    raise AssertionError(f"{name} is accepted")


def spliced(raw: bytes, offset: int, new: bytes) -> bytes:
    """`raw` with the bytes at `offset` replaced."""
    return raw[:offset] + new + raw[offset + len(new) :]


def core_vectors() -> dict[str, Any]:
    """Valid cores with all that is derived, and invalid bytes with the reason."""
    raw = encode_core(oracle_core())
    two = encode_core(two_rollup_core())
    first = 42 + 24 + 72 + 2
    second = first + 39 + 2 * 89
    cases = {
        "version": spliced(raw, 0, b"\x02"),
        "empty lockset": spliced(raw, 1, b"\0"),
        "rollup 0 in lockset": spliced(raw, 2, bytes(8)),
        "lockset not ascending": spliced(two, 42, bytes(7) + b"\x01"),
        "pre-root not a field element": spliced(raw, 10, b"\xff" * 32),
        "no entries": spliced(raw, first - 2, bytes(2)),
        "unknown flag": spliced(raw, first + 6, b"\x02"),
        "parent is itself": spliced(raw, second, b"\0\x01"),
        "result without parent": spliced(raw, second, b"\xff\xff"),
        "reply to itself": spliced(raw, second + 2, b"\0\x01"),
        "call with replyTo": spliced(raw, first + 2, b"\0\0"),
        "revertOf": spliced(raw, first + 4, b"\0\0"),
        "new root not a field element": spliced(raw, first + 7, b"\xff" * 32),
        "owner not in lockset": spliced(raw, first + 39 + 9, b"\x03"),
        "reserved kind": spliced(raw, first + 39, b"\x01"),
        "unknown kind": spliced(raw, first + 39, b"\x06"),
        "failed call": spliced(raw, first + 40, b"\x01"),
        "opaque call": spliced(raw, first + 40, b"\x02"),
        "result with value": spliced(raw, second + 39 + 45, b"\x01"),
        "next action from elsewhere": spliced(raw, first + 39 + 89 + 61, b"\x02"),
        "call of itself": spliced(raw, first + 39 + 89 + 9, b"\x01"),
        "result from elsewhere": spliced(raw, second + 39 + 81, b"\x0d"),
        "scope too long": spliced(raw, first + 39 + 82, b"\x08"),
        "data too long": spliced(raw, first + 39 + 83, b"\x04\x01"),
        "trailing byte": raw + b"\0",
        "truncated": raw[:-1],
        "same key twice": spliced(raw, first - 2, b"\0\x03") + raw[first:second],
    }
    return {
        "valid": [
            core_case("oracle", oracle_core()),
            core_case("two rollups, open", two_rollup_core()),
            core_case("scope", with_entry(oracle_core(), 0, trigger=call(scope=(1, 0, 7)))),
        ],
        "invalid": [invalid_case(name, bytes_) for name, bytes_ in cases.items()],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """One vector file, stable from run to run."""
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write(ROOT / "tests/vectors/core.json", core_vectors())
