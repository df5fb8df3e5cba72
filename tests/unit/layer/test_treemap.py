"""Treemaps: their areas are the weights', and nothing lies outside or on something else."""

import random
import re
from itertools import combinations

import pytest

from layer.builder.report import treemap
from layer.builder.report.treemap import Leaf, Node, Rectangle, draw, format_bytes, make_folder, squarify


def area(one: Rectangle) -> float:
    """Return a rectangle's area."""
    return one.width * one.height


def overlap(one: Rectangle, other: Rectangle) -> float:
    """Return the area that two rectangles share."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(width, 0) * max(height, 0)


def contains(outer: Rectangle, inner: Rectangle, slack: float = 1e-6) -> bool:
    """Return whether a rectangle lies in another."""
    return (
        inner.x >= outer.x - slack
        and inner.y >= outer.y - slack
        and inner.x + inner.width <= outer.x + outer.width + slack
        and inner.y + inner.height <= outer.y + outer.height + slack
    )


def worst(places: list[Rectangle]) -> float:
    """Return the largest ratio of a rectangle's sides."""
    return max(max(one.width / one.height, one.height / one.width) for one in places)


class TestSquarify:
    """Weights become rectangles."""

    @pytest.mark.parametrize("seed", range(60))
    def test_properties(self, seed):
        """Areas are in proportion, all are inside, none overlap; whatever the weights and the rectangle."""
        dice = random.Random(seed)  # noqa: S311
        spread = dice.choice([1.0, 3.0, 12.0])
        weights = [dice.lognormvariate(0, spread) for _ in range(dice.randint(1, 60))]
        within = Rectangle(
            dice.uniform(-9, 9), dice.uniform(-9, 9), dice.uniform(1, 2000), dice.uniform(1, 2000)
        )

        places = squarify(weights, within)

        for weight, place in zip(weights, places, strict=True):
            assert area(place) == pytest.approx(
                area(within) * weight / sum(weights), rel=1e-6, abs=1e-9 * area(within)
            )
            assert contains(within, place)
        assert all(overlap(one, other) < 1e-6 * area(within) for one, other in combinations(places, 2))
        assert sum(map(area, places)) == pytest.approx(area(within))

    def test_the_papers_example(self):
        """6, 6, 4, 3, 2, 2 and 1 in 6 by 4 are laid out as in the paper's figure."""
        places = squarify([6, 6, 4, 3, 2, 2, 1], Rectangle(0, 0, 6, 4))

        assert [tuple(round(side, 2) for side in place) for place in places[:4]] == [
            (0, 0, 3, 2),
            (0, 2, 3, 2),
            (3, 0, 1.71, 2.33),
            (4.71, 0, 1.29, 2.33),
        ]
        assert worst(places) < 3

    def test_squares(self):
        """What can be square is."""
        assert worst(squarify([1] * 16, Rectangle(0, 0, 100, 100))) == pytest.approx(1)

    def test_order(self):
        """Rectangles come in the order of the weights, of which the largest is first in the picture."""
        small, large = squarify([1, 9], Rectangle(0, 0, 10, 10))

        assert (large.x, large.y) == (0, 0)
        assert area(small) == pytest.approx(10)

    def test_nothing(self):
        """No weight, no rectangle; a weight of nothing, a rectangle of no area."""
        assert squarify([], Rectangle(0, 0, 1, 1)) == []
        assert [area(place) for place in squarify([0, 2, 0], Rectangle(0, 0, 1, 1))] == [0, 1, 0]
        assert [area(place) for place in squarify([0, 0], Rectangle(0, 0, 1, 1))] == [0, 0]

    def test_no_room(self):
        """In a rectangle without an area, all have none."""
        assert all(area(place) == 0 for place in squarify([3, 2, 1], Rectangle(0, 0, 5, 0)))

    def test_negative(self):
        """There is no negative area."""
        with pytest.raises(ValueError, match="negative weight"):
            squarify([1, -1], Rectangle(0, 0, 1, 1))


class TestFolder:
    """Files become a tree."""

    def test_tree(self):
        """A folder weighs what is in it, and has the style of most of it."""
        node = make_folder(
            [Leaf("a/x.so", 70, "lib"), Leaf("a/sub/y.py", 20, "code"), Leaf("a/sub/z.py", 10, "code")]
        )

        assert (node.name, node.weight, node.style) == ("a/", 100, "lib")
        assert [(child.name, child.weight, child.style) for child in node.children] == [
            ("x.so", 70, "lib"),
            ("sub/", 30, "code"),
        ]
        assert node.children[1].title == "a/sub/: 30 bytes, 2 files"

    def test_lonely_folders(self):
        """A folder with nothing but a folder in it takes no room of its own."""
        node = make_folder([Leaf("a/b/c/x", 1, ""), Leaf("a/b/c/y", 1, "")])

        assert (node.name, node.title) == ("c/", "a/b/c/: 2 bytes, 2 files")
        assert make_folder([Leaf("a/b/x.py", 5, "code")]).name == "x.py"

    def test_the_same_path_twice(self):
        """It is one rectangle with the weight of both."""
        assert make_folder([Leaf("a/x", 1, ""), Leaf("a/x", 2, "")]).weight == 3


class TestDraw:
    """The picture."""

    def test_cells(self):
        """Every node is a rectangle with its tooltip, and the largest have a label with their size."""
        picture = draw(
            [Node("big.so", "a/big.so: 900", 900, "lib"), Node("s", "a/s: 9", 9, "")], 300, 200, "map"
        )

        assert picture.count("<rect") == 2
        assert "<title>a/big.so: 900</title>" in picture
        assert ">big.so</text>" in picture
        assert ">900 B</text>" in picture
        assert 'aria-label="map"' in picture

    def test_a_long_label(self):
        """It ends where its rectangle does, with a margin on either side."""
        picture = draw([Node("n" * 99, "", 1, "lib")], 200, 100, "")
        label = re.search(r"<text[^>]*>(n+…)</text>", picture)[1]
        assert 0 <= 200 - 8 - len(label) * treemap._CHARACTER < treemap._CHARACTER + 4

    def test_groups(self):
        """A folder with room for it is drawn around what is in it."""
        node = make_folder([Leaf("a/x", 500, "lib"), Leaf("a/y", 500, "lib")])

        large, small = draw([node], 400, 300, ""), draw([node], 40, 30, "")

        assert large.count("<rect") == 3
        assert small.count("<rect") == 1

    @pytest.mark.parametrize(
        ("count", "styles"), [(1, ["cell d0 lib"]), (2, ["group d0 lib", *["cell d1 code"] * 2])]
    )
    def test_a_group_is_styled(self, count, styles):
        """One thing alone is not a group; what is drawn begins in the corner."""
        children = tuple(Node(name, "", 500 // count, "code") for name in "ab"[:count])
        picture = draw([Node("a/", "", 500, "lib", children)], 400, 300, "")
        assert re.findall('<g class="([^"]*)">', picture) == styles
        assert '<rect x="0.0" y="0.0" width="400.0" height="300.0"/>' in picture

    def test_others(self):
        """What is too small to be seen is one rectangle, whose area is that of all of it."""
        nodes = [Node("big", "", 10**6, ""), *(Node(f"n{i}", "", 20, "") for i in range(500))]

        picture = draw(nodes, 400, 300, "")

        assert picture.count("<rect") == 2
        assert "500 others, each too small to be seen: 10,000 bytes" in picture

    def test_long_names(self):
        """A label ends where its rectangle does."""
        picture = draw([Node("a_very_long_name_of_a_library.so", "", 1, "")], 100, 50, "")

        [text] = re.findall(r">([^<]*…)</text>", picture)
        assert len(text) < 20

    def test_escaped(self):
        """Names, tooltips and labels are data."""
        evil = '</title><script>"&'

        picture = draw([Node(evil, evil, 1, "")], 900, 50, evil)

        assert "<script" not in picture
        assert picture.count("&lt;script&gt;") == 3


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (999_999, "1.0 MB"), (262_144_000, "262.1 MB"),
     (10**10, "10,000.0 MB")],
)  # fmt: skip
def test_human(count, text):
    """Bytes are told with three digits or so, in powers of 1000."""
    assert format_bytes(count) == text
