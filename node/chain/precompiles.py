"""BN254 precompiles (addresses 6, 7, 8) for py-evm, run natively when pyrevm is importable.

py-evm's own versions are pure Python: a Groth16 check of four pairs takes about half a second. pyrevm wraps a
native EVM; asking it to call the same precompile gives the same bytes in milliseconds. Gas is always charged by
py-evm, so nothing observable depends on which implementation ran.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.vm.forks.prague.computation import PragueComputation
from eth_typing import Address

try:
    from pyrevm import EVM as NativeEvm
except ImportError:  # no wheel for this Python or platform; the pure Python precompiles are used
    NativeEvm = None  # type: ignore[assignment, misc]

Precompile = Callable[[ComputationAPI], ComputationAPI]

GAS_ECADD: Final = 150  # EIP-1108
GAS_ECMUL: Final = 6_000  # EIP-1108
GAS_ECPAIRING_BASE: Final = 45_000  # EIP-1108
GAS_ECPAIRING_PER_PAIR: Final = 34_000  # EIP-1108
PAIR_BYTES: Final = 192  # EIP-197: G1 point (64) and G2 point (128)
_NATIVE_GAS: Final = 1 << 62
_NOBODY: Final = "0x" + "00" * 20

_per_thread = threading.local()  # a pyrevm EVM may only be used in the thread that made it


def native_bn254_available() -> bool:
    """Tell whether the BN254 precompiles run natively."""
    return NativeEvm is not None


def bn254_precompiles() -> Mapping[Address, Precompile]:
    """Precompile table of the Prague fork, with 6, 7 and 8 native where possible."""
    table: dict[Address, Precompile] = dict(PragueComputation.get_precompiles())
    if native_bn254_available():
        table[_address(6)] = _native(6, lambda size: GAS_ECADD)
        table[_address(7)] = _native(7, lambda size: GAS_ECMUL)
        table[_address(8)] = _native(8, lambda size: GAS_ECPAIRING_BASE + GAS_ECPAIRING_PER_PAIR * (size // PAIR_BYTES))
    return MappingProxyType(table)


def _address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def _native(number: int, gas_of_size: Callable[[int], int]) -> Precompile:
    to = "0x" + _address(number).hex()

    def precompile(computation: ComputationAPI) -> ComputationAPI:
        data = bytes(computation.msg.data)
        if number == 8 and len(data) % PAIR_BYTES:
            raise VMError("pairing input is not a multiple of 192 bytes")
        computation.consume_gas(gas_of_size(len(data)), reason=f"BN254 precompile {number}")
        evm = getattr(_per_thread, "evm", None)
        if evm is None:
            evm = _per_thread.evm = NativeEvm(gas_limit=_NATIVE_GAS)
        try:
            computation.output = bytes(evm.message_call(caller=_NOBODY, to=to, calldata=data, gas=_NATIVE_GAS))
        except RuntimeError as error:  # pyrevm reports a failing precompile only this way
            raise VMError(f"BN254 precompile {number} refused its input") from error
        return computation

    return precompile
