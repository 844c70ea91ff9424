"""The benchmark's plots: all that was measured is on paper, and no label lies on another."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tests.bench.bars import Bars
from tests.bench.plot import LABEL_HEIGHT, Plot, Series

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture: Plot | Bars) -> ET.Element:
    return ET.fromstring(picture.svg())  # noqa: S314 - our own


def plot(*series: Series, logarithmic: bool = False) -> Plot:
    return Plot(name="p", title="a < b", x="size", y="ms", series=series, logarithmic=logarithmic)


def texts(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def height_of(picture: ET.Element, words: str) -> float:
    [found] = [text for text in picture.iter(f"{SVG}text") if text.text == words]
    return float(found.attrib["y"])


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_plot_has_a_line_a_point_and_a_label_for_all_that_was_measured(logarithmic: bool) -> None:  # noqa: FBT001
    points = (Series(name="a & b", points=((1, 1), (10, 2), (100, 900))), Series(name="c", points=((1, 3), (10, 4))))
    picture = drawn(plot(*points, logarithmic=logarithmic))
    assert 2 == len(picture.findall(f"{SVG}polyline"))
    assert 5 == len(picture.findall(f"{SVG}circle"))
    assert {"a < b", "size", "ms", "a & b", "c", "1", "10", "100"} <= set(texts(picture))


def test_every_point_is_within_the_axes() -> None:
    picture = drawn(plot(Series(name="a", points=((10, 0.3), (100_000, 7_200))), logarithmic=True))
    width, height = (float(number) for number in picture.attrib["viewBox"].split()[2:])
    for circle in picture.findall(f"{SVG}circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


@pytest.mark.parametrize("last", [(1.0, 1.0, 1.0, 1.0), (100.0, 99.0, 0.0, 1.0), (5.0, 5.1, 5.2, 90.0)])
def test_the_names_of_lines_that_end_together_do_not_lie_on_each_other(last: tuple[float, ...]) -> None:
    names = ["one", "two", "three", "four"]
    series = [Series(name=name, points=((1, 100), (10, y))) for name, y in zip(names, last, strict=True)]
    picture = drawn(plot(*series))
    heights = sorted(height_of(picture, name) for name in names)
    assert all(below - above >= LABEL_HEIGHT - 0.1 for above, below in pairwise(heights))


def test_a_single_size_can_be_drawn() -> None:
    assert 1 == len(drawn(plot(Series(name="a", points=((10, 10),)), logarithmic=True)).findall(f"{SVG}circle"))


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    picture = drawn(Bars(name="b", title="t", bars=(("twice", 2.0), ("half", 0.5))))
    twice, half = (float(bar.attrib["width"]) for bar in picture.findall(f"{SVG}rect"))
    assert 4.0 == pytest.approx(twice / half, rel=0.01)
    assert {"t", "twice", "half", "2.00", "0.50", "1"} == set(texts(picture))
