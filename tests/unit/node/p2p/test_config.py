"""Settings of a host."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import node.p2p
from node.p2p.config import P2PConfig
from node.p2p.errors import ConfigInvalid


def test_every_setting_is_read_by_the_package() -> None:
    """A setting that nothing reads is a lie to the operator."""
    folder = Path(next(iter(node.p2p.__path__)))
    source = "\n".join(path.read_text() for path in folder.glob("*.py") if path.name != "config.py")

    unread = [field.name for field in fields(P2PConfig) if not re.search(rf"onfig\.{field.name}\b", source)]

    assert [] == unread


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"max_connections": 0}, "max_connections"),
        ({"ping_timeout_s": -1.0}, "ping_timeout_s"),
        ({"ban_s": float("nan")}, "ban_s"),
        ({"listen": ()}, "listen"),
        ({"degree": 3}, "degree"),
        ({"degree": 13}, "degree"),
        ({"redial_min_s": 11.0}, "redial_min_s"),
        ({"publish_queue": 32}, "publish_queue"),
        ({"max_inbound_requests": 4}, "max_inbound_requests_per_peer"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], key: str) -> None:
    """The operator learns which key and which rule."""
    with pytest.raises(ConfigInvalid) as error:
        P2PConfig(**settings)

    assert key == error.value.key
    assert key in str(error.value)
