"""Replay of logs: what rebuilds a rollup, what faults it, and how blocks are taken back."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import cast

import pytest
import trio
from eth_abi.abi import encode

from node.chain.records import Block, Log
from node.chain.rpc import Rpc
from node.follower import Follower, RollupLog
from node.l1 import ScopeReverted, event_from_log
from protocol.contracts.artifacts import abi_type, artifact, signature
from protocol.hashing import keccak256
from protocol.table import Core, core_id, encode_core
from protocol.types import Address, Hash32
from protocol.vm.genesis import Genesis, encode_genesis, state_from_genesis
from protocol.vm.programs import counter_account
from tests.support.machines import oracle_state, oracle_table
from tests.support.scene import COUNTER

ROLLUPS = Address(bytes(19) + b"\x07")
BLOCK = Block(
    number=1,
    hash=b"1" * 32,
    parent_hash=bytes(32),
    timestamp=0,
    base_fee_wei=0,
    gas_limit=0,
    gas_used=0,
    coinbase=bytes(20),
    prev_randao=bytes(32),
)


def _log(event: str, **values: object) -> Log:
    (item,) = (i for i in artifact("IRollups").abi if i["type"] == "event" and i["name"] == event)
    topics, kinds, plain = [keccak256(signature(item).encode())], [], []
    for each in item["inputs"]:
        if each["indexed"]:
            topics.append(encode([abi_type(each)], [values[each["name"]]]))
        else:
            kinds.append(abi_type(each))
            plain.append(values[each["name"]])
    return Log(
        address=ROLLUPS,
        topics=tuple(topics),
        data=encode(kinds, plain),
        block_number=1,
        block_hash=bytes(32),
        tx_hash=bytes(32),
        tx_index=0,
        log_index=0,
    )


def _created(genesis: bytes, root: int, rollup_id: int = 1) -> Log:
    return _log(
        "RollupCreated",
        rollupId=rollup_id,
        genesisRoot=root.to_bytes(32, "big"),
        genesis=genesis,
        owner=bytes(20),
        configDelay=0,
        systems=[bytes(20)],
        families=[bytes(32)],
        threshold=1,
    )


def _counter_genesis() -> Genesis:
    return Genesis(accounts=(counter_account(COUNTER),))


def _good() -> tuple[bytes, int]:
    return encode_genesis(_counter_genesis()), state_from_genesis(_counter_genesis()).root


def _loaded(core: Core) -> Log:
    packed = encode_core(core)
    return _log("TableLoaded", coreId=core_id(packed), lane=0, core=packed, payee=bytes(20), agreementHash=bytes(32))


def _consumed(core: Core, index: int, root: int | None = None) -> Log:
    entry = core.entries[index]
    return _log(
        "ExecutionConsumed",
        coreId=core_id(encode_core(core)),
        index=index,
        rollupId=entry.owner,
        newRoot=(entry.new_root if root is None else root).to_bytes(32, "big"),
        epoch=1,
    )


def test_genesis_that_gives_its_root_is_followed() -> None:
    log = RollupLog()

    followed = log.apply(1, b"1", [_created(*_good())]).rollups[1]

    assert followed.fault is None
    assert followed.state is not None
    assert followed.state.root == _good()[1]


def test_genesis_with_another_root_or_bytes_is_a_fault_of_that_rollup_only() -> None:
    log, (genesis, root) = RollupLog(), _good()

    rollups = log.apply(
        1, b"1", [_created(genesis, root + 1, 1), _created(genesis + b"\0", root, 2), _created(genesis, root, 3)]
    ).rollups

    assert rollups[1].fault == "genesis: ROOT_MISMATCH"
    assert rollups[2].fault == "genesis: PRO-010"
    assert rollups[3].fault is None


def _oracle_log() -> tuple[RollupLog, Core]:
    start = replace(RollupLog().apply(0, b"0", [_created(*_good())]).rollups[1], state=oracle_state())
    # The sample's state instead of a genesis, which is tested above.
    return RollupLog({1: start}), oracle_table(oracle_state())


def test_consumed_entries_move_the_state_to_the_logged_roots() -> None:
    log, core = _oracle_log()

    followed = log.apply(1, b"1", [_loaded(core), _consumed(core, 0), _consumed(core, 1)]).rollups[1]

    assert (followed.fault, followed.entries) == (None, 2)
    assert followed.state is not None
    assert followed.state.root == core.entries[1].new_root


def test_an_entry_that_does_not_replay_is_a_fault_and_stays_one() -> None:
    for events in (
        lambda core: [_loaded(core), _consumed(core, 1)],  # the answer before the question
        lambda core: [_consumed(core, 0)],  # a table that was never logged
        lambda core: [_loaded(core), _consumed(core, 0, root=7)],  # another root than the table's
    ):
        log, core = _oracle_log()
        followed = log.apply(1, b"1", events(core)).rollups[1]
        assert followed.state is None
        assert followed.fault is not None
        assert log.apply(2, b"2", [_loaded(core), _consumed(core, 0)]).rollups[1] == followed


def test_blocks_are_taken_back_to_what_was_known_before() -> None:
    log, core = _oracle_log()
    before = log.latest.rollups[1]
    log.apply(1, b"1", [_loaded(core), _consumed(core, 0)])
    log.apply(2, b"2", [_consumed(core, 1)])

    assert log.rollback(-1)
    assert log.latest.rollups[1] == before
    replayed = log.apply(1, b"1'", [_loaded(core), _consumed(core, 0), _consumed(core, 1)]).rollups[1]
    assert replayed.state is not None
    assert replayed.state.root == core.entries[1].new_root


def test_a_rollback_beyond_what_is_kept_says_so() -> None:
    log = RollupLog()
    for number in range(1, 400):
        log.apply(number, b"x", [])

    assert not log.rollback(10)
    assert log.latest.number == 399


def test_a_core_that_does_not_decode_ends_the_rollups_that_it_moves_and_no_node() -> None:
    """Should L1 ever take what this decoder refuses, only what follows from it is lost."""
    log, core = _oracle_log()
    bad = _log("TableLoaded", coreId=b"\x0c" * 32, lane=0, core=b"\x02", payee=bytes(20), agreementHash=bytes(32))

    assert log.apply(1, b"1", [bad, _loaded(core), _consumed(core, 0)]).rollups[1].fault is None
    moved = _log("ExecutionConsumed", coreId=b"\x0c" * 32, index=0, rollupId=1, newRoot=bytes(32), epoch=1)
    assert log.apply(2, b"2", [moved]).rollups[1].fault == "entry: UNKNOWN_CORE"


async def test_an_entry_that_takes_long_to_replay_does_not_hold_the_node_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody's rollup may run 65,536 hashes in one entry; deadlines and peers are served meanwhile."""
    replaying, served = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def slow(_log: RollupLog, _number: int, _hash: bytes, _logs: object) -> None:
        replaying.set()
        in_time.append(served.wait(2))

    monkeypatch.setattr(RollupLog, "apply", slow)
    l1 = _OneBlock()
    follower = Follower(cast(Rpc, l1), ROLLUPS, start_block=1, confirmations=0, poll_s=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.serve)
        while not replaying.is_set():
            await trio.sleep(0)
        served.set()
        while not in_time:
            await trio.sleep(0)
        nursery.cancel_scope.cancel()
    assert in_time[0]


class _OneBlock:
    """An L1 of one block without logs."""

    async def head(self) -> Block:
        return BLOCK

    async def blocks(self, _first: int, _last: int) -> list[Block]:
        return [BLOCK]

    async def block(self, _number: int) -> Block:
        return BLOCK

    async def logs(self, _first: int, _last: int, _addresses: object) -> list[Log]:
        return []


def test_a_reverted_scope_is_read_from_its_log() -> None:
    """It changes no state by itself: the entry that continues does, and its log follows."""
    log = _log("ScopeReverted", coreId=b"\x05" * 32, index=3, rollupId=7)
    assert event_from_log(log) == ScopeReverted(core_id=Hash32(b"\x05" * 32), index=3, rollup_id=7)
    replay = RollupLog()
    assert replay.apply(1, b"1" * 32, [log]).rollups == {}
