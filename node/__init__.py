"""The only impure folder: sockets, chain, disk, processes. Composes protocol, proving and market."""

import sys

import py_ecc  # noqa: F401  (eth_account imports it sooner or later; see below)

# On import py_ecc raises the recursion limit to 100,000 frames. At that limit deeply nested JSON from anybody overflows
# the C stack and ends the process instead of raising RecursionError. Importing it here and once puts the limit back for
# good; node/chain/evm.py alone asks for more.
sys.setrecursionlimit(1000)
