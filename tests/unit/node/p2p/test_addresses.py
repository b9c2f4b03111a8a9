"""Multiaddrs, peer ids, the address book."""

import pytest

from node.p2p.addresses import (
    MAX_ADDRESSES_PER_PEER,
    MAX_LEARNED_PER_PEER,
    MAX_PEERS,
    AddressBook,
    PeerAddress,
    address_group,
    host_and_port,
    is_public,
    parse_peer_address,
    parse_transport,
)
from node.p2p.config import P2PConfig
from node.p2p.errors import AddressInvalid

PEER = "12D3KooWHkEfNdKuwYrmqgrUfYHQvLjcnpXnEd2jRHbPUpNzK3Ck"


@pytest.fixture
def peer_id() -> str:
    """A real peer id."""
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    return str(ID.from_pubkey(create_new_key_pair(seed=bytes(32)).public_key))


@pytest.mark.parametrize(
    "transport", ["/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/1", "/dns4/example.org/tcp/65535", "/dns/example.org/tcp/80"]
)
def test_dialable_addresses_are_read_and_written_back(peer_id: str, transport: str) -> None:
    """The text form is stable."""
    text = f"{transport}/p2p/{peer_id}"

    assert PeerAddress(peer_id=peer_id, transport=transport) == parse_peer_address(text)
    assert text == str(parse_peer_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001/p2p/",
        "/ip4/127.0.0.1/tcp/4001/p2p/nonsense",
        "/ip4/127.0.0.1/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",  # RSA: the key is not inside
        "/ip4/127.0.0.1/udp/4001/p2p/{peer}",
        "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{peer}",
        "/ip4/127.0.0.1/tcp/4001/ws/p2p/{peer}",
        "/ip4/127.0.0.1/tcp/99999/p2p/{peer}",
        "/ip4/300.0.0.1/tcp/1/p2p/{peer}",
        "/ip4/127.0.0.1/tcp/4001/p2p/{peer}/p2p-circuit",
        "/ip4/127.0.0.1/tcp/4001/p2p/{peer}/p2p/{peer}",
        "/unix/tmp/socket/p2p/{peer}",
        "/ip4/127.0.0.1/tcp/4001/p2p/ {peer}",
    ],
)
def test_anything_else_is_refused(peer_id: str, text: str) -> None:
    """With one error class, whatever the library's parsers raise."""
    with pytest.raises(AddressInvalid):
        parse_peer_address(text.format(peer=peer_id))


def test_transport_is_split_for_binding() -> None:
    """Host and port as the socket calls want them."""
    assert ("::1", 4001) == host_and_port(parse_transport("/ip6/::1/tcp/4001"))
    assert ("127.0.0.1", 0) == host_and_port(parse_transport("/ip4/127.0.0.1/tcp/0"))


def test_book_returns_the_latest_address_first_and_forgets_the_rest() -> None:
    """A peer that moves is dialled where it was last seen."""
    book = AddressBook()
    for port in range(MAX_ADDRESSES_PER_PEER + 3):
        book.add(PeerAddress(peer_id=PEER, transport=f"/ip4/127.0.0.1/tcp/{port}"))
    book.add(PeerAddress(peer_id=PEER, transport="/ip4/127.0.0.1/tcp/5"))

    known = book.transports(PEER)
    assert "/ip4/127.0.0.1/tcp/5" == known[0]
    assert MAX_ADDRESSES_PER_PEER == len(known) == len(set(known))


def test_book_is_bounded() -> None:
    """The peer added longest ago goes."""
    book = AddressBook()
    for number in range(MAX_PEERS + 1):
        book.add(PeerAddress(peer_id=f"peer {number}", transport="/ip4/127.0.0.1/tcp/1"))

    assert MAX_PEERS == len(book.peers())
    assert () == book.transports("peer 0")


def at(port: int) -> PeerAddress:
    """PEER on a port of this machine."""
    return PeerAddress(peer_id=PEER, transport=f"/ip4/127.0.0.1/tcp/{port}")


def test_what_messages_say_comes_last_and_displaces_nothing_else() -> None:
    """Anybody can sign that a peer is elsewhere: no number of lies keeps us from where it is."""
    book = AddressBook()
    book.add(at(1))
    book.worked(at(2), has_answered=True)
    for port in range(100, 110):
        book.learn(at(port))

    expected = [at(port).transport for port in (2, 1, 109, 108, 107, 106)]
    assert expected == list(book.transports(PEER))
    assert MAX_LEARNED_PER_PEER == len(expected) - 2


def test_an_address_that_answered_comes_first_until_it_fails() -> None:
    """A peer that has moved is found again."""
    book = AddressBook()
    book.learn(at(1))
    book.learn(at(2))
    book.worked(at(1), has_answered=True)
    assert at(1).transport == book.transports(PEER)[0]

    book.worked(at(2), has_answered=False)
    assert at(1).transport == book.transports(PEER)[0]
    book.worked(at(1), has_answered=False)
    assert [at(2).transport, at(1).transport] == list(book.transports(PEER))


def test_learned_peers_never_push_out_those_of_the_operator() -> None:
    """However many a flood of messages names."""
    book = AddressBook()
    book.add(at(1))
    for number in range(MAX_PEERS + 5):
        book.learn(PeerAddress(peer_id=f"peer {number}", transport="/ip4/127.0.0.1/tcp/1"))

    assert (at(1).transport,) == book.transports(PEER)
    assert MAX_PEERS + 1 == len(book.peers())


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2606:4700::1111", "2606:4700::/64"),
        ("2606:4700::ffff:1", "2606:4700::/64"),
        ("2606:4700:0:1::1", "2606:4700:0:1::/64"),
        ("127.0.0.1", ""),
        ("10.0.0.1", ""),
        ("fd00::1", ""),
        ("not an address", ""),
        ("", ""),
    ],
)
def test_connections_are_counted_by_what_one_party_owns(host: str, group: str) -> None:
    """A home's IPv6 network holds as many addresses as anybody wants."""
    assert group == address_group(host)


def test_default_configuration_listens_on_loopback_only() -> None:
    """Nobody is reachable from outside by accident."""
    assert all(address.startswith("/ip4/127.0.0.1/") for address in P2PConfig().listen)


@pytest.mark.parametrize(
    ("transport", "expected"),
    [
        ("/ip4/8.8.8.8/tcp/4001", True),
        ("/ip6/2606:4700::1111/tcp/4001", True),
        ("/ip4/127.0.0.1/tcp/22", False),
        ("/ip4/10.1.2.3/tcp/4001", False),
        ("/ip4/172.16.0.1/tcp/4001", False),
        ("/ip4/192.168.0.1/tcp/80", False),
        ("/ip4/169.254.169.254/tcp/80", False),
        ("/ip4/100.64.0.1/tcp/80", False),
        ("/ip4/0.0.0.0/tcp/80", False),
        ("/ip4/224.0.0.1/tcp/80", False),
        ("/ip6/::1/tcp/1", False),
        ("/ip6/fd00::1/tcp/1", False),
        ("/ip6/fe80::1/tcp/1", False),
        ("/ip6/::ffff:127.0.0.1/tcp/1", False),
        ("/ip6/64:ff9b::7f00:1/tcp/1", False),
        ("/ip6/2002:7f00:1::/tcp/1", False),
        ("/dns4/example.org/tcp/80", False),
    ],
)
def test_only_addresses_that_everybody_routes_alike_are_public(transport: str, expected: bool) -> None:
    """Hosts of this machine and network are reached by none of them, in whatever notation; nor by a name."""
    assert expected is is_public(parse_transport(transport))
