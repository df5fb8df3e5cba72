"""Every file in events/ gets its answer from the real function."""

import json

import pytest
from support.answers import differences
from support.events import Case, case, cases, send


@pytest.mark.parametrize("one", cases(), ids=lambda one: one.name)
def test_event_gets_exactly_its_answer(function, one: Case):
    """An event is answered exactly as the file beside it says."""
    assert differences(one.answer, send(one, function.invoke)) == []


def test_every_event_has_an_answer():
    """No event is without its answer, and no answer without its event."""
    assert all(one.path.with_suffix(".answer.json").exists() for one in cases())


def test_function_still_translates_after_every_event(function):
    """What came before leaves the warm function as it was."""
    for one in cases():
        if one.name.startswith("invalid/") and "inline_too_large" not in one.name:
            send(one, function.invoke)
    inline = case("valid/inline")
    assert differences(inline.answer, function.invoke(inline.event)) == []


def test_events_get_their_answers_with_freezes_between(function):
    """Lambda stops the process between events; it goes on where it was, whatever came before."""
    for one in cases():
        function.freeze()
        function.thaw()
        assert differences(one.answer, send(one, function.invoke)) == [], one.name


def test_log_holds_no_input_text(function, function_log):
    """No word of a request reaches the log, whether it is answered, refused or broken."""
    word = "Xylophonequartz"
    for data in ([word], [word, 5], {word: word}, f"[{word}", [f"{word} \ud800"]):
        function.invoke({"data": data, "result": "inline"})
    function.invoke({"data": ["a"], word: 1})
    function.invoke({"data": ["a"], "result": word})
    log = function_log.read_text()
    assert "answered" in log
    assert word.lower() not in log.lower()


def test_metrics_are_logged(function, function_log):
    """Each invocation logs its metrics in CloudWatch's embedded format."""
    for request in (case("valid/truncated").event, {"data": ["a"], "result": "s3"}, {}):
        function.invoke(request)
    names = set()
    for line in function_log.read_text().splitlines():
        if line.startswith("{") and "_aws" in line:
            for block in json.loads(line)["_aws"]["CloudWatchMetrics"]:
                names |= {metric["Name"] for metric in block["Metrics"]}
    assert names >= {"ColdStart", "ModelLoad", "Predict", "Store", "Items", "Tokens", "Truncated", "Rejected"}
