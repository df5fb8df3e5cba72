"""The pages, as people see them: in a real Chromium, with the real function behind the playground.

The documentation's pictures of them are made here, when ``SCREENSHOTS=write`` is set::

    SCREENSHOTS=write .venv/bin/python -m pytest tests/e2e/test_browser.py
"""

import contextlib
import http.server
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import boto3
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from support.events import case
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.__main__ import main
from lambda_setup.commands import results
from lambda_setup.deployment.aws import AwsDeployment, open_session
from lambda_setup.viewer import playground
from lambda_setup.viewer.page import build_page, page_items
from lambda_setup.viewer.result import load_stored
from lambda_setup.viewer.show import load_show

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update",
             "--host-resolver-rules=MAP evil.test 127.0.0.1")  # fmt: skip
SHOW = load_show(functions.get("translation"))
expect.set_options(timeout=120_000)  # a cold start on a busy machine takes longer than the default 5 s
IMAGES = ROOT / "docs" / "images"
LARGEST_IMAGE = 150_000
WIDE, NARROW = {"width": 1120, "height": 740}, {"width": 360, "height": 780}
RTL_TEXT = "السلام عليكم يا عالم"
HOSTILE = (
    "<script>document.title='run'</script>",
    "</script><script>document.title='run'</script><!--",
    "<img src=x onerror=\"document.title='run'\"> <svg onload=alert(1)> <style>*{display:none}</style>",
    "\u202egnirts desrever \u2066\u2067 <b>bold</b> &lt;i&gt; {title} ${1} \u2069\u2069\u2069",
    "a" * 10_000,
    "\U0001f600" * 5000,
    "half of it: \ud83d",
    "\x00\x1b[31m\u200b\ufeff\u2028\u2029",
    "javascript:alert(1)",
)


@pytest.fixture(scope="module")
def browser(chromium):
    """Chromium, without a window and without asking anybody but us."""
    with sync_playwright() as running:
        launched = running.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def look(browser):
    """Open an address; at the end nothing was complained of, and nothing asked of another origin."""
    complaints, asked = [], []
    with contextlib.ExitStack() as stack:

        def opened(url, *, complains=False, **options):
            context = browser.new_context(viewport=options.pop("viewport", WIDE), **options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            if not complains:
                page.on("console", lambda message: complaints.append(message.text))
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
                page.on("request", lambda request: asked.append((origin(request.url), origin(url))))
            page.goto(url)
            if not complains:
                page.wait_for_selector("#item > *")
            return page

        yield opened
    assert complaints == []
    assert [pair for pair in asked if pair[0] != pair[1] and pair[0] != "data:"] == []


def origin(url):
    """Return the origin of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}:{parts.netloc}"


def translation(text, *hypotheses, index=0, tokens=None):
    """Return a translation of a text by its words, with maps that link each word to its mirror image's."""
    source = tokens or [f"▁{word}" for word in text.split()]
    found = [
        {"text": one, "tokens": [f"▁{word}" for word in one.split()], "score": -0.25 * rank}
        for rank, one in enumerate(hypotheses, 1)
    ]
    return {"index": index, "source": text, "source_tokens": source, "hypotheses": found}


def maps(record):
    """Return maps of a record: 0.9 on the diagonal, the rest shared by the others."""
    made = []
    for one in record["hypotheses"]:
        rows, columns = len(one["tokens"]), len(record["source_tokens"])
        weights = np.full((rows, columns), 0.1 / max(columns - 1, 1), np.float32)
        weights[np.arange(rows), np.arange(rows) % columns] = 0.9
        made.append(weights)
    return made


@pytest.fixture
def page_of(tmp_path):
    """Write records, each with its maps, as a page; return its address."""

    def write(records, with_maps=True):
        arrays = {
            n: {"attention": maps(one)}
            for n, one in enumerate(records)
            if with_maps and one.get("hypotheses")
        }
        path = tmp_path / "page.html"
        path.write_text(build_page("a result", page_items(records, arrays, SHOW)), encoding="utf-8")
        return path.as_uri()

    return write


THREE = [
    translation("one two three", "uno dos tres", "un dos tres", index=0),
    translation("Canción del árbol", "a song of a tree", index=1),
    translation("", index=2),
    {"index": 3, "source": "four", "error": {"code": "BadRequest", "message": "data[3] is too long"}},
]


def linked(page):
    """Return what is lit in the source, and what is said below."""
    return page.locator(".source .on, .source .strong").all_inner_texts(), page.inner_text("#linked")


def test_hover_links_words(look, page_of):
    """Pointing at a word, a cell or a label lights what belongs to it, and says the number."""
    page = look(page_of(THREE))
    page.hover(".text .word >> text=dos >> nth=0")
    assert linked(page) == (["two"], "▁dos ← ▁two 0.900 ▁one 0.050 ▁three 0.050")
    expect(page.locator(".map tbody th.on")).to_have_text("▁dos")
    page.hover(".source .word >> nth=2")
    assert page.locator(".text .strong").all_inner_texts() == ["tres", "tres"]
    assert linked(page)[1].startswith("▁three → ▁tres 0.900")
    page.hover('.map td[data-row="0"][data-column="1"]')
    assert linked(page) == (["two"], "▁uno ← ▁two 0.050")
    assert page.locator(".text .on").all_inner_texts() == ["uno"]
    page.hover(".map thead th >> nth=0")
    assert linked(page)[1].startswith("▁one → ▁uno 0.900")
    page.hover("h2")
    assert linked(page) == ([], "")


def test_a_tap_links_words_until_the_next(look, page_of):
    """On a touch screen what was tapped stays lit."""
    page = look(page_of(THREE), has_touch=True)
    page.tap(".text .word >> nth=0")
    assert linked(page)[0] == ["one"]
    page.tap(".text .word >> nth=1")
    assert linked(page)[0] == ["two"]


def test_everything_is_reached_by_keyboard(look, page_of):
    """Items, texts and maps are walked by the arrow keys, and each is one stop of the tabulator."""
    page = look(page_of(THREE))
    place = page.locator("#place")
    page.keyboard.press("ArrowRight")
    expect(place).to_have_text("2 of 4")
    page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("1 of 4")
    page.focus("#words")
    page.keyboard.type("o")
    page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("1 of 3")  # the caret moves, the item stays
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")  # past the box that shows failures only
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(place).to_have_text("2 of 4")
    expect(page.locator("#list button:focus")).to_contain_text("Canción")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#item h2")).to_have_text("Item 0")
    page.keyboard.press("Tab")
    expect(page.locator("#next:focus")).to_have_count(1)
    page.keyboard.press("Tab")
    assert linked(page)[1].startswith("▁one → ▁uno 0.900")
    page.keyboard.press("ArrowRight")
    assert linked(page)[1].startswith("▁two → ▁dos 0.900")
    page.keyboard.press("Tab")
    assert linked(page)[1].startswith("▁uno ← ▁one 0.900")
    page.keyboard.press("Tab")  # the map's title, which opens and closes it
    page.keyboard.press("Tab")
    for key in ("ArrowUp", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert linked(page) == (["two"], "▁dos ← ▁two 0.900")
    expect(page.locator(".map td:focus")).to_have_attribute("aria-label", "0.900")
    expect(place).to_have_text("1 of 4")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_buttons_keep_the_focus(look, page_of):
    """Who pressed Next can press it again."""
    page = look(page_of(THREE))
    page.focus("#next")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#place")).to_have_text("3 of 4")
    expect(page.locator("#item")).to_contain_text("It has no translation.")


def test_search_finds_sources_and_translations(look, page_of):
    """Capitals, accents and spaces make no difference, and markup is searched for as text."""
    page = look(page_of(THREE))
    for words, count in (("CANCION  del", 1), ("song", 1), ("dos", 1), ("<", 0), ("tr", 2), ("", 4)):
        page.fill("#words", words)
        expect(page.locator("#list li")).to_have_count(count)
        expect(page.locator("#found")).to_have_text(f"{count} of 4 items" if count < 4 else "4 items")
    page.fill("#words", "no such")
    expect(page.locator("#item")).to_have_text("Nothing is found.")


def test_errors_are_shown_in_their_places(look, page_of):
    """An item that failed says why, in words, and can be asked for alone."""
    page = look(page_of(THREE))
    page.check("#failed")
    expect(page.locator("#list li")).to_have_count(1)
    expect(page.locator("#list li")).to_contain_text("Failed: BadRequest")
    expect(page.locator("#item .fault")).to_have_text("Failed BadRequest data[3] is too long")
    expect(page.locator("#item .source")).to_have_text("four")


def test_records_of_other_functions_are_shown_by_their_fields(look, page_of):
    """What is no translation stands there field by field, a list of objects as a table."""
    record = {"index": 0, "label": "cat", "classes": [{"label": "cat", "p": 0.9}, {"label": "dog", "p": 0.1}]}
    page = look(page_of([record]))
    assert page.locator("dd").all_inner_texts()[:2] == ["0", "cat"]
    assert page.locator(".records tr").all_inner_texts() == ["label\tp", "cat\t0.9", "dog\t0.1"]
    expect(page.locator("#failures")).to_be_hidden()


def test_five_thousand_items(look, page_of):
    """A large result opens with a small page, and search, keys and addresses reach its last item."""
    records = [translation(f"sentence number {n}", f"frase número {n}", index=n) for n in range(5000)]
    page = look(page_of(records))
    expect(page.locator("#page")).to_have_text("1\u201350 of 5,000")
    assert page.evaluate("document.querySelectorAll('*').length") < 600
    page.fill("#words", "numero 4999")
    expect(page.locator("#item h2")).to_have_text("Item 4999")
    page.hover(".text .word >> nth=0")
    assert linked(page)[0] == ["sentence"]
    page.fill("#words", "")
    page.click("#list button >> nth=49")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#item h2")).to_have_text("Item 50")
    expect(page.locator("#page")).to_have_text("51\u2013100 of 5,000")
    expect(page.locator("#list button:focus")).to_contain_text("sentence number 50")
    page.click("#page-on")
    page.click("#list button >> nth=49")
    expect(page.locator("#item h2")).to_have_text("Item 149")
    page.wait_for_url("**#149")
    page.reload()
    expect(page.locator("#item h2")).to_have_text("Item 149")
    assert page.evaluate("document.querySelectorAll('*').length") < 600


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_hostile_text_is_text(look, page_of, viewport):
    """No text runs, looks like anything but text, or breaks the layout."""
    records = [translation(text, text, index=n, tokens=[text]) for n, text in enumerate(HOSTILE)]
    records.append({"index": 0, "error": {"code": HOSTILE[0], "message": HOSTILE[2]}})
    records.append({"index": 0, **{text[:50]: [{text[:50]: text}] for text in HOSTILE}})
    page = look(page_of(records), viewport=viewport)
    title = page.title()
    for number, record in enumerate(records):
        expect(page.locator("#place")).to_have_text(f"{number + 1} of {len(records)}")
        if "source" in record:
            whole = record["source"].encode(errors="surrogatepass").decode(errors="replace")
            assert page.text_content(".source") == whole
        if viewport == NARROW and page.locator(".word").count():
            page.hover(".word >> nth=0", position={"x": 1, "y": 1})
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.click("#next") if number + 1 < len(records) else None
    assert page.title() == title
    assert page.locator("#item b, #item i, #item img, #item svg, #item script, #item style").count() == 0


def test_the_policy_forbids_markup_from_strings(look, page_of):
    """A mistake in the script could not make markup of a text: the browser refuses."""
    page = look(page_of(THREE), complains=True)
    error = page.evaluate("try { document.body.innerHTML = '<b>'; null } catch (error) { error.name }")
    assert error == "TypeError"


def test_a_bidi_control_turns_nothing_around_it(look, page_of):
    """Labels name such characters, and what stands beside a text stays where it is."""
    record = translation("a \u202eb c", "x", tokens=["▁a", "▁\u202eb", "▁c"])
    page = look(page_of([record]))
    assert page.locator(".map thead th").all_inner_texts() == ["▁a", "▁[202e]b", "▁c"]


def test_right_to_left(look, page_of):
    """A text from right to left is set so, its map begins at the right, and the arrow keys follow the eye."""
    page = look(page_of([translation(RTL_TEXT, "peace upon you world", index=0)]))
    assert page.evaluate("getComputedStyle(document.querySelector('.source')).direction") == "rtl"
    assert page.evaluate("getComputedStyle(document.querySelector('.text')).direction") == "ltr"
    first, last = (page.locator(f".map thead th >> nth={n}").bounding_box()["x"] for n in (0, 3))
    assert first > last
    page.focus('.map td[tabindex="0"]')
    page.keyboard.press("ArrowLeft")
    expect(page.locator("td:focus")).to_have_attribute("data-column", "1")
    page.focus(".source")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".source .on").inner_text() == RTL_TEXT.split()[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDE["width"]


def test_a_map_of_thousands_of_tokens_is_a_picture(look, page_of):
    """What is too large for a table is drawn, and linked all the same."""
    words = " ".join(f"word{n}" for n in range(1500))
    page = look(page_of([translation(words, " ".join(words.split()[:100]))]))
    assert page.evaluate("document.querySelectorAll('*').length") < 4000
    page.hover("canvas", position={"x": 1, "y": 1})
    assert linked(page)[0] == ["word0"]
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDE["width"]


def test_normalised_text_shows_its_tokens(look, page_of):
    """Where the tokens do not spell the text they stand below it, and are linked there."""
    page = look(page_of([translation("ﬁne…", "bien", tokens=["▁fine", "..."])]))
    expect(page.locator(".source")).to_have_text("ﬁne…")
    page.hover(".text .word")
    assert page.locator(".tokens .strong").all_inner_texts() == ["▁fine", "..."]


def test_a_narrow_screen_has_it_all_in_one_column(look, page_of):
    """Nothing is wider than the screen but what scrolls by itself; the next item is seen from its start."""
    words = " ".join(f"word{n}" for n in range(60))
    page = look(page_of([translation(words, words, index=n) for n in range(9)]), viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.querySelector('.scroll').scrollWidth") > 360
    page.hover(".map td >> nth=-1")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#item h2")).to_have_text("Item 1")
    expect(page.locator("#item h2")).to_be_in_viewport()
    expect(page.locator("#next")).to_be_in_viewport()
    expect(page.locator("#linked")).to_be_in_viewport()


def test_print_shows_the_item_alone(look, page_of):
    """On paper are the texts and every map, none of what is pressed, and cells keep their colours."""
    page = look(page_of(THREE))
    page.pdf()  # as printing does, it opens the maps
    page.emulate_media(media="print")
    expect(page.locator(".map")).to_have_count(2)
    for hidden in ("nav", "#search", ".steps", "#linked"):
        expect(page.locator(hidden).first).to_be_hidden()
    cell = page.locator(".map td.high").first
    assert cell.evaluate("cell => getComputedStyle(cell).printColorAdjust") == "exact"
    assert cell.inner_text() == ".90"


def test_dark_and_light(look, page_of):
    """Each scheme has its ground, and in both a high weight is far from it and a low one near."""
    for scheme in ("light", "dark"):
        page = look(page_of(THREE), color_scheme=scheme)
        ground, high, low = page.evaluate(
            """() => {
                const drawn = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
                const light = (node) => {
                    drawn.fillStyle = getComputedStyle(node).backgroundColor;
                    drawn.fillRect(0, 0, 1, 1);
                    return drawn.getImageData(0, 0, 1, 1).data[1];
                };
                const [high, low] = document.querySelectorAll(".map tbody td");
                return [document.documentElement, high, low].map(light);
            }"""
        )
        assert (ground > 200) == (scheme == "light")
        assert abs(high - ground) > 100
        assert abs(low - ground) < 40


# The playground, and results that the real function stored.


@pytest.fixture(scope="module")
def translating(start_function):
    """Return the translator, running."""
    return start_function("translation")


@contextlib.contextmanager
def serving(backend, form=SHOW.FORM):
    """Serve a playground."""
    with playground.Playground(backend, "translation", form, SHOW) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def served(translating):
    """Yield a playground whose function is the one that runs here."""
    deployment = SimpleNamespace(
        where="on this machine", invoke=translating.invoke, client=translating.stack.client
    )
    with serving(deployment) as server:
        yield server


def fill(page, sentences, **numbers):
    """Fill in the form."""
    page.fill("#field-data", "\n".join(sentences))
    for name, value in numbers.items():
        page.fill(f"#field-{name}", str(value))


def texts(page):
    """Return the hypotheses that the page shows of an item, with their scores."""
    return list(
        zip(page.locator(".text").all_inner_texts(), page.locator(".score").all_inner_texts(), strict=True)
    )


SENTENCES = ["The table has been changed.", "", "Press Enter to execute the selected hyperlink."]


def test_the_playground_shows_what_the_function_answers(look, served, translating):
    """Texts, scores and attention on the page are those of the function's own answer."""
    page = look(served.url)
    expect(page.locator("#send")).to_be_visible()
    assert page.url == f"http://127.0.0.1:{served.server_port}/"  # the token is not kept in the address
    fill(page, SENTENCES, beam=4, n_best=2)
    page.press("#field-data", "Control+Enter")
    expect(page.locator("#list li")).to_have_count(3, timeout=60_000)
    own = translating.invoke(
        {"data": SENTENCES, "beam": 4, "n_best": 2, "return_attention": True, "result": "inline"}
    )["body"]["predictions"]
    for number, record in enumerate(own):
        expect(page.locator("#item h2")).to_have_text(f"Item {number}")
        assert texts(page) == [(one["text"], f"score {one['score']:.3f}") for one in record["hypotheses"]]
        if record["hypotheses"]:
            shown = page.locator(".map td[aria-label]").evaluate_all("all => all.map((one) => one.ariaLabel)")
            weights = np.array(record["hypotheses"][0]["attention"]).ravel()
            np.testing.assert_allclose(np.array(shown, float), weights, atol=6e-4)
        page.click("#next") if number < 2 else None
    expect(page.locator("#about")).to_contain_text("on this machine · answered in")
    page.reload()
    page.click("#send")
    expect(page.locator("#list li")).to_have_count(2)


def test_what_is_too_large_for_an_answer_is_shown_all_the_same(look, translating):
    """An answer that lies in S3 is fetched with the operator's credentials, with its maps."""

    def stored(event):
        return translating.invoke({**event, "result": "s3"})

    deployment = SimpleNamespace(where="here", invoke=stored, client=translating.stack.client)
    with serving(deployment) as server:
        page = look(server.url)
        fill(page, SENTENCES[:1])
        page.click("#send")
        expect(page.locator("#about")).to_contain_text("s3://results/prediction_outputs/")
        page.hover(".text .word >> text=tabla")
        assert linked(page)[0] == ["table"]


def test_mistakes_are_shown_where_they_were_made(look, served):
    """What the function refuses is said at its field, and the line that it means is marked."""
    page = look(served.url, viewport=NARROW)
    fill(page, SENTENCES[:1], beam=5, n_best=7)
    page.click("#send")
    expect(page.locator("#field-n_best-fault")).to_have_text(
        "400 BadRequest n_best takes an integer from 1 to beam, which is 5; got 7"
    )
    expect(page.locator("#field-n_best-fault")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.locator("#field-n_best:focus")).to_have_attribute("aria-invalid", "true")
    fill(page, ["good", "a" * 10_001], n_best=1)
    page.click("#send")
    expect(page.locator("#field-n_best-fault")).to_be_hidden()
    expect(page.locator("#field-data-fault")).to_contain_text("data[1]")
    marked = page.evaluate("getSelection().toString() || document.activeElement.selectionStart")
    assert marked in {"a" * 10_001, 5}


def fault(status, code, message, field=None):
    """Return a response that says what failed."""
    return {"statusCode": status, "body": {"error": {"code": code, "message": message, "field": field}}}


def test_faults_are_shown(look):
    """What fails elsewhere than in a field is said below the form."""
    faults = {
        "503 Unavailable no model": fault(503, "Unavailable", "no model"),
        "504 OutOfTime late": fault(504, "OutOfTime", "late"),
        "RuntimeError stack x: no AWS credentials": RuntimeError("stack x: no AWS credentials"),
    }
    waiting = list(faults.values())

    def invoke(_):
        if isinstance(waiting[0], Exception):
            raise waiting[0]
        return waiting.pop(0)

    with serving(SimpleNamespace(where="here", invoke=invoke, client=None)) as server:
        page = look(server.url)
        for said in faults:
            page.click("#send")
            expect(page.locator("#fault")).to_have_text(said)


def test_it_says_that_it_waits_and_for_how_long(look):
    """While the function works the page counts, and no second request goes out."""
    answer, events = threading.Event(), []

    def invoke(event):
        events.append(event)
        answer.wait(30)
        return {"statusCode": 200, "body": {"predictions": []}}

    with serving(SimpleNamespace(where="here", invoke=invoke, client=None)) as server:
        page = look(server.url)
        page.click("#send")
        expect(page.locator("#wait")).to_have_text(re.compile("waiting for the function: [1-9][0-9]* s"))
        expect(page.locator("#send")).to_be_disabled()
        page.press("#field-data", "Control+Enter")
        answer.set()
        expect(page.locator("#wait")).to_have_text("")
        expect(page.locator("#item")).to_have_text("There are no items.")
    assert len(events) == 1


def test_a_request_may_be_json(look):
    """A function without a form is sent what is typed, and what is no JSON is said before."""
    events = []
    form = [{"name": "", "kind": "json", "label": "Request", "value": '{"rows": [[1, 2]]}'}]
    backend = SimpleNamespace(
        where="here",
        invoke=lambda event: events.append(event) or fault(400, "No", "bad", "rows"),
        client=None,
    )
    with serving(backend, form) as server:
        page = look(server.url)
        page.fill("textarea", "{")
        page.click("#send")
        expect(page.locator(".field .fault")).to_contain_text("NotJSON")
        page.fill("textarea", '{"rows": []}')
        page.click("#send")
        expect(page.locator(".field .fault")).to_have_text("400 No bad")
    assert events == [{"result": "auto", "arrays": "base64", "rows": []}]


def test_without_the_token_nothing_is_asked(look, served):
    """Who opens the address without its fragment, or with another, is told so."""
    for fragment in ("", "#token=wrong"):
        page = look(f"http://127.0.0.1:{served.server_port}/{fragment}", complains=True)
        page.click("#send")
        expect(page.locator("#fault")).to_contain_text("Token")
        expect(page.locator("#list li")).to_have_count(0)


def test_other_pages_and_names_are_kept_out(look, served):
    """Neither another origin's page, even with the token, nor a name that leads here reaches the function."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as other:
        threading.Thread(target=other.serve_forever, args=[0.01]).start()
        page = look(f"http://127.0.0.1:{other.server_port}/", complains=True)
        tried = page.evaluate(
            """([url, token]) => Promise.all(["cors", "no-cors"].map((mode) =>
                fetch(url, {method: "POST", mode, body: "{}", headers: {authorization: `Bearer ${token}`}})
                .then((answer) => answer.text(), (error) => error.name)))""",
            [f"http://127.0.0.1:{served.server_port}/invoke", served.token],
        )
        framed = page.evaluate(
            """(url) => new Promise((done) => {
                const frame = document.createElement("iframe");
                frame.onload = () => done(frame.contentDocument === null ? "closed" : "open");
                frame.src = url;
                document.body.append(frame);
            })""",
            served.url,
        )
        inside = [frame.locator("#send").count() for frame in page.frames[1:]]
        other.shutdown()
    assert tried[0] == "TypeError"
    assert '"predictions"' not in tried[1]
    assert (framed, inside) == ("closed", [0])
    named = look(f"http://evil.test:{served.server_port}/#token={served.token}", complains=True)
    assert "this server is" in named.text_content("body")
    assert named.locator("#send").count() == 0


@pytest.fixture
def account(translating, moto, monkeypatch):
    """Yield an account with a stack whose alias and buckets are the ones here."""
    environment = translating.stack.s3.environment() | {
        "AWS_ENDPOINT_URL_CLOUDFORMATION": moto,
        # The emulator answers at the address of Lambda's own call.
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{translating.function._port}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outputs = {"FunctionAliasArn": {"Value": "function"}, "ResultBucketName": {"Value": "results"}}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    client = boto3.client("cloudformation", endpoint_url=moto)
    client.create_stack(StackName="translation", TemplateBody=json.dumps(template))
    yield environment
    client.delete_stack(StackName="translation")


def test_a_deployed_function_is_asked_by_its_alias(account, translating):
    """With --stack the command finds the function by the stack's outputs, and Ctrl-C ends it cleanly."""
    with subprocess.Popen(
        [sys.executable, "-m", "lambda_setup", "playground", "--stack", "translation"],
        cwd=ROOT, env=os.environ | account, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stdout.readline().startswith("http://127.0.0.1:")
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=20)
    assert command.returncode == 0
    assert said.endswith("· the playground has ended\n")
    backend = AwsDeployment(open_session(), "translation")
    event = {"data": SENTENCES[:1], "result": "inline"}
    own, asked = translating.invoke(event), backend.invoke(event)
    assert asked["body"]["predictions"] == own["body"]["predictions"]
    with serving(backend) as server:
        assert server.ask({"data": 5})["error"]["field"] == "data"
        assert server.ask({"data": SENTENCES, "result": "s3"})["about"][0] == "stack translation"


@pytest.fixture(scope="module")
def stored(translating):
    """Return the id of a result in S3: the documentation's sentences."""
    response = translating.invoke(case("event").event | {"id": "demo"})
    assert response["statusCode"] == 200, response
    return "demo"


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("place", ["--stack", "--local"])
def test_a_result_in_s3_is_shown(look, stored, translating, tmp_path, monkeypatch, capsys, place):
    """By its id, from a stack's bucket or the local one: in the terminal, and as a page with its maps."""
    monkeypatch.setattr(results, "connect_local_s3", lambda: translating.stack.s3)
    where = ["--stack", "translation"] if place == "--stack" else ["--local"]
    assert main(["results", "show", stored, *where]) == 0
    assert "s3://results/prediction_outputs/demo/attention-" in capsys.readouterr().out
    path = tmp_path / "page.html"
    assert main(["results", "show", stored, *where, "--html", str(path)]) == 0
    page = look(path.as_uri())
    expect(page.locator("h1")).to_have_text("demo")
    expect(page.locator("#about")).to_contain_text("opennmt")
    expect(page.locator("#list li")).to_have_count(20)
    expect(page.locator(".panel")).to_have_count(3)
    expect(page.locator(".map")).to_have_count(1)
    assert main(["results", "show", "no-such", *where]) == 2
    assert "s3_key" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


# The documentation's pictures.


def picture(page, name):
    """Make a picture; it is kept if that is asked for, and the one that is kept is as large."""
    image = page.screenshot()
    path: Path = IMAGES / f"{name}.png"
    if os.environ.get("SCREENSHOTS") == "write":
        path.write_bytes(image)
    kept = path.read_bytes()
    assert struct.unpack(">II", kept[16:24]) == struct.unpack(">II", image[16:24])
    assert len(kept) < LARGEST_IMAGE


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [("viewer", WIDE, "light"), ("viewer-dark", WIDE, "dark"), ("viewer-narrow", NARROW, "light")],
    ids=["wide", "dark", "narrow"],
)
def test_pictures_of_a_result(look, stored, translating, tmp_path, name, viewport, scheme):
    """A real result: its list, a word that is pointed at, and its map."""
    result = load_stored(
        translating.stack.client, "results", f"prediction_outputs/{stored}/predictions.jsonl.gz"
    )
    path = tmp_path / "page.html"
    facts = [result.facts[0].split()[0], *result.facts[1:]]
    items = page_items(result.records, result.arrays(), SHOW)
    path.write_text(build_page(result.name, items, facts), encoding="utf-8")
    page = look(path.as_uri() + "#2", viewport=viewport, color_scheme=scheme)
    expect(page.locator("#item h2")).to_have_text("Item 2")
    page.hover(".text .word >> text=subrayado >> nth=0")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    picture(page, name)


def test_picture_of_the_playground(look, served):
    """The form, an answer, and a cell that is pointed at."""
    page = look(served.url)
    page.click("#send")
    expect(page.locator("#list li")).to_have_count(2)
    page.hover('.map td[data-row="4"][data-column="1"]')
    picture(page, "playground")
