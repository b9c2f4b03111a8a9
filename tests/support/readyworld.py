"""Ready transactions for tests: really signed, with real tables, on an L1 that is a few dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio
from eth_account import Account

from market.ready_chain import Account as L1Account
from node.l1 import load_and_run
from node.ports import Clock, Refused, TryAgain
from node.readypool import ReadyHead, ReadyKeeper, Tried
from node.readytx import ReadyCall
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.table import Core, Member, core_id, decode_core, encode_core
from protocol.types import ZERO_HASH, Address, Hash32, RollupId
from tests.support.market_ledger import MARKET, ROLLUPS, START_MS, SYSTEM, TestClock, planned_table, toy_proof
from tests.support.market_sim import inline

GWEI = 10**9
USERS = tuple(bytes([number]) * 32 for number in (0x61, 0x62, 0x63))
"""Private keys."""
START_ROOT = 1_000


def address_of(key: bytes) -> bytes:
    """Account of a private key."""
    return bytes.fromhex(Account.from_key(key).address[2:])


def table(rollup_id: int = 1, pre_root: int = START_ROOT, post_root: int = START_ROOT + 1) -> Core:
    """The oracle table, between other roots."""
    core = decode_core(planned_table().core)
    entries = (*core.entries[:-1], replace(core.entries[-1], new_root=post_root))
    moved = replace(core, lockset=(Member(rollup_id=RollupId(rollup_id), pre_root=pre_root),), entries=entries)
    until = START_MS // 1000 + 600
    return replace(moved, not_before=0, valid_until=until) if rollup_id == 1 else _renumbered(moved, rollup_id, until)


def _renumbered(core: Core, rollup_id: int, until: int) -> Core:
    number = RollupId(rollup_id)
    entries = []
    for entry in core.entries:
        trigger, following = entry.trigger, entry.next_action
        trigger = replace(trigger, rollup_id=number) if trigger.rollup_id == 1 else trigger
        trigger = replace(trigger, source_rollup=number) if trigger.source_rollup == 1 else trigger
        following = replace(following, rollup_id=number) if following.rollup_id == 1 else following
        following = replace(following, source_rollup=number) if following.source_rollup == 1 else following
        entries.append(replace(entry, trigger=trigger, next_action=following))
    return replace(core, entries=tuple(entries), not_before=0, valid_until=until)


def signed(core: Core | None = None, key: bytes = USERS[0], **changed: object) -> bytes:
    """A transaction that loads a table, some of its fields changed."""
    packed = encode_core(core if core is not None else table())
    proof = ProofItem(rollup_id=1, system=Address(SYSTEM), proof=toy_proof(ZERO_HASH, core_id(packed)))
    proofs = encode_proofs(Proofs(payee=Address(b"\x77" * 20), agreement_hash=Hash32(ZERO_HASH), items=(proof,)))
    fields: dict[str, object] = {
        "type": 2,
        "chainId": MARKET.chain_id,
        "nonce": 0,
        "to": ROLLUPS,
        "value": 0,
        "data": load_and_run(packed, proofs, b"\0", b"\0\0", b""),
        "gas": 600_000,
        "maxFeePerGas": 20 * GWEI,
        "maxPriorityFeePerGas": GWEI,
        **changed,
    }
    return bytes(Account.from_key(key).sign_transaction(fields).raw_transaction)


@dataclass
class DictL1:
    """As `node.readypool.ReadyChain`."""

    roots: dict[int, int] = field(default_factory=lambda: {1: START_ROOT, 2: START_ROOT})
    nonces: dict[bytes, int] = field(default_factory=dict)
    balances: dict[bytes, int] = field(default_factory=dict)
    base_fee_wei: int = GWEI
    fails: set[bytes] = field(default_factory=set)
    """Hashes of transactions that fail whatever the roots are."""
    is_away: bool = False
    looks: int = 0
    """Heads that were asked for."""
    runs: list[tuple[bytes, ...]] = field(default_factory=list)

    async def head(self) -> ReadyHead:
        """The only block."""
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise TryAgain("CHN-001")
        self.looks += 1
        return ReadyHead(
            number=1,
            block_hash=bytes(32),
            timestamp=START_MS // 1000,
            base_fee_wei=self.base_fee_wei,
            gas_limit=30_000_000,
        )

    async def account(self, at: ReadyHead, account: bytes) -> L1Account:
        """Rich unless told otherwise."""
        await trio.lowlevel.checkpoint()
        return L1Account(nonce=self.nonces.get(account, 0), balance_wei=self.balances.get(account, 10**18))

    async def root(self, at: ReadyHead, rollup_id: int) -> int:
        """Of a rollup that is there."""
        await trio.lowlevel.checkpoint()
        if rollup_id not in self.roots:
            raise Refused("CHN-012")
        return self.roots[rollup_id]

    async def try_in_order(self, at: ReadyHead, calls: Sequence[ReadyCall], time_s: int) -> tuple[Tried, ...]:
        """Roots move as the tables say, where they stand as the tables say."""
        await trio.lowlevel.checkpoint()
        self.runs.append(tuple(call.tx_hash for call in calls))
        roots, tried = dict(self.roots), []
        for call in calls:
            after = call.core.roots_after(len(call.core.entries) - 1)
            members = [int(member.rollup_id) for member in call.core.lockset]
            works = call.tx_hash not in self.fails and all(
                roots.get(int(member.rollup_id)) == member.pre_root for member in call.core.lockset
            )
            if works:
                roots |= dict(zip(members, after, strict=True))
            tried.append(
                Tried(
                    succeeded=works,
                    gas_used=500_000,
                    roots={r: roots[r] for r in members},
                    why="" if works else "Stale",
                )
            )
        return tuple(tried)

    async def check_proofs(self, call: ReadyCall) -> None:
        """The toy proof system's."""
        await trio.lowlevel.checkpoint()
        if not call.proofs.endswith(toy_proof(ZERO_HASH, core_id(call.core_bytes))):
            raise Refused("INVALID_PROOF")


class StillClock:
    """The same moment, for tests that run in real time."""

    def now_ms(self) -> int:
        """START_MS."""
        return START_MS

    async def sleep_until(self, unix_ms: int) -> None:
        """Nobody waits here."""
        raise AssertionError(unix_ms)


def keeper_on(chain: DictL1, clock: Clock | None = None) -> ReadyKeeper:
    """An empty pool."""
    return ReadyKeeper(
        chain=chain,
        clock=TestClock() if clock is None else clock,
        compute=inline,
        chain_id=MARKET.chain_id,
        rollups=ROLLUPS,
    )
