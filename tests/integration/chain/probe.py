"""Drives the contract of contracts/Probe.sol over raw JSON-RPC, without the client code under test."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_account import Account
from eth_hash.auto import keccak

from node.chain.devaccounts import DEV_CHAIN_ID, DevAccount
from node.chain.transport import HttpTransport

ARTIFACT: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "contracts" / "Probe.json").read_text())
GWEI: Final = 10**9


def calldata(signature: str, *arguments: object) -> bytes:
    """ABI-encoded call, e.g. calldata("store(uint256,uint256)", 1, 2)."""
    types = [each for each in signature.partition("(")[2].rstrip(")").split(",") if each]
    return keccak(signature.encode())[:4] + encode(types, arguments)


def signed(account: DevAccount, nonce: int, **fields: object) -> bytes:
    """Raw EIP-1559 transaction; fields override the defaults."""
    transaction: dict[str, Any] = {
        "type": 2,
        "chainId": DEV_CHAIN_ID,
        "nonce": nonce,
        "value": 0,
        "gas": 3_000_000,
        "maxFeePerGas": 3 * GWEI,
        "maxPriorityFeePerGas": GWEI,
        "data": b"",
    }
    transaction.update(fields)
    return bytes(Account.from_key(account.key).sign_transaction(transaction).raw_transaction)


@dataclass(frozen=True, slots=True)
class Probe:
    """A deployed probe."""

    transport: HttpTransport
    account: DevAccount
    address: bytes

    @classmethod
    def deploy(cls, transport: HttpTransport, account: DevAccount) -> Probe:
        """Deploy with 5 wei."""
        receipt = send(transport, account, data=bytes.fromhex(ARTIFACT["bytecode"][2:]), value=5)
        assert receipt["status"] == "0x1"
        return cls(transport, account, bytes.fromhex(receipt["contractAddress"][2:]))

    def request(self, signature: str, *arguments: object) -> dict[str, str]:
        """Call object for eth_call and eth_estimateGas."""
        return {
            "from": "0x" + self.account.address.hex(),
            "to": "0x" + self.address.hex(),
            "data": "0x" + calldata(signature, *arguments).hex(),
        }

    def call(self, signature: str, *arguments: object, returns: str, tag: Any = "latest") -> tuple[Any, ...]:
        """eth_call, decoded as the comma-separated types of `returns`."""
        output = self.transport.request("eth_call", self.request(signature, *arguments), tag)
        return tuple(decode(returns.split(","), bytes.fromhex(output[2:])))

    def send(self, signature: str, *arguments: object, **fields: object) -> dict[str, Any]:
        """Transaction to the probe; its receipt."""
        return send(self.transport, self.account, to=self.address, data=calldata(signature, *arguments), **fields)


def nonce_of(transport: HttpTransport, account: DevAccount) -> int:
    """Next nonce on the chain."""
    return int(transport.request("eth_getTransactionCount", "0x" + account.address.hex(), "latest"), 16)


def send(transport: HttpTransport, account: DevAccount, **fields: object) -> dict[str, Any]:
    """Sign, send and return the receipt of a transaction that is mined at once."""
    raw = signed(account, nonce_of(transport, account), **fields)
    tx_hash = transport.request("eth_sendRawTransaction", "0x" + raw.hex())
    return receipt_of(transport, tx_hash)


def receipt_of(transport: HttpTransport, tx_hash: str) -> dict[str, Any]:
    """Receipt of a transaction that is being mined: anvil answers before it has mined."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        receipt: dict[str, Any] | None = transport.request("eth_getTransactionReceipt", tx_hash)
        if receipt is not None:
            return receipt
    raise AssertionError("not mined", tx_hash)
