"""What a winner refuses before it builds a witness."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.payload_check import PayloadRefused, judge_payload
from protocol.messages import AckVerdict, RequestCommit
from protocol.payload import Payload, decode_payload, encode_payload, payload_commit
from protocol.table import core_id, encode_core, statement_commit
from tests.support.market_ledger import planned_table
from tests.support.wire_samples import request


def told() -> Payload:
    """The oracle table's payload."""
    return decode_payload(planned_table().payload)


def asked(payload: Payload) -> tuple[RequestCommit, bytes]:
    """A request that commits to a payload, and the padded payload."""
    size_log2 = planned_table().size_log2
    padded = encode_payload(payload, size_log2)
    statement = statement_commit(payload.salt, core_id(encode_core(payload.core)))
    wanted = request(statement_commit=statement, payload_commit=payload_commit(padded), size_log2=size_log2)
    return wanted, padded


def expect_refusal(wanted: RequestCommit, padded: bytes, verdict: AckVerdict, reason: str) -> None:
    """Exactly this verdict and reason."""
    with pytest.raises(PayloadRefused) as refused:
        judge_payload(wanted, padded)
    assert (verdict, reason) == (refused.value.verdict, refused.value.reason)


def test_a_payload_that_is_what_was_agreed_is_taken() -> None:
    """And comes back decoded."""
    wanted, padded = asked(told())

    assert told() == judge_payload(wanted, padded)


def test_a_table_that_anybody_could_load_unpaid_is_refused() -> None:
    """Without fixed triggers it can be loaded and used in a load that settles nothing."""
    payload = told()
    free = replace(payload, core=replace(payload.core, triggers_hash=type(payload.core.triggers_hash)(bytes(32))))
    expect_refusal(*asked(free), AckVerdict.INVALID, "TRIGGERS")


def test_what_breaks_the_envelope_gets_its_verdict() -> None:
    """OVERSIZE is the requester's lie about work; INVALID is another payload than the agreed one."""
    wanted, padded = asked(told())
    expect_refusal(wanted, padded + padded, AckVerdict.OVERSIZE, "SIZE")
    expect_refusal(wanted, bytes(len(padded)), AckVerdict.INVALID, "COMMITMENT")
    expect_refusal(replace(wanted, proof_count=2), padded, AckVerdict.OVERSIZE, "PROOF_COUNT")
    expect_refusal(replace(wanted, statement_commit=bytes(32)), padded, AckVerdict.INVALID, "STATEMENT")
    junk = replace(wanted, payload_commit=payload_commit(bytes(len(padded))))
    expect_refusal(junk, bytes(len(padded)), AckVerdict.INVALID, "MALFORMED")
