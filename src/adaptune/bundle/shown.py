"""Answers as a list that a notebook shows as a table. Computes nothing."""

from __future__ import annotations

from typing import Any

from adaptune.core.html import html_table

MOST = 50
"""Rows that are shown."""


class Answers(list[dict[str, Any]]):
    """One answer an input, as `predict` describes them."""

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for answer in self for name in answer))
        rows = [[answer.get(name, "") for name in names] for answer in self[:MOST]]
        more = f"<p>... and {len(self) - MOST:,} more</p>" if len(self) > MOST else ""
        return html_table(names, rows) + more
