"""L1 and proofs on paper, for measuring the market alone: tickets never run dry, transactions land at once, a proof is
a hash. What is measured around them is real: peers, gossip, signatures, sealing, stores, state machines.

Payments are files in a folder that all processes of a measurement share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

import trio

from market.tickets import promise_limit
from node.ports import AgreementView, ChainCall, ForcedRelease, Landing, PlannedTable, Prepared, ProofWork, Refused
from protocol.agreement import Agreement
from protocol.gossip import MarketId
from protocol.hashing import keccak256
from protocol.messages import RollupProof
from protocol.payload import Payload, StateWitness, encode_payload, make_witness, payload_core_id, smallest_size_log2
from protocol.table import Core, core_id, encode_core, triggers_hash
from protocol.types import Hash32
from protocol.vm.assembler import assemble
from protocol.vm.trial import TRIAL_ROLLUP, trial_core, try_program

MARKET: Final = MarketId(chain_id=31337, contract=b"\x51" * 20)
ROLLUPS: Final = b"\x52" * 20
SYSTEM: Final = b"\x53" * 20
SYSTEMS_HASH: Final = keccak256(b"paper")
TICKET_WEI: Final = 10**18
TABLE_LIFE_S: Final = 3_600


@cache
def _call() -> tuple[Core, StateWitness]:
    runs = try_program(assemble("RETURN 0"), l2_time=1)
    return trial_core(runs, l2_time=1), make_witness(runs[0].pre, runs)


def paper_table(number: int, now_s: int) -> PlannedTable:
    """One of as many tables as are wanted: the same call, another salt."""
    core, witness = _call()
    core = replace(core, not_before=0, valid_until=now_s + TABLE_LIFE_S, triggers_hash=triggers_hash((0,)))
    salt = Hash32(keccak256(b"paper" + number.to_bytes(8, "big")))
    payload = Payload(salt=salt, core=core, witnesses=((TRIAL_ROLLUP, witness),))
    size_log2 = smallest_size_log2(payload)
    packed = encode_core(core)
    return PlannedTable(
        core=packed,
        core_id=core_id(packed),
        salt=salt,
        payload=encode_payload(payload, size_log2),
        size_log2=size_log2,
        systems_hash=SYSTEMS_HASH,
        tier=0,
        proof_count=1,
        work_log2=0,
        valid_until=core.valid_until,
        expects=b"\0",
        triggers=b"\0\0",
        value_wei=0,
    )


def _paper_proof(agreement_hash: bytes, core: bytes) -> bytes:
    return keccak256(b"paper proof" + agreement_hash + core)


@dataclass(slots=True, kw_only=True)
class PaperL1:
    """`node.ports.Chain` and the tickets of gossip validation."""

    folder: Path
    """Of the payments of all processes."""
    account: bytes
    _prepared: dict[str, ChainCall] = field(default_factory=dict)
    _landed: set[str] = field(default_factory=set)

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """Never dry."""
        return TICKET_WEI

    async def ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """As `node.ports.Chain`; also the next methods."""
        await trio.lowlevel.checkpoint()
        return TICKET_WEI

    async def promise_wei(self, owner: bytes, ticket: int) -> int | None:
        """Half of it."""
        await trio.lowlevel.checkpoint()
        return promise_limit(TICKET_WEI)

    async def is_paid(self, agreement: Agreement, agreement_hash: bytes, core: bytes) -> bool:
        """Whether the request's transaction has landed."""
        await trio.lowlevel.checkpoint()
        return (self.folder / agreement.request_id.hex()).exists()

    async def holds(self, core: bytes) -> bool:
        """No root moves on paper."""
        await trio.lowlevel.checkpoint()
        return True

    async def runs(self, plan: PlannedTable) -> bool:
        """Nor does an answer change."""
        await trio.lowlevel.checkpoint()
        return True

    async def spent_for(self, owner: bytes, ticket: int) -> tuple[bytes, bytes] | None:
        """Nobody looks for broken promises here."""
        await trio.lowlevel.checkpoint()
        return None

    async def agreement(self, agreement_hash: bytes) -> AgreementView:
        """Nothing becomes of one but payment."""
        await trio.lowlevel.checkpoint()
        return AgreementView()

    async def forced_releases(self, prover: bytes) -> tuple[ForcedRelease, ...]:
        """Nobody asks for one."""
        await trio.lowlevel.checkpoint()
        return ()

    async def changed_config(self, core: bytes, after: int, until: int) -> tuple[int, int] | None:
        """No configuration changes on paper."""
        await trio.lowlevel.checkpoint()
        return None

    async def cost_wei(self, call: ChainCall) -> int:
        """Gas is free."""
        await trio.lowlevel.checkpoint()
        return 0

    async def is_slashed(self, agreement_hash: bytes) -> bool:
        """Nobody is."""
        await trio.lowlevel.checkpoint()
        return False

    async def prepare(self, call: ChainCall) -> Prepared:
        """Nothing reverts on paper."""
        await trio.lowlevel.checkpoint()
        return self._signed(self._prepared.setdefault(call.purpose, call))

    async def sign_aside(self, call: ChainCall) -> Prepared:
        """The same bytes as if it were prepared."""
        await trio.lowlevel.checkpoint()
        return self._signed(call)

    def latest(self, purpose: str) -> Prepared | None:
        """Fees are never raised on paper."""
        stored = self._prepared.get(purpose)
        return None if stored is None else self._signed(stored)

    def _signed(self, call: ChainCall) -> Prepared:
        raw = self.account + call.data
        return Prepared(tx_hash=keccak256(raw), raw=raw)

    async def send(self, purpose: str) -> None:
        """Lands at once; a landing is a payment."""
        await trio.lowlevel.checkpoint()
        word, _, order_id = purpose.partition(" ")
        if word == "land":
            (self.folder / order_id).touch()
        self._landed.add(purpose)

    async def landing(self, purpose: str) -> Landing:
        """As it was sent."""
        await trio.lowlevel.checkpoint()
        return Landing.SUCCEEDED if purpose in self._landed else Landing.UNKNOWN


class PaperVerifier:
    """`node.ports.Verifier`."""

    async def verify(
        self, plan: PlannedTable, agreement: Agreement, agreement_hash: bytes, proofs: tuple[RollupProof, ...]
    ) -> None:
        """The hash must be that of this agreement and this table."""
        await trio.lowlevel.checkpoint()
        if [item.proof for item in proofs] != [_paper_proof(agreement_hash, plan.core_id)]:
            raise Refused("INVALID_PROOF")


class _Running:
    def __init__(self, work: ProofWork) -> None:
        self._work = work

    async def checked(self) -> None:
        await trio.lowlevel.checkpoint()

    async def prove(self) -> tuple[tuple[RollupProof, ...], int]:
        await trio.lowlevel.checkpoint()
        proof = _paper_proof(self._work.agreement_hash, payload_core_id(self._work.payload))
        return (RollupProof(rollup_id=TRIAL_ROLLUP, system=SYSTEM, proof=proof),), 0


class PaperProver:
    """`node.ports.Prover`: no time at all, and always room for one more."""

    @property
    def free(self) -> int:
        """One."""
        return 1

    @asynccontextmanager
    async def start(self, work: ProofWork) -> AsyncIterator[_Running]:
        """As `node.ports.Prover`."""
        yield _Running(work)
