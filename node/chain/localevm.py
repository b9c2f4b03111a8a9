"""Runs a call or a transaction locally on the state after one L1 block, for planning and for checking before sending.

The node is only asked for the accounts, code and words that the run touches (eth_getTransactionCount, eth_getBalance,
eth_getCode, eth_getStorageAt at the block's hash; or eth_getProof and eth_getCode), never for what the run does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.chain.evm import Call, Outcome, execution_context, run_call
from node.chain.lazystate import LazyAccounts, LazyState, PinnedState
from node.chain.provenstate import ProvenState
from node.chain.records import Block
from node.chain.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What differs from the block that would follow the pinned one."""

    timestamp: int | None = None
    """Seconds; None is the pinned block's own."""
    number: int | None = None
    """Height; None is the pinned block's plus one. BLOCKHASH is zero for heights above the pinned block."""
    code: Mapping[bytes, bytes] = field(default_factory=dict)
    """20-byte address to the code that it shall have."""


class LocalEvm:
    """An EVM at one block. What it fetched stays cached, so that later runs cost no round trips.

    Not for two threads at once: run it in one worker thread, `await trio.to_thread.run_sync(evm.run, call)`.
    """

    def __init__(self, transport: Transport, block: Block, *, chain_id: int, is_proven: bool = False) -> None:
        """Nothing is asked yet.

        Args:
            transport: the node's connections; fetches block the calling thread.
            block: the run sees the state after it.
            chain_id: EIP-155 chain id.
            is_proven: believe only what follows from the block's hash (eth_getProof), not the node's word.
        """
        self.pinned = ProvenState(transport, block) if is_proven else PinnedState(transport, block)
        self._chain_id = chain_id

    def run(self, call: Call, overrides: Overrides | None = None) -> Outcome:
        """Execute `call` as a transaction; nothing is kept.

        Returns:
            Also for a revert or a halt. `Outcome.reverts` shows inner reverts that a caller swallowed.

        Raises:
            Recoverable, RpcRefused, RpcMisbehaved: the node did not give a value that the run needs.
            StateUnproven, NoStateProofs: it gave one that does not follow from the block's hash, or gives no proofs.
        """
        return run_call(self._state(call.max_fee_wei, overrides), call)

    def run_all(self, calls: Sequence[Call], overrides: Overrides | None = None) -> tuple[Outcome, ...]:
        """Execute calls one after the other, each on what the earlier ones left, as transactions of one block.

        Nothing is kept. The base fee is the pinned block's unless the first call pays no fee: then none is charged.

        Raises:
            as `run`.
        """
        if not calls:
            return ()
        state = self._state(calls[0].max_fee_wei, overrides)
        return tuple(run_call(state, call) for call in calls)

    def _state(self, max_fee_wei: int, overrides: Overrides | None) -> LazyState:
        overrides = overrides if overrides is not None else Overrides()
        block = self.pinned.environment()
        number = block.number + 1 if overrides.number is None else overrides.number
        context = execution_context(
            chain_id=self._chain_id,
            number=number,
            timestamp=block.timestamp if overrides.timestamp is None else overrides.timestamp,
            gas_limit=block.gas_limit,
            base_fee_wei=0 if max_fee_wei == 0 else block.base_fee_wei,
            coinbase=block.coinbase,
            prev_randao=block.prev_randao,
            prev_hashes=self.pinned.hashes_before(number),
        )
        return LazyState(LazyAccounts(self.pinned, overrides.code), context)

    def may_mask(self, _accounts: frozenset[bytes]) -> bytes | None:
        """Nobody hides anything: `Outcome.reverts` has every frame."""
        return None

    @property
    def learned_by_node(self) -> tuple[frozenset[bytes], frozenset[tuple[bytes, int]]]:
        """Accounts, and (account, slot) pairs, that the node was asked for."""
        return frozenset(self.pinned.accounts), frozenset(self.pinned.storage)
