"""``model publish``: a model's folder into the bucket that functions read."""

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lambda_setup.deployment.aws import explained
from lambda_setup.models import pickles
from lambda_setup.models.bucket import opened
from lambda_setup.models.convert import QUANTIZATIONS, convert
from lambda_setup.models.describe import PublishedManifest, describe, validate_name
from lambda_setup.models.upload import plan, upload
from lambda_setup.output import print_result, status, transfer


def run(options: argparse.Namespace) -> int:
    """Check a model, upload it and point a channel to it."""
    if bool(options.engine) > bool(options.name):
        raise ValueError("--engine needs --name, too: a name holds models of one engine")
    if bool(options.quantization) > bool(options.engine):
        raise ValueError("--quantization is of a conversion; give --engine, too")
    with contextlib.ExitStack() as stack:
        folder = options.folder
        manifest = describe(folder)
        pickles.check(folder / file.name for file in manifest.files)
        if options.engine:
            status(f"converting it for {options.engine}")
            target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="converted-")))
            convert(folder, manifest, target, options.engine, options.quantization or QUANTIZATIONS[0])
            folder, manifest = target, describe(target)
        if options.name:
            manifest = replace(manifest, name=validate_name(options.name))
        return _publish(options, folder, manifest)


def _publish(options: argparse.Namespace, folder: Path, manifest: PublishedManifest) -> int:
    size = sum(file.size for file in manifest.files)
    with explained("model bucket"):
        store = opened(options)
        what: dict[str, Any] = {
            "name": manifest.name,
            "version": manifest.version,
            "engine": manifest.engine,
            "precision": manifest.precision,
            "bytes": size,
            "bucket": store.name,
            "channel": options.channel,
        }
        if options.dry_run:
            what["would"] = plan(manifest, store.name, options.channel)
        else:
            with transfer("uploading", size) as progress:
                what["uploaded"] = upload(
                    folder, manifest, store.client, store.name, options.channel,
                    progress=progress, by=store.who(),
                )  # fmt: skip
    return print_result(options, what, lambda: _print(what))


def _print(what: dict[str, Any]) -> None:
    print("model    {name}, engine {engine}, {precision}, {bytes:,} bytes".format_map(what))
    print("version  {version}".format_map(what))
    print("to       s3://{bucket}/models/{name}/, channel {channel}".format_map(what))
    for call in what.get("would", []):
        print(f"would    {call}")
    if "uploaded" in what:
        print("done     functions on this channel take it up" if what["uploaded"] else
              "done     the version was there already; the channel points to it")  # fmt: skip
