"""``s3``: an S3 server with the model, for other programs to use."""

import argparse
import signal
from pathlib import Path
from typing import Any

from lambda_setup.commands.options import add_command
from lambda_setup.deployment.local import SHIPPED_MODEL, LocalDeployment, S3Server
from lambda_setup.deployment.local.application import ACCESS_KEY, PORT, SECRET_KEY
from lambda_setup.output import relative_path, status


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "s3",
        run,
        help="serve an S3 with the model in it, until Ctrl-C",
        description="Serve an S3 on the loopback interface with the model in it, for `sam local invoke` or "
        "any S3 client, until Ctrl-C. The data live in a temporary folder.",
    )
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help="port to listen on (default: %(default)s)"
    )
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="folder of the model (default: the shipped one)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    status(f"starting S3 and putting the model in {relative_path(options.model)} there")
    server = S3Server(options.port, ACCESS_KEY, SECRET_KEY)
    with LocalDeployment.from_folder(options.model, s3=server) as deployment:
        for name, value in deployment.environment().items():
            print(f"{name}={value}", flush=True)
        status("serving; Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            status("ended")
    return 0
