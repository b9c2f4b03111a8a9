"""A table that needs a larger tier than its rollup has a key of is refused before any auction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from node.chain.errors import ExecutionReverted
from node.errors import PlanError
from node.planning import TablePlanner
from protocol.types import ZERO_ADDRESS

GROTH16, OTHER, FAMILY = b"\x01" * 20, b"\x02" * 20, b"\x03" * 32
pytestmark = pytest.mark.trio


@dataclass
class Keys:
    """L1's answers: a family of two tiers, and a system that has no keys."""

    asked: int = 0

    async def verifying_key(self, system: bytes, _family: bytes, tier: int) -> bytes | None:
        """As `Contracts`."""
        self.asked += 1
        if system == OTHER:
            raise ExecutionReverted(b"", None)
        return b"key" if tier < 2 else None


def planner(keys: Keys) -> TablePlanner:
    """One that asks nothing else."""
    return TablePlanner(
        contracts=cast(Any, keys), follower=cast(Any, None), fee_recipient=ZERO_ADDRESS, confirmations=0
    )


@pytest.mark.parametrize("tier", [0, 1, 2, 3])
async def test_a_tier_without_a_key_is_refused_by_name(tier: int) -> None:
    keys = Keys()
    if tier < 2:
        await planner(keys)._require_key(5, GROTH16, FAMILY, tier)
    else:
        with pytest.raises(PlanError, match=f"TIER_KEY: rollup 5 has no verifying key of tier {'SMLX'[tier]}"):
            await planner(keys)._require_key(5, GROTH16, FAMILY, tier)

    assert keys.asked == (tier > 0)


async def test_another_proof_system_is_asked_for_no_key() -> None:
    keys = Keys()
    await planner(keys)._require_key(5, OTHER, FAMILY, 3)

    assert keys.asked == 1
