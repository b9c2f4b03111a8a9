"""A node whose process is killed at every write of its database, once each, and started again on the same folder."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from market.effects import Effect
from market.lifecycle import TERMINAL, Event, Order, Role, State
from node.killpoints import KILL_EACH_ONCE, LIST_POINTS
from node.market_state import Deal
from node.orderview import OrderView
from node.ports import PlannedTable
from node.store.database import Database
from node.store.orders import OrderStore
from node.store.vault import Vault
from tests.support.forks import ForkedNode
from tests.support.nodeworld import LOOK_EVERY_S, World

ORDER_TIMEOUT_S: Final = 240
ACCEPT_WINDOW_MS: Final = 90_000  # a winner that is killed some times before it has signed comes back in time
MAX_WISHES: Final = 12  # a death near the auction's start can cost an auction, but each point kills once only
MAX_STARTS: Final = 150
LAST_WORDS_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What happened."""

    listed: frozenset[str]
    """Points of an undisturbed order, "before NAME" and "after NAME", start included."""
    killed: tuple[str, ...]
    """Where the process was killed, in order."""
    starts: int
    orders: tuple[Order, ...]
    """The user's orders of the disturbed part, as they ended."""
    counterparts: tuple[Order, ...]
    """The prover's orders of both parts."""


def only_at(point: str) -> tuple[str, ...]:
    """Every point that a prover knows but one: as the list of kills that were made, it leaves that one to be made."""
    names = {"migrate", "sequence", "wipe", "prover create"}
    names |= {f"prover {event.value}" for event in Event} | {f"prover done {effect.value}" for effect in Effect}
    every = {f"{side} {name}" for name in names for side in ("before", "after")}
    assert point in every, point
    return tuple(sorted(every - {point}))


async def kill_at_every_write(
    world: World, victim: ForkedNode, folder: Path, *, bid_window_ms: int, submit: bool
) -> Campaign:
    """One undisturbed order, then wishes until the victim has died at every point that the first one wrote at.

    Args:
        bid_window_ms: of the disturbed orders. Long, and more deaths fit into one auction; short, and an auction that
            a death made useless is over sooner.
        submit: of the disturbed orders. False holds each landing back until the prover has its receipt: paid while it
            is down, a prover would have no use for one, and one of its writes would not come.
    """
    listing, killing = folder / "points", folder / "kills"
    victim.extra_env = {LIST_POINTS: str(listing)}
    await world.restart(victim)
    if victim is world.relay:
        for node in (world.user, *world.provers):
            await world.restart(node)  # up once it is connected again
    first = await world.end(await world.wish(await world.new_option()), timeout_s=ORDER_TIMEOUT_S)
    assert first.state is State.PAID, first
    await _settled(world)
    if victim is not world.relay:  # which the user needs to come up again
        await victim.stop()
    listed = frozenset(_lines(listing))

    await world.with_ticket(bid=bid_window_ms, accept=ACCEPT_WINDOW_MS, submit=submit)
    await victim.stop()
    victim.extra_env = {KILL_EACH_ONCE: str(killing)}
    option = await world.new_option()
    orders: list[Order] = []
    starts = 0

    async def keep_alive() -> None:
        nonlocal starts
        while starts < MAX_STARTS:
            victim.start()
            starts += 1
            while (status := victim.poll()) is None:
                await trio.sleep(LOOK_EVERY_S)
            assert status == -signal.SIGKILL, f"status {status}: {victim.log_tail()}"
        raise AssertionError(f"{MAX_STARTS} starts")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_alive)
        while not listed <= set(_lines(killing)):
            assert len(orders) < MAX_WISHES, f"never came to {sorted(listed - set(_lines(killing)))}"
            if orders and orders[-1].state is State.PAID:
                # The last words: effects that were performed and not crossed out yet.
                await _until(lambda: listed <= set(_lines(killing)), timeout_s=LAST_WORDS_TIMEOUT_S)
                break
            order_id = await world.wish(option)
            if not submit:
                await _submit_after_receipt(world, order_id)
            orders.append(await world.end(order_id, timeout_s=ORDER_TIMEOUT_S))
            await _settled(world)
        await _until(lambda: _is_up(victim))
        nursery.cancel_scope.cancel()
    return Campaign(
        listed=listed,
        killed=tuple(_lines(killing)),
        starts=starts,
        orders=tuple(orders),
        counterparts=_all_orders(world.provers[0]),
    )


def _all_orders(node: ForkedNode) -> tuple[Order, ...]:
    return OrderView(node.folder).recent(100)


async def _submit_after_receipt(world: World, order_id: bytes) -> None:
    order = await world.reach(order_id, {State.VERIFIED, *TERMINAL}, timeout_s=ORDER_TIMEOUT_S)
    if order.state is State.VERIFIED:
        store = _store(world.provers[0])
        await _until(lambda: all(known.state is State.RECEIPTED for known in store.live(Role.PROVER)))
        await world.submit(order_id)


async def _settled(world: World) -> None:
    """Both sides are done with every order, down to the last effect."""
    stores = [(_store(world.user), Role.REQUESTER), *((_store(node), Role.PROVER) for node in world.provers)]
    await _until(lambda: not any(store.live(role) or store.pending(role) for store, role in stores))


def _store(node: ForkedNode) -> OrderStore:
    return OrderStore(Database(node.config.store_url, now_ms=0, is_reader=True), Vault(node.folder / "vault.key"))


def _is_up(node: ForkedNode) -> bool:
    return node.poll() is None


async def _until(condition: Callable[[], bool], *, timeout_s: float = ORDER_TIMEOUT_S) -> None:
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(LOOK_EVERY_S)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def check_money(world: World, campaign: Campaign, before_wei: int) -> None:
    """The price of each paid order was credited once, nothing else moved, and nothing was created or lost."""
    view = world.view
    paid = [order_id for order_id in world.orders if view.order(order_id).state is State.PAID]
    deals = [view.deal(order_id) for order_id in paid]
    prices = [deal.opening.price_wei for deal in deals if deal is not None]
    assert len(prices) == len(paid) == 1 + sum(order.state is State.PAID for order in campaign.orders)
    assert sum(prices) == await world.credit(world.provers[0])
    assert before_wei == await world.money()
    assert await world.stage.rpc.balance(world.stage.contracts.market) == before_wei
    for order_id in world.orders:
        deal, plan = view.deal(order_id), view.plan(order_id)
        settled = deal is not None and plan is not None and await _is_paid(world, deal, plan)
        assert settled == (order_id in paid)


async def _is_paid(world: World, deal: Deal, plan: PlannedTable) -> bool:
    return await world.stage.contracts.is_paid(deal.agreement, deal.agreement_hash, plan.core_id)
