"""Random trees of programs that call each other, try and fail, against a model of nothing but recursion and copies."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.actions import ActionKind
from protocol.constants import NONE
from protocol.payload import make_witness, state_from_witness
from protocol.table import Core, decode_core, encode_core
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.rollup import apply_entry, run_core
from protocol.vm.state import VmState, account_key, storage_key, unpack_account
from tests.support.cores import call
from tests.support.machines import L2_TIME
from tests.support.vmtables import VmTable

SLOTS = range(3)
ANSWERED = 900
"""From this slot on a program keeps whether its calls succeeded."""
MONEY = 100
OUTSIDE = 5


@dataclass(frozen=True, slots=True)
class Store:
    """SSTORE."""

    slot: int
    value: int


@dataclass(frozen=True, slots=True)
class Inside:
    """ICALL of a child."""

    child: Node
    value: int


@dataclass(frozen=True, slots=True)
class Out:
    """XTRYV or XCALLV."""

    tries: bool
    value: int


@dataclass(frozen=True, slots=True)
class Node:
    """A program."""

    steps: tuple[Store | Inside | Out, ...]
    end: str


CODE = {"return": "RETURN 0", "revert": "REVERT 0", "trap": "LDI r1, 1\nSUB r1, r11, r1\nRETURN 0"}
VALUES = st.sampled_from((0, 0, 0, 0, 1, 40, 101))
LEAVES = st.one_of(
    st.builds(Store, st.sampled_from(SLOTS), st.integers(0, 3)),
    st.builds(Out, st.booleans(), VALUES),
    st.builds(Out, st.booleans(), VALUES),
)
ENDS = st.sampled_from(("return", "return", "revert", "trap"))
NODES = st.recursive(
    st.builds(Node, st.lists(LEAVES, min_size=1, max_size=2).map(tuple), ENDS),
    lambda inner: st.builds(
        Node, st.lists(st.one_of(LEAVES, st.builds(Inside, inner, VALUES)), max_size=4).map(tuple), ENDS
    ),
    max_leaves=6,
)
CATCHING = st.builds(
    Node, st.lists(st.builds(Inside, NODES, VALUES), min_size=1, max_size=3).map(tuple), st.just("return")
)
"""What its callees do wrong it survives."""
ROOTS = st.one_of(CATCHING, CATCHING, NODES)


def nodes_of(root: Node) -> list[Node]:
    """All programs, callers first; equal subtrees are programs of their own."""
    found = [root]
    for step in root.steps:
        if isinstance(step, Inside):
            found += nodes_of(step.child)
    return found


def placed(root: Node) -> dict[int, tuple[Address, Node]]:
    """By identity in the order of `nodes_of`, with an address each."""
    return {
        place: (Address(bytes(18) + (0x1000 + place).to_bytes(2, "big")), node)
        for place, node in enumerate(nodes_of(root))
    }


def children(root: Node, place: int) -> Iterator[int]:
    """Places of a node's children, in order."""
    following = place + 1
    node = nodes_of(root)[place]
    for step in node.steps:
        if isinstance(step, Inside):
            yield following
            following += len(nodes_of(step.child))


def source_of(root: Node, place: int) -> str:
    """Assembler text of one program."""
    lines: list[str] = []
    below = children(root, place)
    for number, step in enumerate(nodes_of(root)[place].steps):
        match step:
            case Store(slot, value):
                lines.append(f"LDF f1, {slot}\nLDI r1, {value}\nSSTORE f1, r1")
                continue
            case Inside(_, value):
                target = endpoint(1, placed(root)[next(below)][0])
                lines.append(f"LDF f1, {target}\nLDI r1, {value}\nICALL f1, r1, 0, 0")
            case Out(tries, value):
                op = f"{'XTRYV' if tries else 'XCALLV'} f1, r1, 0, 0, 9"
                lines.append(f"LDF f1, {OUTSIDE}\nLDI r1, {value}\n{op}")
        lines.append(f"RETOK r2\nLDF f2, {ANSWERED + number}\nSSTORE f2, r2")
    return "\n".join([*lines, CODE[nodes_of(root)[place].end]])


class Failed(Exception):
    """A frame of the model failed."""


@dataclass(slots=True)
class World:
    """What the model changes."""

    wei: dict[int, int] = field(default_factory=dict)
    slots: dict[tuple[int, int], int] = field(default_factory=dict)
    sent: int = 0
    """wei that left the rollup."""


def play(world: World, root: Node, place: int, answers: Iterator[bool]) -> None:
    """Run a program of the model. Raises Failed; the caller has a copy."""
    below = children(root, place)
    node = nodes_of(root)[place]
    for number, step in enumerate(node.steps):
        if isinstance(step, Store):
            world.slots[place, step.slot] = step.value
            continue
        if world.wei.get(place, 0) < step.value:
            raise Failed
        before = copy.deepcopy(world)
        world.wei[place] = world.wei.get(place, 0) - step.value
        succeeded = True
        if isinstance(step, Inside):
            child = next(below)
            world.wei[child] = world.wei.get(child, 0) + step.value
            try:
                play(world, root, child, answers)
            except Failed:
                succeeded = False
        else:
            world.sent += step.value
            succeeded = next(answers) or not step.tries
        if not succeeded:
            world.wei, world.slots, world.sent = before.wei, before.slots, before.sent
        world.slots[place, ANSWERED + number] = int(succeeded)
    if node.end != "return":
        raise Failed


def flow(root: Node, answers: Iterator[bool]) -> tuple[VmState, VmTable, bool]:
    """The machine's table, its first state, and whether the call succeeded."""
    accounts = tuple(
        GenesisAccount(address=address, program=assemble(source_of(root, place)))
        for place, (address, _) in placed(root).items()
    )
    first = state_from_genesis(Genesis(accounts=accounts))
    table = VmTable({1: first}, l2_time=L2_TIME)
    at = table.begins(call(value=MONEY, destination=placed(root)[0][0], data=b""))
    while table.entries[at].next_action.kind is not ActionKind.RESULT:
        action = table.entries[at].next_action
        if action.kind is ActionKind.REVERT:
            at = table.continues(at)
        else:
            failed = not next(answers) and action.kind is ActionKind.TRY_CALL
            at = table.answered(at, failed=failed)
    return first, table, not table.entries[at].next_action.failed


def outcome(state: VmState, root: Node) -> tuple[dict[int, int], dict[tuple[int, int], int]]:
    """wei and slots that are not 0."""
    wei, slots = {}, {}
    for place, (address, node) in placed(root).items():
        number = int.from_bytes(address, "big")
        wei[place] = unpack_account(state.tree.get(account_key(number))[0])[1]
        for slot in (*SLOTS, *range(ANSWERED, ANSWERED + len(node.steps))):
            slots[place, slot] = state.tree.get(storage_key(number, slot))[0]
    return {k: v for k, v in wei.items() if v}, {k: v for k, v in slots.items() if v}


def check(root: Node, answers: list[bool]) -> int:
    """Machine and model end alike, and the table is one; the number of its entries."""
    world = World(wei={0: MONEY})
    try:
        play(world, root, 0, iter([*answers, *[True] * 300]))
        succeeds = True
    except Failed:
        world, succeeds = World(), False
    first, table, did = flow(root, iter([*answers, *[True] * 300]))
    last = table.state(1)
    expected = ({k: v for k, v in world.wei.items() if v}, {k: v for k, v in world.slots.items() if v})
    assert (did, outcome(last, root)) == (succeeds, expected)
    assert sum(outcome(last, root)[0].values()) == (MONEY - world.sent if succeeds else 0)
    assert last.frames is None
    core = decode_core(encode_core(table.core()))
    runs = run_core(first, core, 1)
    assert [run.new_root for run in runs.values()] == [entry.new_root for entry in core.entries]
    partial = state_from_witness(make_witness(first, runs.values()))
    assert len(run_core(partial, core, 1)) == len(core.entries)
    follow(first, core, last)
    return len(core.entries)


def follow(state: VmState, core: Core, last: VmState) -> None:
    """A follower meets the entries of the branch that is live in the end, and no others."""
    live, at = [], len(core.entries) - 1
    while at != NONE:
        live.append(at)
        at = core.entries[at].parent
    for index in reversed(live):
        state = apply_entry(state, core, index).post
    assert state.root == last.root


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ROOTS, st.lists(st.booleans(), max_size=6))
def test_machine_and_model_end_alike(root: Node, answers: list[bool]) -> None:
    """Storage, balances, what succeeded; ether is conserved; the table obeys every rule and replays."""
    assert check(root, answers) >= 1


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@settings(max_examples=600, deadline=None, derandomize=True)
@given(ROOTS, st.lists(st.booleans(), max_size=10))
def test_many_flows_end_alike(root: Node, answers: list[bool]) -> None:
    """The same, for long: `pytest -m campaign tests/property/test_vm_frames.py`."""
    assert check(root, answers) >= 1
