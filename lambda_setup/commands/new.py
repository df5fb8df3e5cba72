"""``new``: a function of your own, begun as a copy of one that works.

The copy takes part in every test as it stands; then you change it, file by file.
"""

import argparse
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_dry_run
from lambda_setup.functions import ROOT
from lambda_setup.scaffold import Scaffold, write_files

SOURCES = {"translation": "translation", "text": "spacy", "image": "fastai", "table": "keras"}
"""Starting points: the function for each kind of request."""


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "new",
        run,
        help="begin a function for another model",
        description="Make a function for another model: its folder with code, template and events, its "
        "layer's recipe and a model, all copied from a function that works. It passes `make test` as it is; "
        "docs/forking.md shows how to change it.",
        example="python -m lambda_setup new sentiment --from text && make demo EXAMPLE=sentiment",
    )
    command.add_argument("name", metavar="NAME", help="1 to 16 of a-z, 0-9 and _, the first a letter")
    command.add_argument("--from", dest="source", choices=SOURCES, required=True,
                         help="starting point: sentences to translate, texts, images, or rows of "
                         "numbers")  # fmt: skip
    add_dry_run(command, "print the files to make")


def run(options: argparse.Namespace) -> int:
    """Make a function, or print its files."""
    scaffold = Scaffold(options.name, functions.get(SOURCES[options.source]))
    files = scaffold.plan()
    if options.dry_run:
        print("\n".join(f"would make  {path}" for path in sorted(path.relative_to(ROOT) for path in files)))
        return 0
    write_files(files)
    code, model, recipe = (
        path.relative_to(ROOT) for path in (scaffold.code, scaffold.model, scaffold.recipe)
    )
    print(f"made     {len(files)} files")
    print(f"code     {code}/: requests, how a model is loaded, and predictions")
    print(f"layer    {recipe}/recipe.toml: the packages that the code imports")
    print(f"model    {model}/: its files, named in model.toml")
    print(f"events   {code}/events/: requests and their answers, which are test cases")
    print(f"next     make demo EXAMPLE={options.name}")
    return 0
