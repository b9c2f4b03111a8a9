"""iden3 .r1cs files: reading, writing, and checking a witness against the constraints.

Source: the format page of the iden3 r1csfile project (version 1). Wire 0 is the constant 1; then come outputs, public
inputs, private inputs, and the rest.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from proving.errors import R1csMalformed
from proving.native import DEFAULT_OPTIONS, NO_VIOLATION, Data, Options, R1csArg, load, view
from proving.sections import SCALAR_FIELD, read_sections, require_section, write_sections
from proving.wtns import Witness, as_witness

MAGIC: Final = b"r1cs"
VERSION: Final = 1
MAX_R1CS_BYTES: Final = 16 << 30
"""16 GiB: twice a circuit of 2^27 constraints, the largest the field has a domain for."""

Row = tuple[Mapping[int, int], Mapping[int, int], Mapping[int, int]]
"""One constraint A z * B z = C z: for each matrix, wire -> coefficient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class R1cs:
    """A constraint system; the rows stay in file encoding."""

    n_wires: int
    n_public_outputs: int
    n_public_inputs: int
    n_private_inputs: int
    n_labels: int
    n_constraints: int
    rows: Data
    """n_constraints times three lists, each a u32 count and that many (u32 wire, 32-byte little-endian value)."""
    labels: Data
    """u64 label of each wire; empty when the file has none."""

    @property
    def n_public(self) -> int:
        """Public values of a proof: outputs, then public inputs."""
        return self.n_public_outputs + self.n_public_inputs

    def argument(self) -> R1csArg:
        return R1csArg(view(self.rows), self.n_constraints, self.n_wires, self.n_public)

    def circuit_hash(self) -> bytes:
        """32 bytes that name the constraint system: SHA-256 of its sizes and rows (labels do not matter to a proof)."""
        digest = hashlib.sha256(b"unveto/r1cs/1")
        digest.update(struct.pack("<III", self.n_wires, self.n_public, self.n_constraints))
        digest.update(self.rows)
        return digest.digest()


def read_r1cs(source: Path | Data) -> R1cs:
    """Reads a .r1cs file or its bytes. Rows are checked when they are used, in the core.

    Raises:
        R1csMalformed: not exactly a BN254 constraint system without custom gates.
    """
    if isinstance(source, Path):
        size = source.stat().st_size
        if size > MAX_R1CS_BYTES:
            raise R1csMalformed(f"{size} bytes, the limit is {MAX_R1CS_BYTES}")
        source = source.read_bytes()
    sections = read_sections(memoryview(source), MAGIC, VERSION, R1csMalformed)
    unknown = set(sections) - {1, 2, 3, 4, 5}
    if unknown:
        raise R1csMalformed(f"unknown sections {sorted(unknown)}")
    for number in (4, 5):  # custom gates: a verifier without them would accept less than the circuit says
        if number in sections and bytes(sections[number]) != bytes(4):
            raise R1csMalformed("custom gates are not supported")
    header = require_section(sections, 1, len(SCALAR_FIELD) + 28, R1csMalformed)
    if bytes(header[: len(SCALAR_FIELD)]) != SCALAR_FIELD:
        raise R1csMalformed("the field is not the scalar field of BN254")
    wires, outputs, inputs, private, labels, constraints = struct.unpack_from("<IIIIQI", header, len(SCALAR_FIELD))
    if 1 + outputs + inputs + private > wires:
        raise R1csMalformed(f"{outputs} outputs and {inputs} + {private} inputs do not fit into {wires} wires")
    label_map = sections.get(3, memoryview(b""))
    if len(label_map) not in (0, 8 * wires):
        raise R1csMalformed(f"the label section has {len(label_map)} bytes, expected {8 * wires}")
    return R1cs(
        n_wires=wires,
        n_public_outputs=outputs,
        n_public_inputs=inputs,
        n_private_inputs=private,
        n_labels=labels,
        n_constraints=constraints,
        rows=require_section(sections, 2, None, R1csMalformed),
        labels=label_map,
    )


def write_r1cs(r1cs: R1cs) -> bytes:
    """The bytes of a .r1cs file; wires are their own labels when the system carries none."""
    header = SCALAR_FIELD + struct.pack(
        "<IIIIQI", r1cs.n_wires, r1cs.n_public_outputs, r1cs.n_public_inputs, r1cs.n_private_inputs,
        r1cs.n_labels, r1cs.n_constraints,
    )  # fmt: skip
    labels = r1cs.labels or b"".join(struct.pack("<Q", wire) for wire in range(r1cs.n_wires))
    sink = BytesIO()
    write_sections(sink, MAGIC, VERSION, [(2, r1cs.rows), (1, header), (3, labels)])
    return sink.getvalue()


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Constraints as a constraint section; wires of a list in ascending order, as circom writes them."""
    out = bytearray()
    for row in rows:
        for terms in row:
            out += struct.pack("<I", len(terms))
            for wire in sorted(terms):
                out += struct.pack("<I", wire) + terms[wire].to_bytes(32, "little")
    return bytes(out)


def check(r1cs: Path | Data | R1cs, witness: Path | Data | Witness, options: Options = DEFAULT_OPTIONS) -> int | None:
    """Whether a witness satisfies a constraint system.

    Args:
        r1cs: a .r1cs file, its bytes, or the parsed system.
        witness: a .wtns file, its bytes, or the parsed witness.

    Returns:
        None when every constraint holds, else the lowest index of one that does not.

    Raises:
        R1csMalformed, WitnessMalformed.
    """
    system = r1cs if isinstance(r1cs, R1cs) else read_r1cs(r1cs)
    violated = ctypes.c_uint64()
    with as_witness(witness) as values:
        load().call("r1cs_check", options, ctypes.byref(system.argument()), view(values.values), ctypes.byref(violated))
    return None if violated.value == NO_VIOLATION else violated.value
