"""Transactions that call out: their bodies wait, go on, and are undone with nonce and fee kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.actions import ActionKind
from protocol.types import endpoint
from protocol.vm import machine
from protocol.vm.assembler import assemble
from protocol.vm.frames import Ended
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.machine import run_entry
from protocol.vm.state import VmState
from proving.circuit.plan import plan
from proving.circuit.table_vm import Hints
from tests.property.circuit.test_scopes import Liar, kept
from tests.property.circuit.test_transactions import DOMAIN, KEY, L2_TIME, signed, table, wei
from tests.support import served
from tests.support.bench import bench
from tests.support.cores import OTHER_PROGRAM, PROGRAM, call, l2tx, word
from tests.support.vmtables import FEE_RECIPIENT, VmTable

SHAPE = replace(
    served.SHAPE, stretches=7, waiting=4, reverts=2, segments=7, chunks=3, transactions=1, deployments=0, nodes=110
)
OUT = "LDI r5, 8\nLDF f3, 6\nSSTORE f3, r5\nLDF f1, 99\nXCALL f1, 5, 0, 0\n"
FAILS = "RETLO r3, 0\nJNZ r3, bad\nRETURN 0\nbad: OUT r0, r3, 0\nREVERT 1"
INSIDE = f"LDF f0, {endpoint(1, OTHER_PROGRAM)}\nICALL f0, r0, 2, 0\nRETLO r3, 0\n"


def state(body: str, inner: str = "RETURN 0") -> VmState:
    """The signer has 100 wei; a program for the body and one that it may call."""
    accounts = (
        GenesisAccount(address=PROGRAM, program=assemble(body)),
        GenesisAccount(address=OTHER_PROGRAM, program=assemble(inner)),
    )
    genesis = Genesis(accounts=tuple(sorted(accounts, key=lambda account: account.address)), domain=DOMAIN)
    gift = call(value=100, destination=KEY.address)
    return run_entry(state_from_genesis(genesis), rollup_id=1, l2_time=L2_TIME, trigger=gift).post


def hints_of(made: VmTable) -> Hints:
    """What an honest prover would choose, if the runs were honest."""
    return plan(SHAPE, made.core(), 1, made.runs)


def undone(answer: int = 7, body: str = OUT + FAILS) -> VmTable:
    """The body calls out and fails if the answer is not 0."""
    made = table(l2tx(data=signed()), state=state(body))
    made.answered(0, word(answer))
    if made.runs[-1].next_action.kind is ActionKind.REVERT:
        made.continues(1)
    return made


@pytest.mark.parametrize("answer", [0, 7])
def test_a_body_calls_out_and_is_undone_if_it_fails(answer: int) -> None:
    """Value and storage are undone, the data come back, nonce and fee stay; else it ends as told."""
    made = undone(answer)
    kinds = [run.next_action.kind.name for run in made.runs]
    assert kinds == (["CALL", "REVERT", "RESULT"] if answer else ["CALL", "RESULT"])
    assert made.runs[0].next_action.scope == (0,)
    assert (made.runs[-1].next_action.failed, made.runs[-1].next_action.data) == (
        (True, word(7)) if answer else (False, b"")
    )
    assert (wei(made, KEY.address), wei(made, FEE_RECIPIENT)) == ((1, 97 if answer else 92), (0, 3))

    assert bench(SHAPE).broken(hints_of(made)) is None


def test_a_failed_answer_undoes_a_body() -> None:
    """Without data."""
    made = table(l2tx(data=signed()), state=state(OUT + FAILS))
    made.answered(0, b"no", failed=True)
    made.continues(1)

    assert made.runs[-1].next_action.data == b""
    assert bench(SHAPE).broken(hints_of(made)) is None


def test_frames_inside_a_body() -> None:
    """The scope of the inner one lies in [0]; it is undone, and then the body, which failed behind it."""
    made = table(l2tx(data=signed()), state=state(INSIDE + FAILS.replace("RETLO r3, 0\n", ""), OUT + FAILS))
    made.answered(0, word(7))
    made.continues(1)
    made.continues(2)
    actions = [run.next_action for run in made.runs]
    assert [action.scope for action in actions] == [(0, 0), (0, 0), (0,), ()]
    assert actions[-1].data == word(7)
    shape = replace(SHAPE, tier=replace(SHAPE.tier, entries=4))

    assert bench(shape).broken(plan(shape, made.core(), 1, made.runs)) is None


LIES: dict[str, dict[str, Any]] = {
    "what the body did stays": {"ends": lambda run, e: kept(run, e) if e.undone else e},
    "the transaction says other data": {"ends": lambda _, e: replace(e, data=word(8)) if e.undone else e},
    "the REVERT says other data": {"ends": lambda _, e: replace(e, data=word(8)) if not e.undone else e},
    "there is no REVERT": {"ends": lambda _, e: e if e.undone else replace(e, frame=replace(e.frame, called=False))},
    "the nonce is undone": {
        "ends": lambda _, e: replace(e, frame=replace(e.frame, start_tree=state(OUT + FAILS).tree)) if e.undone else e
    },
    "the transaction is a success": {"ends": lambda run, e: _succeeds(run, e)},
}


def _succeeds(run: Any, ended: Ended) -> Ended:
    if not ended.undone:
        return ended
    run.ledger.tree = ended.frame.start_tree
    return replace(ended, failed=False)


@pytest.mark.parametrize("name", LIES)
def test_a_machine_that_breaks_a_rule_is_not_proven(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The prover runs it, claims what it gives and fills everything else honestly; by the rules it would do."""
    monkeypatch.setattr(machine, "FrameRun", type("Breaks", (Liar,), LIES[name]))
    made = undone()
    assert (len(made.runs) == 2) == (name == "there is no REVERT")

    assert bench(SHAPE).broken(hints_of(made)) is not None
