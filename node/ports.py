"""What the requester's and the prover's loops ask of the world, declared beside them; `node/app.py` gives the real
things.

Failures of the world reach the loops as `TryAgain` (unreachable, busy, not now) or `Refused` (it answered no).
Everything else is a bug.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import trio

from protocol.agreement import Agreement
from protocol.messages import RequestCommit, RollupProof
from protocol.reqresp import Exchange

T = TypeVar("T")


class PortError(Exception):
    """A failure of the world, not of this program. `code` and the text name it."""

    def __init__(self, code: str, text: str = "") -> None:
        self.code = code
        super().__init__(f"{code}: {text}" if text else code)


class TryAgain(PortError):
    """Unreachable, busy or too early: the same call may succeed later."""


class Refused(PortError):
    """The other side, or the chain, answered and said no. The same call will not succeed."""


@contextmanager
def try_again() -> Iterator[None]:
    """For calls whose refusal is one client's opinion at one moment: something else ends the attempts."""
    try:
        yield
    except Refused as error:
        raise TryAgain(error.code, str(error)) from error


class Clock(Protocol):
    """Unix time. Windows of an auction are measured with it, so tests bring their own."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...

    async def sleep_until(self, unix_ms: int) -> None:
        """Returns at or after that time, at once if it is past."""
        ...


class Gossip(Protocol):
    """Signed frames to and from all peers of a channel (SPEC §9.2). What comes out has passed
    `protocol.gossip.validate`."""

    async def publish(self, channel: str, frame: bytes) -> None:
        """Raises Refused if our own validation refuses it, TryAgain if it cannot be sent."""
        ...

    def frames(self, channel: str) -> AsyncIterator[bytes]:
        """Accepted frames of others. One reader per channel."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Where somebody can be asked, as their message said."""

    peer_id: bytes
    addresses: tuple[bytes, ...]
    """Multiaddrs as ASCII text."""


Answer = Callable[[bytes], Awaitable[bytes]]
"""`await answer(request) -> answer`; raises protocol.errors.Reject or Ignore to refuse."""


class Direct(Protocol):
    """Request and answer with one peer (SPEC §9.5)."""

    @property
    def own(self) -> Peer:
        """Where we can be asked."""
        ...

    async def ask(self, peer: Peer, exchange: Exchange, request: bytes) -> bytes:
        """Raises TryAgain if there is no answer, Refused if the peer refuses."""
        ...

    def serve(self, exchange: Exchange, answer: Answer) -> None:
        """Answers requests of an exchange from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCall:
    """A transaction to be made."""

    purpose: str
    """Idempotency key: one purpose is one transaction, over all restarts."""
    to: bytes
    data: bytes
    value_wei: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A transaction that is signed and on disk, but not sent."""

    tx_hash: bytes
    raw: bytes


class Landing(StrEnum):
    """What the chain knows about a purpose."""

    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementView:
    """What L1 knows of an agreement (SPEC §8.2)."""

    is_delivered: bool = False
    """A valid proof was shown and not paid for."""
    is_slashed: bool = False
    is_cancelled: bool = False
    """Its prover gave it up."""
    is_relieved: bool = False
    """Both declined."""
    is_void: bool = False
    is_answered: bool = False
    """L1 has the prover's Ack."""
    is_penalised: bool = False
    respond_by: int = 0
    """Unix seconds until which a forced release can be answered; 0 if none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedRelease:
    """A sealed payload that was published on L1."""

    agreement_hash: bytes
    respond_by: int
    """Unix seconds."""
    box: bytes


class Chain(Protocol):
    """L1 as the loops need it. All raise TryAgain when L1 cannot be asked."""

    async def ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """Wei in a ticket that is neither spent nor being withdrawn, None if there is none."""
        ...

    async def promise_wei(self, owner: bytes, ticket: int) -> int | None:
        """The most that a promise on such a ticket is worth (`market.tickets.promise_limit`)."""
        ...

    async def is_paid(self, agreement: Agreement, agreement_hash: bytes, core: bytes) -> bool:
        """Whether the requester's ticket paid for this core id under this agreement."""
        ...

    async def holds(self, core: bytes) -> bool:
        """Whether the rollups of a packed core stand at its pre-roots: else it cannot load now."""
        ...

    async def runs(self, plan: PlannedTable) -> bool:
        """Whether our transaction with this table would succeed at the head, whatever its proofs: roots may stand while
        an answer of L1 has changed."""
        ...

    async def spent_for(self, owner: bytes, ticket: int) -> tuple[bytes, bytes] | None:
        """Core id and packed settlement that a ticket paid, as far as L1's calldata shows them; None else."""
        ...

    async def agreement(self, agreement_hash: bytes) -> AgreementView:
        """What has become of an agreement."""
        ...

    async def forced_releases(self, prover: bytes) -> tuple[ForcedRelease, ...]:
        """Those of a prover's agreements, open or over, as far back as one can still be open."""
        ...

    async def changed_config(self, core: bytes, after: int, until: int) -> tuple[int, int] | None:
        """(rollup, epoch) of a member of a packed core whose configuration was replaced in (after, until], unix
        seconds."""
        ...

    async def cost_wei(self, call: ChainCall) -> int:
        """What sending a call now would cost in gas, without its value.

        Raises:
            Refused: it would revert.
        """
        ...

    async def is_slashed(self, agreement_hash: bytes) -> bool:
        """Whether the bond of an agreement was taken."""
        ...

    async def prepare(self, call: ChainCall) -> Prepared:
        """Signs and stores a transaction without sending it; the same purpose gives the same one.

        Raises:
            Refused: it would revert.
        """
        ...

    async def sign_aside(self, call: ChainCall) -> Prepared:
        """Signs a transaction and neither stores nor sends it: its nonce is not taken.

        Raises:
            Refused: it would revert.
        """
        ...

    def latest(self, purpose: str) -> Prepared | None:
        """The newest transaction of a purpose, None if there is none: fees may have been raised."""
        ...

    async def send(self, purpose: str) -> None:
        """Sends what was prepared; again is harmless.

        Raises:
            Refused: no execution client takes it.
        """
        ...

    async def landing(self, purpose: str) -> Landing:
        """How it went."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTable:
    """A table that is ready to be auctioned."""

    core: bytes
    core_id: bytes
    salt: bytes
    """Opens the statement commitment; the same as inside the payload."""
    payload: bytes
    """Padded to 2^size_log2 (SPEC §11)."""
    size_log2: int
    systems_hash: bytes
    tier: int
    proof_count: int
    work_log2: int
    valid_until: int
    """Unix seconds."""
    expects: bytes
    triggers: bytes
    value_wei: int
    """What the transaction carries."""


class Planner(Protocol):
    """Turns an intent into a table."""

    async def plan(self, intent: bytes) -> PlannedTable:
        """Raises the planner's own errors, with a reason for the user."""
        ...


class Verifier(Protocol):
    """Checks a delivery against our own table before anybody is paid."""

    async def verify(
        self, plan: PlannedTable, agreement: Agreement, agreement_hash: bytes, proofs: tuple[RollupProof, ...]
    ) -> None:
        """Raises Refused with a code if the proofs are not what L1 will accept for exactly this agreement."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofWork:
    """What the winner proves. The payload has passed `judge_payload`."""

    request: RequestCommit
    agreement: Agreement
    agreement_hash: bytes
    payload: bytes
    acknowledged: bool = False
    """Begun again after the Ack: it is owed, and can be claimed, wherever the rollups' roots have moved since."""


class RunningProof(Protocol):
    """One proof being made in a process of its own."""

    async def checked(self) -> None:
        """Returns when the witness satisfies the circuit.

        Raises:
            Refused: it does not; code INVALID, STALE or UNSUPPORTED.
        """
        ...

    async def prove(self) -> tuple[tuple[RollupProof, ...], int]:
        """The proofs, strictly ascending by (rollup, system), and the milliseconds they took.

        Raises:
            Refused: the process ended without them.
        """
        ...


class Prover(Protocol):
    """Makes proofs."""

    @property
    def free(self) -> int:
        """How many proofs could start now."""
        ...

    def start(self, work: ProofWork) -> AbstractAsyncContextManager[RunningProof]:
        """Begins; leaving the block ends the process, whatever it does."""
        ...


class InThread(Protocol):
    """Runs a blocking function."""

    async def __call__(self, function: Callable[[], T]) -> T:
        """Its result."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self, unix_s: Callable[[], float]) -> None:
        """`unix_s` is time.time."""
        self._unix_s = unix_s

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self._unix_s() * 1000)

    async def sleep_until(self, unix_ms: int) -> None:
        """Sleeps in steps, so that a changed clock is noticed."""
        while (left_ms := unix_ms - self.now_ms()) > 0:
            await trio.sleep(min(left_ms / 1000, 1.0))
