"""What a rehearsal of a transaction at the head means for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from eth_abi.abi import encode

from node.chain.evm import Outcome
from node.l1port import L1Port
from node.ports import ChainCall, Refused, TryAgain
from protocol.hashing import keccak256

CALL = ChainCall(purpose="land", to=b"\x01" * 20, data=b"")


class Rehearsed(L1Port):
    """A port whose every rehearsal ends in one revert."""

    output = b""

    async def simulate(
        self, call: ChainCall, *, sender: bytes | None = None, code: Mapping[bytes, bytes] = MappingProxyType({})
    ) -> Outcome:
        """The same, whatever is asked."""
        return Outcome(succeeded=False, output=self.output, gas_used=0, gas_refund=0, logs=(), halt=None, created=None)


def port(error: str, *values: int) -> L1Port:
    """Rehearsals revert with this error."""
    made = object.__new__(Rehearsed)
    kinds = ["uint64", "uint256"][: len(values)]
    made.__class__.output = keccak256(f"{error}({','.join(kinds)})".encode())[:4] + encode(kinds, values)
    return made


@pytest.mark.parametrize("error", ["AgreementNotOpen", "NotYetValid"])
async def test_what_is_too_early_is_tried_again(error: str) -> None:
    """A proof can be made before the chain's clock has reached the agreement: it must not cost the table."""
    with pytest.raises(TryAgain, match=f"TOO_EARLY: {error}"):
        await port(error, 9, 8).cost_wei(CALL)


async def test_what_would_revert_for_good_is_refused() -> None:
    """By its name."""
    with pytest.raises(Refused, match="WOULD_FAIL: AgreementExpired"):
        await port("AgreementExpired", 9, 8).cost_wei(CALL)
