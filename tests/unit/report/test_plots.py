"""Plots: files that a browser shows, the same for the same figures."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import _Lazy
from adaptune.report import plots
from adaptune.report.plots import Curve, draw_bars, draw_curves

BARS = {"this one": [5200.0, 5310.0, 5150.0], "another": [2400.0, 2500.0, 2380.0]}
CURVES = [Curve("this one", [10, 40], [0.5, 0.9]), Curve("another", [30, 90], [0.4, 0.8], colour=1, style=1)]


def test_bars_and_curves_are_png_and_svg_files(tmp_path: Path) -> None:
    files = draw_bars(tmp_path / "plots" / "bars", "Speed", "tokens a second", BARS)
    files += draw_curves(tmp_path / "plots" / "curves", "Score", "accuracy", CURVES, mark=0.85)
    assert [file.name for file in files] == ["bars.png", "bars.svg", "curves.png", "curves.svg"]
    for file in files[::2]:
        header = file.read_bytes()[:24]
        assert header[1:4] == b"PNG"
        assert min(struct.unpack(">2I", header[16:24])) > 200
    for file in files[1::2]:
        assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    first = [file.read_bytes() for file in draw_bars(tmp_path / "a" / "bars", "Speed", "tokens a second", BARS)]
    again = [file.read_bytes() for file in draw_bars(tmp_path / "b" / "bars", "Speed", "tokens a second", BARS)]
    assert first == again


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "matplotlib_figure", _Lazy("matplotlib_that_nobody_installed"))
    with pytest.raises(MissingExtra, match=r"pip install 'adaptune\[report\]'"):
        draw_bars(tmp_path / "bars", "Speed", "tokens a second", BARS)
