"""``serve`` and ``s3``: the function's URL, and an S3 with the model, on this machine until Ctrl-C."""

import argparse
import contextlib
import signal
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_port, add_target
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.deployment.local import SHIPPED_MODEL, LocalDeployment, S3Server
from lambda_setup.deployment.local.application import ACCESS_KEY, PORT, SECRET_KEY
from lambda_setup.deployment.local.function_url import FunctionUrl
from lambda_setup.errors import CommandError
from lambda_setup.output import relative_path, status


def configure_parser(commands: Any) -> None:
    """Declare the commands."""
    parser = add_command(
        commands,
        "serve",
        serve,
        help="serve the function on this machine by HTTP, until Ctrl-C",
        description="Start the function as `invoke` does, and serve it on 127.0.0.1 as a function URL of "
        "Lambda would: the body of a POST is the request. It asks for no signature, and answers programs on "
        "this machine alone. With DIR it is the function in that folder, whose app.py has a lambda_handler, "
        "in the layers of the model's engine.",
        example="python -m lambda_setup serve --function spacy; "
        """curl http://127.0.0.1:8080 -d '{"data": ["Ada met Charles in London."], "result": "inline"}'""",
    )
    parser.add_argument(
        "code", type=Path, nargs="?", metavar="DIR", help="folder with an app.py (default: the function's)"
    )
    add_target(
        parser,
        stack="",
        local="take the model from what `make s3` serves, and store results there",
        model="folder of the model (default: the function's)",
    )
    add_function(parser)
    add_port(parser, 8080)
    parser = add_command(
        commands,
        "s3",
        serve_s3,
        help="serve an S3 with the model in it, until Ctrl-C",
        description="Serve an S3 on the loopback interface with the model in it, for `sam local invoke` or "
        "any S3 client, until Ctrl-C. The data live in a temporary folder.",
    )
    add_port(parser, PORT)
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="folder of the model (default: the shipped one)")  # fmt: skip


def serve(options: argparse.Namespace) -> int:
    """Serve the function until Ctrl-C."""
    function = functions.get(options.function)
    if options.code and not (options.code / "app.py").is_file():
        raise CommandError(f"{options.code} has no app.py; name a folder whose app.py has a lambda_handler")
    with contextlib.ExitStack() as stack:
        if options.local:
            with readable_errors("local store"):
                deployment = LocalDeployment.connect(function.model.name)
        else:
            deployment = LocalDeployment.from_folder(options.model or function.model)
        deployment = stack.enter_context(deployment)
        server = stack.enter_context(FunctionUrl(deployment.invoke, options.port))
        deployment.start_functions(**({"code": options.code.resolve()} if options.code else {}))
        # Whoever ends it otherwise than by Ctrl-C wants the server and the function to end, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print(server.url, flush=True)
        status("serving; the first request waits for the model, and Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            status("ended")
    return 0


def serve_s3(options: argparse.Namespace) -> int:
    """Serve an S3 until Ctrl-C."""
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
