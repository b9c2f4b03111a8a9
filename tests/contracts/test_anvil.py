"""The story on anvil: another EVM accepts and refuses the same, and takes the same gas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.chain.launch import start_l1
from node.chain.transport import HttpTransport
from protocol.load import encode_expects
from protocol.table import encode_core, encode_triggers
from tests.support import tools
from tests.support.anvilworld import AnvilWorld
from tests.support.evmworld import World
from tests.support.marketworld import PRICE
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import expect_revert

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def proven() -> Iterator[Proven]:
    """The proven table of the py-evm tests, on anvil."""
    with start_l1("anvil", anvil=tools.anvil()) as l1:
        transport = HttpTransport(l1.url)
        yield proven_world(AnvilWorld(transport))
        transport.close()


def test_anvil_refuses_copies_and_changes_and_takes_the_gas_of_py_evm(proven: Proven) -> None:
    made = proven.made
    arguments = [
        encode_core(proven.core),
        proven.proofs(),
        encode_expects(()),
        encode_triggers((0,)),
        proven.settlement,
    ]
    with expect_revert("NotExecutor"):
        made.rollups.send("loadAndRun", *arguments, sender=made.stranger)
    changed = proven.proof[:-1] + bytes((proven.proof[-1] ^ 1,))
    with expect_revert("InvalidProof"):
        proven.land(proofs=proven.proofs(changed))
    with expect_revert("InvalidProof"):
        proven.land(proofs=proven.proofs(payee=b"\x01" * 20))

    on_anvil = proven.land()
    world = proven.made.world
    assert isinstance(world, AnvilWorld)
    local = proven_world(World(world.start))
    on_py_evm = local.land()

    assert (made.root(ROLLUP), made.market.view("payoutOf", proven.who.payee)) == (3002, PRICE)
    assert [event.name for event in on_anvil.events] == [event.name for event in on_py_evm.events]
    assert on_anvil.gas_used == on_py_evm.gas_used
