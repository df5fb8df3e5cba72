"""``invoke``: the function on this machine, event by event."""

import argparse
import contextlib
import json
import re
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_out, add_target
from lambda_setup.deployment.aws import explained
from lambda_setup.deployment.local import MODEL_BUCKET, Application, Stack, served
from lambda_setup.deployment.responses import succeeded
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.channels import CHANNELS
from lambda_setup.output import relative_path, status

_VARYING = {
    "<request id>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<sha256>": r"\b[0-9a-f]{64}\b",
    "-<digest>.npz": r"-[0-9a-f]{16}\.npz",
}


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "invoke",
        run,
        help="run the function on this machine and send it events",
        description="Start an S3 server and the function under AWS's Runtime Interface Emulator, send the "
        "events to the one warm function in their order, print one response a line, and stop both. The "
        "model's engine decides which function runs. With --local the function uses the S3 that `make s3` "
        "serves. Exits 0 only if every response was a 200.",
        example="python -m lambda_setup invoke --event events/event.json --out .demo",
    )
    add_function(parser, "function of this project whose event and model are the defaults")
    parser.add_argument("-e", "--event", type=Path, action="append", metavar="FILE",
                        help="JSON event; may be repeated (default: the function's own)")  # fmt: skip
    add_out(parser, "DIR", "folder for the objects that the responses name, as DIR/<s3 key>",
            former="--save")  # fmt: skip
    parser.add_argument("--record", action="store_true",
                        help="write each response beside its event, as the tests compare it")  # fmt: skip
    add_target(
        parser,
        stack="",
        local="take the model from what `make s3` serves, and store results there",
        model="folder of the model (default: the function's)",
    )
    parser.add_argument("--name", metavar="NAME", help="with --local: the model (default: the function's)")
    parser.add_argument("--channel", choices=CHANNELS, help="with --local: its channel (default: dev)")
    parser.add_argument("-l", "--log-file", type=Path, metavar="FILE",
                        help="file for the function's log (default: standard error)")  # fmt: skip


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
            if options.out:
                for saved in local.save(response, options.out):
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
