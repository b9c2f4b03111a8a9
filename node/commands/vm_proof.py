"""Proving a trial of a program, so that whoever writes one learns whether it can be proven, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from node.output import Output
from protocol.challenge import challenge
from protocol.statement import tier_by_number
from protocol.types import ZERO_HASH
from protocol.vm.machine import EntryRun
from protocol.vm.trial import TRIAL_ROLLUP, trial_core
from proving import groth16
from proving.circuit.plan import smallest_that_fits
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import prepare
from proving.confine import leave_no_core_dump
from proving.keys import cached_dev_key
from proving.native import load
from proving.zkey import read_zkey


def prove_trial(runs: Sequence[EntryRun], *, l2_time: int, out: Output) -> Mapping[str, object]:
    """Make the trial's table, prove it as the only rollup's prover would, and verify the proof.

    The proof is bound to no chain, and a developer key's secrets are known: it shows only that a proof can be made.

    Raises:
        CircuitError: no circuit has room for it.
    """
    leave_no_core_dump()
    core = trial_core(runs, l2_time=l2_time)
    tier = tier_by_number(smallest_that_fits(core, TRIAL_ROLLUP, runs))
    prepared = prepare(tier.number, core, TRIAL_ROLLUP, runs[0].pre)
    z = challenge(family=ZERO_HASH, tier=tier.number, public_input=ZERO_HASH, words=prepared.words, h=prepared.h)
    witness = prepared.finish(z)
    load(out.say)
    circuit = circuit_for(tier.number)
    with out.progress("developer key"):
        zkey = cached_dev_key(circuit.r1cs_bytes, notice=out.say)
    began = time.monotonic()
    with out.progress("proving"):
        proof, public = groth16.prove(zkey, witness.wtns)
    took_ms = round((time.monotonic() - began) * 1000)
    groth16.verify(read_zkey(zkey).verifying_key(), public, proof)
    out.say(f"proven in tier {tier.name} in {took_ms} ms, and verified")
    return {"tier": tier.name, "entries": len(core.entries), "prove_ms": took_ms, "verified": True}
