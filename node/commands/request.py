"""`unveto request`: ask the running requester for a table, and watch its order."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from market.lifecycle import TERMINAL, State
from node.commands import Commands
from node.commands.arguments import call_bytes, hexadecimal, wei
from node.commands.status import order_json
from node.commands.vm_calls import signed_call
from node.config import NodeConfig, load_config
from node.errors import NodeError, UsageError
from node.identity import load_or_create_rollup_key
from node.inbox import Inbox
from node.l1 import address_from_text
from node.orderview import OrderView
from node.output import Output
from protocol.constants import MAX_CORE_BYTES
from protocol.vm.transactions import transaction_domain

ANSWER_TIMEOUT_S: Final = 60
LOOK_EVERY_S: Final = 0.2
FOLLOW_S: Final = 15  # for planning the wish again
GOOD_ENDS: Final = frozenset({State.PAID})


class CommandRefused(NodeError):
    """The node answered with a coded refusal."""

    code = "NOD-011"
    text = "the node refused: {message}"


class NoAnswer(NodeError):
    """No node takes commands from this folder."""

    code = "NOD-012"
    text = "no running requester answered in {folder}"


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("request", parents=[common], help="have a call proven, landed and paid")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the running requester")
    parser.add_argument("--rollup", type=int, help="rollup id of the contract to call")
    parser.add_argument("--to", help="its address there, 0x and 40 digits")
    parser.add_argument("--call", help="signature and arguments, for example 'transfer(address,uint256) 0x.. 5'")
    parser.add_argument("--data", help="call data in hexadecimal instead of --call")
    parser.add_argument("--value", default="0", help="wei to send along")
    parser.add_argument("--transaction", metavar="HEX", help="instead of a call: a transaction made by `vm sign`")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="make the call a transaction of this key's account")
    parser.add_argument("--fee", default="0", metavar="AMOUNT", help="wei that such a transaction gives its prover")
    parser.add_argument("--table", type=Path, metavar="FILE", help="instead of both: a prepared table (.uvt)")
    parser.add_argument("--dry-run", action="store_true", help="show table, price and who sees what; spend nothing")
    parser.add_argument("--forced", type=int, metavar="INDEX", help="the transaction's place in the forced queue")
    parser.add_argument("--detach", action="store_true", help="do not wait for the order to end")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the order was paid (or, with --detach, accepted); 1 when it ended otherwise."""
    config = requester_config(args.config)
    arguments = signed_arguments(args, config) if args.sign is not None else request_arguments(args)
    if args.dry_run:
        with out.progress("planning"):
            planned = command(config, "plan", arguments)
        show_plan(planned, out)
        return 0
    with out.progress("planning"):
        answer = command(config, "request", arguments)
    order_id = bytes.fromhex(str(answer["request_id"]))
    out.say(f"request {order_id.hex()}")
    if args.detach:
        out.result({"request_id": order_id.hex()})
        return 0
    view = OrderView(config.path(""), config.store.url)
    order_id, ended = trio.run(_watch, view, order_id, out, config.requester.auction.rounds)
    out.result(order_json(view, order_id))
    return 0 if ended in GOOD_ENDS else 1


def request_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The command's arguments in the node's inbox.

    Raises:
        UsageError: not exactly one of a call, a transaction and a table.
    """
    if args.table is not None:
        if any(
            each is not None for each in (args.rollup, args.to, args.call, args.data, args.transaction, args.forced)
        ):
            raise UsageError(problem="a table says everything itself: no --rollup, --to, --call, --data, --transaction")
        return {"core": read_table(args.table).hex()}
    if args.rollup is None:
        raise UsageError(problem="give --rollup")
    if args.transaction is None:
        if args.to is None or args.forced is not None:
            raise UsageError(problem="give --to and a call, or --transaction; --forced goes with a transaction")
        data = call_bytes(args.call, args.data).hex()
        return {"rollup_id": args.rollup, "destination": args.to, "value_wei": str(wei(args.value)), "data": data}
    if args.to is not None or args.call is not None or args.data is not None or wei(args.value):
        raise UsageError(problem="a transaction says itself what it calls: no --to, --call, --data or --value")
    data = hexadecimal("--transaction", args.transaction).hex()
    return {"rollup_id": args.rollup, "transaction": True, "forced": args.forced, "data": data}


def read_table(path: Path) -> bytes:
    """A `.uvt` file (SPEC §5.2).

    Raises:
        UsageError: there is none, or it is longer than a table can be.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CORE_BYTES + 1)
    except OSError as error:
        raise UsageError(problem=f"{path}: {error.strerror}") from error
    if len(raw) > MAX_CORE_BYTES:
        raise UsageError(problem=f"{path} is longer than {MAX_CORE_BYTES} bytes")
    return raw


def signed_arguments(args: argparse.Namespace, config: NodeConfig) -> dict[str, Any]:
    """The arguments with a transaction that is signed here: the key does not go to the node.

    Raises:
        UsageError: not a call of a rollup's account.
    """
    if args.rollup is None or args.to is None or args.transaction is not None or args.table is not None:
        raise UsageError(problem="--sign goes with --rollup, --to and a call")
    if not args.sign.exists():
        raise UsageError(problem=f"no key file {args.sign}")
    key = load_or_create_rollup_key(args.sign)
    wanted = {"rollup_id": args.rollup, "address": "0x" + key.address.hex()}
    known = command(config, "account", wanted)
    domain = transaction_domain(int(known["chain_id"]), address_from_text(known["rollups"]))
    data = signed_call(
        key,
        call_bytes(args.call, args.data),
        domain=domain,
        rollup_id=args.rollup,
        nonce=int(known["nonce"]),
        to=args.to,
        value_wei=wei(args.value),
        fee_wei=wei(args.fee),
    )
    return {"rollup_id": args.rollup, "transaction": True, "forced": args.forced, "data": data.hex()}


def show_plan(planned: Mapping[str, Any], out: Output) -> None:
    """For people, or with --json as it is."""
    out.say(f"table {planned['core_id']}: tier {planned['tier']}, {planned['proofs']} proofs, {planned['steps']} steps")
    out.table(
        ("entry", "rollup", "trigger", "destination", "next", "of rollup", "destination"),
        [
            (
                place,
                entry["rollup_id"],
                entry["trigger"],
                entry["destination"],
                entry["next"],
                entry["next_rollup_id"],
                entry["next_destination"],
            )
            for place, entry in enumerate(planned["entries"])
        ],
    )
    price = planned["price"]
    out.say(f"price: at most {price['first_limit_wei']} wei at first, {price['most_wei']} wei in the end")
    told = [(who, what) for who, all_of_it in planned["seen_by"].items() for what in all_of_it]
    out.table(("who sees", "what"), told)
    out.result(planned)


def requester_config(path: Path) -> NodeConfig:
    """The configuration of a requester. Raises UsageError if it is one of another role."""
    return config_of(path, "requester")


def config_of(path: Path, *roles: str) -> NodeConfig:
    """The configuration of a node of one of these roles.

    Raises:
        UsageError: it is one of another role.
    """
    config = load_config(path)
    if config.role not in roles:
        raise UsageError(problem=f"{path} configures a {config.role}, not a {' or '.join(roles)}")
    return config


def command(config: NodeConfig, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave a command in the node's inbox and wait for its answer.

    Raises:
        CommandRefused, NoAnswer.
    """
    inbox = Inbox(config.path(""))
    try:
        answer = trio.run(_answer, inbox, inbox.ask(name, arguments))
    except trio.TooSlowError as error:
        raise NoAnswer(folder=config.path("")) from error
    if "error" in answer:
        raise CommandRefused(**answer["error"])
    return answer


async def _answer(inbox: Inbox, command_id: str) -> Mapping[str, Any]:
    with trio.fail_after(ANSWER_TIMEOUT_S):
        while (answer := inbox.answer_of(command_id)) is None:
            await trio.sleep(LOOK_EVERY_S)
    return answer


async def _watch(view: OrderView, order_id: bytes, out: Output, rounds: int) -> tuple[bytes, State]:
    """The order that ended the wish, which may be of a later auction, and its state."""
    for _ in range(rounds):
        state = await _watch_one(view, order_id, out)
        following = view.following(order_id)
        if state is State.EXPIRED and following is None:
            with trio.move_on_after(FOLLOW_S):
                while (following := view.following(order_id)) is None:
                    await trio.sleep(LOOK_EVERY_S)
        if following is None:
            return order_id, state
        order_id = following
        out.say(f"request {order_id.hex()}: another auction of the same wish")
    return order_id, await _watch_one(view, order_id, out)


async def _watch_one(view: OrderView, order_id: bytes, out: Output) -> State:
    told = 0
    while True:
        history = view.history(order_id)
        for line in history[told:]:
            out.say(f"{line.at_ms - history[0].at_ms:>7} ms  {line.event:<16} -> {line.target.value}  {line.reason}")
        told = len(history)
        state = view.order(order_id).state
        if state in TERMINAL:
            return state
        await trio.sleep(LOOK_EVERY_S)
