"""Gives other nodes parts of the rollups that this one follows, at their recent roots (SPEC §3.5, §9.5)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Final, NoReturn

import trio

from node.follower import Follower
from protocol.errors import DecodeError, Ignore, Reject, RuleError
from protocol.vm.state import VmState
from protocol.vm.sync import MAX_ANSWER_BYTES, QUESTION_BYTES, answer_question, decode_question

PROTOCOL_ID: Final = "/unveto/rollup/1"
MAX_QUESTION_BYTES: Final = QUESTION_BYTES
MAX_PART_BYTES: Final = MAX_ANSWER_BYTES
TIMEOUT_S: Final = 20
KEPT_ROOTS: Final = 32
"""Of each rollup: whoever downloads one has time while it moves. States share what they have in common."""
ANSWERING: Final = 1
"""Threads that collect parts. A bucket takes a fraction of a second: strangers get no more than one thread's time."""


class RollupServer:
    """Answers questions about states. Runs beside a follower that replays everything: what a node that follows only
    what it uses could answer would tell what that is."""

    def __init__(self, follower: Follower, *, kept_roots: int = KEPT_ROOTS) -> None:
        """Nothing is known before `serve`."""
        self._follower = follower
        self._kept_roots = kept_roots
        self._states: dict[int, OrderedDict[int, VmState]] = {}
        self._limit = trio.CapacityLimiter(ANSWERING)

    async def serve(self) -> NoReturn:
        """Keep up with the follower."""
        snapshot = self._follower.latest
        while True:
            for rollup_id, followed in snapshot.rollups.items():
                if followed.state is not None and followed.state.frames is None:  # else it is between two entries
                    self._keep(rollup_id, followed.state)
            snapshot = await self._follower.change()

    async def answer(self, _peer_id: str, raw: bytes) -> bytes:
        """One question.

        Raises:
            Reject: it is none.
            Ignore: UNKNOWN_ROOT, and the reasons of `answer_question`.
        """
        try:
            question = decode_question(raw)
        except DecodeError as error:
            raise Reject("BAD_QUESTION", problem=error.reason) from error
        kept = self._states.get(question.rollup_id)
        state = None if kept is None else kept.get(question.root)
        if state is None:
            raise Ignore("UNKNOWN_ROOT", rollup_id=question.rollup_id)
        try:
            return await trio.to_thread.run_sync(partial(answer_question, state, question), limiter=self._limit)
        except RuleError as error:
            raise Ignore(error.reason, rollup_id=question.rollup_id) from error

    def _keep(self, rollup_id: int, state: VmState) -> None:
        kept = self._states.setdefault(rollup_id, OrderedDict())
        newest = next(reversed(kept.values()), None)
        if newest is state:
            return
        root = state.root
        kept.pop(root, None)
        kept[root] = state
        while len(kept) > self._kept_roots:
            kept.popitem(last=False)
