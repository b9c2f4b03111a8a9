"""A prover wins and is never heard of again, before and after its Ack. Real processes, chain and time.

A prover takes no order whose claim window is below a minute, so this lasts two minutes, most of them waiting: it is in
the campaign, not in the default run. tests/integration/test_market.py plays the same on a mock clock in every run.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.admission import MIN_CLAIM_S
from market.lifecycle import Event, State
from node.demo.stage import TICKET_WEI
from node.killpoints import KILL_EACH_ONCE
from tests.support.forks import Forks
from tests.support.kills import only_at
from tests.support.nodeworld import AUCTION, World, raise_world

DEADLINE_S = 280
WINDOWS = replace(AUCTION.standard, accept=4_000, ack=1_000, prove=1_000, claim=1_000 * MIN_CLAIM_S)
SHORT = replace(AUCTION, standard=WINDOWS)
ACK_WINDOW_MS = 30_000  # the winner checks the witness in it, five seconds of two idle cores


@pytest.mark.campaign
async def test_silent_prover_costs_the_user_nothing_and_after_its_ack_its_bond(tmp_path: Path, forks: Forks) -> None:
    """Two orders on two tickets, side by side, because both have to wait for the end of a claim window."""
    with trio.fail_after(DEADLINE_S):
        world = await raise_world(forks, tmp_path / "nodes", SHORT)
        try:
            await _play(world, tmp_path / "kills")
        finally:
            await world.close()


async def _play(world: World, kills: Path) -> None:
    (prover,) = world.provers
    money_wei = await world.money()

    # Killed when the payload arrives: awarded and countersigned, no Ack.
    kills.write_text("\n".join(only_at("before prover payload-received")) + "\n")
    prover.extra_env = {KILL_EACH_ONCE: str(kills)}
    await world.restart(prover)
    unheard = await world.wish(await world.new_option())
    await world.reach(unheard, {State.LAPSED}, timeout_s=DEADLINE_S)
    assert -signal.SIGKILL == prover.poll()

    # Killed once the user has its Ack, long before a proof can be ready.
    prover.extra_env = {}
    await world.restart(prover)
    await world.with_ticket(ack=ACK_WINDOW_MS)
    acked = await world.wish(await world.new_option())
    await world.reach(acked, {State.PROVING}, timeout_s=DEADLINE_S)
    prover.kill()

    lapsed = await world.end(unheard, timeout_s=DEADLINE_S)
    defaulted = await world.end(acked, timeout_s=DEADLINE_S)
    first, second = [await world.stage.contracts.ticket(world.address(world.user), number) for number in (0, 1)]

    assert (State.REFUNDED, "NO_ACK") == (lapsed.state, lapsed.reason)
    assert [Event.ACK_TIMEOUT, Event.CLAIMS_OVER] == [line.event for line in world.view.history(unheard)][-2:]
    assert (State.SLASHED, "NO_PROOF") == (defaulted.state, defaulted.reason)
    assert State.DEFAULTED in [line.target for line in world.view.history(acked)]
    # Neither ticket is spent or on its way out; the bond is the user's, and nobody else was paid.
    assert [(TICKET_WEI, 0)] * 2 == [(ticket.amount_wei, ticket.withdrawable_at) for ticket in (first, second)]
    assert SHORT.bond_wei == await world.credit(world.user)
    assert TICKET_WEI - SHORT.bond_wei == await world.credit(prover)  # the rest of the ticket that was slashed
    assert money_wei == await world.money()
