"""The native core through ctypes: one function for each call of `core/include/unveto_core.h`.

Every call releases the GIL. Buffers go in and out without copies where Python allows it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import IO, Final

from proving import errors
from proving.build import build
from proving.pruning import hold

ABI_VERSION: Final = 2
PROOF_BYTES: Final = 256
MAX_THREADS: Final = 256
NO_VIOLATION: Final = (1 << 64) - 1

Data = bytes | bytearray | memoryview
Progress = Callable[[int, int], bool]
"""Called with (done, total); returning True stops the work, which then raises `errors.Cancelled`."""


class Code(IntEnum):
    """Mirror of `unveto_code`; a test compares it with the header."""

    OK = 0
    BAD_ARGUMENT = 1
    OUT_OF_MEMORY = 2
    NO_RANDOMNESS = 3
    CANCELLED = 4
    INTERNAL = 5
    R1CS_MALFORMED = 10
    WITNESS_MALFORMED = 11
    ZKEY_MALFORMED = 12
    VK_MALFORMED = 13
    SELF_CHECK_FAILED = 14
    PUBLIC_COUNT = 20
    PUBLIC_RANGE = 21
    POINT_RANGE = 22
    POINT_NOT_ON_CURVE = 23
    POINT_NOT_IN_SUBGROUP = 24
    PAIRING_FAILED = 25


_ERRORS: Final[dict[int, type[errors.ProvingError]]] = {
    Code.CANCELLED: errors.Cancelled,
    Code.R1CS_MALFORMED: errors.R1csMalformed,
    Code.WITNESS_MALFORMED: errors.WitnessMalformed,
    Code.ZKEY_MALFORMED: errors.ZkeyMalformed,
    Code.VK_MALFORMED: errors.VerifyingKeyMalformed,
    Code.SELF_CHECK_FAILED: errors.WitnessUnsatisfied,
    Code.PUBLIC_COUNT: errors.PublicCountMismatch,
    Code.PUBLIC_RANGE: errors.PublicNotCanonical,
    Code.POINT_RANGE: errors.PointNotCanonical,
    Code.POINT_NOT_ON_CURVE: errors.PointNotOnCurve,
    Code.POINT_NOT_IN_SUBGROUP: errors.PointNotInSubgroup,
    Code.PAIRING_FAILED: errors.PairingFailed,
}


class CpuPath(IntEnum):
    """Instruction-set paths; `$UNVETO_CPU` (best, portable, adx, ifma) overrides callers that leave the choice open."""

    BEST = 0
    PORTABLE = 1
    ADX = 2
    IFMA = 3


_ProgressFn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)


class _Context(ctypes.Structure):
    _fields_ = (
        ("cpu_path", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("progress", _ProgressFn),
        ("user", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("message_capacity", ctypes.c_size_t),
    )


class Bytes(ctypes.Structure):
    """`unveto_bytes` and `unveto_buffer`: address and size. Keeps the owner of the memory alive."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _PyBuffer(ctypes.Structure):
    """`Py_buffer` of CPython's stable interface."""

    _fields_ = (
        ("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    )  # fmt: skip


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_PyBuffer),)
_PYBUF_SIMPLE, _PYBUF_WRITABLE = 0, 1


class _Held:
    """An export of an object's memory. ctypes finds addresses of writable buffers only, and numpy is slow to import."""

    def __init__(self, owner: Data, flags: int) -> None:
        self._buffer = _PyBuffer()
        _get_buffer(owner, ctypes.byref(self._buffer), flags)

    def __del__(self, release: Callable[[object], None] = _release_buffer) -> None:
        release(ctypes.byref(self._buffer))  # nothing happens when there was no export

    def bytes(self) -> Bytes:
        size = self._buffer.len
        out = Bytes(self._buffer.buf if size else None, size)
        out.owner = self
        return out


def view(buffer: Data) -> Bytes:
    """The address of a buffer for reading; the returned object holds a reference to it."""
    return _Held(buffer, _PYBUF_SIMPLE).bytes()


def writable(buffer: bytearray | memoryview) -> Bytes:
    """The address of a buffer the core may write to."""
    try:
        return _Held(buffer, _PYBUF_WRITABLE).bytes()
    except BufferError as error:
        raise ValueError("the core cannot write to a read-only buffer") from error


class R1csArg(ctypes.Structure):
    _fields_ = (
        ("rows", Bytes),
        ("n_constraints", ctypes.c_uint32),
        ("n_wires", ctypes.c_uint32),
        ("n_public", ctypes.c_uint32),
    )


class PointSetArg(ctypes.Structure):
    _fields_ = (("points", Bytes), ("scalars", Bytes))


class KeyArg(ctypes.Structure):
    _fields_ = (
        ("n_wires", ctypes.c_uint32),
        ("n_public", ctypes.c_uint32),
        ("domain", ctypes.c_uint32),
        ("radix_bits", ctypes.c_uint32),
        ("header_points", Bytes),
        ("ic", Bytes),
        ("row_ends", Bytes),
        ("terms", Bytes),
        ("values", Bytes),
        ("a", PointSetArg),
        ("b2", PointSetArg),
        ("l", PointSetArg),
        ("h", PointSetArg),
    )


class SetupOutputArg(ctypes.Structure):
    _fields_ = tuple(
        (name, Bytes)
        for name in ("header_points", "ic", "coefficients", "a", "b1", "b2", "l", "h", "l_undivided", "h_monomial")
    )


class BasesArg(ctypes.Structure):
    _fields_ = tuple((name, Bytes) for name in ("tau_g1", "tau_g2", "alpha_tau_g1", "beta_tau_g1"))


class ColumnsArg(ctypes.Structure):
    _fields_ = tuple((name, Bytes) for name in ("coefficients", "a", "b1", "b2", "combined"))


_SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    "r1cs_check": (ctypes.POINTER(R1csArg), Bytes, ctypes.POINTER(ctypes.c_uint64)),
    "setup_plan": (ctypes.POINTER(R1csArg), ctypes.POINTER(ctypes.c_uint32), ctypes.POINTER(ctypes.c_uint32)),
    "setup": (ctypes.POINTER(R1csArg), ctypes.c_void_p, ctypes.POINTER(SetupOutputArg)),
    "key_radix_bits": (ctypes.POINTER(ctypes.c_uint32),),
    "prepare_points": (
        ctypes.c_int, ctypes.c_uint32, Bytes, ctypes.c_uint32, Bytes, Bytes, ctypes.POINTER(ctypes.c_uint32),
    ),
    "prepare_coefficients": (
        Bytes, ctypes.c_uint32, ctypes.c_uint32, Bytes, Bytes, Bytes, ctypes.POINTER(ctypes.c_uint32),
    ),
    "checksum": (Bytes, ctypes.POINTER(ctypes.c_uint64)),
    "prove": (ctypes.POINTER(KeyArg), Bytes, ctypes.c_void_p),
    "test_prove_fixed_blinding": (
        ctypes.POINTER(KeyArg), Bytes, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p,
    ),
    "rerandomise": (Bytes, ctypes.c_char_p, ctypes.c_void_p),
    "verify": (Bytes, Bytes, Bytes),
    "points_zkey_to_evm": (ctypes.c_int, Bytes, Bytes),
    "points_evm_to_zkey": (ctypes.c_int, Bytes, Bytes),
    "probe_field": (ctypes.c_int, ctypes.c_int, Bytes, Bytes, Bytes),
    "probe_msm": (ctypes.c_int, Bytes, Bytes, Bytes),
    "probe_msm_of_set": (ctypes.c_int, ctypes.POINTER(PointSetArg), Bytes, Bytes),
    "probe_digits": (ctypes.c_uint32, Bytes, Bytes),
    "probe_fixed_base": (ctypes.c_int, Bytes, Bytes),
    "probe_odd_coset": (Bytes,),
    "probe_pairing": (Bytes, Bytes, Bytes),
    "points_check": (ctypes.c_int, ctypes.c_int, Bytes),
    "points_scale": (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, Bytes, Bytes),
    "points_subtract": (ctypes.c_int, Bytes, Bytes, Bytes),
    "points_compress": (ctypes.c_int, Bytes, Bytes),
    "points_lagrange": (ctypes.c_int, Bytes, Bytes),
    "ceremony_draw": (ctypes.c_void_p, Bytes, Bytes),
    "ceremony_hash_to_g2": (ctypes.c_char_p, Bytes),
    "ceremony_columns": (ctypes.POINTER(R1csArg), ctypes.POINTER(BasesArg), ctypes.POINTER(ColumnsArg)),
    "same_ratio": (Bytes, Bytes, ctypes.POINTER(ctypes.c_int)),
    "are_powers": (ctypes.c_int, Bytes, Bytes, ctypes.POINTER(ctypes.c_int)),
    "are_multiples": (Bytes, Bytes, Bytes, ctypes.POINTER(ctypes.c_int)),
    "are_lagrange": (ctypes.c_int, Bytes, Bytes, ctypes.POINTER(ctypes.c_int)),
    "poseidon_wires": (ctypes.c_void_p, ctypes.c_uint32, Bytes, Bytes),
    "blake2b_start": (Bytes,),
    "blake2b_update": (Bytes, Bytes),
    "blake2b_digest": (Bytes, Bytes),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one call runs."""

    cpu_path: CpuPath | None = None
    """None: `$UNVETO_CPU`, or the best path of the machine."""
    threads: int | None = None
    """None: the CPUs this process may use."""


DEFAULT_OPTIONS: Final = Options()


class Core:
    """A loaded library."""

    def __init__(self, library: ctypes.CDLL, file: IO[bytes] | None = None) -> None:
        self._file = file  # its lock is in force for as long as it is open
        actual = library.unveto_abi_version()
        if actual != ABI_VERSION:
            raise errors.CoreMismatch(ABI_VERSION, actual)
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, f"unveto_{name}")
            function.argtypes = (ctypes.POINTER(_Context), *arguments)
            function.restype = ctypes.c_int
        library.unveto_cpu_paths.restype = ctypes.c_uint32
        self._library = library

    def cpu_paths(self) -> tuple[CpuPath, ...]:
        """The instruction-set paths this machine can run, best last."""
        mask = self._library.unveto_cpu_paths()
        return tuple(path for path in CpuPath if mask >> path & 1)

    def short_call(self, name: str) -> Callable[..., None]:
        """`call` for what takes microseconds: one context for all calls, errors without text."""
        context = _Context(
            cpu_path=chosen_path(DEFAULT_OPTIONS),
            threads=1,
            progress=_ProgressFn(),
            user=None,
            message=None,
            message_capacity=0,
        )
        function, pointer = getattr(self._library, f"unveto_{name}"), ctypes.byref(context)

        def run(*arguments: object) -> None:
            code = function(pointer, *arguments)
            if code != Code.OK:
                raise errors.CoreCallFailed(code, name)

        return run

    def call(self, name: str, options: Options, *arguments: object, progress: Progress | None = None) -> None:
        """Calls `unveto_<name>` and raises the error that belongs to its code."""
        message = ctypes.create_string_buffer(512)
        # An exception must not unwind through the core: it is kept and raised when the call has ended.
        raised: list[BaseException] = []
        context = _Context(
            cpu_path=chosen_path(options),
            threads=options.threads or default_threads(),
            progress=_progress_function(progress, raised),
            user=None,
            message=ctypes.cast(message, ctypes.c_char_p),
            message_capacity=len(message),
        )
        code = getattr(self._library, f"unveto_{name}")(ctypes.byref(context), *arguments)
        if raised:
            raise raised[0]
        if code == Code.OK:
            return
        reason = message.value.decode(errors="replace")
        if code in _ERRORS:
            raise _ERRORS[code](reason)
        raise errors.CoreCallFailed(code, reason)


def _progress_function(progress: Progress | None, raised: list[BaseException]) -> object:
    if progress is None:
        return _ProgressFn()

    def relay(_user: object, done: int, total: int) -> int:
        stop = True
        with _Kept(raised):
            stop = progress(done, total)
        return 1 if stop else 0

    return _ProgressFn(relay)


class _Kept:
    """Holds an exception of the body instead of letting it out, Ctrl-C included."""

    def __init__(self, raised: list[BaseException]) -> None:
        self._raised = raised

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None:
            self._raised.append(error)
        return True


def default_threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)


def chosen_path(options: Options) -> CpuPath:
    if options.cpu_path is not None:
        return options.cpu_path
    name = os.environ.get("UNVETO_CPU", "best").upper()
    if name not in CpuPath.__members__:
        raise errors.CoreCallFailed(Code.BAD_ARGUMENT, f"UNVETO_CPU={name.lower()} is not best, portable, adx or ifma")
    return CpuPath[name]


_loaded: Final[list[Core]] = []


def load(notice: Callable[[str], None] | None = None) -> Core:
    """The core, compiled at first use and loaded once per process.

    Args:
        notice: receives one line of text when the core has to be compiled first.

    Raises:
        CoreError: no compiler, failed compilation, or a library of another interface version.
    """
    if not _loaded:  # two threads may both get here: each makes an equal object over the same library
        path = build(notice)
        held = path.open("rb")  # for as long as the process lives: nobody prunes a core that is in use
        hold(held)
        _loaded.append(Core(ctypes.CDLL(str(path)), held))
    return _loaded[0]


def wipe(buffer: bytearray) -> None:
    """Overwrites a buffer that held secrets."""
    if buffer:
        ctypes.memset((ctypes.c_char * len(buffer)).from_buffer(buffer), 0, len(buffer))
