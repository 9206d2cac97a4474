"""Many recipes on one task: which of several candidates to use, and which settings of one. Trains by the room `run`."""

from __future__ import annotations
