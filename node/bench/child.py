"""A measured process: `python -m node.bench.child` reads one job as JSON and prints what it measured as JSON.

Each measurement runs in a process of its own, so that its peak memory and CPU-seconds are its own. Jobs:

    {"work": "make", "log2", "folder"}                              a circuit of 2^log2, its developer key and a witness
    {"work": "prove", "zkey", "wtns", "proof", "public", "backend", "threads"}        one proof, written as JSON files
    {"work": "msm", "log2", "group", "runs", "threads"}             sums of the same points and scalars
    {"work": "ntt", "log2", "runs", "threads"}                      transforms to the odd coset
"""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proving import reference
from proving.backends import Backend, prover
from proving.bench_circuit import bench_circuit, rows_filling
from proving.bn254 import R
from proving.errors import ProvingError
from proving.native import Options, PointSetArg, load, view, writable
from proving.prepared import radix_bits
from proving.setup_dev import setup_dev
from proving.snark_json import proof_json, public_json
from proving.wtns import write_wtns

SEED: Final = 1
ZKEY, WTNS, PROOF, PUBLIC = "bench.zkey", "bench.wtns", "proof.json", "public.json"


def timed(run: Callable[[], None]) -> dict[str, float]:
    """CPU-seconds of all threads of this process, user and system, and wall seconds of a call."""
    wall, cpu = time.perf_counter(), _cpu_s()
    run()
    return {"cpu_s": _cpu_s() - cpu, "wall_s": time.perf_counter() - wall}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Writes a key and a witness that fill a domain."""
    folder = Path(job["folder"])
    circuit = bench_circuit(rows_filling(job["log2"]), seed=SEED)
    setup = timed(lambda: _drop(setup_dev(circuit.r1cs, folder / ZKEY)))
    (folder / WTNS).write_bytes(write_wtns(circuit.witness))
    return {"setup": setup, "constraints": circuit.r1cs.n_constraints}


def _drop(_value: object) -> None:
    pass


def prove(job: dict[str, Any]) -> dict[str, Any]:
    """One proof from files; what is measured begins with opening them and ends with the verified proof."""
    load()
    options = Options(threads=job["threads"])
    make_proof = prover(Backend(job["backend"]))
    made: list[Any] = []
    run = timed(lambda: made.append(make_proof(Path(job["zkey"]), Path(job["wtns"]), options=options)))
    ((proof, public),) = made
    Path(job["proof"]).write_text(proof_json(proof))
    Path(job["public"]).write_text(public_json(public))
    return {"runs": [run]}


def msm(job: dict[str, Any]) -> dict[str, Any]:
    """Sums over random points that are known multiples of the generator.

    The check is another way to the same point: the sum of scalars times multiples, as integers, times the generator
    by the slow reference.
    """
    options = Options(threads=job["threads"])
    group, count = job["group"], 1 << job["log2"]
    rng = random.Random(SEED)
    multiples, scalars = ([rng.randrange(R) for _ in range(count)] for _ in range(2))
    size = 64 * group
    evm, section = bytearray(size * count), bytearray(size * count)
    load().call("probe_fixed_base", options, group, view(_packed(multiples)), writable(evm))
    load().call("points_evm_to_zkey", options, group, view(evm), writable(section))
    # Points on cache lines, as in a prepared key.
    points, places, found = memoryview(mmap.mmap(-1, size * count)), bytearray(4 * count), ctypes.c_uint32()
    load().call(
        "prepare_points", options, group, radix_bits(options), view(section), 0, writable(points), writable(places),
        ctypes.byref(found),
    )  # fmt: skip
    prepared = PointSetArg(view(points), view(places))
    packed, out = _packed(scalars), bytearray(size)

    def run() -> None:
        load().call("probe_msm_of_set", options, group, ctypes.byref(prepared), view(packed), writable(out))

    run()  # warm-up: the first one takes its memory from the system
    runs = [timed(run) for _ in range(job["runs"])]
    expected = sum(a * s for a, s in zip(multiples, scalars, strict=True)) % R
    return {"runs": runs, "verified": bytes(out) == _multiple_of_generator(group, expected)}


def _packed(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(32, "little") for value in values)


def _multiple_of_generator(group: int, factor: int) -> bytes:
    """A point in EVM encoding: big-endian, of G2 the second coefficient first; infinity is all zero."""
    numbers: tuple[int, ...] = (0, 0) * group
    if group == 1 and (p := reference.g1_mul(reference.G1_GENERATOR, factor)) is not None:
        numbers = p
    if group == 2 and (q := reference.g2_mul(reference.G2_GENERATOR, factor)) is not None:
        numbers = (q[0][1], q[0][0], q[1][1], q[1][0])
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def ntt(job: dict[str, Any]) -> dict[str, Any]:
    """Values on the domain to values on the odd coset: an inverse transform, a shift and a transform.

    Checks: the map applied again gives the first values, moved by one place, since the odd coset is half a step of the
    domain; and one value is that of the interpolation polynomial, by the barycentric formula.
    """
    options = Options(threads=job["threads"])
    count = 1 << job["log2"]
    rng = random.Random(SEED)
    values = [rng.randrange(R) for _ in range(count)]
    first = _packed(values)
    runs, out = [], bytearray(first)
    for _ in range(1 + job["runs"]):
        out = bytearray(first)
        runs.append(timed(lambda buffer=out: load().call("probe_odd_coset", options, writable(buffer))))  # type: ignore[misc]
    again = bytearray(out)
    load().call("probe_odd_coset", options, writable(again))
    place = rng.randrange(count)
    evaluated = _on_odd_coset(values, place).to_bytes(32, "little")
    verified = again == first[32:] + first[:32] and out[32 * place : 32 * place + 32] == evaluated
    return {"runs": runs[1:], "verified": verified}


def _on_odd_coset(values: list[int], place: int) -> int:
    """P(z) for the polynomial with P(w^j) = values[j], at z = w_2n^(2 place + 1), where z^n = -1."""
    count = len(values)
    half_step = pow(5, (R - 1) // (2 * count), R)
    z, root = pow(half_step, 2 * place + 1, R), half_step * half_step % R
    # P(z) = (z^n - 1)/n sum_j values[j] w^j / (z - w^j); the quotients from one inversion of the running product.
    powers, products, product = [], [], 1
    power = 1
    for _ in range(count):
        powers.append(power)
        products.append(product)
        product = product * (z - power) % R
        power = power * root % R
    inverse, total = pow(product, -1, R), 0
    for j in reversed(range(count)):
        total += values[j] * powers[j] * (inverse * products[j] % R)
        inverse = inverse * (z - powers[j]) % R
    return -2 * pow(count, -1, R) * total % R


WORK: Final = {"make": make, "prove": prove, "msm": msm, "ntt": ntt}


def main() -> int:
    """Does one job; a coded error is printed in the place of the result."""
    job = json.load(sys.stdin)
    try:
        result = WORK[job["work"]](job)
    except ProvingError as error:
        result = {"code": error.code, "reason": error.reason}
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
