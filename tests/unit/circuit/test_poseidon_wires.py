"""Wires of permutations by the core against a plain walk through the constraints' meaning."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.vm.poseidon import FULL_ROUNDS, P, parameters, reference, use
from proving.circuit import poseidon
from proving.circuit.builder import Assigner, BlockAssigner, Builder, words_of, wtns_bytes
from proving.errors import CoreCallFailed
from proving.poseidon_wires import PermutationWires

RNG = random.Random(16)
HALF = FULL_ROUNDS // 2


def plain(k: int, state: list[int], live: list[int]) -> list[int]:
    """The wires as `proving/circuit/poseidon.py` orders them, with the full mix in every round."""
    params = parameters(k)
    rounds = FULL_ROUNDS + params.partial_rounds
    out: list[int] = []

    def mix(ys: list[int]) -> list[int]:
        return [sum(m * y for m, y in zip(row, ys, strict=True)) % R for row in params.mds]

    def box(x: int, *, shown: bool) -> int:
        if shown:
            out.extend((x * x % R, pow(x, 4, R)))
        return pow(x, 5, R)

    xs = state
    for r in range(rounds):
        xs = [(x + c) % R for x, c in zip(xs, params.constants[r], strict=True)]
        if HALF <= r < HALF + params.partial_rounds:
            out.append(xs[0])
            xs = mix([box(xs[0], shown=True), *xs[1:]])
            continue
        if r in (2, 3) or r >= HALF + params.partial_rounds:
            out.extend(xs)
        ys = [box(x, shown=r > 0 or i in live) for i, x in enumerate(xs)]
        if r == 0:
            out.extend(ys[i] for i in live)
        xs = mix(ys)
        if r == rounds - 1:
            out.extend((*ys[1:], xs[0]))
    return out


@pytest.mark.parametrize("k", range(1, 17))
def test_wires_of_every_width(k: int) -> None:
    """Random and extreme words; all live, one live, constants among them."""
    for state in ([0] * (k + 1), [R - 1] * (k + 1), [RNG.randrange(R) for _ in range(k + 1)]):
        for live in ([*range(k + 1)], [*range(1, k + 1)], [k]):
            made = words_of(poseidon._maker(k)(state, live))

            assert made == plain(k, state, live)


def test_the_last_wire_is_the_hash() -> None:
    """With the capacity word 0, as a hash has it."""
    inputs = [RNG.randrange(R) for _ in range(4)]

    assert words_of(poseidon._maker(4)([0, *inputs], range(1, 5)))[-1] == P(4, inputs)


def gadget(b: Builder) -> None:
    """Two blocks with wires before, between and after them."""
    xs = b.hints(2, lambda: [3, R - 4])
    (first,) = b.stamp(poseidon.poseidon(2), xs)
    product = b.mul(first, xs[0])
    b.stamp(poseidon.poseidon(2), [first, product])
    b.hint(lambda: 9)


def test_blocks_are_the_wires_that_single_ones_would_be() -> None:
    """The same assignment and the same file, whichever way they are kept; a gadget may end with a block or go on."""
    single, kept = Assigner(), BlockAssigner()
    gadget(single)
    gadget(kept)
    made = kept.assignment()

    assert len(made.blocks) == 2
    assert made.wires() == tuple(single.values)
    assert made.wtns() == wtns_bytes(single.values)
    assert 0 in made.values


def test_a_block_of_another_length_is_refused() -> None:
    """Wires would move."""
    for assigner in (Assigner(), BlockAssigner()):
        with pytest.raises(ValueError, match="for 3 wires"):
            assigner.block(3, lambda: bytes(64))


def test_native_hashes_are_the_reference_s() -> None:
    """For every width, at both ends of the field; and a process can be told to use them."""
    for k in range(1, 17):
        for inputs in ([0] * k, [R - 1] * k, [RNG.randrange(R) for _ in range(k)]):
            assert poseidon.native_hash(k, inputs) == reference(k, inputs)
    calls: list[int] = []

    def counted(k: int, xs: Sequence[int]) -> int:
        calls.append(k)
        return poseidon.native_hash(k, xs)

    use(counted)
    try:
        assert (P(3, (1, 2, 3)), calls) == (reference(3, (1, 2, 3)), [3])
        with pytest.raises(ValueError, match="P_3 of 2"):
            P(3, (1, 2))
    finally:
        use(reference)


def tables(k: int, **changes: object) -> PermutationWires:
    """Tables of the right shape, but for what is changed."""
    words = [1] * (k + 1)
    parts: dict[str, object] = {
        "partial_rounds": 3, "constants": [words] * 8, "mds": [words] * (k + 1), "scalars": [1] * 3,
        "rows": [[1] * k] * 3, "columns": [[1] * k] * 3, "last": [[1] * k] * k, "after": words,
    }  # fmt: skip
    return PermutationWires(**(parts | changes))  # type: ignore[arg-type]


def test_good_tables_of_any_shape_are_taken() -> None:
    """What the refusals below change."""
    assert len(tables(2)([1, 2, 3], [1, 2])) == 96 * (2 + 21 + 3)


@pytest.mark.parametrize(
    ("k", "changes", "state", "live"),
    [
        (2, {}, [1, 2], [1]),
        (2, {}, [1, 2, 3, 4], [1]),
        (2, {}, [1, 2, R], [1]),
        (2, {}, [1, 2, (1 << 256) - 1], [1]),
        (2, {}, [1, 2, 3], []),
        (2, {}, [1, 2, 3], [3]),
        (2, {"constants": [[1] * 3] * 7}, [1, 2, 3], [1]),
        (2, {"scalars": [1] * 4}, [1, 2, 3], [1]),
        (2, {"rows": [[1] * 2] * 2}, [1, 2, 3], [1]),
        (2, {"columns": []}, [1, 2, 3], [1]),
        (2, {"last": [[1] * 3] * 2}, [1, 2, 3], [1]),
        (2, {"after": [1] * 2}, [1, 2, 3], [1]),
        (2, {"partial_rounds": 0, "scalars": [], "rows": [], "columns": []}, [1, 2, 3], [1]),
        (17, {}, [1] * 18, [1]),
    ],
)
def test_what_does_not_fit_is_refused(k: int, changes: dict[str, object], state: list[int], live: list[int]) -> None:
    """Before anything is read or written beyond a buffer."""
    maker = tables(k, **changes)
    with pytest.raises(CoreCallFailed):
        maker(state, live)
