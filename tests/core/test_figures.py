"""Figures: data that is bounded and has canonical JSON, whatever it is made of."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluicegate.canonical import canonical_json
from sluicegate.figures import (
    MAX_BARS,
    MAX_CELLS,
    MAX_EXHIBITS,
    MAX_MARKS,
    MAX_NAME,
    MAX_PIXELS,
    MAX_SIDE,
    MAX_TEXT,
    Bar,
    Bars,
    Exhibit,
    Gallery,
    Heatmap,
    Histogram,
    Image,
    Passage,
    Record,
    Series,
    Threshold,
)
from sluicegate.model import Check, Report, RunIdentity, Verdict
from sluicegate.reports.drawing import draw, visible
from sluicegate.reports.html import render_report

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202e\x00\ud800"
SAFE_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "span", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "code", "strong", "dl", "dt", "dd", "br"),
    *("details", "summary", "figure", "figcaption", "ul", "li", "bdi", "mark", "i", "img"),
    *("svg", "desc", "line", "text", "path", "rect"),
}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes, self.words = set(), [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


def report(*figures):
    return Report(checks=(Check.passed("area.thing"),), figures=figures)


def render(*figures):
    document = {
        "stage": "scan",
        "version": "1",
        "configuration": {},
        "subject": {"digest": "sha256:" + "0" * 64, "files": 1, "bytes": 10},
        **json.loads(canonical_json(report(*figures).to_json())),  # as it is stored
    }
    text = render_report(
        document,
        uri="file:///x",
        verdict=Verdict.ALLOW,
        reasons=(),
        issued=datetime(2030, 1, 2, tzinfo=UTC),
        run=RunIdentity(orchestrator="cli"),
    )
    page = Page(text)
    assert not page.open
    return page


def heatmap(rows=("a", "b"), columns=("a", "b"), counts=((5, 1), (0, 7)), **options):
    return Heatmap(
        title="Labels",
        row_axis="given",
        column_axis="likely",
        rows=rows,
        columns=columns,
        counts=counts,
        **options,
    )


def histogram(edges=(0.0, 1.0, 2.0), counts=(3, 4), thresholds=(), **options):
    return Histogram(
        title="Scores",
        axis="score",
        edges=edges,
        series=(Series(name="rows", counts=counts),),
        thresholds=thresholds,
        **options,
    )


def bars(*values):
    return Bars(
        title="Sources",
        axis="source",
        bars=tuple(Bar(name=f"s{at}", observed=o, expected=e) for at, (o, e) in enumerate(values)),
    )


def gallery(*contents):
    return Gallery(
        title="Worst",
        items=tuple(
            Exhibit(content=one, caption="a caption", file="t.csv", ordinal=at)
            for at, one in enumerate(contents)
        ),
    )


def squares(size, level=0):
    return Image(pixels=((level,) * size,) * size)


# --- data --------------------------------------------------------------------------------


def test_a_report_tells_figures_only_if_it_has_any():
    assert "figures" not in report().to_json()
    told = report(heatmap(), histogram()).to_json()["figures"]
    assert [one["kind"] for one in told] == ["heatmap", "histogram"]


def test_a_heatmap_tells_counts_and_where_names_agree():
    told = heatmap(rows=("a", "b"), columns=("b", "c", "a"), counts=((1, 2, 3), (4, 5, 6)))
    told = told.to_json()
    assert told["counts"] == [[1, 2, 3], [4, 5, 6]]
    assert told["agreement"] == [[0, 2], [1, 0]]
    assert (told["omitted_rows"], told["omitted_columns"]) == (0, 0)


def test_a_large_heatmap_keeps_the_classes_with_most_confusion():
    size = MAX_SIDE + 10
    names = tuple(f"c{at:02d}" for at in range(size))
    counts = [[1000 if i == j else 0 for j in range(size)] for i in range(size)]
    for at in range(MAX_SIDE):
        counts[size - 1 - at][size - 1 - (at + 1) % MAX_SIDE] = 1  # the last 50 are confused
    told = heatmap(rows=names, columns=names, counts=tuple(map(tuple, counts))).to_json()
    assert told["rows"] == told["columns"] == list(names[10:])
    assert (told["omitted_rows"], told["omitted_columns"]) == (10, 10)
    assert sum(map(sum, told["counts"])) == MAX_SIDE * 1001


def test_a_heatmap_as_large_as_allowed_is_not_cut():
    names = tuple(map(str, range(MAX_SIDE)))
    told = heatmap(rows=names, columns=names, counts=((1,) * MAX_SIDE,) * MAX_SIDE).to_json()
    assert len(told["rows"]) == MAX_SIDE
    assert told["omitted_rows"] == 0


def test_rows_and_columns_of_different_names_are_cut_apart():
    wide = heatmap(
        rows=("x",),
        columns=tuple(map(str, range(MAX_SIDE + 1))),
        counts=((*[1] * 10, 0, *[1] * (MAX_SIDE - 10)),),
    ).to_json()
    assert wide["rows"] == ["x"]
    assert "10" not in wide["columns"]
    assert (wide["omitted_rows"], wide["omitted_columns"]) == (0, 1)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), True, 2**53])
def test_counts_are_finite_numbers_from_zero(bad):
    with pytest.raises(ValueError, match="count"):
        heatmap(counts=((1, 2), (3, bad)))
    with pytest.raises(ValueError, match="count"):
        histogram(counts=(1, bad))
    with pytest.raises(ValueError, match="count"):
        bars((1, bad))
    with pytest.raises(ValueError, match="count"):
        bars((bad, 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": ()}, "at least one"),
        ({"columns": (), "counts": ((), ())}, "at least one"),
        ({"counts": ((1, 2),)}, "one row and column"),
        ({"counts": ((1, 2), (3,))}, "one row and column"),
    ],
)
def test_a_heatmap_of_another_shape_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        heatmap(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"edges": (0.0,), "counts": ()}, "bins"),
        ({"edges": tuple(map(float, range(202))), "counts": (0,) * 201}, "bins"),
        ({"edges": (0.0, 0.0, 1.0)}, "ascend"),
        ({"edges": (0.0, float("nan"), 1.0)}, "finite"),
        ({"edges": (0.0, 1.0, float("inf"))}, "finite"),
        ({"counts": (1,)}, "each bin"),
        ({"thresholds": (Threshold(name="x", at=float("inf")),)}, "finite"),
        ({"thresholds": (Threshold(name="x", at=0.0),) * 11}, "at most"),
    ],
)
def test_a_histogram_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        histogram(**options)


def test_series_are_few_and_have_different_names():
    one = Series(name="a", counts=(1,))
    for series in ((), (one, one), tuple(Series(name=f"{n}", counts=(1,)) for n in range(7))):
        with pytest.raises(ValueError, match="series"):
            Histogram(title="t", axis="x", edges=(0.0, 1.0), series=series)


def test_bars_are_cut_to_those_that_exceed_most():
    told = bars(*[(10, 10)] * MAX_BARS, (50, 0), (3, 40)).to_json()
    names = [bar["name"] for bar in told["bars"]]
    assert len(names) == MAX_BARS
    assert f"s{MAX_BARS}" in names
    assert f"s{MAX_BARS + 1}" not in names
    assert told["omitted"] == 2


@pytest.mark.parametrize(
    "pixels",
    [
        (),
        ((),),
        ((1, 2), (3,)),
        ((0,) * (MAX_PIXELS + 1),),
        ((0,),) * (MAX_PIXELS + 1),
        ((256,),),
        ((-1,),),
        ((0.5,),),
        (((1, 2),),),
        (((1, 2, 3), 4),),
        (("a",),),
    ],
)
def test_an_image_that_is_none_is_refused(pixels):
    with pytest.raises(ValueError, match="image"):
        Image(pixels=pixels)


def test_levels_of_other_libraries_become_integers():
    import numpy as np

    image = Image(pixels=tuple(map(tuple, np.array([[0, 255]], dtype=np.uint8))))
    assert canonical_json(image.to_json())
    told = heatmap(counts=tuple(map(tuple, np.array([[1, 2], [3, 4]])))).to_json()
    assert canonical_json(told["counts"]) == b"[[1,2],[3,4]]"


def test_a_record_keeps_marked_cells_when_it_is_cut():
    cells = tuple((f"c{at}", at) for at in range(MAX_CELLS + 5))
    told = Record(cells=cells, marked=frozenset({MAX_CELLS + 4})).to_json()
    assert len(told["cells"]) == MAX_CELLS
    assert told["cells"][-1] == {
        "name": f"c{MAX_CELLS + 4}",
        "value": MAX_CELLS + 4,
        "marked": True,
    }
    assert told["omitted"] == 5


def test_cells_without_a_json_form_become_text():
    cells = (("nan", float("nan")), ("inf", float("inf")), ("big", 2**53), ("huge", 10**5000))
    told = Record(cells=(*cells, ("x", None), ("b", True), ("bytes", b"a"))).to_json()
    assert canonical_json(told)
    values = [cell["value"] for cell in told["cells"]]
    assert values == [
        *("nan", "inf", "an integer of 54 bits", "an integer of 16610 bits"),
        *(None, True, "b'a'"),
    ]


@pytest.mark.parametrize("marked", [{-1}, {1}])
def test_marks_are_on_cells(marked):
    with pytest.raises(ValueError, match="marks"):
        Record(cells=(("a", 1),), marked=frozenset(marked))
    with pytest.raises(ValueError, match="cells"):
        Record(cells=())


@pytest.mark.parametrize("marks", [((0, 0),), ((2, 1),), ((-1, 1),), ((0, 5),), ((0, 2), (1, 3))])
def test_marks_of_a_passage_are_ranges_of_its_text(marks):
    with pytest.raises(ValueError, match="marks"):
        Passage(text="abcd", marks=marks)


def test_a_long_passage_is_cut_around_its_first_mark():
    text = "a" * 5000 + "TRIGGER" + "b" * 5000
    told = Passage(text=text, marks=((5000, 5007), (9000, 9001))).to_json()
    assert len(told["text"]) == MAX_TEXT
    assert [told["text"][start:stop] for start, stop in told["marks"]] == ["TRIGGER"]
    assert told["omitted_before"] + MAX_TEXT + told["omitted_after"] == len(text)
    assert told["omitted_marks"] == 1


def test_a_mark_longer_than_the_passage_shown_is_cut_too():
    told = Passage(text="a" * 9000, marks=((10, 8990),)).to_json()
    assert told["marks"] == [[10, MAX_TEXT]]
    many = Passage(text="a" * 1000, marks=tuple((at, at + 1) for at in range(0, 1000, 2))).to_json()
    assert len(many["marks"]) == MAX_MARKS
    assert many["omitted_marks"] == 500 - MAX_MARKS


def test_a_gallery_is_cut_and_says_so():
    told = gallery(*[squares(1)] * (MAX_EXHIBITS + 3)).to_json()
    assert len(told["items"]) == MAX_EXHIBITS
    assert told["omitted"] == 3
    with pytest.raises(ValueError, match="items"):
        gallery()
    with pytest.raises(ValueError, match="position"):
        Exhibit(content=squares(1), ordinal=-1)


def test_a_figure_has_a_title():
    for make in (
        lambda: Gallery(title="", items=(Exhibit(content=squares(1)),)),
        lambda: Bars(title="", axis="x", bars=(Bar(name="a", observed=1, expected=1),)),
    ):
        with pytest.raises(ValueError, match="title"):
            make()
    with pytest.raises(ValueError, match="no bars"):
        bars()


# --- pages -------------------------------------------------------------------------------


def test_a_heatmap_is_a_table_with_heads():
    page = render(heatmap(rows=("cat", "dog"), columns=("cat", "dog"), counts=((50, 3), (0, 1200))))
    assert {"cat", "dog", "given", "likely", "1,200"} <= set(page.words)
    assert page.values("scope").count("row") == 2
    shades = [int(style.split()[1]) for style in page.values("style")]
    assert shades[1] == 70
    assert shades[2] == 0
    assert 10 < shades[0] < shades[3] == 70


def test_a_cut_heatmap_says_so():
    names = tuple(map(str, range(MAX_SIDE + 4)))
    page = render(heatmap(rows=names, columns=names, counts=((1,) * 54,) * 54))
    assert "4 rows with less confusion are left out." in page.text


def test_a_histogram_has_a_name_a_description_and_a_table():
    page = render(histogram(counts=(3, 4000), thresholds=(Threshold(name="cut at", at=1.5),)))
    assert page.values("role") == ["img"]
    described = page.values("aria-labelledby")[-1].split()
    assert set(described) <= set(page.values("id"))
    assert "cut at 1.5" in page.words
    assert {"0 to 1", "1 to 2", "4,000"} <= set(page.words)


def coordinates(page):
    paths = [value for tag, key, value in page.attributes if (tag, key) == ("path", "d")]
    places = [
        float(number)
        for value in paths
        for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", value)
    ]
    for tag, key, value in page.attributes:
        if tag in ("line", "text") and key in ("x", "x1", "x2", "y", "y1", "y2"):
            places.append(float(value))
    return paths, places


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(finite, min_size=2, max_size=20, unique=True).map(sorted),
    st.integers(0, 2**53 - 1),
    st.lists(finite, max_size=3),
    st.booleans(),
)
@example([-1.7e308, 1.7e308], 1, [0.0], True)
@example([0.0, 5e-324], 0, [], False)
@example([1e15, 1e15 + 0.125], 7, [], True)
def test_everything_drawn_is_inside_of_the_picture(edges, most, lines, logarithmic):
    figure = histogram(
        edges=tuple(edges),
        counts=(most, *[1] * (len(edges) - 2)),
        thresholds=tuple(Threshold(name="t", at=at) for at in lines),
        logarithmic=logarithmic,
    )
    page = render(figure)
    paths, places = coordinates(page)
    width, height = map(float, page.values("viewbox")[-1].split()[2:])
    assert all(re.fullmatch(r"[MHVZ0-9. e-]*", path) for path in paths)
    assert all(0 <= place <= max(width, height) for place in places)


def test_higher_counts_are_drawn_higher_and_empty_bins_not_at_all():
    page = render(histogram(edges=(0.0, 1.0, 2.0, 3.0, 4.0), counts=(5, 0, 500, 1)))
    (path,), _ = coordinates(page)
    assert path.count("M") == path.count("Z") == 2
    heights = [float(place) for place in re.findall(r"V([\d.]+)H", path)]
    assert heights[1] < heights[0] < heights[2]


def test_bars_tell_numbers_and_what_is_above():
    page = render(bars((64, 12.5), (4, 8), (8, 8)))
    assert {"64", "12.5"} <= set(page.words)
    assert page.values("class").count("above") == 1
    assert "width: 100.0%" in page.values("style")


def png(uri):
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    stream, chunks = io.BytesIO(data[8:]), {}
    while head := stream.read(8):
        size, kind = struct.unpack(">I4s", head)
        chunks[kind] = stream.read(size)
        assert struct.unpack(">I", stream.read(4))[0] == zlib.crc32(kind + chunks[kind])
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    return width, height, colour, zlib.decompress(chunks[b"IDAT"])


def test_images_are_pngs_of_their_pixels():
    grey = Image(pixels=((0, 1, 2), (253, 254, 255)))
    colour = Image(pixels=(((1, 2, 3), (4, 5, 6)),))
    page = render(gallery(grey, colour))
    first, second = page.values("src")
    assert png(first) == (3, 2, 0, b"\0\x00\x01\x02\0\xfd\xfe\xff")
    assert png(second) == (2, 1, 2, b"\0\x01\x02\x03\x04\x05\x06")
    assert page.values("alt")[0] == "a caption, t.csv, row 0"


def test_records_and_passages_mark_what_was_found():
    page = render(
        gallery(
            Record(cells=(("p1", 16.0), ("p2", None)), marked=frozenset({0})),
            Passage(text="good film cf indeed", marks=((10, 12),)),
        )
    )
    assert page.tags >= {"mark", "bdi", "dl"}
    assert {"p1", "16", "cf", "good film ", " indeed", "(none)"} <= set(page.words)
    assert page.values("class").count("marked") == 1


def test_cut_items_say_so():
    page = render(
        gallery(
            Record(cells=tuple((f"c{at}", at) for at in range(MAX_CELLS + 2))),
            Passage(text="x" * (MAX_TEXT + 7)),
            *[squares(1)] * MAX_EXHIBITS,
        )
    )
    assert "2 more cells are left out." in page.text
    assert "7 more characters are left out." in page.text
    assert "2 items are left out." in page.text


def test_hidden_characters_are_shown():
    assert visible("a\u202eb\u200bc") == "a⟨U+202E⟩b⟨U+200B⟩c"
    assert visible("\U000e0041\x00\ue000") == "⟨U+E0041⟩⟨U+0000⟩⟨U+E000⟩"
    family = "\U0001f468\u200d\U0001f469"
    assert visible(f"{family}\n\tz") == f"{family}\n\tz"
    assert visible(family, strict=True) == "\U0001f468⟨U+200D⟩\U0001f469"
    assert visible("שלום ñ 汉字") == "שלום ñ 汉字"


def test_a_figure_of_an_unknown_kind_is_named_and_not_drawn():
    (drawn,) = draw([{"kind": "volcano", "title": "New", "caption": ""}])
    assert drawn == {"kind": "unknown", "title": "New", "caption": ""}


texts = st.one_of(
    st.just(HOSTILE),
    st.just(HOSTILE * 200),
    st.text(min_size=1, max_size=30),
    st.text(st.characters(), min_size=1, max_size=8).map(lambda text: text * 2000),
)
cells = st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats())


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_text_becomes_markup_and_all_of_it_is_bounded(data):
    name = lambda: data.draw(texts)  # noqa: E731
    first, second, text = name(), name(), name()
    figures = (
        Heatmap(
            title=name(),
            caption=name(),
            row_axis=name(),
            column_axis=name(),
            rows=(first, second),
            columns=(second,),
            counts=((1,), (2,)),
        ),
        Histogram(
            title=name(),
            caption=name(),
            axis=name(),
            edges=(0.0, 1.0),
            series=(Series(name=first, counts=(1,)),),
            thresholds=(Threshold(name=name(), at=0.5),),
        ),
        Bars(title=name(), axis=name(), bars=(Bar(name=name(), observed=1, expected=0),)),
        Gallery(
            title=name(),
            caption=name(),
            items=(
                Exhibit(content=squares(2), caption=name(), file=name(), ordinal=0),
                Exhibit(content=Record(cells=((name(), data.draw(cells)), (name(), name())))),
                Exhibit(content=Passage(text=text, marks=((0, 1),)), caption=name()),
            ),
        ),
    )
    stored = canonical_json([figure.to_json() for figure in figures])
    assert stored == canonical_json([figure.to_json() for figure in figures])
    longest = max(map(len, re.findall(r'"((?:[^"\\]|\\.)*)"', stored.decode())))
    assert longest <= 6 * MAX_TEXT  # six characters for an escaped one
    page = render(*figures)
    assert page.tags <= SAFE_TAGS
    assert not any(key.startswith("on") for _, key, _ in page.attributes)
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert not page.values("href")
    assert not set("\u202e\u2066\x00\u200b") & set(page.text)
    attributes = "".join(value or "" for _, _, value in page.attributes)
    assert not set("\u202e\u2066\x00\u200b") & set(attributes)
    assert "49" not in page.text or "49" in repr(figures)


def test_names_are_cut_with_a_sign():
    told = bars((1, 1)).to_json()
    assert told["bars"][0]["name"] == "s0"
    told = heatmap(rows=("a" * MAX_NAME, "b" * (MAX_NAME + 1))).to_json()
    assert told["rows"] == ["a" * MAX_NAME, "b" * (MAX_NAME - 1) + "…"]
