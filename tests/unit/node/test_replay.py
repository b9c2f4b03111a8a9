"""Replay of logs: what rebuilds a rollup, what faults it, and how blocks are taken back."""

from __future__ import annotations

from dataclasses import replace

from eth_abi.abi import encode

from node.chain.records import Log
from node.l1 import ScopeReverted, event_from_log
from node.replay import MAX_ROLLBACK_BLOCKS, Loaded, RollupLog, read_events
from protocol.constants import MAX_TABLE_BLOCKS
from protocol.contracts.artifacts import abi_type, artifact, signature
from protocol.hashing import keccak256
from protocol.table import Core, core_id, encode_core
from protocol.types import Address, Hash32
from protocol.vm.genesis import Genesis, encode_genesis, state_from_genesis
from protocol.vm.programs import counter_account
from tests.support.machines import oracle_state, oracle_table
from tests.support.scene import COUNTER

ROLLUPS = Address(bytes(19) + b"\x07")


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


def _loaded(core: Core, lane: int = 1) -> Log:
    packed = encode_core(core)
    return _log("TableLoaded", coreId=core_id(packed), lane=lane, core=packed, payee=bytes(20), agreementHash=bytes(32))


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


def test_a_core_of_one_transaction_is_forgotten_with_it_and_a_persistent_one_when_it_is_over() -> None:
    """Else memory grows with the chain."""
    log, core = _oracle_log()
    log.apply(1, b"1", [_loaded(core, lane=0), _consumed(core, 0)])

    assert log.core_count == 0
    assert log.apply(2, b"2", [_consumed(core, 1)]).rollups[1].fault == "entry: UNKNOWN_CORE"

    kept, core = _oracle_log()
    kept.apply(1, b"1", [_loaded(core)])
    kept.apply(MAX_TABLE_BLOCKS, b"2", [])
    assert kept.core_count == 1
    kept.apply(2 + MAX_TABLE_BLOCKS + MAX_ROLLBACK_BLOCKS, b"3", [])
    assert kept.core_count == 0


def test_a_core_from_before_the_log_began_is_named_and_supplied() -> None:
    """A rollup that was taken over may consume a table that was loaded earlier."""
    start = replace(RollupLog().apply(0, b"0", [_created(*_good())]).rollups[1], state=oracle_state())
    core = oracle_table(oracle_state())
    log, events = RollupLog({1: start}, number=7), read_events([_consumed(core, 0)])
    assert log.unknown_cores(events) == {core_id(encode_core(core))}
    assert log.unknown_cores(read_events([_of_rollup(_consumed(core, 0), 2)])) == frozenset()
    assert log.unknown_cores(read_events([_loaded(core, lane=0), _consumed(core, 0)])) == frozenset()

    (load,) = read_events([_loaded(core)])
    assert isinstance(load, Loaded)
    log.supply(3, load)

    assert log.unknown_cores(events) == frozenset()
    assert log.apply(8, b"8", [_consumed(core, 0)]).rollups[1].fault is None
    assert log.rollback(7)
    assert log.apply(8, b"8", [_consumed(core, 0)]).rollups[1].entries == 1


def test_a_rollup_is_known_as_it_was_after_recent_blocks() -> None:
    log, core = _oracle_log()
    log.apply(1, b"1", [_loaded(core), _consumed(core, 0)])
    log.apply(3, b"3", [_consumed(core, 1)])

    before, first, second = (log.at(1, number) for number in (0, 2, 3))

    assert [0, 1, 2] == [each.entries for each in (before, first, second) if each is not None]
    assert log.at(2, 3) is None


def test_a_turn_whose_block_was_taken_back_counts_for_nothing() -> None:
    log, core = _oracle_log()
    before = log.latest.rollups[1]
    log.note(1, b"1", read_events([_loaded(core), _consumed(core, 0), _consumed(core, 1)]))
    turn = log.turn(1)
    assert turn is not None
    assert log.turn(1) is None  # one at a time
    assert log.rollback(0)

    assert not log.finish(turn, turn.run())
    assert log.latest.rollups[1] == before
    assert (log.waiting, log.ready()) == (0, ())


def test_a_turn_survives_a_rollback_above_its_block() -> None:
    log, core = _oracle_log()
    log.note(1, b"1", read_events([_loaded(core), _consumed(core, 0)]))
    log.note(2, b"2", read_events([_consumed(core, 1)]))
    turn = log.turn(1)
    assert turn is not None
    assert log.rollback(1)

    assert log.finish(turn, turn.run())
    assert log.latest.rollups[1].entries == 1
    assert log.waiting == 0


def test_the_rollup_that_used_least_time_goes_first() -> None:
    log, core = RollupLog(), oracle_table(oracle_state())
    log.note(1, b"1", read_events([_created(*_good(), 1), _created(*_good(), 2)]))
    for spent_s in (9.0, 1.0):
        turn = log.turn(log.ready()[0])
        assert turn is not None
        log.finish(turn, turn.run(), spent_s)
    for number in (2, 3):
        events = [_loaded(core), _consumed(core, 0), _of_rollup(_consumed(core, 0), 2)]
        log.note(number, b"2", read_events(events))

    assert log.ready() == (2, 1)


def _of_rollup(log: Log, rollup_id: int) -> Log:
    """The same log about another rollup."""
    return replace(log, topics=(*log.topics[:2], rollup_id.to_bytes(32, "big")))


def test_a_reverted_scope_is_read_from_its_log() -> None:
    """It changes no state by itself: the entry that continues does, and its log follows."""
    log = _log("ScopeReverted", coreId=b"\x05" * 32, index=3, rollupId=7)
    assert event_from_log(log) == ScopeReverted(core_id=Hash32(b"\x05" * 32), index=3, rollup_id=7)
    replay = RollupLog()
    assert replay.apply(1, b"1" * 32, [log]).rollups == {}
