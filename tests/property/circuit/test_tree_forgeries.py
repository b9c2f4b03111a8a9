"""Lies about the state have no witness: other leaves, other keys, other places, other roots.

What a prover could try with the units that open leaves and with the nodes above them:

1. one key under two cells, or one leaf in two units;            5. a leaf for a node, a node for a leaf, another depth;
2. a key inserted behind a wrong leaf, twice, or elsewhere;      6. the tree of another entry, or none;
3. a present key called absent, an absent one present;           7. a change that is left out, or one in what failed;
4. a leaf as it was, or as one would like it to be;              8. anything chosen once the challenge is known.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.vm.assembler import assemble
from protocol.vm.state import account_key, storage_key
from protocol.vm.state_tree import StateTree
from proving.circuit.builder import value
from proving.circuit.table_vm import PUBLIC, Hints, table_vm
from proving.circuit.tree_unit import Kind, Role, UnitHint
from proving.circuit.witness import assign
from tests.property.circuit.test_forgeries import NEW_ROOT, OLD, claim, told
from tests.property.circuit.test_forgeries import refusals as all_refusals
from tests.support.circuits import Z, circuit
from tests.support.forger import SHAPE, Forger, forge, honest_hints, retold
from tests.support.stories import ACCOUNT, Story, state_of, words

ADDRESS = int.from_bytes(ACCOUNT, "big")
GLUE = {"glue"}
"""Sums over all links, and all that no gadget has for itself."""


def refusals(hints: Hints, honest: list[int], lies: dict[int, int] | None = None) -> set[str]:
    """Gadgets whose constraints refuse."""
    return set(all_refusals(hints, honest, lies))


def reader(slots: dict[int, tuple[int, int]], slot: int = 0) -> Story:
    """A story that reads one slot."""
    story = Story(state_of(assemble(f"LDF f0, {slot}\nSLOAD r0, f0\nOUT r1, r0, 0\nRETURN 1"), slots))
    story.call()
    return story


def insertion() -> tuple[Story, Hints, list[int]]:
    """A story that inserts one slot between others."""
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nRETURN 0"), {5: OLD, 6: OLD, 7: OLD}))
    story.call()
    return story, *told(story)


def of_kind(hints: Hints, kind: Kind | None, *, account: bool = False) -> int:
    """The first unit that does this."""
    return next(
        n for n, unit in enumerate(hints.units) if unit is not None and unit.kind is kind and unit.is_account is account
    )


def unused(hints: Hints, role: Role) -> int:
    """The first unit of a role that does nothing."""
    return next(n for n, unit in enumerate(hints.units) if unit is None and SHAPE.roles[n] is role)


def content(tree: StateTree, key: int) -> dict[str, object]:
    """What a unit says that opens the leaf of a key, or the one before it."""
    opening = tree.open(key)
    leaf = (opening.leaf.key, opening.leaf.next_key, opening.leaf.v0, opening.leaf.v1)
    return {"index": opening.index, "leaf": leaf, "following": opening.leaf.next_key}


def unit_of(hints: Hints, number: int) -> UnitHint:
    """A unit that is used."""
    unit = hints.units[number]
    assert unit is not None
    return unit


# -- cells -------------------------------------------------------------------------------------------------------------


class Turns(dict[int, int]):
    """Sends later accesses of a slot to another cell."""

    def __init__(self, cells: dict[int, int], slot: int, other: int) -> None:
        super().__init__(cells)
        self.slot, self.other, self.seen = slot, other, 0

    def get(self, slot: int, default: int | None = None) -> int | None:  # type: ignore[override]
        self.seen += slot == self.slot
        return self.other if slot == self.slot and self.seen > 1 else super().get(slot, default)


@pytest.mark.parametrize("present", [True, False])
def test_one_slot_cannot_have_two_cells(present: bool) -> None:
    """The second cell would still show what the first has overwritten. A leaf is given once; absent keys differ."""
    slots = {0: OLD} if present else {}
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nSLOAD r1, f0\nOUT r2, r1, 0\nRETURN 1"), slots))
    story.call()
    hints, honest = told(story)
    first, tree = story.runs[0].pre.tree, story.runs[0].post.tree
    other = unused(hints, Role.READ if present else Role.SEEK)
    if present:
        second = UnitHint(kind=Kind.HIT, stretch=0, **content(first, storage_key(ADDRESS, 0)))  # type: ignore[arg-type]
        units: dict[int, UnitHint | None] = {other: second}
    else:
        gap = unit_of(hints, of_kind(hints, Kind.NEW)).gap
        low = next(n for n, unit in enumerate(hints.units) if unit and unit.leaf[0] == gap[0])
        units = {
            other: UnitHint(kind=Kind.ABSENT, stretch=0, gap=gap),
            low: replace(unit_of(hints, low), shown=1),
        }
    cells = [Turns(dict(hints.cells[0]), 0, other), *hints.cells[1:]]
    lie = replace(retold(claim(hints, low=OLD[0] if present else 0), units, [(first, tree)]), cells=cells)

    assert refusals(lie, honest) == GLUE


def test_what_is_inserted_is_inserted_once() -> None:
    """Two units insert the key, the second at the place behind the first."""
    story, hints, honest = insertion()
    number, other = of_kind(hints, Kind.NEW), unused(hints, Role.INSERT)
    unit = unit_of(hints, number)
    assert unit.index is not None
    again = replace(unit, index=unit.index + 1, gap=(unit.gap[0], unit.leaf[0]))

    assert refusals(retold(hints, {other: again}), honest)


# -- gaps --------------------------------------------------------------------------------------------------------------


def test_a_key_is_inserted_only_behind_the_next_smaller_one() -> None:
    """Any other leaf as the low one would let a key be present twice, or vanish."""
    story, hints, honest = insertion()
    number = of_kind(hints, Kind.NEW)
    unit = unit_of(hints, number)
    gaps = {(leaf.key, leaf.next_key) for leaf in story.runs[0].pre.tree.leaves()} - {unit.gap}
    found = [refusals(retold(hints, {number: replace(unit, gap=gap)}), honest) for gap in gaps]

    assert len(gaps) >= 3
    assert all("between" in gadgets for gadgets in found)


def test_a_gap_is_that_of_a_leaf() -> None:
    """One that holds the key, but that no leaf has: the key below the low one, the key above the next, anything."""
    story, hints, honest = insertion()
    number = of_kind(hints, Kind.NEW)
    unit = unit_of(hints, number)
    low, high = unit.gap
    for gap in ((low - 1, high), (low, high + 1 if high else 0), (unit.leaf[0] - 1, unit.leaf[0] + 1)):
        if gap != unit.gap:
            assert refusals(retold(hints, {number: replace(unit, gap=gap)}), honest) == GLUE


def test_only_a_tree_of_one_leaf_has_all_keys_behind_it() -> None:
    """The gap from 0 to 0 in a larger tree: a key could be inserted twice."""
    _, hints, honest = insertion()
    number = of_kind(hints, Kind.NEW)
    unit = unit_of(hints, number)

    assert refusals(retold(hints, {number: replace(unit, gap=(0, 0))}), honest) == GLUE


def test_alone_is_only_the_gap_of_the_empty_tree() -> None:
    """`alone` for any other gap: the key would not be compared with it."""
    story, hints, honest = insertion()
    number = of_kind(hints, Kind.NEW)
    between = [stamp for stamp in circuit().stamps if stamp.name == "between"][number]
    # `alone` and two products come before the comparison.
    alone = between.first_wire - 3
    assert honest[alone] == 0
    unit = unit_of(hints, number)
    for leaf in story.runs[0].pre.tree.leaves():
        lie = retold(hints, {number: replace(unit, gap=(leaf.key, leaf.next_key))})
        assert refusals(lie, honest, {alone: 1})


@pytest.mark.parametrize("invented", [False, True])
def test_a_present_key_cannot_be_called_absent(invented: bool) -> None:
    """Behind its real neighbour, or in a gap that would hold it and that no leaf has."""
    story = reader({0: OLD, 1: OLD, 2: OLD})
    hints, honest = told(story)
    tree, cell = story.runs[0].pre.tree, hints.cells[0][0]
    unit, seeker = unit_of(hints, cell), unused(hints, Role.SEEK)
    below = max((leaf for leaf in tree.leaves() if leaf.key < unit.leaf[0]), key=lambda leaf: leaf.key)
    gap = (below.key, unit.leaf[1] if invented else below.next_key)
    bare = {"index": tree.open(below.key).index if below.key else 0, "shown": 1}
    leaf = (below.key, below.next_key, below.v0, below.v1)
    absent = UnitHint(kind=Kind.ABSENT, stretch=0, gap=gap, leaf=leaf, following=below.next_key, **bare)  # type: ignore[arg-type]
    owner = next((n for n, u in enumerate(hints.units) if u and n != cell and u.index == bare["index"]), None)
    units: dict[int, UnitHint | None] = {cell: None, seeker: absent}
    if owner is not None:
        units[owner] = replace(unit_of(hints, owner), shown=1)
        units[seeker] = UnitHint(kind=Kind.ABSENT, stretch=0, gap=gap)
    lie = retold(claim(hints, low=0), units, [(tree, tree)])
    lie = replace(lie, cells=[{0: seeker}, *hints.cells[1:]])

    assert refusals(lie, honest) == (GLUE if invented else {"between"})


def test_an_absent_key_cannot_be_called_present() -> None:
    """With the leaf that it would have."""
    story = reader({1: OLD})
    hints, honest = told(story)
    cell = hints.cells[0][0]
    key = storage_key(ADDRESS, 0)
    leaf = replace(unit_of(hints, cell), kind=Kind.HIT, leaf=(key, 0, 7, 0), gap=(0, 0), index=3, shown=0)

    assert refusals(retold(claim(hints, low=7), {cell: leaf}), honest) == GLUE


def test_a_leaf_shows_its_gap_as_often_as_it_says() -> None:
    """Once for each absent key behind it."""
    story = Story(state_of(assemble("SLOAD r0, f0\nRETURN 0"), {1: OLD, 2: OLD}))
    story.call()
    hints, honest = told(story)
    for number, unit in enumerate(hints.units):
        if unit is not None and unit.index is not None:
            lie = replace(unit, shown=unit.shown + 1)
            assert refusals(retold(hints, {number: lie}), honest) == GLUE


# -- leaves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", range(4))
def test_a_stale_value_is_not_in_the_tree(word: int) -> None:
    """The leaf as it was, or as one would like it to be."""
    story = reader({0: OLD})
    hints, honest = told(story)
    number = hints.cells[0][0]
    unit = unit_of(hints, number)
    leaf = list(unit.leaf)
    leaf[word] += 1
    lie = replace(unit, leaf=tuple(leaf), following=leaf[1])  # type: ignore[arg-type]
    found = refusals(retold(claim(hints, low=leaf[2]), {number: lie}), honest)

    assert found and found <= {"glue", "step"}


@pytest.mark.parametrize("index", [0, 3, 4**8 - 1, 4**8 + 2, 1 << 31])
def test_a_leaf_lies_where_it_lies(index: int) -> None:
    """Not at another place, and not beyond the last one of its level."""
    story = reader({0: OLD})
    hints, honest = told(story)
    number = hints.cells[0][0]
    unit = unit_of(hints, number)
    assert unit.index == 2

    assert refusals(retold(hints, {number: replace(unit, index=index)}), honest) == GLUE


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """Its children as key, next key, value and type, in a tree that is said to have other depths."""
    story = reader({0: OLD})
    hints, honest = told(story)
    tree, number = story.runs[0].pre.tree, of_kind(hints, Kind.HIT, account=True)
    unit = unit_of(hints, number)
    children = tuple(tree.node_hash(0, i) for i in range(4))
    node = replace(unit, leaf=children, index=0, following=children[1])  # type: ignore[arg-type]

    assert refusals(retold(hints, {number: node}), honest)
    for depth in (12, 16):
        lie = replace(hints, tree=replace(hints.tree, depth=depth))
        assert refusals(lie, honest) == GLUE
        lie = retold(lie, {number: node})
        assert refusals(lie, honest)


def test_a_new_leaf_goes_to_the_next_index() -> None:
    """Another nextIndex is not in the root; another empty place, with its right path, is not at nextIndex."""
    story, hints, honest = insertion()
    entry = hints.entries[0]
    assert entry is not None
    shifted = replace(hints, entries=[replace(entry, next_index=entry.next_index + 1), None, None])
    number = of_kind(hints, Kind.NEW)
    unit = unit_of(hints, number)
    assert unit.index is not None
    elsewhere = retold(hints, {number: replace(unit, index=unit.index + 1)})

    assert refusals(shifted, honest)
    assert refusals(elsewhere, honest) == GLUE


# -- what is written ---------------------------------------------------------------------------------------------------


def test_insertions_cannot_change_places() -> None:
    """The tree as it would be if the program had written the two slots in the other order."""
    source = "ARGLO r1, 0\nARGLO r2, 1\nLDI r3, 9\nITOF f1, r1\nITOF f2, r2\nSSTORE f1, r3\nSSTORE f2, r3\nRETURN 0"
    story, other = (Story(state_of(assemble(source))) for _ in range(2))
    story.call(b"abcd" + words(10, 20))
    other.call(b"abcd" + words(20, 10))
    hints, honest = told(story)
    swapped = honest_hints(other)
    lie = claim(hints, root=other.runs[0].new_root)
    lie = replace(lie, units=swapped.units, tree=swapped.tree, cells=swapped.cells)

    assert other.runs[0].new_root != story.runs[0].new_root
    assert refusals(lie, honest) == {"step"}


def test_value_cannot_be_left_out() -> None:
    """The account is only read, although the call brings value."""
    source = assemble("RETURN 0")
    story, other = Story(state_of(source)), Story(state_of(source))
    run = story.call(value=5)
    other.call(value=0)
    hints, honest = told(story)
    without = honest_hints(other)
    lie = replace(claim(hints, root=run.pre.root), units=without.units, tree=without.tree)

    assert refusals(lie, honest) == GLUE


def test_what_failed_changes_nothing() -> None:
    """A call that reverts leaves the root from before it, whatever its units say."""
    source = "LDI r0, 9\nSSTORE f0, r0\n"
    story, other = (Story(state_of(assemble(source + end), {0: OLD})) for end in ("REVERT 0", "RETURN 0"))
    run = story.call()
    other.call()
    hints, honest = told(story)
    kept = honest_hints(other)
    changed = replace(hints, units=kept.units, tree=kept.tree, cells=kept.cells)

    assert run.new_root == run.pre.root
    assert refusals(changed, honest)
    assert refusals(claim(changed, root=other.runs[0].new_root), honest)


def test_a_root_changes_only_through_leaves() -> None:
    """A stretch that is said to open none, and leaves another root."""
    story = reader({0: OLD})
    hints, honest = told(story)
    for opened in (True, False):
        tree = replace(hints.tree, roots=[5, *hints.tree.roots[1:]], opened=[opened, *hints.tree.opened[1:]])
        assert refusals(replace(hints, tree=tree), honest) == GLUE


def test_a_leaf_that_nobody_writes_stays() -> None:
    """A bare leaf as another one, with nothing to link it to."""
    story = reader({0: OLD})
    hints, honest = told(story)
    tree = story.runs[0].pre.tree
    other, _ = tree.update(account_key(ADDRESS), 1 << 100, 0)
    number = unused(hints, Role.LINK)
    bare = UnitHint(kind=None, stretch=0, **content(tree, 0))  # type: ignore[arg-type]
    same = retold(hints, {number: bare}, [(tree, tree)])
    assert refusals(same, honest) == set()

    linked = replace(bare, linked=True, following=bare.following + 1)
    assert refusals(retold(hints, {number: linked}, [(tree, tree)]), honest) == GLUE
    lie = retold(claim(hints, root=5), {number: bare}, [(tree, other)])
    lie = replace(lie, tree=replace(lie.tree, roots=[other.root, *lie.tree.roots[1:]]))
    assert refusals(lie, honest) == GLUE


# -- several entries ---------------------------------------------------------------------------------------------------


def test_the_second_entry_cannot_read_the_tree_of_the_first() -> None:
    """Its pre-root names the tree that the first entry left."""
    source = "SLOAD r0, f0\nLDI r1, 1\nADD r0, r0, r1\nSSTORE f0, r0\nOUT r2, r0, 0\nRETURN 1"
    story = Story(state_of(assemble(source), {0: OLD}))
    story.call()
    first = story.runs[0].pre
    story.call()
    hints, honest = told(story)
    entries = list(hints.entries)
    second = entries[1]
    assert second is not None
    entries[1] = replace(second, tree_root=first.tree.root, next_index=first.tree.next_index, frames=0)
    number = next(n for n, unit in enumerate(hints.units) if unit and unit.stretch == 1 and not unit.is_account)
    old = replace(unit_of(hints, number), **content(first.tree, storage_key(ADDRESS, 0)))  # type: ignore[arg-type]

    assert refusals(replace(hints, entries=entries), honest) == GLUE
    assert refusals(retold(hints, {number: old}), honest)


def test_units_of_one_entry_serve_no_other() -> None:
    """The second entry's read as one of the first."""
    story = Story(state_of(assemble("SLOAD r0, f0\nRETURN 0"), {0: OLD}))
    story.call()
    story.call()
    hints, honest = told(story)
    for number, unit in enumerate(hints.units):
        if unit is not None:
            assert refusals(retold(hints, {number: replace(unit, stretch=1 - unit.stretch)}), honest)


# -- the challenge -----------------------------------------------------------------------------------------------------


def test_all_that_is_linked_is_fixed_before_the_challenge() -> None:
    """Another choice of anything that a link says is another h, and so another z."""
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nLDF f1, 3\nSLOAD r1, f1\nRETURN 0"), {5: OLD, 6: OLD}))
    story.call()
    hints, _ = told(story)

    def fixed(lies: dict[int, int]) -> tuple[int, list[tuple[int, ...]]]:
        forger = Forger(lies=lies)
        late = table_vm(forger, SHAPE, replace(hints, public=(0, Z, 0)))
        links = [*late.links.given, *late.links.taken]
        said = [tuple(value(x) for x in (link.times, link.a, link.b, link.c)) for link in links if value(link.times)]
        return value(late.h), said

    h, said = fixed({0: 1})
    forger = Forger()
    table_vm(forger, SHAPE, hints)
    chosen = sorted(wire for wire in forger.chosen if wire > PUBLIC + len(hints.words))
    changed = []
    for wire in chosen[:: len(chosen) // 40]:
        other_h, other = fixed({wire: forger.values[wire] + 1})
        if other != said:
            changed.append(wire)
            assert other_h != h

    assert len(changed) > 5


def test_an_honest_assignment_breaks_nothing() -> None:
    """What `refusals` compares with."""
    _, hints, honest = insertion()

    assert refusals(hints, honest) == set()
    assert forge(hints, {0: 1})[NEW_ROOT + PUBLIC + 1] == hints.words[NEW_ROOT]


def test_every_word_of_every_leaf_is_fixed_before_the_challenge() -> None:
    """Also what nobody reads: a word that could be chosen later would let a link without times take any share."""
    _, hints, _ = insertion()
    h = assign(SHAPE, hints).h
    assert of_kind(hints, Kind.NEW) >= 0

    for place, unit in enumerate(hints.units):
        if unit is None or unit.index is None:
            continue
        for word in range(4):
            leaf = tuple(x + (i == word) for i, x in enumerate(unit.leaf))
            units = [*hints.units[:place], replace(unit, leaf=leaf), *hints.units[place + 1 :]]  # type: ignore[arg-type]
            assert assign(SHAPE, replace(hints, units=units)).h != h, (place, word)
