"""Measures gas on py-evm (Prague rules) and writes protocol/contracts/gas.json: `python -m tests.support.write_gas`.

Figures are deterministic; a test compares them exactly, so that a change of cost is a change of a reviewed file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from node.chain.evm import GAS_NONZERO, GAS_TX, GAS_ZERO, Call
from protocol.constants import BOND_PER_ENTRY, TICKET_UNIT
from protocol.contracts.artifacts import artifact, call_data
from protocol.load import encode_expects
from protocol.table import Core, Entry, encode_core, encode_triggers
from protocol.types import ZERO_ADDRESS, ZERO_HASH
from tests.support import tools
from tests.support.evmworld import VIEWER, Contract
from tests.support.marketworld import ack_bytes, agree, settle_bytes
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import (
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    direct,
    l1_call,
    load_header,
)

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
    """Tables of one and of two entries that are answered at once, and the call that meets one."""
    point = made.world.snapshot()
    bond = BOND_PER_ENTRY
    figures = {}
    for count in (1, 2):
        core = made.open_core([direct(made, 1, 1001 + i, bytes((i,))) for i in range(count)])
        data = call_data("IRollups", "loadL2Executions", abi_executions(core), load_header(core) + made.proofs(core))
        figures[f"load_{count}"] = used(made, made.rollups, data, made.stranger, bond * count)
    core = made.open_core([direct(made, 1, 1001, b"\x00")])
    arguments = (abi_executions(core), load_header(core) + made.proofs(core))
    made.rollups.send("loadL2Executions", *arguments, sender=made.stranger, value=bond)
    figures["open_call"] = used(made, made.rollups, call_data("IRollups", "callL2", 1, PROGRAM, b"\x00"), made.user)
    made.world.restore(point)
    return figures


def transient(made: Setup) -> dict[str, int]:
    """Loads without proofs to check (a system that accepts all), by entries and rollups."""

    def chain(count: int, members: tuple[int, ...]) -> int:
        entries = []
        for i in range(count):
            trigger = l1_call(made.user, members[i % len(members)], data=bytes((i,)) * 36)
            entries.append(Entry(mid=False, new_root=5000 + i, trigger=trigger, next_action=answer(trigger, bytes(32))))
        core = made.open_core(entries, members=members)
        return used(made, made.rollups, loading(core, made.proofs(core), (), b""), made.user)

    return {
        "load_1_entry_1_rollup": chain(1, (1,)),
        "load_2_entries_1_rollup": chain(2, (1,)),
        "load_8_entries_1_rollup": chain(8, (1,)),
        "load_8_entries_2_rollups": chain(8, (1, 2)),
    }


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
    agreement = agree(made, proven.who, proven.core)
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
        for name in ("Rollups", "RollupsAdmin", "TableReader", "ProofMarket", "Groth16ProofSystem", "CrossChainProxy")
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
    return {
        "two_entries_groth16_settled": flow(proven),
        "transient_lane": transient(proven.made),
        "persistent_lane": persistent(proven.made),
        "market": market(proven),
        "setup": setup_costs(proven),
    }


def main(path: Path = GAS_FILE) -> None:
    """Write the file."""
    path.write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
