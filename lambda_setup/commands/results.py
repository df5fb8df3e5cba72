"""``results``: predictions as people look at them."""

import argparse
import contextlib
import functools
import gzip
import importlib.util
import io
import json
import re
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lambda_inference._requests import ID_PATTERN
from lambda_inference._results import PREFIX
from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_function, add_group, add_target
from lambda_setup.deployment.aws import AwsDeployment, open_session, readable_errors
from lambda_setup.deployment.local import RESULT_BUCKET, connect_local_s3
from lambda_setup.models.bucket import SHORT_VERSION
from lambda_setup.viewer import failed

PREDICTIONS = "predictions.jsonl.gz"

if TYPE_CHECKING:
    import numpy as np
    from mypy_boto3_s3 import S3Client
    from rich.table import Table

    Maps = dict[int, list[np.ndarray[Any, Any]]]


@dataclass(frozen=True)
class Result:
    """A result, wherever it lies.

    Attributes:
        name: what it is called.
        place: where its predictions are.
        records: its predictions, or errors in their places, in order.
        arrays: of its attention maps, where they are, and what opens them.
        about: what is known of it.
        folder: that it lies in, if it lies on this machine.

    """

    name: str
    place: str
    records: list[dict[str, Any]]
    arrays: Mapping[str, Callable[[], IO[bytes]]]
    about: list[str]
    folder: Path | None = None

    def maps(self) -> "Maps":
        """Return its attention maps, see ``attention``."""
        found: Maps = {}
        for opened in self.arrays.values():
            with opened() as file:
                found |= attention(file)
        return found


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    group = add_group(commands, "results", "show results")
    command = add_command(
        group,
        "show",
        run,
        help="show results as tables and pictures, or as a page for a browser",
        description="Show a result as a table, and one item of it as a PNG: a translation's attention maps, "
        "or whatever the function's own show.py draws. With --html or --open it becomes one page for a "
        "browser, with every item and every map, that needs no network and no other file. A result is what "
        "`invoke --out DIR` saved, or, with --stack or --local, what a function stored in S3; nothing is "
        "written then but the page.",
        example="python -m lambda_setup results show .demo; python -m lambda_setup results show ID "
        "--stack translation --open",
    )
    command.add_argument("what", metavar="KEY|FILE",
                         help="a predictions.jsonl.gz, a folder to look for them in, or JSON lines; with "
                         "--stack or --local the s3_key of an answer, or its request's id")  # fmt: skip
    add_target(command, stack="deployed stack whose result bucket has it",
               local="it is in the S3 that `make s3` serves")  # fmt: skip
    command.add_argument("--html", type=Path, metavar="FILE", help="write it as one page instead")
    command.add_argument("--open", action="store_true",
                         help="open the page; without --html it is written beside the result, or, of one in "
                         "S3, into the current folder")  # fmt: skip
    command.add_argument("--item", type=int, default=0, metavar="N",
                         help="whose picture to draw (default: %(default)s)")  # fmt: skip
    add_function(command, "function of this project that answered")
    command.add_argument("-e", "--event", type=Path, metavar="FILE",
                         help="what it was asked, for the picture (default: the function's own)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Show a result in S3, or every result in a folder."""
    if options.stack or options.local:
        with readable_errors("result bucket"):
            client, bucket = _bucket(options)
            found: Iterator[Result] = iter([stored(client, bucket, key_of(options.what))])
            return _shown(found, options)
    paths = _paths(Path(options.what))
    if (options.html or options.open) and len(paths) > 1:
        raise ValueError(f"there are {len(paths)} results below {options.what}; name one {PREDICTIONS}")
    return _shown(map(saved, paths), options)


def _shown(results: Iterator[Result], options: argparse.Namespace) -> int:
    if options.html or options.open:
        _page(next(results), options)
        return 0
    function = functions.get(options.function)
    event = json.loads((options.event or function.event).read_text(encoding="utf-8"))
    for result in results:
        show(result, options.item, own_viewer(function), event)
    return 0


def _paths(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path} on this machine; for a result in S3 give --stack NAME, or --local, too"
        )
    found = [path] if path.is_file() else sorted(path.rglob(PREDICTIONS))
    if not found:
        raise FileNotFoundError(
            f"there is no {PREDICTIONS} below {path}; save one with: python -m lambda_setup "
            f"invoke --event events/event.json --out {path}"
        )
    return found


def _bucket(options: argparse.Namespace) -> tuple["S3Client", str]:
    """Return the result bucket that the command line names, and a client of the S3 that has it."""
    if options.local:
        return connect_local_s3().client(), RESULT_BUCKET
    deployment = AwsDeployment(open_session(options.region, options.profile), options.stack)
    return deployment.client, deployment.result_bucket


def key_of(what: str) -> str:
    """Return the key of a result's predictions: of the key itself, s3://BUCKET/KEY, or a request's id."""
    what = re.sub(r"\As3://[^/]*/", "", what)
    if re.search(ID_PATTERN, what):
        what = f"{PREFIX}/{what}"
    return what if what.endswith(".gz") else f"{what.rstrip('/')}/{PREDICTIONS}"


def saved(path: Path) -> Result:
    """Return a result of this machine: a ``predictions.jsonl.gz`` and the arrays beside it, or JSON lines."""
    folder, whole = path.parent, path.name == PREDICTIONS
    found = sorted(folder.glob("attention-*.npz")) if whole else []
    arrays = {str(one): functools.partial(_opened, one) for one in found}
    name = folder.resolve().name if whole else path.name
    return Result(name, str(path), list(read(path)), arrays, [], folder)


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def stored(client: "S3Client", bucket: str, key: str) -> Result:
    """Return a result in S3, with the arrays that its commit names.

    Raises:
        FileNotFoundError: it is not there.

    """
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        raise FileNotFoundError(
            f"there is no s3://{bucket}/{key}; its key is the s3_key of the function's answer, and the "
            "request's id names it too"
        ) from None
    body = json.loads(answer["Metadata"].get("result", "{}"))
    records = [json.loads(line) for line in gzip.decompress(answer["Body"].read()).split(b"\n") if line]
    arrays: dict[str, Callable[[], IO[bytes]]] = {}
    if name := body.get("attention_key"):
        arrays[f"s3://{bucket}/{name}"] = lambda: io.BytesIO(
            client.get_object(Bucket=bucket, Key=name)["Body"].read()
        )
    return Result(Path(key).parent.name or key, f"s3://{bucket}/{key}", records, arrays, facts(body))


def facts(body: Mapping[str, Any]) -> list[str]:
    """Return what an answer says of itself, for people: model, engine, times."""
    found = []
    if "model" in body:
        found.append(f"{body['model']['name']} {body['model']['version'][:SHORT_VERSION]}")
    if "engine" in body:
        found.append(str(body["engine"]))
    times = body.get("timings_ms", {})
    found += [f"{name} {milliseconds / 1000:.2f} s" for name, milliseconds in times.items()]
    return found


def _page(result: Result, options: argparse.Namespace) -> None:
    """Write a result as a page of its own, whole or not at all, and open it if that is asked for."""
    from lambda_setup import viewer

    stem = Path(result.place).name.partition(".")[0] if result.folder else result.name
    target = options.html or (result.folder or Path()) / f"{stem}.html"
    text = viewer.page(result.name, result.records, result.maps(), result.about)
    partial = target.with_name(f".{target.name}.partial")
    with contextlib.ExitStack() as failing:
        failing.callback(partial.unlink, missing_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    print(f"page         {target}")
    if options.open:
        webbrowser.open(target.resolve().as_uri())


def show(result: Result, item: int, viewer: Any = None, event: Any = None) -> None:
    """Print a result as a table, and draw one item beside it.

    Args:
        result: one in S3 gets no picture.
        item: which one to draw.
        viewer: may have ``table(records)`` and ``picture(record, item, path)``.
        event: what was asked.

    """
    from rich.console import Console
    from rich.text import Text

    records, console = result.records, Console()
    failures = [record for record in records if failed(record)]
    if hasattr(viewer, "table") or not _translated(records):
        table = viewer.table if hasattr(viewer, "table") else fields
        console.print(table([record for record in records if not failed(record)]))
        for record in failures:
            console.print(Text(f"item {record.get('index')} failed: {_fault(record)}"), soft_wrap=True)
    else:
        console.print(translations(records))
    if failures:
        console.print(f"failed       {len(failures)} of {len(records)} items")
    console.print(f"predictions  {result.place}", soft_wrap=True)
    for place in result.arrays:
        console.print(f"attention    {place}", soft_wrap=True)
    if result.folder is None:
        console.print("page         give --html FILE or --open", soft_wrap=True)
    elif not 0 <= item < len(records):
        console.print(f"there is no item {item}; choose another with --item")
    elif failed(records[item]):
        console.print(f"item {item} has failed; choose another with --item")
    else:
        _draw(result, result.folder, item, viewer, event, console)


def _draw(result: Result, folder: Path, item: int, viewer: Any, event: Any, console: Any) -> None:
    record = result.records[item]
    if hasattr(viewer, "picture"):
        picture = folder / f"item-{item}.png"
        asked = event.get("data") if isinstance(event, dict) else None
        same = isinstance(asked, list) and len(asked) == len(result.records)
        viewer.picture(record, asked[item] if same and asked else None, picture)
        console.print(f"picture      {picture}", soft_wrap=True)
    if not result.arrays:
        return
    maps = result.maps().get(item)
    if maps is None:
        console.print(f"item {item} has no attention; choose another with --item")
        return
    picture = folder / f"attention-{item}.png"
    draw(record, maps, picture)
    console.print(f"picture      {picture}", soft_wrap=True)


def own_viewer(function: functions.Function) -> Any:
    """Return the module by which a function's answers are shown, if it has one."""
    path = function.code / "show.py"
    spec = importlib.util.spec_from_file_location(f"show_{function.name}", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _translated(records: list[dict[str, Any]]) -> bool:
    return all("hypotheses" in record or failed(record) for record in records)


def _fault(record: dict[str, Any]) -> str:
    return f"{record['error']['code']}: {record['error']['message']}"


def translations(records: list[dict[str, Any]]) -> "Table":
    """Return translations as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table("#", "source", "translations, the best first", "score")
    for record in records:
        first = (str(record["index"]), Text(record.get("source", "")))
        if failed(record):
            table.add_row(*first, Text(_fault(record), style="red"), "failed")
        for one in record.get("hypotheses", ()):
            table.add_row(*first, Text(one["text"]), f"{one['score']:.3f}")
            first = ("", Text(""))
        table.add_section()
    return table


def fields(records: list[dict[str, Any]]) -> "Table":
    """Return any records as a table, a column a field."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for record in records for name in record))
    table = Table(*names)
    for record in records:
        values = (record.get(name, "") for name in names)
        table.add_row(
            *(Text(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) for one in values)
        )
    return table


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a ``predictions.jsonl.gz``, or of JSON lines as they are, in order."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        yield from map(json.loads, lines)


def attention(npz: Path | IO[bytes]) -> "Maps":
    """Return the attention maps of an npz, by item, a map (target by source) a hypothesis."""
    import numpy as np

    with np.load(npz, allow_pickle=False) as file:
        index, values = file["index"], file["values"]  # each look-up reads the whole array
    maps: Maps = {}
    start = 0
    for item, _, rows, columns in index.tolist():
        end = start + rows * columns
        maps.setdefault(item, []).append(values[start:end].reshape(rows, columns))
        start = end
    return maps


def draw(record: dict[str, Any], maps: list["np.ndarray[Any, Any]"], path: Path) -> None:
    """Draw a picture of attention maps, a panel a hypothesis, target tokens down and source tokens across."""
    from matplotlib.figure import Figure

    source = record["source_tokens"]
    longest = max(len(one["tokens"]) for one in record["hypotheses"])
    width = max(3.2, 0.28 * len(source) + 1.4)
    figure = Figure(figsize=(width * len(maps), max(2.6, 0.26 * longest + 1.6)), layout="constrained")
    for panel, hypothesis, weights in zip(
        figure.subplots(1, len(maps), squeeze=False)[0], record["hypotheses"], maps, strict=True
    ):
        image = panel.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        panel.set_xticks(range(len(source)), [_visible(token) for token in source], rotation=90)
        panel.set_yticks(
            range(len(hypothesis["tokens"])), [_visible(token) for token in hypothesis["tokens"]]
        )
        panel.set_xlabel("source tokens")
        panel.set_title(f"score {hypothesis['score']:.3f}", fontsize=10)
        panel.tick_params(labelsize=8)
    figure.axes[0].set_ylabel("target tokens")
    figure.colorbar(image, ax=figure.axes, label="attention")
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=120)
    partial.rename(path)


def _visible(token: str) -> str:
    """Return a token without what matplotlib would read as markup."""
    return token.replace("$", r"\$")
