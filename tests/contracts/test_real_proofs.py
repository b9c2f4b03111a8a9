"""Histories of loads with real pairings: only a valid proof of exactly this table moves a root."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from importlib.util import find_spec

import pytest

from protocol.table import Core, Entry
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address
from tests.support.evmworld import Reverted, World
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import answer, call_out, l1_call, word

STEPS = 150


@pytest.fixture(scope="module")
def proven() -> Proven:
    """A rollup that real proofs move."""
    world = World()
    if find_spec("pyrevm") is not None:
        from tests.support.nativeworld import NativeWorld

        world = NativeWorld()
    return proven_world(world)


def next_core(proven: Proven, rng: random.Random, roots: itertools.count[int]) -> Core:
    """A table on the live root: a call that is answered at once, or asks the oracle first."""
    made, user = proven.made, proven.who.requester.address
    trigger = l1_call(user, ROLLUP, data=rng.randbytes(4) + word(rng.getrandbits(200)))
    if rng.random() < 0.5:
        entries = [
            Entry(mid=False, new_root=next(roots), trigger=trigger, next_action=answer(trigger, rng.randbytes(7)))
        ]
    else:
        asked = call_out(ROLLUP, 0, made.oracle.address, bytes.fromhex("a035b1fe"), gas=100_000)
        back = answer(asked, word(2500))
        entries = [
            Entry(mid=True, new_root=next(roots), trigger=trigger, next_action=asked),
            Entry(
                parent=0,
                reply_to=0,
                mid=False,
                new_root=next(roots),
                trigger=back,
                next_action=answer(trigger, word(1)),
            ),
        ]
    return made.core(entries, (ROLLUP,), executor=Address(user))


@pytest.mark.parametrize("seed", [0, 1])
def test_only_valid_proofs_of_this_very_table_move_the_root(proven: Proven, seed: int) -> None:
    rng, roots = random.Random(seed), itertools.count(10_000 + seed * 10_000)
    made, toy = proven.made, proven.toy
    epoch, root, moved, refused = made.rollup(ROLLUP)["epoch"], made.root(ROLLUP), 0, set()
    old = b""
    for _ in range(STEPS):
        core = next_core(proven, rng, roots)
        other = replace(core, entries=(replace(core.entries[0], new_root=next(roots)), *core.entries[1:]))

        def prove(core: Core = core, payee: bytes = ZERO_ADDRESS, epoch: int = epoch) -> bytes:
            return toy.prove(core, ROLLUP, proven.input_of(core, payee, ZERO_HASH, epoch))

        what = rng.choice(("good", "good", "other core", "other payee", "old epoch", "byte", "old proof", "h", "core"))
        proof, landed = prove(), core
        match what:
            case "other core":
                proof = prove(other)
            case "core":
                landed = other
            case "other payee":
                proof = prove(payee=b"\x01" * 20)
            case "old epoch":
                proof = prove(epoch=epoch - 1)
            case "old proof":
                proof = old or prove(other)
            case "byte":
                place = rng.randrange(len(proof))
                proof = proof[:place] + bytes((proof[place] ^ 1 << rng.randrange(8),)) + proof[place + 1 :]
            case "h":
                proof = toy.prove(core, ROLLUP, proven.input_of(other, ZERO_ADDRESS, ZERO_HASH, epoch), h=7)
        proofs = proven.proofs(proof, payee=ZERO_ADDRESS, agreement=ZERO_HASH)
        if what == "good":
            proven.land(landed, proofs, b"")
            root, old, moved = core.entries[-1].new_root, proof, moved + 1
        else:
            with pytest.raises(Reverted) as caught:
                proven.land(landed, proofs, b"")
            refused.add(caught.value.revert.name)
        assert made.root(ROLLUP) == root
        if rng.random() < 0.1:
            config = ([proven.system.hex], [toy.family], 1)
            made.rollups.send("scheduleConfig", ROLLUP, config, sender=made.stranger)
            made.world.pass_time(601)
            epoch += 1
        made.world.pass_time(1)
    assert moved > STEPS // 8
    assert "InvalidProof" in refused
