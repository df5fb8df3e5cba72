"""Resource use of a deployed function, from its log: REPORT lines, metrics and bytes."""

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_setup.costs.pricing import FREE_TMP_MB, Calls, estimate_reads, estimate_speed
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.errors import CommandError
from lambda_setup.models.bucket import ModelBucket

if TYPE_CHECKING:
    from boto3 import Session

_TEXT = {
    "Duration": "durationMs",
    "Billed Duration": "billedDurationMs",
    "Init Duration": "initDurationMs",
    "Restore Duration": "restoreDurationMs",
    "Billed Restore Duration": "billedRestoreDurationMs",
    "Memory Size": "memorySizeMB",
    "Max Memory Used": "maxMemoryUsedMB",
}
"""Names in a plain-text REPORT line, and their JSON fields."""
_FIELD = re.compile(r"((?:[A-Z][a-z]+ )*[A-Z][a-z]+): ([\d.]+) (?:ms|MB)\b")


@dataclass(frozen=True)
class Report:
    """Lambda's report of one invocation; ``init_ms``, of a start or a restore, is 0 for a warm one."""

    duration_ms: float
    billed_ms: float
    init_ms: float
    memory_mb: int
    peak_mb: int
    restored: bool = False  # from a snapshot


_OTHER_LINES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a line raises that is not Lambda's: its numbers may be infinite, its lists deep."""


def parse_report(line: str) -> Report | None:
    """Return the report in a log line, in either of Lambda's formats, or None.

    https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html has the JSON.
    """
    try:
        if line.startswith("REPORT "):
            fields = {_TEXT.get(name): value for name, value in _FIELD.findall(line)}
        elif (event := json.loads(line))["type"] == "platform.report":
            fields = event["record"]["metrics"]
        else:
            return None
        return Report(
            float(fields["durationMs"]),
            float(fields["billedDurationMs"]) + float(fields.get("billedRestoreDurationMs", 0)),
            float(fields.get("initDurationMs", 0)) + float(fields.get("restoreDurationMs", 0)),
            int(fields["memorySizeMB"]),
            int(fields["maxMemoryUsedMB"]),
            "restoreDurationMs" in fields,
        )
    except _OTHER_LINES:
        return None


def parse_metrics(line: str) -> dict[str, list[float]]:
    """Return the values in a line of embedded metrics by name, nothing for any other line.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    if '"_aws"' not in line:
        return {}
    try:
        event = json.loads(line)
        names = [
            metric["Name"] for group in event["_aws"]["CloudWatchMetrics"] for metric in group["Metrics"]
        ]
        values = {name: event[name] if isinstance(event[name], list) else [event[name]] for name in names}
        return {name: [float(number) for number in numbers] for name, numbers in values.items()}
    except _OTHER_LINES:
        return {}


@dataclass(frozen=True)
class Event:
    """A log line, with its stream (one per environment) and its time in milliseconds."""

    stream: str
    time: int
    line: str


@dataclass(frozen=True)
class Usage:
    """Resource use of a function's environments of one memory size."""

    reports: list[Report]  # one per invocation
    items: float  # number of items answered
    results: int  # number of answers stored in S3
    log_bytes: int  # bytes logged
    metric_hours: int  # hours in which a metric had a value, summed over the metrics


def sum_usage(events: Iterable[Event], memory_mb: int) -> Usage:
    """Return the use of environments with this memory size; others belong to an earlier deployment."""
    streams: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        streams[event.stream].append(event)
    reports: list[Report] = []
    items, results, log_bytes = 0.0, 0, 0
    hours: set[tuple[str, int]] = set()
    for stream in streams.values():
        own = [one for event in stream if (one := parse_report(event.line)) and one.memory_mb == memory_mb]
        if not own:
            continue
        reports += own
        for event in stream:
            log_bytes += len(event.line.encode())
            values = parse_metrics(event.line)
            items += sum(values.get("Items", []))
            results += len(values.get("Store", []))
            hours |= {(name, event.time // 3_600_000) for name in values}
    return Usage(reports, items, results, log_bytes, len(hours))


@dataclass(frozen=True)
class FunctionUsage:
    """A deployed function's configuration, its average call and its load."""

    calls: Calls
    architecture: str
    memory_mb: int
    region: str
    calls_per_day: float
    snapshots: list[str]  # published versions that keep a snapshot
    restores_per_day: float


def measure_function(session: "Session", name: str, hours: float, writes: int) -> FunctionUsage:
    """Return the average call of a deployed function in the last hours; CommandError if there is none."""
    with readable_errors(f"function {name}"):
        client = session.client("lambda")
        function = client.get_function_configuration(FunctionName=name)
    memory, variables = function["MemorySize"], function.get("Environment", {}).get("Variables", {})
    if not {"MODEL_BUCKET", "MODEL_NAME"} <= variables.keys():
        raise CommandError(f"function {name} has no MODEL_BUCKET; is it one of this template?")
    group = function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function['FunctionName']}"
    region = client.meta.region_name
    with readable_errors(f"log group {group}"):
        used = sum_usage(_read_events(session.client("logs"), group, hours), memory)
    if not used.items:
        raise CommandError(
            f"{group} has no answer of {name} with {memory} MB in the last {hours:g} hours; send it "
            "requests, or read more of the log by --hours"
        )
    with readable_errors("model bucket"):
        bucket = ModelBucket(session.client("s3"), variables["MODEL_BUCKET"])
        manifest = bucket.manifest(variables["MODEL_NAME"], variables.get("MODEL_CHANNEL", "dev"))
    with readable_errors(f"function {name}"):
        snapshots = _list_snapshots(client, function["FunctionName"])
    count = len(used.reports)
    per_day = count / hours * 24
    cold = [one for one in used.reports if one.init_ms]
    warm = [one.billed_ms for one in used.reports if not one.init_ms] or [one.duration_ms for one in cold]
    seconds = statistics.fmean(warm) / 1000
    longer = statistics.fmean(one.billed_ms for one in cold) / 1000 - seconds if cold else 0.0
    refresh = float(variables.get("MODEL_REFRESH_SECONDS", "60"))
    parts = sum(len(file.parts) for file in manifest.files)
    calls = Calls(
        name=f"{manifest.engine} {manifest.precision}",
        items=used.items / count,
        seconds=seconds * estimate_speed(memory),
        cold_seconds=max(longer, 0.0) * estimate_speed(memory),
        cold_share=len(cold) / count,
        peak_mb=max(one.peak_mb for one in used.reports),
        writes=used.results / count * writes,
        reads=estimate_reads(per_day, len(cold) / count, refresh, parts),
        log_bytes=used.log_bytes / count,
        metric_hours=used.metric_hours / count,
        tmp_mb=function.get("EphemeralStorage", {}).get("Size", FREE_TMP_MB),
    )
    return FunctionUsage(
        calls=calls,
        architecture=function.get("Architectures", ["x86_64"])[0],
        memory_mb=memory,
        region=region,
        calls_per_day=per_day,
        snapshots=snapshots,
        restores_per_day=sum(one.restored for one in used.reports) / hours * 24,
    )


def _list_snapshots(client: Any, function: str) -> list[str]:
    """Return a function's published versions that Lambda keeps a snapshot of, the oldest first."""
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    return [
        version["Version"]
        for page in pages
        for version in page["Versions"]
        if version["Version"] != "$LATEST" and version.get("SnapStart", {}).get("OptimizationStatus") == "On"
    ]


def _read_events(client: Any, group: str, hours: float) -> Iterable[Event]:
    start = int((time.time() - hours * 3600) * 1000)
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
    for page in pages:
        for event in page["events"]:
            yield Event(event["logStreamName"], event["timestamp"], event["message"])
