"""`python -m adaptune` is the command line."""

from __future__ import annotations

from adaptune.cli import main

main()
