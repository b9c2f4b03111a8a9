"""Transactions, forced ones and deployments in a whole circuit: honest tables hold, who breaks a rule has no proof.

A liar here runs a machine in which one rule is not kept, and fills every wire consistently with that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from protocol.actions import Action, call_words
from protocol.constants import DEPLOYER, FIELD_ORDER, NONE
from protocol.errors import DecodeError
from protocol.payload import make_witness, state_from_witness
from protocol.statement import TIER_M, TIER_S
from protocol.types import Address, RollupId, endpoint
from protocol.vm import babyjub, deployment, machine, transactions
from protocol.vm.assembler import assemble
from protocol.vm.babyjub import compress
from protocol.vm.deployment import deploy_calls, deployed_address
from protocol.vm.eddsa import SigningKey
from protocol.vm.execution import Outcome, Trap
from protocol.vm.genesis import Genesis, GenesisAccount, state_from_genesis
from protocol.vm.ledger import Ledger
from protocol.vm.machine import run_entry
from protocol.vm.state import DOMAIN_KEY, QUEUE_KEY, Origin, VmState, account_key, pack_account, unpack_account
from protocol.vm.transactions import Transaction, decode_transaction, sign_transaction
from proving.circuit import serving, unrolling
from proving.circuit.errors import TierExceeded
from proving.circuit.plan import execute, plan, smallest_that_fits
from proving.circuit.table_vm import table_vm
from proving.circuit.tiers import SHAPES
from tests.support.constraints import Constraints
from tests.support.cores import PROGRAM, call, l2tx
from tests.support.forger import Forger
from tests.support.served import SHAPE, WIDE, Z, broken, circuit, hints_of, witness_of
from tests.support.vmtables import FEE_RECIPIENT, VmTable

KEY, STRANGER = SigningKey(b"\x07" * 32), SigningKey(b"\x08" * 32)
DOMAIN, L2_TIME = 4242, 1_800_000_000
AT_DEPLOYER = Address(DEPLOYER.to_bytes(20, "big"))
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
ok:     VALUE  r3
        ARGLO  r4, 0
        OUT    r3, r4, 0
        RETURN 1
fail:   LDI    r3, 13
        OUT    r3, r3, 0
        REVERT 1
"""
"""Selector 0: answers; 1: fails; 2: calls out."""
SEVEN = assemble("LDI r1, 7\nOUT r11, r1, 0\nRETURN 1")
DEPLOYS = f"""
        ARGHI  r1, 0
        ARGLO  r2, 0
        OUT    r1, r2, 0
        ARGHI  r1, 1
        ARGLO  r2, 1
        OUT    r1, r2, 1
        LDF    f0, {endpoint(1, AT_DEPLOYER)}
        ICALL  f0, r0, {deployment.DEPLOY}, 2
        RETOK  r1
        RETLO  r2, 1
        OUT    r1, r2, 0
        RETURN 1
"""


@cache
def funded(source: str = TARGET) -> VmState:
    """The signer has 100 wei."""
    genesis = Genesis(accounts=(GenesisAccount(address=PROGRAM, program=assemble(source)),), domain=DOMAIN)
    gift = call(value=100, destination=KEY.address)
    return run_entry(state_from_genesis(genesis), rollup_id=1, l2_time=L2_TIME, trigger=gift).post


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


def table(*triggers: Action, state: VmState | None = None) -> VmTable:
    """Entries one behind the other."""
    made, at = VmTable({1: state or funded()}, l2_time=L2_TIME), NONE
    for trigger in triggers:
        at = made.begins(trigger, after=at)
    return made


def wei(made: VmTable, account: Address) -> tuple[int, int]:
    """(nonce, balance) at the end."""
    key = account_key(int.from_bytes(account, "big"))
    return unpack_account(made.state(1).tree.get(key)[0])


def deploys(data: bytes, value: int = 0) -> Action:
    """A call to DEPLOYER from L1."""
    return call(destination=AT_DEPLOYER, data=data, value=value)


# -- honest ------------------------------------------------------------------------------------------------------------


def test_transactions_are_proven() -> None:
    """Two in a row: nonce, fee, value, arguments; the second pays nobody."""
    made = table(l2tx(data=signed()), l2tx(data=signed(nonce=1, fee=0)))
    assert [run.next_action.data[-1] for run in made.runs] == [42, 42]
    assert (wei(made, KEY.address), wei(made, FEE_RECIPIENT)) == ((2, 87), (0, 3))
    assert broken(hints_of(made)) is None


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"selector": 1}, 97),
        ({"value": 98}, 97),
        ({"value": 97}, 0),
        ({"destination": Address(b"\x33" * 20)}, 92),
        ({"destination": KEY.address}, 97),
        ({"destination": FEE_RECIPIENT}, 92),
        ({"words": ()}, 92),
        ({"words": ((1, 2),) * 4}, 92),
    ],
    ids=str,
)
def test_whatever_a_transaction_does_is_proven(changes: dict[str, Any], left: int) -> None:
    """Its program fails, its value is not there, it goes to nobody, to itself, to who is paid; more arguments."""
    made = table(l2tx(data=signed(**changes)))
    assert wei(made, KEY.address) == (1, left)
    assert broken(hints_of(made)) is None


def test_a_new_account_and_one_that_pays_itself() -> None:
    """The signer's leaf is inserted before the recipient's; a fee to itself moves nothing."""
    made = table(l2tx(data=signed(STRANGER, fee=0, value=0)))
    assert wei(made, STRANGER.address) == (1, 0)
    assert broken(hints_of(made)) is None
    state = funded()
    tree, _ = state.tree.update(account_key(int.from_bytes(KEY.address, "big")), pack_account(0, 100), 0)
    tree, _ = tree.insert(account_key(int.from_bytes(FEE_RECIPIENT, "big")), pack_account(0, 9), 0)
    assert broken(hints_of(table(l2tx(data=signed()), state=replace(state, tree=tree)))) is None


def test_a_body_calls_out_and_is_answered() -> None:
    """In scope [0], with a frame that says who began it; its RESULT goes from nowhere to nowhere."""
    made = table(l2tx(data=signed(selector=2)))
    made.answered(0, bytes(32))
    assert made.entries[0].next_action.scope == (0,)
    assert made.runs[1].next_action.data[-1] == 42
    assert broken(hints_of(made)) is None


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (signed(), Outcome.RETURN),
        (signed(selector=1), Outcome.REVERT),
        (signed(selector=2), Outcome.TRAP),
        (signed(nonce=1), Outcome.SKIP),
        (signed(fee=101), Outcome.SKIP),
        (signed(domain=1), Outcome.SKIP),
        (signed()[:-1], Outcome.SKIP),
        (b"junk", Outcome.SKIP),
        (bytes(192), Outcome.SKIP),
    ],
)
def test_forced_transactions_are_taken_or_skipped(data: bytes, outcome: Outcome) -> None:
    """One entry for each; a call out of the rollup traps. The next of the queue goes on from there."""
    made = table(l2tx(data=data, gas=1), l2tx(data=b"", gas=2))
    run = made.runs[0]
    assert (run.outcome, run.next_action.failed) == (outcome, outcome is not Outcome.RETURN)
    assert (run.trap is Trap.ENDPOINT) == (outcome is Outcome.TRAP)
    assert made.state(1).tree.get(QUEUE_KEY) == (2, 0)
    assert broken(hints_of(made)) is None


def test_a_program_is_deployed_and_called() -> None:
    """From L1, and by a transaction, which makes another address; then it is called."""
    (data,) = deploy_calls(SEVEN, salt=9)
    _, words = call_words(data)
    sent = signed(destination=AT_DEPLOYER, selector=deployment.DEPLOY, words=words, value=0)
    for trigger, deployer in ((deploys(data), call().source), (l2tx(data=sent), endpoint(1, KEY.address))):
        at = deployed_address(deployer, 9)
        goes = call(destination=Address(at.to_bytes(20, "big")), value=4, data=b"abcd")
        made = table(trigger, goes)
        assert made.runs[0].next_action.data == at.to_bytes(32, "big") + (3).to_bytes(32, "big")
        assert made.runs[1].next_action.data == (7).to_bytes(32, "big")
        assert broken(hints_of(made)) is None


def test_a_program_arrives_in_two_parts() -> None:
    """Fifteen instructions and two; then it is called."""
    long = assemble("LDI r1, 9\nOUT r11, r1, 0\n" + "MOV r2, r1\n" * 14 + "RETURN 1")
    first, second = deploy_calls(long, salt=1)
    at = Address(deployed_address(call().source, 1).to_bytes(20, "big"))
    made = table(deploys(first), deploys(second), call(destination=at, value=0, data=b"abcd"))
    assert [run.next_action.data[-1] for run in made.runs] == [15, 17, 9]
    assert broken(hints_of(made, WIDE), WIDE) is None
    again = table(deploys(first), deploys(second), deploys(second))
    assert again.runs[2].outcome is Outcome.REFUSED
    with pytest.raises(TierExceeded, match="TIER_DEPLOYMENTS"):
        hints_of(again, WIDE)


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("sent", [True, False])
def test_a_program_deploys_another(sent: bool, good: bool) -> None:
    """By ICALL, called from L1 or by a transaction; a refusal comes back as RETOK 0."""
    (data,) = deploy_calls(assemble("RETURN 0"), salt=3)
    data = data[:-1] + bytes([data[-1] if good else 17])
    transaction = signed(words=call_words(data)[1], value=0)
    made = table(l2tx(data=transaction) if sent else call(value=0, data=data), state=funded(DEPLOYS))
    assert made.runs[0].next_action.data == int(good).to_bytes(16, "big") + int(good).to_bytes(16, "big")
    assert broken(hints_of(made)) is None


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0),
        (deploy_calls(SEVEN, 9)[0], 3),
        (deploy_calls(SEVEN, 9)[0][:-1] + b"\x20", 0),
        (deploy_calls(SEVEN, 9)[0][:-32], 0),
        (b"\0\0\0\0" + deploy_calls(SEVEN, 9)[0][4:], 0),
    ],
)
def test_refused_deployments_are_proven(data: bytes, value: int) -> None:
    """They fail and change nothing, the value that came with them included."""
    made = table(deploys(data, value))
    assert (made.runs[0].outcome, made.state(1).root) == (Outcome.REFUSED, made.first[1].root)
    assert broken(hints_of(made)) is None


def test_a_prover_needs_no_more_of_the_state_than_the_machine_looked_at() -> None:
    """What is sent with an order is enough to fill a witness, whatever comes of it."""
    (data,) = deploy_calls(SEVEN, 9)
    sent = (l2tx(data=x, gas=1) for x in (signed(), signed(value=99), signed(nonce=9), signed(fee=101), b"junk"))
    for trigger in (*sent, deploys(data), deploys(data[:-32])):
        made = table(trigger)
        part = state_from_witness(make_witness(made.first[1], made.runs))
        core = made.core()
        assert broken(plan(SHAPE, core, 1, execute(core, 1, part))) is None


# -- limits ------------------------------------------------------------------------------------------------------------


def test_what_has_no_place_is_refused_by_name() -> None:
    """Tier S has no places; the circuit here has two and one."""
    fitting = table(l2tx(data=b"", gas=1), l2tx(data=b"", gas=2), l2tx(data=b"", gas=3))
    with pytest.raises(TierExceeded, match="TIER_TRANSACTIONS"):
        hints_of(fitting)
    (data,) = deploy_calls(SEVEN, 9)
    with pytest.raises(TierExceeded, match="TIER_DEPLOYMENTS"):
        hints_of(table(deploys(data), deploys(data)))
    for made, reason in (
        (table(l2tx(data=b"", gas=1)), "TIER_TRANSACTIONS"),
        (table(deploys(b"")), "TIER_DEPLOYMENTS"),
    ):
        core = made.core()
        runs = execute(core, 1, made.first[1])
        with pytest.raises(TierExceeded, match=reason):
            plan(SHAPES[TIER_S.number], core, 1, runs)
        assert smallest_that_fits(core, 1, runs) == TIER_M.number


# -- liars -------------------------------------------------------------------------------------------------------------


def admits_anyhow(
    *, payee: Address | None = None, charge: bool = True, nonce: bool = True
) -> Callable[..., Transaction | str]:
    """An admission that keeps fewer rules."""

    def lenient(ledger: Ledger, data: bytes, *, rollup_id: int, fee_recipient: Address) -> Transaction | str:
        ledger.read(DOMAIN_KEY)
        transaction = decode_transaction(data)
        key = account_key(int.from_bytes(transaction.sender, "big"))
        v0, code_hash = ledger.read(key)
        before, balance = unpack_account(v0)
        fee = transaction.fee if charge else 0
        ledger.put(key, pack_account(before + nonce, balance - fee), code_hash)
        ledger.credit(int.from_bytes(payee or fee_recipient, "big"), fee)
        return transaction

    return lenient


def lies(monkeypatch: pytest.MonkeyPatch, admission: Callable[..., Transaction | str]) -> None:
    """The liar's machine and plan."""
    monkeypatch.setattr(machine, "admit", admission)
    monkeypatch.setattr(serving, "admit", admission)


NOT_CANONICAL = compress(KEY.public) % (1 << 255) + FIELD_ORDER
S_ABOVE = int.from_bytes(signed()[64:96], "big") + babyjub.SUBGROUP_ORDER


@pytest.mark.parametrize(
    "data",
    [
        signed(nonce=1),
        signed(domain=DOMAIN + 1),
        signed(rollup_id=2),
        signed(STRANGER)[:32] + signed(fee=0, value=0)[32:],
        signed()[:64] + S_ABOVE.to_bytes(32, "big") + signed()[96:],
        signed()[:64] + bytes(32) + signed()[96:],
        signed()[:-1] + b"\x01",
    ],
    ids=["nonce", "domain", "rollup", "key", "S above the order", "S", "argument"],
)
def test_a_liar_who_takes_what_is_no_transaction_has_no_proof(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Replays on another chain or rollup among them."""
    lies(monkeypatch, admits_anyhow())
    assert broken(hints_of(table(l2tx(data=data)))) is not None


def test_a_liar_with_an_encoding_of_a_key_that_is_not_canonical_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same point by another word."""
    data = NOT_CANONICAL.to_bytes(32, "big") + signed()[32:]
    with pytest.raises(DecodeError):
        decode_transaction(data)

    def decode(raw: bytes) -> Transaction:
        return transactions.decode_transaction(compress(KEY.public).to_bytes(32, "big") + raw[32:])

    lies(monkeypatch, admits_anyhow())
    monkeypatch.setattr(serving, "decode_transaction", decode)
    monkeypatch.setitem(globals(), "decode_transaction", decode)
    assert broken(hints_of(table(l2tx(data=data)))) is not None


THIEF = Address(b"\x66" * 20)


def paid() -> VmState:
    """Signer and recipient both have a leaf, and so has somebody else."""
    tree = funded().tree
    for account in (FEE_RECIPIENT, THIEF):
        tree, _ = tree.insert(account_key(int.from_bytes(account, "big")), pack_account(0, 9), 0)
    return replace(funded(), tree=tree)


@pytest.mark.parametrize("lie", ["another payee", "no fee", "nonce kept"])
def test_a_liar_about_fee_and_nonce_has_no_proof(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """A right transaction, but not all that it costs."""
    assert broken(hints_of(table(l2tx(data=signed()), state=paid()))) is None
    payee = THIEF if lie == "another payee" else None
    lies(monkeypatch, admits_anyhow(payee=payee, charge=lie != "no fee", nonce=lie != "nonce kept"))
    if payee:
        told = serving.admitted
        monkeypatch.setattr(unrolling, "admitted", lambda core, run: told(replace(core, fee_recipient=payee), run))
    assert broken(hints_of(table(l2tx(data=signed()), state=paid()))) is not None


def test_a_liar_who_skips_a_transaction_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the only entry, and whoever sent it would have waited in vain."""

    def refuses(*_: Any, **__: Any) -> str:
        return "TX_SIGNATURE"

    lies(monkeypatch, refuses)
    made = table(l2tx(data=signed(), gas=1))
    assert made.runs[0].outcome is Outcome.SKIP
    assert broken(hints_of(made)) is not None


def test_an_ordinary_transaction_cannot_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a right one nor a wrong one."""
    for data in (signed(), signed(nonce=7)):
        forced = hints_of(table(l2tx(data=data, gas=1)))
        words = list(forced.words)
        gas = words.index(1, 11)
        assert words[7] == 3 and words[11] == 1 and gas == 11
        words[11] = 0
        assert broken(replace(forced, words=words)) is not None


def test_the_cursor_moves_by_one() -> None:
    """Another item of the queue, or the same again, is not the next one."""
    first = hints_of(table(l2tx(data=b"junk", gas=1)))
    words = list(first.words)
    for gas in (2, 3, FIELD_ORDER - 1):
        words[11] = gas
        assert broken(replace(first, words=words)) is not None


def test_a_liar_who_takes_malformed_code_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the circuit relies on code that is well-formed."""
    monkeypatch.setattr(deployment, "check_instruction", lambda *_: None)
    for packed in (0x99 << 128, (0x01 << 128) + 3, (0x11 << 128) + (12 << 136), (0x10 << 128)):
        data = deploy_calls(SEVEN, 9)[0][:-32] + packed.to_bytes(32, "big")
        made = table(deploys(data))
        assert made.runs[0].outcome is Outcome.DEPLOYED
        assert broken(hints_of(made)) is not None


def test_a_liar_with_a_part_of_another_size_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer instructions than are still to come, as if more parts could follow."""
    monkeypatch.setattr(deployment, "min", lambda *_: 2, raising=False)
    (whole,) = deploy_calls(SEVEN, 9)
    made = table(deploys(whole[: 4 + 32 * 3]))
    assert made.runs[0].outcome is Outcome.DEPLOYED
    assert broken(hints_of(made)) is not None


def test_a_liar_about_the_frame_of_a_body_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller is the signer; its startTree that from after nonce and fee; its scope [0]."""
    body = machine._body

    def another_caller(ledger: Ledger, transaction: Transaction, rollup_id: int) -> Any:
        begin = body(ledger, transaction, rollup_id)
        return replace(begin, frame=replace(begin.frame, caller=endpoint(RollupId(1), STRANGER.address)), payer=None)

    def from_before(ledger: Ledger, transaction: Transaction, rollup_id: int) -> Any:
        begin = body(ledger, transaction, rollup_id)
        return replace(begin, frame=replace(begin.frame, start_tree=funded().tree))

    def from_outside(ledger: Ledger, transaction: Transaction, rollup_id: int) -> Any:
        begin = body(ledger, transaction, rollup_id)
        return replace(begin, frame=replace(begin.frame, origin=Origin.CALL, scope=()))

    cases = ((another_caller, signed(value=0)), (from_before, signed(selector=1)), (from_outside, signed(selector=2)))
    for lie, data in cases:
        monkeypatch.setattr(machine, "_body", lie)
        made = table(l2tx(data=data))
        try:
            found = broken(hints_of(made))
        except ValueError:
            # The plan has no tree to start from: there is not even a witness to fill.
            found = "no version"
        assert found is not None


# -- wires -------------------------------------------------------------------------------------------------------------


def may_be_free(wire: int, of: Constraints) -> bool:
    """Inverses of 0, and wires of steps and integer units, whose list `test_wires.py` has."""
    numbers = of.touching(wire)
    if len(numbers) == 1 and [w for w, _ in of.sides(numbers[0])[1]] == [wire]:
        return True
    listed = [stamp for stamp in circuit().stamps if stamp.name.startswith(("step", "integer unit"))]
    return any(stamp.first_wire - 2 <= wire < stamp.first_wire + stamp.wires for stamp in listed)


@cache
def read_back() -> Constraints:
    """The circuit."""
    return Constraints(circuit().r1cs_bytes)


def deployed_and_sent() -> VmTable:
    """A deployment, and a forced transaction, the first of the queue."""
    (data,) = deploy_calls(SEVEN, 9)
    return table(deploys(data), l2tx(data=signed(value=0, fee=0), gas=1))


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "made",
    [
        deployed_and_sent,
        lambda: table(l2tx(data=b"junk", gas=1), deploys(b"")),
        lambda: table(l2tx(data=signed(selector=1)), l2tx(data=signed(nonce=1))),
    ],
    ids=["deployed and sent", "neither", "two"],
)
def test_the_whole_witness_follows_from_what_the_prover_may_choose(made: Callable[[], VmTable]) -> None:
    """Full rank of the derivative in all wires but statement, programs and openings; and no wire may change alone."""
    forger, rng, of = Forger(), random.Random(5), read_back()
    hints = hints_of(made())
    late = table_vm(forger, SHAPE, replace(hints, public=(0, Z, 0)))
    values = list(witness_of(hints).values)
    assert late.h == values[1]
    loose = of.undetermined(values, {0} | forger.chosen)
    free = of.free(values, [lambda x: 1 - x, lambda x: x + 1, lambda x: -x, lambda _: rng.randrange(FIELD_ORDER)])

    assert [wire for wire in {*loose, *free} if not may_be_free(wire, of)] == []
