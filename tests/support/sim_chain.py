"""One account's L1 in a simulated market: what `node.ports.Chain` asks, answered from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import trio

from node.chain.sender import SignedTransaction
from node.ports import AgreementView, ChainCall, ForcedRelease, InThread, Landing, PlannedTable, Prepared, TryAgain
from node.store.transactions import TransactionStore
from protocol.agreement import Agreement
from protocol.hashing import keccak256
from tests.support.market_ledger import ROLLUPS, Ledger, TestClock
from tests.support.sim_network import OnAct, nothing

FINAL_S: Final = 300
NO_ANSWER: Final = "CHN-002"
FEE_TOO_HIGH: Final = "CHN-024"


class LedgerChain:
    """One account's view of the ledger. What is prepared survives restarts, as stored transactions do."""

    def __init__(
        self,
        ledger: Ledger,
        account: bytes,
        clock: TestClock,
        prepared: dict[str, ChainCall],
        *,
        transactions: TransactionStore | None = None,
        in_thread: InThread | None = None,
        on_act: OnAct = nothing,
        confirm_s: int = 0,
    ) -> None:
        """
        Args:
            prepared: what was signed, by purpose; where `transactions` are given it is what they hold.
            confirm_s: age of a block before what is in it is believed.
        """
        self._ledger = ledger
        self._account = account
        self._clock = clock
        self._prepared = prepared
        self._transactions = transactions
        self._in_thread = in_thread
        self._one_at_a_time = trio.Lock()
        if transactions is not None:
            prepared.clear()
            prepared |= {
                each.purpose: ChainCall(purpose=each.purpose, to=ROLLUPS, data=each.raw)
                for each in transactions.open(account)
            }
        self._released = set() if transactions is None else set(transactions.released())
        self._on_act = on_act
        self._confirm_s = confirm_s

    async def _asked(self) -> None:
        """A call of the RPC endpoint; all others wait behind it."""
        await trio.lowlevel.checkpoint()
        self._ledger.mine(self._now_s())
        if self._ledger.random.random() < self._ledger.rpc_errors:
            raise TryAgain(NO_ANSWER)

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """For gossip validation."""
        return self._ledger.tickets.get((owner, ticket))

    async def ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """As `node.ports.Chain`; also the next methods."""
        await self._asked()
        return self._ledger.tickets.get((owner, ticket))

    async def promise_wei(self, owner: bytes, ticket: int) -> int | None:
        """The ledger's tickets are of a class of twice what they hold."""
        return await self.ticket_wei(owner, ticket)

    async def is_paid(self, agreement: Agreement, agreement_hash: bytes, core: bytes) -> bool:
        """The ledger's requests have one table each."""
        await self._asked()
        request = (agreement.requester, agreement.request_id)
        is_deep = self._ledger.settled_s.get(request, 0) + self._confirm_s <= self._now_s()
        return is_deep and self._ledger.settled.get(request) == agreement_hash

    async def holds(self, core: bytes) -> bool:
        """Unless the test says otherwise."""
        await self._asked()
        return core not in self._ledger.moved

    async def runs(self, plan: PlannedTable) -> bool:
        """Unless the test says otherwise."""
        await self._asked()
        return plan.core not in self._ledger.answered_otherwise

    async def spent_for(self, owner: bytes, ticket: int) -> tuple[bytes, bytes] | None:
        """As L1's calldata would show."""
        await self._asked()
        return self._ledger.spent.get((owner, ticket))

    async def agreement(self, agreement_hash: bytes) -> AgreementView:
        """What has become of it."""
        await trio.lowlevel.checkpoint()
        return self._ledger.view(agreement_hash)

    async def forced_releases(self, prover: bytes) -> tuple[ForcedRelease, ...]:
        """Of one prover."""
        await trio.lowlevel.checkpoint()
        return tuple(release for owner, release in self._ledger.forced.values() if owner == prover)

    async def changed_config(self, core: bytes, after: int, until: int) -> tuple[int, int] | None:
        """The rollup of every toy table is number 1."""
        await trio.lowlevel.checkpoint()
        return (1, 1) if after < self._ledger.replaced.get(core, 0) <= until else None

    async def cost_wei(self, call: ChainCall) -> int:
        """The same for all."""
        await trio.lowlevel.checkpoint()
        return self._ledger.gas_wei

    async def is_slashed(self, agreement_hash: bytes) -> bool:
        """Whether the bond is gone."""
        await self._asked()
        return agreement_hash in self._ledger.slashed

    async def prepare(self, call: ChainCall) -> Prepared:
        """The same purpose gives the same transaction."""
        await self._asked()
        if self._now_s() < self._ledger.fees_high_until_s and call.purpose not in self._prepared:
            raise TryAgain(FEE_TOO_HIGH)
        word = call.purpose.split()[0]
        self._on_act(f"before sign {word}")
        async with self._one_at_a_time:  # as in `node.chain.sender.Sender`: each has its nonce
            if call.purpose not in self._prepared:
                await self._persist(call)
            stored = self._prepared.setdefault(call.purpose, call)
        self._on_act(f"after sign {word}")
        raw = b"signed by " + self._account + stored.data
        return Prepared(tx_hash=keccak256(raw), raw=raw)

    async def sign_aside(self, call: ChainCall) -> Prepared:
        """The same bytes as if it were prepared."""
        await trio.lowlevel.checkpoint()
        raw = b"signed by " + self._account + call.data
        return Prepared(tx_hash=keccak256(raw), raw=raw)

    def latest(self, purpose: str) -> Prepared | None:
        """What was prepared; fees are never raised here."""
        stored = self._prepared.get(purpose)
        if stored is None:
            return None
        raw = b"signed by " + self._account + stored.data
        return Prepared(tx_hash=keccak256(raw), raw=raw)

    async def _persist(self, call: ChainCall) -> None:
        if self._transactions is None or self._in_thread is None:
            return
        signed = SignedTransaction(
            purpose=call.purpose,
            account=self._account,
            nonce=int.from_bytes(keccak256(call.purpose.encode())[:6], "big"),  # one for each, over all restarts
            tx_hash=keccak256(call.data),
            raw=call.data,
            max_fee_wei=1,
            tip_wei=1,
        )
        await self._in_thread(partial(self._transactions.add, signed))

    async def forget_final(self, live: Callable[[], Collection[str]]) -> None:
        """Forgets transactions that are deep and that no live order names, as `node.txwatch` does, until cancelled."""
        while self._transactions is not None and self._in_thread is not None:
            await trio.sleep(FINAL_S)
            for each in self._ledger.mined:
                account, purpose = each.key
                is_final = each.at_s + FINAL_S <= self._now_s() and purpose.split()[1] not in live()
                if account == self._account and is_final and self._prepared.pop(purpose, None) is not None:
                    await self._in_thread(partial(self._transactions.finish, purpose))

    async def send(self, purpose: str) -> None:
        """Executes at once; a second time it is known already."""
        await trio.lowlevel.checkpoint()
        if self._account in self._ledger.ignored:
            return
        is_silent = self._ledger.random.random() < self._ledger.rpc_errors
        if is_silent and self._ledger.random.random() < 0.5:
            raise TryAgain(NO_ANSWER)
        word = purpose.split()[0]
        if self._transactions is not None and self._in_thread is not None and purpose not in self._released:
            await self._in_thread(partial(self._transactions.release, purpose, self._clock.now_ms()))
            self._released.add(purpose)
        self._on_act(f"before send {word}")
        if self._ledger.forgets:
            self._ledger.forgets -= 1
        else:
            self._ledger.take((self._account, purpose), self._prepared[purpose].data, self._now_s())
        self._on_act(f"after send {word}")
        if is_silent:
            raise TryAgain(NO_ANSWER)

    async def landing(self, purpose: str) -> Landing:
        """How it went."""
        await self._asked()
        key = (self._account, purpose)
        if any(each.key == key and each.at_s + self._confirm_s > self._now_s() for each in self._ledger.mined):
            return Landing.UNKNOWN
        return self._ledger.sent.get(key, Landing.UNKNOWN)
