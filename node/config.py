"""Configuration of one node: frozen dataclasses read from TOML.

Every key has a default or is required; an unknown key, a wrong type or a value out of range is a `ConfigError`,
never ignored. `configs/node.toml` holds every key at its default; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from node.errors import ConfigError

Role = Literal["requester", "prover", "proposer", "relay"]
StateMode = Literal["proof", "trusted", "call"]

DATABASE_NAME = "node.db"
MAX_CONFIG_BYTES = 1 << 18  # 256 KiB: a configuration is written by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSection:
    """How L1 is reached and where the contracts are."""

    rpc: tuple[str, ...] = ("http://127.0.0.1:8545",)
    """JSON-RPC endpoints of L1 execution clients. Where they disagree about what decides money, none is believed."""
    quorum: int = 0
    """How many endpoints must answer alike; 0 is all. With less, one that is away does not stop the node."""
    state: StateMode = "proof"
    """How L1 state is had for planning and for checks before signing: proof takes nothing that does not follow from the
    block's hash (eth_getProof); trusted believes the endpoints; call has them run eth_call, and shows them the plan."""
    chain_id: int = 0
    """Expected chain id; 0 takes whatever the endpoint says. A mismatch stops the node."""
    rollups: str = ""
    """Address of Rollups."""
    market: str = ""
    """Address of ProofMarket."""
    proof_system: str = ""
    """Address of Groth16ProofSystem."""
    start_block: int = 0
    """First block that can hold a log of these contracts."""
    poll_ms: int = 250
    """Time between two looks at the head, milliseconds."""
    confirmations: int = 0
    """Blocks on top of a log before it is believed. 0 is for development chains."""
    slot_ms: int = 12000
    """Length of a slot; the windows of auctions are measured in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """Where orders, secrets and signed transactions are kept."""

    url: str = ""
    """Database: empty for SQLite in the node's folder, or `postgresql://user@host/name`. One node, one database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSection:
    """The libp2p side."""

    listen: str = "/ip4/127.0.0.1/tcp/0"
    """Multiaddress to listen on."""
    peers: tuple[str, ...] = ()
    """Multiaddresses (with /p2p/ID) that the node keeps dialled."""
    degree: int = 6
    """Gossip mesh degree; hubs that many peers dial need more."""
    max_connections: int = 64
    """Connections beyond this are refused."""
    shards: tuple[int, ...] = ()
    """Shards of the auctions' channels that the node takes part in, 0 to 3; empty: all. A prover of few classes can
    leave the others."""
    dial_private: bool = False
    """Dial addresses of private networks, and names, that a message of a peer gives. A node that itself listens on such
    an address does anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardSection:
    """Windows of the standard lane in thousandths of a slot; so the other lanes (SPEC §10)."""

    bid: int = 208
    """Time bidders have after the request was gossiped."""
    accept: int = 167
    """Time the winner has to countersign."""
    ack: int = 1250
    """Time from key release to the acknowledgement (the winner builds and checks the witness in it)."""
    prove: int = 10000
    """Time from the award to delivery."""
    margin: int = 5000
    """How long before the winner's delivery is due the runner-up is called, to work in parallel."""
    claim: int = 300000
    """Time after the last delivery deadline in which a claim can be made; then a bond can be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxedSection(StandardSection):
    """Windows of the relaxed lane."""

    bid: int = 1250
    accept: int = 420
    ack: int = 2500
    prove: int = 25000
    margin: int = 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressSection(StandardSection):
    """Windows of the express lane."""

    bid: int = 84
    accept: int = 84
    ack: int = 250
    prove: int = 1000
    margin: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySection(StandardSection):
    """Windows of the capacity lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionSection:
    """The requester's auction: its lane, and limits of what it pays."""

    lane: Literal["auto", "relaxed", "standard", "express", "capacity"] = "auto"
    """auto: by how often the roots of the table have moved lately."""
    relaxed: RelaxedSection = field(default_factory=RelaxedSection)
    standard: StandardSection = field(default_factory=StandardSection)
    express: ExpressSection = field(default_factory=ExpressSection)
    capacity: CapacitySection = field(default_factory=CapacitySection)
    standbys: int = 1
    """Runners-up that are engaged in the same award and called if the winner is late; at most 2."""
    rounds: int = 2
    """Auctions that may follow one that ended without a proof."""
    bump_permille: int = 500
    """How much higher the price limit of each is; 500 is half more."""
    max_price_wei: int = 10**16
    """The most that is paid. An auction begins at twice what others paid lately, the last one allows this."""
    bond_wei: int = 10**15
    """Bond that the winner's ticket must cover."""
    force_release: Literal["worth", "always", "never"] = "worth"
    """Publish the sealed payload of a winner that is silent about it, for it to answer or pay the peek penalty; worth:
    if that is more than what publishing costs."""
    record_permille: int = 100
    """Record an amend on L1 if that costs at most this part of the price; 0 for never."""
    ready_wait_ms: int = 3000
    """How long a proposer has to pull the ready table before the transaction is sent."""
    submit: bool = True
    """Sign and send the transaction when the proof is verified; false waits for `unveto submit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequesterSection:
    """The light client."""

    sync: Literal["logs", "snapshot", "buckets"] = "logs"
    """How states of rollups are had: replayed from all L1 logs, which tells nobody which one is used; or each taken
    over from peers when it is first used, checked against its root on L1; or, for large ones, only the parts that are
    touched, in wide buckets among decoys."""
    decoys: int = 7
    """Buckets that are asked for beside each one that is meant; only with sync = buckets."""
    ticket: int = 0
    """Number of the escrow ticket that pays."""
    spare_tickets: tuple[int, ...] = ()
    """Tickets for a further auction while the first one's is still promised to a prover that failed."""
    sidecars: tuple[str, ...] = ()
    """X25519 public keys (hex) of proposers' sidecars that ready tables are sealed to: KEY gets each at once. KEY@R/P
    (slots that leave R when divided by P) and KEY@vINDEX (a validator's slots) get it before their slots only."""
    release_ms: int = 8000
    """How long before its slot a proposer of these gets a table."""
    beacon_url: str = ""
    """Beacon node that knows the duties of KEY@vINDEX, and when slots begin."""
    genesis_s: int = 0
    """Without a beacon node: unix seconds at which slot 0 begins; slots last chain.slot_ms."""
    publish: bool = False
    """Announce the signed transaction to everybody as a public ready table, so that any proposer can take it."""
    publish_after_ms: int = 0
    """How long after it was signed."""
    auction: AuctionSection = field(default_factory=AuctionSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideSection:
    """An exception from the prices, `[[prover.overrides]]`."""

    requester: str = ""
    """Account; empty: any."""
    tier: str = ""
    """Name of a tier; empty: any."""
    price_permille: int = 1000
    """Of what the prices say; 0: no bid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProverSection:
    """The proving side."""

    backend: Literal["auto", "groth16-cpu", "groth16-cuda", "command"] = "auto"
    """auto takes CUDA where it works and else the CPU; command is a program of the operator (proving/README.md)."""
    command: tuple[str, ...] = ()
    """Program and arguments of the backend command; the job directory follows them."""
    proof_system: str = ""
    """Address of the proof system that the command proves for; empty: chain.proof_system."""
    family: str = ""
    """Family hash that the command proves for, 64 hex digits; needed by the backend command only."""
    payee: str = ""
    """Account that is paid; empty: the node's own."""
    tickets: tuple[int, ...] = (0,)
    """Numbers of the bond tickets; each stands for one order at a time."""
    zkey: str = ""
    """Proving key of tier S; empty: the cached developer key."""
    larger_zkeys: tuple[str, ...] = ()
    """Proving keys of the tiers above S that the family has, in their order; "" is the cached developer key, which is
    made for the first proof of its tier."""
    allow_dev_key: bool = False
    """Prove with a developer key, whose secrets are public, on a chain that is no development chain."""
    wei_per_step: int = 10**9
    """Price of one machine step of the request's work bucket, wei."""
    wei_per_proof: int = 10**13
    """Price of one proof beside its steps, wei."""
    wei_per_second: int = 0
    """Price of the machine, wei for each second that a proof of the tier takes (`unveto prover calibrate`)."""
    margin_permille: int = 100
    """Added to the cost; 100 is a tenth."""
    ms_per_proof: int = 8000
    """Time of one proof of a tier that was not calibrated, milliseconds."""
    overhead_ms: int = 3000
    """Time for receiving, checking and delivering, milliseconds."""
    max_size_log2: int = 20
    """Largest payload that is taken, log2 of bytes."""
    gas_floor_wei: int = 10**13
    """The least that any bid asks, wei."""
    bid_delay_ms: int = 0
    """Time between seeing a request and bidding."""
    threads: int = 2
    """Threads of one proof."""
    memory_mib: int = 3072
    """Private memory of a proving process beyond which it is refused more, MiB."""
    disk_mib: int = 4096
    """Disk that a command may use for one job, MiB."""
    job_files: int = 1024
    """Files that a command may have in its job directory."""
    max_jobs: int = 1
    """Orders that are proven at a time."""
    spare_bids: int = 0
    """Bids beyond `max_jobs` that may be open at a time; who wins more than it can prove pays with its bond."""
    memory_total_mib: int = 0
    """Host memory for all proofs; 0: what this machine has, less a quarter."""
    overrides: tuple[OverrideSection, ...] = ()
    """Exceptions from these prices; the first that covers a request counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposerSection:
    """The self-building proposer's sidecar."""

    sidecar_key: str = ""
    """File of the X25519 key that ready tables are sealed to; empty: `sidecar.key` in the node's folder."""
    execution_url: str = ""
    """JSON-RPC endpoint of the proposer's own execution client, which gets the transactions; empty: chain.rpc."""
    beacon_url: str = ""
    """Beacon node that knows the duties; empty: the schedule below."""
    validators: tuple[int, ...] = ()
    """Indices of the validators whose slots are ours, with a beacon node."""
    schedule: str = ""
    """Without a beacon node: "R/P" are the slots that leave R when divided by P; empty: tables are only pooled."""
    genesis_s: int = 0
    """Without a beacon node: unix seconds at which slot 0 begins."""
    slot_ms: int = 12000
    """Without a beacon node: length of a slot."""
    inject_ms: int = 4000
    """How long before a slot of ours its transactions are chosen and handed to the execution client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionsSection:
    """The L1 transactions of this node's account: the user's one transaction, claims, slashes."""

    tip_wei: int = 0
    """The least tip per gas; more if the execution client suggests more."""
    max_fee_wei: int = 500 * 10**9
    """Per gas, base fee included; above it nothing is signed and no fee is raised."""
    bump_after_ms: int = 36000
    """Time without inclusion after which both fees are raised by 13 %, and again; 0: never."""
    max_bumps: int = 6
    """How often, for one transaction."""
    final_depth: int = 64
    """Blocks on top of a transaction before it is taken for final; until then it is sent again if a reorg drops it."""
    pool: Literal["public", "private"] = "public"
    """public: chain.rpc gets the transactions, and who else its client tells. private: only `private_urls` do."""
    private_urls: tuple[str, ...] = ()
    """Execution clients that keep what they get to themselves, for example a proposer's own."""
    inclusion_list: Literal["ignore", "warn", "require"] = "warn"
    """What to do with a transaction that is too large for an inclusion list (EIP-7805, 8 KiB): require refuses the
    request before its auction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSection:
    """The HTTP API of nodes that keep a ready pool."""

    listen: str = "127.0.0.1:0"
    """Address and port of `GET /v1/ready`; port 0 takes a free one (`status.json` names it); empty: no API. Beyond
    loopback it does not show what is sealed to this node."""
    rate: int = 20
    """Requests a second that are answered, of everybody together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySection:
    """The relay."""

    witness: bool = False
    """Sign, whenever bids close, which ones were there in time: three such receipts prove that a better bid was passed
    over."""
    ticket: int = 0
    """Number of an escrow ticket of the relay's account; receipts without one count for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything one node needs to know."""

    role: Role
    """What this process does; one role per process."""
    data_dir: str = "~/.local/share/unveto"
    """Folder of the node's keys and database."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    store: StoreSection = field(default_factory=StoreSection)
    chain: ChainSection = field(default_factory=ChainSection)
    network: NetworkSection = field(default_factory=NetworkSection)
    requester: RequesterSection = field(default_factory=RequesterSection)
    prover: ProverSection = field(default_factory=ProverSection)
    proposer: ProposerSection = field(default_factory=ProposerSection)
    transactions: TransactionsSection = field(default_factory=TransactionsSection)
    api: ApiSection = field(default_factory=ApiSection)
    relay: RelaySection = field(default_factory=RelaySection)

    def path(self, name: str) -> Path:
        """A file in the node's folder."""
        return Path(self.data_dir).expanduser() / name

    @property
    def store_url(self) -> str:
        """The database that is meant."""
        return self.store.url or f"sqlite:///{self.path(DATABASE_NAME)}"


def _check(value: Any, hint: Any, where: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(where=where, problem="must be a table")
        return _build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(where=where, problem=f"must be one of {', '.join(get_args(hint))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(where=where, problem="must be a list")
        return tuple(_check(item, get_args(hint)[0], f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(hint, types.GenericAlias):
        raise AssertionError(f"unsupported hint {hint}")
    if hint is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError(where=where, problem="must be a whole number, 0 or more")
    if not isinstance(value, hint):
        raise ConfigError(where=where, problem=f"must be of type {hint.__name__}")
    return value


def _build(cls: type, table: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(where=f"{where}.{unknown[0]}" if where else unknown[0], problem="unknown key")
    for spec in dataclasses.fields(cls):
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and spec.name not in table:
            raise ConfigError(where=f"{where}.{spec.name}" if where else spec.name, problem="missing")
    values = {name: _check(value, hints[name], f"{where}.{name}" if where else name) for name, value in table.items()}
    return cls(**values)


def parse_config(text: str) -> NodeConfig:
    """Read a node's configuration.

    Raises:
        ConfigError: not TOML, an unknown key, a missing one, a wrong type or range.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where="file", problem=str(error)) from error
    config = _build(NodeConfig, table, "")
    assert isinstance(config, NodeConfig)
    return config


def load_config(path: Path) -> NodeConfig:
    """Read a configuration file of at most `MAX_CONFIG_BYTES`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(where=str(path), problem=error.strerror or "unreadable") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(where=str(path), problem=f"larger than {MAX_CONFIG_BYTES} bytes")
    try:
        return parse_config(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(where=str(path), problem="not UTF-8") from error


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "[" + ", ".join(_value(item) for item in value) + "]"


def dump_config(config: NodeConfig) -> str:
    """TOML text that `parse_config` reads back to an equal object."""

    def section(obj: Any, name: str) -> list[str]:
        plain, nested = [], []
        for spec in dataclasses.fields(obj):
            value = getattr(obj, spec.name)
            inner = f"{name}.{spec.name}" if name else spec.name
            if dataclasses.is_dataclass(value):
                nested += section(value, inner)
            elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
                for item in value:
                    nested += ["", f"[[{inner}]]", *section(item, "")]
            else:
                plain.append(f"{spec.name} = {_value(value)}")
        head = [f"\n[{name}]"] if name else []
        return head + plain + nested

    return "\n".join(section(config, "")) + "\n"
