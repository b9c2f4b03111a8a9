"""Bundles of a user's own calls (S16): an EOA with a delegate (EIP-7702), a contract account, many users at once.

The dapp sees the user's address, all happens or nothing, the prover is paid after the calls, and what is left of a
table is nobody's. The EOA's transactions here are real ones of type 4, signed and sent raw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from node.chain.launch import start_l1
from node.chain.transport import HttpTransport
from protocol.constants import WITHDRAW_DELAY
from protocol.contracts.artifacts import call_data, decode_output
from protocol.hashing import keccak256
from protocol.load import Expectation, encode_expects
from protocol.signing import AccountKey
from protocol.table import Core, Entry, core_id, encode_core
from tests.support import tools
from tests.support.anvilworld import AnvilWorld
from tests.support.delegation import Delegated, Load, Step, bundle
from tests.support.evmworld import Contract, World, decode_event
from tests.support.marketworld import PRICE, TICKET, Party, agree, digest, parties, settle_bytes
from tests.support.rollupworld import PROGRAM, Setup, answer, expect_revert, l1_call, proxy_of, setup

ASKS = b"\x60\x5e\x00\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A delegated EOA that has a ticket, a dapp, and a contract that notes who called it."""

    made: Setup
    who: Party
    eoa: Delegated
    dapp: Contract
    witness: Contract
    proxy: bytes

    def core(self, dapp: Contract | None = None, new_root: int = 1001, **changes: object) -> Core:
        """The dapp asks rollup 1's program; an untaken branch asks with other data."""
        entries = []
        for index, data in enumerate((ASKS, ASKS + b"other")):
            trigger = l1_call((dapp or self.dapp).address, 1, data=data)
            reply = answer(trigger, b"answer")
            entries.append(Entry(mid=False, new_root=new_root + index, trigger=trigger, next_action=reply))
        return self.made.open_core(entries, **changes)

    def load(self, core: Core, expects: bytes = b"\x00") -> Load:
        """An unpaid table."""
        return encode_core(core), self.made.proofs(core), expects, b""

    def paid(self, core: Core) -> Load:
        """A table under an agreement of the EOA."""
        agreement = agree(self.made, self.who, core)
        proofs = self.made.proofs(core, agreement.payee, digest(self.made, agreement))
        return encode_core(core), proofs, b"\x00", settle_bytes(self.made, self.who, agreement)

    def ask(self, data: bytes = ASKS, dapp: Contract | None = None) -> Step:
        """The user's call of the dapp."""
        return (dapp or self.dapp).address, 0, call_data("Consumer", "ask", self.proxy, data)

    def note(self) -> Step:
        """The user's call of the witness."""
        return self.witness.address, 0, b"\xaa\xbb\xcc\xdd"


def stage_on(world: World) -> Stage:
    """Everything deployed; the EOA's own first transaction is its delegation."""
    made = setup(world)
    who = parties(made)
    eoa = Delegated(world=world, secret=b"\x01" * 32, runner=world.deploy("BundleRunner"))
    assert eoa.address == who.requester.address
    witness = world.deploy("Puppet")
    eoa.send(made.stranger, b"", delegate=True)
    assert world.code(eoa.address) == b"\xef\x01\x00" + eoa.runner.address
    proxy = proxy_of(made, PROGRAM, 1).address
    return Stage(made=made, who=who, eoa=eoa, dapp=world.deploy("Consumer"), witness=witness, proxy=proxy)


@pytest.fixture(scope="module")
def _stage() -> Stage:
    return stage_on(World())


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """As it was after the delegation."""
    point = _stage.made.world.snapshot()
    yield _stage
    _stage.made.world.restore(point)


# -- the story ---------------------------------------------------------------------------------------------------------


def check_story(stage: Stage) -> None:
    """Load, call a dapp that meets the table, call another that sees the user, pay; one signed transaction."""
    core = stage.core()
    outcome = stage.eoa.run(stage.made.rollups, [stage.paid(core)], [stage.ask(), stage.note()])
    names = [decode_event(log.address, log.topics, log.data).name for log in outcome.logs]
    assert names == ["TableLoaded", "ExecutionConsumed", "AgreementSettled", "TableClosed"]
    assert stage.made.root(1) == 1001
    assert stage.dapp.view("lastAnswer") == b"answer"
    assert stage.witness.view("lastCaller") == "0x" + stage.eoa.address.hex()
    assert stage.made.market.view("payoutOf", stage.who.payee) == PRICE


def test_an_eoa_with_a_delegate_runs_its_bundle_in_one_transaction(stage: Stage) -> None:
    check_story(stage)


@pytest.mark.interop
def test_the_same_on_anvil() -> None:
    with start_l1("anvil", anvil=tools.anvil()) as l1:
        transport = HttpTransport(l1.url)
        check_story(stage_on(AnvilWorld(transport)))
        transport.close()


def test_the_delegation_and_the_bundle_may_be_one_transaction(stage: Stage) -> None:
    other = Delegated(world=stage.made.world, secret=b"\x03" * 32, runner=stage.eoa.runner)
    stage.made.world.fund(other.address)
    outcome = other.run(stage.made.rollups, [stage.load(stage.core())], [stage.ask(), stage.note()], delegate=True)
    answers = decode_output("BundleRunner", "run", outcome.output)[0]
    assert (len(answers), stage.made.root(1)) == (2, 1001)
    assert stage.witness.view("lastCaller") == "0x" + other.address.hex()


def test_a_contract_account_runs_it_by_delegatecall(stage: Stage) -> None:
    made = stage.made
    account = made.world.deploy("SmallAccount", made.user, bytes(20))
    data = bundle(made.rollups, [stage.load(stage.core())], [stage.ask(), stage.note()])
    with expect_revert("NotOwner"):
        account.send("execute", stage.eoa.runner.hex, 0, data, True, sender=made.stranger)
    account.send("execute", stage.eoa.runner.hex, 0, data, True, sender=made.user)
    assert made.root(1) == 1001
    assert stage.witness.view("lastCaller") == account.hex


def test_two_tables_of_one_bundle_compose(stage: Stage) -> None:
    """Independent tables over other rollups, each checked, met and paid for on its own."""
    made = stage.made
    trigger = l1_call(stage.eoa.address, 2)
    second = made.open_core([Entry(mid=False, new_root=2001, trigger=trigger, next_action=answer(trigger))], (2,))
    call = (made.rollups.address, 0, call_data("IRollups", "callL2", 2, PROGRAM, b""))
    stage.eoa.run(made.rollups, [stage.paid(stage.core()), stage.load(second)], [stage.ask(), call])
    assert (made.root(1), made.root(2)) == (1001, 2001)
    assert made.market.view("payoutOf", stage.who.payee) == PRICE


def test_the_executor_is_the_account_itself(stage: Stage) -> None:
    made = stage.made
    trigger = l1_call(stage.eoa.address, 1)
    entry = Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))
    core = made.open_core([entry], executor=stage.eoa.address)
    call = (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, b""))
    with expect_revert("NotExecutor"):
        made.run(core, (), sender=made.stranger)
    stage.eoa.run(made.rollups, [stage.load(core)], [call])
    assert made.root(1) == 1001


# -- all or nothing ----------------------------------------------------------------------------------------------------


def test_a_failing_call_takes_everything_with_it_and_says_why(stage: Stage) -> None:
    made = stage.made
    stage.witness.send("failAlways", True, sender=made.stranger)
    with expect_revert("ToldToFail"):
        stage.eoa.run(made.rollups, [stage.paid(stage.core())], [stage.ask(), stage.note()])
    assert (made.root(1), made.market.view("payoutOf", stage.who.payee)) == (1000, 0)


def test_a_call_that_no_entry_answers_is_named_to_the_planner(stage: Stage) -> None:
    with expect_revert("ExecutionNotFound"):
        stage.eoa.run(stage.made.rollups, [stage.load(stage.core())], [stage.ask(b"something else")])


def test_an_expectation_that_fails_stops_the_bundle_before_anything_moves(stage: Stage) -> None:
    wrong = encode_expects([Expectation(rollup_id=1, root=999, epoch=1)])
    with expect_revert("PrecheckFailed"):
        stage.eoa.run(stage.made.rollups, [stage.load(stage.core(), wrong)], [stage.note(), stage.ask()])
    assert stage.witness.view("lastCaller") == "0x" + "00" * 20


def test_without_a_ticket_to_pay_from_nothing_happens(stage: Stage) -> None:
    made = stage.made
    made.market.send("requestWithdraw", 0, sender=stage.eoa.address)
    made.world.pass_time(WITHDRAW_DELAY)
    made.market.send("withdraw", 0, sender=stage.eoa.address)
    with expect_revert("Unfunded"):
        stage.eoa.run(made.rollups, [stage.paid(stage.core())], [stage.ask()])
    assert made.root(1) == 1000


def test_a_table_that_no_call_met_is_not_paid_for(stage: Stage) -> None:
    with expect_revert("NotRun"):
        stage.eoa.run(stage.made.rollups, [stage.paid(stage.core())], [stage.note()])


# -- who may -----------------------------------------------------------------------------------------------------------


def test_nobody_but_the_account_runs_anything_as_it(stage: Stage) -> None:
    made = stage.made
    theft = bundle(made.rollups, [], [(made.stranger, 10**18, b"")])
    with expect_revert("NotTheAccount"):
        made.world.send_raw(stage.eoa.address, theft, sender=made.stranger)
    stage.witness.send("instruct", stage.eoa.address, 0, theft, sender=made.stranger)
    with expect_revert("NotTheAccount"):  # nor a contract that the account calls
        stage.eoa.run(made.rollups, [], [stage.note()])
    with expect_revert("NotARunnerItself"):
        made.world.send_raw(stage.eoa.runner.address, theft, sender=made.stranger)


def test_an_eoa_that_delegates_to_a_proxy_of_the_runner_obeys_itself_only(stage: Stage) -> None:
    made = stage.made
    blind = made.world.deploy("BlindProxy", stage.eoa.runner.hex)
    eoa = Delegated(world=made.world, secret=b"\x04" * 32, runner=blind)
    made.world.fund(eoa.address)
    eoa.send(made.stranger, b"", delegate=True)
    with expect_revert("NotTheAccount"):
        made.world.send_raw(eoa.address, bundle(made.rollups, [], [(made.stranger, 10**18, b"")]), sender=made.stranger)
    eoa.run(made.rollups, [], [stage.note()])
    assert stage.witness.view("lastCaller") == "0x" + eoa.address.hex()


def test_a_delegated_eoa_still_takes_ether_and_tokens_and_signs_with_its_key(stage: Stage) -> None:
    made, eoa = stage.made, stage.eoa
    before = made.world.balance(eoa.address)
    made.world.send_raw(eoa.address, b"", sender=made.stranger, value=5)
    assert made.world.balance(eoa.address) == before + 5
    account = Contract(made.world, "BundleRunner", eoa.address)
    received = (made.user, made.user, 7)
    hooks = {
        "onERC721Received(address,address,uint256,bytes)": account.view("onERC721Received", *received, b""),
        "onERC1155Received(address,address,uint256,uint256,bytes)": account.view(
            "onERC1155Received", *received, 1, b""
        ),
        "onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)": account.view(
            "onERC1155BatchReceived", made.user, made.user, [7], [1], b""
        ),
    }
    assert {name: keccak256(name.encode())[:4] for name in hooks} == hooks
    signed = keccak256(b"some message")
    signature = AccountKey(b"\x01" * 32).sign_digest(signed)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    flipped = signature[:32] + (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    wrong = [
        AccountKey(b"\x02" * 32).sign_digest(signed),
        signature[:64],
        signature + b"\x00",
        flipped + bytes((55 - signature[64],)),
        bytes(65),
        b"",
    ]
    assert account.view("isValidSignature", signed, signature) == b"\x16\x26\xba\x7e"
    for each in wrong:
        assert account.view("isValidSignature", signed, each) == b"\xff" * 4
    assert account.view("isValidSignature", keccak256(b"another"), signature) == b"\xff" * 4


# -- paying for one's own calls ----------------------------------------------------------------------------------------


def test_only_who_loaded_pays_or_closes_and_only_in_that_transaction(stage: Stage) -> None:
    made = stage.made
    core = stage.core()
    identity, part = core_id(encode_core(core)), stage.paid(core)
    puppet = made.world.deploy("Puppet")
    for what in (
        call_data("IRollups", "settleLoaded", identity, part[3]),
        call_data("IRollups", "closeTable", identity),
    ):
        puppet.send("instruct", made.rollups.hex, 0, what, sender=made.stranger)
        with expect_revert("NotLoader"):
            stage.eoa.run(made.rollups, [part], [stage.ask(), (puppet.address, 0, b"\x01\x01\x01\x01")])
    stage.eoa.run(made.rollups, [part], [stage.ask()])
    with expect_revert("NotLoader"):
        made.rollups.send("settleLoaded", identity, part[3], sender=stage.eoa.address)
    with expect_revert("NoSuchTable"):
        made.rollups.send("closeTable", identity, sender=stage.eoa.address)


def test_paying_twice_pays_once_and_needs_an_agreement(stage: Stage) -> None:
    made = stage.made
    core = stage.core()
    part = stage.paid(core)
    again = (made.rollups.address, 0, call_data("IRollups", "settleLoaded", core_id(encode_core(core)), part[3]))
    stage.eoa.run(made.rollups, [part], [stage.ask(), again, again])
    assert made.market.view("payoutOf", stage.who.payee) == PRICE
    unpaid = stage.core(new_root=1500)
    settling = call_data("IRollups", "settleLoaded", core_id(encode_core(unpaid)), part[3])
    with expect_revert("SettlementMismatch"):
        stage.eoa.run(made.rollups, [stage.load(unpaid)], [stage.ask(), (made.rollups.address, 0, settling)])
    assert made.world.balance(made.market.address) == 4 * TICKET  # two tickets with their bonds


# -- several users in one transaction ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Two contract accounts behind one entry point."""

    entry: Contract
    alice: Contract
    mallory: Contract
    runner: Contract

    def handle(self, made: Setup, *operations: tuple[Contract, bytes, bytes, bool]) -> list[bool]:
        """Each operation's success, all in one transaction."""
        steps = [(account.address, to, 0, data, delegate) for account, to, data, delegate in operations]
        receipt = self.entry.send("handle", steps, sender=made.stranger)
        return [e.values["ok"] for e in receipt.events if e.name == "OperationRan"]

    def bundle_of(
        self, who: Contract, made: Setup, loads: list[Load], steps: list[Step]
    ) -> tuple[Contract, bytes, bytes, bool]:
        """An operation that runs a bundle as an account."""
        return who, self.runner.address, bundle(made.rollups, loads, steps), True


@pytest.fixture
def users(stage: Stage) -> Users:
    """Of the stage's world."""
    world = stage.made.world
    entry = world.deploy("OperationBundle")
    accounts = [world.deploy("SmallAccount", stage.made.user, entry.hex) for _ in range(2)]
    return Users(entry=entry, alice=accounts[0], mallory=accounts[1], runner=stage.eoa.runner)


def test_what_is_left_of_a_users_table_is_of_no_use_to_the_next_user(stage: Stage, users: Users) -> None:
    """Mallory makes the dapp ask for the branch that Alice did not take; were the table there, it would be met."""
    made = stage.made
    reading = stage.core(new_root=1000)  # her branch moves nothing, so the untaken one still stands on the live root
    theft = users.mallory, stage.ask(ASKS + b"other")[0], stage.ask(ASKS + b"other")[2], False
    ok = users.handle(made, users.bundle_of(users.alice, made, [stage.load(reading)], [stage.ask()]), theft)
    assert (ok, made.root(1)) == ([True, False], 1000)

    left_open = call_data("IRollups", "loadAndRun", *stage.load(reading)[:3], b"", b"")
    ok = users.handle(made, (users.alice, made.rollups.address, left_open, False), theft)
    assert (ok, made.root(1)) == ([True, True], 1001)


def test_a_table_loaded_before_by_another_user_does_not_stand_in_the_way(stage: Stage, users: Users) -> None:
    """The last load of the transaction counts, and the same core may be loaded by both."""
    made = stage.made
    mallorys = stage.core(new_root=1300)
    alices = stage.core()
    for first in (mallorys, alices):
        point = made.world.snapshot()
        data = call_data("IRollups", "loadAndRun", *stage.load(first)[:3], b"", b"")
        ok = users.handle(
            made,
            (users.mallory, made.rollups.address, data, False),
            users.bundle_of(users.alice, made, [stage.load(alices)], [stage.ask()]),
        )
        assert (ok, made.root(1)) == ([True, True], 1001)
        made.world.restore(point)


def test_a_failing_user_does_not_spoil_the_others(stage: Stage, users: Users) -> None:
    made = stage.made
    ok = users.handle(
        made,
        users.bundle_of(users.mallory, made, [stage.load(stage.core(new_root=1300))], [stage.ask(), stage.ask()]),
        users.bundle_of(users.alice, made, [stage.load(stage.core())], [stage.ask()]),
    )
    assert (ok, made.root(1)) == ([False, True], 1001)
