"""The example programs do on the machine what their comments say."""

from __future__ import annotations

import pytest

from protocol.actions import Action
from protocol.hashing import selector
from protocol.types import Address, Endpoint, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.disassembler import disassemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import Genesis, state_from_genesis
from protocol.vm.programs import (
    NAMES,
    PRICE_SLOT,
    READINGS_SLOT,
    SETTLED_SLOT,
    counter_account,
    oracle_reader_account,
    program,
    token_account,
    token_slot,
)
from protocol.vm.state import VmState
from tests.support.cores import ORACLE, PROGRAM, USER, call, result_of, word
from tests.support.machines import run, slot

BOB = Address(bytes.fromhex("b0" * 20))


def invoke(signature: str, *arguments: int, source: Address = USER) -> Action:
    """An L1 call of the program."""
    data = selector(signature).to_bytes(4, "big") + b"".join(word(x) for x in arguments)
    return call(value=0, data=data, source_address=source)


@pytest.mark.parametrize("name", NAMES)
def test_sources_survive_disassembly(name: str) -> None:
    """And stay small."""
    assert assemble(disassemble(program(name))) == program(name)
    assert len(program(name).instructions) <= 80


def counter(count: int = 0) -> VmState:
    """A counter that has counted."""
    state = state_from_genesis(Genesis(accounts=(counter_account(PROGRAM),)))
    return run(state, invoke("add(uint128)", count)).post if count else state


def test_counter_counts() -> None:
    """increment, add and count."""
    first = run(counter(), invoke("increment()"))
    assert first.next_action == result_of(invoke("increment()"), word(1))
    second = run(first.post, invoke("add(uint128)", 41))
    assert second.next_action.data == word(42)
    third = run(second.post, invoke("count()"))
    assert third.next_action.data == word(42)
    assert third.new_root == second.new_root
    assert slot(third.post, 0) == (42, 0)


def test_counter_refuses() -> None:
    """Unknown functions, more than 128 bits, and overflow leave the state as it was."""
    state = counter(5)
    for trigger, outcome in (
        (invoke("reset()"), Outcome.REVERT),
        (call(value=0, data=b""), Outcome.REVERT),
        (invoke("add(uint128)", 1 << 128), Outcome.REVERT),
        (invoke("add(uint128)", (1 << 128) - 5), Outcome.TRAP),
    ):
        result = run(state, trigger)
        assert result.outcome is outcome
        assert result.next_action == result_of(trigger, failed=True)
        assert result.new_root == state.root


def token() -> VmState:
    """100 tokens of the user."""
    balances = {endpoint(0, USER): 100}
    return state_from_genesis(Genesis(accounts=(token_account(PROGRAM, balances),)))


def number(account: bytes) -> int:
    """An address as an argument."""
    return int.from_bytes(account, "big")


def balance(state: VmState, holder: Address) -> int:
    """By the program's own function."""
    return int.from_bytes(run(state, invoke("balanceOf(address)", number(holder))).next_action.data, "big")


def test_token_moves_and_conserves() -> None:
    """To another account, to a new one, to oneself, nothing, everything."""
    state = token()
    for source, to, amount, expected in (
        (USER, BOB, 30, (70, 30)),
        (BOB, USER, 0, (70, 30)),
        (USER, USER, 70, (70, 30)),
        (USER, BOB, 70, (0, 100)),
    ):
        result = run(state, invoke("transfer(address,uint256)", number(to), amount, source=source))
        assert result.next_action.data == word(1)
        state = result.post
        assert (balance(state, USER), balance(state, BOB)) == expected
    assert slot(state, token_slot(endpoint(0, BOB))) == (100, 0)


def test_token_refuses() -> None:
    """Too much, too many bits, a recipient that is no address, an unknown function."""
    state = token()
    transfer = "transfer(address,uint256)"
    for trigger, outcome, trap in (
        (invoke(transfer, number(BOB), 101), Outcome.TRAP, Trap.OVERFLOW),
        (invoke(transfer, number(USER), 1, source=BOB), Outcome.TRAP, Trap.OVERFLOW),
        (invoke(transfer, number(BOB), 1 << 128), Outcome.REVERT, None),
        (invoke(transfer, 1 << 160, 1), Outcome.TRAP, Trap.ADDRESS),
        (invoke("mint(address,uint256)", number(BOB), 1), Outcome.REVERT, None),
    ):
        result = run(state, trigger)
        assert (result.outcome, result.trap) == (outcome, trap)
        assert result.next_action.failed
        assert result.new_root == state.root


def test_a_holder_of_another_rollup_is_another_holder() -> None:
    """The same address on rollup 2 owns nothing here."""
    trigger = call(value=0, source_rollup=2, data=invoke("transfer(address,uint256)", number(BOB), 1).data)
    assert run(token(), trigger).trap is Trap.OVERFLOW


def option(strike: int = 2000) -> VmState:
    """An option on the L1 oracle."""
    account = oracle_reader_account(PROGRAM, Endpoint(number(ORACLE)), strike)
    return state_from_genesis(Genesis(accounts=(account,)))


def settle(state: VmState, answer: bytes) -> tuple[Action, VmState]:
    """The call and the oracle's answer; final action and state."""
    asked = run(state, invoke("settle()"))
    assert asked.outcome is Outcome.XCALL
    assert asked.mid
    assert asked.next_action.target == number(ORACLE)
    assert asked.next_action.data == selector("price()").to_bytes(4, "big")
    assert asked.next_action.gas == 200000
    resumed = run(asked.post, result_of(asked.next_action, answer))
    assert not resumed.mid
    return resumed.next_action, resumed.post


def test_the_oracle_decides_the_new_state() -> None:
    """Below the strike it only counts and stores the price; at the strike it settles, once."""
    action, state = settle(option(), word(1999))
    assert action == result_of(invoke("settle()"), word(0) + word(1999))
    assert [slot(state, n)[0] for n in (PRICE_SLOT, READINGS_SLOT, SETTLED_SLOT)] == [1999, 1, 0]
    action, settled = settle(state, word(2000))
    assert action.data == word(1) + word(2000)
    assert [slot(settled, n)[0] for n in (PRICE_SLOT, READINGS_SLOT, SETTLED_SLOT)] == [2000, 2, 1]
    again = run(settled, invoke("settle()"))
    assert again.outcome is Outcome.REVERT
    assert again.new_root == settled.root
    assert len({option().root, state.root, settled.root}) == 3


@pytest.mark.parametrize("answer", [b"", word(1)[:-1], word(1) + b"\0", word(1 << 128), word(0) * 2])
def test_a_strange_answer_changes_nothing(answer: bytes) -> None:
    """Not one word, or more than 128 bits."""
    state = option()
    action, after = settle(state, answer)
    assert action.failed
    assert after.root == state.root


def test_a_failed_oracle_fails_the_call() -> None:
    """And restores the state."""
    state = option()
    asked = run(state, invoke("settle()"))
    ended = run(asked.post, result_of(asked.next_action, b"why", failed=True))
    assert ended.outcome is Outcome.FAILED_RESULT
    assert ended.next_action == result_of(invoke("settle()"), failed=True)
    assert ended.new_root == state.root
