"""The closing screen of the demo, from the same values as its JSON."""

from __future__ import annotations

from node.demo.findings import Findings
from node.output import Output

WEI_PER_GWEI = 10**9


def show(findings: Findings, out: Output) -> None:
    """Print everything that the story showed."""
    value = findings.json
    request = findings.request
    out.title("The auction")
    out.table(
        ("rank", "prover", "price (gwei)", "promised ms"),
        [
            (rank, bid["name"], f"{int(bid['price_wei']) // WEI_PER_GWEI:,}", bid["eta_ms"])
            for rank, bid in enumerate(value["bids"], 1)
        ],
    )
    out.title("What an observer of all gossip saw of the request")
    out.table(
        ("field", "value"),
        [
            ("statement commitment", request.statement_commit.hex()),
            ("payload commitment", request.payload_commit.hex()),
            ("tier, proofs", f"{request.tier}, {request.proof_count}"),
            ("work bucket", f"at most 2^{request.work_log2} steps"),
            ("size bucket", f"2^{request.size_log2} bytes"),
            ("frames, bytes", f"{value['gossip']['frames']}, {value['gossip']['bytes']}"),
            (
                "private fields found",
                f"{value['gossip']['payload_leaks']} of {value['gossip']['private_fields']}"
                " (frames and the losing provers' disks)",
            ),
        ],
    )
    out.title("The proof and the one transaction")
    proof, gas, table = value["proof"], value["gas"], value["table"]
    spent = gas["verify"] + gas["settle"] + gas["first_proxy"] + gas["other_calls"]
    out.table(
        ("part", "value"),
        [
            ("proof", f"{proof['system']}, tier {proof['tier']}, {proof['constraints']:,} constraints"),
            ("key", proof["key"]),
            ("proving", f"{proof['prove_ms']:,} ms, {proof['bytes']} bytes"),
            (
                "table",
                f"{table['entries']} entries, {table['core_bytes']} bytes; transaction {table['tx_bytes']} bytes",
            ),
            ("gas, whole transaction", f"{gas['total']:,}"),
            ("  verifying the proof", f"{gas['verify']:,}"),
            ("  settling the fee", f"{gas['settle']:,}"),
            ("  creating the caller's proxy, once", f"{gas['first_proxy']:,}"),
            ("  other calls (reader, oracle, proxy)", f"{gas['other_calls']:,}"),
            ("  calldata, load, storage, logs", f"{gas['replayed_total'] - spent:,}"),
        ],
    )
    out.title("Roots: before, after on L1, and rebuilt by the relays from logs alone")
    follower = value["follower"]["roots"]
    out.table(
        ("rollup", "before", "after", *follower),
        [
            (
                rollup,
                before[:14] + "…",
                value["roots"]["after"][rollup][:14] + "…",
                *(str(heads[rollup])[:14] + "…" for heads in follower.values()),
            )
            for rollup, before in value["roots"]["before"].items()
        ],
    )
    out.title("Balances, wei")
    out.table(
        ("whose", "before", "after"),
        [(name, pair["before_wei"], pair["after_wei"]) for name, pair in value["balances"].items()],
    )
    out.say(f"payee {value['payee']} received {value['payee_balance_delta_wei']} wei; agreed: {value['price_wei']} wei")
    for table_id, ready in value["ready_tables"].items():
        out.say(
            f"the proposer pulled table {table_id[:12]}… before landing: {ready['bytes']} bytes, checked at its head"
        )
    out.title("Timeline, ms")
    out.table(("step", "ms"), [(name, f"{at:,}") for name, at in value["timeline_ms"].items()])
