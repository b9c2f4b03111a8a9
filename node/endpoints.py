"""The configured L1 endpoints: connected to, and looked at one by one for `unveto doctor`."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from node.chain.agreement import MAX_ENDPOINTS, connect
from node.chain.errors import ChainError, NoStateProofs
from node.chain.provenstate import ProvenState
from node.chain.records import Block
from node.chain.rpc import Retry, Rpc
from node.chain.transport import HttpTransport, Transport
from node.config import ChainSection
from node.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One endpoint as it answers by itself."""

    url: str
    """Without user and path: keys of providers are there."""
    client: str = ""
    head: Block | None = None
    chain_id: int = 0
    has_proofs: bool = False
    problem: str = ""
    """Empty if it answers."""


def connect_all(chain: ChainSection) -> Transport:
    """Connections to the endpoints of a configuration.

    Raises:
        ConfigError: none or too many, one twice, no URL, a quorum that they cannot reach.
    """
    if not 1 <= len(chain.rpc) <= MAX_ENDPOINTS or len(set(chain.rpc)) < len(chain.rpc):
        raise ConfigError(where="chain.rpc", problem=f"must be 1 to {MAX_ENDPOINTS} different endpoints")
    for place, url in enumerate(chain.rpc):
        if not url.startswith(("http://", "https://")):
            raise ConfigError(where=f"chain.rpc[{place}]", problem="must begin with http:// or https://")
    if chain.quorum > len(chain.rpc):
        raise ConfigError(where="chain.quorum", problem=f"more than the {len(chain.rpc)} endpoints")
    return connect(chain.rpc, quorum=chain.quorum)


async def look_at(url: str) -> Looked:
    """What one endpoint says by itself; never raises for what it does."""
    transport = HttpTransport(url)
    rpc = Rpc(transport, retry=Retry(attempts=1))
    try:
        chain_id, head, client = await rpc.chain_id(), await rpc.head(), await rpc.client_version()
        has_proofs = await trio.to_thread.run_sync(_gives_proofs, transport, head)
    except ChainError as error:
        return Looked(url=transport.shown_url, problem=str(error))
    finally:
        transport.close()
    return Looked(url=transport.shown_url, client=client, head=head, chain_id=chain_id, has_proofs=has_proofs)


def _gives_proofs(transport: HttpTransport, head: Block) -> bool:
    """Raises what is wrong with the proof that it gives."""
    try:
        ProvenState(transport, head).account(head.coinbase)
    except NoStateProofs:
        return False
    return True
