"""Rows as they are, and a head that learns from them step by step."""

from __future__ import annotations

from adaptune.core.approach import Approach


class Finetune(Approach):
    """A head on the model learns the task from labelled rows; the model reads each row as it is."""
