"""``invoke``: the function on this machine or a deployed one, event by event."""

import argparse
import contextlib
import json
import re
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_out, add_target
from lambda_setup.deployment.aws import AwsDeployment, open_session, readable_errors
from lambda_setup.deployment.local import LocalDeployment
from lambda_setup.deployment.responses import is_success, save_objects
from lambda_setup.errors import CommandError
from lambda_setup.events import read_event
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
        help="run the function on this machine, or a deployed one, and send it events",
        description="Start an S3 server and the function under AWS's Runtime Interface Emulator, send the "
        "events to the one warm function in their order, print one response a line, and stop both. The "
        "model's engine decides which function runs. With --local the function uses the S3 that `make s3` "
        "serves. With --stack the events go to a deployed function: each once, and the answer is waited for "
        "as long as Lambda may take. Exits 0 only if every response was a 200.",
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
        stack="deployed stack whose function to send the events to",
        local="take the model from what `make s3` serves, and store results there",
        model="folder of the model (default: the function's)",
    )
    parser.add_argument("--name", metavar="NAME", help="with --local: the model (default: the function's)")
    parser.add_argument("--channel", choices=CHANNELS, help="with --local: its channel (default: dev)")
    parser.add_argument("-l", "--log-file", type=Path, metavar="FILE",
                        help="file for the function's log (default: standard error)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Send the events and print the responses; 0 only if all were answered with 200."""
    function = functions.get(options.function)
    paths = options.event or [function.event]
    events = [read_event(path) for path in paths]
    with contextlib.ExitStack() as stack:
        log: Any = 2
        if options.log_file:
            options.log_file.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(options.log_file.open("wb"))
        deployment: LocalDeployment | AwsDeployment
        if options.stack:
            deployment = _open_stack(options)
        else:
            deployment = stack.enter_context(_open_deployment(options, function, log))
            deployment.start_functions()
        ok = True
        for path, event in zip(paths, events, strict=True):
            first = path is paths[0] and not options.stack
            waits = "; the first response waits for the model" if first else ""
            status(f"sending {relative_path(path)}{waits}")
            response = deployment.invoke(event)
            print(json.dumps(response, ensure_ascii=False), flush=True)
            ok = ok and is_success(response)
            if options.record:
                record = path.with_suffix(".answer.json")
                record.write_text(json.dumps(redact(response), indent=2, ensure_ascii=False) + "\n")
                status(f"recorded {relative_path(record)}")
            if options.out:
                for file in save_objects(deployment.client, response, options.out):
                    status(f"saved {file}, {file.stat().st_size:,} bytes")
    return 0 if ok else 1


def _open_stack(options: argparse.Namespace) -> AwsDeployment:
    if options.name or options.channel or options.log_file:
        raise CommandError("--name, --channel and --log-file are for this machine; leave them out")
    return AwsDeployment(open_session(options.region, options.profile), options.stack)


def _open_deployment(options: argparse.Namespace, function: functions.Function, log: Any) -> LocalDeployment:
    if options.local:
        name, channel = options.name or function.model.name, options.channel or "dev"
        with readable_errors("local store"):
            deployment = LocalDeployment.connect(name, channel, log=log)
        status(f"taking {channel} of {name} from {deployment.s3.endpoint}")
        return deployment
    if options.name or options.channel:
        raise CommandError("--name and --channel are of a model in the local store; give --local, too")
    model = options.model or function.model
    status(f"starting S3 and putting the model in {relative_path(model)} there")
    return LocalDeployment.from_folder(model, log=log)


def redact(response: Any) -> Any:
    """Return a response as tests compare it: with placeholders for parts that differ from run to run."""
    match response:
        case dict():
            return {
                name: {"<json>": redact(json.loads(value))}
                if name == "body" and isinstance(value, str)
                else redact(value)
                for name, value in response.items()
            }
        case list():
            return [redact(item) for item in response]
        case float():
            return "<number>"
        case str():
            for placeholder, pattern in _VARYING.items():
                response = re.sub(pattern, placeholder, response)
    return response
