"""Statement words: the layout word by word, its vectors, and what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from protocol import statement
from protocol.actions import CALLS, OWN_FRAME, Action, ActionKind
from protocol.constants import FIELD_ORDER
from protocol.errors import RuleError
from protocol.statement import TIER_M, TIER_S, TIERS, Tier, own_entries, smallest_tier, tier_by_number, words
from protocol.table import decode_core
from protocol.types import Address, RollupId
from tests.support.cores import (
    ORACLE,
    PROGRAM,
    USER,
    call,
    every_kind_core,
    oracle_call,
    oracle_core,
    result_of,
    two_rollup_core,
    with_entry,
    word,
)
from tests.support.tools import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/core.json").read_text())


def number(raw: bytes) -> int:
    """An address as a word."""
    return int.from_bytes(raw, "big")


def test_the_tier_table_is_the_one_of_the_specification() -> None:
    """Places and words of every tier."""
    stated = [line for line in (ROOT / "protocol/SPEC.md").read_text().splitlines() if line.startswith("| ")]
    for tier in TIERS:
        row = (
            f"| {tier.name} | {tier.number} | {tier.entries} | {tier.data_words} | "
            f"4 + {tier.entries}*(3 + 2*{tier.record_words}) = {tier.words_total} |"
        )
        assert row in stated
    assert [tier_by_number(tier.number) for tier in TIERS] == list(TIERS)
    assert [tier.name for tier in TIERS] == ["S", "M", "L", "XL"]
    with pytest.raises(RuleError) as caught:
        tier_by_number(len(TIERS))
    assert caught.value.reason == "TIER_UNKNOWN"


def test_words_of_the_oracle_table() -> None:
    """Every word that is not zero padding."""
    endpoint_program = (1 << 160) + number(PROGRAM)
    call_record = [0, endpoint_program, number(USER), 7, 0, 0, (4 << 32) + number(call().data)]
    ask_record = [0, number(ORACLE), endpoint_program, 0, 100000, 0, (4 << 32) + number(oracle_call().data)]
    answer_record = [2, endpoint_program, number(ORACLE), 0, 0, 0, 32 << 32, 0, 2500]
    final_record = [2, number(USER), endpoint_program, 0, 0, 0, 32 << 32, 0, 1]
    expected = [1, 1_800_000_000, number(bytes.fromhex("fe" * 20)), 2]
    expected += [1, 101, 102] + call_record + [0] * 8 + ask_record + [0] * 8
    expected += [2, 102, 103] + answer_record + [0] * 6 + final_record + [0] * 6
    assert words(oracle_core(), 1, TIER_S) == tuple(expected + [0] * 33)


def test_ordinals_count_own_entries_only() -> None:
    """Entry 2 of the table is the second own entry of rollup 1 and answers its first."""
    core = two_rollup_core()
    assert own_entries(core, 1) == (0, 2)
    assert words(core, 1, TIER_S)[4 + 33] == 2
    failed = words(core, 2, TIER_S)
    assert failed[3] == 2
    assert failed[4 + 33 + 3 + 15] == 2 + 256


@pytest.mark.parametrize("kind", [ActionKind.L2TX, ActionKind.REVERT, ActionKind.REVERT_CONTINUE, None])
def test_what_no_circuit_knows_has_no_statement(monkeypatch: pytest.MonkeyPatch, kind: ActionKind | None) -> None:
    """A statement that no circuit gives a meaning to must not be asked for; None stands for scopes."""
    core = every_kind_core()
    assert words(core, 1, TIER_M)
    if kind is None:
        monkeypatch.setattr(statement, "PROVABLE_SCOPES", False)
    else:
        monkeypatch.setattr(statement, "PROVABLE_KINDS", tuple(x for x in ActionKind if x is not kind))
    with pytest.raises(RuleError) as caught:
        words(core, 1, TIER_M)
    assert caught.value.reason == ("TIER_SCOPE" if kind is None else "TIER_KIND")


def read_back(record: tuple[int, ...]) -> Action:
    """The action whose record this is: the layout loses nothing."""
    head, target, source, value, gas, scope, meta, *halves = record
    kind, length = ActionKind(head & 0xFF), meta >> 32
    data = b"".join(half.to_bytes(16, "big") for half in halves)
    if kind in CALLS:
        data = (meta & 0xFFFFFFFF).to_bytes(4, "big") + data
    assert not any(data[length:])
    return Action(
        kind=kind,
        rollup_id=RollupId(target >> 160),
        destination=Address((target % (1 << 160)).to_bytes(20, "big")),
        value=value,
        gas=gas,
        failed=bool(head >> 8 & 1),
        opaque=bool(head >> 9 & 1),
        source_rollup=RollupId(source >> 160),
        source_address=Address((source % (1 << 160)).to_bytes(20, "big")),
        scope=tuple(scope >> 32 * i & 0xFFFFFFFF for i in range(scope >> 224)),
        data=data[:length],
    )


@pytest.mark.parametrize("kind", ActionKind)
@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 31, 32, 33, 36, 512, 1024])
def test_a_record_says_all_of_an_action(monkeypatch: pytest.MonkeyPatch, kind: ActionKind, length: int) -> None:
    """Of every kind, with the largest fields that it has: nobody can show words of one action for another."""
    monkeypatch.setattr(statement, "PROVABLE_KINDS", tuple(ActionKind))
    monkeypatch.setattr(statement, "PROVABLE_SCOPES", True)
    is_call, is_own = kind in CALLS, kind in OWN_FRAME
    named = is_call or kind is ActionKind.RESULT
    action = Action(
        kind=kind,
        rollup_id=RollupId((1 << 64) - 1),
        destination=Address(b"\xff" * 20 if named else bytes(20)),
        value=(1 << 128) - 1 if is_call else 0,
        gas=(1 << 64) - 1 if is_call or kind is ActionKind.L2TX else 0,
        failed=kind is ActionKind.RESULT,
        opaque=kind is ActionKind.TRY_CALL,
        source_rollup=RollupId((1 << 64) - 1 if named or is_own else 0),
        source_address=Address(b"\xfe" * 20 if named else bytes(20)),
        scope=tuple(range((1 << 32) - 7, 1 << 32)) if is_call or is_own else (),
        data=b"" if is_own else bytes(range(1, 256)).ljust(length, b"\x07")[:length],
    )
    core = with_entry(oracle_core(), 0, trigger=action, next_action=action)
    core = replace(core, lockset=(replace(core.lockset[0], rollup_id=action.rollup_id),), entries=core.entries[:1])
    tier = Tier(name="wide", number=0, entries=1, data_words=32)
    laid = words(core, action.rollup_id, tier)
    assert all(0 <= x < FIELD_ORDER for x in laid)
    assert [read_back(laid[7:78]), read_back(laid[78:])] == [action, action]


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: str(case["name"]))
def test_words_equal_the_vectors(case: dict[str, object]) -> None:
    """Committed statements of committed cores."""
    core = decode_core(bytes.fromhex(str(case["core"])))
    statements = case["statements"]
    assert isinstance(statements, dict)
    for rollup_id, expected in statements.items():
        got = words(core, int(rollup_id), TIER_S)
        assert [str(x) for x in got] == expected
        assert all(0 <= x < FIELD_ORDER for x in got)
        assert smallest_tier(core, int(rollup_id)) is TIER_S


def test_what_does_not_fit_is_refused() -> None:
    """Too many own entries, too much data, no own entry."""
    big = with_entry(oracle_core(), 1, next_action=result_of(call(), word(1) * 4 + b"\0"))
    with pytest.raises(RuleError) as caught:
        words(big, 1, TIER_S)
    assert caught.value.reason == "TIER_DATA"
    assert smallest_tier(big, 1).name == "M"
    with pytest.raises(RuleError) as caught:
        smallest_tier(with_entry(oracle_core(), 1, next_action=result_of(call(), word(1) * 17)), 1)
    assert (caught.value.reason, caught.value.values["limit"]) == ("TIER_DATA", 16)
    entries = tuple(entry for entry in (two_rollup_core().entries[3],) * 4)
    with pytest.raises(RuleError) as caught:
        words(oracle_core(entries=entries), 2, TIER_S)
    assert caught.value.reason == "TIER_ENTRIES"
    with pytest.raises(RuleError) as caught:
        words(oracle_core(), 5, TIER_S)
    assert caught.value.reason == "STATEMENT_EMPTY"
