"""L1 and proofs for tests of the loops: a ledger that checks settlements like ProofMarket, and a toy proof system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Final

import trio
from eth_abi.abi import decode

from node.ports import (
    AgreementView,
    ForcedRelease,
    Landing,
    PlannedTable,
    ProofWork,
    Refused,
)
from protocol.agreement import (
    Ack,
    Agreement,
    Decline,
    Receipt,
    Settlement,
    StatementAmend,
    by_key,
    claim_window,
    pack_settlement,
    unpack_settlement,
)
from protocol.constants import PEEK_DIVISOR, RELEASE_WINDOW, SLASH_WINDOW
from protocol.faults import promised_twice
from protocol.gossip import MarketId
from protocol.hashing import keccak256, selector
from protocol.messages import RollupProof
from protocol.payload import Payload, encode_payload, make_witness, payload_core_id, smallest_size_log2
from protocol.signing import ack_digest, agreement_digest, amend_digest, decline_digest, receipt_digest, recover_signer
from protocol.table import core_id, encode_core, statement_commit
from protocol.types import Hash32, RollupId
from protocol.vm.rollup import run_core
from tests.support.machines import oracle_state, oracle_table

START_MS = 1_800_000_000_000
MARKET = MarketId(chain_id=31337, contract=b"\x11" * 20)
ROLLUPS = b"\x12" * 20
SYSTEM = b"\x13" * 20
SYSTEMS_HASH = keccak256(b"systems")
SALT = Hash32(keccak256(b"a salt of thirty-two random bytes"))
TICKET_WEI = 10**16
BOND_WEI = 10**15
PROVE_S = 8


_OF_SETTLEMENTS = {
    selector(f"{name}({','.join(kinds)})"): (name, kinds)
    for name, kinds in (
        ("forceRelease", ["bytes", "bytes"]),
        ("answerRelease", ["bytes", "bytes"]),
        ("takePeekPenalty", ["bytes"]),
        ("cancelAgreement", ["bytes"]),
        ("record", ["bytes"]),
        ("voidAgreement", ["bytes", "bytes", "bytes", "uint64", "uint64"]),
    )
}


class TestClock:
    """Unix time that follows trio's clock, so that a mock clock moves it."""

    __test__ = False

    def now_ms(self) -> int:
        """START_MS plus the run's time."""
        return START_MS + round(trio.current_time() * 1000)

    async def sleep_until(self, unix_ms: int) -> None:
        """As `node.ports.Clock`."""
        await trio.sleep(max(0, unix_ms - self.now_ms()) / 1000)


async def let_pass(ms: int) -> None:
    """Let milliseconds of the mock clock pass."""
    await trio.sleep(ms / 1000)


MOVING: Final = (
    "tickets settled settled_s slashed delivered relieved credit_wei payments sent spent taken "
    "minted_wei forced answered cancelled penalised voided recorded"
).split()
"""What a reorganisation takes back."""


@cache
def planned_table(later_s: int = 0) -> PlannedTable:
    """The oracle table as a planner would hand it over, or one that is good for some seconds longer."""
    state = oracle_state()
    core = oracle_table(state)
    core = replace(core, valid_until=core.valid_until + later_s)
    witness = make_witness(state, run_core(state, core, 1).values())
    salt = Hash32(keccak256(SALT + bytes((later_s,)))) if later_s else SALT
    payload = Payload(salt=salt, core=core, witnesses=((RollupId(1), witness),))
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
        work_log2=9,
        valid_until=START_MS // 1000 + 600 + later_s,
        expects=b"\0",
        triggers=b"\0\0",
        value_wei=0,
    )


def toy_proof(agreement_hash: bytes, core: bytes) -> bytes:
    """What the toy proof system accepts for a core under an agreement, and nothing else."""
    return keccak256(b"toy" + agreement_hash + core)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """A transaction in a block."""

    at_s: int
    key: tuple[bytes, str]
    """Account and purpose."""
    data: bytes
    before: dict[str, Any]
    """The ledger as it was without it."""


@dataclass
class Ledger:
    """L1: tickets, settlements, slashes. Transactions land at once, unless fees are high, and stay unless the last
    blocks are reorganised."""

    tickets: dict[tuple[bytes, int], int] = field(default_factory=dict)
    settled: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    settled_s: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    slashed: set[bytes] = field(default_factory=set)
    delivered: set[bytes] = field(default_factory=set)
    """Agreements of which a valid proof was shown and not paid for."""
    relieved: set[bytes] = field(default_factory=set)
    """Agreements that both declined."""
    credit_wei: dict[bytes, int] = field(default_factory=dict)
    payments: list[bytes] = field(default_factory=list)
    """Agreement hashes, one per payment."""
    sent: dict[tuple[bytes, str], Landing] = field(default_factory=dict)
    spent: dict[tuple[bytes, int], tuple[bytes, bytes]] = field(default_factory=dict)
    """(owner, ticket) -> core id and settlement that it paid."""
    taken: set[tuple[bytes, int]] = field(default_factory=set)
    """Tickets that lost their bond by a broken promise."""
    forced: dict[bytes, tuple[bytes, ForcedRelease]] = field(default_factory=dict)
    """Agreement -> its prover, and the payload that was published for it."""
    answered: set[bytes] = field(default_factory=set)
    cancelled: set[bytes] = field(default_factory=set)
    penalised: set[bytes] = field(default_factory=set)
    voided: set[bytes] = field(default_factory=set)
    recorded: dict[bytes, int] = field(default_factory=dict)
    """Agreement -> counter of its recorded amend, 0 for none."""
    ignored: set[bytes] = field(default_factory=set)
    """Accounts whose transactions never come through."""
    gas_wei: int = 0
    """What every transaction costs."""
    replaced: dict[bytes, int] = field(default_factory=dict)
    """Packed core -> when the configuration of its rollup was replaced, unix seconds."""
    answered_otherwise: set[bytes] = field(default_factory=set)
    """Packed cores that rely on an answer which L1 does not give any more."""
    moved: set[bytes] = field(default_factory=set)
    """Packed cores whose rollups stand elsewhere by now."""
    minted_wei: int = 0
    """Credited beyond what tickets held here: the bond of a ticket that was spent elsewhere."""
    forgets: int = 0
    """How many transactions execution clients will take and lose."""
    waiting: dict[tuple[bytes, str], bytes] = field(default_factory=dict)
    """Transactions that execution clients hold."""
    mined: list[Mined] = field(default_factory=list)
    fees_high_until_s: int = 0
    """Until then nothing is signed or mined."""
    reverting: set[str] = field(default_factory=set)
    """First words of the purposes of transactions that fail, whatever they say."""
    rpc_errors: float = 0.0
    """Share of calls to which no answer comes; what they asked for is done all the same, half of the time."""
    random: Random = field(default_factory=lambda: Random(0))

    def take(self, key: tuple[bytes, str], data: bytes, now_s: int) -> None:
        """A transaction has come; a second time it is known already."""
        if key not in self.sent:
            self.waiting[key] = data
        self.mine(now_s)

    def mine(self, now_s: int) -> None:
        """Mines what waits, in the order in which it came."""
        if now_s < self.fees_high_until_s:
            return
        while self.waiting:
            key = next(iter(self.waiting))
            data = self.waiting.pop(key)
            before = {name: copy(getattr(self, name)) for name in MOVING}
            ok = key[1].split()[0] not in self.reverting and self.execute(data, now_s)
            self.sent[key] = Landing.SUCCEEDED if ok else Landing.FAILED
            self.mined.append(Mined(at_s=now_s, key=key, data=data, before=before))

    def reorganise(self, since_s: int, *, is_forgotten: bool) -> int:
        """Undoes the blocks since a time; clients keep their transactions, or forget them. How many it were."""
        undone = [each for each in self.mined if each.at_s >= since_s]
        if undone:
            for name, value in undone[0].before.items():
                setattr(self, name, value)
            del self.mined[-len(undone) :]
            if not is_forgotten:
                self.waiting |= {each.key: each.data for each in undone}
        return len(undone)

    def execute(self, data: bytes, now_s: int) -> bool:
        """Whether a transaction succeeds, with its effects."""
        called, is_claim = int.from_bytes(data[:4], "big"), False
        if called == selector("slash(bytes,bytes,bytes)"):
            packed, ack, failover = decode(["bytes"] * 3, data[4:])
            return self._slash(unpack_settlement(packed), ack, failover, now_s)
        if called in _OF_SETTLEMENTS:
            return self._about(called, data[4:], now_s)
        if called == selector("decline(bytes,bytes)"):
            packed, declined = decode(["bytes"] * 2, data[4:])
            return self._decline(unpack_settlement(packed), declined, now_s)
        if called == selector("slashEquivocation(bytes,bytes,bytes32)"):
            first, second, core = decode(["bytes", "bytes", "bytes32"], data[4:])
            return self._equivocation(first, second, core)
        if called == selector("claimWithProof(bytes,bytes,bytes,bytes)"):
            core, proofs, packed, receipt = decode(["bytes"] * 4, data[4:])
            if not _may_claim(unpack_settlement(packed), core_id(core), receipt, now_s):
                return False
            is_claim = True
        else:
            assert called == selector("loadAndRun(bytes,bytes,bytes,bytes,bytes)")
            core, proofs, _, _, packed = decode(["bytes"] * 5, data[4:])
        return self._settle(core, proofs, unpack_settlement(packed), now_s, is_claim=is_claim)

    def _settle(self, core: bytes, proofs: bytes, settlement: Settlement, now_s: int, *, is_claim: bool) -> bool:
        agreement = settlement.agreement
        digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
        request = (agreement.requester, agreement.request_id)
        if (
            proofs[:20] != agreement.payee
            or proofs[20:52] != digest
            or not proofs.endswith(toy_proof(digest, core_id(core)))
        ):
            return False
        if statement_commit(Hash32(settlement.salt), core_id(core)) != _statement(digest, settlement):
            return False
        if not _signed(digest, settlement) or now_s > agreement.claim_by:
            return False
        if self.settled.get(request) == digest:
            return not is_claim  # already settled: a load skips it and never reverts
        held_wei = self.tickets.get((agreement.requester, agreement.requester_ticket), 0)
        if is_claim and held_wei < agreement.price_wei:
            self.delivered.add(digest)
            return True
        if request in self.settled:
            return False  # another rank was paid
        self.tickets.pop((agreement.requester, agreement.requester_ticket), None)
        if held_wei < agreement.price_wei:
            return False
        self._credit(agreement.payee, agreement.price_wei)
        self._credit(agreement.requester, held_wei - agreement.price_wei)
        self.settled[request] = digest
        self.spent[(agreement.requester, agreement.requester_ticket)] = (core_id(core), pack_settlement(settlement))
        self.settled_s[request] = now_s
        self.payments.append(digest)
        return True

    def _about(self, called: int, packed: bytes, now_s: int) -> bool:
        """The calls that say something about an agreement and move no price."""
        name, kinds = _OF_SETTLEMENTS[called]
        first, *rest = decode(kinds, packed)
        settlement = unpack_settlement(first)
        agreement = settlement.agreement
        digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
        over = self.relieved | self.voided
        if not _signed(digest, settlement) or digest in over:
            return False
        match name:
            case "forceRelease":
                if digest in self.forced or digest in self.cancelled | self.delivered:
                    return False
                if not agreement.open_from <= now_s <= agreement.deliver_by:
                    return False
                release = ForcedRelease(agreement_hash=digest, respond_by=now_s + RELEASE_WINDOW, box=rest[0])
                self.forced[digest] = (agreement.prover, release)
            case "answerRelease":
                until = self.forced[digest][1].respond_by if digest in self.forced else agreement.claim_by
                if digest in self.answered or now_s > until or not _acked(digest, agreement, rest[0]):
                    return False
                self.answered.add(digest)
            case "cancelAgreement":
                if digest in self.cancelled:
                    return False
                self.cancelled.add(digest)
            case "takePeekPenalty":
                forced = self.forced.get(digest)
                held_wei = self.tickets.get((agreement.prover, agreement.prover_ticket), 0)
                if forced is None or now_s <= forced[1].respond_by or now_s > agreement.claim_by + SLASH_WINDOW:
                    return False
                if digest in self.answered | self.cancelled | self.penalised | self.delivered or not held_wei:
                    return False
                if self.tickets.get((agreement.requester, agreement.requester_ticket), 0) < agreement.price_wei:
                    return False
                self.tickets.pop((agreement.prover, agreement.prover_ticket))
                self._credit(agreement.requester, held_wei // PEEK_DIVISOR)
                self._credit(agreement.prover, held_wei - held_wei // PEEK_DIVISOR)
                self.penalised.add(digest)
            case "record":
                counter = 0 if settlement.amend is None else settlement.amend.counter
                if now_s > agreement.deliver_by or self.recorded.get(digest, -1) >= counter:
                    return False
                self.recorded[digest] = counter
            case _:
                ack, core, rollup_id, _epoch = rest
                at_s = self.replaced.get(core, 0)
                if not agreement.open_from < at_s <= int.from_bytes(ack[:8], "big") or rollup_id != 1:
                    return False
                if digest in self.slashed | self.delivered or not _acked(digest, agreement, ack):
                    return False
                self.voided.add(digest)
        return True

    def view(self, digest: bytes) -> AgreementView:
        """As stateOf."""
        return AgreementView(
            is_delivered=digest in self.delivered,
            is_slashed=digest in self.slashed,
            is_cancelled=digest in self.cancelled,
            is_relieved=digest in self.relieved,
            is_void=digest in self.voided,
            is_answered=digest in self.answered,
            is_penalised=digest in self.penalised,
            respond_by=self.forced[digest][1].respond_by if digest in self.forced else 0,
        )

    def _slash(self, settlement: Settlement, ack: bytes, failover: bytes, now_s: int) -> bool:
        agreement = settlement.agreement
        digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
        if (
            now_s <= agreement.claim_by
            or digest in self.delivered | self.relieved | self.voided
            or not self._may_slash(agreement, failover)
            or not _signed(digest, settlement)
            or not (digest in self.answered and ack == b"" or _acked(digest, agreement, ack))
        ):
            return False
        held_wei = self.tickets.pop((agreement.prover, agreement.prover_ticket), 0)
        self._credit(agreement.requester, min(held_wei, agreement.bond_wei))
        self._credit(agreement.prover, max(0, held_wei - agreement.bond_wei))
        self.slashed.add(digest)
        return True

    def _decline(self, settlement: Settlement, declined: bytes, now_s: int) -> bool:
        """A fee that both signed for, out of the ticket, which is spent by it."""
        agreement = settlement.agreement
        digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
        agreed = Decline(agreement_hash=digest, verdict=declined[0], fee_wei=int.from_bytes(declined[1:13], "big"))
        both = decline_digest(MARKET.chain_id, MARKET.contract, agreed)
        if (
            not agreement.open_from <= now_s <= agreement.claim_by
            or not _signed(digest, settlement)
            or not _by(agreement.requester, both, declined[13:79])
            or not _by(agreement.prover, both, declined[79:])
            or agreed.fee_wei > agreement.price_wei
            or digest in self.relieved
        ):
            return False
        self.relieved.add(digest)
        if agreed.fee_wei:
            held_wei = self.tickets.pop((agreement.requester, agreement.requester_ticket), 0)
            self._credit(agreement.payee, agreed.fee_wei)
            self._credit(agreement.requester, held_wei - agreed.fee_wei)
        return True

    def _equivocation(self, packed: bytes, other: bytes, core: bytes) -> bool:
        """Part of the bond of a ticket that paid `packed` and was promised by `other` too."""
        first, second = unpack_settlement(packed), unpack_settlement(other)
        a, b = first.agreement, second.agreement
        digests = [agreement_digest(MARKET.chain_id, MARKET.contract, each) for each in (a, b)]
        place = (a.requester, a.requester_ticket)
        if (
            not promised_twice(a, b)
            or not _signed(digests[0], first)
            or not _signed(digests[1], second)
            or self.spent.get(place) != (core, packed)
            or place in self.taken
        ):
            return False
        self.taken.add(place)
        self.minted_wei += b.price_wei
        self._credit(b.payee, b.price_wei)
        return True

    def _may_slash(self, agreement: Agreement, failover: bytes) -> bool:
        """While nobody was paid; or the evidence shows that a later rank was, after this one's time."""
        paid = self.settled.get((agreement.requester, agreement.request_id))
        if paid is None or not failover:
            return paid is None and not failover
        if self.settled_s[(agreement.requester, agreement.request_id)] <= agreement.deliver_by:
            return False
        later = unpack_settlement(failover[32:]).agreement
        return paid == agreement_digest(MARKET.chain_id, MARKET.contract, later) and later.rank > agreement.rank

    def _credit(self, account: bytes, wei: int) -> None:
        self.credit_wei[account] = self.credit_wei.get(account, 0) + wei


def _acked(digest: bytes, agreement: Agreement, ack: bytes) -> bool:
    """A timely Ack by the agreement's prover."""
    at_s = int.from_bytes(ack[:8], "big")
    signed = Ack(agreement_hash=digest, payload_commit=agreement.payload_commit, ack_at=at_s)
    return at_s <= agreement.ack_by and _by(
        agreement.prover, ack_digest(MARKET.chain_id, MARKET.contract, signed), ack[8:]
    )


def _by(account: bytes, digest: bytes, signature: bytes) -> bool:
    return signature == by_key(signature[1:]) and recover_signer(digest, signature[1:]) == account


def _signed(digest: bytes, settlement: Settlement) -> bool:
    return _by(settlement.agreement.requester, digest, settlement.requester_signature) and _by(
        settlement.agreement.prover, digest, settlement.prover_signature
    )


def _statement(digest: bytes, settlement: Settlement) -> bytes:
    """The agreed one, or that of an amend that both signed."""
    amend, agreement = settlement.amend, settlement.agreement
    if amend is None:
        return agreement.statement_commit
    said = StatementAmend(agreement_hash=digest, counter=amend.counter, statement_commit=amend.statement_commit)
    both = amend_digest(MARKET.chain_id, MARKET.contract, said)
    is_signed = _by(agreement.requester, both, amend.requester_signature) and _by(
        agreement.prover, both, amend.prover_signature
    )
    return amend.statement_commit if is_signed else b""


def _may_claim(settlement: Settlement, core: Hash32, receipt: bytes, now_s: int) -> bool:
    first, last = claim_window(settlement.agreement, has_receipt=receipt != b"")
    if not first <= now_s <= last:
        return False
    if not receipt:
        return True
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, settlement.agreement)
    said = Receipt(agreement_hash=digest, core_id=core, received_at=int.from_bytes(receipt[:8], "big"))
    return _by(settlement.agreement.requester, receipt_digest(MARKET.chain_id, MARKET.contract, said), receipt[8:])


class ToyVerifier:
    """The requester's local check."""

    async def verify(
        self, plan: PlannedTable, agreement: Agreement, agreement_hash: bytes, proofs: tuple[RollupProof, ...]
    ) -> None:
        """Each a toy proof for rollup 1; like the real one, it looks at one proof after the other."""
        await trio.lowlevel.checkpoint()
        if {item.proof for item in proofs} != {toy_proof(agreement_hash, plan.core_id)}:
            raise Refused("PROOF_INVALID")


class ToyRunning:
    """A toy proof being made."""

    def __init__(self, owner: ToyProver, work: ProofWork) -> None:
        self._owner = owner
        self._work = work

    async def checked(self) -> None:
        """Refuses with the prover's code, if it has one."""
        await trio.sleep(self._owner.check_s)
        if self._owner.dies_checking:
            self._owner.dies_checking -= 1
            raise Refused("DIED")
        if self._owner.refuses:
            raise Refused(self._owner.refuses)

    async def prove(self) -> tuple[tuple[RollupProof, ...], int]:
        """After the prover's time."""
        await trio.sleep(self._owner.prove_s if not self._owner.hangs else 10**6)
        if self._owner.crashes:
            raise Refused("FAILED")
        if self._owner.dies_proving:
            self._owner.dies_proving -= 1
            raise Refused("DIED")
        proof = (
            b"wrong" if self._owner.lies else toy_proof(self._work.agreement_hash, payload_core_id(self._work.payload))
        )
        delivered = (RollupProof(rollup_id=1, system=SYSTEM, proof=proof),) * (2 if self._owner.repeats else 1)
        return delivered, round(self._owner.prove_s * 1000)


@dataclass
class ToyProver:
    """Makes toy proofs, or misbehaves as told."""

    refuses: str = ""
    hangs: bool = False
    lies: bool = False
    repeats: bool = False
    """Delivers its proof twice."""
    crashes: bool = False
    dies_checking: int = 0
    """So many of its processes die while they check."""
    dies_proving: int = 0
    prove_s: float = PROVE_S
    """Time of one proof."""
    check_s: float = 0.2
    """Time of building and checking the witness."""
    at_work: int = 0
    """Places taken."""

    @property
    def free(self) -> int:
        """Always one."""
        return 1

    @asynccontextmanager
    async def start(self, work: ProofWork) -> AsyncIterator[ToyRunning]:
        """As `node.ports.Prover`."""
        self.at_work += 1
        try:
            yield ToyRunning(self, work)
        finally:
            self.at_work -= 1
