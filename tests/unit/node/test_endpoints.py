"""L1 endpoints and the source of states, as configured: what cannot work is refused before anything is asked."""

from __future__ import annotations

from typing import Literal

import pytest
import trio

from node.chain.agreement import MAX_ENDPOINTS, AgreeingTransport
from node.chain.transport import HttpTransport
from node.commands.doctor import chain_findings, states_finding
from node.config import ChainSection, NetworkSection, NodeConfig, RequesterSection
from node.endpoints import connect_all
from node.errors import ConfigError

DEAD = "http://user:s3cret@127.0.0.1:9/k3y"
ALSO_DEAD = "http://127.0.0.1:9/0ther"


@pytest.mark.parametrize(
    ("section", "where"),
    [
        (ChainSection(rpc=()), "chain.rpc"),
        (ChainSection(rpc=(DEAD, DEAD)), "chain.rpc"),
        (ChainSection(rpc=tuple(f"http://a{number}" for number in range(MAX_ENDPOINTS + 1))), "chain.rpc"),
        (ChainSection(rpc=("ftp://a",)), "chain.rpc[0]"),
        (ChainSection(rpc=(DEAD, "127.0.0.1:8545")), "chain.rpc[1]"),
        (ChainSection(rpc=(DEAD,), quorum=2), "chain.quorum"),
    ],
)
def test_endpoints_that_cannot_work_are_refused(section: ChainSection, where: str) -> None:
    """And no message has what is secret in an address."""
    with pytest.raises(ConfigError) as refused:
        connect_all(section)
    assert refused.value.values["where"] == where
    assert "s3cret" not in str(refused.value)


def test_one_endpoint_is_asked_itself_and_several_must_agree() -> None:
    """All of them, unless a quorum says otherwise."""
    assert isinstance(connect_all(ChainSection(rpc=(DEAD,))), HttpTransport)
    for quorum, wanted in ((0, 2), (1, 1), (2, 2)):
        several = connect_all(ChainSection(rpc=(DEAD, ALSO_DEAD), quorum=quorum))
        assert isinstance(several, AgreeingTransport)
        assert several.quorum == wanted
        several.close()


@pytest.mark.parametrize(("quorum", "level"), [(0, "bad"), (1, "note")])
def test_doctor_looks_at_each_endpoint_and_shows_no_secret(quorum: int, level: str) -> None:
    config = NodeConfig(role="relay", chain=ChainSection(rpc=(DEAD, ALSO_DEAD), quorum=quorum))

    findings = trio.run(chain_findings, config)

    each = [finding for finding in findings if finding.name == "rpc"]
    assert [level, level, "bad"] == [finding.level for finding in each]
    assert "s3cret" not in repr(findings)
    assert "k3y" not in repr(findings)


@pytest.mark.parametrize(
    ("sync", "peers", "decoys", "level", "says"),
    [
        ("logs", 0, 7, "ok", "replayed from L1 logs"),
        ("snapshot", 0, 7, "bad", "needs peers"),
        ("snapshot", 1, 7, "note", "one alone"),
        ("snapshot", 2, 7, "ok", "from 2 peers"),
        ("buckets", 2, 7, "ok", "7 decoys"),
        ("buckets", 2, 0, "note", "0 decoys"),
    ],
)
def test_doctor_says_where_states_come_from(
    sync: Literal["logs", "snapshot", "buckets"], peers: int, decoys: int, level: str, says: str
) -> None:
    section = RequesterSection(sync=sync, decoys=decoys)
    config = NodeConfig(role="requester", network=NetworkSection(peers=("/ip4/",) * peers), requester=section)

    finding = states_finding(config)

    assert (finding.name, finding.level) == ("states", level)
    assert says in finding.text
