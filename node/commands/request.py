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
from node.config import NodeConfig, load_config
from node.errors import NodeError, UsageError
from node.inbox import Inbox
from node.orderview import OrderView
from node.output import Output

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
    parser.add_argument("--rollup", type=int, required=True, help="rollup id of the contract to call")
    parser.add_argument("--to", help="its address there, 0x and 40 digits")
    parser.add_argument("--call", help="signature and arguments, for example 'transfer(address,uint256) 0x.. 5'")
    parser.add_argument("--data", help="call data in hexadecimal instead of --call")
    parser.add_argument("--value", default="0", help="wei to send along")
    parser.add_argument("--transaction", metavar="HEX", help="instead of a call: a transaction made by `vm sign`")
    parser.add_argument("--forced", type=int, metavar="INDEX", help="the transaction's place in the forced queue")
    parser.add_argument("--detach", action="store_true", help="do not wait for the order to end")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the order was paid (or, with --detach, accepted); 1 when it ended otherwise."""
    config = requester_config(args.config)
    arguments = request_arguments(args)
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
        UsageError: neither a call nor a transaction, or both.
    """
    if args.transaction is None:
        if args.to is None or args.forced is not None:
            raise UsageError(problem="give --to and a call, or --transaction; --forced goes with a transaction")
        data = call_bytes(args.call, args.data).hex()
        return {"rollup_id": args.rollup, "destination": args.to, "value_wei": str(wei(args.value)), "data": data}
    if args.to is not None or args.call is not None or args.data is not None or wei(args.value):
        raise UsageError(problem="a transaction says itself what it calls: no --to, --call, --data or --value")
    data = hexadecimal("--transaction", args.transaction).hex()
    return {"rollup_id": args.rollup, "transaction": True, "forced": args.forced, "data": data}


def requester_config(path: Path) -> NodeConfig:
    """The configuration of a requester.

    Raises:
        UsageError: it is one of another role.
    """
    config = load_config(path)
    if config.role != "requester":
        raise UsageError(problem=f"{path} configures a {config.role}, not a requester")
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
