"""The playground's server: whom it answers, and what it makes of a function's answers."""

import base64
import contextlib
import gzip
import http.client
import json
import re
import threading
import urllib.error
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pytest
from msgspec import Meta

from lambda_inference import Array, Prediction
from lambda_inference._inline import build_record
from lambda_setup import functions
from lambda_setup.viewer.page import pack_items, page_items
from lambda_setup.viewer.playground import LIMIT, Playground
from lambda_setup.viewer.show import build_form, load_show
from translator import TranslationRequest

RECORD = {"index": 0, "source": "a b", "source_tokens": ["a", "b"],
          "hypotheses": [{"text": "c", "tokens": ["c"], "score": -0.5}]}  # fmt: skip
SHOW = load_show(functions.get("translation"))
ANSWER = {"statusCode": 200, "body": {"predictions": [RECORD], "engine": "one"}}


@contextlib.contextmanager
def serving(invoke):
    """Serve a playground whose function is a Python one."""
    with Playground(
        SimpleNamespace(where="here", invoke=invoke, client=None), "test", SHOW.FORM, SHOW
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def events():
    """Return what the function was sent."""
    return []


@pytest.fixture
def server(events):
    """Yield a playground."""
    with serving(lambda event: events.append(event) or ANSWER) as running:
        yield running


def call(server, method="POST", path="/invoke", body=b"{}", **changed):
    """Call as the page does but for some headers, None being none; return the response and its body."""
    own = {"Host": f"127.0.0.1:{server.server_port}", "Origin": f"http://127.0.0.1:{server.server_port}",
           "Authorization": f"Bearer {server.token}", "Content-Length": str(len(body))}  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in (own | changed).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    return response, response.read()


def test_the_page_asks_and_is_answered(server, events):
    """A call with all that it takes reaches the function, which may answer inline or by S3."""
    response, body = call(server, body=b'{"data": ["a b"]}')
    assert response.status == 200
    assert events == [{"result": "auto", "arrays": "base64", "data": ["a b"]}]
    answer = json.loads(body)
    assert answer["about"][0] == "here"
    assert unpacked(answer["blocks"][0]) == [SHOW.page_item(RECORD, {})]


def unpacked(text):
    """Return what the page unpacks."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (403, {"Authorization": None}),
        (403, {"Authorization": "Bearer "}),
        (403, {"Authorization": "Bearer \xe4"}),
        (403, {"Authorization": None, "Cookie": "token={token}"}),
        (403, {"Origin": None}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Origin": "https://127.0.0.1:{port}"}),
        (403, {"Origin": "http://evil.example"}),
        (421, {"Host": None}),
        (421, {"Host": "evil.example:{port}"}),
        (421, {"Host": "127.0.0.1"}),
        (421, {"Host": "127.0.0.1.evil.example:{port}"}),
        (404, {"path": "/?"}),
        (411, {"Content-Length": None}),
        (411, {"Content-Length": "-1"}),
        (411, {"Content-Length": None, "Transfer-Encoding": "chunked", "body": b"2\r\n{}\r\n0\r\n\r\n"}),
        (413, {"body": b'"' + b"a" * LIMIT}),
        (400, {"body": b"{"}),
        (400, {"body": b"[]"}),
        (400, {"body": b"[" * 100_000}),
        (400, {"body": b"\xff"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_nobody_else_reaches_the_function(server, events, status, changed):
    """A call that lacks anything is refused with a reason, and the function is not asked."""
    known = {"port": server.server_port, "token": server.token}
    changed = {key: one.format(**known) if isinstance(one, str) else one for key, one in changed.items()}
    response, body = call(server, **changed)
    assert response.status == status
    assert set(json.loads(body)["error"]) == {"code", "message"}
    assert events == []


def test_localhost_is_this_machine_too(server, events):
    """The page may have been opened by either name."""
    local = f"localhost:{server.server_port}"
    assert call(server, Host=local, Origin=f"http://{local}")[0].status == 200
    assert len(events) == 1


def test_every_response_says_what_a_browser_may_do_with_it(server):
    """Page and refusals alike are kept by nobody, framed by nobody, and may load nothing from elsewhere."""
    for method, path, changed in (("GET", "/", {}), ("GET", "/no", {}), ("POST", "/invoke", {}),
                                  ("GET", "/", {"Host": "evil.example"})):  # fmt: skip
        response, _ = call(server, method, path, **changed)
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*", policy)
        assert {name: response.headers[name] for name in ("X-Content-Type-Options", "Referrer-Policy",
                "Cache-Control", "Access-Control-Allow-Origin")} == {
            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store", "Access-Control-Allow-Origin": None}  # fmt: skip


def test_the_page_holds_no_secret(server):
    """Everybody on this machine can fetch the page: the token is not in it, and new at every start."""
    page = call(server, "GET", "/", Authorization=None, Origin=None)[1].decode()
    assert server.token not in page
    assert len(server.token) >= 43
    with serving(None) as other:
        assert other.token != server.token


def test_it_listens_on_the_loopback_interface_alone(server):
    """No other machine can connect."""
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_says_what_to_do(server):
    """The error names the option."""
    with pytest.raises(OSError, match="--port"):
        Playground(server._deployment, "test", SHOW.FORM, SHOW, server.server_port)


@pytest.mark.parametrize("form", ["list", "base64"])
def test_inline_attention_becomes_maps(form):
    """The numbers inside the records come to the page as maps, as those of an npz do."""
    weights = [[0.25, 0.75]]
    attention = Array(np.array(weights, np.float32).tobytes(), "f", (1, 2), ("hypotheses", 0))
    record = build_record(Prediction(RECORD, {"attention": [attention]}), form)
    with serving(lambda _: {"statusCode": 200, "body": {"predictions": [record]}}) as server:
        answer = server.ask({})
    arrays = {0: {"attention": [np.array(weights, np.float32)]}}
    packed = pack_items(page_items([RECORD], arrays, SHOW))
    assert (answer["index"], answer["blocks"]) == (packed.index, packed.blocks)


def test_inline_arrays_of_any_kind_are_a_show_pys():
    """Its page_item gets them as those of an npz, several of a kind in their order, none in the record."""
    numbers = [np.array(one, np.int32) for one in ([[1, 2, 3]], [[4], [5]], [[]])]
    arrays = [Array(one.tobytes(), "i", one.shape, ("parts",)) for one in numbers]
    vector = Array(np.array([0.5, 1e-30], np.float64).tobytes(), "d", (2,))
    made = Prediction(
        {"index": 0, "parts": {"words": ["a", {"b": []}]}}, {"word": arrays, "vector": [vector]}
    )
    record = build_record(made, "base64")
    got = []
    show = SimpleNamespace(page_item=lambda *one: got.append(one) or {"index": 0})
    with serving(lambda _: {"statusCode": 200, "body": {"predictions": [record]}}) as server:
        server._show = show
        server.ask({})
    [(kept, found)] = got
    assert kept == made.record
    assert found.keys() == {"word", "vector"}
    for one, other in zip(
        [*found["word"], *found["vector"]], [*numbers, np.array([0.5, 1e-30])], strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"statusCode": 400, "body": {"error": {"code": "BadRequest", "message": "no", "field": "beam"}}},
         {"status": 400, "error": {"code": "BadRequest", "message": "no", "field": "beam"}}),
        ({"statusCode": 500, "body": "[]"}, {"status": 500}),
        (["a list"], {"status": None}),
        (RuntimeError("no key"), {"error": {"code": "RuntimeError", "message": "no key"}}),
        (http.client.BadStatusLine("x"), {"error": {"code": "BadStatusLine", "message": "x"}}),
        (urllib.error.URLError("gone"), {}),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_errors_reach_the_page(response, expected):
    """What the function answers, raises or does not say comes as an error with a code and a message."""

    def invoke(_):
        if isinstance(response, Exception):
            raise response
        return response

    with serving(invoke) as server:
        answer = server.ask({})
    assert expected.items() <= answer.items()
    assert {"code", "message"} <= set(answer["error"])


def test_an_answer_without_predictions_is_shown_as_it_is():
    """A warm-up's answer stands among the facts."""
    with serving(lambda _: {"statusCode": 200, "body": {"warmup": "confirmed"}}) as server:
        assert server.ask({})["about"][-1] == '{"warmup": "confirmed"}'


def test_the_form_is_the_request():
    """Each field of the form is one of the translator's, within its bounds."""
    hints = get_type_hints(TranslationRequest, include_extras=True)
    for field in SHOW.FORM:
        assert field["name"] in TranslationRequest.__struct_fields__
        if field["kind"] == "number":
            [bounds] = [one for one in hints[field["name"]].__metadata__ if isinstance(one, Meta)]
            assert (field["min"], field["max"]) == (bounds.ge, bounds.le)
            assert bounds.ge <= field["value"] <= bounds.le


def test_other_functions_are_asked_by_their_own_form_or_json(tmp_path):
    """A function's show.py may have a form; without one its event is what to begin with."""
    assert build_form(functions.get("translation")) == SHOW.FORM
    own = functions.Function(tmp_path / "own_function", tmp_path)
    own.code.mkdir()
    (own.code / "show.py").write_text("FORM = [{'name': 'x', 'kind': 'flag', 'label': 'X'}]")
    assert build_form(own) == [{"name": "x", "kind": "flag", "label": "X"}]
    [field] = build_form(functions.get("keras"))
    assert json.loads(field["value"]) == json.loads(functions.get("keras").event.read_text())
