"""What a ready transaction must be to be pooled, each refusal by its own reason; and what a block then gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import rlp  # type: ignore[import-untyped]
from trio.testing import MockClock

from market.ready_pool import ReadyTx
from node.ports import Refused, TryAgain
from node.rawtx import MAX_S
from node.readypool import ReadyKeeper
from node.readytx import MAX_GAS
from tests.support.market_ledger import START_MS
from tests.support.readyworld import GWEI, START_ROOT, USERS, DictL1, address_of, keeper_on, signed, table

T = TypeVar("T")
NOW_S = START_MS // 1000
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


async def admit(keeper: ReadyKeeper, raw: bytes) -> ReadyTx:
    """All checks."""
    call = keeper.read(raw)
    return await keeper.admit(call, table_id=call.tx_hash[::-1], is_sealed=False)


async def test_a_good_transaction_is_pooled_with_what_it_does(autojump_clock: MockClock) -> None:
    """Sender, fees, moves and gas are those of the bytes and of the local run."""
    keeper = keeper_on(DictL1())
    tx = await admit(keeper, signed())

    assert (tx,) == keeper.pool.txs
    assert (address_of(USERS[0]), 0, GWEI, 20 * GWEI) == (tx.sender, tx.nonce, tx.tip_wei, tx.max_fee_wei)
    assert [(1, START_ROOT, START_ROOT + 1)] == [(m.rollup_id, m.pre_root, m.post_root) for m in tx.moves]
    assert 500_000 == tx.gas_used


def mangled(kind: str) -> bytes:
    """A transaction that is wrong before L1 is asked."""
    raw = signed()
    fields = rlp.decode(raw[1:])
    match kind:
        case "empty":
            return b""
        case "type":
            return b"\x01" + raw[1:]
        case "trailing":
            return raw + b"\0"
        case "signature":
            return b"\x02" + bytes(rlp.encode([*fields[:10], b"", fields[11]]))
        case "high s":
            s = CURVE_ORDER - int.from_bytes(fields[11], "big")
            assert s > MAX_S
            flipped = b"" if fields[9] else b"\x01"
            return b"\x02" + bytes(rlp.encode([*fields[:9], flipped, fields[10], s.to_bytes(32, "big")]))
        case "access list":
            return signed(accessList=[{"address": "0x" + "11" * 20, "storageKeys": []}])
        case "too large":
            return b"\x02" + bytes(1 << 17)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["empty", "type", "trailing", "signature", "high s", "access list", "too large"])
def test_what_is_no_transaction_is_refused_first(kind: str) -> None:
    """READY_FORM, whatever is wrong."""
    with pytest.raises(Refused) as refused:
        keeper_on(DictL1()).read(mangled(kind))

    assert "READY_FORM" == refused.value.code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (signed(chainId=1), "READY_CHAIN"),
        (signed(to=b"\x01" * 20), "READY_TARGET"),
        (signed(gas=MAX_GAS + 1), "READY_GAS"),
        (signed(data=b""), "READY_CALL"),
        (signed(data=signed()[:4]), "READY_CALL"),
        (signed(maxPriorityFeePerGas=GWEI, maxFeePerGas=GWEI - 1), "READY_FORM"),
    ],
)
def test_what_is_no_load_of_this_chain_is_refused(raw: bytes, code: str) -> None:
    """Still without L1."""
    with pytest.raises(Refused) as refused:
        keeper_on(DictL1()).read(raw)

    assert code == refused.value.code


@pytest.mark.parametrize(
    ("l1", "changed", "code"),
    [
        (DictL1(nonces={address_of(USERS[0]): 1}), {}, "READY_NONCE"),
        (DictL1(), {"nonce": 8}, "READY_NONCE"),
        (DictL1(balances={address_of(USERS[0]): 600_000 * 20 * GWEI - 1}), {}, "READY_BALANCE"),
        (DictL1(balances={address_of(USERS[0]): 600_000 * 20 * GWEI}), {"value": 1}, "READY_BALANCE"),
        (DictL1(base_fee_wei=20 * GWEI + 1), {}, "READY_FEE"),
        (DictL1(roots={2: 0}), {}, "READY_ROLLUP"),
        (DictL1(roots={1: START_ROOT + 5}), {}, "READY_ORPHAN"),
    ],
)
async def test_what_l1_would_not_take_is_refused(
    l1: DictL1, changed: dict[str, Any], code: str, autojump_clock: MockClock
) -> None:
    """Before a proof is looked at and anything is run."""
    keeper = keeper_on(l1)
    with pytest.raises(Refused) as refused:
        await admit(keeper, signed(**changed))

    assert code == refused.value.code
    assert [] == l1.runs
    assert () == keeper.pool.txs


async def test_a_wrong_proof_is_refused_before_anything_is_run(autojump_clock: MockClock) -> None:
    """Verifying costs less than running."""
    l1 = DictL1()
    good, other = keeper_on(l1).read(signed()), keeper_on(l1).read(signed(table(post_root=7)))
    with pytest.raises(Refused) as refused:
        await keeper_on(l1).admit(replace(good, proofs=other.proofs), table_id=bytes(32), is_sealed=False)

    assert "INVALID_PROOF" == refused.value.code
    assert [] == l1.runs


async def test_a_transaction_that_fails_or_is_over_is_refused(autojump_clock: MockClock) -> None:
    """By the local run, and by the table's own time."""
    raw = signed()
    failing = keeper_on(DictL1(fails={keeper_on(DictL1()).read(raw).tx_hash}))
    with pytest.raises(Refused, match="READY_FAILS"):
        await admit(failing, raw)
    with pytest.raises(Refused, match="READY_OVER"):
        await admit(keeper_on(DictL1()), signed(replace(table(), valid_until=NOW_S - 1)))
    with pytest.raises(TryAgain):
        await admit(keeper_on(DictL1(is_away=True)), raw)


async def test_one_that_follows_on_another_is_run_after_it(autojump_clock: MockClock) -> None:
    """Its root is not L1's; the pool leads there. A block gets both, or the first if the second pays more."""
    l1 = DictL1()
    keeper = keeper_on(l1)
    on_it = table(pre_root=START_ROOT + 1, post_root=START_ROOT + 2)
    follower = signed(on_it, USERS[1], maxPriorityFeePerGas=GWEI // 2)
    with pytest.raises(Refused, match="READY_ORPHAN"):
        await admit(keeper, follower)
    first = await admit(keeper, signed())
    second = await admit(keeper, follower)

    assert (first.tx_hash, second.tx_hash) == l1.runs[-1]
    assert (first, second) == (await keeper.choose(NOW_S)).txs


async def test_a_block_leaves_out_what_fails_in_its_place(autojump_clock: MockClock) -> None:
    """The graph knows roots only; the run finds the rest, and the others stay."""
    l1 = DictL1()
    keeper = keeper_on(l1)
    bad = await admit(keeper, signed(maxPriorityFeePerGas=3 * GWEI))
    good = await admit(keeper, signed(table(post_root=START_ROOT + 9), USERS[1]))
    assert (bad,) == (await keeper.choose(NOW_S)).txs
    l1.fails = {bad.tx_hash}

    assert (good,) == (await keeper.choose(NOW_S)).txs


async def test_used_nonces_leave_the_pool_when_l1_is_looked_at(autojump_clock: MockClock) -> None:
    """Landed, or another one of the account did."""
    l1 = DictL1()
    keeper = keeper_on(l1)
    tx = await admit(keeper, signed())
    l1.nonces[tx.sender] = 1

    assert () == (await keeper.choose(NOW_S)).txs
    assert () == keeper.pool.txs


async def test_what_is_pushed_out_while_a_block_is_chosen_does_no_harm(autojump_clock: MockClock) -> None:
    """Somebody replaces the transaction between the choice and the run; the block is of the moment of the choice."""
    l1 = DictL1()
    keeper = keeper_on(l1)
    old = await admit(keeper, signed())
    new = keeper.read(signed(maxPriorityFeePerGas=2 * GWEI, maxFeePerGas=40 * GWEI))

    async def busy(function: Callable[[], T]) -> T:
        await keeper.admit(new, table_id=bytes(32), is_sealed=False)
        return function()

    keeper._compute = busy

    assert (old,) == (await keeper.choose(NOW_S)).txs
    assert [new.tx_hash] == [tx.tx_hash for tx in keeper.pool.txs]
