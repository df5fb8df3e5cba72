"""Results as one page: what lies in it, and that no text of a result is markup."""

import base64
import gzip
import hashlib
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.__main__ import main
from lambda_setup.commands import results
from lambda_setup.errors import CommandError
from lambda_setup.viewer.page import BLOCK, build_page, page_items
from lambda_setup.viewer.result import is_error, load_saved, load_stored, read_arrays, result_key
from lambda_setup.viewer.show import load_show

HOSTILE = "</script><script>alert(1)</script>\u202e<!--"
FAILED = {"index": 7, "error": {"code": "BadRequest", "message": "data takes"}}
MAP = np.array([[0.25, 0.75], [1, 0], [0, 1]], np.float32)
SHOW = load_show(functions.get("translation"))


def page_of(title: str, records, arrays=None, *facts) -> str:
    """Return a page of translations."""
    return build_page(title, page_items(records, arrays or {}, SHOW), facts)


def translation(text: str, index: int = 0) -> dict:
    """Return a record with one hypothesis."""
    hypothesis = {"text": f"[{text}]", "tokens": ["a", "b", "c"], "score": -0.5}
    return {"index": index, "source": text, "hypotheses": [hypothesis], "source_tokens": ["x", "y"]}


def unpacked(page: str, name: str):
    """Return what an element of the page holds, as its script unpacks it."""
    [data] = re.findall(rf'<script type="application/gzip" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(data)))


def test_every_item_is_in_its_block():
    """The index has every item in order, and each block its items, all fields of them."""
    count = 2 * BLOCK + 1
    page = page_of("many", (translation(f"text {n}", n) for n in range(count)))
    index = unpacked(page, "index")
    assert index["size"] == BLOCK
    assert index["items"] == [[str(n), f"text {n}\n[text {n}]", False] for n in range(count)]
    assert page.count('id="block-') == 3
    record = translation(f"text {count - 1}", count - 1)
    [item] = unpacked(page, "block-2")
    assert item.items() >= {name: record[name] for name in ("index", "source", "source_tokens")}.items()
    panel = {"name": "Hypothesis 1", "note": "score -0.500", **record["hypotheses"][0]}
    panel.pop("score")
    assert [shown | panel for shown in item["panels"]] == item["panels"]


def test_a_record_of_any_kind_is_shown_as_it_is():
    """What a function's show.py does not prepare comes to the page with all its fields."""
    records = [{"index": 0, "label": "a", "more": [1]}, FAILED]
    assert unpacked(page_of("any", records), "block-0") == records


def test_maps_keep_their_numbers():
    """An attention map comes back within a 65,535th."""
    [item] = unpacked(page_of("one", [translation("a")], {0: {"attention": [MAP]}}), "block-0")
    weights = np.frombuffer(base64.b64decode(item["panels"][0]["weights"]), "<u2").reshape(3, 2)
    np.testing.assert_allclose(weights / 65535, MAP, atol=1e-5)


@pytest.mark.parametrize(
    "record", [translation(HOSTILE), {"index": 0, "label": HOSTILE, "more": [{"x": HOSTILE}]}]
)
def test_no_text_is_markup(record):
    """Whatever a result says, the page has its own three kinds of script and nothing of the text."""
    page = page_of(HOSTILE, [record])
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: found.append(tag)
    parser.feed(page)
    assert found.count("script") == 3
    assert "<script>alert" not in page
    assert HOSTILE in unpacked(page, "index")["items"][0][1]


def test_errors_stand_in_the_place_of_predictions():
    """An item that failed is found by its code and message, keeps its number, and is told apart."""
    arrays = {0: {"attention": [MAP]}}
    page = page_of("some", [translation("a"), FAILED | {"source": "b  c"}], arrays)
    index = unpacked(page, "index")["items"]
    assert index[1] == ["7", "Failed: BadRequest\ndata takes\nb c", True]
    assert unpacked(page, "block-0")[1]["error"] == FAILED["error"]
    assert not is_error({"index": 0, "error": "a fork's own field"})


def test_facts_stand_below_the_title_as_text():
    """What is known of a result is escaped like everything else."""
    assert "<bdi>&lt;b&gt;</bdi> · <bdi>c</bdi>" in page_of("one", [], {}, "<b>", "c")


def test_policy_lets_run_what_is_there_and_nothing_else():
    """The policy names the hashes of the page's one script and one style sheet, and forbids all else."""
    page = page_of("one", [translation("a")])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#x27;", "'")
    for kind, text in (
        ("script-src", re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]),
        ("style-src", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?://|unsafe", page)


def test_script_sets_texts_as_texts():
    """Nothing in the script makes markup of a string."""
    script = (ROOT / "lambda_setup" / "viewer" / "viewer.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script)


def write(path, records) -> None:
    """Write a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def test_command(tmp_path, capsys):
    """``results show --html`` writes the page of one result, and asks which where there are several."""
    first, second, target = tmp_path / "saved" / "one", tmp_path / "saved" / "two", tmp_path / "page.html"
    write(first / "predictions.jsonl.gz", [translation("a")])
    assert main(["results", "show", str(tmp_path / "saved"), "--html", str(target)]) == 0
    [item] = unpacked(target.read_text(encoding="utf-8"), "block-0")
    assert item == SHOW.page_item(translation("a"), {})
    write(second / "predictions.jsonl.gz", [translation("b")])
    assert main(["results", "show", str(tmp_path / "saved"), "--html", str(target)]) == 2
    assert "2 results below" in capsys.readouterr().err
    assert main(["results", "show", str(second / "predictions.jsonl.gz"), "--html", str(target)]) == 0
    assert main(["results", "show", str(tmp_path / "none")]) == 2
    assert "--stack NAME" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    """A failure on the way leaves the old page and no part of the new one."""
    write(tmp_path / "predictions.jsonl.gz", [translation("a")])
    target = tmp_path / "page.html"
    target.write_text("old")
    monkeypatch.setattr(results, "build_page", lambda *_: "whole, but\udc80 not to be encoded")
    with pytest.raises(UnicodeEncodeError):
        main(["results", "show", str(tmp_path), "--html", str(target)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "predictions.jsonl.gz"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("content", [b"no JSON", b"\xff\xfe", b"{}\n{", b"{}\n5", b"[" * 100_000])
def test_a_file_that_is_no_result_is_named(tmp_path, capsys, content):
    """The error names the file and says what is expected."""
    (tmp_path / "some.jsonl").write_bytes(content)
    assert main(["results", "show", str(tmp_path / "some.jsonl")]) == 2
    assert f"{tmp_path / 'some.jsonl'} is not JSON lines" in capsys.readouterr().err


@pytest.mark.parametrize("record", [translation("a"), {"index": 0, "label": "a"}])
def test_table_has_errors_in_their_places(tmp_path, capsys, monkeypatch, record):
    """The terminal shows what failed, with its code and message, whatever the function answers else."""
    monkeypatch.setenv("COLUMNS", "200")
    write(tmp_path / "predictions.jsonl.gz", [record, FAILED])
    assert main(["results", "show", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "BadRequest: data takes" in shown
    assert "failed       1 of 2 items" in shown
    assert main(["results", "show", str(tmp_path), "--item", "1"]) == 0
    assert "item 1 has failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "what", ["some-id", "prediction_outputs/some-id", "prediction_outputs/some-id/predictions.jsonl.gz",
             "s3://bucket/prediction_outputs/some-id/predictions.jsonl.gz"],
)  # fmt: skip
def test_a_result_in_s3_is_named_by_its_key_or_its_id(what):
    """Whatever an answer or an operator calls it, it is one key."""
    assert result_key(what) == "prediction_outputs/some-id/predictions.jsonl.gz"


def test_arrays_of_any_kind_belong_to_a_result(tmp_path, capsys, monkeypatch):
    """Every npz beside the predictions is read, whatever its rank; show.py draws the kinds it knows."""
    monkeypatch.setenv("COLUMNS", "200")
    write(tmp_path / "predictions.jsonl.gz", [translation("a"), {"index": 1, "label": "b"}])
    vectors = np.arange(6, dtype=np.float32)
    np.savez(tmp_path / "sentence-embedding-0a.npz", values=vectors, index=[[0, 0, 2], [1, 0, 4]])
    np.savez(tmp_path / "attention-0b.npz", values=MAP.ravel(), index=[[0, 0, 3, 2]])
    arrays = load_saved(tmp_path / "predictions.jsonl.gz").arrays()
    assert arrays.keys() == {0, 1}
    np.testing.assert_array_equal(arrays[0]["sentence-embedding"], [vectors[:2]])
    np.testing.assert_array_equal(arrays[1]["sentence-embedding"], [vectors[2:]])
    np.testing.assert_array_equal(arrays[0]["attention"], [MAP])
    assert read_arrays(tmp_path / "attention-0b.npz").keys() == {0}
    assert main(["results", "show", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"sentence-embedding {tmp_path / 'sentence-embedding-0a.npz'}" in printed
    assert f"picture      {tmp_path / 'attention-0.png'}" in printed
    assert main(["results", "show", str(tmp_path), "--item", "1"]) == 0
    assert "item 1 has no attention" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.png")} == {"attention-0.png"}


def test_a_forks_show_py_of_former_releases_works(tmp_path, capsys, monkeypatch):
    """``table(records)`` gets the predictions, ``picture(record, item, path)`` the item as it was sent."""
    own = functions.Function(tmp_path / "own_function", tmp_path / "own_function")
    (own.code / "events").mkdir(parents=True)
    own.event.write_text('{"data": ["a", "b"]}')
    (own.code / "show.py").write_text(
        "from rich.table import Table\n"
        "def table(records):\n    return Table(f'{len(records)} predictions')\n"
        "def picture(record, item, path):\n    path.write_text(item + record['label'])\n"
    )
    monkeypatch.setattr(functions, "get", lambda _: own)
    write(tmp_path / "saved" / "predictions.jsonl.gz", [{"index": 0, "label": "x"}, FAILED])
    assert main(["results", "show", str(tmp_path / "saved"), "--function", "own"]) == 0
    printed = capsys.readouterr().out
    assert "1 predictions" in printed
    assert "item 7 failed: BadRequest: data takes" in printed
    assert (tmp_path / "saved" / "item-0.png").read_text() == "ax"


def test_a_show_py_gets_the_arrays_of_its_records(tmp_path, capsys, monkeypatch):
    """By their position among the predictions; without a table, or with a former one, they are named."""
    own = functions.Function(tmp_path / "own_function", tmp_path / "own_function")
    (own.code / "events").mkdir(parents=True)
    own.event.write_text("{}")
    monkeypatch.setattr(functions, "get", lambda _: own)
    saved = tmp_path / "saved"
    write(saved / "predictions.jsonl.gz", [FAILED, {"index": 1, "text": "one"}, {"index": 2, "text": "two"}])
    vectors = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.savez(saved / "vector-0a.npz", values=vectors.ravel(), index=[[1, 0, 6], [2, 0, 6]])

    def show(code: str) -> tuple[str, str]:
        (own.code / "show.py").write_text(f"from rich.table import Table\n{code}")
        assert main(["results", "show", str(saved), "--function", "own"]) == 0
        return capsys.readouterr()

    new = "def table(_, arrays):\n    return Table(*(str(arrays[n]['vector'][0].sum()) for n in (0, 1)))"
    assert all(total in show(new)[0] for total in ("15.0", "51.0"))
    assert "float32 6: 6 7 8 9 …" in show("")[0]
    printed, said = show("def table(records):\n    return Table('former')\n")
    assert "former" in printed
    assert "does not get vector: write table(records, arrays)" in said.replace("\n", " ")
    assert (
        main(["results", "show", str(saved), "--function", "own", "--html", str(tmp_path / "page.html")]) == 0
    )


@pytest.mark.parametrize("offset", [0, 20, -6])
def test_a_result_with_another_byte_is_named(tmp_path, offset):
    """Whatever gzip and zlib say of it."""
    path = tmp_path / "predictions.jsonl.gz"
    data = bytearray(gzip.compress(b'{"index": 0, "text": "a text of some length"}\n', mtime=0))
    data[offset] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"predictions\.jsonl\.gz is not JSON lines, or not whole"):
        load_saved(path)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"{}\n[]"), gzip.compress(b"{}")[:-1]],
    ids=["no gzip", "a list", "cut off"],
)
def test_a_damaged_result_in_s3_is_named(content):
    """By its address, as one on this machine by its path."""
    answer = {"Metadata": {}, "Body": io.BytesIO(content)}
    exceptions = SimpleNamespace(NoSuchKey=KeyError)
    client = SimpleNamespace(get_object=lambda **_: answer, exceptions=exceptions)
    with pytest.raises(CommandError, match=r"^s3://bucket/a/predictions\.jsonl\.gz is not JSON lines"):
        load_stored(client, "bucket", "a/predictions.jsonl.gz")


def pack_damaged() -> bytes:
    """Return a zip file whose member bzip2 cannot unpack."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("index.npy", b"x" * 100)
    return file.getvalue().replace(b"BZh9", b"BZh0")


def pack_header(header: bytes, magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    """Return a zip file of arrays with a header, which numpy reads as Python."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("index.npy", "values.npy"):
            archive.writestr(name, magic + len(header).to_bytes(2, "little") + header)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        gzip.compress(b"{}"),
        pack_damaged(),
        pack_header(b"{}", b"no array"),
        pack_header(b"{\0\n"),
        pack_header(b"{'descr': '3)i4', 'fortran_order': False, 'shape': (1,)}\n"),
    ],
    ids=["nothing", "no zip", "gzip", "packed otherwise", "no array", "no header", "no type"],
)
def test_damaged_arrays_are_named(tmp_path, content):
    """A file of arrays that is another one stands in the error, not in a traceback."""
    (tmp_path / "predictions.jsonl.gz").write_bytes(gzip.compress(b"{}"))
    (tmp_path / "vector-1.npz").write_bytes(content)
    with pytest.raises(CommandError, match=r"vector-1\.npz is not an npz of a result, or not whole: "):
        load_saved(tmp_path / "predictions.jsonl.gz").arrays()
