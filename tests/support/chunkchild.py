"""A process that downloads one state into a folder and tells what it took from disk (tests/fault/test_chunk_kills.py).

python -m tests.support.chunkchild FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from node.chunkstore import ChunkStore
from node.killpoints import hook_for_tests
from node.rollupsync import RollupSync
from protocol.vm.sync import answer_question, decode_question
from tests.support.bigstates import big_state


class OnePeer:
    """Follows the state; in the same process."""

    def connected(self) -> list[str]:
        """Itself."""
        return ["peer"]

    async def ask(self, _peer_id: str, question: bytes, _max_answer: int) -> bytes:
        """The part."""
        return answer_question(big_state(), decode_question(question))

    def blame(self, peer_id: str) -> None:
        """It never lies."""
        raise AssertionError(peer_id)


async def main(folder: Path) -> None:
    """Download, then print the root and the number of chunks that were on disk."""
    sync = RollupSync(OnePeer(), ChunkStore(folder, on_write=hook_for_tests(os.environ)))
    state = await sync.fetch(1, big_state().root)
    print(state.root, sync.taken["disk"])


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
