"""``model list``, ``show``, ``verify``, ``rollback`` and ``prune``: what is in a model bucket."""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from lambda_setup import channels
from lambda_setup.aws import explained, identity, stack_output
from lambda_setup.models import Published

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHOWN = 12
"""Characters of a version in a table; commands take them too."""


@dataclass(frozen=True)
class Version:
    """A version in the bucket; without its manifest it is not whole."""

    version: str
    manifest: Published | None
    keys: tuple[str, ...]
    bytes: int

    @property
    def created(self) -> str:
        """When it was published."""
        return self.manifest.created if self.manifest else ""


class ModelBucket:
    """The models of a bucket, as the operator sees them."""

    def __init__(self, client: "S3Client", name: str) -> None:
        self.client = client
        self.name = name

    def models(self) -> list[str]:
        """Return the names of all models."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix="models/", Delimiter="/"
        )
        return sorted(one["Prefix"].split("/")[1] for page in pages for one in page.get("CommonPrefixes", []))

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the newest first."""
        prefix = f"models/{model}/versions/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        sizes: dict[str, dict[str, int]] = {}
        for page in pages:
            for one in page.get("Contents", []):
                sizes.setdefault(one["Key"].split("/")[3], {})[one["Key"]] = one["Size"]
        found = [
            Version(
                version,
                self._manifest(f"{prefix}{version}/manifest.json")
                if f"{prefix}{version}/manifest.json" in of
                else None,
                tuple(sorted(of)),
                sum(of.values()),
            )
            for version, of in sizes.items()
        ]
        return sorted(found, key=lambda one: (one.created, one.version), reverse=True)

    def version(self, model: str, start: str) -> Version:
        """Return the version that begins with some characters.

        Raises:
            RuntimeError: there is none, or more than one.

        """
        found = [one for one in self.versions(model) if one.version.startswith(start)]
        if len(found) != 1:
            raise RuntimeError(
                f"{len(found) or 'no'} versions of {model} in s3://{self.name} begin with {start}; "
                f"see: python -m lambda_setup model show {model}"
            )
        return found[0]

    def pointers(self, model: str) -> dict[str, channels.Pointer]:
        """Return what each channel of a model points to."""
        found = {name: channels.read(self.client, self.name, model, name) for name in channels.CHANNELS}
        return {name: pointer for name, pointer in found.items() if pointer}

    def verify(self, model: str, version: Version, progress: Callable[[int], None]) -> list[str]:
        """Read every byte of a version, and return what is wrong with it."""
        if version.manifest is None:
            return ["manifest.json is missing: it was not published to its end"]
        if version.manifest.version != version.version:
            return ["manifest.json is not what the version's name says"]
        faults = []
        for file in version.manifest.files:
            key = f"models/{model}/versions/{version.version}/{file.name}"
            if key not in version.keys:
                faults.append(f"{file.name} is missing")
                continue
            body = self.client.get_object(Bucket=self.name, Key=key)["Body"]
            size = 0
            for number, expected in enumerate(file.parts):
                part = body.read(file.part_size)
                size += len(part)
                progress(len(part))
                if hashlib.sha256(part).hexdigest() != expected:
                    faults.append(f"{file.name} is damaged in the part at byte {number * file.part_size:,}")
            size += len(body.read())
            if size != file.size:
                faults.append(f"{file.name} has {size:,} bytes, not {file.size:,}")
        return faults

    def delete(self, version: Version) -> None:
        """Remove a version, its manifest first: what a failure leaves is no version, and goes next time."""
        for key in sorted(version.keys, key=lambda one: not one.endswith("/manifest.json")):
            self.client.delete_object(Bucket=self.name, Key=key)

    def _manifest(self, key: str) -> Published | None:
        try:
            return msgspec.json.decode(
                self.client.get_object(Bucket=self.name, Key=key)["Body"].read(), type=Published
            )
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def opened(options: argparse.Namespace) -> ModelBucket:
    """Return the model bucket that the command line names."""
    import boto3

    return ModelBucket(boto3.client("s3"), options.bucket or stack_output(options.stack, "ModelBucketName"))


def _told(options: argparse.Namespace, what: Any, table: Callable[[], None]) -> int:
    if options.json:
        print(json.dumps(what, indent=2))
    else:
        table()
    return 0


def _table(columns: dict[str, Any], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for column, justify in zip(table.columns, columns.values(), strict=True):
        column.justify = justify
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _summary(store: ModelBucket, name: str) -> dict[str, Any]:
    versions = store.versions(name)
    return {
        "name": name,
        "channels": {channel: one.version for channel, one in store.pointers(name).items()},
        "versions": len(versions),
        "bytes": sum(one.bytes for one in versions),
    }


def list_models(options: argparse.Namespace) -> int:
    """Show which models there are, and what their channels point to."""
    with explained("model bucket"):
        store = opened(options)
        found = [one for name in store.models() if (one := _summary(store, name))["versions"]]

    def table() -> None:
        _table(
            {"model": "left", "dev": "left", "prod": "left", "versions": "right", "bytes": "right"},
            [
                [one["name"], *(one["channels"].get(channel, "")[:SHOWN] for channel in channels.CHANNELS),
                 f"{one['versions']:,}", f"{one['bytes']:,}"]
                for one in found
            ],
        )  # fmt: skip

    return _told(options, found, table)


def show(options: argparse.Namespace) -> int:
    """Show a model's versions, and how its channels have moved."""
    with explained("model bucket"):
        store = opened(options)
        versions, pointers = store.versions(options.name), store.pointers(options.name)
    if not versions:
        raise RuntimeError(f"there is no model {options.name} in s3://{store.name}; see: model list")
    what = {
        "versions": [
            {"version": one.version, "bytes": one.bytes,
             "manifest": msgspec.to_builtins(one.manifest) if one.manifest else None}
            for one in versions
        ],
        "channels": {name: asdict(pointer) for name, pointer in pointers.items()},
    }  # fmt: skip

    def table() -> None:
        _table(
            {"version": "left", "published": "left", "engine": "left", "precision": "left", "bytes": "right",
             "channels": "left"},
            [
                [one.version[:SHOWN], one.created or "not whole", one.manifest.engine if one.manifest else "",
                 one.manifest.precision if one.manifest else "", f"{one.bytes:,}",
                 ", ".join(name for name, pointer in pointers.items() if pointer.version == one.version)]
                for one in versions
            ],
        )  # fmt: skip
        moves = [(step, name) for name, pointer in pointers.items() for step in pointer.history]
        print()
        _table(
            {"moved": "left", "channel": "left", "from": "left", "to": "left", "by": "left"},
            [
                [
                    step["when"] or "",
                    name,
                    *((step[end] or "")[:SHOWN] for end in ("from", "to")),
                    step["by"] or "",
                ]
                for step, name in sorted(moves, key=lambda move: move[0]["when"] or "", reverse=True)
            ],
        )

    return _told(options, what, table)


def verify(options: argparse.Namespace) -> int:
    """Read every byte of a version, and compare it with its manifest."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    with explained("model bucket"):
        store = opened(options)
        start = options.version
        if start in channels.CHANNELS:
            pointer = channels.read(store.client, store.name, options.name, start)
            if pointer is None:
                raise RuntimeError(f"{options.name} has no channel {start}; see: model show {options.name}")
            start = pointer.version
        version = store.version(options.name, start)
        bars = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress("{task.description}", *bars, console=Console(stderr=True)) as progress:
            task = progress.add_task("reading", total=version.bytes)
            faults = store.verify(options.name, version, lambda count: progress.advance(task, count))
    what = {"version": version.version, "faults": faults}
    _told(options, what, lambda: print("\n".join(faults) or f"{version.version[:SHOWN]} is whole"))
    return 1 if faults else 0


def rollback(options: argparse.Namespace) -> int:
    """Move a channel back to where it was before its last move."""
    with explained("model bucket"):
        store = opened(options)
        pointer = channels.read(store.client, store.name, options.name, options.channel)
        if pointer is None or pointer.former is None:
            raise RuntimeError(
                f"{options.channel} of {options.name} has not moved yet; see: model show {options.name}"
            )
        former = next((one for one in store.versions(options.name) if one.version == pointer.former), None)
        if former is None or former.manifest is None:
            raise RuntimeError(f"version {pointer.former[:SHOWN]} is not whole any more; publish it again")
        said = (
            f"{options.channel} of {options.name} from {pointer.version[:SHOWN]} to {former.version[:SHOWN]}"
        )
        if options.dry_run:
            print(f"would move {said}")
            return 0
        channels.move(store.client, store.name, options.name, options.channel, former.version,
                      before=pointer, by=identity())  # fmt: skip
    print(f"moved {said}")
    return 0


def prune(options: argparse.Namespace) -> int:
    """Remove a model's old versions."""
    if options.keep < 1:
        raise ValueError("--keep takes a number from 1 on")
    with explained("model bucket"):
        store = opened(options)
        pointers = store.pointers(options.name)
        needed = {one.version for one in pointers.values()} | {one.former for one in pointers.values()}
        whole = [one for one in store.versions(options.name) if one.manifest]
        kept = needed | {one.version for one in whole[: options.keep]}
        removed = [one for one in store.versions(options.name) if one.version not in kept]
        for one in removed:
            does = "would remove" if options.dry_run else "removing"
            out = sys.stderr if options.json else sys.stdout
            print(f"{does} {one.version[:SHOWN]}  {one.bytes:,} bytes", file=out)
            if not options.dry_run:
                store.delete(one)
    what = {"removed": [one.version for one in removed], "bytes": sum(one.bytes for one in removed)}
    return _told(options, what, lambda: print(f"together {what['bytes']:,} bytes"))


def add_parsers(group: Any) -> None:
    """Add the commands to ``python -m lambda_setup model``."""
    from lambda_setup import promote  # which needs what is here

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, *, model: bool = True) -> Any:
        parser = group.add_parser(name, help=text.partition(".")[0].lower(), description=text)
        if model:
            parser.add_argument("name", metavar="NAME", help="the model's name; see: model list")
        place = parser.add_mutually_exclusive_group(required=True)
        place.add_argument("--stack", metavar="STACK", help="the deployed stack whose model bucket it is")
        place.add_argument("--bucket", metavar="BUCKET", help="the bucket itself")
        parser.set_defaults(command=run)
        return parser

    machine = "print JSON instead of a table"
    command("list", list_models, "List the models in a bucket.", model=False).add_argument(
        "--json", action="store_true", help=machine
    )
    command("show", show, "Show a model's versions and how its channels moved.").add_argument(
        "--json", action="store_true", help=machine
    )
    parser = command("verify", verify, "Read every byte of a version and compare it with its manifest. "
                     "Exits 1 if something is wrong.")  # fmt: skip
    parser.add_argument("version", metavar="VERSION", help="dev, prod, or a version's first characters")
    parser.add_argument("--json", action="store_true", help=machine)
    parser = command("rollback", rollback, "Move a channel back to where it was before its last move. "
                     "Functions take that up as any other move.")  # fmt: skip
    parser.add_argument("--channel", choices=channels.CHANNELS, default="prod", help="(default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be moved")
    parser = command(
        "promote",
        promote.run,
        "Try what dev has, and move prod to it. The version's own smoke request is sent to the function on "
        "this machine, or to a deployed one; prod moves only if the answer is the one that was published.",
    )
    parser.add_argument("--function", metavar="NAME", help="ask this deployed function, which follows dev")
    parser.add_argument("--dry-run", action="store_true", help="print what would be moved")
    parser = command("prune", prune, "Remove a model's old versions. What a channel points to, or would be "
                     "rolled back to, stays.")  # fmt: skip
    parser.add_argument(
        "--keep", type=int, required=True, metavar="K", help="how many of the newest stay, too"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed")
    parser.add_argument("--json", action="store_true", help=machine)
