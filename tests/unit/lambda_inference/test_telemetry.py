"""Lines of logs and metrics: what CloudWatch and readers of Powertools' format find in them."""

import json
import re
import time

import pytest

from lambda_inference import _telemetry


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Start each test without keys, metrics and variables of others."""
    monkeypatch.setattr(_telemetry, "_keys", {})
    monkeypatch.setattr(_telemetry, "_metrics", {})
    for name in ("AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_LOG_LEVEL", "_X_AMZN_TRACE_ID"):
        monkeypatch.delenv(name, raising=False)


def lines(capsys):
    """Return what was written, line by line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_of_the_log(capsys, monkeypatch):
    """It has Powertools' fields in their order, then the invocation's and its own."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1")
    monkeypatch.setattr(time, "time", lambda: 86_399.0625)
    _telemetry.set_request_id("r-1")
    _telemetry.log("answered", items=2, name="ü")
    [line] = lines(capsys)
    assert line.pop("timestamp") == "1970-01-01 23:59:59,062+0000"
    assert re.fullmatch(r"test_a_line_of_the_log:\d+", line.pop("location"))
    expected = {
        "level": "INFO",
        "message": "answered",
        "service": "inference",
        "request_id": "r-1",
        "items": 2,
    }
    assert line == expected | {"name": "ü", "xray_trace_id": "1-5759e988-bd862e3f"}


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_LOG_LEVEL"])
@pytest.mark.parametrize(
    ("level", "written"),
    [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("WARN", 2), ("ERROR", 1), ("CRITICAL", 0), ("?", 4)],
)
def test_levels(capsys, monkeypatch, variable, level, written):
    """Lines below the level are left out; Lambda calls a warning WARN."""
    monkeypatch.setenv(variable, level)
    _telemetry.debug("d")
    _telemetry.log("a")
    _telemetry.warn("b")
    _telemetry.log_failure(ValueError("a user's text"))
    assert len(lines(capsys)) == written
    assert _telemetry.is_debugging() == (level == "DEBUG")


def fail(error):
    """Raise an error."""
    raise error


def test_a_failure_has_no_message(capsys):
    """The message of an error may quote a user's text; that of an ImportError names a module."""
    for error in (ValueError("a user's text"), ImportError("No module named 'sympy'")):
        try:
            fail(error)
        except Exception as raised:  # noqa: BLE001
            _telemetry.log_failure(raised, code="c")
    first, second = lines(capsys)
    assert "user" not in json.dumps(first)
    assert (first["level"], first["error"], first["code"]) == ("ERROR", "ValueError", "c")
    assert first["where"][1].endswith(" fail")
    assert second["reason"] == "No module named 'sympy'"


def test_values_that_are_not_json(capsys):
    """Whatever is logged makes a line."""
    _telemetry.log("odd", kind=object, number=float("nan"), group={1})
    [line] = lines(capsys)
    assert (line["kind"], line["number"], line["group"]) == ("<class 'object'>", None, [1])


def test_a_duration_is_in_milliseconds(monkeypatch):
    """Whatever ends it; to a tenth."""
    monkeypatch.setattr(time, "perf_counter", iter([1.0, 2.50004]).__next__)
    timings = {}
    with pytest.raises(ZeroDivisionError), _telemetry.measure(timings, "predict"):
        raise ZeroDivisionError
    assert timings == {"predict": 1500.0}


def test_metrics(capsys, monkeypatch):
    """One line an invocation, in the embedded metric format; each value is kept, and the time in ms."""
    monkeypatch.setattr(time, "time", lambda: 86_399.0625)
    _telemetry.count("Items", 2)
    _telemetry.count("Items", 3)
    _telemetry.record_duration("ModelLoad", 12.345)
    _telemetry.flush()
    _telemetry.flush()
    [line] = lines(capsys)
    metadata = line.pop("_aws")
    assert metadata["Timestamp"] == 86_399_062
    assert metadata["CloudWatchMetrics"] == [
        {
            "Namespace": "LambdaInference",
            "Dimensions": [["service"]],
            "Metrics": [{"Name": "Items", "Unit": "Count"}, {"Name": "ModelLoad", "Unit": "Milliseconds"}],
        }
    ]
    assert line == {"service": "inference", "Items": [2, 3], "ModelLoad": [12.3]}
