"""``batch run``: cut a corpus, start the state machine, and watch it."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from lambda_inference._batches import manifest_key
from lambda_inference._requests import digest as digest_of
from lambda_inference._shards import MAX_BYTES, MAX_LINES
from lambda_inference.inputs import PREFIX
from lambda_setup.batch import corpus as corpora
from lambda_setup.batch.corpus import Corpus
from lambda_setup.costs import pricing as bill
from lambda_setup.deployment.batch_place import Place, Store, place
from lambda_setup.models.bucket import SHOWN
from lambda_setup.output import status, table, transfer

SHARE = 0.25
"""Of the function's timeout, that a range is to take."""
_EACH = 4
"""Ranges that each of a few functions gets at least, so that none is idle at the end for long."""
_POLL_SECONDS = 2.0
_ATTEMPTS = 100
"""Executions of one run."""


def run(options: argparse.Namespace) -> int:
    """Answer a corpus; 0 if every range of it was answered."""
    if options.lines is not None and not 0 < options.lines <= MAX_LINES:
        raise ValueError(f"--lines takes a number from 1 to {MAX_LINES:,}")
    with place(options) as here:
        corpus = corpora.found(here.client, here.bucket, options.input)
        batch, begun = _batch(here, corpus, options)
        before = manifest(here, options.name)
        if before and not before["failed_ranges"]:
            status(f"the run {options.name} is complete already; nothing is written")
            return _told(here, before)
        if options.dry_run:
            return _dry(here, corpus, batch)
        if corpora.upload(corpus):
            status(f"uploaded s3://{corpus.bucket}/{corpus.key}")
        if not begun:
            here.put(_record(options.name), json.dumps(batch).encode())
        ranges, lines = _indexed(here, corpus, batch, options.lines)
        execution = _started(here, batch)
        try:
            failure = _watch(here, execution, ranges, lines)
        except KeyboardInterrupt:
            goes_on = "it goes on" if here.region else "what is answered stays answered"
            status(f"left {options.name}; {goes_on}, and the same command takes it up again")
            raise
        after = manifest(here, options.name)
        if after is None:
            raise RuntimeError(f"the run has no manifest: {failure or 'its state machine ended without one'}")
        if failure:
            status(f"the run failed: {failure}")
        return _told(here, after)


def manifest(store: Store, name: str) -> dict[str, Any] | None:
    """Return the first line of a run's manifest, None if there is none."""
    found = store.opened(manifest_key(name))
    if found is None:
        return None
    with closing(found):
        head: dict[str, Any] = json.loads(next(found.iter_lines()))
    return head


def _record(name: str) -> str:
    """Return the key of what a run was begun with."""
    return f"{PREFIX}batches/runs/{name}.json"


def _batch(here: Place, corpus: Corpus, options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Return what the state machine is told, and whether the run was begun before, with just that.

    Raises:
        ValueError: the run's name is another one's.

    """
    request = {**options.request, "model_version": here.version, "errors": "raise"}
    digest = digest_of({"corpus": corpus.identity, "model": here.model, "request": request})[:24]
    batch = {
        "run": options.name,
        "index": f"{PREFIX}batches/{digest}/index.json",
        "request": request,
        "corpus": corpus.about(),
    }
    found = here.opened(_record(options.name))
    if found is None:
        return batch, False
    begun: dict[str, Any] = json.loads(found.read())
    version = begun["request"]["model_version"]
    if begun["corpus"] != batch["corpus"] or begun["request"] != {**request, "model_version": version}:
        raise ValueError(f"the run {options.name} is of another corpus or request; choose another name")
    if version != here.version:
        status(
            f"{options.name} was begun with version {version[:SHOWN]} and stays with it; "
            f"a run of another name takes {here.version[:SHOWN]}"
        )
    return begun, True


def _dry(here: Place, corpus: Corpus, batch: Mapping[str, Any]) -> int:
    if corpus.path:
        print(f"put s3://{corpus.bucket}/{corpus.key}, {corpus.size:,} bytes, unless it is there")
    print(f"put s3://{here.bucket}/{batch['index']}, unless it is there")
    print(f"start {here.machine} with {json.dumps(batch)}")
    return 0


def _indexed(
    here: Place, corpus: Corpus, batch: Mapping[str, Any], most_lines: int | None
) -> tuple[int, int]:
    """Write the index unless it is there, and return how many ranges and lines it has."""
    if found := here.opened(batch["index"]):
        data = found.read()
        status("taking the ranges of an earlier run of this corpus")
    else:
        most_bytes = MAX_BYTES if most_lines else _affordable(here, corpus, batch["request"])
        with transfer("cutting the corpus into ranges", corpus.size) as progress:
            digest = batch["index"].split("/")[-2]
            pieces = corpora.pieces(corpus, digest, most_bytes, most_lines or MAX_LINES, progress)
            data = corpora.encoded(pieces)
        here.put(batch["index"], data)
    entries = json.loads(data)
    lines = sum(one["lines"] for one in entries)
    status(f"{lines:,} lines in {len(entries):,} ranges: s3://{here.bucket}/{batch['index']}")
    return len(entries), lines


def _affordable(here: Place, corpus: Corpus, request: Mapping[str, Any]) -> int:
    """Return how many bytes the function answers in the time that a range may take, as it does a sample."""
    size = milliseconds = 0.0
    for source in corpora.sample(corpus):
        status(f"measuring the function on bytes {source['start']:,} to {source['end']:,}")
        answer = here.call({**request, "source": source, "result": "inline"})
        if not isinstance(answer, dict) or answer.get("statusCode") != 200:  # noqa: PLR2004
            raise RuntimeError(f"the function does not answer a sample of the corpus: {_message(answer)}")
        size += source["end"] - source["start"]
        milliseconds += answer["body"]["predict_ms"]
    rate = size / max(milliseconds / 1000, 1e-3)
    status(
        f"it answers {rate:,.0f} bytes a second; a range is to take {SHARE * here.timeout:.0f} s "
        f"of the {here.timeout} that it has"
    )
    even = corpus.size // (_EACH * here.workers) + 1 if here.workers else corpus.size
    return max(min(int(rate * SHARE * here.timeout), even), 1)


def _message(answer: Any) -> str:
    """Return what an error says, raised or returned."""
    if isinstance(answer, dict) and "errorMessage" in answer:
        try:
            answer = json.loads(answer["errorMessage"])
        except (ValueError, TypeError):
            return str(answer["errorMessage"])
    try:
        return str(answer["body"]["error"]["message"])
    except (KeyError, TypeError):
        return str(answer)


def _started(here: Place, batch: Mapping[str, Any]) -> str:
    """Return the execution that answers a run: the one that is under way, or a new one."""
    asked = json.dumps(batch)
    name = batch["run"]
    for number in range(1, _ATTEMPTS):
        arn = f"{here.machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            known = here.states.describe_execution(executionArn=arn)
        except here.states.exceptions.ExecutionDoesNotExist:
            started = here.states.start_execution(stateMachineArn=here.machine, name=name, input=asked)
            status(f"started {name}")
            return started["executionArn"]
        if known["status"] == "RUNNING":
            status(f"{name} is under way")
            return arn
        name = f"{batch['run']}-again-{number}"
    raise RuntimeError(f"the run {batch['run']} was begun {_ATTEMPTS} times; choose another name")


def _watch(here: Place, execution: str, ranges: int, lines: int) -> str | None:
    """Show how far a run is until it ends, and return why it failed, if it did."""
    arn = None
    with _progress(ranges) as show:
        while True:
            known = here.states.describe_execution(executionArn=execution)
            if arn is None:
                runs = here.states.list_map_runs(executionArn=execution)["mapRuns"]
                arn = runs[0]["mapRunArn"] if runs else None
            if arn:
                counts = here.states.describe_map_run(mapRunArn=arn)["itemCounts"]
                seconds = max((datetime.now(UTC) - known["startDate"]).total_seconds(), 1)
                done = counts["succeeded"]
                told = [
                    f"about {done * lines // ranges:,} lines, {done * lines / ranges / seconds:,.0f} a second"
                ]
                if counts["failed"]:
                    told.append(f"{counts['failed']:,} failed")
                # No range knows yet how long it took: as long as it was cut for, or as long as there was.
                busy = min(seconds * (done + counts["running"]), done * SHARE * here.timeout)
                if cost := _cost(here, done, busy):
                    told.append(cost)
                show(done + counts["failed"], ", ".join(told))
            if known["status"] != "RUNNING":
                break
            time.sleep(_POLL_SECONDS)
    if known["status"] == "SUCCEEDED":
        return None
    return f"{known.get('error', known['status'])}: {known.get('cause', '')}"


@contextmanager
def _progress(ranges: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("ranges, {task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress("answering", *columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=ranges, told="waiting for the first")
        yield lambda done, told: progress.update(task, completed=done, told=told)


def _cost(here: Place, ranges: int, seconds: float) -> str:
    """Say what ranges cost that took so many seconds of the function in all; nothing, on this machine."""
    if not here.region:
        return ""
    try:
        prices = bill.prices(here.region)
    except ValueError:  # of a region whose prices are not known
        return ""
    cost = bill.run_cost(
        gb_seconds=seconds * here.memory / 1024,
        requests=ranges,
        transitions=2 * ranges,
        writes=ranges,
        reads=3 * ranges,
        architecture=here.architecture,
        of=prices,
    )
    return f"about ${cost.total:,.2f}"


def _told(here: Place, head: Mapping[str, Any]) -> int:
    """Print a run's summary; 0 if every range was answered."""
    version = head["model"]["version"][:SHOWN] if head["model"] else "none"
    rows = [
        ["lines answered", f"{head['done']:,}"],
        ["lines failed", f"{head['failed']:,}"],
        ["ranges", f"{head['ranges']:,}"],
        ["ranges failed", f"{head['failed_ranges']:,}"],
        ["ranges retried", f"{head['retried']:,}"],
        ["model version", version],
        ["manifest", manifest_key(head["run"])],
    ]
    if cost := _cost(here, head["ranges"], head["predict_ms"] / 1000):
        rows.append(["cost", cost])
    table({"run": "left", head["run"]: "left"}, rows)
    return 1 if head["failed_ranges"] else 0
