"""The numbers of the curve BN254 (alt_bn128 of EIP-196 and EIP-197)."""

from __future__ import annotations

from typing import Final

BN_X: Final = 4965661367192848881
"""The curve parameter that everything else follows from."""
Q: Final = 36 * BN_X**4 + 36 * BN_X**3 + 24 * BN_X**2 + 6 * BN_X + 1
"""Order of the base field: coordinates."""
R: Final = 36 * BN_X**4 + 36 * BN_X**3 + 18 * BN_X**2 + 6 * BN_X + 1
"""Order of the groups and of the scalar field: witness values, public inputs."""
