"""What goes wrong around the parties of a simulated market: messages, L1, the order of blocks, clocks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio

from tests.support.campaign import Disturb
from tests.support.market_ledger import START_MS
from tests.support.market_sim import World, timed
from tests.support.paths import every
from tests.support.sim_network import Weather

BLOCK_S: Final = 12
DEEPEST: Final = 8
"""Blocks that a reorganisation takes back at most, and that the parties wait for."""
JUMPS_S: Final = (-7_200, -600, -20, 20, 600, 7_200)
REORGANISED_S: Final = 600  # from the start; after that, blocks stay


def storm(seed: int) -> Disturb:
    """Messages are lost, doubled, late and out of order, and for a while some peers are apart."""

    def disturb(world: World) -> None:
        random = Random(seed)
        names = [party.name.encode() for party in world.parties]
        since_s = random.random() * 40
        apart = frozenset(random.sample(names, random.randint(1, len(names) - 1)))
        world.network.weather = Weather(
            seed=seed,
            lose=random.choice((0.0, 0.1, 0.3)),
            double=random.choice((0.0, 0.3)),
            delay_s=random.choice((0.1, 1.0, 4.0)),
            cut=((since_s, since_s + random.random() * 120, apart),) if random.random() < 0.5 else (),
        )

    return disturb


def silent_l1(seed: int) -> Disturb:
    """Calls of L1 get no answer, and fees are too high for minutes."""

    def disturb(world: World) -> Callable[[World], Awaitable[None]]:
        random = Random(seed)
        world.ledger.random = Random(seed)
        world.ledger.rpc_errors = random.choice((0.1, 0.3, 0.6))

        async def spike(world: World) -> None:
            await trio.sleep(random.random() * 60)
            world.ledger.fees_high_until_s = START_MS // 1000 + int(trio.current_time()) + random.randint(10, 200)

        return spike

    return disturb


def reorganised(seed: int) -> Disturb:
    """Blocks are taken back again and again, up to a depth that the parties wait for."""

    def disturb(world: World) -> Callable[[World], Awaitable[None]]:
        random = Random(seed)
        depth = 1 + seed % DEEPEST
        # Claims end long after the last block that is taken back: what is not believed by then is not seen.
        world.requester.terms = timed(world.requester.terms, claim_s=900)
        for party in world.parties:
            party.confirm_s = DEEPEST * BLOCK_S

        async def reorganise(world: World) -> None:
            while trio.current_time() < REORGANISED_S:
                await trio.sleep(random.random() * 30)
                now_s = START_MS // 1000 + int(trio.current_time())
                world.ledger.reorganise(now_s - depth * BLOCK_S + 1, is_forgotten=random.random() < 0.5)

        return reorganise

    return disturb


def jumping(seed: int) -> Disturb:
    """One machine's clock jumps at one of the points of its own."""

    def disturb(world: World) -> None:
        random = Random(seed)
        party = random.choice(world.parties)
        party.jump_s = random.choice(JUMPS_S)
        every(world, 60_000)
        names = ("bids-closed", "accept-received", "payload-sealed", "ack-received", "proof-received", "tx-signed")
        others = ("bid-made", "accept-signed", "payload-good", "proof-made", "receipt-received")
        party.jump_at = f"after {party.role.value} {random.choice(names if party is world.requester else others)}"

    return disturb


KINDS: Final = {"storm": storm, "silent-l1": silent_l1, "reorganised": reorganised, "jumping": jumping}
