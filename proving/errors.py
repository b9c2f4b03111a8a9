"""Errors of the prover. Each has a stable code that an operator can look up.

ProvingError
├── CoreError               the native library
│   ├── CompilerMissing         PRV-001   no C++ compiler and no ziglang wheel
│   ├── CoreBuildFailed         PRV-002   the compiler refused the packaged sources
│   ├── CoreMismatch            PRV-003   library and bindings disagree on the interface version
│   ├── CoreCallFailed          PRV-004   bad argument, no memory, no randomness, fault of the core
│   └── Cancelled               PRV-005   the progress function asked to stop
├── MalformedInput          a file or byte string breaks its format; nothing was computed from it
│   ├── R1csMalformed           PRV-010
│   ├── WitnessMalformed        PRV-011
│   ├── ZkeyMalformed           PRV-012
│   ├── VerifyingKeyMalformed   PRV-013
│   ├── ProofMalformed          PRV-014
│   ├── PublicMalformed         PRV-015
│   ├── PreparedKeyDamaged      PRV-016   a cached file; it is made again, so no caller sees this
│   └── PtauMalformed           PRV-017
├── WitnessUnsatisfied      PRV-020   the finished proof does not verify
├── JobError                one job of a proving child
│   ├── JobTooLate              PRV-053   its time is up
│   ├── CommandFailed           PRV-054   the configured command made no proof
│   └── DiskExceeded            PRV-055   the command's job directory has outgrown its limits
├── CeremonyError
│   ├── CeremonyMisuse          PRV-040   the request does not fit the files: circuit too large, not prepared
│   └── CeremonyInvalid         PRV-041   verification failed: somebody cheated, or a file is damaged
├── BackendUnavailable      PRV-056   the backend does not work on this machine
│   ├── CudaNotBuilt            PRV-060   no compiled kernels for this version; see `proving.build_cuda`
│   ├── CudaNoDriver            PRV-061   no NVIDIA driver, or one older than the kernels need
│   ├── CudaNoDevice            PRV-062
│   ├── CudaWrongArchitecture   PRV-063   the kernels were compiled for other cards
│   └── CudaOutOfMemory         PRV-064   the key or the proofs in flight do not fit into the device's memory
├── CudaDeviceFault         PRV-065   the device failed; this process can no longer use it
├── NvccMissing             PRV-066   no CUDA compiler
├── CudaBuildFailed         PRV-067   the CUDA compiler refused the packaged sources
└── ProofRefused            the proof is not a proof of these public inputs
    ├── PublicCountMismatch     PRV-030
    ├── PublicNotCanonical      PRV-031
    ├── PointNotCanonical       PRV-032
    ├── PointNotOnCurve         PRV-033
    ├── PointNotInSubgroup      PRV-034
    └── PairingFailed           PRV-035
"""

from __future__ import annotations

from typing import ClassVar


class ProvingError(Exception):
    """Base of every error of the proving package. `code` is stable across versions."""

    code: ClassVar[str] = "PRV-000"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.code}: {reason}")
        self.reason = reason


class CoreError(ProvingError):
    """The native library could not be built, loaded or called."""


class CompilerMissing(CoreError):
    code = "PRV-001"

    def __init__(self, tried: tuple[str, ...]) -> None:
        super().__init__(
            f"no C++ compiler found (tried {', '.join(tried)}); install g++ or clang++, or `pip install ziglang`"
        )
        self.tried = tried


class CoreBuildFailed(CoreError):
    code = "PRV-002"

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"`{command}` failed:\n{output}")
        self.command = command
        self.output = output


class CoreMismatch(CoreError):
    code = "PRV-003"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"the native core has interface version {actual}, expected {expected}")
        self.expected = expected
        self.actual = actual


class CoreCallFailed(CoreError):
    code = "PRV-004"

    def __init__(self, core_code: int, reason: str) -> None:
        super().__init__(f"core code {core_code}: {reason}")
        self.core_code = core_code


class Cancelled(CoreError):
    code = "PRV-005"


class MalformedInput(ProvingError):
    """Bytes that break their format."""


class R1csMalformed(MalformedInput):
    code = "PRV-010"


class WitnessMalformed(MalformedInput):
    code = "PRV-011"


class ZkeyMalformed(MalformedInput):
    code = "PRV-012"


class VerifyingKeyMalformed(MalformedInput):
    code = "PRV-013"


class ProofMalformed(MalformedInput):
    code = "PRV-014"


class PublicMalformed(MalformedInput):
    code = "PRV-015"


class PreparedKeyDamaged(MalformedInput):
    code = "PRV-016"


class PtauMalformed(MalformedInput):
    code = "PRV-017"


class WitnessUnsatisfied(ProvingError):
    """The witness breaks a constraint of the circuit, or the key does not belong to it."""

    code = "PRV-020"


class JobError(ProvingError):
    """A proving child could not do its job."""


class JobTooLate(JobError):
    code = "PRV-053"

    def __init__(self, wall_s: float) -> None:
        super().__init__(f"not done within {wall_s:.1f} s")
        self.wall_s = wall_s


class CommandFailed(JobError):
    code = "PRV-054"


class DiskExceeded(JobError):
    code = "PRV-055"


class BackendUnavailable(ProvingError):
    code = "PRV-056"

    def __init__(self, backend: str, why: str) -> None:
        super().__init__(f"{backend}: {why}")
        self.backend = backend


class CudaUnavailable(BackendUnavailable):
    """The CUDA prover cannot work here; another backend can do the same job."""

    def __init__(self, why: str) -> None:
        super().__init__("groth16-cuda", why)


class CudaNotBuilt(CudaUnavailable):
    code = "PRV-060"


class CudaNoDriver(CudaUnavailable):
    code = "PRV-061"


class CudaNoDevice(CudaUnavailable):
    code = "PRV-062"


class CudaWrongArchitecture(CudaUnavailable):
    code = "PRV-063"


class CudaOutOfMemory(CudaUnavailable):
    code = "PRV-064"


class CudaDeviceFault(ProvingError):
    """The job is lost and so is this process's use of the device; a fresh process may have better luck."""

    code = "PRV-065"


class NvccMissing(ProvingError):
    code = "PRV-066"

    def __init__(self, tried: tuple[str, ...]) -> None:
        super().__init__(
            f"no CUDA compiler found (tried {', '.join(tried)}); install the CUDA toolkit or `pip install unveto[cuda]`"
        )
        self.tried = tried


class CudaBuildFailed(ProvingError):
    code = "PRV-067"

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"`{command}` failed:\n{output}")
        self.command = command
        self.output = output


class CeremonyError(ProvingError):
    """A ceremony step was refused."""


class CeremonyMisuse(CeremonyError):
    code = "PRV-040"


class CeremonyInvalid(CeremonyError):
    """A check of a ceremony's verification failed; the reason names the check."""

    code = "PRV-041"


class ProofRefused(ProvingError):
    """Verification failed; the subclass names the first check that did."""


class PublicCountMismatch(ProofRefused):
    code = "PRV-030"


class PublicNotCanonical(ProofRefused):
    code = "PRV-031"


class PointNotCanonical(ProofRefused):
    code = "PRV-032"


class PointNotOnCurve(ProofRefused):
    code = "PRV-033"


class PointNotInSubgroup(ProofRefused):
    code = "PRV-034"


class PairingFailed(ProofRefused):
    code = "PRV-035"
