"""The error tree, and that nothing of the library leaves the package."""

import pytest
import trio
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamEOF, StreamReset
from libp2p.stream_muxer.exceptions import MuxedStreamError

from node.p2p import errors
from node.p2p.catchup import CatchupMalformed
from node.p2p.errors import FrameTooLarge, P2PError, StreamBroken, Unreachable
from node.p2p.streams import library_edge


def _tree(root: type[P2PError]) -> list[type[P2PError]]:
    return [root, *(member for child in root.__subclasses__() for member in _tree(child))]


def test_codes_are_unique_and_drawn_in_the_module_header() -> None:
    """Operators look codes up in the header."""
    concrete = [error for error in _tree(P2PError) if error not in (P2PError, Unreachable)]
    codes = [error.code for error in concrete]
    header = (errors.__doc__ or "").splitlines()

    assert sorted({*codes, CatchupMalformed.code}) == sorted([*codes, CatchupMalformed.code])
    for error in concrete:
        assert any(f" {error.__name__} " in line and error.code in line for line in header), error


@pytest.mark.parametrize(
    "fault",
    [
        StreamEOF(),
        StreamReset(),
        MuxedStreamError("closed"),
        SwarmException("gone"),
        OSError(9, "Bad file descriptor"),
        trio.BrokenResourceError(),
        trio.ClosedResourceError(),
        KeyError(5),  # what the library's muxer raises when a connection dies under a read
        ValueError("from its internals"),
    ],
)
def test_library_errors_become_ours_at_the_edge(fault: Exception) -> None:
    """With the cause kept for the log."""
    with pytest.raises(StreamBroken) as error, library_edge("12D3"):
        raise fault

    assert "12D3" == error.value.peer_id
    assert fault is error.value.__cause__


@pytest.mark.parametrize("error", [FrameTooLarge(2, 1), trio.TooSlowError()])
def test_our_errors_and_deadlines_pass_the_edge_unchanged(error: Exception) -> None:
    """A deadline belongs to whoever set it."""
    with pytest.raises(type(error)) as passed, library_edge("12D3"):
        raise error

    assert error is passed.value
