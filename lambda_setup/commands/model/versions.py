"""``model list``, ``show``, ``verify`` and ``prune``: the versions in a bucket."""

import argparse
import sys
from dataclasses import asdict

import msgspec

from lambda_setup.commands.model.options import add_bucket, add_model_command, open_bucket
from lambda_setup.commands.options import Commands, add_command, add_dry_run, add_json, positive
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.errors import CommandError
from lambda_setup.models.bucket import SHORT_VERSION
from lambda_setup.models.channels import CHANNELS
from lambda_setup.output import print_result, status, table, transfer


def configure_parser(group: Commands) -> None:
    """Declare the commands."""
    parser = add_command(group, "list", list_models, help="list the models in a bucket")
    add_bucket(parser)
    add_json(parser)

    add_model_command(group, "show", show, "show a model's versions and how its channels moved")

    parser = add_model_command(
        group,
        "verify",
        verify,
        "read every byte of a version and compare it with its manifest",
        "Read every byte of a version and compare it with its manifest. Exits 1 if something is wrong.",
    )
    parser.add_argument("version", metavar="VERSION", help="dev, prod, or a version's first characters")

    parser = add_model_command(
        group,
        "prune",
        prune,
        "remove a model's old versions",
        "Remove a model's old versions. What a channel points to, or would be rolled back to, stays. So does "
        "an incomplete version for a day: somebody may be uploading it.",
    )
    parser.add_argument("--keep", type=positive, required=True, metavar="K", help="newest versions to keep")
    add_dry_run(parser, "print the versions to remove")


def list_models(options: argparse.Namespace) -> int:
    """List the models of a bucket, with the versions that their channels point to."""
    with readable_errors("model bucket"):
        bucket = open_bucket(options)
        summaries = [summary for name in bucket.models() if (summary := bucket.summarize(name))["versions"]]
    columns = {"model": "left", "dev": "left", "prod": "left", "versions": "right", "bytes": "right"}
    rows = [
        [one["name"], *(one["channels"].get(channel, "")[:SHORT_VERSION] for channel in CHANNELS),
         f"{one['versions']:,}", f"{one['bytes']:,}"]
        for one in summaries
    ]  # fmt: skip
    return print_result(options.json, summaries, lambda: table(columns, rows))


def show(options: argparse.Namespace) -> int:
    """Show a model's versions, and how its channels have moved."""
    with readable_errors("model bucket"):
        bucket = open_bucket(options)
        versions, pointers = bucket.versions(options.name), bucket.pointers(options.name)
    if not versions:
        raise CommandError(
            f"s3://{bucket.name} has no model {options.name}; "
            f"see: python -m lambda_setup model list {bucket.arguments}"
        )
    result = {
        "versions": [
            {"version": one.version, "bytes": one.bytes,
             "manifest": msgspec.to_builtins(one.manifest) if one.manifest else None}
            for one in versions
        ],
        "channels": {name: asdict(pointer) for name, pointer in pointers.items()},
    }  # fmt: skip

    def text() -> None:
        table(
            {"version": "left", "published, UTC": "left", "engine": "left", "precision": "left",
             "bytes": "right", "channels": "left"},
            [
                [one.version[:SHORT_VERSION], _drop_zone(one.created) or "incomplete",
                 one.manifest.engine if one.manifest else "",
                 one.manifest.precision if one.manifest else "", f"{one.bytes:,}",
                 ", ".join(name for name, pointer in pointers.items() if pointer.version == one.version)]
                for one in versions
            ],
        )  # fmt: skip
        steps = [(step, name) for name, pointer in pointers.items() for step in pointer.history]
        print()
        table(
            {"moved, UTC": "left", "channel": "left", "from": "left", "to": "left", "by": "left"},
            [
                [_drop_zone(step["when"] or ""), name,
                 *((step[end] or "")[:SHORT_VERSION] for end in ("from", "to")),
                 _shorten_identity(step["by"] or "")]
                for step, name in sorted(steps, key=lambda pair: pair[0]["when"] or "", reverse=True)
            ],
        )  # fmt: skip

    return print_result(options.json, result, text)


def verify(options: argparse.Namespace) -> int:
    """Read every byte of a version, and compare it with its manifest; 1 if something is wrong."""
    with readable_errors("model bucket"):
        bucket = open_bucket(options)
        find = bucket.channel_version if options.version in CHANNELS else bucket.version
        version = find(options.name, options.version)
        with transfer("reading", version.bytes) as progress:
            faults = bucket.verify(options.name, version, progress)
    result = {"version": version.version, "faults": faults}
    print_result(
        options.json,
        result,
        lambda: print("\n".join(faults) or f"{version.version[:SHORT_VERSION]} is complete and undamaged"),
    )
    if faults:
        print("publish it again, which uploads what is missing or differs", file=sys.stderr)
    return 1 if faults else 0


def prune(options: argparse.Namespace) -> int:
    """Delete a model's old versions."""
    with readable_errors("model bucket"):
        bucket = open_bucket(options)
        versions = bucket.unused_versions(options.name, options.keep)
        for version in [*versions]:
            verb = "would delete" if options.dry_run else "deleting"
            stream = sys.stderr if options.json else sys.stdout
            print(f"{verb} {version.version[:SHORT_VERSION]}  {version.bytes:,} bytes", file=stream)
            if not options.dry_run and not bucket.delete_unused(options.name, version):
                status(f"{version.version[:SHORT_VERSION]} stays: a channel has moved to it meanwhile")
                versions.remove(version)
    size = sum(version.bytes for version in versions)
    result = {"removed": [version.version for version in versions], "bytes": size}
    return print_result(options.json, result, lambda: print(f"total {size:,} bytes"))


def _drop_zone(moment: str) -> str:
    """Return a moment without its zone, which is always UTC: both tables then fit into a terminal."""
    return moment.removesuffix("+00:00")


def _shorten_identity(arn: str) -> str:
    """Return the user, or the role and its session, that an ARN names; --json has the whole."""
    return arn.rpartition(":")[2].partition("/")[2] or arn
