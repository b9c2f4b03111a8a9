"""The demo's story: one intent, from the user's wish to the payee's ether, on real nodes and a real chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from market.lifecycle import TERMINAL, Order, State
from node.chain.evm import Call, Outcome
from node.chain.localevm import LocalEvm, Overrides
from node.chain.records import Receipt
from node.config import AuctionSection, StandardSection
from node.demo.cast import Cast, casting, enter, give_money, status_of
from node.demo.findings import Findings, disks, read_findings
from node.demo.stage import READER, L1Kind, Stage, open_l1, raise_stage
from node.errors import NodeError
from node.inbox import Inbox
from node.l1 import address_from_text
from node.launch import stop_all
from node.orderview import OrderView
from node.output import Output
from protocol.contracts.artifacts import call_data
from protocol.hashing import selector
from proving.circuit.stored import stored_r1cs
from proving.keys import cached_dev_key
from proving.zkey import read_zkey

TIER: Final = 0
TICKET: Final = 0  # the first ticket of an account
STORY_TIMEOUT_S: Final = 240
ANSWER_TIMEOUT_S: Final = 60
FOLLOWER_TIMEOUT_S: Final = 20
LOOK_EVERY_S: Final = 0.1
BEFORE_LANDING: Final = frozenset({State.VERIFIED, State.TX_STORED})
Disks = Mapping[str, Sequence[tuple[str, bytes]]]
DEMO_AUCTION: Final = AuctionSection(
    lane="standard",
    standard=StandardSection(bid=1_500, accept=3_000, ack=45_000, prove=120_000, margin=60_000, claim=3_600_000),
    ready_wait_ms=4_000,
)


class StoryFailed(NodeError):
    """The story ended otherwise than it should."""

    code = "NOD-010"
    text = "the order ended as {state}: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the story is played."""

    folder: Path
    """Empty folder for the nodes."""
    l1_kind: L1Kind = "py-evm"
    l1_url: str | None = None
    l1_key: str | None = None
    auction: AuctionSection = DEMO_AUCTION


async def play(options: Options, out: Output) -> Findings:
    """Play the story; what was found.

    Raises:
        StoryFailed, NodeDied, and whatever the chain or the core says.
    """
    zkey = await trio.to_thread.run_sync(partial(_key, out))
    verifying_key = (await trio.to_thread.run_sync(read_zkey, zkey)).verifying_key().to_bytes()
    async with open_l1(options.l1_kind, options.l1_url, options.l1_key) as l1:
        out.title("1. A development L1, the contracts, two rollups")
        stage = await raise_stage(l1, verifying_key)
        out.say(f"{l1.kind} at {l1.url}, chain {stage.contracts.chain_id}")
        out.say(f"Rollups 0x{stage.deployment.rollups.hex()}, market 0x{stage.deployment.market.hex()}")
        out.say(
            f"rollup A = {stage.rollup_a} runs an option on the oracle's price, rollup B = {stage.rollup_b} a counter"
        )
        cast = casting(stage, options.folder, options.auction, zkey)
        out.title("2. Seven nodes, one process each")
        await give_money(stage, cast)
        try:
            await enter(cast)
            out.say(", ".join(f"{node.name} (pid {status_of(node, 'node')['pid']})" for node in cast.all))
            return await _act(stage, cast, out)
        finally:
            await stop_all(list(cast.all))


def _key(out: Output) -> Path:
    with out.progress("developer key (made once: half a minute)"):
        return cached_dev_key(stored_r1cs(TIER), notice=out.say)


async def _act(stage: Stage, cast: Cast, out: Output) -> Findings:
    roots_before = {r: (await stage.contracts.rollup(r)).root for r in (stage.rollup_a, stage.rollup_b)}
    user = address_from_text(str(status_of(cast.user, "node")["account"]))
    ticket_before = (await stage.contracts.ticket(user, TICKET)).amount_wei
    out.title("3. The user wants: call A's option from L1; it asks the L1 oracle, whose answer decides A's state")
    order_id = await _wish(stage, cast)
    view = OrderView(cast.user.folder)
    out.say(f"planned from L1 logs alone; request {order_id.hex()[:16]}… commits to it")
    out.title("4.-6. Sealed auction, proof, one transaction")
    with trio.fail_after(STORY_TIMEOUT_S):
        order, disks_before_landing = await _watch(view, order_id, cast, out)
    if order.state is not State.PAID:
        raise StoryFailed(state=order.state.value, reason=order.reason or "no reason")
    receipt = await stage.rpc.wait_receipt(view.landing(order_id).tx_hash)
    await _follower_at(cast, receipt.block_number)
    payee = view.payee(order_id)
    payee_before, payee_after = await _collect(stage, payee)
    return read_findings(
        stage=stage,
        cast=cast,
        view=view,
        order_id=order_id,
        receipt=receipt,
        replay=await _replay(stage, view, order_id, receipt),
        roots_before=roots_before,
        roots_after={r: (await stage.contracts.rollup(r)).root for r in roots_before},
        balances={
            "payee": (payee_before, payee_after),
            "user_ticket": (ticket_before, (await stage.contracts.ticket(user, TICKET)).amount_wei),
        },
        disks_before_landing=disks_before_landing,
    )


async def _wish(stage: Stage, cast: Cast) -> bytes:
    """What `unveto request` does: a command in the user's inbox."""
    inbox = Inbox(cast.user.folder)
    command = inbox.ask(
        "request",
        {
            "rollup_id": stage.rollup_a,
            "destination": READER.hex(),
            "value_wei": "0",
            "data": selector("settle()").to_bytes(4, "big").hex(),
        },
    )
    answer = await _answer(inbox, command)
    if "error" in answer:
        raise StoryFailed(state="refused", reason=str(answer["error"]))
    return bytes.fromhex(str(answer["request_id"]))


async def _answer(inbox: Inbox, command: str) -> Mapping[str, Any]:
    with trio.fail_after(ANSWER_TIMEOUT_S):
        while (answer := inbox.answer_of(command)) is None:
            await trio.sleep(LOOK_EVERY_S)
        return answer


async def _watch(view: OrderView, order_id: bytes, cast: Cast, out: Output) -> tuple[Order, Disks]:
    """Tell what happens until the order is over; also the provers' disks as they were just before the landing."""
    told = 0
    captured: Disks = {}
    while True:
        history = view.history(order_id)
        for line in history[told:]:
            out.say(f"{line.at_ms - history[0].at_ms:>7} ms  {line.event:<16} -> {line.target.value}  {line.reason}")
        told = len(history)
        order = view.order(order_id)
        if order.state in BEFORE_LANDING:
            captured = disks(cast)
        if order.state in TERMINAL:
            return order, captured
        for node in cast.all:
            if node.poll() is not None:
                await node.status("node", timeout_s=0)  # raises NodeDied with the end of its log
        await trio.sleep(LOOK_EVERY_S)


async def _follower_at(cast: Cast, number: int) -> None:
    with trio.fail_after(FOLLOWER_TIMEOUT_S):
        for relay in cast.relays:
            while int(str(status_of(relay, "rollups").get("block", -1))) < number:
                await trio.sleep(LOOK_EVERY_S)


async def _collect(stage: Stage, payee: bytes) -> tuple[int, int]:
    """Anybody may send a payee its credit; the payee's ether before and after."""
    before = await stage.rpc.balance(payee)
    await stage.deployer.send(stage.deployment.market, call_data("IProofMarket", "collect", payee))
    return before, await stage.rpc.balance(payee)


async def _replay(stage: Stage, view: OrderView, order_id: bytes, receipt: Receipt) -> Outcome:
    """The landed transaction again, on the block before it: who spent the gas."""
    block = await stage.rpc.block(receipt.block_number - 1)
    landed = await stage.rpc.block(receipt.block_number)
    assert block is not None
    assert landed is not None
    call = view.landing_call(order_id)
    evm = LocalEvm(stage.rpc.transport, block, chain_id=stage.contracts.chain_id)
    message = Call(sender=call.sender, to=call.to, value=call.value, data=call.data, gas=call.gas)
    return await trio.to_thread.run_sync(
        lambda: evm.run(message, Overrides(timestamp=landed.timestamp, number=landed.number))
    )
