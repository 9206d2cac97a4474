"""What people read while something runs: notices, warnings, progress; all on the error stream. Knows no room."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from adaptune.core.lazy import ipython_display

console = Console(stderr=True, highlight=False)
"""The one console; standard output stays free for results."""

PLAIN_EVERY = 10.0
"""Seconds between two plain lines where no bar can be drawn."""
CELL_EVERY = 0.5
"""Seconds between two changes of the one line below a notebook's cell."""


def silence() -> None:
    """Say nothing more in this process: for those beside the main one, and where the user wants quiet."""
    console.quiet = True


def notice(text: str) -> None:
    """One line about what is going on."""
    console.print(Text(text), soft_wrap=True)


def warn(text: str) -> None:
    """One line about what may not be as the user expects."""
    console.print(Text.assemble(("warning: ", "yellow bold"), text), soft_wrap=True)


class Progress:
    """Progress of long work: a bar on a terminal, one line that changes in a notebook, elsewhere a line now and then.

    with Progress("train", total=600) as progress:
        progress.advance(tokens=8192, loss=0.41)
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        unit: str = "",
        seconds: float | None = None,
        console: Console = console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unit` is what is counted ("rows"), `seconds` a limit that may end the work before its total."""
        self.title = title
        self.total = total
        self.unit = unit
        self.seconds = seconds
        self.done = 0
        self._figures: dict[str, str] = {}
        self._tokens = 0
        self._console = console
        self._plain = not console.is_terminal
        self._every = CELL_EVERY if console.is_jupyter else PLAIN_EVERY
        self._cell: Any = None
        self._clock = clock
        self._started = self._said = clock()
        self._first = 0
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            disable=self._plain,
        )
        self._row = self._bar.add_task(title, total=total, figures="")

    def __enter__(self) -> Progress:
        self._started = self._said = self._clock()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._cell is not None:
            self._say_plainly()

    def start_at(self, done: int) -> None:
        """Work that was done earlier, by a run that is now resumed: it counts, but not for speed and time left."""
        self.done = self._first = done
        self._bar.update(self._row, completed=done)

    def advance(self, amount: int = 1, *, tokens: int = 0, **figures: float | str) -> None:
        """More work is done; figures are shown by name until they change."""
        self.done += amount
        self._tokens += tokens
        self._figures |= {name: _short(figure) for name, figure in figures.items()}
        self._bar.update(self._row, completed=self.done, figures=self._shown())
        if self._plain and self._clock() - self._said >= self._every:
            self._say_plainly()

    def show(self, **figures: float | str) -> None:
        """New figures at a point worth a line of its own, such as an evaluation."""
        self._figures |= {name: _short(figure) for name, figure in figures.items()}
        self._bar.update(self._row, figures=self._shown())
        if self._plain:
            self._say_plainly()

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far, within the limit; None where that is not known."""
        elapsed = self._clock() - self._started
        if self.total is None or self.done <= self._first:
            return None
        left = elapsed / (self.done - self._first) * max(0, self.total - self.done)
        return left if self.seconds is None else min(left, max(0.0, self.seconds - elapsed))

    def _say_plainly(self) -> None:
        self._said = self._clock()
        count = f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
        parts = [self.title, f"{count} {self.unit}".rstrip(), self._shown()]
        line = "  ".join(part for part in parts if part)
        if self._console.is_jupyter:
            self._show_in_cell({"text/plain": line})
        else:
            self._console.print(Text(line), soft_wrap=True)

    def _show_in_cell(self, line: dict[str, str]) -> None:
        if self._console.quiet:
            return
        if self._cell is None:
            self._cell = ipython_display.display(line, raw=True, display_id=True)
        else:
            self._cell.update(line, raw=True)

    def _shown(self) -> str:
        parts = [f"{name} {figure}" for name, figure in self._figures.items()]
        elapsed = self._clock() - self._started
        if self._tokens and elapsed > 0:
            parts.append(f"{self._tokens / elapsed:,.0f} tokens/s")
        if (left := self.seconds_left) is not None:
            parts.append(f"{_duration(left)} left")
        return "  ".join(parts)


def _short(figure: float | str) -> str:
    return figure if isinstance(figure, str) else f"{figure:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
