"""Groth16 on a CUDA device: keys stay in device memory, several proofs can be in flight.

`prove` has the shape of `groth16.prove` and makes the same proofs. The library is compiled ahead of time
(`build_cuda.py`); nothing here compiles. After `CudaDeviceFault` this process can no longer use the device, so jobs run
in a child process (`table_job.py`): a fault ends one job.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from proving import errors
from proving.build_cuda import built_libraries
from proving.native import DEFAULT_OPTIONS, PROOF_BYTES, Bytes, Core, Data, Options, Progress, view, writable
from proving.points import Proof
from proving.wtns import Witness, as_witness
from proving.zkey import Zkey, read_zkey

ABI_VERSION: Final = 1
MAX_SLOTS: Final = 16
MAX_RESIDENT_KEYS: Final = 2
"""Keys that `prove` keeps on the device; the one used longest ago gives way."""

_ERRORS: Final[dict[int, type[errors.ProvingError]]] = {
    40: errors.CudaNoDriver,
    41: errors.CudaNoDevice,
    42: errors.CudaOutOfMemory,
    43: errors.CudaWrongArchitecture,
    44: errors.CudaDeviceFault,
}
"""By `unveto_cuda_code`; a test compares it with the header."""


class _ZkeyArg(ctypes.Structure):
    _fields_ = (
        ("n_wires", ctypes.c_uint32),
        ("n_public", ctypes.c_uint32),
        ("domain", ctypes.c_uint32),
        ("header_points", Bytes),
        ("ic", Bytes),
        ("coefficients", Bytes),
        ("a", Bytes),
        ("b2", Bytes),
        ("l", Bytes),
        ("h", Bytes),
    )


class _OptionsArg(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_uint32),
        ("slots", ctypes.c_uint32),
        ("memory_bytes", ctypes.c_uint64),
        ("width", ctypes.c_uint32),
        ("tables", ctypes.c_uint32),
        ("host_order", ctypes.c_uint32),
    )


class _DeviceArg(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 128),
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("multiprocessors", ctypes.c_uint32),
        ("clock_khz", ctypes.c_uint32),
        ("total_bytes", ctypes.c_uint64),
        ("free_bytes", ctypes.c_uint64),
    )


class _KeyInfoArg(ctypes.Structure):
    _fields_ = (
        ("key_bytes", ctypes.c_uint64),
        ("slot_bytes", ctypes.c_uint64),
        ("witness_width", ctypes.c_uint32),
        ("witness_tables", ctypes.c_uint32),
        ("quotient_width", ctypes.c_uint32),
        ("quotient_tables", ctypes.c_uint32),
    )


class _TimesArg(ctypes.Structure):
    _fields_ = (("copy_ms", ctypes.c_float), ("device_ms", ctypes.c_float), ("host_ms", ctypes.c_float))


_HANDLE_OUT: Final = ctypes.POINTER(ctypes.c_void_p)
_FLOAT_OUT: Final = ctypes.POINTER(ctypes.c_float)
_OPTIONS_IN: Final = ctypes.POINTER(_OptionsArg)
_SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    "device_count": (ctypes.POINTER(ctypes.c_uint32),),
    "device_info": (ctypes.c_uint32, ctypes.POINTER(_DeviceArg)),
    "key_load": (ctypes.POINTER(_ZkeyArg), _OPTIONS_IN, _HANDLE_OUT),
    "key_describe": (ctypes.c_void_p, ctypes.POINTER(_KeyInfoArg)),
    "key_unload": (ctypes.c_void_p,),
    "prove": (ctypes.c_void_p, Bytes, ctypes.c_void_p, ctypes.POINTER(_TimesArg)),
    "test_prove_fixed_blinding": (ctypes.c_void_p, Bytes, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p),
    "probe_field": (_OPTIONS_IN, ctypes.c_int, ctypes.c_int, Bytes, Bytes, Bytes),
    "probe_odd_coset": (_OPTIONS_IN, Bytes, ctypes.c_uint32, _FLOAT_OUT),
    "points_load": (_OPTIONS_IN, ctypes.c_int, Bytes, _HANDLE_OUT),
    "points_make": (_OPTIONS_IN, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64, _HANDLE_OUT),
    "points_msm": (ctypes.c_void_p, Bytes, Bytes, ctypes.c_uint32, _FLOAT_OUT),
    "points_free": (ctypes.c_void_p,),
    "probe_rate": (_OPTIONS_IN, ctypes.c_int, ctypes.POINTER(ctypes.c_double)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A CUDA device as the driver describes it."""

    ordinal: int
    name: str
    compute_capability: str
    """Such as 9.0."""
    multiprocessors: int
    clock_mhz: int
    total_bytes: int
    free_bytes: int
    """At the time of asking."""

    def __str__(self) -> str:
        free, total = self.free_bytes >> 20, self.total_bytes >> 20
        return f"{self.name} (compute {self.compute_capability}, {free} of {total} MiB free)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how a key lies on a device."""

    device: int = 0
    slots: int = 1
    """Proofs in flight, 1 to 16; each has memory of its own."""
    memory_bytes: int = 0
    """At most that much device memory; 0: what is free, less a reserve."""
    width: int = 0
    """Digit width of the sums; 0: chosen for size and memory."""
    tables: int = 0
    """Multiples stored for each point; 0: as many as are useful and fit."""
    host_order: int = 0
    """Host build: order of threads and blocks, 0 forward, 1 backward, 2 strided."""

    def argument(self) -> _OptionsArg:
        return _OptionsArg(self.device, self.slots, self.memory_bytes, self.width, self.tables, self.host_order)


DEFAULT_PLACEMENT: Final = Placement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of one proof."""

    copy: float
    device: float
    host: float
    """Blinding and self-check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What a resident key takes and how its sums are cut: see `core/src/device/plan.hpp`."""

    key_bytes: int
    slot_bytes: int
    witness_width: int
    witness_tables: int
    quotient_width: int
    quotient_tables: int


class CudaCore(Core):
    """A loaded library of `core/include/unveto_cuda.h`: for a device, or for the host in tests."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        actual = library.unveto_cuda_abi_version()
        if actual != ABI_VERSION:
            raise errors.CoreMismatch(ABI_VERSION, actual)
        context = ctypes.c_void_p
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, f"unveto_cuda_{name}")
            function.argtypes = (context, *arguments)
            function.restype = ctypes.c_int
        self._library = library
        self.is_host_build = bool(library.unveto_cuda_is_host_build())

    def call(self, name: str, options: Options, *arguments: object, progress: Progress | None = None) -> None:
        """Calls `unveto_cuda_<name>` and raises the error that belongs to its code."""
        try:
            super().call(f"cuda_{name}", options, *arguments, progress=progress)
        except errors.CoreCallFailed as failed:
            if failed.core_code in _ERRORS:
                raise _ERRORS[failed.core_code](failed.reason.partition(": ")[2]) from None
            raise

    def devices(self) -> tuple[Device, ...]:
        """The devices of this machine; empty without a device or a driver."""
        count = ctypes.c_uint32()
        try:
            self.call("device_count", DEFAULT_OPTIONS, ctypes.byref(count))
        except (errors.CudaNoDriver, errors.CudaNoDevice):
            return ()
        return tuple(self.device(ordinal) for ordinal in range(count.value))

    def device(self, ordinal: int) -> Device:
        """One device.

        Raises:
            CudaNoDriver, CudaNoDevice, CudaDeviceFault.
        """
        info = _DeviceArg()
        self.call("device_info", DEFAULT_OPTIONS, ordinal, ctypes.byref(info))
        return Device(
            ordinal=ordinal,
            name=info.name.decode(errors="replace"),
            compute_capability=f"{info.major}.{info.minor}",
            multiprocessors=info.multiprocessors,
            clock_mhz=info.clock_khz // 1000,
            total_bytes=info.total_bytes,
            free_bytes=info.free_bytes,
        )


class ResidentKey:
    """A proving key in device memory. Threads may prove with one key at the same time, as many as it has slots."""

    def __init__(self, key: Zkey, placement: Placement = DEFAULT_PLACEMENT, core: CudaCore | None = None) -> None:
        """Copies the key to the device and computes the stored multiples: seconds for a key of 2^20 constraints.

        Raises:
            CudaUnavailable: no library, driver, device or memory.
            ZkeyMalformed, CudaDeviceFault.
        """
        self._core = core or load()
        self._handle = ctypes.c_void_p()
        self.n_public = key.n_public
        sections = (key.header_points, key.ic, key.coefficients, key.a, key.b2, key.l, key.h)
        argument = _ZkeyArg(key.n_wires, key.n_public, key.domain, *(view(section) for section in sections))
        options = placement.argument()
        self._core.call(
            "key_load", DEFAULT_OPTIONS, ctypes.byref(argument), ctypes.byref(options), ctypes.byref(self._handle)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the device memory; no proof may be in flight. A second call does nothing."""
        if self._handle:
            handle, self._handle = self._handle, ctypes.c_void_p()
            self._core.call("key_unload", DEFAULT_OPTIONS, handle)

    def info(self) -> KeyInfo:
        out = _KeyInfoArg()
        self._core.call("key_describe", DEFAULT_OPTIONS, self._open(), ctypes.byref(out))
        return KeyInfo(
            key_bytes=out.key_bytes,
            slot_bytes=out.slot_bytes,
            witness_width=out.witness_width,
            witness_tables=out.witness_tables,
            quotient_width=out.quotient_width,
            quotient_tables=out.quotient_tables,
        )

    def prove(
        self, witness: Witness, *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS
    ) -> tuple[Proof, Times]:
        """A proof that has been verified, with fresh blinding, and where the time went.

        Raises:
            WitnessMalformed, WitnessUnsatisfied, Cancelled, CudaDeviceFault.
        """
        out, times = ctypes.create_string_buffer(PROOF_BYTES), _TimesArg()
        handle = self._open()
        self._core.call("prove", options, handle, view(witness.values), out, ctypes.byref(times), progress=progress)
        proof = Proof.from_bytes(out.raw)
        return proof, Times(copy=times.copy_ms, device=times.device_ms, host=times.host_ms)

    def prove_with_fixed_blinding_for_tests(self, witness: Witness, r1: int, r2: int) -> Proof:
        """A proof that can be compared byte by byte. It hides nothing: r1 and r2 must be random for that."""
        out = ctypes.create_string_buffer(PROOF_BYTES)
        scalars = (r1.to_bytes(32, "little"), r2.to_bytes(32, "little"))
        self._core.call("test_prove_fixed_blinding", DEFAULT_OPTIONS, self._open(), view(witness.values), *scalars, out)
        return Proof.from_bytes(out.raw)

    def _open(self) -> ctypes.c_void_p:
        if not self._handle:
            raise ValueError("the key has been closed")
        return self._handle


class DevicePoints:
    """Points on a device, for tests and measurements."""

    def __init__(self, core: CudaCore, handle: ctypes.c_void_p, group: int) -> None:
        self._core = core
        self._handle = handle
        self._size = (64, 128)[group - 1]

    @classmethod
    def load(cls, core: CudaCore, group: int, points: Data, placement: Placement = DEFAULT_PLACEMENT) -> Self:
        """Points in zkey encoding; group is 1 or 2."""
        handle, options = ctypes.c_void_p(), placement.argument()
        core.call("points_load", DEFAULT_OPTIONS, ctypes.byref(options), group, view(points), ctypes.byref(handle))
        return cls(core, handle, group)

    @classmethod
    def make(cls, core: CudaCore, group: int, count: int, seed: int, placement: Placement = DEFAULT_PLACEMENT) -> Self:
        """The points splitmix64(seed + i) times the generator."""
        handle, options = ctypes.c_void_p(), placement.argument()
        core.call("points_make", DEFAULT_OPTIONS, ctypes.byref(options), group, count, seed, ctypes.byref(handle))
        return cls(core, handle, group)

    def multiply(self, scalars: Data, repeats: int = 0) -> tuple[bytes, float]:
        """Sum of scalars[i] points[i] in EVM encoding, and with repeats the milliseconds of one of so many sums."""
        out, milliseconds = bytearray(self._size), ctypes.c_float()
        self._core.call(
            "points_msm",
            DEFAULT_OPTIONS,
            self._handle,
            view(scalars),
            writable(out),
            repeats,
            ctypes.byref(milliseconds),
        )
        return bytes(out), milliseconds.value

    def close(self) -> None:
        handle, self._handle = self._handle, ctypes.c_void_p()
        self._core.call("points_free", DEFAULT_OPTIONS, handle)


_loaded: Final[list[CudaCore]] = []
_resident: Final[OrderedDict[object, tuple[ResidentKey, object]]] = OrderedDict()


def load() -> CudaCore:
    """The compiled CUDA prover of these sources, loaded once per process.

    Raises:
        CudaNotBuilt: there is none, or it does not load; nothing is compiled here.
    """
    if not _loaded:
        libraries = built_libraries()
        if not libraries:
            raise errors.CudaNotBuilt("no compiled kernels for this version; run `python -m proving.build_cuda`")
        try:
            _loaded.append(CudaCore(libraries[0]))
        except OSError as error:
            raise errors.CudaNotBuilt(f"{libraries[0].name} does not load: {error}") from error
    return _loaded[0]


def require_device(ordinal: int = 0) -> str:
    """The device that would be used, in words.

    Raises:
        CudaUnavailable: no compiled kernels, no driver or no device.
        CudaDeviceFault: the device does not answer.
    """
    return str(load().device(ordinal))


def prove(
    zkey: Path | Data | Zkey,
    wtns: Path | Data | Witness,
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> tuple[Proof, tuple[int, ...]]:
    """`groth16.prove` on the device. The key stays there for the next call with the same file or object.

    Not for several threads at a time: a key may have to give way to another. Who wants several proofs in flight holds a
    `ResidentKey`.

    Raises:
        CudaUnavailable: no library, driver, device or memory; another backend can prove instead.
        CudaDeviceFault: end this process.
        ZkeyMalformed, WitnessMalformed, WitnessUnsatisfied, Cancelled.
    """
    with as_witness(wtns) as witness:
        key = _resident_key(zkey)
        proof, _ = key.prove(witness, progress=progress, options=options)
        return proof, witness.public(key.n_public)


def _resident_key(zkey: Path | Data | Zkey) -> ResidentKey:
    if isinstance(zkey, Path):
        status = zkey.stat()
        name: object = (zkey.resolve(), status.st_mtime_ns, status.st_size, status.st_ino)
    else:
        name = id(zkey)
    if name in _resident:
        _resident.move_to_end(name)
        return _resident[name][0]
    parsed = zkey if isinstance(zkey, Zkey) else read_zkey(zkey)
    while len(_resident) >= MAX_RESIDENT_KEYS:
        _drop_oldest()
    try:
        key = ResidentKey(parsed)
    except errors.CudaOutOfMemory:
        if not _resident:
            raise
        while _resident:
            _drop_oldest()
        key = ResidentKey(parsed)
    _resident[name] = (key, zkey)  # holds the object, so that its id stays its own
    return key


def _drop_oldest() -> None:
    _, (key, _) = _resident.popitem(last=False)
    key.close()


def release_keys() -> None:
    """Frees the device memory of every key that `prove` keeps."""
    while _resident:
        _drop_oldest()


def field_operation(core: CudaCore, field: int, operation: int, a: Data, b: Data) -> bytes:
    """Probe: 0 add, 1 subtract, 2 multiply over plain values; field 0 is Fq, 1 is Fr."""
    out, options = bytearray(len(a)), DEFAULT_PLACEMENT.argument()
    core.call("probe_field", DEFAULT_OPTIONS, ctypes.byref(options), field, operation, view(a), view(b), writable(out))
    return bytes(out)


def odd_coset(core: CudaCore, values: bytearray, placement: Placement = DEFAULT_PLACEMENT, repeats: int = 0) -> float:
    """Probe: values on the domain to values on the odd coset, in place; milliseconds of one transform of `repeats`."""
    milliseconds, options = ctypes.c_float(), placement.argument()
    core.call(
        "probe_odd_coset", DEFAULT_OPTIONS, ctypes.byref(options), writable(values), repeats, ctypes.byref(milliseconds)
    )
    return milliseconds.value


def rate(core: CudaCore, kind: int) -> float:
    """Measured operations per second: 0 wide multiply-adds, 1 Fq multiplications, 2 bytes of a device copy."""
    per_second, options = ctypes.c_double(), DEFAULT_PLACEMENT.argument()
    core.call("probe_rate", DEFAULT_OPTIONS, ctypes.byref(options), kind, ctypes.byref(per_second))
    return per_second.value
