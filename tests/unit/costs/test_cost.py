"""What a million items cost: prices, arithmetic, what a log says, and the command."""

import datetime as dt
import io
import json
import math
import os
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import boto3
import msgspec
import pytest
from moto.awslambda.models import LambdaFunction

from lambda_inference._models import File
from lambda_setup.__main__ import main
from lambda_setup.commands import cost
from lambda_setup.costs import comparison, pricing, usage
from lambda_setup.costs.pricing import Calls, estimate_speed, load_prices
from lambda_setup.errors import CommandError
from lambda_setup.models.describe import PublishedManifest

REGION = "eu-central-1"
US = load_prices("us-east-1")
REQUEST = "1151330a-bd9f-4879-b1e9-2d6856b7e822"
START = {
    "time": "2026-11-21T16:59:49.500Z",
    "type": "platform.start",
    "record": {
        "requestId": REQUEST,
        "functionArn": f"arn:aws:lambda:{REGION}:123456789012:function:translation-TranslationFunction-Ab:3",
        "version": "3",
    },
}
ANSWERED = {
    "level": "INFO", "location": "_measure:162", "message": "answered",
    "timestamp": "2026-11-21 16:59:49,761+0000", "service": "translation", "request_id": REQUEST,
    "items": 20, "predict": 370.8, "store": 214.5,
}  # fmt: skip
REPORT = (
    "REPORT RequestId: bf5f58db-ef7d-4cb2-b3c6-266eba1bbedb\tDuration: 395.99 ms\tBilled Duration: 662 ms\t"
    "Memory Size: 512 MB\tMax Memory Used: 301 MB\tInit Duration: 265.72 ms\t\n"
)


def platform_report(billed=603.0, memory=1769, init=None, peak=412):
    """Return Lambda's report of an invocation, as JSON."""
    found = {"durationMs": billed - (init or 0) - 0.5, "billedDurationMs": billed, "memorySizeMB": memory,
             "maxMemoryUsedMB": peak} | ({"initDurationMs": init} if init else {})  # fmt: skip
    record = {"requestId": REQUEST, "metrics": found, "status": "success"}
    return {"time": "2026-11-21T16:59:50.350Z", "type": "platform.report", "record": record}


def emf(**values):
    """Return a line of metrics as Powertools writes it."""
    names = [{"Name": name, "Unit": "Count"} for name in values]
    kinds = [{"Namespace": "LambdaInference", "Dimensions": [["service"]], "Metrics": names}]
    return {
        "_aws": {"Timestamp": 1795280389762, "CloudWatchMetrics": kinds},
        "service": "translation",
        **values,
    }


def line(event):
    """Return an event as a line of the log."""
    return json.dumps(event, separators=(",", ":"))


METRICS = emf(Items=[20.0], Tokens=[1025.0], Predict=[370.8], Store=[214.5])


def calls(**changes):
    """Return calls of one item that take one second of one core and nothing else."""
    nothing = {"name": "opennmt float16", "items": 1, "seconds": 1, "cold_seconds": 0, "cold_share": 0,
               "peak_mb": 100, "writes": 0, "reads": 0, "metric_hours": 0, "log_bytes": 0}  # fmt: skip
    return Calls(**(nothing | changes))


def test_every_price_says_what_it_is_where_it_is_from_and_when_it_was_seen() -> None:
    """No price is anybody's memory."""
    for name, price in tomllib.loads(pricing.PRICES.read_text()).items():
        assert price.pop("unit")
        assert price.pop("source").startswith("https://aws.amazon.com/")
        assert price.keys() == {"us-east-1", *(() if name in pricing.SNAPSHOT_PRICES else (REGION,))}
        for one in price.values():
            assert one.keys() == {"usd", "date"}
            assert 0 < one["usd"] <= 1
            assert dt.date(2025, 1, 1) < one["date"] < dt.datetime.now(dt.UTC).date()


def test_a_region_without_prices_is_named_with_those_that_have_some() -> None:
    """Nothing is guessed from another region."""
    with pytest.raises(CommandError, match="no prices of mars-1, only of eu-central-1, us-east-1; add them"):
        load_prices("mars-1")


def test_aws_own_example_costs_what_aws_says() -> None:
    """Its pricing page: 3 million seconds with 512 MB are 18.34 and 0.40, less the free tier."""
    found = pricing.calculate_cost(calls(seconds=estimate_speed(512)), "x86_64", 512, US)
    assert 3 * found.compute - 400_000 * US.usd["lambda_x86_64"] == pytest.approx(18.34, abs=0.01)
    assert 3 * found.requests - 0.20 == pytest.approx(0.40)


def test_aws_own_example_of_a_snapshot_costs_what_aws_says() -> None:
    """Its pricing page: one version with 1 GB kept for 31 days is 4.03, 74,400 restores are 10.4."""
    found = pricing.calculate_snapshot_cost(1024, US)
    assert found
    assert found.month / pricing.MONTH * 24 * 31 == pytest.approx(4.03, abs=0.005)
    assert 74_400 * found.restore == pytest.approx(10.4, abs=0.005)


def test_no_price_of_a_snapshot_is_guessed() -> None:
    """A region whose prices nobody has published has none."""
    assert pricing.calculate_snapshot_cost(1024, load_prices(REGION)) is None


def test_arm_costs_a_fifth_less() -> None:
    """For the same seconds."""
    arm, x86 = (
        pricing.calculate_cost(calls(), architecture, 1769, US).compute
        for architecture in ("arm64", "x86_64")
    )
    assert arm / x86 == pytest.approx(0.8, abs=1e-5)


def test_a_millisecond_begun_is_billed() -> None:
    """And one that only a float's last bit begins is not."""

    def milliseconds(seconds: float) -> float:
        second = 1769 / 1024 * US.usd["lambda_arm64"]
        return pricing.calculate_cost(calls(seconds=seconds), "arm64", 1769, US).compute / second / 1e6 * 1000

    assert milliseconds(0.0101) == pytest.approx(11)
    assert milliseconds(0.69399999999999995) == pytest.approx(694)


def test_a_cold_start_is_billed_for_the_calls_that_have_one() -> None:
    """A hundredth of the calls, two seconds longer each, are two hundredths of their compute."""
    found = pricing.calculate_cost(calls(cold_seconds=2, cold_share=0.01), "arm64", 1769, US)
    assert found.init == pytest.approx(0.02 * found.compute)


def test_tmp_above_half_a_gigabyte_is_billed_for_all_the_time() -> None:
    """9.5 GB for 1.02 seconds, a million times."""
    found = pricing.calculate_cost(calls(cold_seconds=2, cold_share=0.01, tmp_mb=10_240), "arm64", 1769, US)
    assert found.tmp == pytest.approx(1e6 * 1.02 * 9.5 * 0.0000000309)
    assert pricing.calculate_cost(calls(tmp_mb=512), "arm64", 1769, US).tmp == 0


def test_what_is_written_read_and_logged_is_billed() -> None:
    """Two PUTs, three GETs, half a KiB of log and one metric of an hour, a call of two items."""
    each = calls(items=2, writes=2, reads=3, log_bytes=512, metric_hours=0.73)
    found = pricing.calculate_cost(each, "arm64", 1769, US)
    assert found.s3 == pytest.approx((2 * 5 + 3 * 0.4) / 2)
    assert found.logs == pytest.approx(1e6 / 2 * 512 / 2**30 * 0.50)
    assert found.metrics == pytest.approx(1e6 / 2 * 0.73 / 730 * 0.30)
    assert found.requests == pytest.approx(0.10)
    parts = (found.compute, found.init, found.requests, found.s3, found.logs, found.metrics, found.tmp)
    assert found.total == pytest.approx(sum(parts))


@pytest.mark.parametrize(("memory", "cores"), [(1769, 1), (884.5, 0.5), (2048, 1), (3538, 1.5), (5307, 2)])
def test_memory_buys_a_share_of_a_core_and_further_cores_half(memory: float, cores: float) -> None:
    """A second thread starts where the memory pays for most of one."""
    assert estimate_speed(memory) == pytest.approx(cores)


def test_half_the_memory_takes_twice_as_long_and_costs_the_same() -> None:
    """Below one core."""
    whole, half = (pricing.calculate_cost(calls(), "arm64", memory, US).compute for memory in (1768, 884))
    assert whole == pytest.approx(half, rel=1e-3)


def test_the_share_of_cold_starts_is_that_of_long_pauses() -> None:
    """A call in five minutes, at any time, finds 1/e of them cold; nobody's first call is warm."""
    assert pricing.estimate_cold_share(288) == pytest.approx(1 / math.e)
    assert pricing.estimate_cold_share(0.001) == pytest.approx(1, abs=1e-5)


def test_a_function_reads_the_model_when_cold_and_the_pointer_now_and_then() -> None:
    """Pointer, manifest and parts; then the pointer at every call, or once in a minute."""
    assert pricing.estimate_reads(100, 1, 60, parts=4) == pytest.approx(6)
    assert pricing.estimate_reads(100, 0, 0, parts=4) == pytest.approx(1)
    assert pricing.estimate_reads(24 * 60, 0, 60, parts=4) == pytest.approx(1 / 2)


def test_a_metric_is_billed_by_the_hour_however_often_it_is_sent() -> None:
    """Rare calls pay for an hour each, frequent ones share it."""
    assert pricing.estimate_metric_hours(0.001, 0) == pytest.approx(4, abs=1e-3)
    assert pricing.estimate_metric_hours(0.001, 1) == pytest.approx(7, abs=1e-3)
    assert pricing.estimate_metric_hours(1_000_000, 0) == pytest.approx(4 * 24 / 1e6)


def test_what_a_call_is_assumed_to_log_is_what_it_logs() -> None:
    """Lambda's two lines and the function's two, to a tenth; and its four metrics."""
    lines = [line(one) for one in (START, ANSWERED, METRICS, platform_report())]
    assert pytest.approx(pricing.LOG_BYTES, rel=0.1) == sum(map(len, lines))
    assert len(usage.parse_metrics(lines[2])) == pricing.METRICS


@pytest.mark.parametrize(
    "text", [REPORT, REPORT.replace("\t", " "), REPORT + "XRAY TraceId: 1-2\tSampled: true"]
)
def test_a_report_of_text_is_read(text: str) -> None:
    """Whatever separates its fields, and whatever follows."""
    assert usage.parse_report(text) == usage.Report(395.99, 662, 265.72, 512, 301)


def test_a_report_of_json_is_read() -> None:
    """A warm one has no time of initialisation."""
    assert usage.parse_report(line(platform_report(63, 128, 60.5, 35))) == usage.Report(
        2.0, 63, 60.5, 128, 35
    )
    assert usage.parse_report(line(platform_report())).init_ms == 0


def test_a_restore_is_a_start() -> None:
    """What Lambda bills for a restore from a snapshot counts as a cold start does, in either format."""
    restored = "Restore Duration: 80.5 ms\tBilled Restore Duration: 81 ms\t"
    found = usage.parse_report(REPORT.partition("Init Duration")[0] + restored)
    assert (found.billed_ms, found.init_ms) == (743, 80.5)
    report = platform_report(63, 128)
    report["record"]["metrics"] |= {"restoreDurationMs": 80.5, "billedRestoreDurationMs": 81}
    found = usage.parse_report(line(report))
    assert (found.billed_ms, found.init_ms) == (63 + 81, 80.5)


@pytest.mark.parametrize(
    "text",
    [
        "", "REPORT ", "REPORT RequestId: x\tDuration: 1.2.3 ms", REPORT[:80],
        "{", "[]", "null", '"REPORT"', "{}",
        line(START), line(ANSWERED), line(METRICS), '{"type":"platform.report"}',
        '{"type":"platform.report","record":[]}', '{"type":"platform.report","record":{"metrics":null}}',
        '{"type":"platform.report","record":{"metrics":{"durationMs":3003.12}}}',
        '{"type":"platform.report","record":{"metrics":[]}}',
        line(platform_report()).replace("1769", "1e999"), "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_report_is_none(text: str) -> None:
    """A line that is cut off, or another one, is not half a report."""
    assert usage.parse_report(text) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (line(emf(Items=[2.0, 3.0], Store=[1.5])), {"Items": [2.0, 3.0], "Store": [1.5]}),
        (line(emf(Items=4)), {"Items": [4.0]}),
        (line(ANSWERED), {}),
        ('{"_aws":{}}', {}),
        ('{"_aws":{"CloudWatchMetrics":[{"Metrics":[{"Name":"Items"}]}]}}', {}),
        ('{"_aws":', {}),
        ('["_aws"]', {}),
        (line(emf(Items=10**400)), {}),
        ('["_aws"' + "[" * 100_000, {}),
    ],
)
def test_metrics_are_read_from_their_lines_only(text: str, values: dict[str, list[float]]) -> None:
    """One value or several; a broken line has none."""
    assert usage.parse_metrics(text) == values


def test_environments_of_another_size_are_left_out() -> None:
    """With all that they logged; hours count once for each metric."""
    hour = 3_600_000
    events = [
        usage.Event("now", 0, line(emf(ColdStart=[1.0], Items=[20.0], Store=[9.0]))),
        usage.Event("now", 1, line(platform_report(3000, init=2000))),
        usage.Event("now", 2, line(emf(Items=[10.0], Store=[9.0]))),
        usage.Event("now", 3, line(platform_report())),
        usage.Event("now", hour, line(emf(Items=[1.0, 2.0]))),
        usage.Event("before", 4, line(emf(Items=[7.0], Store=[9.0]))),
        usage.Event("before", 5, line(platform_report(memory=512))),
        usage.Event("else", 6, "é"),
    ]
    found = usage.sum_usage(events, 1769)
    assert [one.billed_ms for one in found.reports] == [3000, 603]
    assert (found.items, found.results, found.metric_hours) == (33, 2, 4)
    assert found.log_bytes == sum(len(event.line) for event in events[:5])


def test_sizes_are_shown_that_fit_and_the_best_has_one_core() -> None:
    """Four of them; below one core less memory saves nothing, above it more buys little."""
    found = comparison.compare_sizes(calls(peak_mb=500), US)
    assert [row.memory_mb for row in found if row.architecture == "arm64"] == [1024, 1769, 3008, 5307]
    assert [(row.architecture, row.memory_mb) for row in found if row.best] == [("arm64", 1769)]
    assert {row.memory_mb for row in comparison.compare_sizes(calls(peak_mb=9000), US)} == {10240}


def test_the_deployed_size_is_shown_and_is_best_only_if_it_fits() -> None:
    """Also where it is none of those to choose from."""
    found = comparison.compare_sizes(calls(peak_mb=500), US, ("x86_64", 600))
    assert [(row.memory_mb, row.best) for row in found if row.deployed] == [(600, False)]
    assert sum(row.best for row in found) == 1


MEASURED = {
    "machine": {"cpu": "A Processor"},
    "engines": [
        {"engine": "opennmt", "precision": "float16", "sentences_per_second": 20.0, "cold_start_seconds": 3.0,
         "peak_memory_mb": 400, "items_per_call": 20},
    ],
}  # fmt: skip


def test_the_table_for_the_documents_has_every_size_and_marks_the_best() -> None:
    """It names the machine and the load; tools.docs puts it into docs/cost.md."""
    table = comparison.draw_markdown(MEASURED)
    assert "Measured on one thread of A Processor, not on Lambda: 1,000 calls a day" in table
    assert "| **opennmt float16, 20 a call** | arm64 | 1,769 | 1.00 |" in table
    assert table.count("\n| opennmt") + table.count("\n| **opennmt") == 8


def test_engines_without_throughput_say_how_it_is_measured() -> None:
    """In the document as well as on the command line."""
    assert (
        comparison.draw_markdown({"engines": []}) == "Nothing is measured yet: `make bench ROW=throughput`.\n"
    )


def test_an_engine_that_is_not_measured_whole_is_left_out() -> None:
    """What it costs without its cold starts would be a guess."""
    (engine,) = MEASURED["engines"]
    lacking = {**MEASURED, "engines": [engine, {**engine, "cold_start_seconds": None}]}
    assert comparison.read_benchmark(lacking) == comparison.read_benchmark(MEASURED)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the benchmark's engines, one of which is measured."""
    path = tmp_path / "engines.json"
    path.write_text(json.dumps(MEASURED))
    monkeypatch.setattr(cost, "ENGINES", path)
    return path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """Run the command and return its JSON."""
    assert main(["cost", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("engines")
def test_the_command_shows_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was measured, how old the prices are, and the best size of each engine."""
    assert main(["cost"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "Measured on one thread of A Processor, not on Lambda: 1,000 calls a day, 3.1% of"
    )
    assert f"in us-east-1, at prices last checked on {US.oldest} or later" in shown
    assert "opennmt float16, 20 a call, best with 1,769 MB on arm64:" in shown
    assert "docs/cost.md" in shown


@pytest.mark.usefixtures("engines")
def test_the_command_takes_the_load_and_the_region(capsys: pytest.CaptureFixture[str]) -> None:
    """Calls, items, writes and prices are those that were asked for."""
    found = run_json(
        capsys, "--calls-per-day", "288", "--items-per-call", "2", "--writes", "0", "--region", REGION
    )
    [each] = found["calls"]
    assert (each["items"], each["writes"], each["seconds"]) == (2, 0, pytest.approx(0.1))
    assert each["cold_share"] == pytest.approx(1 / math.e)
    assert each["reads"] == pytest.approx(pricing.estimate_reads(288, 1 / math.e, 60, parts=4))
    assert found["region"] == REGION
    row = next(row for row in found["rows"] if row["best"])
    assert row["total"] == pytest.approx(sum(row["cost"].values()))
    assert row["cost"]["s3"] == pytest.approx(1e6 / 2 * each["reads"] * 0.43e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calls-per-day", "0"], "--calls-per-day takes a number above 0, not 0"),
        (["--items-per-call", "-1"], "--items-per-call takes a number above 0, not -1"),
        (["--hours", "3"], "--hours applies to a deployed function's log; give --stack, too"),
        (["--stack", "s", "--items-per-call", "2"], "are counted in the stack's log; leave --calls-per-day"),
        (["--region", "mars-1"], "there are no prices of mars-1, only of eu-central-1, us-east-1"),
    ],
)
@pytest.mark.usefixtures("engines")
def test_what_does_not_fit_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do instead."""
    assert main(["cost", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_a_measurement_the_command_says_how_to_make_one(
    engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where there is no file at all."""
    engines.write_text('{"machine": {}, "engines": []}')
    assert main(["cost"]) == 2
    engines.unlink()
    assert main(["cost"]) == 2
    assert capsys.readouterr().err.count("make bench ROW=throughput") == 2


LOG = "/aws/lambda/translation"


@pytest.fixture
def function(moto, monkeypatch):
    """Return what adds events to the empty log of a deployed function with a published model."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which keeps the credentials that it was made with
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST"))  # noqa: S310
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    credentials = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    for name, value in (credentials | {"AWS_ENDPOINT_URL": moto, "AWS_DEFAULT_REGION": REGION}).items():
        monkeypatch.setenv(name, value)
    configuration = LambdaFunction.get_configuration
    monkeypatch.setattr(  # moto 5.2 does not know where a function logs
        LambdaFunction,
        "get_configuration",
        lambda *given, **named: configuration(*given, **named) | {"LoggingConfig": {"LogGroup": LOG}},
    )

    def client(service):
        return boto3.client(service, region_name=REGION)

    s3 = client("s3")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION})
    parts = [File(name="weights", size=17, part_size=8, parts=["0" * 64] * 3)]
    model = PublishedManifest(name="en-es", engine="opennmt", precision="float16", libraries={}, files=parts)
    key = f"models/en-es/versions/{model.version}/manifest.json"
    s3.put_object(Bucket="models", Key=key, Body=msgspec.json.encode(model))
    s3.put_object(
        Bucket="models", Key="models/en-es/channels/dev.json", Body=line({"version": model.version}).encode()
    )
    code = io.BytesIO()
    zipfile.ZipFile(code, "w").close()
    role = client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    variables = {"MODEL_BUCKET": "models", "MODEL_NAME": "en-es", "MODEL_REFRESH_SECONDS": "0"}
    client("lambda").create_function(
        FunctionName="f", Runtime="python3.13", Role=role, Handler="app.lambda_handler", MemorySize=1769,
        Code={"ZipFile": code.getvalue()}, Architectures=["arm64"], EphemeralStorage={"Size": 1536},
        Environment={"Variables": variables},
    )  # fmt: skip
    logs = client("logs")
    logs.create_log_group(logGroupName=LOG)
    logs.create_log_stream(logGroupName=LOG, logStreamName="one")

    def log(*events):
        now = int(time.time() * 1000)
        messages = [
            {"timestamp": now, "message": event if isinstance(event, str) else line(event)}
            for event in events
        ]
        logs.put_log_events(logGroupName=LOG, logStreamName="one", logEvents=messages)

    return log


def test_a_deployed_function_costs_what_it_logged(function, capsys) -> None:
    """Its calls, items, results, cold starts and sizes; its own row adds up to the pricing."""
    text = REPORT.replace("512 MB", "1769 MB").replace("662", "600").replace("Init Duration: 265.72 ms\t", "")
    function(
        emf(ColdStart=[1.0], Items=[20.0], Store=[9.0]), platform_report(3000, init=1900, peak=450),
        emf(Items=[30.0], Store=[9.0]), platform_report(500),
        emf(Items=[10.0], Predict=[9.0]), text,
        "not JSON",
    )  # fmt: skip
    found = run_json(capsys, "--function", "f", "--hours", "12", "--writes", "2")
    [each] = found["calls"]
    assert found["region"] == REGION
    assert found["measured"].startswith(
        "Measured by f with 1,769 MB on arm64: 6 calls a day, 33.3% of them cold"
    )
    assert each["name"] == "opennmt float16"
    assert each["items"] == pytest.approx(20)
    assert each["seconds"] == pytest.approx(0.55)
    assert each["cold_seconds"] == pytest.approx(3.0 - 0.55)
    assert each["writes"] == pytest.approx(2 * 2 / 3)
    assert each["reads"] == pytest.approx((2 + 3) / 3 + 2 / 3)
    assert each["metric_hours"] == pytest.approx(4 / 3)
    assert each["peak_mb"] == 450
    assert each["tmp_mb"] == 1536
    [row] = [row for row in found["rows"] if row["deployed"]]
    of = load_prices(REGION).usd
    billed = (3.0 + 0.5 + 0.6) / 60 * 1e6
    assert row["cost"]["compute"] + row["cost"]["init"] == pytest.approx(
        billed * 1769 / 1024 * of["lambda_arm64"]
    )
    assert row["cost"]["tmp"] == pytest.approx(billed * of["lambda_tmp"])


class Pages:
    """A client that lists versions, one a page."""

    def __init__(self, versions):
        self.versions = versions

    def get_paginator(self, name):
        """Return itself."""
        assert name == "list_versions_by_function"
        return self

    def paginate(self, **_):
        """Yield the pages."""
        yield from ({"Versions": [version]} for version in self.versions)


def test_versions_that_keep_a_snapshot() -> None:
    """Published ones whose snapshot is there; $LATEST never has one."""
    pages = Pages(
        [
            {"Version": "$LATEST", "SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}},
            {"Version": "7", "SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}},
            {"Version": "8", "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}},
            {"Version": "9"},
        ]
    )
    assert usage._list_snapshots(pages, "f") == ["7"]


def test_snapshots_and_restores_are_counted(function, capsys, monkeypatch) -> None:
    """Versions that keep one are named, with what they cost; restores are those of the log."""
    report = platform_report(500)
    report["record"]["metrics"] |= {"restoreDurationMs": 300.0, "billedRestoreDurationMs": 200.0}
    function(emf(Items=[20.0]), report, platform_report(400))
    monkeypatch.setattr(usage, "_list_snapshots", lambda *_: ["7", "8"])
    monkeypatch.setattr(cost, "load_prices", lambda _: US)
    assert main(["cost", "--function", "f", "--hours", "12"]) == 0
    month, restore = 0.0000015046 * 1769 / 1024 * 730 * 3600, 0.0001397998 * 1769 / 1024
    shown = capsys.readouterr().out
    assert f"SnapStart: ${month:,.2f} a month for each published version, and ${restore:.6f} for" in shown
    assert "kept of version 7, 8; with 2 restores a day, $13.68 a month in all" in shown
    assert 2 * month + restore * 2 * 730 / 24 == pytest.approx(13.68, abs=0.005)


def test_a_function_without_snapshots_says_nothing_of_them(function, capsys) -> None:
    """And where prices are not known the command does not guess."""
    function(emf(Items=[20.0]), platform_report())
    assert main(["cost", "--function", "f"]) == 0
    assert "SnapStart" not in capsys.readouterr().out


@pytest.mark.usefixtures("engines")
def test_what_a_snapshot_would_cost(capsys) -> None:
    """Without a function it is that of the best size, in a region whose prices are known."""
    assert main(["cost"]) == 0
    assert "With SnapStart=on and 1,769 MB, also $6.83 a month for each" in capsys.readouterr().out
    assert main(["cost", "--region", REGION]) == 0
    assert f"SnapStart: its prices in {REGION} are not known" in capsys.readouterr().out


def test_a_stack_leads_to_its_function(function, capsys) -> None:
    """By its output; the function's own name is the former option, which still works and warns."""
    function(emf(Items=[20.0]), platform_report())
    outputs = {"FunctionAliasArn": {"Value": "f"}}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName="translation", TemplateBody=json.dumps(template)
    )
    by_stack = run_json(capsys, "--stack", "translation")
    assert by_stack["measured"].startswith("Measured by translation with 1,769 MB on arm64: 1 calls a day")
    assert main(["cost", "--json", "--function", "f"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["rows"] == by_stack["rows"]
    assert output.err == "warning: --function is deprecated; use --stack\n"


def test_a_function_that_answered_nothing_is_no_measurement(function, capsys) -> None:
    """The error says where it looked, and what to do."""
    function(platform_report(memory=512), emf(Items=[20.0]))
    assert main(["cost", "--function", "f"]) == 2
    assert f"{LOG} has no answer of f with 1769 MB in the last 24 hours; send it" in capsys.readouterr().err


@pytest.mark.usefixtures("function")
def test_a_function_of_something_else_is_named(capsys) -> None:
    """Nobody else's function logs what is counted."""
    client = boto3.client("lambda", region_name=REGION)
    client.update_function_configuration(FunctionName="f", Environment={"Variables": {}})
    assert main(["cost", "--function", "f"]) == 2
    assert "function f has no MODEL_BUCKET; is it one of this template?" in capsys.readouterr().err


@pytest.mark.usefixtures("function")
def test_an_unknown_function_is_named(capsys) -> None:
    """With what AWS says."""
    assert main(["cost", "--function", "nobody"]) == 2
    assert "function nobody: ResourceNotFoundException" in capsys.readouterr().err
