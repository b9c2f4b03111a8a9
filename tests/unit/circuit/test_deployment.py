"""The deployment gadget against the machine's `deploy`: what it takes and refuses, and the leaves and answer then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

import pytest

from protocol.actions import Words, answer_words, call_words
from protocol.constants import FIELD_ORDER as R
from protocol.constants import MAX_PROGRAM
from protocol.vm.deployment import DEPLOY, Code, deploy, deploy_calls, deploy_key, deployed_address
from protocol.vm.isa import Instruction, Op, Program, make_program
from protocol.vm.ledger import Ledger
from protocol.vm.state import account_key
from protocol.vm.state_tree import StateTree
from proving.circuit.builder import Builder, Expr
from proving.circuit.deployment import deploy as deploy_gadget
from proving.circuit.deployment import read_deploy
from tests.support.gadgets import Gadget, Made

RNG = random.Random(47)
WORDS = 16
"""Places for data words: a full part."""
CALLER, SALT = (3 << 160) + 0xCA11E2, 99
U128 = 1 << 128
NOTHING = Code(programs={}, drafts={})
CONSTRAINTS = 8267


def body(b: Builder, xs: list[Expr]) -> list[Expr]:
    """Inputs: caller, value, dataMeta, words, the account's code hash, v0 and v1 of the deployment's leaf."""
    high, low = xs[3 : 3 + WORDS], xs[3 + WORDS : 3 + 2 * WORDS]
    code_hash, *leaf = xs[3 + 2 * WORDS :]
    call = read_deploy(b, caller=xs[0], value=xs[1], meta=xs[2], high=high, low=low)
    end = deploy_gadget(b, call, code_hash=code_hash, leaf=(leaf[0], leaf[1]))
    return [call.well_meant, call.address, call.key, end.deployed, *end.leaf, end.whole, *end.answer]


@cache
def gadget() -> Gadget:
    """Recorded once."""
    return Gadget(body, 6 + 2 * WORDS)


def program(count: int) -> Program:
    """Of so many instructions."""
    middle = [Instruction(Op.LDI, rd=i % 12, imm=RNG.getrandbits(128)) for i in range(count - 1)]
    return make_program([*middle, Instruction(Op.JMP, imm=RNG.randrange(count))])


def inputs_of(data: bytes, tree: StateTree, value: int = 0, caller: int = CALLER) -> list[int]:
    """Of a call between the leaves of a state."""
    selector, words = call_words(data)
    padded = (words + ((0, 0),) * WORDS)[:WORDS]
    address = deployed_address(caller, padded[0][1])
    leaves = [tree.get(account_key(address))[1], *tree.get(deploy_key(address))]
    return [caller, value, (len(data) << 32) + selector, *(x for x, _ in padded), *(x for _, x in padded), *leaves]


def judged(data: bytes, tree: StateTree, value: int = 0) -> tuple[int, StateTree]:
    """An honest witness, which holds and does what the machine does; the tree then."""
    made = gadget().fill(inputs_of(data, tree, value))
    assert made.first_broken() is None
    ledger, (selector, words) = Ledger(tree), call_words(data)
    meta = (len(data) << 32) + selector
    done = None if value else deploy(ledger, NOTHING, caller=CALLER, meta=meta, words=words)
    well_meant, address, key, deployed, v0, v1, whole, *answer = made.outputs
    assert deployed == int(done is not None)
    assert deployed <= well_meant
    assert key == deploy_key(address)
    if done is not None:
        assert (v0, v1) == ledger.tree.get(key)
        assert whole == int(ledger.tree.get(account_key(address)) == (0, v0))
        assert [half for word in answer_words(done.data) for half in word] == answer
    return deployed, ledger.tree


def data_of(words: Words) -> bytes:
    """A call to deploy."""
    return DEPLOY.to_bytes(4, "big") + b"".join((hi << 128 | lo).to_bytes(32, "big") for hi, lo in words)


def parts(made: Program) -> list[Words]:
    """Words of the calls that deploy a program."""
    return [call_words(data)[1] for data in deploy_calls(made, SALT)]


def after(count: int, calls: int) -> StateTree:
    """A state in which so many calls of a program's have been made."""
    ledger = Ledger(StateTree.empty())
    for words in parts(program(count))[:calls]:
        meta = ((4 + 32 * len(words)) << 32) + DEPLOY
        assert deploy(ledger, NOTHING, caller=CALLER, meta=meta, words=words) is not None
    return ledger.tree


def test_constraint_count() -> None:
    """Committed: a tier has one for each deployment."""
    count = gadget().circuit.n_constraints
    assert count == CONSTRAINTS


@pytest.mark.parametrize("count", [1, 2, 14, 15, 16, 30, 31])
def test_programs_arrive_part_by_part(count: int) -> None:
    """The last part makes the code hash."""
    made, tree = program(count), StateTree.empty()
    for data in deploy_calls(made, SALT):
        taken, tree = judged(data, tree)
        assert taken == 1
    address = deployed_address(CALLER, SALT)
    assert tree.get(account_key(address)) == (0, made.code_hash)
    # All is there: every further part is one too many.
    for data in deploy_calls(made, SALT):
        assert judged(data, tree)[0] == 0


def test_the_longest_program_can_begin_and_end() -> None:
    """4096 instructions: the first part, and the last, of one."""
    words = [(MAX_PROGRAM, SALT), *((x.word0, x.imm) for x in program(16).instructions[:15])]
    assert judged(data_of(tuple(words)), StateTree.empty())[0] == 1
    ledger = Ledger(StateTree.empty())
    ledger.put(deploy_key(deployed_address(CALLER, SALT)), 12345, (MAX_PROGRAM << 32) + MAX_PROGRAM - 1)
    last = Instruction(Op.JMP, imm=MAX_PROGRAM - 1)
    assert judged(data_of(((MAX_PROGRAM, SALT), (last.word0, last.imm))), ledger.tree)[0] == 1


def swapped(words: Words, at: int, word: tuple[int, int]) -> Words:
    """Another word."""
    return (*words[:at], word, *words[at + 1 :])


def refused() -> Iterator[tuple[str, bytes, StateTree, int]]:
    """What is wrong, the call, the state, and the value."""
    empty, (first, second, third) = StateTree.empty(), parts(program(33))
    ret = Instruction(Op.RETURN)
    yield "value", data_of(first), empty, 1
    for length in (0, 3, 4, 36, 67, 4 + 32 * 16 - 1):
        yield f"{length} bytes", data_of(first)[:length], empty, 0
    yield "another selector", b"\x01" + data_of(first)[1:], empty, 0
    for count in (0, MAX_PROGRAM + 1, 8191, 8192, 33 + (1 << 64), U128 - 1):
        yield f"count {count}", data_of(swapped(first, 0, (count, SALT))), empty, 0
    yield "the last part first", data_of(third), empty, 0
    yield "the first part twice, then with fewer", data_of(first[:4]), after(33, 1), 0
    yield "the last part second", data_of(third), after(33, 1), 0
    yield "the second part third", data_of(second), after(33, 2), 0
    yield "another count", data_of(swapped(second, 0, (34, SALT))), after(33, 1), 0
    yield "all is there", data_of(third), after(33, 3), 0
    yield "a part too short", data_of(first[:15]), empty, 0
    yield "a part too long", data_of(((1, SALT), (ret.word0, 0), (ret.word0, 0))), empty, 0
    for at in (1, 7, 15):
        yield f"no instruction {at}", data_of(swapped(first, at, (0, 0))), empty, 0
        yield f"another word {at}", data_of(swapped(first, at, (first[at][0] + (1 << 32), 0))), empty, 0
        yield f"a jump out {at}", data_of(swapped(first, at, (int(Op.JMP), 33))), empty, 0
    yield "no end", data_of(swapped(third, 3, (Instruction(Op.LDI).word0, 0))), after(33, 2), 0
    ledger = Ledger(empty)
    ledger.put(account_key(deployed_address(CALLER, SALT)), 0, 777)
    yield "an account with code", data_of(first), ledger.tree, 0
    yield "nothing", b"", empty, 0


@pytest.mark.parametrize(("data", "tree", "value"), [x[1:] for x in refused()], ids=[x[0] for x in refused()])
def test_what_the_machine_refuses_is_refused(data: bytes, tree: StateTree, value: int) -> None:
    """And is provable as that."""
    assert judged(data, tree, value)[0] == 0


def test_parts_in_another_order_make_another_program() -> None:
    """A part does not say which it is: it is the next one, and the running hash tells."""
    tree = StateTree.empty()
    first, second, third = (data_of(words) for words in parts(program(45)))
    hashes = []
    for data in (second, first, third):
        taken, tree = judged(data, tree)
        assert taken == 1
        hashes.append(tree.get(deploy_key(deployed_address(CALLER, SALT)))[0])
    assert len({*hashes, after(45, 1).get(deploy_key(deployed_address(CALLER, SALT)))[0]}) == 4


def test_a_part_may_come_again_elsewhere() -> None:
    """Same words from another caller, or under another salt: another address."""
    data = deploy_calls(program(3), SALT)[0]
    outputs = [
        gadget().fill(inputs_of(data, StateTree.empty(), caller=caller)).outputs for caller in (CALLER, CALLER + 1)
    ]
    assert [x[3] for x in outputs] == [1, 1]
    assert outputs[0][1] != outputs[1][1]


# -- wires -------------------------------------------------------------------------------------------------------------


def explained(made: Made, wire: int) -> bool:
    """An inverse of 0: it occurs in one constraint, x * wire = 1 - zero."""
    constraints = gadget().constraints
    numbers = constraints.touching(wire)
    if len(numbers) != 1:
        return False
    a, b, _ = constraints.sides(numbers[0])
    return [w for w, _ in b] == [wire] and sum(k * made.values[w] for w, k in a) % R == 0


@cache
def cases() -> dict[str, list[int]]:
    """Inputs: a part in the middle, one that ends in the wrong way, an unused place."""
    _, second, third = parts(program(33))
    return {
        "taken": inputs_of(data_of(second), after(33, 1)),
        "refused": inputs_of(data_of(swapped(third, 3, (1, 33))), after(33, 2)),
        "nothing": [0] * (6 + 2 * WORDS),
    }


@pytest.mark.parametrize("name", cases())
def test_wires_are_determined_and_changes_are_noticed(name: str) -> None:
    """Full rank; and a change of any one of a sample of wires."""
    made = gadget().fill(cases()[name])
    assert made.first_broken() is None
    loose = gadget().loose(made)
    sample = RNG.sample(list(made.inner), 400)
    free = gadget().unnoticed(made, sample, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x))

    assert [wire for wire in {*loose, *free} if not explained(made, wire)] == []


@pytest.mark.parametrize("name", cases())
def test_a_lie_in_a_hint_is_caught_or_changes_nothing(name: str) -> None:
    """Whoever flips a hint and fills all the rest consistently gets no other answer."""
    honest = gadget().fill(cases()[name])
    hinted = [wire for wire in sorted(honest.hinted) if wire in honest.inner]
    flags = [wire for wire in hinted if honest.values[wire] in (0, 1)]
    for wire in {*RNG.sample(flags, 12), *RNG.sample(hinted, 6), *hinted[-16:-1:3]}:
        lied = gadget().fill(cases()[name], {wire: (1 - honest.values[wire]) % R})
        assert lied.outputs == honest.outputs or lied.first_broken() is not None
