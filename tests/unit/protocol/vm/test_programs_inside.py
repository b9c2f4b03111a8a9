"""Programs that use calls inside the rollup, tries and values: each does what its comment says and refuses the rest."""

from __future__ import annotations

from protocol.actions import Action, ActionKind
from protocol.hashing import selector
from protocol.types import Address, Endpoint, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.machine import EntryRun
from protocol.vm.programs import (
    bridge_account,
    coin_account,
    compliance_account,
    flash_lender_account,
    insurance_account,
    nft_account,
    pair_account,
    token_slot,
)
from protocol.vm.state import VmState, account_key, unpack_account
from tests.support.cores import PROGRAM, USER, call, result_of, word
from tests.support.machines import run, slot

BOB = Address(b"\xb0" * 20)
COIN_A, COIN_B = Address(b"\xc1" * 20), Address(b"\xc2" * 20)
HOLDER = Address(b"\xd1" * 20)
GAUGE, REGISTER = Address(b"\x0d" * 20), Address(b"\x0e" * 20)


def at(account: Address, rollup_id: int = 1) -> Endpoint:
    """An endpoint, by default of rollup 1."""
    return endpoint(rollup_id, account)


def state_with(*accounts: GenesisAccount) -> VmState:
    """A rollup with these accounts."""
    return state_from_genesis(Genesis(accounts=tuple(sorted(accounts, key=lambda each: each.address))))


def ask(signature: str, *arguments: int, to: Address = PROGRAM, source: Address = USER, value: int = 0) -> Action:
    """A call from L1."""
    data = selector(signature).to_bytes(4, "big") + b"".join(word(x) for x in arguments)
    return call(value=value, data=data, destination=to, source_address=source)


def answered(result: EntryRun) -> list[int]:
    """Words of a success."""
    assert not result.next_action.failed
    data = result.next_action.data
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def expect_refused(state: VmState, trigger: Action, trap: Trap | None = None) -> None:
    """It fails and changes nothing."""
    result = run(state, trigger)
    assert (result.next_action.failed, result.trap, result.new_root) == (True, trap, state.root)


# -- one of a kind -----------------------------------------------------------------------------------------------------


def test_nft() -> None:
    """Minted to the caller, moved by its holder alone, also to other rollups."""
    state = state_with(nft_account(PROGRAM))
    for number in (1, 2):
        minted = run(state, ask("mint()"))
        assert answered(minted) == [number]
        state = minted.post
    expect_refused(state, ask("transfer(uint256,uint256)", 1, at(BOB, 0), source=BOB))
    expect_refused(state, ask("transfer(uint256,uint256)", 3, at(BOB, 0)))
    expect_refused(state, ask("transfer(uint256,uint256)", 1, 1 << 224))
    expect_refused(state, ask("transfer(uint256,uint256)", 1, 0))
    expect_refused(state, ask("ownerOf(uint256)", 3))
    expect_refused(state, ask("ownerOf(uint256)", 1 << 128))
    expect_refused(state, ask("burn(uint256)", 1))
    moved = run(state, ask("transfer(uint256,uint256)", 1, at(BOB, 7)))
    assert answered(moved) == [1]
    assert answered(run(moved.post, ask("ownerOf(uint256)", 1))) == [at(BOB, 7)]
    assert answered(run(moved.post, ask("ownerOf(uint256)", 2))) == [at(USER, 0)]
    expect_refused(moved.post, ask("transfer(uint256,uint256)", 1, at(BOB, 0)))


# -- pair --------------------------------------------------------------------------------------------------------------


def market() -> VmState:
    """A pair with reserves 10,000 and 40,000; the user has 5,000 of each coin."""
    balances = {at(USER, 0): 5_000, at(PROGRAM): 10_000}
    others = {at(USER, 0): 5_000, at(PROGRAM): 40_000}
    pair = pair_account(PROGRAM, at(COIN_A), at(COIN_B))
    state = state_with(pair, coin_account(COIN_A, balances), coin_account(COIN_B, others))
    added = run(state, ask("add()"))
    assert answered(added) == [10_000, 40_000]
    return added.post


def coins(state: VmState, coin: Address, holder: Endpoint) -> int:
    return slot(state, token_slot(holder), coin)[0]


def sent(state: VmState, coin: Address, amount: int) -> VmState:
    """The user moves coins into the pair."""
    moved = run(state, ask("move(uint256,uint256)", at(PROGRAM), amount, to=coin))
    assert answered(moved) == [1]
    return moved.post


def test_a_swap_pays_by_the_product_less_the_fee() -> None:
    """In both directions; the product of the reserves never falls, and coins are conserved."""
    for paid, got, reserves in ((COIN_A, COIN_B, (10_000, 40_000)), (COIN_B, COIN_A, (40_000, 10_000))):
        state = sent(market(), paid, 1_000)
        expected = 997 * 1_000 * reserves[1] // (1_000 * reserves[0] + 997 * 1_000)
        expect_refused(state, ask("swap(uint128)", expected + 1))
        swapped = run(state, ask("swap(uint128)", expected))
        assert answered(swapped) == [expected]
        assert coins(swapped.post, got, at(USER, 0)) == 5_000 + expected
        after = [slot(swapped.post, place)[0] for place in (2, 3)]
        assert after == [coins(swapped.post, each, at(PROGRAM)) for each in (COIN_A, COIN_B)]
        assert after[0] * after[1] >= 10_000 * 40_000
        expect_refused(swapped.post, ask("swap(uint128)", 0))


def test_a_swap_needs_exactly_one_coin() -> None:
    """Nothing in, both in, more than 128 bits wanted, another function."""
    state = market()
    expect_refused(state, ask("swap(uint128)", 0))
    expect_refused(sent(sent(state, COIN_A, 5), COIN_B, 5), ask("swap(uint128)", 0))
    expect_refused(sent(state, COIN_A, 5), ask("swap(uint128)", 1 << 128))
    expect_refused(state, ask("skim()"))


def test_a_coin_that_fails_fails_the_swap() -> None:
    """Its own program is not there."""
    pair = pair_account(PROGRAM, at(COIN_A), at(COIN_B))
    bad = GenesisAccount(address=COIN_A, program=assemble("REVERT 0"))
    expect_refused(state_with(pair, bad, coin_account(COIN_B, {})), ask("add()"))


def test_coin_refuses() -> None:
    """Too many coins, too many bits, what is no endpoint, other functions."""
    state = state_with(coin_account(PROGRAM, {at(USER, 0): 9}))
    expect_refused(state, ask("move(uint256,uint256)", at(BOB), 10), Trap.OVERFLOW)
    expect_refused(state, ask("move(uint256,uint256)", at(BOB), 1 << 128))
    expect_refused(state, ask("move(uint256,uint256)", 1 << 224, 1))
    expect_refused(state, ask("mint(uint256)", at(BOB)))
    itself = run(state, ask("move(uint256,uint256)", at(USER, 0), 9))
    assert answered(run(itself.post, ask("balanceOf(uint256)", at(USER, 0)))) == [9]


# -- flash lender ------------------------------------------------------------------------------------------------------

BORROWER = f"""
        ARGLO  r1, 0
        ARGLO  r2, 1
        LDF    f1, 9
        SSTORE f1, r2
        ADD    r3, r1, r2
        LDI    r4, {{less}}
        SUB    r3, r3, r4
        LDF    f2, {at(PROGRAM)}
        ICALL  f2, r3, selector("deposit()"), 0
        RETURN 0
"""


def lent(less: int, fee_money: int = 10) -> EntryRun:
    """100,000 wei lent from 150,000 to a borrower that has a little and pays back."""
    borrower = GenesisAccount(address=HOLDER, program=assemble(BORROWER.format(less=less)))
    state = state_with(flash_lender_account(PROGRAM), borrower)
    state = run(state, ask("deposit()", value=150_000)).post
    if fee_money:
        state = run(state, call(destination=COIN_A, value=1)).post
        key, (v0, code) = (
            account_key(int.from_bytes(HOLDER, "big")),
            state.tree.get(account_key(int.from_bytes(HOLDER, "big"))),
        )
        tree, _ = state.tree.update(key, v0 + fee_money, code)
        state = VmState(tree=tree, frames=None, programs=state.programs)
    return run(state, ask("flash(uint128,uint256)", 100_000, at(HOLDER)))


def test_a_flash_loan_is_paid_back_with_its_fee() -> None:
    """The borrower learns amount and fee."""
    result = lent(less=0, fee_money=200)
    assert answered(result) == [101]
    balance = unpack_account(result.post.tree.get(account_key(int.from_bytes(PROGRAM, "big")))[0])[1]
    assert balance == 150_101
    assert slot(result.post, 9, HOLDER) == (101, 0)


def test_a_loan_that_is_not_paid_back_never_was() -> None:
    """One wei less, or a borrower that cannot pay and traps: its storage is as before, too."""
    for result in (lent(less=1, fee_money=200), lent(less=0, fee_money=100)):
        assert result.next_action.failed
        assert result.post.tree is result.frame.start_tree
        assert slot(result.post, 9, HOLDER) == (0, 0)


# -- compliance --------------------------------------------------------------------------------------------------------


def gate() -> VmState:
    """The user is allowed."""
    state = state_with(compliance_account(PROGRAM, at(BOB, 0), at(REGISTER, 0)))
    expect_refused(state, ask("allow(uint256,uint256)", at(USER, 0), 1))
    expect_refused(state, ask("allow(uint256,uint256)", at(USER, 0), 2, source=BOB))
    expect_refused(state, ask("allow(uint256,uint256)", 1 << 224, 1, source=BOB))
    return run(state, ask("allow(uint256,uint256)", at(USER, 0), 1, source=BOB)).post


def test_a_check_asks_the_list_and_the_register() -> None:
    """Whatever the register does but say zero is a no."""
    state = gate()
    assert answered(run(state, ask("check(uint256)", at(HOLDER, 0)))) == [0]
    asked = run(state, ask("check(uint256)", at(USER, 0)))
    assert (asked.next_action.kind, asked.next_action.target) == (ActionKind.TRY_CALL, at(REGISTER, 0))
    assert asked.next_action.data == selector("isSanctioned(address)").to_bytes(4, "big") + word(at(USER, 0))
    for data, failed, expected in (
        (word(0), False, 1),
        (word(1), False, 0),
        (word(1 << 200), False, 0),
        (b"", False, 0),
        (word(0) * 2, False, 0),
        (b"", True, 0),
    ):
        done = run(asked.post, result_of(asked.next_action, data, failed))
        assert answered(done) == [expected]


def test_accounts_of_rollups_are_checked_by_the_list_alone() -> None:
    """The register knows L1."""
    state = run(gate(), ask("allow(uint256,uint256)", at(HOLDER), 1, source=BOB)).post
    assert answered(run(state, ask("check(uint256)", at(HOLDER)))) == [1]
    gone = run(state, ask("allow(uint256,uint256)", at(HOLDER), 0, source=BOB)).post
    assert answered(run(gone, ask("check(uint256)", at(HOLDER)))) == [0]


# -- insurance ---------------------------------------------------------------------------------------------------------


def policy(wei: int = 1_000) -> VmState:
    """1,000 wei from level 80 on."""
    account = insurance_account(
        PROGRAM, holder=at(HOLDER), gauge=at(GAUGE, 0), register=at(REGISTER, 0), payout=1_000, level=80
    )
    return run(state_with(account), ask("fund()", value=wei)).post


def claimed(state: VmState, *answers: bytes | None) -> EntryRun:
    """A claim; None is a failed answer."""
    result = run(state, ask("claim()"))
    for data in answers:
        assert result.next_action.kind is ActionKind.TRY_CALL
        result = run(result.post, result_of(result.next_action, data or b"", data is None))
    return result


def held(state: VmState) -> int:
    return unpack_account(state.tree.get(account_key(int.from_bytes(HOLDER, "big")))[0])[1]


def test_a_policy_pays_once_when_gauge_and_register_say_so() -> None:
    """The register is asked about the holder."""
    state = policy()
    below = claimed(state, word(79))
    assert (answered(below), below.new_root) == ([0, 79], state.root)
    asked = claimed(state, word(80))
    assert asked.next_action.data == selector("mayBePaid(uint256)").to_bytes(4, "big") + word(at(HOLDER))
    paid = claimed(state, word(80), word(1))
    assert (answered(paid), held(paid.post)) == ([1, 80], 1_000)
    assert answered(claimed(paid.post)) == [4, 0]


def test_a_policy_survives_what_it_asks() -> None:
    """A gauge or register that fails, or answers strangely, costs a moment and is counted."""
    state = policy()
    for answers, expected in (
        ((None,), [2, 0]),
        ((b"",), [2, 0]),
        ((word(80) + b"x",), [2, 0]),
        ((word(1 << 128),), [2, 0]),
        ((word(99), None), [3, 99]),
        ((word(99), word(0)), [3, 99]),
        ((word(99), word(1 << 128 | 1)), [3, 99]),
    ):
        result = claimed(state, *answers)
        assert (answered(result), held(result.post), slot(result.post, 6)) == (expected, 0, (1, 0))
    again = claimed(claimed(state, None).post, word(99), word(1))
    assert (answered(again), held(again.post)) == ([1, 99], 1_000)


def test_a_policy_without_money_fails_the_claim() -> None:
    """So it is not marked as paid."""
    result = claimed(policy(999), word(80), word(1))
    assert (result.outcome, result.trap) == (Outcome.TRAP, Trap.BALANCE)
    expect_refused(policy(), ask("cancel()"))


# -- bridge ------------------------------------------------------------------------------------------------------------

VAULT = Address(b"\x0f" * 20)


def test_a_bridge_makes_moves_and_ends_coins() -> None:
    """Only the vault makes them; what is withdrawn is gone when the vault has paid."""
    state = state_with(bridge_account(PROGRAM, at(VAULT, 0)))
    expect_refused(state, ask("credited(uint256,uint256)", at(USER, 0), 50))
    state = run(state, ask("credited(uint256,uint256)", at(USER, 0), 50, source=VAULT)).post
    state = run(state, ask("move(uint256,uint256)", at(BOB), 20)).post
    balances = [answered(run(state, ask("balanceOf(uint256)", x)))[0] for x in (at(USER, 0), at(BOB))]
    assert balances == [30, 20]
    expect_refused(state, ask("withdraw(uint256,uint256)", at(USER, 0), 31), Trap.OVERFLOW)
    expect_refused(state, ask("withdraw(uint256,uint256)", at(USER), 1))
    asked = run(state, ask("withdraw(uint256,uint256)", at(BOB, 0), 30))
    assert asked.next_action.kind is ActionKind.CALL
    assert asked.next_action.data == selector("release(address,uint256)").to_bytes(4, "big") + word(at(BOB, 0)) + word(
        30
    )
    done = run(asked.post, result_of(asked.next_action))
    assert answered(done) == [1]
    assert answered(run(done.post, ask("balanceOf(uint256)", at(USER, 0)))) == [0]
