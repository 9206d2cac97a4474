"""Drawings: they are whole XML, ticks are round, and places are where values are."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from adaptune.report.chart import (
    Axis,
    Bar,
    Diagonal,
    Dots,
    Level,
    Line,
    Named,
    Scale,
    columns,
    intervals,
    plot,
    thinned,
)

AXIS = Axis("across", lambda value: f"{value:g}")


def _texts(drawn: str) -> list[str]:
    return [text for one in ElementTree.fromstring(drawn).iter("text") if (text := "".join(one.itertext()))]


def test_a_plot_is_whole_xml_whatever_the_names_are() -> None:
    name = '<b>&"quoted"</b>'
    layers = [Line(name, [(0, 1), (2, 3)], dots=True), Line("二", [(0, 2), (2, 1)], 1), Diagonal(), Level(name, 2)]
    layers += [Dots([(1, 1)], says=[name]), Named(name, (1, 2), (1.5, 2.5), says=name)]
    drawn = plot(layers, AXIS, Axis(name, str))
    assert {name, "二", "across"} <= set(_texts(drawn))


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1, 0, 100, log=False), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(0.72, 0.93, 0, 100, log=False), [0.75, 0.8, 0.85, 0.9]),
        (Scale(900, 2e6, 0, 100, log=True), [1e3, 1e4, 1e5, 1e6]),
        (Scale(20, 90, 0, 100, log=True), [20, 50]),
        (Scale(-3, 12, 100, 0, log=False), [0, 5, 10]),
    ],
)
def test_ticks_are_round_and_within(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


def test_values_lie_between_the_ends_of_their_scale() -> None:
    assert [Scale(10, 20, 50, 150, log=False)(value) for value in (10, 15, 20)] == [50, 100, 150]
    assert [Scale(1, 100, 0, 100, log=True)(value) for value in (1, 10, 100)] == pytest.approx([0, 50, 100])


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.0, 0.0], []])
def test_values_that_are_all_alike_are_drawn(values: list[float]) -> None:
    assert plot([Line("", [(value, value) for value in values])], AXIS, AXIS)
    assert plot([Line("", [(value, value) for value in values])], Axis("x", str, log=True), AXIS)
    assert intervals([Bar("one", value) for value in values], AXIS)
    assert columns([Bar("one", value) for value in values], AXIS)


def test_long_names_are_cut_and_stand_whole_in_a_title() -> None:
    drawn = intervals([Bar("a name that is much too long to stand beside its value, whatever it may be", 0.5)], AXIS)
    [text] = [one for one in ElementTree.fromstring(drawn).iter("text") if one.get("class") == "name"]
    assert (text.text or "").endswith("…")
    [title] = list(text)
    assert (title.text or "").endswith("whatever it may be")


def test_many_points_are_drawn_as_means_of_neighbours() -> None:
    points = [(float(place), float(place % 2)) for place in range(1000)]
    found = thinned(points, 100)
    assert len(found) == 100
    assert {y for _, y in found} == {0.5}
    assert thinned(points[:50], 100) == points[:50]
