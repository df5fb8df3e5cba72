"""A corpus, answered shard by shard as the state machine of ``statemachines`` does it."""

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lambda_setup.batch import corpus as corpora
from lambda_setup.batch.fetch import fetch
from lambda_setup.batch.store import ResultBucket
from soak.campaign import promises
from soak.campaign.world import RESULTS, Environment, World

_ATTEMPTS = 3
SECONDS = 20.0


def run_batch(
    world: World,
    environment: Environment,
    lines: list[str],
    most: int,
    failing: Callable[[], AbstractContextManager[None]],
    errors: frozenset[str],
) -> None:
    """Answer a corpus whose attempts may end in some errors, and hold what is fetched to the promises."""
    name = f"{world.prefix}-b{world.now}"
    text = "".join(f"{line}\n" for line in lines)
    file = world.folder / f"{name}.txt"
    file.write_text(text)
    corpus = corpora.find(world.client, RESULTS, str(file), "text")
    corpora.upload(corpus)
    version = world.pointers[environment.channel].version
    request = {"model_version": version, "errors": "raise"}
    shards = list(corpora.cut(corpus, name, 1 << 20, most, lambda _: None))
    bucket = ResultBucket(world.client, RESULTS)
    index = f"inputs/batches/{name}/index.json"
    bucket.create(index, corpora.encode_index(iter(shards)))
    for shard in shards:
        _answer(world, environment, {**request, "id": shard["id"], "source": shard["source"]}, failing)
    batch = {"run": name, "index": index, "request": request, "corpus": {}}
    for attempt in range(_ATTEMPTS):
        answer = environment.function.invoke({"manifest": batch}, f"{name}-manifest-{attempt}", SECONDS)
        promises.check_secrecy(world, answer)
        if answer.raised is None:
            break
    assert answer.raised is None, f"[no-lost-item] no manifest: {answer}"
    world.counts["checks"] += 1
    counts = answer.body
    assert counts["done"] + counts["failed"] == len(lines), f"[no-lost-item] {counts} of {len(lines)} lines"
    out = world.folder / f"{name}.jsonl"
    fetch(bucket, name, out)
    records = [json.loads(line) for line in io.BytesIO(out.read_bytes())]
    assert [one["index"] for one in records] == list(range(len(lines))), "[no-lost-item] lines are missing"
    word = world.words[version]
    for line, record in zip(lines, records, strict=True):
        if set("?!") & set(line):
            assert "error" in record, f"[no-lost-item] {record}"
        elif "error" not in record:
            assert record["text"] == f"{line.upper()} {word}", f"[one-model] {record}"
        else:
            assert record["error"]["code"] in errors, f"[no-lost-item] {record}"
    Path(out).unlink()


def _answer(world: World, environment: Environment, event: dict[str, Any], failing: Any) -> None:
    """Send a shard as often as the state machine does, and keep the error of the last attempt as it does."""
    for attempt in range(_ATTEMPTS):
        with failing():
            answer = environment.function.invoke(
                {"request": event, "attempt": attempt}, f"{event['id']}-{attempt}", SECONDS
            )
        promises.check_secrecy(world, answer)
        if answer.raised is None:
            return
    error = {"Error": type(answer.raised).__name__, "Cause": json.dumps({"errorMessage": str(answer.raised)})}
    key = f"prediction_outputs/{event['id']}/error.json"
    world.client.put_object(Bucket=RESULTS, Key=key, Body=json.dumps(error).encode())
