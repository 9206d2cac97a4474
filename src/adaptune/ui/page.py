"""GET /: the page. Static files; knows no runs."""

from __future__ import annotations

from pathlib import Path

from adaptune.web.assets import assets_of, page_of

FOLDER = Path(__file__).parent / "page"
ASSETS = assets_of(FOLDER)
"""By name."""

router = page_of(ASSETS)
