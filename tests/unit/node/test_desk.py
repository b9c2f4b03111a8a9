"""The operator's commands: one that waits holds up no other, and one ticket pays for one order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from node.desk import AT_ONCE, Desk
from node.inbox import Inbox
from node.intents import decode_intent
from node.planner import Intent
from node.ports import PlannedTable
from tests.support.market_ledger import planned_table

ACCOUNT = b"\x33" * 20
HOSTILE, GOOD = 1, 2


class Node:
    """The parts that a desk asks. Plans for a hostile rollup do not end before the test says so."""

    def __init__(self) -> None:
        self.end = trio.Event()
        self.planning = 0
        self.ordered: list[bytes] = []

    async def plan(self, wish: bytes) -> PlannedTable:
        """As `TablePlanner`."""
        self.planning += 1
        intent = decode_intent(wish)
        assert isinstance(intent, Intent)
        if intent.rollup_id == HOSTILE:
            await self.end.wait()
        return planned_table()

    async def request(self, plan: PlannedTable, *, ticket: int, origin: bytes, intent: bytes) -> Any:
        """As `Requester`; between its look at the tickets and its write, others run."""
        assert plan == planned_table()
        assert intent
        await trio.lowlevel.checkpoint()
        self.ordered.append(origin)
        return SimpleNamespace(order_id=origin * 2)

    async def ticket_wei(self, _owner: bytes, _ticket: int) -> int:
        """Always free on L1."""
        return 1

    def order_of_origin(self, _origin: bytes) -> None:
        """Nothing was carried out before."""

    def tickets_in_use(self, _role: object) -> frozenset[int]:
        """The one ticket, once an order has it."""
        return frozenset({0}) if self.ordered else frozenset()


@dataclass
class Asked:
    """A running desk and its commands."""

    inbox: Inbox
    node: Node

    def ask(self, rollup_id: int) -> str:
        """A request's id."""
        wanted = {"rollup_id": rollup_id, "destination": "0x" + "44" * 20, "value_wei": "0", "data": ""}
        return self.inbox.ask("request", wanted)

    async def answer(self, command_id: str) -> Any:
        """Waits for it."""
        while (answer := self.inbox.answer_of(command_id)) is None:
            await trio.sleep(0)
        return answer


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Asked]:
    """Runs until the block ends."""
    node, inbox = Node(), Inbox(folder)

    async def in_thread(function: Any) -> Any:
        return function()

    made = Desk(
        inbox=inbox,
        requester=cast(Any, node),
        planner=cast(Any, node),
        store=cast(Any, node),
        in_thread=in_thread,
        chain=cast(Any, node),
        account=ACCOUNT,
        escrow=cast(Any, node),
        ticket=0,
    )
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            await nursery.start(made.serve)
            yield Asked(inbox, node)
        nursery.cancel_scope.cancel()


async def test_a_plan_that_waits_for_a_hostile_rollup_holds_up_no_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as asked:
        waiting = asked.ask(HOSTILE)
        while not asked.node.planning:
            await trio.sleep(0)

        answer = await asked.answer(asked.ask(GOOD))

        assert "request_id" in answer
        assert asked.inbox.answer_of(waiting) is None


async def test_of_two_plans_that_end_together_one_gets_the_ticket(tmp_path: Path) -> None:
    """Naming a ticket twice would cost its bond."""
    async with desk(tmp_path) as asked:
        both = [asked.ask(HOSTILE), asked.ask(HOSTILE)]
        while asked.node.planning < 2:
            await trio.sleep(0)
        asked.node.end.set()

        answers = [await asked.answer(each) for each in both]

        assert sorted("error" in answer for answer in answers) == [False, True]
        assert len(asked.node.ordered) == 1


async def test_commands_that_are_worked_on_are_bounded(tmp_path: Path) -> None:
    """The others wait in their files and come when there is room."""
    async with desk(tmp_path) as asked:
        all_of_them = [asked.ask(HOSTILE) for _ in range(AT_ONCE + 3)]
        while asked.node.planning < AT_ONCE:
            await trio.sleep(0)
        asked.node.end.set()
        answers = [await asked.answer(each) for each in all_of_them]
        assert sum("request_id" in answer for answer in answers) == 1
