"""Errors of the peer-to-peer edge. Nothing of libp2p leaves this package.

P2PError                     code: stable, operators can look it up
  ConfigInvalid              P2P-001  a configured value is out of range
  AddressInvalid             P2P-002  not a dialable TCP multiaddr with a peer id
  ListenFailed               P2P-003  an address cannot be bound
  Unreachable                         the world did it; the caller may try again
    UnknownPeer              P2P-010  no connection and no address in the book
    DialFailed               P2P-011  no address of the peer answered in time
    ProtocolUnavailable      P2P-012  the peer does not speak the protocol, or not in time
    StreamBroken             P2P-013  the peer or the network cut a stream
    DeadlineExceeded         P2P-014  an exchange took longer than allowed
    PeerBanned               P2P-015  the peer broke too many rules recently
    ShuttingDown             P2P-016  this host is closing
  FrameTooLarge              P2P-020  a length prefix or a body is over its limit
  MalformedFrame             P2P-021  bytes that the peer should not have sent
  RequestRefused             P2P-022  the peer answered with a coded refusal
  PublishRefused             P2P-030  our own validator refuses the frame we wanted to publish
  UnknownTopic               P2P-031  the topic was not registered before the host started
"""

from typing import ClassVar


class P2PError(Exception):
    """Base class of the package; `code` is unique per class."""

    code: ClassVar[str] = "P2P-000"


class ConfigInvalid(P2PError):
    """A configured value is out of range."""

    code = "P2P-001"

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key = key
        self.value = value
        self.rule = rule
        super().__init__(f"[{self.code}] p2p.{key} = {value!r}: {rule}")


class AddressInvalid(P2PError):
    """Text that is not a TCP multiaddr, or lacks or misspells its /p2p/ part."""

    code = "P2P-002"

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"[{self.code}] {address!r}: {reason}")


class ListenFailed(P2PError):
    """An address cannot be bound, usually because another process has it."""

    code = "P2P-003"

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"[{self.code}] cannot listen on {address}: {reason}")


class Unreachable(P2PError):
    """The peer or the network failed; the same call may succeed later."""

    def __init__(self, peer_id: str, reason: str) -> None:
        self.peer_id = peer_id
        self.reason = reason
        super().__init__(f"[{self.code}] {peer_id}: {reason}")


class UnknownPeer(Unreachable):
    """There is neither a connection to the peer nor an address in the book."""

    code = "P2P-010"


class DialFailed(Unreachable):
    """No address of the peer gave a connection."""

    code = "P2P-011"


class ProtocolUnavailable(Unreachable):
    """The peer did not agree to speak the protocol."""

    code = "P2P-012"


class StreamBroken(Unreachable):
    """The stream ended before the exchange was complete."""

    code = "P2P-013"


class DeadlineExceeded(Unreachable):
    """The exchange took longer than the caller allowed."""

    code = "P2P-014"


class PeerBanned(Unreachable):
    """The peer broke too many rules recently and is not spoken to for a while."""

    code = "P2P-015"


class ShuttingDown(Unreachable):
    """This host is closing; no exchange is begun."""

    code = "P2P-016"


class FrameTooLarge(P2PError):
    """A body, ours or announced by a peer, is over its limit."""

    code = "P2P-020"

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"[{self.code}] frame of {size_bytes} bytes, at most {limit_bytes} allowed")


class MalformedFrame(P2PError):
    """Bytes that an honest peer does not send."""

    code = "P2P-021"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"[{self.code}] {reason}")


class RequestRefused(P2PError):
    """The peer answered, and the answer is a refusal.

    Attributes:
        status: Name of the wire status, see `node.p2p.reqresp.Status`.
        remote_code: Code and rule given by the peer's application, printable ASCII, at most 64 characters, or "".
    """

    code = "P2P-022"

    def __init__(self, peer_id: str, protocol_id: str, status: str, remote_code: str) -> None:
        self.peer_id = peer_id
        self.protocol_id = protocol_id
        self.status = status
        self.remote_code = remote_code
        super().__init__(f"[{self.code}] {peer_id} refused {protocol_id}: {status} {remote_code}".rstrip())


class PublishRefused(P2PError):
    """Our own validator refuses the frame, so publishing it would only cost us our standing."""

    code = "P2P-030"

    def __init__(self, topic: str, verdict: str, reason_code: str) -> None:
        self.topic = topic
        self.verdict = verdict
        self.reason_code = reason_code
        super().__init__(f"[{self.code}] {topic}: own frame gets {verdict} ({reason_code})")


class UnknownTopic(P2PError):
    """Topics are fixed before the host starts; this one was not among them."""

    code = "P2P-031"

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"[{self.code}] topic {topic!r} is not registered")
