"""``cold-start``: a function's first answer beside a plain script's, and where the time goes."""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_out, positive
from lambda_setup.deployment.cold_start.measure import measure
from lambda_setup.deployment.cold_start.timeline import describe, draw, make_rows
from lambda_setup.errors import CommandError
from lambda_setup.events import read_event
from lambda_setup.output import relative_path, status, table


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "cold-start",
        run,
        help="measure a function's cold start beside a plain script's",
        description="Start a function of this project several times, and have it answer its own event. Each "
        "start is a new process whose files are out of the page cache, with the function's layers, and with "
        "its model in an S3 server on this machine. In turns with it starts the usual recipe: the same "
        "libraries and predictor, but the model by boto3 into a BytesIO, one step after the other. Prints "
        "the milliseconds of each phase, medians of all starts but the first.",
        example="python -m lambda_setup cold-start embedding --out timeline.svg",
    )
    parser.add_argument("name", metavar="NAME", help="function of this project: its folder's name without "
                        "_function")  # fmt: skip
    parser.add_argument("--script", type=Path, metavar="FILE",
                        help="a plain script of yours in place of the recipe: Python with a "
                        "lambda_handler(event, context), which imports and loads at its top; "
                        "MODEL_FOLDER names the model's folder, MODEL_BUCKET and MODEL_PREFIX where it is "
                        "in S3")  # fmt: skip
    parser.add_argument("--repetitions", type=positive, metavar="N", default=5,
                        help="starts of each side (default: %(default)s)")  # fmt: skip
    add_out(parser, "FILE", "file for a picture of both starts, an SVG")
    parser.add_argument("--json", action="store_true", help="print the seconds of every start as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and draw the picture."""
    function = functions.get(options.name)
    event = read_event(function.event)
    if not isinstance(event, dict) or "data" not in event:
        raise CommandError(
            f"{relative_path(function.event)} has no `data`; a cold start needs a direct request to answer"
        )
    if options.script and not options.script.is_file():
        raise CommandError(f"{options.script} does not exist; name a file of Python with a lambda_handler")
    count = options.repetitions
    status(f"starting {function.name} and the other side {count + 1} times each, in turns")
    found = measure(function, event, count, options.script)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        columns = {"ms": "left", found.function.name: "right", found.script.name: "right"}
        table(columns, make_rows(found))
        print("\n".join(describe(found)))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(draw(found), encoding="utf-8")
        status(f"drew {relative_path(options.out)}")
    return 0
