"""``batch run``: cut a corpus into shards, start the state machine, and watch it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_inference._batches import manifest_key
from lambda_inference._requests import digest as digest_of
from lambda_inference._shards import MAX_BYTES, MAX_LINES
from lambda_inference.inputs import PREFIX
from lambda_setup.batch import corpus as corpora
from lambda_setup.batch.corpus import Corpus
from lambda_setup.batch.store import ResultBucket
from lambda_setup.costs import pricing
from lambda_setup.deployment import Deployment, StateMachine
from lambda_setup.deployment.responses import get_body, is_success
from lambda_setup.errors import CommandError
from lambda_setup.models import channels
from lambda_setup.models.bucket import SHORT_VERSION
from lambda_setup.output import status, transfer

SHARE = 0.25
"""Of the function's timeout, that a shard may take."""
_SHARDS_PER_WORKER = 4
"""At least, so that no function of a few is idle for long at the end."""
_POLL_SECONDS = 2.0
_ATTEMPTS = 100  # executions of one run


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the command line asks for it."""

    name: str
    source: str  # a file, or an object in the result bucket
    request: Mapping[str, Any]  # fields of every request
    most_lines: int | None = None  # of a shard; None lets a sample decide
    format: str | None = None  # of the corpus; None lets its name and content say it


def run(deployment: Deployment, job: Run) -> Mapping[str, Any]:
    """Answer a corpus, and return the first line of the run's manifest."""
    bucket = ResultBucket(deployment.client, deployment.result_bucket)
    corpus = corpora.find(bucket.client, bucket.name, job.source, job.format, deployment.account)
    batch, is_new = _prepare(deployment, bucket, corpus, job)
    before = read_manifest(bucket, job.name)
    if before and not before["failed_ranges"]:
        status(f"the run {job.name} is complete already; nothing is written")
        return before
    if corpora.upload(corpus):
        status(f"uploaded s3://{corpus.bucket}/{corpus.key}")
    if is_new:
        if not bucket.create(_record_key(job.name), json.dumps(batch).encode()):
            raise CommandError(
                f"somebody else began the run {job.name} a moment ago, or you may not read its record "
                f"s3://{bucket.name}/{_record_key(job.name)}; try again, or choose another name"
            )
    else:
        corpora.renew(bucket.client, bucket.name, _record_key(job.name))
    shards, lines = _write_index(deployment, corpus, batch, job.most_lines)
    machine = deployment.state_machine
    execution = _start(machine, batch)
    try:
        failure = _watch(deployment, machine, execution, shards, lines)
    except KeyboardInterrupt:
        state = "it goes on" if deployment.facts.region else "every answer so far is kept"
        status(f"left {job.name}; {state}, and the same command takes it up again")
        raise
    after = read_manifest(bucket, job.name)
    if after is None:
        raise CommandError(f"the run has no manifest: {failure or 'its state machine ended without one'}")
    if failure:
        status(f"the run failed: {failure}")
    return after


def plan(deployment: Deployment, job: Run) -> list[str]:
    """Return the writes and the call that a run would make, nothing if it is complete."""
    bucket = ResultBucket(deployment.client, deployment.result_bucket)
    corpus = corpora.find(bucket.client, bucket.name, job.source, job.format, deployment.account)
    batch, _ = _prepare(deployment, bucket, corpus, job)
    before = read_manifest(bucket, job.name)
    if before and not before["failed_ranges"]:
        return []
    steps = [
        f"put s3://{bucket.name}/{batch['index']}, unless it is there",
        f"start {deployment.state_machine.arn} with {json.dumps(batch)}",
    ]
    if corpus.content is not None:
        steps.insert(0, f"put s3://{corpus.bucket}/{corpus.key}, {corpus.size:,} bytes, unless it is there")
    return steps


def read_manifest(bucket: ResultBucket, name: str) -> dict[str, Any] | None:
    """Return the first line of a run's manifest, None if there is none."""
    stream = bucket.open(manifest_key(name))
    if stream is None:
        return None
    with closing(stream):
        head: dict[str, Any] = json.loads(next(stream.iter_lines()))
    return head


def read_version(deployment: Deployment) -> str:
    """Return the model version that a deployment's channel points to."""
    settings = deployment.environment()
    bucket, model = settings["MODEL_BUCKET"], settings["MODEL_NAME"]
    pointer = channels.read(deployment.client, bucket, model, settings["MODEL_CHANNEL"])
    if pointer is None:
        verb = f"promote {model}" if settings["MODEL_CHANNEL"] == "prod" else "publish DIR"
        raise CommandError(
            f"s3://{bucket} has no model {model} yet in the channel {settings['MODEL_CHANNEL']}; put one "
            f"there: python -m lambda_setup model {verb} {deployment.arguments}"
        )
    return pointer.version


def _record_key(name: str) -> str:
    """Return the key of the state machine's input, as the run was begun."""
    return f"{PREFIX}batches/runs/{name}.json"


def _prepare(
    deployment: Deployment, bucket: ResultBucket, corpus: Corpus, job: Run
) -> tuple[dict[str, Any], bool]:
    """Return the state machine's input, and whether the run is new; CommandError if the name is taken."""
    version = read_version(deployment)
    request = {**job.request, "model_version": version, "errors": "raise"}
    model = deployment.environment()["MODEL_NAME"]
    facts = {
        "key": corpus.key, "bytes": corpus.size, "identity": corpus.identity, "format": corpus.format
    }  # fmt: skip
    digest = digest_of({"corpus": facts, "model": model, "request": request})[:24]
    batch = {
        "run": job.name,
        "index": f"{PREFIX}batches/{digest}/index.json",
        "request": request,
        "corpus": facts,
    }
    record = bucket.open(_record_key(job.name))
    if record is None:
        return batch, True
    begun: dict[str, Any] = json.loads(record.read())
    its_version = begun["request"]["model_version"]
    # A run that was begun by an older release has no format: its suffix was the format.
    old = {"format": "jsonl" if corpus.key.endswith(".jsonl") else "text"}
    if old | begun["corpus"] != facts or begun["request"] != {**request, "model_version": its_version}:
        raise CommandError(f"the run {job.name} is of another corpus or request; choose another name")
    if its_version != version:
        status(
            f"{job.name} was begun with version {its_version[:SHORT_VERSION]} and stays with it; "
            f"a run of another name takes {version[:SHORT_VERSION]}"
        )
    return begun, False


def _write_index(
    deployment: Deployment, corpus: Corpus, batch: Mapping[str, Any], most_lines: int | None
) -> tuple[int, int]:
    """Write the index unless it is there, and return its numbers of shards and lines."""
    bucket = ResultBucket(deployment.client, deployment.result_bucket)
    if stream := bucket.open(batch["index"]):
        data = stream.read()
        corpora.renew(bucket.client, bucket.name, batch["index"])
        status("taking the shards of an earlier run of this corpus")
    else:
        most_bytes = MAX_BYTES if most_lines else _measure_shard(deployment, corpus, batch["request"])
        with transfer("cutting the corpus into shards", corpus.size) as progress:
            digest = batch["index"].split("/")[-2]
            shards = corpora.cut(corpus, digest, most_bytes, most_lines or MAX_LINES, progress)
            data = corpora.encode_index(shards)
        # Another run of this corpus may have written it meanwhile; its shards are as good.
        if not bucket.create(batch["index"], data) and (stream := bucket.open(batch["index"])):
            data = stream.read()
    entries = json.loads(data)
    lines = sum(entry["lines"] for entry in entries)
    status(f"{lines:,} lines in {len(entries):,} shards: s3://{bucket.name}/{batch['index']}")
    return len(entries), lines


def _measure_shard(deployment: Deployment, corpus: Corpus, request: Mapping[str, Any]) -> int:
    """Return the bytes that the function answers in the time that a shard may take, measured on a sample."""
    timeout, workers = deployment.facts.timeout, deployment.facts.workers
    size = milliseconds = 0.0
    for source in corpora.sample(corpus):
        status(f"measuring the function on bytes {source['start']:,} to {source['end']:,}")
        response = deployment.invoke({**request, "source": source, "result": "auto"})
        if not is_success(response):
            message = get_body(response).get("error", {}).get("message", response)
            raise CommandError(f"the function fails on a sample of the corpus: {message}")
        size += source["end"] - source["start"]
        milliseconds += response["body"]["predict_ms"]
    rate = size / max(milliseconds / 1000, 1e-3)
    status(
        f"it answers {rate:,.0f} bytes a second; a shard may take {SHARE * timeout:.0f} s "
        f"of its timeout of {timeout} s"
    )
    even = corpus.size // (_SHARDS_PER_WORKER * workers) + 1 if workers else corpus.size
    return max(min(int(rate * SHARE * timeout), even), 1)


def _start(machine: StateMachine, batch: Mapping[str, Any]) -> str:
    """Return the execution that answers a run: the one that is under way, or a new one."""
    name = batch["run"]
    for number in range(1, _ATTEMPTS):
        arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            execution = machine.client.describe_execution(executionArn=arn)
        except machine.client.exceptions.ExecutionDoesNotExist:
            new = machine.client.start_execution(
                stateMachineArn=machine.arn, name=name, input=json.dumps(batch)
            )
            status(f"started {name}")
            return new["executionArn"]
        if execution["status"] == "RUNNING":
            status(f"{name} is under way")
            return arn
        name = f"{batch['run']}-again-{number}"
    raise CommandError(f"the run {batch['run']} was begun {_ATTEMPTS} times; choose another name")


def _watch(
    deployment: Deployment, machine: StateMachine, execution_arn: str, shards: int, lines: int
) -> str | None:
    """Show the progress of a run until it ends, and return why it failed, if it did."""
    arn = None
    with _show_progress(shards) as show:
        while True:
            execution = machine.client.describe_execution(executionArn=execution_arn)
            if arn is None:
                runs = machine.client.list_map_runs(executionArn=execution_arn)["mapRuns"]
                arn = runs[0]["mapRunArn"] if runs else None
            if arn:
                counts = machine.client.describe_map_run(mapRunArn=arn)["itemCounts"]
                seconds = max((datetime.now(UTC) - execution["startDate"]).total_seconds(), 1)
                done = counts["succeeded"]
                parts = [
                    f"about {done * lines // shards:,} lines, {done * lines / shards / seconds:,.0f} a second"
                ]
                if counts["failed"]:
                    parts.append(f"{counts['failed']:,} failed")
                # Nothing says yet how long a shard took: at most its share, or the time since the start.
                busy = min(seconds * (done + counts["running"]), done * SHARE * deployment.facts.timeout)
                if cost := estimate_cost(deployment, done, busy):
                    parts.append(cost)
                show(done + counts["failed"], ", ".join(parts))
            if execution["status"] != "RUNNING":
                break
            time.sleep(_POLL_SECONDS)
    if execution["status"] == "SUCCEEDED":
        return None
    return f"{execution.get('error', execution['status'])}: {execution.get('cause', '')}"


@contextmanager
def _show_progress(shards: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("shards, {task.fields[text]}")
    columns = (BarColumn(), MofNCompleteColumn(), text, TimeElapsedColumn())
    with Progress("answering", *columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=shards, text="waiting for the first")
        yield lambda done, text: progress.update(task, completed=done, text=text)


def estimate_cost(deployment: Deployment, shards: int, seconds: float) -> str:
    """Return the cost of shards that took so many seconds in all; nothing on this machine."""
    facts = deployment.facts
    if not facts.region:
        return ""
    try:
        prices = pricing.load_prices(facts.region)
    except CommandError:  # the prices of the region are not known
        return ""
    cost = pricing.calculate_run_cost(
        gb_seconds=seconds * facts.memory / 1024,
        requests=shards,
        transitions=2 * shards,
        writes=shards,
        reads=3 * shards,
        architecture=facts.architecture,
        prices=prices,
    )
    return f"about ${cost.total:,.2f}"
