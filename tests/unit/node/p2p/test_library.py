"""The names in libp2p that this package replaces or relies on still exist, in the pinned version."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest
from libp2p.network import swarm as swarm_module
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux as yamux_module

from node.p2p.library import quiet_libp2p


def test_version_is_the_one_that_was_read() -> None:
    """Another version needs another look at every item of node/p2p/library.py."""
    assert "0.8.1" == version("libp2p")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (yamux_module.YamuxStream, "_auto_tune_and_send_window_update"),
        (yamux_module.YamuxStream, "_apply_autotune_epoch"),
        (yamux_module.Yamux, "_read_data_body"),
        (yamux_module.Yamux, "_cleanup_on_error"),
        (yamux_module, "MAX_WINDOW_SIZE"),
        (swarm_module, "_HAPPY_EYEBALLS_DELAY"),
        (swarm_module.Swarm, "_do_handle_inbound_connection"),
        (swarm_module.Swarm, "unblock_peer"),
        (MuxerMultistream, "new_conn"),
        (MuxerMultistream, "_annotate_connection"),
        (Pubsub, "continuously_read_stream"),
        (Pubsub, "push_msg"),
        (Pubsub, "_mark_msg_seen"),
        (Pubsub, "_is_msg_seen"),
        (GossipSub, "_get_peers_to_send"),
        (GossipSub, "gossip_heartbeat"),
        (GossipSub, "handle_rpc"),
    ],
)
def test_replaced_name_exists(owner: object, name: str) -> None:
    """A replacement of a name that is gone would silently do nothing."""
    assert hasattr(owner, name)


def test_pubsub_reads_each_stream_through_the_replaced_loop() -> None:
    """The guard against malformed RPCs stands or falls with it."""
    assert "self.continuously_read_stream(" in inspect.getsource(Pubsub.stream_handler)


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger as a process without logging configuration has it."""
    root = logging.getLogger()
    handlers, filters = root.handlers[:], root.filters[:]
    root.handlers, root.filters = [], []
    try:
        yield root
    finally:
        root.handlers, root.filters = handlers, filters


class _Collect(logging.Handler):
    """Keeps what would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


def test_library_records_do_not_reach_the_application_s_log() -> None:
    """Neither its own loggers nor what it logs through the root logger."""
    log = _Collect()
    with bare_root() as root:
        quiet_libp2p()
        root.addHandler(log)

        logging.getLogger("libp2p.anything").error("from the library's logger")
        root.handle(root.makeRecord("root", logging.ERROR, "/x/libp2p/swarm.py", 1, "through the root", (), None))
        logging.getLogger("unveto.p2p").error("ours")
        root.error("the application's")

    assert ["ours", "the application's"] == log.seen


def test_quieting_does_not_configure_logging() -> None:
    """A handler of ours would print records twice; none at all makes Python add one at the library's first record."""
    with bare_root() as root:
        quiet_libp2p()
        quiet_libp2p()

        assert ["NullHandler"] == [type(handler).__name__ for handler in root.handlers]
        assert 1 == len(root.filters)
