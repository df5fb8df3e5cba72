"""The operator's commands: ``python -m lambda_setup --help``."""

import argparse
import sys
from pathlib import Path

from lambda_setup import batch
from lambda_setup.commands import cost, invoke, manage, new, playground, publish, results, score
from lambda_setup.commands import s3 as serve
from lambda_setup.deployment.local import SHIPPED_MODEL
from lambda_setup.deployment.local.application import PORT
from lambda_setup.deployment.local.process import termination_unwinds
from lambda_setup.models.bucket import add_place
from lambda_setup.models.channels import CHANNELS
from lambda_setup.models.convert import CONVERTERS, QUANTIZATIONS
from layer.builder.errors import LayerError


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with termination_unwinds():
            code: int = options.command(options)
    except KeyboardInterrupt:
        return 130
    except (LayerError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lambda_setup", description="Run, fill and look at the function and its buckets."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "invoke",
        help="run the function on this machine and send it events",
        description="Start an S3 server and the function under AWS's Runtime Interface Emulator, send the "
        "events to the one warm function in their order, print one response a line, and end what was "
        "started. The model's engine decides which function answers. With --local the function uses the S3 "
        "that `make s3` serves. Exits 0 only if every answer was a 200.",
        epilog="example: python -m lambda_setup invoke --event events/event.json --save .demo",
    )
    command.add_argument("--function", metavar="NAME", default="translation",
                         help="whose event and model are taken unless others are named: the folder's name "
                         "without _function (default: %(default)s)")  # fmt: skip
    command.add_argument("-e", "--event", type=Path, action="append", metavar="FILE",
                         help="a JSON event; may be repeated (default: the function's own)")  # fmt: skip
    command.add_argument("--save", type=Path, metavar="DIR",
                         help="fetch the objects that the answers name into DIR/<s3 key>")  # fmt: skip
    command.add_argument("--record", action="store_true",
                         help="write each answer beside its event, as the tests compare it")  # fmt: skip
    source = command.add_mutually_exclusive_group()
    source.add_argument("--model", type=Path, metavar="DIR",
                        help="the model's folder (default: the function's)")  # fmt: skip
    source.add_argument("--local", action="store_true",
                        help="take the model from what `make s3` serves; leave results there")  # fmt: skip
    command.add_argument("--name", metavar="NAME", help="with --local: the model (default: the function's)")
    command.add_argument("--channel", choices=CHANNELS, help="with --local: its channel (default: dev)")
    command.add_argument("-l", "--log-file", type=Path, metavar="FILE",
                         help="send the function's log there instead of to the standard error")  # fmt: skip
    command.set_defaults(command=invoke.run)

    command = commands.add_parser(
        "s3",
        help="serve an S3 with the model in it, until Ctrl-C",
        description="Serve an S3 on the loopback interface with the model in it, for `sam local invoke` or "
        "any S3 client, until Ctrl-C. The data live in a temporary folder.",
    )
    command.add_argument("--port", type=int, default=PORT, help="(default: %(default)s)")
    command.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                         help="the model's folder (default: the shipped one)")  # fmt: skip
    command.set_defaults(command=serve.run)

    group = commands.add_parser("model", help="put models into S3, and measure them").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = group.add_parser(
        "publish",
        help="upload a model and point a channel to it",
        description="Upload the model in a folder, as a new version with a hash of every part, and point a "
        "channel to it. The same files are the same version, and only what S3 lacks is uploaded. Pickles "
        "that could run code are refused.",
        epilog="example: python -m lambda_setup model publish models/en-es --stack translation",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="a folder with a model.toml")
    add_place(command)
    command.add_argument("--name", metavar="NAME", help="publish it under this name, not model.toml's")
    command.add_argument("--channel", choices=CHANNELS, default="dev", help="(default: %(default)s)")
    command.add_argument("--engine", choices=CONVERTERS, help="convert it, for this engine; needs --name")
    command.add_argument("--quantization", choices=QUANTIZATIONS,
                         help="of the converted weights (default: float32)")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print what would be written")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(command=publish.run)
    manage.add_parsers(group)
    command = group.add_parser(
        "score",
        help="translate the test split through the function, and score it",
        description="Run the function on this machine with a model, translate the test.en.gz in the model's "
        "folder and compare with its test.es.gz: BLEU and chrF as sacreBLEU computes them.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="a folder with a model.toml")
    command.add_argument("--beam", type=int, default=5, help="(default: %(default)s)")
    command.set_defaults(command=score.run)

    group = commands.add_parser("results", help="look at results").add_subparsers(
        required=True, metavar="COMMAND"
    )
    results.add_parser(group)
    batch.add_parser(commands)
    playground.add_parser(commands)
    cost.add_parser(commands)
    new.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
