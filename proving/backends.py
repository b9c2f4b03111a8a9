"""Which prover makes the proofs: the CPU core, a CUDA device, or a command of the operator's.

All three work inside one proving child (`table_job.py`) and under the same limits (`confine.py`), so that a crash, a
device fault or a cancel ends one job. The first two prove Groth16 and differ in nothing but where they compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from proving import groth16
from proving.errors import BackendUnavailable
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress
from proving.points import Proof
from proving.wtns import Witness
from proving.zkey import Zkey


class Backend(StrEnum):
    """Names as a configuration has them."""

    CPU = "groth16-cpu"
    CUDA = "groth16-cuda"
    COMMAND = "command"


class Prove(Protocol):
    """A Groth16 prover: `groth16.prove`, and whatever stands in for it."""

    def __call__(
        self,
        zkey: Path | Data | Zkey,
        wtns: Path | Data | Witness,
        *,
        progress: Progress | None = None,
        options: Options = DEFAULT_OPTIONS,
    ) -> tuple[Proof, tuple[int, ...]]:
        """A proof that has been verified, and the public values; blinding from the operating system."""
        ...


class _Cuda(Protocol):
    """What `proving.cuda` offers."""

    prove: Prove

    def require_device(self) -> str:
        """The device that would be used, in words.

        Raises:
            BackendUnavailable: there is none, or no driver, or no compiled kernels.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A backend and why it was taken."""

    backend: Backend
    reason: str
    """For people; begins with an error code when something was wanted and is missing."""


def choose(wanted: str) -> Chosen:
    """The backend for a configured name; `auto` takes CUDA where it works and else the CPU.

    Raises:
        BackendUnavailable: CUDA was named and does not work here.
        ValueError: no such name.
    """
    if wanted != "auto":
        backend = Backend(wanted)
        return Chosen(backend=backend, reason=_cuda().require_device() if backend is Backend.CUDA else "configured")
    try:
        return Chosen(backend=Backend.CUDA, reason=_cuda().require_device())
    except BackendUnavailable as missing:
        return Chosen(backend=Backend.CPU, reason=str(missing))


def prover(backend: Backend) -> Prove:
    """The Groth16 prover of a backend.

    Raises:
        BackendUnavailable: it does not work here.
        ValueError: the backend proves something else.
    """
    match backend:
        case Backend.CPU:
            return groth16.prove
        case Backend.CUDA:
            return _cuda().prove
        case Backend.COMMAND:
            raise ValueError("a command makes proofs of tables, not of circuits")


def _cuda() -> _Cuda:
    try:
        return cast(_Cuda, import_module("proving.cuda"))
    except ModuleNotFoundError as missing:
        raise BackendUnavailable(Backend.CUDA, "this version has no CUDA prover") from missing
