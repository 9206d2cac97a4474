"""The words of a report in the reader's language, and numbers as people read them; page/words.*.json holds them all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from adaptune.core.errors import AdaptuneError

Language = Literal["en", "zh"]

FOLDER = Path(__file__).parent / "page"
_SHARES = re.compile("accuracy|f1|precision|recall|exact_match")
"""Metrics that are shares of something that was right."""
_POINTS = re.compile("bleu|chrf|rouge")
"""Metrics that people write times 100."""
_BEGIN_WITH_NAMES = frozenset(
    """verdict.interval verdict.gain verdict.alone verdict.beside figure.test scores.axis learning.over_step
    learning.over_seconds pareto.over table.score""".split()
)
"""Sentences and headings whose first word may be that of a metric or of a baseline."""


class Words:
    """words("learning.title"), and words("data.rows", count=12) where there is something to fill in."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._table: dict[str, str] = json.loads((FOLDER / f"words.{language}.json").read_text(encoding="utf-8"))

    def __call__(self, key: str, **values: object) -> str:
        said = self._table[key].format(**values)
        return capital(said) if key in _BEGIN_WITH_NAMES else said

    def of_kind(self, key: str, kind: str) -> str:
        """The words for tasks of this kind, where there are others than for all."""
        return self._table.get(f"{key}.{kind}", self._table[key])

    def name(self, group: str, name: str) -> str:
        """What a name of adaptune is called, `metric`, `macro_f1`; one without an entry stays, without underscores."""
        return self._table.get(f"{group}.{name}", name.replace("_", " "))

    def score(self, metric: str, value: float) -> str:
        """A score in letters."""
        if _SHARES.search(metric):
            return f"{100 * value:.1f}%"
        return f"{100 * value:.1f}" if _POINTS.search(metric) else f"{value:.3f}"

    def tick(self, metric: str, value: float) -> str:
        """A score beside an axis."""
        if _SHARES.search(metric):
            return f"{100 * value:.4g}%"
        return f"{100 * value:.4g}" if _POINTS.search(metric) else f"{value:.4g}"

    def gap(self, metric: str, value: float) -> str:
        """A difference of scores in letters."""
        if _SHARES.search(metric) or _POINTS.search(metric):
            return f"{100 * value:+.1f}"
        return f"{value:+.3f}"

    def gap_tick(self, metric: str, value: float) -> str:
        """The same beside an axis."""
        times = 100 if _SHARES.search(metric) or _POINTS.search(metric) else 1
        return f"{times * value:+.4g}" if value else "0"

    def ends(self, metric: str, low: float, high: float) -> str:
        """An interval of scores."""
        return self("interval", low=self.score(metric, low), high=self.score(metric, high))

    def gaps(self, metric: str, low: float, high: float) -> str:
        """An interval of differences."""
        return self("interval", low=self.gap(metric, low), high=self.gap(metric, high))

    def seconds(self, value: float) -> str:
        """A duration."""
        if value < 120:
            return self("seconds", seconds=f"{value:.1f}" if value < 10 else f"{value:.0f}")
        minutes, seconds = divmod(round(value), 60)
        if minutes < 120:
            return self("minutes", minutes=minutes, seconds=seconds)
        return self("hours", hours=minutes // 60, minutes=minutes % 60)

    def joined(self, names: Sequence[str]) -> str:
        """Names one after another."""
        return self("comma").join(names)


def capital(text: str) -> str:
    """With its first letter large, as a sentence or a heading begins."""
    return text[:1].upper() + text[1:]


def megabytes(count: float) -> str:
    """Bytes in MB of 10^6."""
    return f"{count / 1e6:,.1f} MB"


def parameters(count: float) -> str:
    """A number of parameters, short."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:  # rounded to three digits it is as much
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def share_of(part: float, whole: float) -> str:
    """In percent, with two digits where it is small."""
    percent = 100 * part / max(1, whole)
    return f"{percent:.0f}%" if percent >= 10 else f"{percent:.2g}%"


def language_of_user() -> Language:
    """Chinese where the user's locale says so, else English."""
    given = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if given.lower().startswith("zh") else "en"


def language_named(name: str | None) -> Language:
    """A language by its code; none: the user's. Raises AdaptuneError."""
    if name is None:
        return language_of_user()
    if name not in get_args(Language):
        raise AdaptuneError(f"--language {name!r} is not known; there are: {', '.join(get_args(Language))}")
    return "zh" if name == "zh" else "en"
