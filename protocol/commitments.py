"""Hashes of the market (SPEC §9.3): request ids, bid hashes, the Merkle root over bids, and the bytes of a bid's
opening.

Every hash is keccak over a domain tag and 32-byte words, so that no preimage of one kind can be one of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from protocol.codec import encode_body
from protocol.fields import OPENING_BYTES
from protocol.hashing import abi_words, domain, keccak256
from protocol.messages import SHARDS, BidOpening, RequestCommit

EMPTY_BIDS_ROOT: Final = bytes(32)  # root over no bids


def tagged_hash(name: str, *words: bytes | int) -> bytes:
    """keccak(abi(D(name), words)): integers and bytes of at most 32 bytes, left-padded to words."""
    return keccak256(domain(name) + abi_words(*words))


def request_id(requester: bytes, request: RequestCommit) -> bytes:
    """Id of a request: of its requester, so that nobody can publish under another's id, and of every field but the id.

    Were a field left out, two requests could share an id; nodes that heard different ones would then find each other's
    bids and awards against the rules.
    """
    return tagged_hash("request", requester, keccak256(encode_body(replace(request, request_id=bytes(32)))))


def identified(requester: bytes, request: RequestCommit) -> RequestCommit:
    """The request with its id; the field's value does not matter before."""
    return replace(request, request_id=request_id(requester, request))


def shard_of(systems_hash: bytes, tier: int) -> int:
    """Shard of a request's auction: of its proof class, never of its rollups, which nobody may learn."""
    return tagged_hash("shard", systems_hash, tier)[0] % SHARDS


def bid_hash(request: bytes, prover: bytes, opening: BidOpening) -> bytes:
    """What a bid commits to."""
    return tagged_hash(
        "bid",
        request,
        prover,
        opening.price_wei,
        opening.eta_ms,
        opening.prover_ticket,
        opening.bond_wei,
        opening.payee,
        opening.seal_key,
        opening.salt,
    )


def pack_opening(opening: BidOpening) -> bytes:
    """price u96 | eta u32 | ticket u32 | bond u96 | payee b20 | sealKey b32 | salt b32, 116 bytes."""
    return (
        opening.price_wei.to_bytes(12, "big")
        + opening.eta_ms.to_bytes(4, "big")
        + opening.prover_ticket.to_bytes(4, "big")
        + opening.bond_wei.to_bytes(12, "big")
        + opening.payee
        + opening.seal_key
        + opening.salt
    )


def unpack_opening(data: bytes) -> BidOpening:
    """The reverse of `pack_opening`. Raises ValueError for another length."""
    if len(data) != OPENING_BYTES:
        raise ValueError(f"an opening has {OPENING_BYTES} bytes, not {len(data)}")
    return BidOpening(
        price_wei=int.from_bytes(data[0:12], "big"),
        eta_ms=int.from_bytes(data[12:16], "big"),
        prover_ticket=int.from_bytes(data[16:20], "big"),
        bond_wei=int.from_bytes(data[20:32], "big"),
        payee=data[32:52],
        seal_key=data[52:84],
        salt=data[84:116],
    )


def bids_root(hashes: Iterable[bytes]) -> bytes:
    """Merkle root over bid hashes, sorted ascending, each once.

    leaf = tagged("bid leaf", hash), node = tagged("bid node", left, right); an odd last node moves up unchanged. Root
    of none: 32
    zero bytes. Leaves and nodes differ in their tags, so that a node can never be shown as a bid.
    """
    level = [tagged_hash("bid leaf", value) for value in sorted(set(hashes))]
    if not level:
        return EMPTY_BIDS_ROOT
    while len(level) > 1:
        paired = [tagged_hash("bid node", level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def rank_key(opening: BidOpening, committed: bytes, root: bytes) -> tuple[int, int, bytes]:
    """Sort key of the public ranking rule: lowest price, then largest bond, then a hash that no bidder could choose.

    Args:
        committed: the bid's hash.
        root: Merkle root over all bids, known only after the last bid; so nobody can grind a salt to win ties.
    """
    return (opening.price_wei, -opening.bond_wei, tagged_hash("bid tie", root, committed))
