"""The report: what is written is read, and both texts say what a reader must not miss."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from layer.builder.errors import ReportError
from layer.builder.pack.plan import LIMIT
from layer.builder.report import page
from layer.builder.report.facts import (
    Archive,
    Budget,
    Check,
    File,
    InstalledWheel,
    Proof,
    Removed,
    Report,
    Split,
    Stripped,
    Trace,
    read,
    write,
)
from layer.builder.report.page import draw_page, write_page
from layer.builder.report.table import format_table
from layer.builder.tree import folder_sha256

REPORT = Report(
    recipe="opennmt",
    engine="opennmt",
    target="python3.13-arm64",
    runtime="python3.13",
    architecture="arm64",
    strategy="direct",
    reason="it has 240,000,000 bytes",
    digest="ab" * 32,
    layer_sha256="cd" * 32,
    proof=Proof("proven", "it answered byte for byte what the full tree answers"),
    trace=Trace("by a run"),
    compiled="12 modules",
    budget=Budget(LIMIT, 240_000_000, 1_000_000, 241_000_000),
    archive=None,
    files=(
        File("six.py", 40_000_000, "six", "layer"),
        File("torch/lib/libtorch.so", 150_000_000, "torch", "layer"),
        File("torch/nn/a.pyc", 50_000_000, "torch", "layer"),
    ),
    removed=(
        Removed("tests", "nobody runs them", "torch", 700, 90_000_000),
        Removed("tests", "nobody runs them", "numpy", 30, 1_000_000),
        Removed("trace", "no run opened it", "torch", 9, 5_000_000),
    ),
    stripped=Stripped(3, 200_000_000, 150_000_000, ("numpy.libs/libgfortran.so",)),
    checks=(Check("glibc", "highest GLIBC needed 2.28 (libtorch.so), offered 2.34"),),
    wheels=(InstalledWheel("torch", "2.10.0", "torch-2.10.0-any.whl", 146_000_000),),
)
UNPROVEN = replace(REPORT, proof=Proof("unproven", "no Python here runs it"))
TOO_BIG = replace(REPORT, budget=Budget(LIMIT, 300_000_000, 1_000_000, 301_000_000))
NESTED = replace(
    REPORT,
    strategy="nested",
    budget=Budget(LIMIT, 100_000_000, 1_000_000, 101_000_000),
    archive=Archive(60_000_000, 200_000_000, 2),
    files=(REPORT.files[0], *(replace(one, place="archive") for one in REPORT.files[1:])),
)
EMPTY = replace(
    REPORT,
    budget=Budget(LIMIT, 0, 0, 0),
    files=(),
    removed=(),
    stripped=Stripped(0, 0, 0, ()),
    checks=(),
    wheels=(),
)
EVIL = "<script>alert(1)</script>\"&'\x1b[31m\u202e\udcff"
HOSTILE = replace(
    REPORT,
    recipe=EVIL,
    reason=EVIL,
    proof=Proof("unproven", EVIL),
    files=(File(f"{EVIL}/{EVIL}", 9, EVIL, "layer"), File(f"{EVIL}/b", 9, EVIL, "layer")),
    removed=(Removed(EVIL, EVIL, EVIL, 1, 9),),
    stripped=Stripped(1, 9, 8, (EVIL,)),
    checks=(Check(EVIL, EVIL),),
    wheels=(InstalledWheel(EVIL, EVIL, EVIL, 9),),
)
LARGER = replace(
    REPORT,
    removed=(
        *REPORT.removed,
        Removed("patch", "it is late now", "msgspec", 1, -90),
        Removed("tests", "", "six", 1, -9),
    ),
)
EVERY = {"fits": REPORT, "patches that add": LARGER, "unproven": UNPROVEN, "too big": TOO_BIG,
         "nested": NESTED, "empty": EMPTY, "hostile": HOSTILE}  # fmt: skip
every = pytest.mark.parametrize("report", EVERY.values(), ids=EVERY)


class Page(HTMLParser):
    """A page as a browser sees it: its elements, and its texts by the element they are in."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def write_both(report, folder):
    """Write the report as a build does."""
    write(report, folder)
    write_page(report, folder)


class TestFiles:
    """``report.json`` and ``report.html``."""

    @every
    def test_read_what_was_written(self, report, tmp_path):
        """Nothing is lost, whatever a path has in it."""
        write_both(report, tmp_path)

        assert read(tmp_path / "report.json") == replace(report, files=tuple(sorted(report.files, key=str)))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]

    def test_the_same_file(self, tmp_path):
        """Files found in another order give the same report, with keys in alphabetical order."""
        write_both(REPORT, tmp_path)
        first = (tmp_path / "report.json").read_bytes()
        write(replace(REPORT, files=REPORT.files[::-1]), tmp_path)

        assert (tmp_path / "report.json").read_bytes() == first
        assert list(json.loads(first)) == sorted(json.loads(first))

    def test_for_everybody(self, tmp_path):
        """Both files have the mode of any other file, and replace what was there."""
        (tmp_path / "report.json").write_text("old")
        (tmp_path / "any").touch()
        write_both(REPORT, tmp_path)

        modes = {(tmp_path / name).stat().st_mode for name in ("any", "report.json", "report.html")}
        assert len(modes) == 1

    def test_whole_or_not_at_all(self, tmp_path, monkeypatch):
        """A disk that is full leaves the report from before, and nothing half."""
        write_both(REPORT, tmp_path)

        def full(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(OSError, match="no space"):
            write_both(UNPROVEN, tmp_path)
        assert read(tmp_path / "report.json") == REPORT
        assert len(list(tmp_path.iterdir())) == 2

    def test_missing(self, tmp_path):
        """Without a report one is told how to get one."""
        with pytest.raises(ReportError, match=r"there is no .*report\.json; build the layer"):
            read(tmp_path / "report.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"digest": None}, "digest is not as it should be"),
            ({"strategy": "folded"}, "strategy is not"),
            ({"budget": {"limit": 1}}, "budget is not"),
            ({"budget": {"limit": 1, "layer": True, "function": 1, "total": 1}}, "layer is not"),
            ({"files": [{"path": "x"}]}, "files is not"),
            ({"files": "six.py"}, "files is not"),
            ({"archive": []}, "archive is not"),
            ({"colour": "red"}, "it is not"),
        ],
    )
    def test_not_a_report(self, change, message, tmp_path):
        """What this version of the builder does not write is not guessed at."""
        write_both(REPORT, tmp_path)
        path = tmp_path / "report.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

        with pytest.raises(ReportError, match=f"is not a report of this version of the builder: {message}"):
            read(path)

    @pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff"])
    def test_not_even_json(self, text, tmp_path):
        """Neither is a file that was cut off or is something else."""
        (tmp_path / "report.json").write_bytes(text.encode("latin-1"))

        with pytest.raises(ReportError, match="is not a report of this version of the builder"):
            read(tmp_path / "report.json")


class TestFolder:
    """``folder_sha256``."""

    def test_definition(self, tmp_path):
        """It is the hash of a line for every file, in the order of the lines."""
        for name, content in (("b.py", b"bb"), ("a/x.py", b"x"), ("a.py", b"")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)

        lines = [
            f"{name}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n"
            for name, content in (("a.py", b""), ("a/x.py", b"x"), ("b.py", b"bb"))
        ]
        assert folder_sha256(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()

    @pytest.mark.parametrize("change", ["content", "name", "more", "less"])
    def test_changes(self, tmp_path, change):
        """Any change of a file is seen, and only of files: an empty folder counts for nothing."""
        (tmp_path / "a.py").write_text("a")
        (tmp_path / "b.py").write_text("b")
        before = folder_sha256(tmp_path)
        (tmp_path / "empty").mkdir()
        assert folder_sha256(tmp_path) == before

        if change == "content":
            (tmp_path / "a.py").write_text("A")
        elif change == "name":
            (tmp_path / "a.py").rename(tmp_path / "c.py")
        elif change == "more":
            (tmp_path / "empty" / "c.py").touch()
        else:
            (tmp_path / "b.py").unlink()
        assert folder_sha256(tmp_path) != before


class TestTable:
    """The terminal's table."""

    def test_text(self):
        """It says what went, what stays, and what that means."""
        assert format_table(REPORT) == (
            "TAKEN OUT              files        bytes\n"
            "  tests                  730   91,000,000\n"
            "  stripped of symbols      3   50,000,000\n"
            "  trace                    9    5,000,000\n"
            "  together               742  146,000,000\n"
            "\n"
            "IN                     files        bytes\n"
            "  torch                    2  200,000,000\n"
            "  six                      1   40,000,000\n"
            "  together                 3  240,000,000\n"
            "\n"
            "budget   1,000,000 function + 240,000,000 layer = 241,000,000 of 262,144,000 bytes\n"
            "verdict  it fits: 21,144,000 bytes are left\n"
            "proof    proven: it answered byte for byte what the full tree answers"
        )

    def test_verdicts(self):
        """What does not fit, or is not proven, cannot be overlooked."""
        assert "it does not fit: 38,856,000 bytes too many" in format_table(TOO_BIG)
        assert "proof    UNPROVEN: no Python here runs it" in format_table(UNPROVEN)
        assert "archive  60,000,000 bytes for 2 files of 200,000,000 bytes" in format_table(NESTED)
        assert f"plan     {NESTED.reason}" in format_table(NESTED)

    @every
    def test_width(self, report):
        """No line is wider than 100 columns, and none can move a terminal's cursor."""
        long = replace(report, removed=(*report.removed, Removed("r" * 200, "", "p", 1, 1)),
                       reason="why " * 90, proof=replace(report.proof, how="how " * 90))  # fmt: skip
        for text in (format_table(report), format_table(long)):
            assert all(len(line) <= 100 and (not line or line.isprintable()) for line in text.split("\n"))

    def test_many_packages(self):
        """The small ones are summed up."""
        many = tuple(File(f"p{i}/x.py", 100 + i, f"p{i}", "layer") for i in range(40))

        text = format_table(replace(REPORT, files=many))
        assert "  p39 " in text
        assert re.search(r"  28 other packages +28 +3,178", text)


class TestPage:
    """The page."""

    @every
    def test_well_formed(self, report):
        """Every element is closed where it should be, and the page needs nothing else."""
        found = Page(draw_page(report))

        assert not {"script", "link", "img", "iframe", "image"} & {tag for tag, _ in found.elements}
        names = {name for _, attributes in found.elements for name in attributes}
        assert not [name for name in names if name.startswith(("on", "src", "href", "xlink"))]
        assert not re.search(r"@import|url\((?!#)", draw_page(report))
        assert ("meta", {"charset": "utf-8"}) in found.elements

    @every
    def test_no_numbers_gone_wrong(self, report):
        """No side of a rectangle is negative or no number at all."""
        sides = [attributes[side] for tag, attributes in Page(draw_page(report)).elements if tag == "rect"
                 for side in ("width", "height")]  # fmt: skip
        assert sides
        assert all(float(side.rstrip("%")) >= 0 for side in sides)

    def test_says_it_all(self):
        """What the report has, a reader finds, the pictures' contents as tables as well."""
        text = Page(draw_page(REPORT)).text

        facts = ("opennmt", "python3.13-arm64", "Fits", "21.1 MB left", "241,000,000 of 262,144,000 bytes",
                 "torch/lib/libtorch.so", "nobody runs them", "torch 90.0 MB, numpy 1.0 MB", "91,000,000",
                 "highest GLIBC needed 2.28", "torch-2.10.0-any.whl", "numpy.libs/libgfortran.so",
                 "ab" * 32, "cd" * 32, "12 modules", "by a run", "3 files lost their symbols")  # fmt: skip
        for told in facts:
            assert told in text

    def test_verdicts(self):
        """What does not fit, or is not proven, stands at the top."""
        top = Page(draw_page(TOO_BIG)).text.partition("Lambda's limit")[0]
        assert "Does not fit" in top
        assert "38.9 MB too many" in top
        top = Page(draw_page(UNPROVEN)).text.partition("Lambda's limit")[0]
        assert "UNPROVEN" in top
        assert "no Python here runs it" in top
        assert "UNPROVEN" not in draw_page(REPORT)

    def test_over_budget(self):
        """The bar goes on behind the limit, in the same scale."""
        pieces = {attributes.get("class"): attributes for tag, attributes in Page(draw_page(TOO_BIG)).elements
                  if tag == "rect" and "class" in attributes}  # fmt: skip
        width = {name: float(pieces[name]["width"].rstrip("%")) for name in ("function", "layer", "over")}
        assert width["function"] + width["layer"] == pytest.approx(100, abs=0.01)
        assert width["over"] == pytest.approx(100 * 38_856_000 / 301_000_000, abs=0.01)
        assert float(pieces["over"]["x"].rstrip("%")) + width["over"] == pytest.approx(100, abs=0.01)

    @pytest.mark.parametrize(("report", "nested"), [(REPORT, False), (NESTED, True)], ids=["", "nested"])
    def test_the_archives_piece(self, report, nested):
        """A layer without an archive has no piece for one, and is whole."""
        styles = [
            attributes.get("class") for tag, attributes in Page(draw_page(report)).elements if tag == "rect"
        ]
        assert ("archive" in styles) == nested
        assert ("the layer's other files: " in draw_page(report)) == nested

    def test_tables_in_narrow_windows(self):
        """They scroll; one with a name and numbers stays short, and others with numbers are stacked."""
        found = re.findall(r'<div class="(scroll[^"]*)"><table><thead><tr>(.*?)</tr>', draw_page(REPORT))
        styles = {(head.count("<th"), head.count("data-name")): style for style, head in found}
        assert {numbers for _, numbers in styles} > {0}
        for (columns, numbers), style in styles.items():
            others = "scroll stack" if numbers else "scroll"
            assert style == ("scroll short" if columns - numbers == 1 else others)
        assert "scroll short" in styles.values()

    def test_a_table(self):
        """Each row has a heading; numbers stand to the right, and are summed up where there are several."""
        head, rows = ("Package", "Bytes"), [("a", 1000), ("<b>", 2)]
        number = 'class="number" data-name="bytes"'
        assert page._draw_table(head, rows, total=True) == (
            f'<div class="scroll short"><table><thead><tr><th>Package</th><th {number}>Bytes</th></tr>'
            f'</thead><tbody><tr><th scope="row">a</th><td {number}>1,000</td></tr>'
            f'<tr><th scope="row">&lt;b&gt;</th><td {number}>2</td></tr></tbody>'
            f'<tfoot><tr><th scope="row">together</th><td {number}>1,002</td></tr></tfoot></table></div>'
        )
        for other in (page._draw_table(head, rows), page._draw_table(head, rows[:1], total=True)):
            assert "tfoot" not in other

    @pytest.mark.parametrize(
        ("names", "kind"),
        [
            (["a.so", "a.so.1.2", "a.dylib", "a.cpython-313.so", "a.pyd"], "lib"),
            (["a.py", "a/b.pyc", "a.pyi"], "code"),
            (["a.txt", "so", "a.so.txt", "a.pyx", "py"], "rest"),
        ],
    )
    def test_kinds_of_files(self, names, kind):
        """A file is a library, code, or something else."""
        assert {name: page._classify(name) for name in names} == dict.fromkeys(names, kind)

    def test_the_budgets_pieces(self):
        """Each begins where the one before ends; what is over the limit has a piece only if there is any."""
        found = re.findall(r'<rect class="(\w+)" x="([0-9.]+)%" y="10" width="([0-9.]+)%"', draw_page(NESTED))
        assert [style for style, _, _ in found] == ["free", "function", "archive", "layer"]
        end = 0.0
        for _, start, width in found[1:]:
            assert float(start) == pytest.approx(end, abs=0.01)
            end += float(width)
        assert end == pytest.approx(100 * 101_000_000 / LIMIT, abs=0.01)

    @pytest.mark.parametrize(
        ("count", "text"), [(3, "a 1 B, b 1 B, c 1 B"), (4, "a 1 B, b 1 B, c 1 B, 1 more")]
    )
    def test_whose_files_a_step_took_out(self, count, text):
        """Three packages are named, and the others counted."""
        assert page._format_shares([(name, 1) for name in "abcde"[:count]]) == text

    def test_a_split_library(self):
        """Its sizes are named, on the page and in the terminal."""
        split = Split("x/a.so", 9_000_000, 7_000_000, 3_000_000, 5_000_000)
        report = replace(REPORT, split=(split,))
        sizes = "x/a.so: 9.0 MB in 7.0 MB; 3.0 MB of code is ready, 5.0 MB of code is packed until"
        assert sizes in Page(draw_page(report)).text
        line = "split    x/a.so: 9,000,000 bytes as 7,000,000; 3,000,000 of its code as they are"
        assert line in format_table(report).splitlines()

    def test_one_scale(self):
        """A byte has the same area in both maps, in wide and in narrow windows."""
        boxes = [attributes["viewbox"] for tag, attributes in Page(draw_page(REPORT)).elements
                 if attributes.get("class") == "map"]  # fmt: skip
        areas = [float(box.split()[2]) * float(box.split()[3]) for box in boxes]
        assert len(areas) == 4
        for inside, outside in zip(areas[:2], areas[2:], strict=True):
            assert inside / outside == pytest.approx(240 / 146, rel=0.01)

    def test_paths_are_data(self):
        """Nothing in a name becomes part of the page."""
        text = draw_page(HOSTILE)

        assert "<script" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "&lt;script&gt;" in text
        assert "\\x1b[31m\\u202e\\udcff" in text
