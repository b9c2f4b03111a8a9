"""EIP-7702: an EOA that runs a contract's code, set by a real transaction of type 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account

from node.chain.evm import Outcome
from protocol.contracts.artifacts import call_data, decode_revert
from protocol.signing import AccountKey
from tests.support.evmworld import CHAIN_ID, Contract, Reverted, World

GAS_PRICE: Final = 10**10
GAS: Final = 8_000_000

Step = tuple[bytes, int, bytes]
"""Target, wei, call data."""
Load = tuple[bytes, bytes, bytes, bytes]
"""Core, proofs, expectations, settlement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """An EOA, by its key, and the runner whose code it runs."""

    world: World
    secret: bytes
    runner: Contract

    @property
    def address(self) -> bytes:
        """Of the EOA."""
        return bytes(AccountKey(self.secret).address)

    def send(
        self, to: bytes, data: bytes, *, value: int = 0, delegate: bool = False, chain_id: int = CHAIN_ID
    ) -> Outcome:
        """A transaction of the EOA's own, which also signs the delegation if asked."""
        nonce = self.world.nonce(self.address)
        fields: dict[str, Any] = {
            "type": 4 if delegate else 2,
            "chainId": chain_id,
            "nonce": nonce,
            "to": to,
            "value": value,
            "data": data,
            "gas": GAS,
            "maxFeePerGas": GAS_PRICE,
            "maxPriorityFeePerGas": 0,
        }
        if delegate:  # the sender's nonce is spent before its authorization is looked at
            authorization = {"chainId": chain_id, "address": self.runner.address, "nonce": nonce + 1}
            fields["authorizationList"] = [Account.sign_authorization(authorization, self.secret)]
        raw = bytes(Account.sign_transaction(fields, self.secret).raw_transaction)
        outcome = self.world.send_signed(raw)
        if not outcome.succeeded:
            raise Reverted(decode_revert(outcome.output), outcome.halt)
        return outcome

    def run(self, rollups: Contract, loads: list[Load], steps: list[Step], **how: Any) -> Outcome:
        """The bundle, by a transaction of the EOA to itself."""
        return self.send(self.address, bundle(rollups, loads, steps), **how)


def bundle(rollups: Contract, loads: list[Load], steps: list[Step]) -> bytes:
    """Call data of BundleRunner.run."""
    return call_data("BundleRunner", "run", rollups.hex, loads, steps)
