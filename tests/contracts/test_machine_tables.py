"""Tables made by the machine, played on the contracts, and followed from their logs alone (SPEC §4.6, §8.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from node.chain.evm import Outcome
from node.chain.records import Log
from node.replay import RollupLog
from protocol.actions import ActionKind
from protocol.constants import FORCE_BOUNTY
from protocol.contracts.artifacts import call_data
from protocol.hashing import selector
from protocol.payload import make_witness, state_from_witness
from protocol.table import decode_core, encode_core, triggers_hash
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.eddsa import SigningKey
from protocol.vm.genesis import Genesis, GenesisAccount, encode_genesis, state_from_genesis
from protocol.vm.programs import bridge_account
from protocol.vm.rollup import run_core
from protocol.vm.state import VmState, account_key, unpack_account
from protocol.vm.transactions import sign_transaction, transaction_domain
from tests.support.cores import l2tx, result_of, word
from tests.support.evmworld import CHAIN_ID, Contract, Reverted
from tests.support.rollupworld import DELAY, FAMILY, OTHER, PROGRAM, Setup, l1_call, load_step
from tests.support.script import RETURN, REVERT, teach
from tests.support.vmtables import VmTable

ROLLUP = 3
ASK = b"\x0a\xc7\x00\x01"
KEY = SigningKey(b"\x05" * 32)
ANSWERS = "RETOK r1\nRETLO r2, 0\nOUT r11, r1, 0\nOUT r11, r2, 1\nLDF f3, 1\nSSTORE f3, r2\nRETURN 2"


@dataclass(slots=True)
class Play:
    """A rollup whose roots are real, an L1 contract that does as it is taught, and who follows the logs."""

    made: Setup
    actor: Contract
    bundle: Contract
    state: VmState
    logs: list[Log] = field(default_factory=list)
    follower: RollupLog = field(default_factory=RollupLog)

    def send(self, to: bytes, data: bytes, value: int = 0) -> Outcome:
        """A transaction of the user; its logs are followed."""
        outcome = self.made.world.send_raw(to, data, sender=self.made.user, value=value)
        logs = [
            Log(
                address=log.address,
                topics=log.topics,
                data=log.data,
                block_number=1,
                block_hash=bytes(32),
                tx_hash=bytes(32),
                tx_index=0,
                log_index=place,
            )
            for place, log in enumerate(outcome.logs)
            if log.address == self.made.rollups.address
        ]
        self.follower.apply(1, bytes(32), logs)
        return outcome

    def table(self) -> VmTable:
        return VmTable({ROLLUP: self.state}, l2_time=self.made.world.time)

    def teach(self, answer: bytes, fails: bool = False) -> None:
        teach(self.made, self.actor, ASK, (), answer, REVERT if fails else RETURN)

    def plays(self, table: VmTable, *steps: tuple[bytes, int, bytes]) -> VmState:
        """Load it and do the steps in one transaction; the state that is live then, by the follower and by the root.

        Before that, whoever proves it executes it, also from the state witness alone.
        """
        core = decode_core(encode_core(table.core()))
        runs = run_core(self.state, core, ROLLUP)
        assert len(runs) == len(core.entries)
        partial = state_from_witness(make_witness(self.state, runs.values()))
        assert len(run_core(partial, core, ROLLUP)) == len(core.entries)
        todo = [load_step(self.made, core, ()), *steps]
        self.send(self.bundle.address, call_data("Bundle", "run", todo), value=sum(step[1] for step in todo))
        return self.followed()

    def followed(self) -> VmState:
        """The follower's state, which must be the chain's."""
        known = self.follower.latest.rollups[ROLLUP]
        assert known.fault is None
        assert known.state is not None
        assert known.state.root == self.made.root(ROLLUP)
        return known.state

    def call(self, data: bytes, value: int = 0) -> tuple[bytes, int, bytes]:
        """callL2 by the bundle."""
        return self.made.rollups.address, value, call_data("IRollups", "callL2", ROLLUP, PROGRAM, data)


def play_with(
    made: Setup, sources: dict[Address, str], queue: bool = False, accounts: Sequence[GenesisAccount] = ()
) -> Play:
    """A rollup with these programs and accounts."""
    world = made.world
    actor, bundle = world.deploy("Player"), world.deploy("Bundle")
    at = int.from_bytes(actor.address, "big")
    accounts = [
        *accounts,
        *(GenesisAccount(address=a, program=assemble(sources[a].replace("ACTOR", str(at)))) for a in sorted(sources)),
    ]
    domain = transaction_domain(CHAIN_ID, Address(made.rollups.address))
    genesis = Genesis(accounts=tuple(accounts), domain=domain)
    state = state_from_genesis(genesis)
    made_play = Play(made=made, actor=actor, bundle=bundle, state=state)
    config = ([made.accept_all.hex], [FAMILY], 1)
    arguments: Sequence[object] = (
        config,
        made.stranger,
        DELAY,
        state.root.to_bytes(32, "big"),
        encode_genesis(genesis),
    )
    name = "createRollupWithQueue" if queue else "createRollup"
    made_play.send(made.rollups.address, call_data("IRollups", name, *arguments, *((10,) if queue else ())))
    return made_play


def test_a_try_takes_the_branch_that_l1_takes(made: Setup) -> None:
    """One table with both answers; what the contract does decides. A failed try gives its value back."""
    source = "LDF f1, ACTOR\nVALUE r5\nXTRYV f1, r5, 0x0ac70001, 0, 100000\n" + ANSWERS
    for fails, data in ((False, word(77)), (True, word(5))):
        point = made.world.snapshot()
        play = play_with(made, {PROGRAM: source})
        play.teach(data, fails)
        table = play.table()
        asked = table.begins(l1_call(play.bundle.address, ROLLUP, data=b"askL", value=9))
        assert table.entries[asked].next_action.kind is ActionKind.TRY_CALL
        branches = {each: table.answered(asked, data, failed=each) for each in (False, True)}
        state = play.plays(table, play.call(b"askL", 9))
        assert state.root == table.entries[branches[fails]].new_root
        expected = 9 if fails else 0
        assert unpack_account(state.tree.get(account_key(int.from_bytes(PROGRAM, "big")))[0]) == (0, expected)
        assert (made.rollup(ROLLUP)["ether"], play.actor.view("received")) == (expected, 9 - expected)
        made.world.restore(point)


CAUGHT = f"LDF f2, {endpoint(ROLLUP, OTHER)}\nICALL f2, r11, 7, 0\n" + ANSWERS


def test_an_inner_failure_undoes_what_its_scope_did_on_l1(made: Setup) -> None:
    """The callee calls L1 and fails: L1 is as before, the caller goes on with what the callee said."""
    inner = "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nRETLO r1, 0\nOUT r11, r1, 0\nREVERT 1"
    play = play_with(made, {PROGRAM: CAUGHT, OTHER: inner})
    play.teach(word(31))
    table = play.table()
    asked = table.begins(l1_call(play.bundle.address, ROLLUP, data=b"askL"))
    failed = table.answered(asked, word(31))
    done = table.continues(failed)
    kinds = [(e.trigger.kind.name, e.next_action.kind.name, e.next_action.scope) for e in table.entries]
    assert kinds == [
        ("CALL", "CALL", (0,)),
        ("RESULT", "REVERT", (0,)),
        ("REVERT_CONTINUE", "RESULT", ()),
    ]
    state = play.plays(table, play.call(b"askL"))
    assert state.root == table.entries[done].new_root
    assert table.entries[done].next_action.data == word(0) + word(31)
    assert play.actor.view("played", ASK) == 0


def test_an_inner_success_is_kept(made: Setup) -> None:
    """Both frames finish in the entry of the answer; the L1 effect stays."""
    inner = "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nRETLO r1, 0\nOUT r11, r1, 0\nRETURN 1"
    play = play_with(made, {PROGRAM: CAUGHT, OTHER: inner})
    play.teach(word(31))
    table = play.table()
    done = table.answered(table.begins(l1_call(play.bundle.address, ROLLUP, data=b"askL")), word(31))
    state = play.plays(table, play.call(b"askL"))
    assert (state.root, play.actor.view("played", ASK)) == (table.entries[done].new_root, 1)


def test_scopes_inside_scopes_are_undone_in_turn(made: Setup) -> None:
    """Three frames; the innermost failure is caught by the middle one, whose own failure the outer one catches."""
    third = Address(b"\xc3" * 20)
    middle = (
        f"LDF f2, {endpoint(ROLLUP, third)}\nICALL f2, r11, 7, 0\nLDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nREVERT 0"
    )
    inner = "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nREVERT 0"
    play = play_with(made, {PROGRAM: CAUGHT, OTHER: middle, third: inner})
    play.teach(word(1))
    table = play.table()
    first = table.begins(l1_call(play.bundle.address, ROLLUP, data=b"askL"))
    went_on = table.continues(table.answered(first, word(1)))
    assert table.entries[went_on].next_action.scope == (0,)
    last = table.continues(table.answered(went_on, word(1)))
    assert table.entries[last].next_action.kind is ActionKind.RESULT
    state = play.plays(table, play.call(b"askL"))
    assert (state.root, play.actor.view("played", ASK)) == (table.entries[last].new_root, 0)


def signed(play: Play, **changes: object) -> bytes:
    """A transaction of KEY to PROGRAM."""
    domain = transaction_domain(CHAIN_ID, Address(play.made.rollups.address))
    fields: dict[str, object] = {"domain": domain, "rollup_id": ROLLUP, "nonce": 0, "destination": PROGRAM}
    return sign_transaction(KEY, **(fields | changes))  # type: ignore[arg-type]


def funds(play: Play, wei: int) -> None:
    """Give the key's account ether, by a call from L1."""
    table = play.table()
    table.begins(l1_call(play.bundle.address, ROLLUP, destination=KEY.address, value=wei))
    data = call_data("IRollups", "callL2", ROLLUP, KEY.address, b"")
    play.state = play.plays(table, (play.made.rollups.address, wei, data))


PAYS = "LDF f1, ACTOR\nVALUE r5\nXCALLV f1, r5, 0x0ac70001, 0, 0\nSEL r1\nJNZ r1, bad\n" + ANSWERS + "\nbad: REVERT 0"


@pytest.mark.parametrize("fails", [False, True])
def test_a_transaction_calls_l1_and_is_kept_or_undone(made: Setup, fails: bool) -> None:
    """Its fee and nonce stay either way; its ether reaches L1 only if it succeeds."""
    play = play_with(made, {PROGRAM: PAYS})
    play.teach(word(8))
    funds(play, 100)
    data = signed(play, value=40, fee=2, selector=int(fails))
    table = play.table()
    asked = table.begins(l2tx(ROLLUP, data))
    last = table.answered(asked, word(8))
    if fails:
        last = table.continues(last)
    execute = call_data("IRollups", "executeL2TX", ROLLUP, data)
    state = play.plays(table, (made.rollups.address, 0, execute))
    assert state.root == table.entries[last].new_root
    assert table.entries[last].next_action.failed == fails
    nonce_and_wei = unpack_account(state.tree.get(account_key(int.from_bytes(KEY.address, "big")))[0])
    assert nonce_and_wei == (1, 98 if fails else 58)
    assert (made.rollup(ROLLUP)["ether"], play.actor.view("received")) == ((100, 0) if fails else (60, 40))


@pytest.mark.parametrize("good", [True, False])
def test_a_forced_transaction_is_taken_or_skipped(made: Setup, good: bool) -> None:
    """Whatever is in the queue has its one entry."""
    play = play_with(made, {PROGRAM: "LDI r1, 6\nLDF f3, 1\nSSTORE f3, r1\nRETURN 0"}, queue=True)
    data = signed(play) if good else b"no transaction"
    play.send(made.rollups.address, call_data("IRollups", "forceL2TX", ROLLUP, data), FORCE_BOUNTY)
    table = play.table()
    taken = table.begins(replace(l2tx(ROLLUP, data), gas=1))
    assert table.entries[taken].next_action == result_of(l2tx(ROLLUP), failed=not good)
    execute = call_data("IRollups", "executeForcedL2TX", bytes(32), ROLLUP, data)
    state = play.plays(table, (made.rollups.address, 0, execute))
    assert state.root == table.entries[taken].new_root
    assert made.rollups.view("forcedQueue", ROLLUP)[1] == 1


def test_the_follower_stops_at_a_table_that_says_something_else(made: Setup) -> None:
    """A proof system that accepts all lets a wrong REVERT_CONTINUE land; whoever follows sees it."""
    inner = "LDF f1, ACTOR\nXCALL f1, 0x0ac70001, 0, 0\nRETLO r1, 0\nOUT r11, r1, 0\nREVERT 1"
    play = play_with(made, {PROGRAM: CAUGHT, OTHER: inner})
    play.teach(word(31))
    table = play.table()
    table.continues(table.answered(table.begins(l1_call(play.bundle.address, ROLLUP, data=b"askL")), word(31)))
    table.entries[2] = replace(table.entries[2], new_root=12345)
    core = decode_core(encode_core(table.core()))
    todo = [load_step(made, core, ()), play.call(b"askL")]
    play.send(play.bundle.address, call_data("Bundle", "run", todo))
    fault = play.follower.latest.rollups[ROLLUP].fault
    assert fault is not None
    assert "ENTRY_NEW_ROOT" in fault


# -- the bridge --------------------------------------------------------------------------------------------------------


def bridge_world(made: Setup) -> tuple[Play, Contract, Contract]:
    """The vault first: the rollup's id and the program's address are known before they exist."""
    token = made.world.deploy("TestToken")
    vault = made.world.deploy("BridgeVault", made.rollups.hex, token.hex, ROLLUP, "0x" + PROGRAM.hex())
    play = play_with(made, {}, accounts=(bridge_account(PROGRAM, endpoint(0, vault.address)),))
    token.send("mint", "0x" + play.bundle.address.hex(), 100, sender=made.user)
    return play, token, vault


def deposits(play: Play, token: Contract, vault: Contract, amount: int) -> VmTable:
    """The bundle's tokens for coins of the user."""
    table = play.table()
    data = selector("credited(uint256,uint256)").to_bytes(4, "big") + made_word(play.made.user) + word(amount)
    table.begins(l1_call(vault.address, ROLLUP, data=data))
    approve = (token.address, 0, call_data("TestToken", "approve", vault.hex, amount))
    deposit = (vault.address, 0, call_data("BridgeVault", "deposit", int.from_bytes(play.made.user, "big"), amount))
    play.state = play.plays(table, approve, deposit)
    return table


def made_word(account: bytes) -> bytes:
    return account.rjust(32, b"\0")


def test_a_bridge_takes_and_pays_in_one_flow(made: Setup) -> None:
    """Deposit, withdrawal by the holder, and nobody else makes the vault pay."""
    play, token, vault = bridge_world(made)
    deposits(play, token, vault, 60)
    assert (token.view("balanceOf", vault.hex), token.view("balanceOf", play.bundle.hex)) == (60, 40)
    to = b"\x77" * 20
    data = selector("withdraw(uint256,uint256)").to_bytes(4, "big") + made_word(to) + word(25)
    table = play.table()
    trigger = l1_call(made.user, ROLLUP, data=data)
    asked = table.begins(trigger)
    table.answered(asked)
    core = table.core(executor=Address(made.user), triggers_hash=triggers_hash((0,)))
    made.run(core)
    assert made.root(ROLLUP) == table.entries[-1].new_root
    assert (token.view("balanceOf", vault.hex), token.view("balanceOf", "0x" + to.hex())) == (35, 25)
    with pytest.raises(Reverted, match="NotTheProgram"):
        vault.send("release", "0x" + to.hex(), 1, sender=made.user)


@pytest.mark.parametrize(("fee", "refuses", "error"), [(1, False, "OtherAmount"), (0, True, "TransferFailed")])
def test_a_bridge_credits_only_what_came(made: Setup, fee: int, refuses: bool, error: str) -> None:
    """A token that takes a fee or refuses moves nothing on either side."""
    play, token, vault = bridge_world(made)
    token.send("set", fee, refuses, sender=made.user)
    root = made.root(ROLLUP)
    with pytest.raises(Reverted):
        deposits(play, token, vault, 60)
    assert (made.root(ROLLUP), token.view("balanceOf", vault.hex)) == (root, 0)
    token.send("mint", "0x" + made.user.hex(), 100, sender=made.user)
    token.send("approve", vault.hex, 60, sender=made.user)
    with pytest.raises(Reverted, match=error):
        vault.send("deposit", int.from_bytes(made.user, "big"), 60, sender=made.user)
