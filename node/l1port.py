"""L1 for the order loops (`node.ports.Chain`): views, and transactions checked locally before they are signed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import trio

from market.tickets import promise_limit
from node.chain.errors import (
    ChainError,
    NotYetMined,
    Recoverable,
    RpcMisbehaved,
    RpcRefused,
    StateUnproven,
    Superseded,
    TransactionFailed,
    TransactionRefused,
)
from node.chain.evm import Call, Outcome
from node.chain.localevm import Overrides
from node.chain.sender import Payload, Sender, SignedTransaction
from node.l1 import Contracts, event_topic, event_values, load_and_run, settlement_in
from node.planner import ACCEPT_ALL, PLANNING_PAYEE, PLANNING_PROOF
from node.ports import AgreementView, ChainCall, ForcedRelease, Landing, PlannedTable, Prepared, Refused, TryAgain
from node.txwatch import ReleaseBook
from protocol.agreement import Agreement
from protocol.constants import MAX_CLOCK_SKEW_MS
from protocol.contracts.artifacts import decode_revert
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.table import decode_core
from protocol.types import ZERO_HASH

T = TypeVar("T")

WOULD_FAIL = "WOULD_FAIL"
TOO_EARLY = frozenset({"AgreementNotOpen", "NotYetValid"})
"""Reverts that the next block may end: a proof can be faster than the chain's clock."""
GAS_MARGIN_PERCENT = 20  # the state may have moved a little when the transaction lands
MAX_REHEARSED = 256
NO_CODE: Mapping[bytes, bytes] = MappingProxyType({})
FORCED_BLOCKS = 10_000  # more than a term has, with blocks of a second
SETTLE_GAS = 400_000  # Rollups demands this much to be left for the market, although it uses far less


async def asked(question: Callable[[], Awaitable[T]]) -> T:
    """Map the chain client's failures to those that the loops know.

    Raises:
        TryAgain: L1 is away, or its client says that it cannot answer: a limit, a state that is gone.
        Refused: it answered no, for example that there is no such rollup.
    """
    try:
        return await question()
    except (Recoverable, RpcRefused, RpcMisbehaved, StateUnproven) as error:
        raise TryAgain(error.code, str(error)) from error
    except ChainError as error:
        raise Refused(error.code, str(error)) from error


@dataclass(slots=True, kw_only=True)
class L1Port:
    """One account's L1."""

    contracts: Contracts
    sender: Sender
    start_block: int
    confirmations: int
    now_ms: Callable[[], int] = lambda: 0
    """Unix ms. A block to come is not older, which matters where no block came for a while."""
    book: ReleaseBook | None = None
    """Told of each purpose before it is sent for the first time."""
    _rehearsed: dict[bytes, tuple[bytes, bool]] = field(default_factory=dict)
    """Core id -> head, and whether it ran there."""

    async def ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """Wei in a usable ticket, None if there is none."""
        found = await asked(lambda: self.contracts.ticket(owner, ticket))
        usable = found.amount_wei and found.bond_wei and not found.withdrawable_at
        return found.amount_wei if usable else None

    async def promise_wei(self, owner: bytes, ticket: int) -> int | None:
        """Half of the class of a usable ticket, None if there is none."""
        held_wei = await self.ticket_wei(owner, ticket)
        return None if held_wei is None else promise_limit(held_wei)

    async def is_paid(self, agreement: Agreement, agreement_hash: bytes, core: bytes) -> bool:
        """Whether the requester's ticket paid for this core under this agreement."""
        return await asked(lambda: self.contracts.is_paid(agreement, agreement_hash, core))

    async def holds(self, core: bytes) -> bool:
        """Whether the rollups of a packed core stand at its pre-roots."""
        for member in decode_core(core).lockset:
            view = await asked(partial(self.contracts.rollup, member.rollup_id))
            if view.root != member.pre_root:
                return False
        return True

    async def runs(self, plan: PlannedTable) -> bool:
        """Whether this account's transaction with the table would succeed at the head, with proof systems that accept.

        Asked again at the same head it answers from memory.
        """
        head = await asked(self.contracts.rpc.head)
        known = self._rehearsed.get(plan.core_id)
        if known is not None and known[0] == head.hash:
            return known[1]
        items: list[ProofItem] = []
        code: dict[bytes, bytes] = {}
        for member in decode_core(plan.core).lockset:
            view = await asked(partial(self.contracts.rollup, member.rollup_id))
            config = await asked(partial(self.contracts.config, member.rollup_id, view.epoch))
            for system in config.systems[: config.threshold]:
                items.append(ProofItem(rollup_id=member.rollup_id, system=system, proof=PLANNING_PROOF))
            code |= dict.fromkeys(config.systems, ACCEPT_ALL)
        proofs = encode_proofs(Proofs(payee=PLANNING_PAYEE, agreement_hash=ZERO_HASH, items=tuple(items)))
        data = load_and_run(plan.core, proofs, plan.expects, plan.triggers, b"")
        call = ChainCall(purpose="", to=self.contracts.rollups, data=data, value_wei=plan.value_wei)
        outcome = await self.simulate(call, code=code)
        if len(self._rehearsed) >= MAX_REHEARSED:
            self._rehearsed.clear()
        self._rehearsed[plan.core_id] = (head.hash, outcome.succeeded)
        return outcome.succeeded

    async def spent_for(self, owner: bytes, ticket: int) -> tuple[bytes, bytes] | None:
        """Core id and settlement that a ticket paid, from the calldata of the transaction that settled.

        None if it paid nothing, or through a contract that made the calldata itself.
        """
        topics = [
            frozenset({event_topic("IProofMarket", "AgreementSettled")}),
            None,
            frozenset({owner.rjust(32, b"\0")}),
        ]
        head = await asked(self.contracts.rpc.head)
        logs = await asked(
            lambda: self.contracts.rpc.logs(self.start_block, head.number, [self.contracts.market], topics)
        )
        for log in logs:
            _, values = event_values("IProofMarket", log)
            if values["ticket"] == ticket:
                data = await asked(partial(self.contracts.rpc.calldata, log.tx_hash))
                settlement = None if data is None else settlement_in(data)
                return None if settlement is None else (bytes(values["coreId"]), settlement)
        return None

    async def agreement(self, agreement_hash: bytes) -> AgreementView:
        """What has become of an agreement."""
        return await asked(lambda: self.contracts.agreement(agreement_hash))

    async def forced_releases(self, prover: bytes) -> tuple[ForcedRelease, ...]:
        """Those of a prover's agreements in the blocks of the last term."""
        topics = [frozenset({event_topic("IProofMarket", "ReleaseForced")}), None, frozenset({prover.rjust(32, b"\0")})]
        head = await asked(self.contracts.rpc.head)
        logs = await asked(
            lambda: self.contracts.rpc.logs(
                max(self.start_block, head.number - FORCED_BLOCKS), head.number, [self.contracts.market], topics
            )
        )
        found = [event_values("IProofMarket", log)[1] for log in logs]
        return tuple(
            ForcedRelease(
                agreement_hash=bytes(values["agreementHash"]), respond_by=values["respondBy"], box=bytes(values["box"])
            )
            for values in found
        )

    async def changed_config(self, core: bytes, after: int, until: int) -> tuple[int, int] | None:
        """The first epoch of a member that took effect in (after, until]."""
        for member in decode_core(core).lockset:
            view = await asked(partial(self.contracts.rollup, member.rollup_id))
            for epoch in range(view.epoch, -1, -1):
                config = await asked(partial(self.contracts.config, member.rollup_id, epoch))
                if config.effective_from <= after:
                    break
                if config.effective_from <= until:
                    return member.rollup_id, epoch
        return None

    async def cost_wei(self, call: ChainCall) -> int:
        """Its gas at the head, with the margin that `prepare` adds, at twice the base fee.

        Raises:
            Refused: it would fail; the text names the contract's error.
        """
        gas = _gas(await self._trial(call)) - SETTLE_GAS  # which is kept back for a load, and never used up
        head = await asked(self.contracts.rpc.head)
        return gas * 2 * max(head.base_fee_wei, 1)

    async def is_slashed(self, agreement_hash: bytes) -> bool:
        """Whether the market has logged the slash of an agreement."""
        topics = [frozenset({event_topic("IProofMarket", "AgreementSlashed")}), frozenset({agreement_hash})]
        head = await asked(self.contracts.rpc.head)
        logs = await asked(
            lambda: self.contracts.rpc.logs(self.start_block, head.number, [self.contracts.market], topics)
        )
        return bool(logs)

    async def prepare(self, call: ChainCall) -> Prepared:
        """Run the call locally at the head, then sign and store it.

        Raises:
            Refused: it would fail; the text names the contract's error.
        """
        known = self.latest(call.purpose)
        if known is not None:
            return known
        payload = await self._payload(call)
        return _prepared(await asked(lambda: self.sender.prepare(call.purpose, payload)))

    async def sign_aside(self, call: ChainCall) -> Prepared:
        """Run the call locally at the head and sign it, without taking its nonce: nothing is stored."""
        payload = await self._payload(call)
        return _prepared(await asked(lambda: self.sender.sign_aside(call.purpose, payload)))

    def latest(self, purpose: str) -> Prepared | None:
        """The newest transaction of a purpose: a replacement, if its fees were raised."""
        known = self.sender.transactions(purpose)
        return _prepared(known[-1]) if known else None

    async def _payload(self, call: ChainCall) -> Payload:
        gas = _gas(await self._trial(call))
        return Payload(to=call.to, data=call.data, value=call.value_wei, gas=gas)

    async def _trial(self, call: ChainCall) -> Outcome:
        outcome = await self.simulate(call)
        if not outcome.succeeded:
            said = outcome.halt or decode_revert(outcome.output).name or outcome.output.hex()
            raise TryAgain("TOO_EARLY", said) if said in TOO_EARLY else Refused(WOULD_FAIL, said)
        return outcome

    async def simulate(
        self, call: ChainCall, *, sender: bytes | None = None, code: Mapping[bytes, bytes] = NO_CODE
    ) -> Outcome:
        """What a call would do on the head's state, computed here: the L1 node sees only which state is read.

        Its time is the present or the head's, whichever is later: a chain that is quiet until we send something would
        otherwise never come to the end of a deadline. By `MAX_CLOCK_SKEW_MS` less, so that a fast clock of ours does
        not let us sign what L1 still finds too early.

        Args:
            sender: who would send it; None is this account.
            code: what accounts hold instead of their own code.
        """
        head = await asked(self.contracts.rpc.head)
        evm = self.contracts.evm(head)
        message = Call(sender=sender or self.sender.account, to=call.to, value=call.value_wei, data=call.data)
        time_s = max(head.timestamp, (self.now_ms() - MAX_CLOCK_SKEW_MS) // 1000)

        async def run() -> Outcome:
            return await trio.to_thread.run_sync(lambda: evm.run(message, Overrides(timestamp=time_s, code=code)))

        return await asked(run)

    async def send(self, purpose: str) -> None:
        """Broadcast what was prepared."""
        if not self.sender.transactions(purpose):
            raise Refused("NOT_PREPARED", purpose)
        if self.book is not None:
            await self.book.mark(purpose)
        try:
            await self.sender.send(purpose, Payload(to=None))
        except TransactionRefused as error:
            if await self.landing(purpose) is Landing.UNKNOWN:
                raise Refused(error.code, str(error)) from error
        except (Recoverable, RpcRefused, RpcMisbehaved) as error:
            raise TryAgain(error.code, str(error)) from error

    async def landing(self, purpose: str) -> Landing:
        """Whether the transaction, or a replacement of it, was mined deep enough."""
        if not self.sender.transactions(purpose):
            return Landing.UNKNOWN
        try:
            await self.sender.wait(purpose, confirmations=self.confirmations, max_polls=1)
        except NotYetMined:
            return Landing.UNKNOWN
        except (TransactionFailed, Superseded):
            return Landing.FAILED
        except (Recoverable, RpcRefused, RpcMisbehaved) as error:
            raise TryAgain(error.code, str(error)) from error
        return Landing.SUCCEEDED


def _gas(outcome: Outcome) -> int:
    return (outcome.gas_used + outcome.gas_refund) * (100 + GAS_MARGIN_PERCENT) // 100 + SETTLE_GAS


def _prepared(transaction: SignedTransaction) -> Prepared:
    return Prepared(tx_hash=transaction.tx_hash, raw=transaction.raw)
