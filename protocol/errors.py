"""Refusals of the protocol layer.

ProtocolError   PRO-000  code: stable, operators can look it up
└── CodedError           has a reason: a stable word for the rule, and the values that broke it
    ├── Reject         PRO-001  the sender broke a rule; its standing suffers
    ├── Ignore         PRO-002  too early, too late, duplicate, over quota; nobody is blamed
    ├── DecodeError    PRO-010  bytes are not the one canonical encoding of anything
    ├── RuleError      PRO-011  well encoded, but breaks a rule of SPEC §5 or does not fit a tier
    ├── StateError     PRO-012  a state operation is impossible: node not in the witness, duplicate key, tree full
    ├── ProgramError   PRO-013  a program is not well-formed (SPEC §4.2)
    └── AssemblyError  PRO-014  assembler source is refused; values["line"] is the line
"""

from __future__ import annotations

from typing import ClassVar


class ProtocolError(Exception):
    """A message was not accepted. Subclasses set `code` and store the values that caused them."""

    code: ClassVar[str] = "PRO-000"


ErrorValue = int | str | bytes | None


class CodedError(ProtocolError):
    """One class of refusals whose rules are told apart by a word.

    Attributes:
        reason: stable name of the rule, for example ``CORE_TRAILING_BYTES``; tests and callers compare it.
        values: what broke it, by name.
    """

    def __init__(self, reason: str, **values: ErrorValue) -> None:
        self.reason = reason
        self.values: dict[str, ErrorValue] = values
        shown = ", ".join(f"{k}={v.hex() if isinstance(v, bytes) else v}" for k, v in values.items())
        super().__init__(f"[{self.code}] {reason}" + (f": {shown}" if shown else ""))


class Reject(CodedError):
    """The message breaks a rule that its sender could check. Whoever passed it on is scored."""

    code = "PRO-001"


class Ignore(CodedError):
    """The message is of no use here and now, and nobody is to blame."""

    code = "PRO-002"


class DecodeError(CodedError):
    """Bytes that are not a canonical encoding."""

    code = "PRO-010"


class RuleError(CodedError):
    """A decoded object that breaks a rule of the specification."""

    code = "PRO-011"


class StateError(CodedError):
    """A state operation that cannot be done on this state."""

    code = "PRO-012"


class ProgramError(CodedError):
    """A program that is not well-formed."""

    code = "PRO-013"


class AssemblyError(CodedError):
    """Assembler source that is refused; ``values["line"]`` is its 1-based line."""

    code = "PRO-014"
