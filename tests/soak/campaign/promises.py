"""Checks of the promises in docs/promises.md, each an assertion that names its promise."""

import itertools
import json
from typing import Any

from botocore.exceptions import ClientError
from support.operators import Killed
from support.words import FILE

from lambda_inference import Prediction
from lambda_inference.results import decode_result
from soak.campaign.shout import Answer, predict
from soak.campaign.world import CANARY, CHANNELS, RESULTS, Command, Environment, World

STATUSES = {200, 400, 409, 413, 503, 504}
_MARGIN = 1.0
"""Seconds that the machine itself may take beside an invocation."""


def check_channels(world: World) -> None:
    """Hold what stands in S3 now to the promises."""
    world.counts["checks"] += 1
    for channel, pointer in world.look().items():
        if pointer is None:
            continue
        for version in {pointer.version, pointer.previous} - {None}:
            found = world.objects(version)
            what = "points to" if version == pointer.version else "would be rolled back to"
            assert found >= {FILE, "manifest.json"}, (
                f"[whole-channels] {channel} {what} {world.words.get(version)}, of which there is {found}"
            )
        history = pointer.history
        for before, step in itertools.pairwise(history):
            assert step["from"] == before["to"], f"[linear-channels] {channel} jumps: {before} {step}"
        assert history[-1]["to"] == pointer.version, f"[linear-channels] {channel} is not where it moved to"


def check_commands(world: World) -> None:
    """Hold every command that has ended to what it said."""
    world.counts["checks"] += 1
    for channel in CHANNELS:
        pointer = world.pointers[channel]
        moved = [step["by"] for step in pointer.history] if pointer else []
        ended = [one for one in world.commands if one.channel == channel and one.ended is not None]
        for command in ended:
            _check_command(world, command, moved)
        placed = [one for one in ended if one.by in moved]
        for one in placed:
            for other in placed:
                if one.ended < other.begun:
                    order = moved.index(one.by), moved.index(other.by)
                    assert order[0] < order[1], f"[linear-channels] {one.by} ended before {other.by} began"


def _check_command(world: World, command: Command, moved: list[str]) -> None:
    text = f"{command.kind} by {command.by} of {command.channel}"
    assert moved.count(command.by) <= 1, f"[linear-channels] {text} moved twice"
    if command.outcome == "refused":
        assert command.by not in moved, f"[linear-channels] {text} moved, and said: {command.error}"
    if command.outcome == "done" and command.by not in moved:
        result = command.result
        if command.kind == "rollback" or (isinstance(result, dict) and result["moved"]):
            raise AssertionError(f"[linear-channels] {text} did not move, and said that it did")
        version = result["to"] if isinstance(result, dict) else command.version
        if not (isinstance(result, dict) and result["faults"]):
            assert world.had(command.channel, version, command.begun), (
                f"[linear-channels] {text}: the channel never pointed there"
            )
    if command.outcome == "unknown" and not isinstance(command.error, Killed):
        assert not isinstance(command.error, AssertionError | TypeError | KeyError | AttributeError), (
            f"[named-faults] {text} ended with {command.error!r}"
        )


def check_secrecy(world: World, answer: Answer) -> None:
    """No text of a request, and no credential, is in what a function logs; nor in what it raises."""
    world.counts["checks"] += 1
    logged = "\n".join([*answer.lines, str(answer.raised or "")])
    assert CANARY not in logged.lower(), f"[silent-logs] {logged}"
    assert world.s3.secret_key not in logged, "[silent-logs] the log has a credential"


def check_answer(
    world: World,
    environment: Environment,
    event: dict[str, Any],
    answer: Answer,
    seconds: float,
    *,
    faulty: bool,
) -> None:
    """Hold an answer to a direct or HTTP request to the promises."""
    world.counts["checks"] += 1
    check_secrecy(world, answer)
    assert answer.seconds < seconds + _MARGIN, f"[deadline] {answer.seconds:.1f} s of {seconds} s"
    request = json.loads(event["body"]) if "requestContext" in event else event
    texts = "".join(request.get("data", []))
    if "!" in texts:
        assert answer.status in STATUSES | {500}, answer
    else:
        assert answer.status in STATUSES, f"[named-faults] {answer}"
    if "?" in texts and not request.get("warmup") and answer.status not in {503, 409}:
        assert answer.status in {400, 500}, answer
    if answer.status == 200 and not request.get("warmup"):
        check_result(world, request, answer.body)
    if answer.status == 503 and not faulty and world.pointers[environment.channel]:
        raise AssertionError(f"[available] S3 is well, and the answer is {answer.body} {answer.lines}")


def check_fresh(world: World, environment: Environment, body: dict[str, Any]) -> None:
    """See that a function whose channel has moved serves the version that it points to."""
    world.counts["checks"] += 1
    pointer = world.pointers[environment.channel]
    assert pointer is not None
    assert body["model"]["version"] == pointer.version, (
        f"[followed-channels] {environment.channel} serves {world.words[body['model']['version']]}, "
        f"and points to {world.words[pointer.version]}"
    )


def check_result(world: World, request: dict[str, Any], body: dict[str, Any]) -> None:
    """See that a result is whole, of one model and in its order."""
    world.counts["checks"] += 1
    word = world.words[body["model"]["version"]]
    right = [
        predict(index, text, word, marks=request.get("marks", False))
        for index, text in enumerate(request["data"])
    ]
    if "predictions" in body:
        records = [one | {"marks": 0} for one in body["predictions"]]
        right = [Prediction(one.record | {"marks": 0}) for one in right]
        assert records == [one.record for one in right], f"[one-model] {records}"
        return
    check_stored(world, body["s3_key"], right, body)


def check_stored(world: World, key: str, right: list[Any], body: dict[str, Any]) -> None:
    """Hold a stored result to its promises, and remember its bytes."""
    predictions, stated = _read_stored(world, key)
    for name in ("count", "model", *(name for name in stated if name.endswith("_key"))):
        assert body[name] == stated[name], f"[write-once] {name} of {key}: {body[name]}, not {stated[name]}"
    assert [one.record for one in predictions] == [one.record for one in right], f"[one-model] {key}"
    assert [{k: [a.data for a in v] for k, v in one.arrays.items()} for one in predictions] == [
        {k: [a.data for a in v] for k, v in one.arrays.items()} for one in right
    ], f"[whole-results] arrays of {key}"


def check_commits(world: World) -> None:
    """See that every result that is there is whole, also one whose key nobody has got yet: ids are known."""
    world.counts["checks"] += 1
    prefix = f"prediction_outputs/{world.prefix}-"
    for page in world.client.get_paginator("list_objects_v2").paginate(Bucket=RESULTS, Prefix=prefix):
        for entry in page.get("Contents", []):
            if entry["Key"].endswith("/predictions.jsonl.gz") and entry["Key"] not in world.results:
                _read_stored(world, entry["Key"])


def _read_stored(world: World, key: str) -> tuple[list[Prediction], dict[str, Any]]:
    """Read a result with all its arrays, remember its bytes, and return it with its metadata."""
    try:
        found = world.client.get_object(Bucket=RESULTS, Key=key)
        now = {"data": found["Body"].read(), "metadata": found["Metadata"]}
        stated = json.loads(found["Metadata"]["result"])
        arrays = {
            name.removesuffix("_key"): world.client.get_object(Bucket=RESULTS, Key=place)["Body"].read()
            for name, place in stated.items()
            if name.endswith("_key")
        }
        predictions = decode_result(now["data"], arrays)
    except (ClientError, ValueError) as error:
        raise AssertionError(f"[whole-results] {key}: {error}") from None
    assert len(predictions) == stated["count"], f"[whole-results] {key}: {len(predictions)} of {stated}"
    before = world.results.setdefault(key, now)
    assert before == now, f"[write-once] {key}"
    return predictions, stated


def check_results(world: World) -> None:
    """Every result that was ever answered is as it was."""
    world.counts["checks"] += 1
    for key, before in world.results.items():
        found = world.client.get_object(Bucket=RESULTS, Key=key)
        assert before == {"data": found["Body"].read(), "metadata": found["Metadata"]}, f"[write-once] {key}"


def check_messages(world: World, messages: dict[str, dict[str, Any]]) -> None:
    """Every message that did not come back has its result, or warmed up."""
    world.counts["checks"] += 1
    for name, request in messages.items():
        if request.get("warmup"):
            continue
        key = f"prediction_outputs/{name}/predictions.jsonl.gz"
        try:
            metadata = world.client.head_object(Bucket=RESULTS, Key=key)["Metadata"]
        except ClientError as error:
            raise AssertionError(f"[no-lost-item] {name} did not come back: {error}") from None
        body = {"s3_bucket": RESULTS, "s3_key": key, **json.loads(metadata["result"])}
        check_result(world, request, body)
