"""Writes vectors of this project's own formats: `python -m tests.support.make_vectors`.

Run it only when SPEC.md changes a format; the diff of the vectors is then the review of the change.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocol.actions import ActionKind, encode_action
from protocol.constants import FIELD_ORDER, NONE
from protocol.errors import CodedError
from protocol.payload import Payload, encode_payload, make_witness, payload_commit, smallest_size_log2
from protocol.statement import TIER_S, own_entries, words
from protocol.table import Core, core_id, decode_core, encode_core, encode_header, entry_key, stamp, statement_commit
from protocol.types import Endpoint, Hash32, RollupId, endpoint
from protocol.vm.genesis import Genesis, encode_genesis, state_from_genesis
from protocol.vm.programs import NAMES, counter_account, oracle_reader_account, program, token_account
from protocol.vm.rollup import run_core
from protocol.vm.state_tree import StateTree, empty_hash
from tests.support.cores import (
    ORACLE,
    OTHER_PROGRAM,
    PROGRAM,
    USER,
    every_kind_core,
    l2tx,
    oracle_core,
    revert_at,
    two_rollup_core,
)
from tests.support.machines import oracle_table
from tests.support.tools import ROOT
from tests.support.vm_flows import flows


def core_case(name: str, core: Core, *, stated: bool = True) -> dict[str, Any]:
    """Everything that is derived from one core; without statements if no tier knows its kinds."""
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
    owners = {m.rollup_id for m in core.lockset if own_entries(core, m.rollup_id)} if stated else set()
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


def encoded_wrongly(index: int, **changes: Any) -> bytes:
    """`every_kind_core` with fields of one entry changed, encoded without asking whether it may be."""
    core = every_kind_core()
    parts = [encode_header(core), len(core.entries).to_bytes(2, "big")]
    for place, entry in enumerate(core.entries):
        e = replace(entry, **changes) if place == index else entry
        parts += [x.to_bytes(2, "big") for x in (e.parent, e.reply_to, e.revert_of)]
        parts += [
            bytes((e.mid,)),
            e.new_root.to_bytes(32, "big"),
            encode_action(e.trigger),
            encode_action(e.next_action),
        ]
    return b"".join(parts)


def spliced(raw: bytes, offset: int, new: bytes) -> bytes:
    """`raw` with the bytes at `offset` replaced."""
    return raw[:offset] + new + raw[offset + len(new) :]


def core_vectors() -> dict[str, Any]:
    """Valid cores with all that is derived, and invalid bytes with the reason."""
    raw = encode_core(oracle_core())
    two = encode_core(two_rollup_core())
    kinds = encode_core(every_kind_core())
    first = 42 + 24 + 72 + 2
    kinds_first = first + 40
    end_of_3 = len(encode_core(replace(every_kind_core(), entries=every_kind_core().entries[:4])))
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
        "call that tries, without gas": spliced(raw, first + 39, b"\x01"),
        "transaction as next action": encoded_wrongly(0, next_action=l2tx()),
        "revert as trigger": encoded_wrongly(0, trigger=revert_at(1, (0,))),
        "transaction with a destination": spliced(kinds, kinds_first + 39 + 10, b"\x01"),
        "revert without scope": kinds[: end_of_3 - 7] + bytes(3) + kinds[end_of_3:],
        "revert of another rollup's frame": spliced(kinds, end_of_3 - 7 - 82 + 9, b"\x02"),
        "continued from no revert": encoded_wrongly(5, revert_of=1),
        "continued from itself": encoded_wrongly(5, revert_of=5),
        "continued in another scope": encoded_wrongly(5, trigger=revert_at(1, (1,), ActionKind.REVERT_CONTINUE)),
        "continued at roots inside": encoded_wrongly(5, parent=1),
        "continued on another branch": encoded_wrongly(5, parent=4),
        "continued without parent": encoded_wrongly(5, parent=NONE),
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
            core_case("every kind", every_kind_core(), stated=False),
        ],
        "invalid": [invalid_case(name, bytes_) for name, bytes_ in cases.items()],
    }


def tree_vectors() -> dict[str, Any]:
    """Insertions and updates with every root, one Merkle path, and the hashes of empty subtrees."""
    tree = StateTree.empty()
    steps: list[dict[str, Any]] = []
    writes = [(50, 1, 0), (20, 2, 1), (80, 3, 0), (50, 4, 0), (FIELD_ORDER - 1, 5, 0), (1, FIELD_ORDER - 1, 1)]
    for key, v0, v1 in writes:
        if tree.open(key).found:
            tree, _ = tree.update(key, v0, v1)
        else:
            tree, _ = tree.insert(key, v0, v1)
        steps.append({"key": str(key), "v0": str(v0), "v1": str(v1), "root": str(tree.root), "next": tree.next_index})
    opening = tree.open(60)
    return {
        "emptySubtrees": [str(empty_hash(level)) for level in range(17)],
        "emptyRoot": str(StateTree.empty().root),
        "writes": steps,
        "absent": {
            "key": "60",
            "index": opening.index,
            "leaf": [str(x) for x in (opening.leaf.key, opening.leaf.next_key, opening.leaf.v0, opening.leaf.v1)],
            "siblings": [[str(x) for x in triple] for triple in opening.siblings],
        },
    }


def vm_vectors() -> dict[str, Any]:
    """Genesis roots, tables with the roots that replay gives, and one padded payload (zero padding left out)."""
    oracle = Endpoint(int.from_bytes(ORACLE, "big"))
    holder = endpoint(0, USER)
    samples = {
        "empty": Genesis(accounts=()),
        "counter": Genesis(accounts=(counter_account(PROGRAM),)),
        "token": Genesis(accounts=(token_account(PROGRAM, {holder: 1000, oracle: 5}),)),
        "oracle reader and counter": Genesis(
            accounts=(oracle_reader_account(PROGRAM, oracle, 2000), counter_account(OTHER_PROGRAM))
        ),
    }
    state = state_from_genesis(samples["oracle reader and counter"])
    tables = []
    for name, price in (("settles", 2500), ("below the strike", 1500), ("strange answer", 1 << 128)):
        core = oracle_table(state, price)
        tables.append(
            {
                "name": name,
                "genesis": encode_genesis(samples["oracle reader and counter"]).hex(),
                "core": encode_core(core).hex(),
                "roots": [str(entry.new_root) for entry in core.entries],
            }
        )
    for name, (genesis, core) in flows().items():
        tables.append(
            {
                "name": name,
                "genesis": encode_genesis(genesis).hex(),
                "core": encode_core(core).hex(),
                "roots": [str(entry.new_root) for entry in core.entries],
            }
        )
    core = oracle_table(state, 2500)
    witness = make_witness(state, run_core(state, core, 1).values())
    payload = Payload(salt=Hash32(b"\x5a" * 32), core=core, witnesses=((RollupId(1), witness),))
    size_log2 = smallest_size_log2(payload)
    padded = encode_payload(payload, size_log2)
    return {
        "genesis": [
            {"name": name, "genesis": encode_genesis(x).hex(), "root": str(state_from_genesis(x).root)}
            for name, x in samples.items()
        ],
        "codeHashes": {name: str(program(name).code_hash) for name in NAMES},
        "tables": tables,
        "payload": {
            "sizeLog2": size_log2,
            "payload": padded.rstrip(b"\0").hex(),
            "payloadCommit": payload_commit(padded).hex(),
        },
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """One vector file, stable from run to run."""
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write(ROOT / "tests/vectors/core.json", core_vectors())
    write(ROOT / "tests/vectors/tree.json", tree_vectors())
    write(ROOT / "tests/vectors/vm.json", vm_vectors())
