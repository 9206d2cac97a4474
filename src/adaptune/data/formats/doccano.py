"""What of doccano's exports cannot be used, told by what a row holds. Its other rows are plain, or hold marked spans.

An export of texts with labels has `text` and a list `label`, one of relations `entities` and `relations`; the first
doccanos also gave `annotations`, in which labels are numbers that only its database can name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptune.data.table import shown


def check_row(value: Mapping[str, Any]) -> None:
    """Raises ValueError for a row of the old form."""
    given = value.get("annotations")
    if not isinstance(value.get("text"), str) or not isinstance(given, list) or not given:
        return
    if all(isinstance(one, dict) and type(one.get("label")) is int for one in given):
        raise ValueError(
            f"column 'annotations': {shown(given)} name labels by numbers of doccano's database; export as JSONL with "
            "text labels"
        )
