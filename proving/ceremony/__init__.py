"""Ceremonies: powers of tau, and a circuit's key from them, in the file formats of snarkjs 0.7."""
