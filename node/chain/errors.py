"""Errors of the chain client, with stable codes.

ChainError
├── Recoverable            the world did it: try again later, nothing is lost
│   ├── RpcUnreachable     CHN-001  no connection, or it broke
│   ├── RpcTimedOut        CHN-002  no answer in time
│   ├── RpcOverloaded      CHN-003  HTTP 429 or 5xx
│   ├── ChainMoved         CHN-004  the chain changed between two reads that had to agree
│   └── NotYetMined        CHN-005  waited for a receipt in vain
├── RpcMisbehaved          CHN-010  the node answered with something that is not the protocol
├── RpcRefused             CHN-011  the node answered with an error object
├── ExecutionReverted      CHN-012  the called contract reverted; carries the decoded custom error
├── WrongChain             CHN-013  the node serves another chain than configured
├── ReorgTooDeep           CHN-014  no common ancestor among the remembered blocks
├── StateUnproven          CHN-015  what the node says about state does not follow from the block's hash
├── NoStateProofs          CHN-016  no endpoint gives proofs of state
├── SendError              the transaction sender will not, or could not
│   ├── NonceTaken         CHN-020  another transaction already owns this (account, nonce)
│   ├── TransactionRefused CHN-021  the node refuses it and the chain does not know it
│   ├── TransactionFailed  CHN-022  mined with status 0
│   ├── Superseded         CHN-023  its nonce was used by a transaction that is not ours
│   └── FeeTooHigh         CHN-024  the fee needed is above the configured limit
└── L1StartFailed          CHN-030  the development L1 did not come up
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class ChainError(Exception):
    """Base of everything that the chain client raises on purpose."""

    code: ClassVar[str]


class Recoverable(ChainError):
    """Trying again later may succeed."""


class RpcUnreachable(Recoverable):
    """No connection to the node, or it broke before an answer."""

    code = "CHN-001"

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"cannot reach the L1 node at {url}: {cause}")
        self.url = url
        self.cause = cause


class RpcTimedOut(Recoverable):
    """The node did not answer in time; a transaction that was being sent may or may not have arrived."""

    code = "CHN-002"

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(f"the L1 node at {url} did not answer within {timeout_s:g} s")
        self.url = url
        self.timeout_s = timeout_s


class RpcOverloaded(Recoverable):
    """The node answers HTTP 429 or 5xx."""

    code = "CHN-003"

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"the L1 node at {url} answered HTTP {status}")
        self.url = url
        self.status = status


class ChainMoved(Recoverable):
    """A block was replaced between two reads that had to agree."""

    code = "CHN-004"

    def __init__(self, number: int, expected: bytes, found: bytes) -> None:
        super().__init__(f"block {number} was 0x{expected.hex()} and is now 0x{found.hex()}")
        self.number = number
        self.expected = expected
        self.found = found


class NotYetMined(Recoverable):
    """A transaction has no receipt with enough confirmations yet."""

    code = "CHN-005"

    def __init__(self, tx_hash: bytes, polls: int) -> None:
        super().__init__(f"transaction 0x{tx_hash.hex()} is not final after {polls} polls")
        self.tx_hash = tx_hash
        self.polls = polls


class EndpointsDisagree(Recoverable):
    """Two endpoints gave different answers to a question that has one. A fork passes; a liar must be taken out."""

    code = "CHN-006"

    def __init__(self, method: str, urls: tuple[str, ...]) -> None:
        super().__init__(f"L1 endpoints disagree about {method}: {', '.join(urls)}; none of them is believed")
        self.method = method
        self.urls = urls


class QuorumMissed(Recoverable):
    """Fewer endpoints answered than must agree."""

    code = "CHN-007"

    def __init__(self, method: str, answered: int, quorum: int) -> None:
        super().__init__(f"{answered} L1 endpoints answer {method}, {quorum} must")
        self.method = method
        self.answered = answered
        self.quorum = quorum


class RpcMisbehaved(ChainError):
    """The node's answer is not what the protocol allows; its fault, and asking again will not help."""

    code = "CHN-010"

    def __init__(self, method: str, what: str) -> None:
        super().__init__(f"the L1 node's answer to {method} is malformed: {what}")
        self.method = method
        self.what = what


class RpcRefused(ChainError):
    """The node answered with a JSON-RPC error."""

    code = "CHN-011"

    def __init__(self, method: str, rpc_code: int, message: str) -> None:
        super().__init__(f"the L1 node refused {method}: {message} ({rpc_code})")
        self.method = method
        self.rpc_code = rpc_code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedError:
    """A Solidity error decoded by its ABI."""

    name: str
    arguments: Mapping[str, object]
    """Argument name (or position, where unnamed) to value; bytes stay bytes."""


class ExecutionReverted(ChainError):
    """The called contract reverted: the caller asked for something the contract does not allow."""

    code = "CHN-012"

    def __init__(self, data: bytes, decoded: DecodedError | None) -> None:
        if decoded is None:
            shown = f"0x{data[:68].hex()}" if data else "no data"
        else:
            shown = f"{decoded.name}({', '.join(f'{key}={_show(value)}' for key, value in decoded.arguments.items())})"
        super().__init__(f"execution reverted: {shown}")
        self.data = data
        self.decoded = decoded


class WrongChain(ChainError):
    """The node serves another chain."""

    code = "CHN-013"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"the L1 node serves chain {found}, configured is {expected}")
        self.expected = expected
        self.found = found


class ReorgTooDeep(ChainError):
    """None of the blocks that a cursor remembers is canonical any more: rebuild from the start."""

    code = "CHN-014"

    def __init__(self, oldest_known: int) -> None:
        super().__init__(f"the chain was replaced below block {oldest_known}, the oldest that the cursor remembers")
        self.oldest_known = oldest_known


class StateUnproven(ChainError):
    """An endpoint's answer about state does not follow from the header of the block: it lies, or is broken."""

    code = "CHN-015"

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"the L1 node proves nothing about {where}: {why}")
        self.where = where
        self.why = why


class NoStateProofs(ChainError):
    """No endpoint knows eth_getProof, and the configuration wants state proven."""

    code = "CHN-016"

    def __init__(self, answer: str) -> None:
        super().__init__(f"no endpoint gives state proofs ({answer}); [chain] state may say otherwise")
        self.answer = answer


class SendError(ChainError):
    """A transaction was not, or will not be, sent."""


class NonceTaken(SendError):
    """Signing would put a second, different transaction at an (account, nonce) that already has one."""

    code = "CHN-020"

    def __init__(self, account: bytes, nonce: int, owner: bytes) -> None:
        super().__init__(f"nonce {nonce} of 0x{account.hex()} already belongs to transaction 0x{owner.hex()}")
        self.account = account
        self.nonce = nonce
        self.owner = owner


class TransactionRefused(SendError):
    """The node refuses the transaction, and neither its pool nor the chain has it."""

    code = "CHN-021"

    def __init__(self, tx_hash: bytes, reason: str) -> None:
        super().__init__(f"the L1 node refuses transaction 0x{tx_hash.hex()}: {reason}")
        self.tx_hash = tx_hash
        self.reason = reason


class TransactionFailed(SendError):
    """The transaction is final and its execution failed."""

    code = "CHN-022"

    def __init__(self, tx_hash: bytes, block_number: int, gas_used: int) -> None:
        super().__init__(f"transaction 0x{tx_hash.hex()} failed in block {block_number}, {gas_used} gas used")
        self.tx_hash = tx_hash
        self.block_number = block_number
        self.gas_used = gas_used


class Superseded(SendError):
    """The nonce was used by a transaction that this sender did not sign: the key is used elsewhere too."""

    code = "CHN-023"

    def __init__(self, account: bytes, nonce: int) -> None:
        super().__init__(f"nonce {nonce} of 0x{account.hex()} was used by a transaction from somewhere else")
        self.account = account
        self.nonce = nonce


class FeeTooHigh(SendError):
    """Sending now would cost more per gas than the operator allows."""

    code = "CHN-024"

    def __init__(self, needed_wei: int, limit_wei: int) -> None:
        super().__init__(f"needs a fee of {needed_wei} wei per gas, the limit is {limit_wei}")
        self.needed_wei = needed_wei
        self.limit_wei = limit_wei


class L1StartFailed(ChainError):
    """The development L1 did not come up."""

    code = "CHN-030"

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"development L1 ({kind}) did not start: {why}")
        self.kind = kind
        self.why = why


def _show(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
