"""js-libp2p, an independent implementation, talks to our host: Noise, Yamux, ping, gossip, requests."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from node.p2p.host import Host
from protocol.errors import Reject
from tests.integration.p2p.conftest import network
from tests.integration.p2p.network import TOPIC, Network, receive
from tests.support import tools

pytestmark = pytest.mark.interop

__all__ = ["network"]  # the fixture

ECHO = "/unveto/echo/1"
START_S = 60.0  # node reads some hundred modules, on a machine that may be busy


class JsPeer:
    """The other side: commands in, JSON lines out."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    async def tell(self, command: str) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(command.encode() + b"\n")

    async def says(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            piece = await self._process.stdout.receive_some()
            assert piece, "the js-libp2p process has ended"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))


@asynccontextmanager
async def js_peer(host: Host) -> AsyncIterator[tuple[JsPeer, str]]:
    """A js-libp2p node connected to `host` and subscribed to the topic, with its peer id."""
    package = tools.npm_package("libp2p")
    script = Path(__file__).with_name("js_libp2p_peer.mjs")
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            lambda task_status: trio.run_process(
                [str(tools.node()), str(script), str(package.parent), host.addresses[0], TOPIC],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
                task_status=task_status,
            )
        )
        async with process.stdin, process.stdout:
            peer = JsPeer(process)
            hello = await peer.says()
            assert hello["pinged"]
            yield peer, hello["peer"]
        nursery.cancel_scope.cancel()


async def test_js_libp2p_gossips_and_asks(network: Network) -> None:
    """Both directions of gossip with strict signing; a request with its answer and one with its refusal."""

    async def handle(peer_id: str, body: bytes) -> bytes:
        if body == b"no":
            raise Reject("TEST_NO")
        return peer_id.encode() + b" " + body

    with trio.fail_after(START_S):
        host = await network.start("host")
        host.serve_protocol(ECHO, handle, max_request=1 << 20, max_response=1 << 20, timeout_s=5)
        async with js_peer(host) as (peer, peer_id):
            await host.gossip.wait_for_subscriber(TOPIC, peer_id)

            await peer.tell("publish " + b"from js".hex())
            assert [b"from js"] == await receive(host, 1)
            await host.gossip.publish(TOPIC, b"from us")
            assert {"heard": b"from us".hex(), "type": "signed"} == await peer.says()

            long = bytes(range(256)) * 1200  # more than one window
            await peer.tell(f"ask {ECHO} {long.hex()}")
            assert {"status": 0, "body": (peer_id.encode() + b" " + long).hex()} == await peer.says()
            await peer.tell(f"ask {ECHO} {b'no'.hex()}")
            assert {"status": 1, "body": b"PRO-001 TEST_NO".hex()} == await peer.says()
            assert 1 == host.conduct.strikes(peer_id)
