"""``invoke``: the function on this machine, event by event."""

import argparse
import contextlib
import json
import re
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.deployment.aws import explained
from lambda_setup.deployment.local import MODEL_BUCKET, Application, Stack, served
from lambda_setup.deployment.responses import succeeded
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.output import relative_path, status

_VARYING = {
    "<request id>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<sha256>": r"\b[0-9a-f]{64}\b",
    "-<digest>.npz": r"-[0-9a-f]{16}\.npz",
}


def run(options: argparse.Namespace) -> int:
    """Send the events and print the responses; 0 only if all were answered with 200."""
    asked = functions.named(options.function)
    paths = options.event or [asked.event]
    events = [_read(path) for path in paths]
    with contextlib.ExitStack() as stack:
        log: Any = 2
        if options.log_file:
            options.log_file.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(options.log_file.open("wb"))
        local = stack.enter_context(application(options, asked, log))
        function = stack.enter_context(local.function())
        good = True
        for path, event in zip(paths, events, strict=True):
            waits = "; the first answer waits for the model" if path is paths[0] else ""
            status(f"sending {relative_path(path)}{waits}")
            response = function.invoke(event)
            print(json.dumps(response, ensure_ascii=False), flush=True)
            good = good and succeeded(response)
            if options.record:
                answer = path.with_suffix(".answer.json")
                answer.write_text(json.dumps(recorded(response), indent=2, ensure_ascii=False) + "\n")
                status(f"recorded {relative_path(answer)}")
            if options.save:
                for saved in local.save(response, options.save):
                    status(f"saved {saved}, {saved.stat().st_size:,} bytes")
    return 0 if good else 1


def application(options: argparse.Namespace, asked: functions.Function, log: Any) -> Application:
    """Return S3 with models: the one that ``make s3`` serves, or one of our own with a folder's."""
    if not options.local:
        if options.name or options.channel:
            raise ValueError("--name and --channel are of a model in the local store; give --local, too")
        model = options.model or asked.model
        status(f"starting S3 and putting the model in {relative_path(model)} there")
        return Stack(model, log=log)
    s3, name, channel = served(), options.name or asked.model.name, options.channel or "dev"
    with explained("local store"):
        manifest = ModelBucket(s3.client(), MODEL_BUCKET, s3).manifest(name, channel)
    status(f"taking {channel} of {name} from {s3.endpoint}")
    return Application(s3, name, manifest.engine, channel=channel, log=log)


def recorded(response: Any) -> Any:
    """Return a response as tests compare it: with placeholders for what differs from run to run."""
    match response:
        case dict():
            return {
                name: {"<json>": recorded(json.loads(value))}
                if name == "body" and isinstance(value, str)
                else recorded(value)
                for name, value in response.items()
            }
        case list():
            return [recorded(one) for one in response]
        case float():
            return "<number>"
        case str():
            for placeholder, pattern in _VARYING.items():
                response = re.sub(pattern, placeholder, response)
    return response


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
