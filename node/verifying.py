"""Verification of delivered proofs (`node.ports.Verifier`), by the very keys and inputs that L1 will use.

Groth16 proofs are verified here. A proof of another system is put to that system's contract, as L1 will do, by a call
that sends no transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from node.l1 import Contracts, ProofConfig
from node.l1port import asked
from node.ports import PlannedTable, Refused
from protocol.agreement import Agreement
from protocol.challenge import challenge, evaluate
from protocol.errors import ProtocolError
from protocol.faults import Delivered
from protocol.messages import RollupProof
from protocol.statement import tier_by_number, words
from protocol.table import Core, core_id, decode_core, public_input
from protocol.types import Address, Hash32
from proving.errors import ProvingError
from proving.groth16 import verify
from proving.points import VerifyingKey
from proving.solidity import TableProof

EPOCHS_LOOKED_AT: Final = 3  # configurations of a rollup under which an accused proof is tried


@dataclass(slots=True, kw_only=True)
class ProofVerifier:
    """Verifies proofs of rollups."""

    contracts: Contracts
    proof_system: Address
    """The Groth16 system of table-VM rollups."""
    _keys: dict[tuple[Hash32, int], VerifyingKey] = field(default_factory=dict)

    async def verify(
        self, plan: PlannedTable, agreement: Agreement, agreement_hash: bytes, proofs: tuple[RollupProof, ...]
    ) -> None:
        """Check every proof that the lockset needs, under an agreement; see `verify_core`."""
        await self.verify_core(
            plan.core, plan.core_id, payee=agreement.payee, agreement_hash=agreement_hash, proofs=proofs
        )

    async def is_bad(self, delivered: Delivered) -> bool:
        """Whether proofs that somebody is accused of do not hold, now or under the configurations before.

        What a rollup changed meanwhile is not held against its prover: a proof is bad if it is no proof at all, or
        false under each of the latest configurations.

        Raises:
            TryAgain: L1 cannot be asked.
        """
        for epochs_back in range(EPOCHS_LOOKED_AT):
            try:
                await self.verify_core(
                    delivered.core,
                    core_id(delivered.core),
                    payee=delivered.agreement.payee,
                    agreement_hash=delivered.agreement_hash,
                    proofs=delivered.proofs,
                    epochs_back=epochs_back,
                )
            except ProtocolError:
                return False  # the core cannot be read: it is not about the proof
            except Refused as refused:
                if refused.code == "MALFORMED_PROOF":
                    return True
                if refused.code != "INVALID_PROOF":
                    return False
            else:
                return False
        return True

    async def verify_core(
        self,
        core_bytes: bytes,
        core_hash: bytes,
        *,
        payee: bytes,
        agreement_hash: bytes,
        proofs: tuple[RollupProof, ...],
        epochs_back: int = 0,
    ) -> None:
        """Check every proof that a packed core's lockset needs.

        Args:
            core_hash: its core id.
            payee: whom the proofs pay, with the next what they are bound to.
            agreement_hash: 0 for none.
            epochs_back: under which configuration of the rollups: the present, or so many before it.

        Raises:
            TryAgain: L1 cannot be asked.
            Refused: MISSING_PROOF, WRONG_SYSTEM, MALFORMED_PROOF, UNKNOWN_TIER, INVALID_PROOF.
        """
        core = decode_core(core_bytes)
        for member in core.lockset:
            view = await asked(partial(self.contracts.rollup, member.rollup_id))
            epoch = max(0, view.epoch - epochs_back)
            config = await asked(partial(self.contracts.config, member.rollup_id, epoch))
            found = [proof for proof in proofs if proof.rollup_id == member.rollup_id]
            if len(found) < config.threshold:
                raise Refused("MISSING_PROOF", f"rollup {member.rollup_id}")
            for proof in found:
                family = _family(config, proof)
                inputs = public_input(
                    chain_id=self.contracts.chain_id,
                    rollups_contract=self.contracts.rollups,
                    core=Hash32(core_hash),
                    rollup_id=member.rollup_id,
                    epoch=epoch,
                    family=family,
                    payee=Address(payee),
                    agreement_hash=Hash32(agreement_hash),
                )
                if proof.system != self.proof_system:
                    await self._put_to_contract(core_bytes, proof, family, inputs)
                    continue
                decoded = _decoded(proof)
                key = await self._key(family, decoded.tier)
                await trio.to_thread.run_sync(partial(_verify, core, member.rollup_id, decoded, family, inputs, key))
        if len(proofs) != sum(1 for proof in proofs if any(m.rollup_id == proof.rollup_id for m in core.lockset)):
            raise Refused("WRONG_SYSTEM", "a proof of a rollup that the table does not touch")

    async def _put_to_contract(self, core_bytes: bytes, proof: RollupProof, family: Hash32, inputs: Hash32) -> None:
        statement = proof.rollup_id.to_bytes(8, "big") + core_bytes
        accepted = partial(self.contracts.accepts, proof.system, family, inputs, statement, proof.proof)
        try:
            is_accepted = await asked(accepted)
        except Refused as error:  # the contract reverts
            raise Refused("INVALID_PROOF", str(error)) from error
        if not is_accepted:
            raise Refused("INVALID_PROOF", f"the contract {proof.system.hex()} does not accept it")

    async def _key(self, family: Hash32, tier: int) -> VerifyingKey:
        known = self._keys.get((family, tier))
        if known is None:
            raw = await asked(partial(self.contracts.verifying_key, self.proof_system, family, tier))
            if raw is None:
                raise Refused("UNKNOWN_TIER", str(tier))
            known = self._keys[(family, tier)] = VerifyingKey.from_bytes(raw)
        return known


def _family(config: ProofConfig, proof: RollupProof) -> Hash32:
    for system, family in zip(config.systems, config.families, strict=True):
        if system == proof.system:
            return family
    raise Refused("WRONG_SYSTEM", proof.system.hex())


def _decoded(proof: RollupProof) -> TableProof:
    try:
        return TableProof.from_bytes(proof.proof)
    except (ProvingError, ProtocolError) as error:
        raise Refused("MALFORMED_PROOF", str(error)) from error


def _verify(core: Core, rollup_id: int, proof: TableProof, family: Hash32, inputs: Hash32, key: VerifyingKey) -> None:
    try:
        laid_out = words(core, rollup_id, tier_by_number(proof.tier))
        z = challenge(family=family, tier=proof.tier, public_input=inputs, words=laid_out, h=proof.h)
        verify(key, (proof.h, z, evaluate(laid_out, z)), proof.proof)
    except (ProvingError, ProtocolError) as error:
        raise Refused("INVALID_PROOF", str(error)) from error
