"""The development ledger's own rules: blocks, time, pool and logs, without a server."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_typing import Address
from hypothesis import given
from hypothesis import strategies as st

from node.chain.devledger import GAS_LIMIT, DevLedger, LedgerRefusal
from node.chain.evm import Call

KEY = b"\x11" * 32
SENDER = bytes.fromhex(Account.from_key(KEY).address[2:])
PAYEE = b"\x22" * 20
GWEI = 10**9
LOGS_CALLDATA = bytes.fromhex("5f355f5fa1")  # LOG1 with the first word as topic


class Clock:
    """Seconds that the test sets."""

    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Starts at a million."""
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> DevLedger:
    """One rich account."""
    return DevLedger(chain_id=5, balances_wei={SENDER: 10**20}, clock=clock)


def pay(ledger: DevLedger, nonce: int, **fields: object) -> bytes:
    """Submit a transfer; its hash."""
    return ledger.submit(raw(nonce, **fields))


def raw(nonce: int, **fields: object) -> bytes:
    """A signed transfer of 1 wei."""
    transaction: dict[str, object] = {"type": 2, "chainId": 5, "nonce": nonce, "to": PAYEE, "value": 1, "gas": 21_000}
    transaction |= {"maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI, "data": b"", **fields}
    transaction = {key: value for key, value in transaction.items() if value is not None}
    return bytes(Account.from_key(KEY).sign_transaction(transaction).raw_transaction)


def balance(ledger: DevLedger, account: bytes, height: int | None = None) -> int:
    """Wei after a block."""
    block = ledger.head if height is None else ledger.block(height)
    assert block is not None
    return ledger.state_at(block).get_balance(Address(account))


def test_each_transaction_is_one_block_and_the_past_stays_readable(ledger: DevLedger) -> None:
    """Height, parent hash, and the balance after each block."""
    for nonce in range(3):
        pay(ledger, nonce)
    assert ledger.head.number == 3
    for height in (1, 2, 3):
        block, parent = ledger.block(height), ledger.block(height - 1)
        assert block is not None
        assert parent is not None
        assert block.header.parent_hash == parent.hash
        assert balance(ledger, PAYEE, height) == height
    assert ledger.block(4) is None
    assert ledger.block(-1) is None


def test_ether_is_conserved_up_to_the_burnt_base_fee(ledger: DevLedger) -> None:
    """Sender's loss = payee's gain + burnt + tip."""
    tx_hash = pay(ledger, 0)
    found = ledger.transaction(tx_hash)
    assert found is not None
    block, mined = found
    burnt = (block.header.base_fee_per_gas or 0) * mined.gas_used
    tip = balance(ledger, bytes(block.header.coinbase))
    assert 10**20 - balance(ledger, SENDER) == 1 + burnt + tip
    assert tip == GWEI * mined.gas_used


def test_a_call_changes_nothing(ledger: DevLedger) -> None:
    """Not even within the block that it runs on."""
    outcome = ledger.call(Call(sender=SENDER, to=PAYEE, value=7), ledger.head)
    assert outcome.succeeded
    assert balance(ledger, PAYEE) == 0


def test_a_nonce_gap_waits_until_it_is_filled(ledger: DevLedger) -> None:
    """Then both are mined in order; too far ahead is refused."""
    later = pay(ledger, 1)
    assert ledger.head.number == 0
    assert ledger.pending(later) is not None
    assert ledger.pending_nonce(SENDER) == 0
    first = pay(ledger, 0)
    assert [ledger.block(1).transactions[0].hash, ledger.block(2).transactions[0].hash] == [first, later]  # type: ignore[union-attr]
    with pytest.raises(LedgerRefusal, match="nonce too high"):
        pay(ledger, 67)
    with pytest.raises(LedgerRefusal, match="already known"):
        pay(ledger, 1)


def test_a_transaction_below_the_base_fee_waits(ledger: DevLedger) -> None:
    """It is mined when the base fee has fallen to it."""
    price = ledger.next_base_fee_wei() * 9 // 10
    pay(ledger, 0, maxFeePerGas=price, maxPriorityFeePerGas=0)
    assert ledger.head.number == 0
    ledger.mine()
    assert ledger.head.transactions == ()
    assert ledger.next_base_fee_wei() <= price
    ledger.mine()
    assert len(ledger.head.transactions) == 1


def test_a_block_takes_no_more_gas_than_its_limit(ledger: DevLedger) -> None:
    """Three transactions of half a block each need two blocks."""
    ledger.automine = False
    for nonce in range(3):
        pay(ledger, nonce, gas=GAS_LIMIT // 2)
    assert [len(ledger.mine().transactions) for _ in range(2)] == [3, 0]  # each uses only 21,000
    for nonce in range(3, 6):
        pay(ledger, nonce, gas=GAS_LIMIT)
    assert [len(ledger.mine().transactions) for _ in range(4)] == [1, 1, 1, 0]


def test_timestamps_follow_the_clock_and_never_go_back(ledger: DevLedger, clock: Clock) -> None:
    """A burst shares a second; an offset and a fixed timestamp carry on."""
    assert [ledger.mine().header.timestamp for _ in range(2)] == [1_000_000, 1_000_000]
    clock.now -= 100
    assert ledger.mine().header.timestamp == 1_000_000
    clock.now += 150
    assert ledger.mine().header.timestamp == 1_000_050
    ledger.increase_time(1_000)
    assert ledger.mine().header.timestamp == 1_001_050
    ledger.set_next_timestamp(2_000_000)
    assert ledger.mine().header.timestamp == 2_000_000
    clock.now += 1
    assert ledger.mine().header.timestamp == 2_000_001
    with pytest.raises(LedgerRefusal):
        ledger.mine(timestamp=1_999_999)


def test_revert_restores_pool_time_and_indices(ledger: DevLedger) -> None:
    """A snapshot serves once, and takes the later ones with it."""
    deployed = ledger.call(Call(sender=SENDER, to=None, data=_deploying(LOGS_CALLDATA)), ledger.head)
    assert deployed.created is not None
    pay(ledger, 0, to=b"", data=_deploying(LOGS_CALLDATA), gas=200_000)
    contract = deployed.created
    pay(ledger, 1, to=contract, data=b"\x01" * 32, gas=50_000)
    assert len(ledger.logs(0, 9, frozenset({contract}), ())) == 1
    ledger.automine = False
    kept = pay(ledger, 2)
    first, second = ledger.snapshot(), ledger.snapshot()
    ledger.increase_time(500)
    ledger.mine()
    pay(ledger, 3, to=contract, data=b"\x02" * 32, gas=50_000)
    ledger.mine()
    assert len(ledger.logs(0, 9, frozenset({contract}), ())) == 2
    assert ledger.revert(first) is True
    assert ledger.head.number == 2
    assert ledger.pending(kept) is not None
    assert len(ledger.logs(0, 9, frozenset({contract}), ())) == 1
    assert ledger.revert(first) is False
    assert ledger.revert(second) is False
    pay(ledger, 3, to=contract, data=b"\x03" * 32, gas=50_000)
    assert ledger.mine().header.timestamp == 1_000_000
    assert ledger.transaction(kept) is not None
    # A log at a height below that of a forgotten one is found by its height.
    assert [found.log.topics for _, found in ledger.logs(3, 3, frozenset({contract}), ())] == [(b"\x03" * 32,)]
    assert len(ledger.logs(0, 9, frozenset(), (frozenset({b"\x01" * 32}),))) == 1
    assert ledger.logs(0, 9, frozenset(), (frozenset({b"\x02" * 32}),)) == []


def test_a_query_with_too_many_logs_is_refused(clock: Clock) -> None:
    """The answer is bounded."""
    ledger = DevLedger(chain_id=5, balances_wei={SENDER: 10**20}, clock=clock, max_logs=1)
    pay(ledger, 0, to=b"", data=_deploying(LOGS_CALLDATA), gas=200_000)
    found = ledger.transaction(ledger.head.transactions[0].hash)
    assert found is not None
    contract = found[1].created
    assert contract is not None
    pay(ledger, 1, to=contract, data=b"\x01" * 32, gas=50_000)
    assert len(ledger.logs(0, 9, frozenset(), ())) == 1
    pay(ledger, 2, to=contract, data=b"\x01" * 32, gas=50_000)
    with pytest.raises(LedgerRefusal):
        ledger.logs(0, 9, frozenset(), ())


LEGACY = {"type": None, "gasPrice": 5 * GWEI, "maxFeePerGas": None, "maxPriorityFeePerGas": None}
WITH_ACCESS_LIST = {
    **LEGACY,
    "type": 1,
    "accessList": [{"address": "0x" + PAYEE.hex(), "storageKeys": ["0x" + "01" * 32]}],
}
SHARED = DevLedger(chain_id=5, balances_wei={SENDER: 10**20}, clock=lambda: 1)


@given(form=st.sampled_from([{}, LEGACY, WITH_ACCESS_LIST]), position=st.integers(0, 400), change=st.integers(1, 255))
def test_a_changed_byte_never_moves_the_signers_ether(form: dict[str, object], position: int, change: int) -> None:
    """It is malformed, or it is somebody else's transaction, who has nothing."""
    changed = bytearray(raw(0, gas=100_000, **form))
    changed[position % len(changed)] ^= change
    with pytest.raises(LedgerRefusal):
        SHARED.submit(bytes(changed))
    assert balance(SHARED, SENDER) == 10**20


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Whatever they decode to."""
    with pytest.raises(LedgerRefusal):
        SHARED.submit(data)


@pytest.mark.parametrize("form", [LEGACY, WITH_ACCESS_LIST])
def test_older_transaction_forms_are_mined(ledger: DevLedger, form: dict[str, object]) -> None:
    """Legacy and EIP-2930."""
    pay(ledger, 0, gas=100_000, **form)
    assert balance(ledger, PAYEE) == 1


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x7f", b"\xc0", b"\x03\xc0", b"\x02\xf8", bytes(131_073)])
def test_junk_is_refused(ledger: DevLedger, data: bytes) -> None:
    """Empty, unknown type, wrong shape, oversize."""
    with pytest.raises(LedgerRefusal):
        ledger.submit(data)


def _deploying(code: bytes) -> bytes:
    """Initcode that deploys up to 32 bytes of code."""
    return b"\x60" + bytes([len(code)]) + bytes.fromhex("80600b5f395ff3") + bytes(2) + code
