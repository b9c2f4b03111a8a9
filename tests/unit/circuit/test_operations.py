"""The circuit's table of operations is the machine's."""

from __future__ import annotations

from protocol.vm.isa import OPS, Immediate, Operand
from proving.circuit.operations import CODES, WORD_OPERATIONS, with_register


def test_every_enabled_operation_has_its_code() -> None:
    """Neither more nor fewer."""
    assert {spec.op.name: int(spec.op) for spec in OPS.values()} == CODES


def test_register_classes_are_the_same() -> None:
    """For each operand, integer and field registers."""
    for operand, name in enumerate(("rd", "ra", "rb")):
        for kind, letter in ((Operand.INT, "i"), (Operand.FIELD, "f")):
            expected = {spec.op.name for spec in OPS.values() if getattr(spec, name) is kind}
            assert expected == set(with_register(operand, letter))


def test_word_operations_are_those_whose_immediate_is_a_word() -> None:
    """ARGHI, ARGLO, RETHI, RETLO, OUT."""
    assert {spec.op.name for spec in OPS.values() if spec.imm is Immediate.WORD} == set(WORD_OPERATIONS)
