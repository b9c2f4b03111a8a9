"""Planning on parts of a state: the same tables, and what those who gave the parts can tell from what was asked."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
import trio

from node.bucketsync import BucketRollups
from node.chain.launch import L1Process
from node.chain.transport import HttpTransport
from node.errors import PlanError, StateUnavailable
from node.follower import Follower
from node.intents import encode_intent
from node.l1 import Contracts
from node.planner import Intent, TransactionIntent
from node.planning import TablePlanner
from node.ports import Refused
from protocol.constants import FIELD_ORDER
from protocol.types import ZERO_ADDRESS, Address
from protocol.vm.eddsa import SigningKey
from protocol.vm.openings import KEY_BITS
from protocol.vm.partial import prefix_of
from protocol.vm.state import VmState, storage_key
from protocol.vm.state_tree import StateTree
from protocol.vm.sync import Part, Question, answer_question, decode_question
from protocol.vm.transactions import sign_transaction, transaction_domain
from tests.support.scene import COUNTER, INCREMENT, READER, SETTLE, Scene, build_scene, follow, land

SECRET = b"\x05" * 32


class Peers:
    """Some who follow, who note what they are asked; `lie` changes an answer."""

    def __init__(self, *states: VmState) -> None:
        self.states = {state.root: state for state in states}
        self.asked: list[Question] = []
        self.blamed: list[str] = []
        self.lies: dict[Part, Any] = {}

    def connected(self) -> list[str]:
        return ["one", "two"]

    async def ask(self, peer_id: str, question: bytes, max_answer: int) -> bytes:
        asked = decode_question(question)
        self.asked.append(asked)
        if asked.root not in self.states:
            raise Refused("P2P-022", "UNKNOWN_ROOT")
        answer = answer_question(self.states[asked.root], asked)
        assert len(answer) <= max_answer
        return bytes(self.lies.get(asked.part, lambda raw: raw)(answer))

    def blame(self, peer_id: str) -> None:
        self.blamed.append(peer_id)

    def prefixes(self) -> Counter[int]:
        """Of the buckets asked for."""
        return Counter(each.which for each in self.asked if each.part is Part.BUCKET)


def _made(peers: Peers, contracts: Contracts, decoys: int = 3, secret: bytes = SECRET) -> BucketRollups:
    return BucketRollups(contracts, peers, secret=secret, decoys=decoys, shuffle=lambda each: each.sort())


class World:
    """A chain, a node that follows all of it, and one that asks for parts."""

    def __init__(self, scene: Scene, full: Follower) -> None:
        self.scene = scene
        self.full = full
        self.peers = Peers()
        self.rollups = _made(self.peers, scene.contracts)
        self.whole, self.light = (
            TablePlanner(contracts=scene.contracts, follower=each, fee_recipient=ZERO_ADDRESS, confirmations=0)
            for each in (full, self.rollups)
        )

    async def follow(self) -> None:
        """Peers have the newest root."""
        number = (await self.scene.rpc.head()).number
        followed = await self.full.rollup_at(self.scene.rollup_id, number)
        assert followed is not None
        assert followed.state is not None
        self.peers.states[followed.state.root] = followed.state

    def call(self, destination: Address, data: bytes) -> bytes:
        """A wish."""
        return encode_intent(
            Intent(
                sender=Address(self.scene.user.address),
                rollup_id=self.scene.rollup_id,
                destination=destination,
                value_wei=0,
                data=data,
            )
        )


@pytest.fixture
async def world(l1: L1Process, transport: HttpTransport, nursery: trio.Nursery) -> World:
    scene = await build_scene(transport, l1.accounts, 2000)
    made = World(scene, await follow(scene, nursery))
    await made.follow()
    return made


async def test_parts_are_enough_to_plan_what_a_whole_state_gives(world: World, nursery: trio.Nursery) -> None:
    """Table and witness; then the next one on the root that moved, in the same buckets."""
    for destination, data in ((READER, SETTLE), (COUNTER, INCREMENT)):
        wish = world.call(destination, data)
        whole, light = await world.whole.plan(wish), await world.light.plan(wish)
        assert (light.core, light.expects, light.systems_hash) == (whole.core, whole.expects, whole.systems_hash)
        assert light.payload[33:] == whole.payload[33:]  # but for the salt
        assert await land(world.scene, light.core, light.expects, light.triggers)
        await world.follow()
    assert {0: 2} == world.peers.prefixes()  # so small a state has one bucket
    assert world.peers.blamed == []
    (told,) = world.rollups.told_peers([world.scene.rollup_id])
    assert "1 prefixes of 0 bits, 1 of them meant" in told
    nursery.cancel_scope.cancel()


async def test_an_account_of_a_rollup_is_read_from_its_bucket(world: World, nursery: trio.Nursery) -> None:
    """Also one that does not exist; a transaction of it is then planned."""
    key = SigningKey(b"\x2b" * 32)
    assert await world.light.account(world.scene.rollup_id, Address(key.address)) == (0, 0)
    contracts = world.scene.contracts
    data = sign_transaction(
        key,
        domain=transaction_domain(contracts.chain_id, contracts.rollups),
        rollup_id=world.scene.rollup_id,
        nonce=0,
        destination=COUNTER,
        selector=int.from_bytes(INCREMENT, "big"),
    )
    wish = TransactionIntent(sender=Address(world.scene.user.address), rollup_id=world.scene.rollup_id, data=data)
    assert (await world.light.try_out(wish)).plan.core == (await world.whole.try_out(wish)).plan.core
    nursery.cancel_scope.cancel()


LIES = {
    Part.FRONTIER: lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,)),
    Part.BUCKET: lambda raw: raw[:90] + bytes((raw[90] ^ 1,)) + raw[91:],
    Part.PROGRAM: lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,)),
}


@pytest.mark.parametrize("part", list(LIES))
async def test_wrong_parts_are_blamed_and_nothing_is_planned_on_them(
    world: World, part: Part, nursery: trio.Nursery
) -> None:
    world.peers.lies = {part: LIES[part]}
    with pytest.raises(StateUnavailable):
        await world.light.plan(world.call(COUNTER, INCREMENT))
    assert {"one", "two"} == set(world.peers.blamed)
    world.peers.lies = {}
    assert (await world.light.plan(world.call(COUNTER, INCREMENT))).core
    nursery.cancel_scope.cancel()


async def test_a_rollup_that_does_not_exist_is_no_plan(world: World, nursery: trio.Nursery) -> None:
    wish = Intent(sender=Address(world.scene.user.address), rollup_id=99, destination=COUNTER, value_wei=0, data=b"")
    with pytest.raises(PlanError, match="there is no rollup"):
        await world.light.plan(encode_intent(wish))
    assert world.peers.asked == []
    nursery.cancel_scope.cancel()


class Root:
    """An L1 on which a rollup has a root."""

    rpc: Any

    def __init__(self, root: int) -> None:
        self.root = root
        self.rpc = self

    async def block(self, number: int) -> int:
        return number

    def evm(self, _block: object) -> None:
        return None

    async def rollup_on(self, _evm: None, _rollup_id: int) -> Root:
        return self


def _large() -> VmState:
    tree = StateTree.empty()
    for number in range(1100):
        tree, _ = tree.insert(storage_key(1, number), 1 + number, 0)
    return VmState(tree=tree, frames=None, programs={})


async def test_with_a_bucket_come_its_decoys_and_again_the_same() -> None:
    """Whoever sees all that is asked cannot tell by repetition which one is meant, also when the root moves."""
    state = _large()
    key = storage_key(1, 5)
    moved = VmState(tree=state.tree.update(storage_key(1, 6), 77, 0)[0], frames=None, programs={})
    peers, l1 = Peers(state, moved), Root(state.root)
    rollups = _made(peers, cast(Contracts, l1), decoys=1)
    known = await rollups.rollup_at(1, 0)
    assert known is not None
    assert known.state is not None
    assert peers.prefixes() == {}

    wider = await rollups.widen(1, known.state, key)

    assert wider is not None
    assert wider.tree.get(key) == (6, 0)
    assert peers.prefixes() == {0: 1, 1: 1}
    assert await rollups.widen(1, wider, key) is None
    l1.root = moved.root
    again = await rollups.rollup_at(1, 0)
    assert again is not None
    assert again.state is not None
    assert again.state.tree.get(key) == (6, 0)
    assert peers.prefixes() == {0: 2, 1: 2}
    (told,) = rollups.told_peers([1])
    assert "2 prefixes of 1 bits, 1 of them meant; about 550 keys" in told


@pytest.mark.parametrize("bits", [0, 1, 6, 23])
def test_decoys_are_others_and_follow_from_the_secret_alone(bits: int) -> None:
    """As many as configured where there are so many; none beyond the last key; not the same for each bucket."""
    rollups = _made(Peers(), cast(Contracts, None), decoys=7)
    last = prefix_of(FIELD_ORDER - 1, bits)
    for prefix in {0, last // 2, last}:
        decoys = rollups.decoys_of(1, bits, prefix)
        assert len(decoys) == min(7, last)
        assert prefix not in decoys
        assert all(0 <= each <= last for each in decoys)
        assert decoys == _made(Peers(), cast(Contracts, None), decoys=7).decoys_of(1, bits, prefix)
    if bits == 23:
        others = _made(Peers(), cast(Contracts, None), decoys=7, secret=b"\x06" * 32)
        assert rollups.decoys_of(1, bits, 5) != others.decoys_of(1, bits, 5)
        assert rollups.decoys_of(1, bits, 5) != rollups.decoys_of(1, bits, 6)
        assert rollups.decoys_of(1, bits, 5) != rollups.decoys_of(2, bits, 5)
    assert KEY_BITS == 254
