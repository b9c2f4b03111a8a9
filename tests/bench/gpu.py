"""Builds the CUDA prover, checks it against the CPU prover and measures it: `python -m tests.bench.gpu`.

One run of at most nine minutes. Every row is printed as soon as it is measured, so that a run that is cut short keeps
what it has; a short table ends it. Without a device it says so with a coded message; `--host` runs the checks on the
host build of the same kernels. Each sum is compared with one computed another way, each measured proof is verified.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from proving import cuda
from proving.bench_circuit import bench_circuit, rows_filling
from proving.bn254 import R
from proving.build_cuda import build, build_for_host, local_architectures
from proving.cuda import CudaCore, DevicePoints, Placement, ResidentKey
from proving.errors import CudaNoDevice, CudaOutOfMemory, ProvingError
from proving.groth16 import prove, prove_with_fixed_blinding_for_tests, verify
from proving.native import DEFAULT_OPTIONS, load, view, writable
from proving.prepared import prepare
from proving.setup_dev import known_secrets, make_key
from proving.wtns import Witness, write_wtns
from proving.zkey import Zkey, write_zkey
from tests.bench.floors import WIDE_PER_MULTIPLICATION, proof_work, sum_multiplications, transform_multiplications

SEED: Final = 20_000
IN_FLIGHT: Final = (2, 3, 4)
PEER_RUNS: Final = 3
GOAL_PROOF_MS: Final = 20.0
GOAL_OVER_FLOOR: Final = 1.5


@dataclass(slots=True)
class Run:
    """What has been measured, and how much time is left."""

    ends: float
    sink: Path | None
    rows: list[dict[str, object]] = field(default_factory=list)
    wide_per_s: float = 0.0
    repeats: int = 11
    """Of a kernel whose time is taken."""
    proofs: int = 21
    """For a latency, and for each thread of a throughput."""

    def has(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self.ends

    def floor_ms(self, multiplications: float) -> float:
        return multiplications * WIDE_PER_MULTIPLICATION / self.wide_per_s * 1000

    def row(self, what: str, size: str, value: str, **numbers: object) -> None:
        left = max(0, round(self.ends - time.monotonic()))
        print(f"{what:<34} {size:>6}  {value}   [{left} s left]", flush=True)
        self.rows.append({"what": what, "size": size, "value": value, **numbers})
        if self.sink is not None:
            self.sink.write_text(json.dumps(self.rows, indent=1) + "\n")


def plain(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(32, "little") for v in values)


def generator_times(group: int, scalar: int) -> bytes:
    out = bytearray((64, 128)[group - 1])
    load().call("probe_fixed_base", DEFAULT_OPTIONS, group, view(plain([scalar])), writable(out))
    return bytes(out)


def random_scalars(count: int, seed: int) -> bytearray:
    """Dense scalars below 2^253."""
    raw = np.random.default_rng(seed).integers(0, 256, size=(count, 32), dtype=np.uint8)
    raw[:, 31] &= 0x1F
    return bytearray(raw.tobytes())


def expected_scalar(scalars: bytearray, seed: int) -> int:
    """sum scalars[i] splitmix64(seed + i) mod r, exactly: products of 16-bit limbs add up below 2^53 in each piece."""
    count = len(scalars) // 32
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    left = np.frombuffer(scalars, dtype="<u2").reshape(count, 16)
    right = x.view("<u2").reshape(count, 4)
    total = 0
    for at in range(0, count, 1 << 20):
        products = left[at : at + (1 << 20)].T.astype(np.float64) @ right[at : at + (1 << 20)].astype(np.float64)
        total += sum(int(products[i, j]) << (16 * (i + j)) for i in range(16) for j in range(4))
    return total % R


def measure_sum(run: Run, core: CudaCore, group: int, log_size: int) -> None:
    count = 1 << log_size
    scalars = random_scalars(count, log_size)
    points = DevicePoints.make(core, group, count, SEED)
    total, milliseconds = points.multiply(scalars, run.repeats)
    points.close()
    if total != generator_times(group, expected_scalar(scalars, SEED)):
        raise SystemExit(f"WRONG SUM: G{group}, 2^{log_size}")
    floor = run.floor_ms(sum_multiplications(count, group))
    run.row(
        f"MSM G{group}, resident points",
        f"2^{log_size}",
        f"{milliseconds:8.3f} ms   floor {floor:7.3f} ms   {milliseconds / floor:5.2f}x",
        ms=milliseconds,
        floor_ms=floor,
    )


def measure_transform(run: Run, core: CudaCore, log_size: int) -> None:
    values = random_scalars(1 << log_size, log_size)
    expected = bytearray(values) if log_size <= 18 else None
    milliseconds = cuda.odd_coset(core, values, repeats=run.repeats)
    if expected is not None:
        load().call("probe_odd_coset", DEFAULT_OPTIONS, writable(expected))
        if values != expected:
            raise SystemExit(f"WRONG TRANSFORM: 2^{log_size}")
    floor = run.floor_ms(transform_multiplications(log_size))
    run.row(
        "NTT", f"2^{log_size}", f"{milliseconds:8.3f} ms   floor {floor:7.3f} ms   {milliseconds / floor:5.2f}x",
        ms=milliseconds, floor_ms=floor,
    )  # fmt: skip


def check(core: CudaCore, log_size: int, orders: tuple[int, ...]) -> None:
    """Fields, sums and proofs against the CPU, byte by byte."""
    rng = np.random.default_rng(5)
    for name, modulus_index in (("Fq", 0), ("Fr", 1)):
        left, right = random_scalars(512, 1), random_scalars(512, 2)
        for operation in range(3):
            expected = bytearray(len(left))
            load().call(
                "probe_field", DEFAULT_OPTIONS, modulus_index, operation, view(left), view(right), writable(expected)
            )
            if cuda.field_operation(core, modulus_index, operation, left, right) != expected:
                raise SystemExit(f"WRONG FIELD OPERATION: {name} {operation}")
    circuit = bench_circuit(rows_filling(log_size))
    key = make_key(circuit.r1cs, known_secrets(circuit.r1cs.circuit_hash()))
    r1, r2 = int(rng.integers(1, 1 << 60)), int(rng.integers(1, 1 << 60))
    expected_proof = prove_with_fixed_blinding_for_tests(prepare(key), circuit.witness, r1, r2)
    for order in orders:
        for placement in (Placement(host_order=order, tables=1), Placement(host_order=order, tables=3)):
            with ResidentKey(key, placement, core) as resident:
                if resident.prove_with_fixed_blinding_for_tests(circuit.witness, r1, r2) != expected_proof:
                    raise SystemExit(f"WRONG PROOF: 2^{log_size}, {placement}")
    print(f"checked: fields, and proofs of 2^{log_size} equal to the CPU's byte by byte", flush=True)


def make_case(log_size: int) -> tuple[Zkey, Witness]:
    circuit = bench_circuit(rows_filling(log_size))
    return make_key(circuit.r1cs, known_secrets(circuit.r1cs.circuit_hash())), circuit.witness


def in_flight(resident: ResidentKey, witness: Witness, slots: int, proofs: int) -> float:
    """Proofs per second with so many threads proving."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(proofs):
                resident.prove(witness)
        except ProvingError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(slots)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return slots * proofs / (time.perf_counter() - began)


def measure_proof(run: Run, core: CudaCore, log_size: int, peers: list[tuple[str, str]]) -> None:
    size = f"2^{log_size}"
    key, witness = make_case(log_size)
    began = time.perf_counter()
    with ResidentKey(key, Placement(slots=max(IN_FLIGHT)), core) as resident:
        loaded, info = time.perf_counter() - began, resident.info()
        run.row(
            "key to the device", size, f"{loaded * 1000:8.0f} ms   {info.key_bytes >> 20} MiB, "
            f"each proof in flight {info.slot_bytes >> 20} MiB, digits of {info.witness_width} and "
            f"{info.quotient_width} bits, {info.witness_tables} and {info.quotient_tables} multiples",
        )  # fmt: skip
        public, vk = witness.public(key.n_public), key.verifying_key()
        resident.prove(witness)
        walls, times = [], []
        for _ in range(run.proofs):
            began = time.perf_counter()
            proof, spent = resident.prove(witness)
            walls.append((time.perf_counter() - began) * 1000)
            times.append(spent)
            verify(vk, public, proof)
        latency, floor = statistics.median(walls), run.floor_ms(proof_work(key, witness).total)
        parts = {
            name: statistics.median(getattr(spent, name) for spent in times) for name in ("copy", "device", "host")
        }
        run.row(
            "full proof, latency", size,
            f"{latency:8.2f} ms   (min {min(walls):.2f}, max {max(walls):.2f}; copy {parts['copy']:.2f}, "
            f"device {parts['device']:.2f}, host {parts['host']:.2f})   floor {floor:.2f} ms   {latency / floor:.2f}x",
            ms=latency, floor_ms=floor, **parts,
        )  # fmt: skip
        for slots in IN_FLIGHT:
            if run.has(30):
                rate = in_flight(resident, witness, slots, run.proofs)
                run.row(
                    f"full proof, {slots} in flight", size,
                    f"{rate:8.1f} per second   {rate * latency / 1000:.2f} times 1/latency", per_s=rate,
                )  # fmt: skip
    if run.has(60):
        prepared = prepare(key)
        began, cpu = time.perf_counter(), time.process_time()
        prove(prepared, witness)
        run.row(
            "full proof, CPU prover", size,
            f"{(time.perf_counter() - began) * 1000:8.0f} ms   {time.process_time() - cpu:.2f} CPU-seconds",
        )  # fmt: skip
    measure_peers(run, key, witness, size, peers)


def measure_peers(run: Run, key: Zkey, witness: Witness, size: str, peers: list[tuple[str, str]]) -> None:
    """Each peer's command on the same files; what it prints last may hold a time without its start."""
    if not peers:
        return
    with tempfile.TemporaryDirectory() as folder:
        zkey, wtns = Path(folder) / "key.zkey", Path(folder) / "witness.wtns"
        write_zkey(zkey, key)
        wtns.write_bytes(write_wtns(witness))
        for name, command in peers:
            walls, said = [], ""
            for _ in range(PEER_RUNS):
                if not run.has(30):
                    break
                filled = [
                    part.format(zkey=zkey, wtns=wtns, proof=f"{folder}/proof.json", public=f"{folder}/public.json")
                    for part in shlex.split(command)
                ]
                began = time.perf_counter()
                try:
                    done = subprocess.run(filled, capture_output=True, text=True, timeout=120, check=False)
                except (OSError, subprocess.TimeoutExpired) as error:
                    run.row(f"peer {name}", size, f"failed: {error}")
                    break
                if done.returncode != 0:
                    run.row(f"peer {name}", size, f"failed: {(done.stderr or done.stdout)[-200:]!r}")
                    break
                walls.append((time.perf_counter() - began) * 1000)
                said = (done.stdout.strip().splitlines() or [""])[-1][:80]
            if walls:
                run.row(f"peer {name}, whole process", size, f"{min(walls):8.0f} ms   {said}", ms=min(walls))


def measure(run: Run, core: CudaCore, largest: int, peers: list[tuple[str, str]]) -> None:
    """Everything, the most wanted first."""
    run.wide_per_s = cuda.rate(core, 0)
    run.row("wide multiply-adds", "", f"{run.wide_per_s / 1e12:8.3f} T/s", per_s=run.wide_per_s)
    ceiling = run.wide_per_s / WIDE_PER_MULTIPLICATION
    run.row("floor from it: Fq multiplications", "", f"{ceiling / 1e9:8.2f} G/s, at most", per_s=ceiling)
    multiplications = cuda.rate(core, 1)
    run.row(
        "Fq multiplications", "", f"{multiplications / 1e9:8.2f} G/s   {multiplications / ceiling:.0%} of that",
        per_s=multiplications,
    )  # fmt: skip
    copied = cuda.rate(core, 2)
    run.row("device memory, read and write", "", f"{copied / 1e12:8.3f} TB/s", per_s=copied)
    top = largest
    steps: list[tuple[float, Callable[[], None]]] = [
        (20, lambda: measure_sum(run, core, 1, top)),
        *((5, lambda k=k: measure_transform(run, core, k)) for k in range(top - 2, top + 3)),
        (90, lambda: measure_proof(run, core, top, peers)),
        (60, lambda: measure_sum(run, core, 1, top + 2)),
        (40, lambda: measure_proof(run, core, top - 2, peers)),
        (30, lambda: measure_proof(run, core, top - 4, peers)),
        (20, lambda: measure_sum(run, core, 2, top)),
        *((20, lambda k=k: measure_sum(run, core, 1, k)) for k in (top - 2, top - 1, top + 1)),
        *((20, lambda k=k: measure_sum(run, core, 2, k)) for k in (top - 2, top + 2)),
        *((60, lambda k=k: measure_proof(run, core, k, [])) for k in (top - 3, top - 1)),
    ]
    for seconds, step in steps:
        if not run.has(seconds):
            print("(a step is left out: too little time)", flush=True)
            continue
        try:
            step()
        except CudaOutOfMemory as error:
            print(error, flush=True)


def summary(run: Run) -> None:
    print("\nsummary")
    for row in run.rows:
        print(f"  {row['what']:<34} {row['size']:>6}  {row['value']}")
    for row in run.rows:
        floor, value = row.get("floor_ms"), row.get("ms")
        if not isinstance(floor, float) or not isinstance(value, float):
            continue
        what, size = str(row["what"]), row["size"]
        if what.startswith("MSM G1") and size in ("2^20", "2^22"):
            met = "met" if value <= GOAL_OVER_FLOOR * floor else "NOT met"
            print(f"  goal {what} {size} within {GOAL_OVER_FLOOR} floors: {met}")
        if what == "full proof, latency" and size == "2^20":
            met = "met" if value <= GOAL_PROOF_MS else "NOT met"
            print(f"  goal full proof {size} in {GOAL_PROOF_MS:.0f} ms: {met}")


def _peer(text: str) -> tuple[str, str]:
    name, separator, command = text.partition("=")
    if not separator or "{zkey}" not in command:
        raise argparse.ArgumentTypeError("NAME=COMMAND with {zkey}, {wtns}, {proof}, {public} in it")
    return name, command


def _commit() -> str:
    try:
        done = subprocess.run(("git", "rev-parse", "--short", "HEAD"), capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", action="store_true", help="check the host build of the kernels; measure nothing")
    parser.add_argument("--minutes", type=float, default=9.0, help="at most; default 9")
    parser.add_argument("--largest", type=int, default=20, help="log2 of the largest proof; default 20, at least 6")
    parser.add_argument("--peer", type=_peer, action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--json", type=Path, help="also keep the rows in this file, rewritten after each")
    args = parser.parse_args()
    run = Run(ends=time.monotonic() + 60 * args.minutes, sink=args.json)
    print(f"machine: {platform.machine()}, {platform.system()}, commit {_commit()}", flush=True)
    try:
        if args.host:
            check(CudaCore(build_for_host(print)), 9, (0, 1, 2))
            return 0
        if not local_architectures():
            raise CudaNoDevice("this machine has no CUDA device or no driver; nothing is measured. Try --host")
        began = time.monotonic()
        core = CudaCore(build(notice=print))
        device = core.device(0)
        print(f"device: {device}, {device.multiprocessors} multiprocessors, {device.clock_mhz} MHz", flush=True)
        load(print)
        print(f"built in {time.monotonic() - began:.0f} s", flush=True)
        check(core, 12, (0,))
        measure(run, core, args.largest, args.peer)
    except ProvingError as error:
        print(error, flush=True)
        return 1
    finally:
        if run.rows:
            summary(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
