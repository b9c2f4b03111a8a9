"""Signed and forced transactions, and programs that arrive by calls (SPEC §4.7 to §4.9)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from protocol.actions import Action, ActionKind
from protocol.constants import FIELD_ORDER
from protocol.errors import DecodeError, StateError
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls, deploy_key, deployed_address
from protocol.vm.eddsa import SigningKey
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import Genesis, GenesisAccount, decode_genesis, encode_genesis, state_from_genesis
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.poseidon import P
from protocol.vm.state import QUEUE_KEY, VmState, account_key, unpack_account
from protocol.vm.transactions import decode_transaction, encode_transaction, sign_transaction, transaction_domain
from tests.support.cores import OTHER_PROGRAM, PROGRAM, call, l2tx, result_of, revert_at, word
from tests.support.machines import L2_TIME, slot

KEY, OTHER_KEY = SigningKey(b"\x07" * 32), SigningKey(b"\x08" * 32)
FEE_RECIPIENT = Address(b"\xfe" * 20)
DOMAIN = transaction_domain(1, Address(b"\x01" * 20))
DEPLOYER = Address(bytes(19) + b"\x01")
TARGET = """
        CALLER f1
        LDF    f2, 1
        SSTOREF f2, f1
        SEL    r1
        JZ     r1, ok
        LDI    r2, 1
        EQ     r2, r1, r2
        JNZ    r2, fail
        LDF    f1, 99
        XCALL  f1, 5, 0, 0
        SEL    r1
        LDI    r2, 3
        EQ     r2, r1, r2
        JNZ    r2, fail
ok:     VALUE  r3
        ARGLO  r4, 0
        OUT    r3, r4, 0
        RETURN 1
fail:   LDI    r3, 13
        OUT    r3, r3, 0
        REVERT 1
"""
"""Selector 0: answers; 1: fails; 2: calls out and answers; 3: calls out and fails."""


def number(account: Address) -> int:
    return int.from_bytes(account, "big")


@cache
def funded() -> VmState:
    """The signer has 100 wei."""
    genesis = Genesis(accounts=(GenesisAccount(address=PROGRAM, program=assemble(TARGET)),), domain=DOMAIN)
    state = state_from_genesis(genesis)
    return run_entry(state, rollup_id=1, l2_time=L2_TIME, trigger=call(value=100, destination=KEY.address)).post


def signed(key: SigningKey = KEY, **changes: Any) -> bytes:
    """A transaction to PROGRAM: value 5, fee 3."""
    fields: dict[str, Any] = {
        "domain": DOMAIN,
        "rollup_id": 1,
        "nonce": 0,
        "destination": PROGRAM,
        "words": ((0, 42),),
        "value": 5,
        "fee": 3,
    }
    return sign_transaction(key, **(fields | changes))


def does(state: VmState, data: bytes, gas: int = 0) -> EntryRun:
    """The entry of an L2TX."""
    trigger = l2tx(data=data, gas=gas)
    return run_entry(state, rollup_id=1, l2_time=L2_TIME, trigger=trigger, fee_recipient=FEE_RECIPIENT, trace=True)


def account(state: VmState, address: Address) -> tuple[int, int]:
    """(nonce, balance)."""
    return unpack_account(state.tree.get(account_key(number(address)))[0])


def ended(failed: bool, data: bytes = b"") -> Action:
    """RESULT of an L2TX."""
    return result_of(l2tx(), data, failed)


# -- signed ------------------------------------------------------------------------------------------------------------


def test_a_transaction_pays_and_calls() -> None:
    """Nonce, fee, value, arguments, the signer as caller."""
    run = does(funded(), signed())
    assert run.next_action == ended(False, word((5 << 128) + 42))
    assert [account(run.post, x) for x in (KEY.address, PROGRAM, FEE_RECIPIENT)] == [(1, 92), (0, 5), (0, 3)]
    assert slot(run.post, 1) == (endpoint(1, KEY.address), 1)
    again = does(run.post, signed(nonce=1, fee=0))
    assert account(again.post, KEY.address) == (2, 87)
    with pytest.raises(StateError, match="TX_NONCE"):
        does(run.post, signed())


@pytest.mark.parametrize(("changes", "data"), [({"selector": 1}, word((13 << 128) + 13)), ({"value": 98}, b"")])
def test_a_failed_transaction_keeps_nonce_and_fee(changes: dict[str, int], data: bytes) -> None:
    """Whether its program fails, or its value is not there once the fee is paid."""
    run = does(funded(), signed(**changes))
    assert run.next_action == ended(True, data)
    assert [account(run.post, x) for x in (KEY.address, PROGRAM, FEE_RECIPIENT)] == [(1, 97), (0, 0), (0, 3)]
    assert slot(run.post, 1) == (0, 0)


def test_the_body_calls_out_in_scope_0_and_a_failure_reverts_it() -> None:
    """Its REVERT_CONTINUE commits nonce and fee."""
    asked = does(funded(), signed(selector=3))
    assert asked.next_action.scope == (0,)
    assert asked.next_action.source_address == PROGRAM
    answer = result_of(asked.next_action)
    failed = run_entry(asked.post, rollup_id=1, l2_time=L2_TIME, trigger=answer)
    assert failed.next_action == revert_at(1, (0,))
    go_on = revert_at(1, (0,), ActionKind.REVERT_CONTINUE)
    done = run_entry(asked.post, rollup_id=1, l2_time=L2_TIME, trigger=go_on, unwound=failed.unwound)
    assert done.next_action == ended(True, word((13 << 128) + 13))
    assert [account(done.post, x) for x in (KEY.address, PROGRAM, FEE_RECIPIENT)] == [(1, 97), (0, 0), (0, 3)]
    assert not done.mid
    well = does(funded(), signed(selector=2))
    over = run_entry(well.post, rollup_id=1, l2_time=L2_TIME, trigger=result_of(well.next_action))
    assert over.next_action == ended(False, word((5 << 128) + 42))


def damaged(place: int, data: bytes | None = None) -> bytes:
    """One bit of a word changed."""
    data = signed() if data is None else data
    at = 32 * place + 31
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "TX_LENGTH"),
        (signed()[:-1], "TX_LENGTH"),
        (signed()[:160], "TX_LENGTH"),
        (signed(words=((0, 0),) * 16) + bytes(32), "TX_LENGTH"),
        (damaged(2), "TX_SIGNATURE"),
        *((damaged(place), "TX_SIGNATURE") for place in range(3, 7)),
        (signed() + bytes(32), "TX_SIGNATURE"),
        (signed(domain=DOMAIN + 1), "TX_SIGNATURE"),
        (signed(rollup_id=2), "TX_SIGNATURE"),
        (signed(nonce=1), "TX_NONCE"),
        (signed(fee=101), "TX_FEE"),
        (signed(OTHER_KEY), "TX_FEE"),
        (signed()[:96] + bytes(15) + b"\3" + b"\1" + bytes(15) + signed()[128:], "TX_NONCE_RANGE"),
        (signed()[:128] + bytes(16) + b"\1" + bytes(15) + signed()[160:], "TX_SELECTOR_RANGE"),
        (signed()[:160] + b"\1" + bytes(31) + signed()[192:], "TX_DESTINATION_RANGE"),
        (b"\x7f" + b"\xff" * 31 + signed()[32:], "POINT_Y_RANGE"),
        (signed()[:32] + b"\x7f" + b"\xff" * 31 + signed()[64:], "POINT_Y_RANGE"),
    ],
)
def test_what_is_no_transaction_has_no_entry_but_a_skip(data: bytes, reason: str) -> None:
    """By reason; forced, it changes the cursor alone."""
    with pytest.raises(StateError) as caught:
        does(funded(), data)
    assert caught.value.reason == reason
    skipped = does(funded(), data, gas=1)
    assert (skipped.next_action, skipped.outcome, skipped.steps) == (ended(True), Outcome.SKIP, ())
    expected, _ = funded().tree.insert(QUEUE_KEY, 1, 0)
    assert skipped.post.tree.root == expected.root
    assert not skipped.mid


def test_a_rollup_without_domain_has_no_transactions() -> None:
    """Signed for domain 0 or not."""
    state = state_from_genesis(Genesis(accounts=()))
    for data in (signed(), signed(domain=0)):
        with pytest.raises(StateError, match="TX_NO_DOMAIN"):
            does(state, data)


def test_a_transaction_begins_on_a_canonical_root_only() -> None:
    """Flows cannot contain one."""
    asked = does(funded(), signed(selector=2))
    with pytest.raises(StateError, match="NOT_CANONICAL"):
        does(asked.post, signed(nonce=1))


def test_bytes_and_fields() -> None:
    """What was signed is what is decoded; fields out of their range are refused by whoever signs, too."""
    made = decode_transaction(signed(words=((1, 2), (3, 4)), selector=7))
    assert (made.sender, made.nonce, made.fee, made.value) == (KEY.address, 0, 3, 5)
    assert (made.meta, made.words) == (((4 + 64) << 32) + 7, ((1, 2), (3, 4)))
    assert decode_transaction(encode_transaction(made)) == made
    for wrong in ({"nonce": 1 << 128}, {"fee": -1}):
        with pytest.raises(OverflowError):
            signed(**wrong)


# -- forced ------------------------------------------------------------------------------------------------------------


def cursor(state: VmState) -> int:
    return state.tree.get(QUEUE_KEY)[0]


def test_a_forced_transaction_is_done_at_its_place_in_the_queue() -> None:
    """It does what it does otherwise, and moves the cursor."""
    plain, forced = does(funded(), signed()), does(funded(), signed(), gas=1)
    assert forced.next_action == plain.next_action
    assert account(forced.post, KEY.address) == account(plain.post, KEY.address)
    assert (cursor(plain.post), cursor(forced.post)) == (0, 1)
    for gas in (1, 3):
        with pytest.raises(StateError, match="FORCED_CURSOR"):
            does(forced.post, signed(nonce=1), gas=gas)
    assert cursor(does(forced.post, signed(nonce=1), gas=2).post) == 2


def test_a_forced_transaction_that_fails_inside_keeps_its_fee() -> None:
    """A program's own REVERT is what the transaction does."""
    run = does(funded(), signed(selector=1), gas=1)
    assert run.next_action == ended(True, word((13 << 128) + 13))
    assert (account(run.post, KEY.address), cursor(run.post)) == ((1, 97), 1)


@pytest.mark.parametrize("selector", [2, 3])
def test_a_forced_transaction_that_calls_out_fails_there(selector: int) -> None:
    """The call traps, so nothing leaves the rollup; nonce and fee are kept, as by any failure."""
    run = does(funded(), signed(selector=selector), gas=1)
    assert (run.next_action, run.trap) == (ended(True), Trap.ENDPOINT)
    assert (account(run.post, KEY.address), cursor(run.post), run.post.frames) == ((1, 97), 1, None)


def test_a_forced_transaction_without_end_fails_like_any_other() -> None:
    """After 65,536 steps, with its nonce."""
    genesis = Genesis(accounts=(GenesisAccount(address=PROGRAM, program=assemble("l: JMP l")),), domain=DOMAIN)
    state = state_from_genesis(genesis)
    run = does(state, signed(value=0, fee=0), gas=1)
    assert (run.trap, cursor(run.post), account(run.post, KEY.address)) == (Trap.STEPS, 1, (1, 0))
    late = does(state, signed(value=0, fee=0))
    assert (late.next_action, account(late.post, KEY.address)) == (ended(True), (1, 0))


# -- deployment --------------------------------------------------------------------------------------------------------

LONG = assemble("LDI r1, 7\nOUT r11, r1, 0\n" + "MOV r2, r1\n" * 30 + "RETURN 1")


def deploys(state: VmState, data: bytes, value: int = 0, **changes: Any) -> EntryRun:
    """A call to the deployer from L1."""
    trigger = call(destination=DEPLOYER, data=data, value=value, **changes)
    return run_entry(state, rollup_id=1, l2_time=L2_TIME, trigger=trigger, trace=True)


def test_a_program_arrives_in_chunks_and_runs() -> None:
    """33 instructions in three calls; the address follows from caller and salt; the follower has the code."""
    state, chunks = funded(), deploy_calls(LONG, salt=9)
    at = deployed_address(call().source, 9)
    assert [len(x) for x in chunks] == [516, 516, 4 + 32 * 4]
    for place, data in enumerate(chunks):
        run = deploys(state, data)
        assert run.next_action.data == word(at) + word(min(15 * place + 15, 33))
        state = run.post
    assert state.tree.get(account_key(at)) == (0, LONG.code_hash)
    assert state.tree.get(deploy_key(at)) == (LONG.code_hash, (33 << 32) + 33)
    ran = run_entry(state, rollup_id=1, l2_time=1, trigger=call(destination=Address(at.to_bytes(20, "big")), value=4))
    assert ran.next_action.data == word(7)
    assert account(ran.post, Address(at.to_bytes(20, "big"))) == (0, 4)
    for data in chunks:
        assert deploys(state, data).outcome is Outcome.REFUSED


def test_an_account_keeps_its_wei_when_its_program_comes() -> None:
    """It may have been paid before."""
    at = Address(deployed_address(call().source, 1).to_bytes(20, "big"))
    paid = run_entry(funded(), rollup_id=1, l2_time=1, trigger=call(destination=at, value=8)).post
    program = assemble("RETURN 0")
    run = deploys(paid, *deploy_calls(program, salt=1))
    assert run.post.tree.get(account_key(number(at))) == (8, program.code_hash)


def test_a_transaction_and_a_program_deploy_too() -> None:
    """Each at its own address."""
    program = assemble("LDI r1, 7\nOUT r11, r1, 0\nRETURN 1")
    (data,) = deploy_calls(program, salt=2)
    words = tuple(
        (int.from_bytes(data[i : i + 16], "big"), int.from_bytes(data[i + 16 : i + 32], "big"))
        for i in range(4, len(data), 32)
    )
    selector = int.from_bytes(data[:4], "big")
    run = does(funded(), signed(destination=DEPLOYER, value=0, selector=selector, words=words))
    at = deployed_address(endpoint(1, KEY.address), 2)
    assert run.next_action == ended(False, word(at) + word(3))
    assert run.post.programs[program.code_hash] == program
    outs = "".join(f"LDI r1, {hi}\nLDI r2, {lo}\nOUT r1, r2, {i}\n" for i, (hi, lo) in enumerate(words))
    factory = assemble(
        f"{outs}LDF f1, {endpoint(1, DEPLOYER)}\nICALL f1, r11, {selector}, {len(words)}\n"
        "RETLO r1, 1\nOUT r11, r1, 0\nRETURN 1"
    )
    state = state_from_genesis(Genesis(accounts=(GenesisAccount(address=PROGRAM, program=factory),)))
    made = run_entry(state, rollup_id=1, l2_time=1, trigger=call())
    assert made.next_action.data == word(3)
    assert made.post.tree.get(account_key(deployed_address(endpoint(1, PROGRAM), 2)))[1] == program.code_hash


FIRST, *REST = deploy_calls(LONG, salt=9)
BAD_JUMP = (0x01 << 128 | 33).to_bytes(32, "big")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        FIRST[:4],
        FIRST[:36],
        b"\0" + FIRST[1:],
        FIRST[:-1],
        FIRST[:-32],
        FIRST[:4] + bytes(16) + FIRST[20:],
        FIRST[:4] + (4097).to_bytes(16, "big") + FIRST[20:],
        FIRST[:36] + bytes(32) + FIRST[68:],
        FIRST[:36] + b"\1" + FIRST[37:],
        FIRST[:36] + BAD_JUMP + FIRST[68:],
        REST[0][:4] + (14).to_bytes(16, "big") + REST[0][20:],
    ],
)
def test_what_the_deployer_refuses_changes_nothing(data: bytes) -> None:
    """Lengths, counts, ill-formed instructions, jumps past the end, an end that falls through."""
    run = deploys(funded(), data)
    assert (run.outcome, run.next_action.failed, run.next_action.data) == (Outcome.REFUSED, True, b"")
    assert run.new_root == funded().root
    assert run.post.programs == funded().programs


def test_the_deployer_takes_no_value_and_no_other_count() -> None:
    """And a last instruction that falls through is refused when it comes."""
    assert deploys(funded(), FIRST, value=1).outcome is Outcome.REFUSED
    begun = deploys(funded(), FIRST).post
    other = REST[0][:4] + (34).to_bytes(16, "big") + REST[0][20:]
    assert deploys(begun, other).outcome is Outcome.REFUSED
    assert deploys(begun, FIRST).outcome is Outcome.DEPLOYED  # it is taken as the second chunk, for it is well-formed
    second = deploys(begun, REST[0]).post
    open_end = REST[1][:-32] + REST[0][-32:]
    assert deploys(second, open_end).outcome is Outcome.REFUSED


def test_a_failed_caller_undoes_a_deployment() -> None:
    """The code is still known, which does no harm: no account has it."""
    program = assemble("RETURN 0")
    (data,) = deploy_calls(program, salt=2)
    halves = [int.from_bytes(data[i : i + 16], "big") for i in range(4, len(data), 16)]
    outs = "".join(
        f"LDI r1, {halves[2 * i]}\nLDI r2, {halves[2 * i + 1]}\nOUT r1, r2, {i}\n" for i in range(len(halves) // 2)
    )
    factory = assemble(
        f"{outs}LDF f1, {endpoint(1, DEPLOYER)}\nICALL f1, r11, {int.from_bytes(data[:4], 'big')}, 2\nREVERT 0"
    )
    state = state_from_genesis(Genesis(accounts=(GenesisAccount(address=PROGRAM, program=factory),)))
    run = run_entry(state, rollup_id=1, l2_time=1, trigger=call())
    assert [x.outcome for x in run.stretches] == [Outcome.ICALL, Outcome.DEPLOYED, Outcome.REVERT]
    assert run.new_root == state.root


# -- genesis -----------------------------------------------------------------------------------------------------------


def test_genesis_with_a_domain() -> None:
    """Its own first byte and the first leaf; a domain of 0 has no second encoding."""
    genesis = Genesis(accounts=(GenesisAccount(address=OTHER_PROGRAM, program=None),), domain=DOMAIN)
    raw = encode_genesis(genesis)
    assert raw[:33] == b"\x02" + DOMAIN.to_bytes(32, "big")
    assert decode_genesis(raw) == genesis
    leaves = list(state_from_genesis(genesis).tree.leaves())
    assert (leaves[1].key, leaves[1].v0) == (P(3, (5, 0, 0)), DOMAIN)
    for wrong in (b"\x02" + bytes(32) + raw[33:], b"\x02" + FIELD_ORDER.to_bytes(32, "big") + raw[33:]):
        with pytest.raises(DecodeError, match="GENESIS_DOMAIN|FIELD_RANGE"):
            decode_genesis(wrong)
    with pytest.raises(DecodeError, match="GENESIS_DOMAIN"):
        encode_genesis(replace(genesis, domain=FIELD_ORDER))
    named = Genesis(accounts=(GenesisAccount(address=DEPLOYER, program=None),))
    with pytest.raises(DecodeError, match="GENESIS_DEPLOYER"):
        encode_genesis(named)
