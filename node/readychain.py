"""L1 for the ready pool (`node.readypool.ReadyChain`): an answer is read at one block, and runs are local."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from market.ready_chain import Account
from node.chain.evm import Call, Outcome
from node.chain.localevm import LocalEvm, Overrides
from node.l1 import Contracts
from node.l1port import asked
from node.ports import Refused, TryAgain
from node.readypool import ReadyHead, Tried
from node.readytx import ReadyCall
from node.verifying import ProofVerifier
from protocol.contracts.artifacts import call_data, decode_output, decode_revert
from protocol.errors import ProtocolError
from protocol.load import decode_proofs
from protocol.messages import RollupProof
from protocol.table import core_id

NOBODY: Final = bytes(20)


@dataclass(slots=True, kw_only=True)
class L1ReadyChain:
    """One node's L1."""

    contracts: Contracts
    verifier: ProofVerifier

    async def head(self) -> ReadyHead:
        """The newest block."""
        block = await asked(self.contracts.rpc.head)
        fees = await asked(self.contracts.rpc.fees)
        return ReadyHead(
            number=block.number,
            block_hash=block.hash,
            timestamp=block.timestamp,
            base_fee_wei=fees.base_wei,
            gas_limit=block.gas_limit,
        )

    async def account(self, at: ReadyHead, account: bytes) -> Account:
        """Nonce and balance."""
        rpc = self.contracts.rpc
        nonce = await asked(partial(rpc.nonce, account, at.block_hash))
        return Account(nonce=nonce, balance_wei=await asked(partial(rpc.balance, account, at.block_hash)))

    async def root(self, at: ReadyHead, rollup_id: int) -> int:
        """Root of a rollup."""
        return (await asked(partial(self.contracts.rollup, rollup_id, at.block_hash))).root

    async def try_in_order(self, at: ReadyHead, calls: Sequence[ReadyCall], time_s: int) -> tuple[Tried, ...]:
        """One run of all of them, with a look at the roots after each."""
        block = await asked(partial(self.contracts.rpc.block, at.block_hash))
        if block is None:
            raise TryAgain("READY_REORG", at.block_hash.hex())
        evm = LocalEvm(self.contracts.rpc.transport, block, chain_id=self.contracts.chain_id)
        messages: list[Call] = []
        for ready in calls:
            call = ready.call
            messages.append(Call(sender=call.sender, to=call.to, value=call.value, data=call.data, gas=call.gas))
            messages += [self._look(member.rollup_id) for member in ready.core.lockset]

        async def run() -> tuple[Outcome, ...]:
            return await trio.to_thread.run_sync(partial(evm.run_all, messages, Overrides(timestamp=time_s)))

        outcomes = list(await asked(run))
        tried = []
        for ready in calls:
            outcome = outcomes.pop(0)
            roots = {int(member.rollup_id): _root(outcomes.pop(0)) for member in ready.core.lockset}
            why = "" if outcome.succeeded else outcome.halt or decode_revert(outcome.output).name or "reverts"
            tried.append(Tried(succeeded=outcome.succeeded, gas_used=outcome.gas_used, roots=roots, why=why))
        return tuple(tried)

    async def check_proofs(self, call: ReadyCall) -> None:
        """By the keys that L1 has."""
        try:
            proofs = decode_proofs(call.proofs)
        except ProtocolError as error:
            raise Refused("MALFORMED_PROOF", str(error)) from error
        await self.verifier.verify_core(
            call.core_bytes,
            core_id(call.core_bytes),
            payee=proofs.payee,
            agreement_hash=proofs.agreement_hash,
            proofs=tuple(
                RollupProof(rollup_id=item.rollup_id, system=item.system, proof=item.proof) for item in proofs.items
            ),
        )

    def _look(self, rollup_id: int) -> Call:
        return Call(sender=NOBODY, to=self.contracts.rollups, data=call_data("IRollups", "rollup", rollup_id))


def _root(outcome: Outcome) -> int:
    if not outcome.succeeded:
        return 0  # the transaction before it has failed too, or there is no such rollup
    (view,) = decode_output("IRollups", "rollup", outcome.output)
    return int.from_bytes(view[0], "big")
