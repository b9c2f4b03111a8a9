"""Every word that an order can end with is explained."""

from __future__ import annotations

import re
from typing import Final

import pytest

from market.lifecycle import State, deadline
from market.meanings import MEANS
from market.reasons import PREFIXES, WHY, explain
from tests.support.tools import ROOT
from tests.unit.market.test_lifecycle import order

LITERAL: Final = re.compile(r'reason="([A-Z_]+)"|(?:Skip|BidVoid)\("([A-Z_]+)"|PayloadRefused\([^)]*"([A-Z_]+)"\)')
OF_BIDS: Final = frozenset({"UNDECRYPTABLE", "HASH", "TICKET", "BOND", "TOO_EXPENSIVE", "BOND_OVER_HALF"})
"""Reasons of bids, which the requester's log names; they end no order."""

OF_COMMANDS: Final = re.compile(r'NotNow\([^)]*?reason="([A-Z_]+)"')
"""A command that is refused says why in its own words."""


def test_every_reason_that_the_sources_name_is_explained() -> None:
    """Deadlines, skips, refusals, events."""
    named = {found[2] for state in State if (found := deadline(order(state))) is not None} - {""}
    refused: set[str] = set()
    for folder in ("market", "node"):
        for path in ROOT.joinpath(folder).glob("*.py"):
            for groups in LITERAL.findall(path.read_text(encoding="utf-8")):
                named |= set(groups) - {""}
            refused |= set(OF_COMMANDS.findall(path.read_text(encoding="utf-8")))

    assert len(named) > 40
    assert set() == named - OF_BIDS - refused - set(WHY)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_numbered_reason_is_explained_by_its_prefix(prefix: str) -> None:
    """AUCTION_2 and AUCTION_3 mean the same."""
    assert PREFIXES[prefix] == explain(prefix + "2")


def test_no_reason_and_a_foreign_word_have_no_explanation() -> None:
    """L1's own errors speak for themselves."""
    assert "" == explain("") == explain("StaleTable")


def test_every_state_is_explained_in_a_line_of_its_own() -> None:
    """`unveto status --why` never shrugs."""
    assert set(State) == set(MEANS)
    assert len(MEANS) == len({(state.role, text) for state, text in MEANS.items()})
    assert all(0 < len(text) <= 100 for text in MEANS.values())
