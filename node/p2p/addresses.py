"""Peer ids and where to find them. Which chain account a peer belongs to is known elsewhere."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from libp2p.peer.id import ID
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from multiaddr.exceptions import Error as MultiaddrError  # type: ignore[import-untyped]

from node.p2p.errors import AddressInvalid

MAX_PEERS = 4096
MAX_ADDRESSES_PER_PEER = 8
MAX_LEARNED_PER_PEER = 4

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOSTS = frozenset({"ip4", "ip6", "dns", "dns4", "dns6"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """One place where one peer listens."""

    peer_id: str
    """Base58 text of the multihash of the peer's public key."""
    transport: str
    """Multiaddr without /p2p/, such as /ip4/127.0.0.1/tcp/4001."""

    def __str__(self) -> str:
        return f"{self.transport}/p2p/{self.peer_id}"


def parse_peer_address(text: str) -> PeerAddress:
    """Read HOST/tcp/PORT/p2p/PEER, HOST being /ip4, /ip6, /dns, /dns4 or /dns6.

    Raises:
        AddressInvalid: Any other text.
    """
    head, mark, peer_text = text.rpartition("/p2p/")
    if not mark:
        raise AddressInvalid(text, "no /p2p/ part")
    return PeerAddress(peer_id=parse_peer_id(peer_text), transport=parse_transport(head))


def parse_transport(text: str) -> str:
    """Check HOST/tcp/PORT and return its normal form.

    Raises:
        AddressInvalid: Any other text.
    """
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
    except (MultiaddrError, ValueError) as fault:
        raise AddressInvalid(text, "not a multiaddr") from fault
    if len(names) != 2 or names[0] not in _HOSTS or names[1] != "tcp":
        raise AddressInvalid(text, "expected HOST/tcp/PORT")
    return str(address)


@lru_cache(maxsize=1024)
def parse_peer_id(text: str) -> str:
    """Check the base58 text of an Ed25519 peer id (its key is inside) and return it.

    Raises:
        AddressInvalid: Any other text.
    """
    try:
        peer = ID.from_base58(text)
        key = peer.extract_public_key()
    except Exception as fault:
        raise AddressInvalid(text[:80], "not a peer id") from fault
    if key is None or peer.to_base58() != text:
        raise AddressInvalid(text[:80], "not an Ed25519 peer id")
    return text


def host_and_port(transport: str) -> tuple[str, int]:
    """Split a checked HOST/tcp/PORT."""
    parts = transport.split("/")
    return parts[2], int(parts[4])


def is_public(transport: str) -> bool:
    """Whether a checked HOST/tcp/PORT is an IP address that every network routes to the same host.

    A name is not: whoever owns it can let it mean any address, also after it was looked at.
    """
    try:
        address = ipaddress.ip_address(host_and_port(transport)[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped.is_global
        if address.sixtofour is not None or address.teredo is not None or address in _NAT64:
            return False  # an IPv4 address is inside
    return address.is_global and not address.is_multicast


def address_group(host: str) -> str:
    """What one party can be expected to own: a public IPv4 address, or the /64 of an IPv6 one. Empty for others, behind
    which there may be many machines, or this one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not address.is_global:
        return ""
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


class AddressBook:
    """Where peers can be dialled. The library's own store forgets addresses after two minutes.

    Three kinds, in the order in which they are dialled: where the peer has answered, what the operator configured, what
    messages said. A message can be signed by anybody about any peer, so what it says displaces neither of the others.
    Bounded: the peer learned longest ago makes room for a new one, and so with the learned addresses of a peer.
    """

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, ...]] = {}
        self._learned: dict[str, tuple[str, ...]] = {}
        self._proven: dict[str, str] = {}

    def add(self, address: PeerAddress) -> None:
        """Remember one more address that the operator gave, the most recent first."""
        _put(self._given, address, MAX_ADDRESSES_PER_PEER)

    def learn(self, address: PeerAddress) -> None:
        """Remember one more address that a message named, the most recent first."""
        _put(self._learned, address, MAX_LEARNED_PER_PEER)

    def worked(self, address: PeerAddress, *, has_answered: bool) -> None:
        """Note the end of a dial: an address where the peer proved its id comes first until it fails."""
        if has_answered:
            self._proven.pop(address.peer_id, None)
            self._proven[address.peer_id] = address.transport
            if len(self._proven) > MAX_PEERS:
                del self._proven[next(iter(self._proven))]
        elif self._proven.get(address.peer_id) == address.transport:
            del self._proven[address.peer_id]

    def transports(self, peer_id: str) -> tuple[str, ...]:
        """Addresses of a peer without /p2p/, in the order to dial; empty if unknown."""
        proven = (self._proven[peer_id],) if peer_id in self._proven else ()
        said = (*proven, *self._given.get(peer_id, ()), *self._learned.get(peer_id, ()))
        return tuple(dict.fromkeys(said))

    def peers(self) -> tuple[str, ...]:
        """All peers with an address."""
        return tuple(dict.fromkeys((*self._given, *self._learned)))


def _put(kept: dict[str, tuple[str, ...]], address: PeerAddress, limit: int) -> None:
    known = tuple(t for t in kept.pop(address.peer_id, ()) if t != address.transport)
    kept[address.peer_id] = (address.transport, *known)[:limit]
    if len(kept) > MAX_PEERS:
        del kept[next(iter(kept))]
