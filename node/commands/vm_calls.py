"""Call data that deploys a program, and transactions of a rollup's own users: made here, sent by whoever loads them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from node.commands.arguments import call_bytes, endpoint_of, wei
from node.errors import UsageError
from node.identity import load_or_create_rollup_key
from node.output import Output
from protocol.actions import Words, answer_words
from protocol.constants import MAX_WORDS
from protocol.types import Address, split_endpoint
from protocol.vm.deployment import deploy_calls, deployed_address
from protocol.vm.eddsa import SigningKey
from protocol.vm.isa import U128, Program
from protocol.vm.transactions import sign_transaction, transaction_domain

MAX_FORCED_WORDS: Final = 10


def add_sign(sign: argparse.ArgumentParser) -> None:
    """Arguments of `vm sign`."""
    sign.add_argument("--key", type=Path, required=True, help="file of the signer's secret, made if it is not there")
    sign.add_argument("--chain-id", type=int, required=True, help="of L1")
    sign.add_argument("--contract", required=True, metavar="ADDRESS", help="of Rollups on L1")
    sign.add_argument("--rollup", type=int, required=True, help="rollup id")
    sign.add_argument("--nonce", type=int, required=True, help="transactions of the signer so far")
    sign.add_argument("--to", required=True, metavar="ADDRESS", help="an account of the rollup")
    sign.add_argument("--call", metavar="'NAME(TYPES) VALUES'", help="function to call")
    sign.add_argument("--data", metavar="HEX", help="call data instead of --call: a selector and whole words")
    sign.add_argument("--value", default="0", metavar="AMOUNT", help="wei for the destination")
    sign.add_argument("--fee", default="0", metavar="AMOUNT", help="wei for whoever proves it")
    sign.set_defaults(run=run_sign)


def run_sign(args: argparse.Namespace, out: Output) -> int:
    """Sign a transaction; the signer's account is shown with it."""
    ranges = ((args.chain_id, 256), (args.rollup, 64), (args.nonce, 64))
    if not all(0 <= value < 1 << bits for value, bits in ranges):
        raise UsageError(problem="--chain-id, --rollup or --nonce is out of range")
    data = call_bytes(args.call, args.data)
    transaction_words(data)  # before a key is made
    key = load_or_create_rollup_key(args.key)
    transaction = signed_call(
        key,
        data,
        domain=transaction_domain(args.chain_id, _account(args.contract)),
        rollup_id=args.rollup,
        nonce=args.nonce,
        to=args.to,
        value_wei=wei(args.value),
        fee_wei=wei(args.fee),
    )
    out.say(f"account 0x{key.address.hex()} of rollup {args.rollup}")
    out.say("0x" + transaction.hex())
    if len(data) > 4 + 32 * MAX_FORCED_WORDS:
        out.say(f"note: with more than {MAX_FORCED_WORDS} words it cannot be forced")
    out.result({"sender": "0x" + key.address.hex(), "transaction": "0x" + transaction.hex()})
    return 0


def transaction_words(data: bytes) -> Words:
    """Argument words of call data.

    Raises:
        UsageError: a transaction cannot carry them.
    """
    words = answer_words(data[4:])
    if len(data) % 32 != 4 or len(words) > MAX_WORDS:
        raise UsageError(problem=f"a transaction carries a selector and at most {MAX_WORDS} words of 32 bytes")
    return words


def signed_call(
    key: SigningKey,
    data: bytes,
    *,
    domain: int,
    rollup_id: int,
    nonce: int,
    to: str,
    value_wei: int,
    fee_wei: int,
) -> bytes:
    """A transaction that calls an account of a rollup.

    Args:
        data: a selector and whole words.
        to: address in hexadecimal.

    Raises:
        UsageError: a transaction cannot carry these data.
    """
    return sign_transaction(
        key,
        domain=domain,
        rollup_id=rollup_id,
        nonce=nonce,
        destination=_account(to),
        selector=int.from_bytes(data[:4], "big"),
        words=transaction_words(data),
        value=value_wei,
        fee=fee_wei,
    )


def deploy(program: Program, caller: str, salt: int, out: Output) -> int:
    """Show where a program will be, and the calls to 0x..01 that put it there."""
    if not 0 <= salt < U128:
        raise UsageError(problem="--salt is below 2^128")
    address = f"0x{deployed_address(endpoint_of(caller), salt):040x}"
    calls = ["0x" + data.hex() for data in deploy_calls(program, salt)]
    out.say(f"{len(calls)} calls to 0x{1:040x} by {caller}; the program will be at {address}")
    for data in calls:
        out.say(data)
    out.result({"address": address, "calls": calls, "code_hash": f"{program.code_hash:#066x}"})
    return 0


def _account(text: str) -> Address:
    return split_endpoint(endpoint_of(text))[1]
