"""Replay of logs: what rebuilds a rollup, what faults it, and how blocks are taken back."""

from __future__ import annotations

from dataclasses import replace

from eth_abi.abi import encode

from node.chain.records import Log
from node.follower import RollupLog
from protocol.contracts.artifacts import abi_type, artifact, signature
from protocol.hashing import keccak256
from protocol.table import Core, core_id, encode_core
from protocol.types import Address
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
