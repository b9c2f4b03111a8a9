"""A World with Rollups, its market, a proof system that accepts everything, and tables that are easy to make.

Roots are made-up numbers: what the table-VM does is the circuit's business, the contract's is what a table may move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_abi.abi import encode

from protocol.actions import Action, ActionKind
from protocol.contracts.artifacts import call_data
from protocol.hashing import keccak256
from protocol.load import Expectation, ProofItem, Proofs, encode_expects, encode_proofs
from protocol.table import Core, Entry, Member, encode_core, encode_header, encode_triggers, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from tests.support.evmworld import Contract, Receipt, Reverted, World, decode_event

FAMILY = Hash32(b"\xfa" * 32)
GENESIS = b"\x01\x00\x00"
DELAY = 600
PROGRAM = Address(b"\xa1" * 20)
OTHER = Address(b"\xb2" * 20)


def word(value: int) -> bytes:
    """One ABI word."""
    return value.to_bytes(32, "big")


def root_of(rollup_id: int) -> int:
    """The genesis root that this world gives a rollup."""
    return 1000 * rollup_id


def l1_call(source: bytes, rollup_id: int, destination: bytes = PROGRAM, data: bytes = b"", value: int = 0) -> Action:
    """A call made on L1."""
    return Action(
        kind=ActionKind.CALL,
        rollup_id=RollupId(rollup_id),
        destination=Address(destination),
        value=value,
        source_rollup=RollupId(0),
        source_address=Address(source),
        data=data,
    )


def call_out(rollup_id: int, target: int, destination: bytes, data: bytes = b"", **changes: Any) -> Action:
    """A call that PROGRAM of `rollup_id` makes to rollup `target`."""
    fields: dict[str, Any] = {
        "kind": ActionKind.CALL,
        "rollup_id": RollupId(target),
        "destination": Address(destination),
        "source_rollup": RollupId(rollup_id),
        "source_address": PROGRAM,
        "data": data,
    }
    return Action(**(fields | changes))


def l2_transaction(rollup_id: int, data: bytes) -> Action:
    """A transaction of a rollup, not from its forced queue."""
    return Action(
        kind=ActionKind.L2TX,
        rollup_id=RollupId(rollup_id),
        destination=ZERO_ADDRESS,
        source_rollup=RollupId(0),
        source_address=ZERO_ADDRESS,
        data=data,
    )


def revert_action(rollup_id: int, scope: tuple[int, ...]) -> Action:
    """The next action of an entry after which `scope` is undone."""
    return Action(
        kind=ActionKind.REVERT,
        rollup_id=RollupId(rollup_id),
        destination=ZERO_ADDRESS,
        source_rollup=RollupId(rollup_id),
        source_address=ZERO_ADDRESS,
        scope=scope,
    )


def continue_action(rollup_id: int, scope: tuple[int, ...]) -> Action:
    """The trigger of the entry that follows once `scope` is undone."""
    return replace(revert_action(rollup_id, scope), kind=ActionKind.REVERT_CONTINUE)


def answer(call: Action, data: bytes = b"", failed: bool = False) -> Action:
    """The RESULT that goes back along a call."""
    return Action(
        kind=ActionKind.RESULT,
        rollup_id=call.source_rollup,
        destination=call.source_address,
        failed=failed,
        source_rollup=call.rollup_id,
        source_address=call.destination,
        data=data,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every test starts from."""

    world: World
    rollups: Contract
    market: Contract
    accept_all: Contract
    oracle: Contract
    user: bytes
    stranger: bytes

    def proofs(self, core: Core, payee: bytes = ZERO_ADDRESS, agreement: bytes = ZERO_HASH) -> bytes:
        """Proofs that AcceptAllProofSystem accepts, one for each member."""
        system = Address(self.accept_all.address)
        items = tuple(ProofItem(rollup_id=m.rollup_id, system=system, proof=b"") for m in core.lockset)
        return encode_proofs(Proofs(payee=Address(payee), agreement_hash=Hash32(agreement), items=items))

    def run(
        self,
        core: Core,
        triggers: Sequence[int] = (0,),
        *,
        sender: bytes | None = None,
        value: int | None = None,
        expects: Sequence[Expectation] = (),
        payee: bytes = ZERO_ADDRESS,
        agreement: bytes = ZERO_HASH,
        settlement: bytes = b"",
    ) -> Receipt:
        """loadAndRun with AcceptAll proofs; the value is the triggers' sum unless given."""
        if value is None:
            value = sum(core.entries[i].trigger.value for i in triggers)
        return self.rollups.send(
            "loadAndRun",
            encode_core(core),
            self.proofs(core, payee, agreement),
            encode_expects(expects),
            encode_triggers(triggers),
            settlement,
            sender=sender or self.user,
            value=value,
        )

    def raw(self, to: bytes, data: bytes, *, sender: bytes, value: int = 0) -> Receipt:
        """A transaction with any call data; its answer is not decoded."""
        outcome = self.world.send_raw(to, data, sender=sender, value=value)
        events = tuple(decode_event(log.address, log.topics, log.data) for log in outcome.logs)
        return Receipt(value=outcome.output, gas_used=outcome.gas_used, events=events)

    def rollup(self, rollup_id: int) -> dict[str, Any]:
        """The contract's view of a rollup."""
        names = ("root", "ether", "last_l2_time", "epoch", "owner", "delay", "pending_from")
        values = dict(zip(names, self.rollups.view("rollup", rollup_id), strict=True))
        return values | {"root": int.from_bytes(values["root"], "big")}

    def root(self, rollup_id: int) -> int:
        """Live root."""
        return int(self.rollup(rollup_id)["root"])

    def core(self, entries: Sequence[Entry], members: Sequence[int] = (1,), **changes: Any) -> Core:
        """A core over rollups at their live roots, for the user, with trigger 0 fixed."""
        fields: dict[str, Any] = {
            "lockset": tuple(Member(rollup_id=RollupId(r), pre_root=self.root(r)) for r in members),
            "l2_time": self.world.time,
            "not_before": self.world.time - 10,
            "valid_until": self.world.time + 120,
            "executor": Address(self.user),
            "triggers_hash": triggers_hash((0,)),
            "fee_recipient": Address(b"\xfe" * 20),
            "entries": tuple(entries),
        }
        return Core(**(fields | changes))

    def open_core(self, entries: Sequence[Entry], members: Sequence[int] = (1,), **changes: Any) -> Core:
        """A core without executor and fixed triggers."""
        return self.core(entries, members, **({"executor": ZERO_ADDRESS, "triggers_hash": ZERO_HASH} | changes))

    def create_rollup(self, rollup_id: int, system: Contract | None = None, owner: bytes | None = None) -> None:
        """Create the next rollup, which must get this id."""
        address = (system or self.accept_all).hex
        got = self.rollups.send(
            "createRollup",
            ([address], [FAMILY], 1),
            owner or self.world.account("owner"),
            DELAY,
            word(root_of(rollup_id)),
            GENESIS,
            sender=self.stranger,
        )
        assert got.value == rollup_id

    def oracle_table(self, price: int = 2500, **changes: Any) -> Core:
        """L1 -> rollup 1 -> L1 oracle -> rollup 1 -> L1: two entries."""
        trigger = l1_call(self.user, 1, data=bytes.fromhex("11223344"))
        asked = call_out(1, 0, self.oracle.address, ORACLE_PRICE, gas=100_000)
        first = Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked)
        second = Entry(
            parent=0,
            reply_to=0,
            mid=False,
            new_root=1002,
            trigger=answer(asked, word(price)),
            next_action=answer(trigger, word(1)),
        )
        return self.core((first, second), **changes)


ORACLE_PRICE = bytes.fromhex("a035b1fe")
"""Selector of price()."""


def deploy_rollups(world: World) -> Contract:
    """Rollups with its reader and its module, under the interface that callers see."""
    parts = [world.deploy(name).hex for name in ("TableReader", "RollupsAdmin")]
    return Contract(world, "IRollups", world.deploy("Rollups", *parts).address)


def setup(world: World | None = None) -> Setup:
    """Deploy everything; rollups 1 and 2 exist."""
    world = World() if world is None else world
    rollups = deploy_rollups(world)
    market = Contract(world, "ProofMarket", bytes.fromhex(rollups.view("market")[2:]))
    made = Setup(
        world=world,
        rollups=rollups,
        market=market,
        accept_all=world.deploy("AcceptAllProofSystem"),
        oracle=world.deploy("PriceOracle", 2500),
        user=world.account("user"),
        stranger=world.account("stranger"),
    )
    made.create_rollup(1)
    made.create_rollup(2)
    return made


def proxy_of(made: Setup, original: bytes, rollup_id: int) -> Contract:
    """The proxy of (original, rollup), created if need be."""
    address = made.rollups.send("getOrCreateProxy", original, rollup_id, sender=made.stranger).value
    return Contract(made.world, "CrossChainProxy", bytes.fromhex(address[2:]))


def abi(*pairs: tuple[str, object]) -> bytes:
    """ABI encoding of (type, value) pairs."""
    return encode([kind for kind, _ in pairs], [value for _, value in pairs])


def error_selector(signature: str) -> bytes:
    """Revert data of an error without arguments, or its first four bytes."""
    return keccak256(signature.encode())[:4]


def expect_revert(name: str) -> pytest.RaisesExc[Reverted]:
    """A revert with this error."""
    return pytest.raises(Reverted, match=f"^{name}:")


def direct(made: Setup, rollup_id: int, new_root: int, data: bytes = b"", source: bytes | None = None) -> Entry:
    """A call from L1 that is answered at once."""
    trigger = l1_call(source or made.user, rollup_id, data=data)
    return Entry(mid=False, new_root=new_root, trigger=trigger, next_action=answer(trigger, data + b"!"))


def send(made: Setup, core: bytes, proofs: bytes, expects: bytes, triggers: bytes, settlement: bytes = b"") -> object:
    """loadAndRun from raw parts, by the user, without value."""
    return made.rollups.send("loadAndRun", core, proofs, expects, triggers, settlement, sender=made.user)


def load_step(made: Setup, core: Core, triggers: Sequence[int]) -> tuple[bytes, int, bytes]:
    """A loadAndRun for Bundle."""
    data = call_data(
        "IRollups",
        "loadAndRun",
        encode_core(core),
        made.proofs(core),
        encode_expects(()),
        encode_triggers(triggers),
        b"",
    )
    return made.rollups.address, 0, data


def abi_action(action: Action) -> tuple[Any, ...]:
    """The Action struct of the ABI."""
    return (
        int(action.kind),
        action.rollup_id,
        action.destination,
        action.value,
        action.gas,
        action.failed,
        action.opaque,
        action.source_rollup,
        action.source_address,
        list(action.scope),
        action.data,
    )


def abi_executions(core: Core) -> list[tuple[Any, ...]]:
    """The Execution structs of the ABI."""
    return [
        (
            e.parent,
            e.reply_to,
            e.revert_of,
            e.mid,
            word(e.new_root),
            abi_action(e.trigger),
            abi_action(e.next_action),
        )
        for e in core.entries
    ]


def load_header(core: Core) -> bytes:
    """What `proof` of loadL2Executions begins with."""
    return encode_header(core)
