"""``model publish``: check a model, upload it, and point a channel to it."""

import argparse
import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lambda_setup import functions
from lambda_setup.commands.model.options import add_bucket, open_bucket
from lambda_setup.commands.options import Commands, account_arguments, add_command, add_dry_run, add_json
from lambda_setup.deployment import aws
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.errors import CommandError
from lambda_setup.models import loading, pickles
from lambda_setup.models.channels import CHANNELS
from lambda_setup.models.convert import QUANTIZATIONS, convert
from lambda_setup.models.describe import HOOKS, PublishedManifest, describe, validate_name
from lambda_setup.models.toolkits import conversion, recognition
from lambda_setup.models.upload import plan, upload
from lambda_setup.output import print_result, status, transfer


def configure_parser(group: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        group,
        "publish",
        publish,
        help="upload a model and point a channel to it",
        description="Upload the model in a folder, as a new version with a hash of every part, and point a "
        "channel to it. The same files are the same version, and only what S3 lacks is uploaded. Pickles "
        "that could run code are refused, and so is a model that its function would not load.",
        example="python -m lambda_setup model publish models/en-es --stack translation",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a model")
    add_bucket(parser)
    parser.add_argument("--name", metavar="NAME", help="name to publish it under (default: model.toml's)")
    parser.add_argument(
        "--channel", choices=CHANNELS, default="dev", help="channel to move (default: %(default)s)"
    )
    parser.add_argument("--from", dest="toolkit", choices=recognition.TOOLKITS, default="opennmt",
                        help="toolkit that made the model (default: %(default)s); models of others are "
                        "converted for ctranslate2, and must translate a sample as before")  # fmt: skip
    parser.add_argument("--sample", type=Path, metavar="FILE",
                        help="sentences of the sample, a line each (default: 50 in English)")  # fmt: skip
    parser.add_argument("--engine", metavar="ENGINE", help="engine to convert it for; needs --name")
    parser.add_argument("--quantization", choices=QUANTIZATIONS,
                        help="of the converted weights (default: float32)")  # fmt: skip
    add_dry_run(parser, "print the objects to write")
    add_json(parser)


def publish(options: argparse.Namespace) -> int:
    """Check a model, upload it and point a channel to it."""
    _check_conversion(options)
    with contextlib.ExitStack() as stack:
        folder = options.folder
        recognition.check_toolkit(folder, options.toolkit)
        if options.toolkit != "opennmt":
            target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="published-")))
            precision = options.quantization or QUANTIZATIONS[0]
            conversion.convert(options.toolkit, folder, target, precision, options.sample)
            folder = target
        manifest = describe(folder)
        remedies = {
            module: remedy
            for hooks in functions.load_modules(HOOKS)
            for module, remedy in getattr(hooks, "REMEDIES", {}).items()
        }
        pickles.check((folder / file.name for file in manifest.files), remedies)
        if options.engine and options.toolkit == "opennmt":
            status(f"converting it for {options.engine}")
            target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="converted-")))
            convert(folder, manifest, target, options.engine, options.quantization or QUANTIZATIONS[0])
            folder, manifest = target, describe(target)
        if options.name:
            manifest = replace(manifest, name=validate_name(options.name))
        status("loading it as its function does")
        loading.check(folder, manifest)
        if manifest.requires:
            status(
                f"it requires {', '.join(manifest.requires)}: functions deployed from an earlier release "
                "take the version for damaged and keep their old model; deploy them again first"
            )
        with readable_errors("model bucket"):
            result = _upload(options, folder, manifest)
    return print_result(options.json, result, lambda: _print_upload(result))


def _check_conversion(options: argparse.Namespace) -> None:
    if options.toolkit != "opennmt":
        if options.engine not in {None, "ctranslate2"}:
            raise CommandError(f"--from {options.toolkit} converts for ctranslate2; leave --engine out")
        return
    if options.sample:
        raise CommandError("--sample tries a conversion of another toolkit; give --from transformers, too")
    if bool(options.engine) > bool(options.name):
        raise CommandError("--engine needs --name: give the converted model a name of its own")
    if bool(options.quantization) > bool(options.engine):
        raise CommandError("--quantization applies to a conversion; give --engine, too")


def _upload(options: argparse.Namespace, folder: Path, manifest: PublishedManifest) -> dict[str, Any]:
    bucket = open_bucket(options)
    hint = ""
    if options.stack:
        parameters = aws.get_parameters(aws.open_session(options.region, options.profile), options.stack)
        aws.check_bucket(bucket.client, bucket.name, parameters)
        hint = _describe_follower(options, manifest, parameters)
    size = sum(file.size for file in manifest.files)
    result: dict[str, Any] = {
        "name": manifest.name,
        "version": manifest.version,
        "engine": manifest.engine,
        "precision": manifest.precision,
        "bytes": size,
        "bucket": bucket.name,
        "channel": options.channel,
        "next": hint,
    }
    if options.dry_run:
        return {**result, "would": plan(manifest, bucket.name, options.channel)}
    with transfer("uploading", size) as progress:
        uploaded = upload(
            folder, manifest, bucket.client, bucket.name, options.channel,
            progress=progress, by=bucket.identify(),
        )  # fmt: skip
    return {**result, "uploaded": uploaded}


def _describe_follower(
    options: argparse.Namespace, manifest: PublishedManifest, parameters: Mapping[str, str]
) -> str:
    """Return what is left to do until a stack's function serves a version, nothing if it does so by itself.

    Raises:
        CommandError: the function is made for another engine: it would refuse the version, and start no more.

    """
    name, channel, engine = (parameters.get(one) for one in ("ModelName", "Channel", "Engine"))
    if name is None or channel is None or engine is None:
        return ""
    if name != manifest.name:
        changes = f"ModelName={manifest.name}"
        if engine != manifest.engine:
            changes = f"Engine={manifest.engine} {changes}"
        where = f"the function of stack {options.stack} follows the model {name}"
        return f"{where}; to change, build and deploy with {changes}"
    if channel != options.channel:
        command = f"python -m lambda_setup model promote {name} --stack {options.stack}"
        return f"the function of stack {options.stack} follows the channel {channel}" + (
            f"; try the version and move prod to it: {command}{account_arguments(options)}"
            if channel == "prod"
            else ""
        )
    if engine != manifest.engine:
        raise CommandError(
            f"the function of stack {options.stack} runs {engine}, and {manifest.name} here is for "
            f"{manifest.engine}: it would refuse the version, and start no more. Convert it with --engine "
            f"{engine}, if that is a checkpoint's other engine; or publish it under another --name, and then "
            f"deploy with Engine={manifest.engine} and that name as ModelName"
        )
    return ""


def _print_upload(result: dict[str, Any]) -> None:
    print("model    {name}, engine {engine}, {precision}, {bytes:,} bytes".format_map(result))
    print("version  {version}".format_map(result))
    print("to       s3://{bucket}/models/{name}/, channel {channel}".format_map(result))
    for write in result.get("would", []):
        print(f"would    {write}")
    if "uploaded" in result:
        print("done     functions on this channel load it within a minute" if result["uploaded"] else
              "done     the version was there already; the channel points to it")  # fmt: skip
    if result["next"]:
        print(f"next     {result['next']}")
