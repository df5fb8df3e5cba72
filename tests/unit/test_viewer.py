"""Results as one page: what lies in it, and that no text of a result is markup."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import ROOT

from lambda_setup import viewer
from lambda_setup.__main__ import main

HOSTILE = "</script><script>alert(1)</script>\u202e<!--"
MAP = np.array([[0.25, 0.75], [1, 0], [0, 1]], np.float32)


def translation(text: str) -> dict:
    """Return a record with one hypothesis."""
    hypothesis = {"text": f"[{text}]", "tokens": ["a", "b", "c"], "score": -0.5}
    return {"index": 0, "source": text, "hypotheses": [hypothesis], "source_tokens": ["x", "y"]}


def unpacked(page: str, name: str):
    """Return what an element of the page holds, as its script unpacks it."""
    [data] = re.findall(rf'<script type="application/gzip" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(data)))


def test_every_item_is_in_its_block():
    """The index has every item in order, and each block its items, all fields of them."""
    count = 2 * viewer.BLOCK + 1
    page = viewer.page("many", (translation(f"text {number}") for number in range(count)), {})
    index = unpacked(page, "index")
    assert index["size"] == viewer.BLOCK
    assert [text for _, text in index["index"]] == [f"text {n}\n[text {n}]" for n in range(count)]
    assert page.count('id="block-') == 3
    assert unpacked(page, "block-2") == [translation(f"text {count - 1}")]


def test_maps_keep_their_numbers():
    """An attention map comes back within a 65,535th."""
    [record] = unpacked(viewer.page("one", [translation("a")], {0: [MAP]}), "block-0")
    weights = np.frombuffer(base64.b64decode(record["hypotheses"][0]["weights"]), "<u2").reshape(3, 2)
    np.testing.assert_allclose(weights / 65535, MAP, atol=1e-5)


@pytest.mark.parametrize(
    "record", [translation(HOSTILE), {"index": 0, "label": HOSTILE, "more": [{"x": HOSTILE}]}]
)
def test_no_text_is_markup(record):
    """Whatever a result says, the page has its own three kinds of script and nothing of the text."""
    page = viewer.page(HOSTILE, [record], {})
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: found.append(tag)
    parser.feed(page)
    assert found.count("script") == 3
    assert "<script>alert" not in page
    assert HOSTILE in unpacked(page, "index")["index"][0][1]


def test_policy_lets_run_what_is_there_and_nothing_else():
    """The policy names the hashes of the page's one script and one style sheet, and forbids all else."""
    page = viewer.page("one", [translation("a")], {})
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


def test_command(tmp_path, capsys):
    """``results show --html`` writes the page of one result, and asks which where there are several."""
    folder = tmp_path / "saved" / "one"
    folder.mkdir(parents=True)
    with gzip.open(folder / "predictions.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(translation("a")) + "\n")
    target = tmp_path / "page.html"
    assert main(["results", "show", str(tmp_path / "saved"), "--html", str(target)]) == 0
    assert unpacked(target.read_text(encoding="utf-8"), "block-0") == [translation("a")]
    (tmp_path / "saved" / "two").mkdir()
    second = folder.rename(tmp_path / "saved" / "two" / "one") / "predictions.jsonl.gz"
    folder.mkdir()
    (folder / "predictions.jsonl.gz").write_bytes(second.read_bytes())
    assert main(["results", "show", str(tmp_path / "saved"), "--html", str(target)]) == 2
    assert "there are 2 results" in capsys.readouterr().err
    assert main(["results", "show", str(second), "--html", str(target)]) == 0
