"""Writes tests/vectors/frames.json. Run after a deliberate change of the wire format: `python -m
tests.support.write_frame_vectors`."""

from __future__ import annotations

import json

from protocol.commitments import bids_root
from protocol.hashing import keccak256
from protocol.signing import agreement_digest
from tests.support.tools import ROOT
from tests.support.wire_samples import MARKET, REQUESTER, award, framed, request, samples


def frame_vectors() -> dict[str, object]:
    """Frames of every message, and the hashes of the market, as hexadecimal text."""
    from protocol.agreement import Settlement, awarded_agreement, by_key, pack_settlement

    agreement = awarded_agreement(REQUESTER.address, request(), award())
    settlement = Settlement(
        agreement=agreement,
        salt=keccak256(b"salt"),
        requester_signature=by_key(award().requester_signature),
        prover_signature=by_key(award().requester_signature),
    )
    leaves = [keccak256(bytes([n])) for n in range(5)]
    return {
        "frames": [
            {"message": type(message).__name__, "id": int(message.ID), "frame": framed(message).hex()}
            for message in samples()
        ],
        "agreement": {
            "digest": agreement_digest(MARKET.chain_id, MARKET.contract, agreement).hex(),
            "settlement": pack_settlement(settlement).hex(),
        },
        "bids_root": [
            {"hashes": [leaf.hex() for leaf in leaves[:count]], "root": bids_root(leaves[:count]).hex()}
            for count in range(6)
        ],
    }


if __name__ == "__main__":
    path = ROOT.joinpath("tests", "vectors", "frames.json")
    path.write_text(json.dumps(frame_vectors(), indent=1) + "\n", encoding="utf-8")
