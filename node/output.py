"""What a command says: one JSON object for machines, tables and lines for people.

The two come from the same values. Wei are strings in JSON (they do not fit a double); errors are
`{"error": {"code", "message", "values"}}` on standard output with exit status 1.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


class Output:
    """One command's voice."""

    def __init__(self, *, as_json: bool, pace_s: float = 0.0) -> None:
        self.as_json = as_json
        self.pace_s = pace_s
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False)

    def say(self, text: str = "") -> None:
        """A line for people; silent with --json."""
        if not self.as_json:
            self._out.print(text, markup=False)
            if self.pace_s:
                time.sleep(self.pace_s)

    def title(self, text: str) -> None:
        """A heading for people."""
        if not self.as_json:
            self._out.print(f"\n{text}", style="bold", markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
        """A table for people."""
        if self.as_json:
            return
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._out.print(table)

    def result(self, value: Mapping[str, object]) -> None:
        """The command's result: printed only with --json."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
            sys.stdout.flush()

    def error(self, code: str, message: str, values: Mapping[str, object]) -> None:
        """A coded error."""
        if self.as_json:
            self.result({"error": {"code": code, "message": message, "values": {k: str(v) for k, v in values.items()}}})
        else:
            self._err.print(f"error: {message}", style="red", markup=False)

    @contextmanager
    def steps(self, text: str) -> Iterator[Callable[[int, int], bool]]:
        """A filling bar: the body calls what it gets with (done, total); its False means to go on."""
        if self.as_json or not self._err.is_terminal:
            if not self.as_json:
                self._err.print(text + " …", markup=False)
            yield lambda _done, _total: False
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as bar:
            task = bar.add_task(text, total=1)

            def show(done: int, total: int) -> bool:
                bar.update(task, completed=done, total=total)
                return False

            yield show

    @contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """A moving bar while something takes long; one plain line where the output is not a terminal."""
        if self.as_json or not self._err.is_terminal:
            if not self.as_json:
                self._err.print(text + " …", markup=False)
            yield
            return
        pulse = BarColumn(pulse_style="cyan")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), pulse, TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as bar:
            bar.add_task(text, total=None)
            yield
