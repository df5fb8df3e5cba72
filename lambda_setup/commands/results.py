"""``results``: predictions as people look at them."""

import argparse
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_group, add_target
from lambda_setup.deployment.aws import AwsDeployment, open_session, readable_errors
from lambda_setup.deployment.local.application import RESULT_BUCKET, connect_local_s3
from lambda_setup.errors import CommandError
from lambda_setup.events import read_event
from lambda_setup.viewer.page import build_page, page_items
from lambda_setup.viewer.result import (
    PREDICTIONS,
    Result,
    find_results,
    load_saved,
    load_stored,
    result_key,
)
from lambda_setup.viewer.show import load_show
from lambda_setup.viewer.terminal import print_result
from layer.builder.tree import write_atomic


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    group = add_group(commands, "results", "show results")
    command = add_command(
        group,
        "show",
        run,
        help="show results as tables and pictures, or as a page for a browser",
        description="Show a result as a table, and one item of it as a PNG, as the function's show.py draws "
        "them, arrays of any kind included. With --html or --open it becomes one page for a "
        "browser, with every item and every map, that needs no network and no other file. A result is a "
        "folder that `invoke --out DIR` saved, or, with --stack or --local, an object that a function stored "
        "in S3; then only the page is written.",
        example="python -m lambda_setup results show .demo; python -m lambda_setup results show ID "
        "--stack translation --open",
    )
    command.add_argument("what", metavar="KEY|FILE",
                         help="a predictions.jsonl.gz, a folder to search for them, or JSON lines; with "
                         "--stack or --local the s3_key of an answer, or its request's id")  # fmt: skip
    add_target(command, stack="deployed stack whose result bucket has the result",
               local="the result is in the S3 that `make s3` serves")  # fmt: skip
    command.add_argument("--html", type=Path, metavar="FILE", help="page to write instead")
    command.add_argument("--open", action="store_true",
                         help="open the page; without --html it is written beside the result, or into the "
                         "current folder if the result is in S3")  # fmt: skip
    command.add_argument("--item", type=int, default=0, metavar="N",
                         help="index of the item to draw (default: %(default)s)")  # fmt: skip
    add_function(command, "function of this project that made the result")
    command.add_argument("-e", "--event", type=Path, metavar="FILE",
                         help="request of the result (default: the function's event)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Show a result in S3, or every result in a folder."""
    function = functions.get(options.function)
    show = load_show(function)
    if options.html or options.open:
        result, *others = _load_results(options)
        if others:
            raise CommandError(f"{1 + len(others)} results below {options.what}; name one {PREDICTIONS}")
        _write_page(result, show, options.html, options.open)
        return 0
    event = read_event(options.event or function.event)
    for result in _load_results(options):
        print_result(result, options.item, show, event)
    return 0


def _load_results(options: argparse.Namespace) -> Iterator[Result]:
    if options.stack or options.local:
        with readable_errors("result bucket"):
            if options.local:
                client, bucket = connect_local_s3().client(), RESULT_BUCKET
            else:
                deployment = AwsDeployment(open_session(options.region, options.profile), options.stack)
                client, bucket = deployment.client, deployment.result_bucket
            yield load_stored(client, bucket, result_key(options.what))
    else:
        yield from map(load_saved, find_results(Path(options.what)))


def _write_page(result: Result, show: ModuleType, path: Path | None, opens: bool) -> None:
    """Write a result as a page of its own, and open it in the browser if that is asked for."""
    stem = Path(result.location).name.partition(".")[0] if result.folder else result.name
    path = path or (result.folder or Path()) / f"{stem}.html"
    with readable_errors("result bucket"):
        items = page_items(result.records, result.arrays(), show)
    write_atomic(path, build_page(result.name, items, result.facts))
    print(f"page         {path}")
    if opens:
        webbrowser.open(path.resolve().as_uri())
