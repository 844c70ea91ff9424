"""The plots of the benchmark: all that was measured is on paper, whatever it is called."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from docs.extensions.plots import COLOURS, svg

from tests.bench.plot import Bars, Plot, Series

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture: Plot | Bars) -> ET.Element:
    return ET.fromstring(svg(picture))  # noqa: S314 - our own


def plot(*series: Series, logarithmic: bool = False) -> Plot:
    return Plot(name="p", title="a < b", x="size", y="ms", series=series, logarithmic=logarithmic)


def texts(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def points(picture: ET.Element, colour: str) -> list[tuple[float, float]]:
    found = (use for use in picture.iter(f"{SVG}use") if colour in use.get("style", ""))
    return [(float(use.attrib["x"]), float(use.attrib["y"])) for use in found]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_plot_has_a_point_and_a_name_for_all_that_was_measured(logarithmic: bool) -> None:  # noqa: FBT001
    series = (Series(name="a & b", points=((1, 1), (10, 2), (100, 900))), Series(name="c", points=((1, 3), (10, 4))))
    picture = drawn(plot(*series, logarithmic=logarithmic))
    # each name's own sample has one, too
    assert [3 + 1, 2 + 1] == [len(points(picture, colour)) for colour in COLOURS[:2]]
    assert {"a < b", "size", "ms", "a & b", "c", "1", "10", "100"} <= set(texts(picture))


def test_a_larger_value_is_higher_and_a_larger_size_farther_right() -> None:
    picture = drawn(plot(Series(name="a", points=((10, 0.3), (100_000, 7_200))), logarithmic=True))
    (x, y), (another_x, another_y), *_ = points(picture, COLOURS[0])
    assert x < another_x
    assert y > another_y


def test_a_single_size_can_be_drawn() -> None:
    assert 1 + 1 == len(points(drawn(plot(Series(name="a", points=((10, 10),)), logarithmic=True)), COLOURS[0]))


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    picture = drawn(Bars(name="b", title="t", bars=(("twice", 2.0), ("half", 0.5))))
    half, twice = (
        max(xs) - min(xs)
        for path in picture.iter(f"{SVG}path")
        if COLOURS[0] in path.get("style", "")
        for xs in [[float(x) for x, _ in re.findall(r"([\d.]+) ([\d.]+)", path.attrib["d"])]]
    )
    assert 4.0 == pytest.approx(twice / half, rel=0.01)
    assert {"t", "twice", "half", "2.00", "0.50", "1"} == set(texts(picture))


def test_what_is_no_series_has_the_colour_of_the_page() -> None:
    picture = svg(plot(Series(name="a", points=((1, 1), (10, 2)))))
    assert set(COLOURS[:1]) == set(re.findall(r"#[0-9a-f]{6}", picture))
