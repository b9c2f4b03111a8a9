"""Refusals of the protocol layer.

    ProtocolError            code: stable, operators can look it up
      Reject                 the sender broke a rule; its standing suffers
      Ignore                 too early, too late, duplicate, over quota; nobody is blamed
"""

from typing import ClassVar


class ProtocolError(Exception):
    """A message was not accepted. Subclasses set `code` and store the values that caused them."""

    code: ClassVar[str] = "PRO-000"


class Reject(ProtocolError):
    """The message breaks a rule that its sender could check. Whoever passed it on is scored."""

    code = "PRO-001"


class Ignore(ProtocolError):
    """The message is of no use here and now, and nobody is to blame."""

    code = "PRO-002"
