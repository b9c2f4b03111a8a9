"""Planning flows with tries, scopes, transactions and calls that L1 swallows, and landing what was planned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from node.chain.callevm import may_call
from node.chain.evm import Call, InnerRevert, Outcome
from node.chain.localevm import Overrides
from node.errors import MissMaskable, PlanError
from node.intents import decode_intent, encode_intent
from node.l1 import ProofConfig
from node.planner import Intent, Plan, RollupContext, TransactionIntent, Window, plan_call
from protocol.actions import action_hash, encode_action
from protocol.constants import FORCE_BOUNTY
from protocol.contracts.artifacts import call_data
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.eddsa import SigningKey
from protocol.vm.genesis import Genesis, GenesisAccount, encode_genesis, state_from_genesis
from protocol.vm.rollup import run_core
from protocol.vm.state import VmState
from protocol.vm.transactions import sign_transaction, transaction_domain
from tests.support.cores import word
from tests.support.evmworld import CHAIN_ID, Contract, World
from tests.support.rollupworld import DELAY, FAMILY, OTHER, PROGRAM, Setup, abi, error_selector, setup
from tests.support.script import RETURN, REVERT, teach

ASK = b"\x0a\xc7\x00\x01"
KEY = SigningKey(b"\x05" * 32)
ROLLUP, SECOND = 3, 4


class WorldEvm:
    """The world, tried on; its proof systems accept everything."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, call: Call, overrides: Overrides) -> Outcome:
        """Execute and forget."""
        assert overrides.code
        return self._world.try_out(call)

    def may_mask(self, _accounts: frozenset[bytes]) -> bytes | None:
        """It shows everything."""
        return None


class OutsideEvm(WorldEvm):
    """Sees what eth_call shows: how the outermost frame ended."""

    def run(self, call: Call, overrides: Overrides) -> Outcome:
        """Without inner frames and logs."""
        outcome = super().run(call, overrides)
        inner = InnerRevert(address=call.to or b"", data=outcome.output, live_logs=None)
        return replace(outcome, logs=(), reverts=(inner,) if outcome.reverted else ())

    def may_mask(self, accounts: frozenset[bytes]) -> bytes | None:
        """By the code that the accounts have."""
        return next((each for each in accounts if may_call(self._world.code(each))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Rollups with real roots, and an L1 contract that does as it is taught."""

    made: Setup
    actor: Contract
    states: dict[int, VmState]

    def plan(self, intent: Intent | TransactionIntent, evm: type[WorldEvm] = WorldEvm) -> Plan:
        """At this moment."""
        config = ProofConfig(systems=(Address(self.made.accept_all.address),), families=(FAMILY,), threshold=1)
        contexts = {r: RollupContext(state=s, epoch=1, config=config) for r, s in self.states.items()}
        now = self.made.world.time
        return plan_call(
            intent,
            evm=evm(self.made.world),
            rollups=Address(self.made.rollups.address),
            contexts=contexts,
            window=Window(l2_time=now, not_before=now - 1, valid_until=now + 100),
            fee_recipient=Address(b"\xfe" * 20),
        )

    def lands(self, plan: Plan) -> None:
        """Each entry is what the machine does; the table runs, and the roots are those of its last entries."""
        for member in plan.core.lockset:
            run_core(self.states[member.rollup_id], plan.core, member.rollup_id)
        self.made.rollups.send(
            "loadAndRun",
            plan.core_bytes,
            self.made.proofs(plan.core),
            plan.expects,
            plan.triggers,
            b"",
            sender=self.made.user,
            value=plan.value_wei,
        )
        last = plan.core.roots_after(len(plan.core.entries) - 1)
        assert [self.made.root(m.rollup_id) for m in plan.core.lockset] == list(last)

    def call(self, data: bytes = b"", value: int = 0) -> Intent:
        """The user calls PROGRAM."""
        return Intent(sender=Address(self.made.user), rollup_id=ROLLUP, destination=PROGRAM, value_wei=value, data=data)


def scene(sources: dict[Address, str], second: dict[Address, str] | None = None) -> Scene:
    """One rollup, or two, with these programs."""
    made = setup()
    actor, oracle = made.world.deploy("Player"), made.world.deploy("PriceOracle", 7)
    states = {}
    for rollup_id, programs in ((ROLLUP, sources), (SECOND, second)):
        if programs is None:
            continue
        at, leaf = (str(int.from_bytes(each.address, "big")) for each in (actor, oracle))
        accounts = (
            GenesisAccount(address=a, program=assemble(programs[a].replace("ACTOR", at).replace("LEAF", leaf)))
            for a in sorted(programs)
        )
        domain = transaction_domain(CHAIN_ID, Address(made.rollups.address))
        genesis = Genesis(accounts=tuple(accounts), domain=domain)
        states[rollup_id] = state_from_genesis(genesis)
        root = states[rollup_id].root.to_bytes(32, "big")
        config = ([made.accept_all.hex], [FAMILY], 1)
        arguments = (config, made.stranger, DELAY, root, encode_genesis(genesis), 10)
        made.rollups.send("createRollupWithQueue", *arguments, sender=made.stranger)
    return Scene(made=made, actor=actor, states=states)


def kinds(plan: Plan) -> list[tuple[str, str, int]]:
    """(trigger, next action, parent) of each entry."""
    return [(e.trigger.kind.name, e.next_action.kind.name, e.parent) for e in plan.core.entries]


ANSWERS = "RETOK r1\nLDF f3, 1\nSSTORE f3, r1\nOUT r11, r1, 0\nRETURN 1"
TRIES = "LDF f1, ACTOR\nXTRY f1, 0x0ac70001, 0, 900000\n" + ANSWERS


@pytest.mark.parametrize("fails", [False, True])
def test_a_try_is_planned_with_the_answer_of_this_moment(fails: bool) -> None:
    """A failed one stands on the roots of the call; tier S has room for both."""
    at = scene({PROGRAM: TRIES})
    teach(at.made, at.actor, ASK, (), word(1), REVERT if fails else RETURN)
    plan = at.plan(at.call())
    assert kinds(plan) == [("CALL", "TRY_CALL", 0xFFFF), ("RESULT", "RESULT", 0)]
    assert plan.core.entries[1].next_action.data == word(0 if fails else 1)
    at.lands(plan)
    assert plan.tier == 0


def test_what_a_failed_try_did_is_undone_before_its_answer() -> None:
    """The callee calls the rollup back and then fails: the answer stands where the call was made."""
    at = scene({PROGRAM: TRIES, OTHER: "LDI r1, 1\nSSTORE f0, r1\nRETURN 0"})
    back = call_data("IRollups", "callL2", ROLLUP, OTHER, b"")
    teach(at.made, at.actor, ASK, [(at.made.rollups.address, 0, back)], b"no", REVERT)
    plan = at.plan(at.call())
    assert kinds(plan) == [
        ("CALL", "TRY_CALL", 0xFFFF),
        ("CALL", "RESULT", 0),
        ("RESULT", "RESULT", 0),
    ]
    at.lands(plan)


def test_a_failure_that_l1_swallows_leaves_no_trace() -> None:
    """The L1 contract catches the failed call back: what follows stands before it."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\n" + ANSWERS, OTHER: "REVERT 0"})
    back = call_data("IRollups", "callL2", ROLLUP, OTHER, b"")
    teach(at.made, at.actor, ASK, [(at.made.rollups.address, 0, back, True)], word(4))
    plan = at.plan(at.call())
    assert kinds(plan) == [("CALL", "CALL", 0xFFFF), ("CALL", "RESULT", 0), ("RESULT", "RESULT", 0)]
    at.lands(plan)


def test_a_reverted_scope_is_continued() -> None:
    """REVERT and REVERT_CONTINUE find each other by the link."""
    caller = f"LDF f2, {endpoint(ROLLUP, OTHER)}\nICALL f2, r11, 7, 0\n" + ANSWERS
    at = scene({PROGRAM: caller, OTHER: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nREVERT 0"})
    plan = at.plan(at.call())
    assert kinds(plan) == [
        ("CALL", "CALL", 0xFFFF),
        ("RESULT", "REVERT", 0),
        ("REVERT_CONTINUE", "RESULT", 0),
    ]
    assert plan.core.entries[2].revert_of == 1
    at.lands(plan)
    assert at.actor.view("played", ASK) == 0


def test_a_rollup_calls_another_and_tries_it() -> None:
    """Each owns its entries; the other one's failure is undone and answered."""
    asks = f"LDF f1, {endpoint(SECOND, PROGRAM)}\nXTRY f1, 5, 0, 900000\n" + ANSWERS
    at = scene({PROGRAM: asks}, {PROGRAM: "LDI r1, 1\nSSTORE f0, r1\nREVERT 0"})
    plan = at.plan(at.call())
    assert kinds(plan) == [("CALL", "TRY_CALL", 0xFFFF), ("TRY_CALL", "RESULT", 0), ("RESULT", "RESULT", 0)]
    assert [m.rollup_id for m in plan.core.lockset] == [ROLLUP, SECOND]
    at.lands(plan)


def transaction(at: Scene, forced: int | None = None, nonce: int = 0) -> TransactionIntent:
    """KEY calls PROGRAM."""
    domain = transaction_domain(CHAIN_ID, Address(at.made.rollups.address))
    data = sign_transaction(KEY, domain=domain, rollup_id=ROLLUP, nonce=nonce, destination=PROGRAM)
    return TransactionIntent(sender=Address(at.made.user), rollup_id=ROLLUP, data=data, forced=forced)


def test_a_transaction_is_planned_and_lands() -> None:
    """It calls L1 in scope 0."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\n" + ANSWERS})
    plan = at.plan(transaction(at))
    assert kinds(plan) == [("L2TX", "CALL", 0xFFFF), ("RESULT", "RESULT", 0)]
    at.lands(plan)
    assert at.actor.view("played", ASK) == 1


def test_a_forced_transaction_is_planned_and_lands() -> None:
    """A bad one as its skip."""
    at = scene({PROGRAM: "RETURN 0"})
    intent = transaction(at, forced=0, nonce=7)
    at.made.rollups.send("forceL2TX", ROLLUP, intent.data, sender=at.made.user, value=FORCE_BOUNTY)
    plan = at.plan(intent)
    assert plan.core.entries[0].next_action.failed
    at.lands(plan)


def test_a_call_that_l1_would_swallow_the_failure_of_is_planned() -> None:
    """That the entry is missing must not decide the branch: with it the call succeeds."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\n" + ANSWERS, OTHER: "RETURN 0"})
    back = call_data("IRollups", "callL2", ROLLUP, OTHER, b"")
    teach(at.made, at.actor, ASK, [(at.made.rollups.address, 0, back, True)], word(4))
    plan = at.plan(at.call())
    assert kinds(plan) == [("CALL", "CALL", 0xFFFF), ("CALL", "RESULT", 0), ("RESULT", "RESULT", 1)]
    at.lands(plan)
    assert at.actor.view("outcomes", 0)


def test_from_outside_a_contract_that_could_hide_a_miss_is_refused() -> None:
    """eth_call shows success, of a table that lacks an entry: planning it would waste a proof."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\n" + ANSWERS, OTHER: "RETURN 0"})
    back = call_data("IRollups", "callL2", ROLLUP, OTHER, b"")
    teach(at.made, at.actor, ASK, [(at.made.rollups.address, 0, back, True)], word(4))

    with pytest.raises(MissMaskable) as refused:
        at.plan(at.call(), OutsideEvm)

    assert refused.value.code == "NOD-014"
    assert at.actor.address.hex() in str(refused.value)


def test_from_outside_flows_without_such_contracts_are_planned_alike() -> None:
    """A transaction, and a call into another rollup: no L1 contract runs."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nRETURN 0"})
    assert at.plan(at.call(), OutsideEvm).core == at.plan(at.call()).core
    leaf = scene({PROGRAM: "LDF f1, LEAF\nXCALL f1, 0xa035b1fe, 0, 0\n" + ANSWERS})
    assert kinds(leaf.plan(leaf.call(), OutsideEvm)) == [("CALL", "CALL", 0xFFFF), ("RESULT", "RESULT", 0)]
    leaf.lands(leaf.plan(leaf.call(), OutsideEvm))


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("", False),
        ("60075f5260205ff3", False),
        ("61f1f100", False),  # inside a PUSH2
        ("7f" + "f1" * 32 + "00", False),
        ("7f" + "f1" * 31, False),  # a PUSH cut short by the end
        ("5ff1", True),
        ("60f1f1", True),
        ("00f4", True),  # also where nothing leads
        ("fa", True),
        ("f0", True),
        ("f5", True),
        ("ef0100" + "11" * 20, True),  # runs the code of another account
    ],
)
def test_code_that_may_call_is_told_by_its_instructions(code: str, calls: bool) -> None:
    assert may_call(bytes.fromhex(code)) == calls


def test_equal_calls_inside_each_other_are_answered_innermost_first() -> None:
    """Three frames of one program, two of which wait for the same call: only the frame tells their answers apart."""
    again = """
        SLOAD  r1, f0
        LDI    r2, 1
        ADD    r3, r1, r2
        SSTORE f0, r3
        LDI    r2, 2
        EQ     r4, r1, r2
        JNZ    r4, end
        LDF    f1, ACTOR
        XCALL  f1, 0x0ac70001, 0, 0
        LDF    f2, 5
        SSTORE f2, r3
end:    OUT    r11, r3, 0
        RETURN 1
    """
    at = scene({PROGRAM: again})
    back = call_data("IRollups", "callL2", ROLLUP, PROGRAM, b"")
    teach(at.made, at.actor, ASK, [(at.made.rollups.address, 0, back)], word(4))
    plan = at.plan(at.call())
    assert [(e.parent, e.reply_to) for e in plan.core.entries] == [
        (0xFFFF, 0xFFFF),
        (0, 0xFFFF),
        (1, 0xFFFF),
        (2, 1),
        (3, 0),
    ]
    at.lands(plan)


def test_a_feigned_missing_entry_ends_the_planning() -> None:
    """An L1 contract says what Rollups would say."""
    at = scene({PROGRAM: "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\n" + ANSWERS, OTHER: "RETURN 0"})
    trigger = replace(at.call().trigger, destination=OTHER)
    data = error_selector("ExecutionNotFound(bytes32,bytes)") + abi(
        ("bytes32", action_hash(trigger)), ("bytes", encode_action(trigger))
    )
    teach(at.made, at.actor, ASK, (), data, REVERT)
    with pytest.raises(PlanError, match="CORE_DUPLICATE_KEY"):
        at.plan(at.call())


def test_intents_are_stored_as_they_are() -> None:
    """Both kinds; other text is refused."""
    call = Intent(sender=Address(b"\1" * 20), rollup_id=3, destination=PROGRAM, value_wei=9, data=b"x")
    sent = TransactionIntent(sender=Address(b"\1" * 20), rollup_id=3, data=b"tx", forced=4)
    free = TransactionIntent(sender=Address(b"\1" * 20), rollup_id=3, data=b"tx")
    assert [decode_intent(encode_intent(x)) for x in (call, sent, free)] == [call, sent, free]
    for raw in (b"{}", b'{"kind": "l2tx"}', b'{"kind": "other"}', b"[]", b"\xff"):
        with pytest.raises(PlanError):
            decode_intent(raw)
