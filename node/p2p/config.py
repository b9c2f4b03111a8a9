"""Settings of one libp2p host.

Durations are seconds, sizes are bytes. Defaults suit a market of 10 to 40 nodes; a bootstrap node that most others dial
needs `degree_high >= max_connections`, else leaves that know only the bootstrap node lose messages.
"""

from dataclasses import dataclass, fields

from node.p2p.errors import ConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class P2PConfig:
    """Everything that can be set about a host. Every field is read by the package (a test checks it)."""

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    """Multiaddrs to listen on, /ip4 or /ip6 with /tcp. Port 0 takes a free one."""
    bootstrap: tuple[str, ...] = ()
    """Multiaddrs with /p2p/ of peers to keep a connection to."""

    degree: int = 6
    """Mesh peers per topic that the router aims for."""
    degree_low: int = 4
    """Below this the router grafts."""
    degree_high: int = 12
    """Above this the router prunes."""
    heartbeat_s: int = 1
    """Interval of mesh maintenance and IHAVE gossip."""

    max_connections: int = 64
    """Connections in both directions; more are refused."""
    dial_slots: int = 16
    """Of these for peers that we dial; strangers that connect to us never get them. At most half of all."""
    max_connections_per_address: int = 8
    """Inbound connections from one public address, or one IPv6 network; private ones have no such limit."""
    max_streams_per_peer: int = 64
    """Inbound streams that one peer may hold open."""
    max_buffered_bytes: int = 16 << 20
    """Unread bytes that one connection may hold in its streams; beyond it the connection is closed."""
    upgrade_timeout_s: float = 5.0
    """Time for the Noise and Yamux handshakes, and for agreeing on a stream's protocol."""

    dial_timeout_s: float = 10.0
    """Time for one attempt to connect."""
    redial_min_s: float = 0.25
    """First pause before a lost wanted peer is dialled again; doubles up to `redial_max_s`."""
    redial_max_s: float = 10.0
    """Longest pause between two attempts."""
    ping_interval_s: float = 10.0
    """Pause between two pings of a connected peer."""
    ping_timeout_s: float = 5.0
    """A ping that takes longer is missed."""
    ping_misses: int = 2
    """Consecutive misses after which the connection is cut."""

    channel_frames: int = 1024
    """Accepted frames per topic that wait for the application; a full channel refuses further frames."""
    peer_frames_per_s: int = 500
    """Sustained gossip frames that one peer may hand us; bursts of twice as many are taken."""
    publish_queue: int = 16
    """Publishing pauses while a peer's outbound queue is longer (the library drops beyond 32)."""
    publish_wait_s: float = 0.25
    """Longest such pause; a peer that is slower misses the frame and catches up later."""

    reject_limit: int = 16
    """Broken rules after which a peer is cut and banned; one is forgiven every `reject_forgive_s`."""
    reject_forgive_s: float = 30.0
    """Time in which one broken rule is forgiven."""
    ban_s: float = 300.0
    """How long a banned peer is not spoken to."""

    max_inbound_requests: int = 64
    """Requests served at the same time."""
    max_inbound_requests_per_peer: int = 8
    """Requests of one peer on one protocol served at the same time."""

    catchup_interval_s: float = 2.0
    """Pause between two rounds in which a connected peer is asked for what we missed."""
    catchup_window_s: int = 600
    """Frames are kept and asked for this long (SPEC §9.1: no gossip frame lives longer)."""
    catchup_max_frames: int = 65_536
    """Frames kept for others."""
    catchup_max_bytes: int = 64 << 20
    """Bytes of frames kept for others."""

    drain_s: float = 1.0
    """On shutdown, time for requests in progress to end and for their clients to read the answers."""
    close_s: float = 3.0
    """On shutdown, time to close connections politely before sockets are cut."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not value > 0:
                raise ConfigInvalid(field.name, value, "must be positive")
        if not self.listen:
            raise ConfigInvalid("listen", self.listen, "at least one address")
        if not self.degree_low <= self.degree <= self.degree_high:
            raise ConfigInvalid("degree", self.degree, "degree_low <= degree <= degree_high")
        if self.redial_min_s > self.redial_max_s:
            raise ConfigInvalid("redial_min_s", self.redial_min_s, "at most redial_max_s")
        if self.publish_queue >= 32:
            raise ConfigInvalid("publish_queue", self.publish_queue, "below 32, the library's queue")
        if self.max_inbound_requests_per_peer > self.max_inbound_requests:
            raise ConfigInvalid(
                "max_inbound_requests_per_peer", self.max_inbound_requests_per_peer, "at most max_inbound_requests"
            )
