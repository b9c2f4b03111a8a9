"""The node's configuration: every key has a home, and nothing else is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.config import MAX_CONFIG_BYTES, NodeConfig, dump_config, load_config, parse_config
from node.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def test_dumped_configuration_reads_back_equal() -> None:
    config = NodeConfig(role="prover", data_dir='/x/"quoted"\\path')

    assert parse_config(dump_config(config)) == config


def test_committed_template_holds_every_key_at_its_default() -> None:
    text = (CONFIGS / "node.toml").read_text()

    assert parse_config(text) == NodeConfig(role="relay")
    keys = [
        line.split(" = ")[0].lstrip("# ")
        for line in dump_config(NodeConfig(role="relay")).splitlines()
        if " = " in line
    ]
    written = [line.split(" = ")[0] for line in text.splitlines() if " = " in line and not line.startswith("#")]
    assert sorted(written) == sorted(keys)


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.toml")))
def test_committed_configurations_are_read(name: str) -> None:
    assert load_config(CONFIGS / name).role in ("relay", "requester")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("role = 'relay'\nspeed = 3", "speed"),
        ("role = 'relay'\n[chain]\nrpc = 'x'", "chain.rpc"),
        ("role = 'boss'", "role"),
        ("", "role"),
        ("role = 'relay'\n[chain]\nstart_block = -1", "chain.start_block"),
        ("role = 'relay'\n[chain]\nstart_block = true", "chain.start_block"),
        ("role = 'relay'\n[chain]\nstart_block = 1.5", "chain.start_block"),
        ("role = 'relay'\nchain = 3", "chain"),
        ("role = 'relay'\n[network]\npeers = 'a'", "network.peers"),
        ("role = 'relay'\n[network]\npeers = ['a', 3]", "network.peers[1]"),
        ("role = ", "file"),
    ],
)
def test_wrong_configuration_is_refused_by_name(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)

    assert caught.value.values["where"] == where


def test_oversize_file_is_refused_before_parsing(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))

    with pytest.raises(ConfigError, match="larger than"):
        load_config(path)


def test_missing_file_is_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NOD-001"):
        load_config(tmp_path / "absent.toml")
