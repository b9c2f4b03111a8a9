"""Measures gas on py-evm (Prague rules) and writes protocol/contracts/gas.json: `python -m tests.support.write_gas`.

Figures are deterministic; a test compares them exactly, so that a change of cost is a change of a reviewed file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from node.chain.evm import GAS_NONZERO, GAS_TX, GAS_ZERO, Call
from protocol.constants import BOND_PER_ENTRY, FORCE_BOUNTY, NONE, TICKET_UNIT, WITHDRAW_DELAY
from protocol.contracts.artifacts import artifact, call_data
from protocol.load import encode_expects
from protocol.table import Core, Entry, core_id, encode_core, encode_triggers, entry_key, stamp
from protocol.types import ZERO_ADDRESS, ZERO_HASH
from tests.support import tools
from tests.support.cores import l2tx
from tests.support.evmworld import VIEWER, Contract
from tests.support.marketworld import ack_bytes, agree, amended, settle_bytes
from tests.support.nativeworld import NativeWorld
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import (
    FAMILY,
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    direct,
    l1_call,
    load_header,
    setup,
)

OTHERS: Final = 10_000
OTHERS_PER_TABLE: Final = 100
GAS_FILE: Final = tools.ROOT / "protocol" / "contracts" / "gas.json"


def intrinsic(data: bytes) -> int:
    """Gas of a transaction before its first instruction."""
    zeros = data.count(0)
    return GAS_TX + GAS_ZERO * zeros + GAS_NONZERO * (len(data) - zeros)


def used(made: Setup, to: Contract, data: bytes, sender: bytes = VIEWER, value: int = 0) -> int:
    """Gas of a transaction that must succeed and is not kept."""
    outcome = made.world.try_out(Call(sender=sender, to=to.address, data=data, value=value))
    assert outcome.succeeded, outcome
    return outcome.gas_used


def inside(made: Setup, to: Contract, data: bytes) -> int:
    """Gas of a call without its intrinsic part."""
    return used(made, to, data) - intrinsic(data)


def loading(core: Core, proofs: bytes, triggers: tuple[int, ...], settlement: bytes) -> bytes:
    """Call data of loadAndRun."""
    parts = (encode_core(core), proofs, encode_expects(()), encode_triggers(triggers), settlement)
    return call_data("IRollups", "loadAndRun", *parts)


def flow(proven: Proven) -> dict[str, int]:
    """One rollup, two entries (CALL, RESULT of an L1 oracle), a Groth16 proof and settlement, in one transaction."""
    made, user = proven.made, proven.who.requester.address
    data = loading(proven.core, proven.proofs(), (0,), proven.settlement)
    first_payment = used(made, made.rollups, data, user)
    point = made.world.snapshot()
    made.world.fund(proven.who.payee)
    made.market.send("deposit", 0, 1, sender=proven.who.payee, value=2 * TICKET_UNIT)
    total = used(made, made.rollups, data, user)
    first_payment -= total
    unpaid_input = proven.input_of(proven.core, ZERO_ADDRESS, ZERO_HASH)
    unpaid = proven.proofs(proven.toy.prove(proven.core, ROLLUP, unpaid_input), ZERO_ADDRESS, ZERO_HASH)
    without_settlement = loading(proven.core, unpaid, (0,), b"")
    settle = (
        total - intrinsic(data) - used(made, made.rollups, without_settlement, user) + intrinsic(without_settlement)
    )
    verify_data = (proven.toy.family, proven.public_input, proven.statement, proven.proof)
    verify = inside(made, proven.system, call_data("Groth16ProofSystem", "verify", *verify_data))
    idle = replace(proven.core, triggers_hash=ZERO_HASH)
    idle_input = proven.input_of(idle, ZERO_ADDRESS, ZERO_HASH)
    idle_proofs = proven.proofs(proven.toy.prove(idle, ROLLUP, idle_input), ZERO_ADDRESS, ZERO_HASH)
    load = used(made, made.rollups, loading(idle, idle_proofs, (), b""), user)
    load -= intrinsic(loading(idle, idle_proofs, (), b"")) + verify
    made.world.restore(point)
    return {
        "total": total,
        "intrinsic": intrinsic(data),
        "verify": verify,
        "settle": settle,
        "load": load,
        "consume": total - intrinsic(data) - verify - settle - load,
        "tx_data_bytes": len(data),
        "core_bytes": len(encode_core(proven.core)),
        "first_call_of_a_new_proxy": first_call(proven) - total - first_payment,
        "first_payment_of_a_new_payee": first_payment,
    }


def first_call(proven: Proven) -> int:
    """The same transaction if the calling program has no proxy on L1 yet."""
    world = proven_world(with_proxy=False)
    data = loading(world.core, world.proofs(), (0,), world.settlement)
    return used(world.made, world.made.rollups, data, proven.who.requester.address)


def persistent(made: Setup) -> dict[str, int]:
    """Tables of calls that are answered at once: to load them, to meet one, alone and beside others, to remove them."""
    figures, cores = {}, {}
    start = made.world.snapshot()
    for count in (1, 2, 4, 16):
        core = made.open_core([direct(made, 1, 1001 + i, bytes((i,))) for i in range(count)])
        data = call_data("IRollups", "loadL2Executions", abi_executions(core), load_header(core) + made.proofs(core))
        figures[f"load_{count}"] = used(made, made.rollups, data, made.stranger, BOND_PER_ENTRY * count)
        cores[count] = (core, data)

    def load(count: int) -> Core:
        core, data = cores[count]
        made.world.send_raw(made.rollups.address, data, sender=made.stranger, value=BOND_PER_ENTRY * count)
        return core

    load(1)
    open_call = call_data("IRollups", "callL2", 1, PROGRAM, b"\x00")
    figures["open_call"] = used(made, made.rollups, open_call, made.user)
    waiting = load(16)
    figures["open_call_beside_16_entries"] = used(made, made.rollups, open_call, made.user)
    identity = core_id(encode_core(waiting))
    figures["close"] = used(made, made.rollups, call_data("IRollups", "closeTable", identity), made.stranger)
    made.world.pass_time(waiting.valid_until - made.world.time + 1)
    keys = [entry_key(identity, waiting.trigger_hash(i), [stamp(1000, 1)]) for i in range(16)]
    for count in (1, 16):
        data = call_data("IRollups", "cleanup", identity, keys[:count])
        figures[f"cleanup_{count}"] = used(made, made.rollups, data, made.user)
    made.rollups.send("cleanup", identity, keys, sender=made.user)
    figures["claim"] = used(made, made.rollups, call_data("IRollups", "claim", made.user), made.stranger)
    made.world.restore(start)
    return figures


def lookups(others: int) -> tuple[int, int]:
    """Gas of meeting a stored table, unnamed and by its name, among so many entries of others.

    On pyrevm, which loads them in seconds. What was touched before is warm there: no figures of a transaction.
    """
    world = NativeWorld()
    made = setup(world)

    def load(core: Core) -> None:
        made.world.fund(made.stranger)
        data = call_data("IRollups", "loadL2Executions", abi_executions(core), load_header(core) + made.proofs(core))
        value = BOND_PER_ENTRY * len(core.entries)
        made.world.send_raw(made.rollups.address, data, sender=made.stranger, value=value)

    core = made.open_core([direct(made, 1, 1001, b"\x00")])
    load(core)
    for first in range(0, others, OTHERS_PER_TABLE):
        # for the same rollup and root, and in each of the tables one for the very call that will be made
        data = [b"\x00", *((first + i).to_bytes(3, "big") for i in range(1, OTHERS_PER_TABLE))]
        load(made.open_core([direct(made, 1, 2000 + first + i, each) for i, each in enumerate(data)]))
    figures = []
    for function in (("callL2",), ("callL2Pinned", core_id(encode_core(core)))):
        point = world.snapshot()
        figures.append(made.rollups.send(*function, 1, PROGRAM, b"\x00", sender=made.user).gas_used)
        assert made.root(1) == 1001
        world.restore(point)
    return figures[0], figures[1]


def transient(made: Setup) -> dict[str, int]:
    """Without proofs to check (a system that accepts all): loads, and loads that fire all entries."""

    def chain(count: int, members: tuple[int, ...], *, fire: bool = False) -> int:
        entries = []
        for i in range(count):
            trigger = l1_call(made.user, members[i % len(members)], data=bytes((i,)) * 36)
            reply = answer(trigger, bytes(32))
            parent = i - 1 if fire and i else NONE
            entries.append(Entry(parent=parent, mid=False, new_root=5000 + i, trigger=trigger, next_action=reply))
        core = made.open_core(entries, members=members)
        fired = tuple(range(count)) if fire else ()
        return used(made, made.rollups, loading(core, made.proofs(core), fired, b""), made.user)

    return {
        "load_1_entry_1_rollup": chain(1, (1,)),
        "load_2_entries_1_rollup": chain(2, (1,)),
        "load_4_entries_1_rollup": chain(4, (1,)),
        "load_8_entries_1_rollup": chain(8, (1,)),
        "load_16_entries_1_rollup": chain(16, (1,)),
        "load_8_entries_2_rollups": chain(8, (1, 2)),
        "load_and_fire_1": chain(1, (1,), fire=True),
        "load_and_fire_16": chain(16, (1,), fire=True),
    }


def statement_words(proven: Proven) -> int:
    """Gas by which one own entry more makes the Groth16 system's check dearer: empty places are paid for anyway."""
    whole, first = (
        (core, proven.toy.prove(core, ROLLUP, proven.input_of(core, ZERO_ADDRESS, ZERO_HASH)))
        for core in (proven.core, replace(proven.core, entries=proven.core.entries[:1]))
    )
    costs = []
    for core, proof in (whole, first):
        public_input = proven.input_of(core, ZERO_ADDRESS, ZERO_HASH)
        arguments = (proven.toy.family, public_input, ROLLUP.to_bytes(8, "big") + encode_core(core), proof)
        costs.append(inside(proven.made, proven.system, call_data("Groth16ProofSystem", "verify", *arguments)))
    return costs[0] - costs[1]


def forced(made: Setup) -> dict[str, int]:
    """A transaction that a rollup must take: to queue it, and to prove and land it alone."""
    start = made.world.snapshot()
    config = ([made.accept_all.hex], [FAMILY], 1)
    created = made.rollups.send(
        "createRollupWithQueue", config, bytes(20), 0, bytes(32), b"\x01\x00\x00", 10, sender=made.stranger
    )
    data = bytes(range(1, 101))
    queue = call_data("IRollups", "forceL2TX", created.value, data)
    figures = {"queue_100_bytes_first": used(made, made.rollups, queue, made.user, FORCE_BOUNTY)}
    made.world.send_raw(made.rollups.address, queue, sender=made.user, value=FORCE_BOUNTY)
    figures["queue_100_bytes_behind_another"] = used(made, made.rollups, queue, made.user, FORCE_BOUNTY)
    trigger = l2tx(created.value, data, gas=1)
    core = made.open_core(
        [Entry(mid=False, new_root=1, trigger=trigger, next_action=answer(trigger))], (created.value,)
    )
    take = loading(core, made.proofs(core, b"\x9a" * 20), (0,), b"")
    figures["load_and_take"] = used(made, made.rollups, take, made.user)
    made.world.restore(start)
    return figures


def market(proven: Proven) -> dict[str, int]:
    """What the parties pay for tickets, claims and faults."""
    made, user = proven.made, proven.who.requester.address
    claim = call_data(
        "ProofMarket", "claimWithProof", encode_core(proven.core), proven.proofs(), proven.settlement, b""
    )
    figures = {
        "deposit_1": used(made, made.market, call_data("ProofMarket", "deposit", 0, 1), user, 2 * TICKET_UNIT),
        "deposit_16": used(made, made.market, call_data("ProofMarket", "deposit", 0, 16), user, 32 * TICKET_UNIT),
        "claim_with_proof": used(made, made.market, claim, made.stranger),
    }
    agreement = agree(made, proven.who, proven.core, systems_hash=proven.systems_hash)
    amend = amended(made, proven.who, agreement, proven.core)
    plain, longer = (
        loading(proven.core, proven.proofs(), (0,), settlement)
        for settlement in (proven.settlement, settle_bytes(made, proven.who, agreement, amend=amend))
    )
    figures["amend_of_a_settlement"] = used(made, made.rollups, longer, user) - used(made, made.rollups, plain, user)
    point = made.world.snapshot()
    figures["request_withdraw"] = used(
        made, made.market, call_data("ProofMarket", "requestWithdraw", 0), proven.who.prover.address
    )
    made.market.send("requestWithdraw", 0, sender=proven.who.prover.address)
    made.world.pass_time(WITHDRAW_DELAY)
    withdraw = call_data("ProofMarket", "withdraw", 0)
    figures["withdraw"] = used(made, made.market, withdraw, proven.who.prover.address)
    made.market.send("withdraw", 0, sender=proven.who.prover.address)
    collect = call_data("ProofMarket", "collect", proven.who.prover.address)
    figures["collect"] = used(made, made.market, collect, made.stranger)
    made.world.restore(point)
    slash = call_data(
        "ProofMarket",
        "slash",
        settle_bytes(made, proven.who, agreement),
        ack_bytes(made, proven.who, agreement),
        b"",
    )
    point = made.world.snapshot()
    made.world.pass_time(agreement.claim_by - made.world.time + 1)
    figures["slash"] = used(made, made.market, slash, made.stranger)
    made.world.restore(point)
    return figures


def setup_costs(proven: Proven) -> dict[str, int]:
    """One-time costs."""
    made = proven.made
    config = ([made.accept_all.hex], [b"\x01" * 32], 1)
    create = call_data("IRollups", "createRollup", config, made.user, 0, bytes(32), bytes(1000))
    fresh = made.world.deploy("Groth16ProofSystem")
    code = {
        name: len(artifact(name).deployed_bytecode)
        for name in (
            "Rollups",
            "RollupsAdmin",
            "BundleRunner",
            "HashProofSystem",
            "TableReader",
            "ProofMarket",
            "Groth16ProofSystem",
            "CrossChainProxy",
        )
    }
    return {
        "create_rollup_genesis_1000_bytes": used(made, made.rollups, create, made.user),
        "register_key": used(made, fresh, call_data("Groth16ProofSystem", "registerKey", proven.toy.vk), made.user),
        "create_proxy": used(made, made.rollups, call_data("IRollups", "getOrCreateProxy", b"\x01" * 20, 1), made.user),
        **{f"code_bytes_{name}": size for name, size in code.items()},
    }


def measure() -> dict[str, dict[str, int]]:
    """All figures."""
    proven = proven_world()
    alone, among = lookups(0), lookups(OTHERS)
    lanes = {"transient_lane": transient(proven.made), "persistent_lane": persistent(proven.made)}
    words = statement_words(proven)
    fired, stored = lanes["transient_lane"], lanes["persistent_lane"]
    return {
        "two_entries_groth16_settled": flow(proven),
        **lanes,
        "statement_words": {"further_entry": words},
        "each_further_entry": {
            "transient_loaded_and_met": (fired["load_and_fire_16"] - fired["load_and_fire_1"]) // 15 + words,
            "persistent_loaded": (stored["load_16"] - stored["load_1"]) // 15,
            "persistent_cleaned": (stored["cleanup_16"] - stored["cleanup_1"]) // 15,
        },
        "lookup_in_storage_on_pyrevm": {
            "unnamed_alone": alone[0],
            f"unnamed_among_{OTHERS}": among[0],
            "pinned_alone": alone[1],
            f"pinned_among_{OTHERS}": among[1],
        },
        "forced_queue": forced(proven.made),
        "market": market(proven),
        "setup": setup_costs(proven),
    }


def main(path: Path = GAS_FILE) -> None:
    """Write the file."""
    path.write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
