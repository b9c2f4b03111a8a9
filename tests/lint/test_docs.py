"""What the documents claim can be checked: tests named in the status table exist, folders have their page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lint.sources import PACKAGES, files, text
from tests.support.tools import ROOT

PAGE: Final = 70  # lines, and none of them longer than a screen is wide
ROW: Final = re.compile(r"^\| *(?P<feature>[^|]+?) *\| *(?P<status>[^|]*?) *\| *(?P<test>[^|]*?) *\|$")
STAGES: Final = re.compile(r"^stage_\w+\(\) \{ run_tests (?P<folders>[a-z0-9 ]+)", re.MULTILINE)


def status_problems(readme: str, exists: Callable[[str], bool]) -> Iterator[str]:
    """Rows of the status table whose claim and test do not fit each other.

    Args:
        readme: text of README.md.
        exists: whether a test reference (`tests/x/test_y.py` or `tests/x/test_y.py::test_z`) can be run.
    """
    table = readme.partition("## Status")[2].partition("\n## ")[0]
    rows = [found for line in table.splitlines() if (found := ROW.match(line))][2:]
    if not rows:
        yield "no status table"
    for row in rows:
        feature, status, test = row["feature"], row["status"], row["test"].strip("`")
        if status not in ("works", "partial", "absent"):
            yield f"{feature}: status {status!r}"
        elif status == "absent" and test:
            yield f"{feature}: absent, but names {test}"
        elif status != "absent" and not exists(test):
            yield f"{feature}: {status}, but there is no {test or 'test'}"


def is_runnable(reference: str) -> bool:
    """Whether a file below tests/ exists and defines the named test."""
    name, _, function = reference.partition("::")
    path = ROOT / name
    if not name.startswith("tests/") or not path.is_file():
        return False
    return (
        not function or re.search(rf"^(async )?def {re.escape(function)}\(", path.read_text(), re.MULTILINE) is not None
    )


def test_status_table_names_tests_that_exist() -> None:
    """README.md as it is."""
    assert [] == list(status_problems(text(Path("README.md")), is_runnable))


@pytest.mark.parametrize(
    "row",
    [
        "| proofs | works | |",
        "| proofs | works | tests/lint/test_nothing.py |",
        "| proofs | partial | tests/lint/test_docs.py::test_nothing |",
        "| proofs | absent | tests/lint/test_docs.py |",
        "| proofs | great | tests/lint/test_docs.py |",
    ],
)
def test_an_unproven_claim_is_reported(row: str) -> None:
    """A claim without a test, with a test that is not there, a test without a claim, and an adjective."""
    table = f"## Status\n\n| feature | status | test |\n|---|---|---|\n{row}\n\n## Next\n"

    assert len(list(status_problems(table, is_runnable))) == 1


def test_a_readme_without_a_table_is_reported() -> None:
    """An empty claim is not an honest one."""
    assert ["no status table"] == list(status_problems("# Unveto\n", is_runnable))


def page_problems(path: Path, content: str) -> Iterator[str]:
    """Whether a folder's README is more than a page."""
    lines = content.splitlines()
    if len(lines) > PAGE:
        yield f"{path}: {len(lines)} lines"
    if any(len(line) > 200 for line in lines):
        yield f"{path}: a line of more than 200 characters"


def test_each_folder_readme_is_one_page() -> None:
    """Purpose, files in reading order, what does not belong there."""
    pages = [path for path in files(*PACKAGES, "configs", "tests") if path.name == "README.md"]

    assert {Path(package, "README.md") for package in PACKAGES} <= set(pages)
    assert [] == [problem for path in pages for problem in page_problems(path, text(path))]


def test_a_long_page_is_reported() -> None:
    """In either direction."""
    assert 1 == len(list(page_problems(Path("market/README.md"), "x\n" * (PAGE + 1))))
    assert 1 == len(list(page_problems(Path("market/README.md"), "x" * 201)))


def test_each_test_folder_belongs_to_a_stage() -> None:
    """A test that no stage runs would pass unseen."""
    staged = {folder for found in STAGES.finditer(text(Path(".ci/run"))) for folder in found["folders"].split()}
    holding_tests = {path.parts[1] for path in files("tests") if path.name.startswith("test_")}

    assert holding_tests <= staged | {"lint"}
