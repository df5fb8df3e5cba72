"""``playground``: a form in the browser, and a server on this machine that asks the function for it."""

import argparse
import contextlib
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_port, add_target
from lambda_setup.deployment import Deployment, aws
from lambda_setup.deployment.local import LocalDeployment
from lambda_setup.output import status
from lambda_setup.viewer.playground import Playground
from lambda_setup.viewer.show import build_form, load_show


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "playground",
        run,
        help="try the function from a page in the browser",
        description="Serve a page with a form on 127.0.0.1 until Ctrl-C. It sends requests to the function "
        "and shows the answers as `results show --html` does. The function runs on this machine, as with "
        "`invoke`; with --stack it is a deployed one, which the server calls with your AWS credentials. They "
        "never reach the page. The page works only at the address that is printed.",
        example="python -m lambda_setup playground --stack translation --open",
    )
    add_target(
        command,
        stack="deployed stack whose function answers",
        local="take the model from what `make s3` serves, and store results there",
        model="folder of the model (default: the function's)",
    )
    add_function(command)
    add_port(command, 0)
    command.add_argument("--open", action="store_true", help="open the page in the browser")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    function = functions.get(options.function)
    with contextlib.ExitStack() as stack:
        deployment = _open_deployment(options, function, stack)
        server = stack.enter_context(
            Playground(deployment, function.name, build_form(function), load_show(function), options.port)
        )
        try:
            print(server.url, flush=True)
            status("serving the playground; end it with Ctrl-C")
            if options.open:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="playground-"))
                _open_browser(server.url, Path(folder))
            server.serve_forever()
        except KeyboardInterrupt:
            status("the playground has ended")
    return 0


def _open_deployment(
    options: argparse.Namespace, function: functions.Function, stack: contextlib.ExitStack
) -> Deployment:
    if options.stack:
        return aws.AwsDeployment(aws.open_session(options.region, options.profile), options.stack)
    if options.local:
        with aws.readable_errors("local store"):
            local = LocalDeployment.connect(function.model.name)
    else:
        local = LocalDeployment.from_folder(options.model or function.model)
    stack.enter_context(local).start_functions()
    return local


def _open_browser(url: str, folder: Path) -> None:
    """Open the address by way of a file: every user of this machine can read command lines."""
    page = folder / "open.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}">', encoding="utf-8")
    webbrowser.open(page.as_uri())
