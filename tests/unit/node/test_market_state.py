"""What the loops keep comes back as it was."""

from __future__ import annotations

from dataclasses import replace

from node.market_state import pack_plan, pack_request, unpack_deal, unpack_plan, unpack_request
from protocol.codec import encode_body
from protocol.signing import agreement_digest
from tests.support.market_ledger import planned_table
from tests.support.wire_samples import MARKET, PROVERS, REQUESTER, award, request


def test_a_plan_comes_back_with_amounts_beyond_64_bits() -> None:
    """A transaction may carry more than 18 ether."""
    plan = replace(planned_table(), value_wei=10**20)

    assert plan == unpack_plan(pack_plan(plan))


def test_a_deal_is_what_both_signed() -> None:
    """Request and award give the agreement whose digest the award carries."""
    document = pack_request(REQUESTER.address, request())
    deal = unpack_deal(document, encode_body(award()))

    assert (REQUESTER.address, request()) == unpack_request(document)
    assert deal.agreement_hash == agreement_digest(MARKET.chain_id, MARKET.contract, deal.agreement)
    assert PROVERS[0].address == deal.winner.prover
    assert deal.opening == award().openings[0].opening
