"""The layer builder's commands."""

import argparse
import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from layer.builder import build as builder
from layer.builder.cli import recipes
from layer.builder.cli.command import RECIPE, TARGET, Commands, add_command, say
from layer.builder.errors import BuildError, CompileError, LayerError, SmokeError
from layer.builder.pack import bytecode, interpreter
from layer.builder.pack.layer import MARKER
from layer.builder.pack.plan import STRATEGIES
from layer.builder.publish import checks, package
from layer.builder.publish.execute import execute
from layer.builder.publish.plan import plan
from layer.builder.recipe import load, load_common_rules
from layer.builder.report.facts import Report
from layer.builder.report.page import PAGE
from layer.builder.report.table import format_table
from layer.builder.slim import patch
from layer.builder.slim.split import observe
from layer.builder.target import get_target
from layer.builder.wheels import lock as locks
from layer.builder.wheels.draft import draft_file
from layer.builder.wheels.resolve import resolve
from layer.builder.wheels.unused import list_unused


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; a bug of the builder leaves with Python's traceback."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        if options.debug:
            raise
        return 130  # as shells report SIGINT
    except (LayerError, OSError) as error:
        if options.debug:
            raise
        print(f"error: {error}{_describe_full_disk(error)}", file=sys.stderr)
        return 2
    return code


def _describe_full_disk(error: Exception) -> str:
    """Return how much space is left where the builder writes, if an error is that there is none."""
    if os.strerror(errno.ENOSPC) not in str(error) or isinstance(
        error, SmokeError
    ):  # a prediction's own /tmp
        return ""
    folders = (builder.WORK if builder.WORK.exists() else builder.WORK.parent, Path(tempfile.gettempdir()))
    left = (f"{shutil.disk_usage(folder).free // 10**6:,} MB in {folder}" for folder in folders)
    return (
        f"\nThere is no space left: free are {' and '.join(left)}. Remove what you can, or use another disk: "
        "set TMPDIR to a folder there, and make .layers a link to one"
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m layer``."""
    parser = argparse.ArgumentParser(
        prog="python -m layer",
        description="Build and publish a function's layers.",
        epilog="docs/layers.md has the steps of a build.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_build(commands)
    recipes.add(commands)
    _add_trace(commands)
    _add_publish(commands)
    _add_maintenance(commands)
    return parser


def _add_build(commands: Commands) -> None:
    command = add_command(
        commands, "build", _build, "opennmt --target python3.13-arm64",
        help="build a layer from a recipe",
        description="Build a layer that fits Lambda, and prove that it still gives the same answers. The "
        "builder installs the recipe's locked wheels for a target, without Docker. It removes files that "
        "rules name or that the smoke prediction never opens, and strips, checks and byte-compiles the rest. "
        "It repeats the prediction with that alone. Then it puts the files into the layer as they are or, if "
        "they are too big, as an archive. A CUDA build is refused before it is fetched.",
    )  # fmt: skip
    command.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"{RECIPE}, or a requirements file (.txt), of which a recipe is made in .layers",
    )
    command.add_argument("--target", default="host", metavar="TARGET", help=TARGET)
    command.add_argument("--out", type=Path, metavar="DIR",
                         help="folder for layer/, report.json and report.html "
                         "(default: .layers/RECIPE-TARGET)")  # fmt: skip
    command.add_argument("--strategy", choices=STRATEGIES, default="",
                         help="direct: plain files; nested: an archive, unpacked at a cold start; auto: "
                         "direct if it fits (default: the recipe's strategy, or auto)")  # fmt: skip
    command.add_argument("--allow-unproven", action="store_true",
                         default=os.environ.get("ALLOW_UNPROVEN", "0") not in {"", "0"},
                         help="build a layer that nothing here can run and no record proves; "
                         "ALLOW_UNPROVEN=1 says the same where `sam build` builds")  # fmt: skip
    command.add_argument("--trace", action="store_true",
                         help="trace the prediction again, even if its trace is recorded")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print the plan, and build nothing")


def _build(options: argparse.Namespace) -> int:
    target = get_target(options.target)
    bare = options.recipe.endswith(".txt")
    recipe = draft_file(Path(options.recipe), target, builder.WORK, say) if bare else load(options.recipe)
    out = options.out or builder.default_out(recipe, target)
    job = builder.Job(
        recipe, target, out, options.strategy, options.trace, allow_unproven=options.allow_unproven
    )
    if options.dry_run:
        _print_plan(job)
        return 0
    report = builder.build(job, say)
    print(format_table(report))
    print(f"\nlayer    {out / 'layer'}\nreport   {out / PAGE}")
    _propose_excludes(job, report)
    return 0


def _propose_excludes(job: builder.Job, report: Report) -> None:
    """Print which distributions a layer's recipe may exclude."""
    lock = locks.read(job.recipe, job.target)
    if lock and (names := list_unused(report, lock, job.work / "wheels")):
        print(f"proposal nothing of these is left in the layer; in the recipe: exclude = {json.dumps(names)}")


def _print_plan(job: builder.Job) -> None:
    recipe, target = job.recipe, job.target
    lock = locks.read(recipe, target)
    if lock is None:
        say(f"looking for wheels: {recipe.name} for {target.name} ({target.runtime}, {target.architecture})")
        wheels = [wheel.file for wheel in resolve(recipe, target, job.work / "wheels")]
    else:
        say(f"locked in {lock.path.name}")
        wheels = [wheel.file for wheel in lock.wheels]
    say("install")
    for file in wheels:
        print(f"    {file}")
    for one in sorted(job.patches, key=lambda one: patch.STAGES.index(one.stage)):
        say(f"{one.stage}: {one.path} ({one.name})")
    for rule in (*load_common_rules(), *recipe.rules):
        say(f"take out: {rule.name}, {rule.reason}")
    python = interpreter.find(target, job.interpreters)
    compiler = interpreter.find_compiler(target, job.interpreters)
    say(f"trace and prove with {python.description}" if python else "take the recorded trace and proof")
    say("strip every shared library, check it, and compare what it needs with the runtime")
    say(f"byte-compile with {compiler.description}" if compiler else "leave sources as they are")
    say(f"write {job.out / 'layer'}, strategy {job.strategy or job.recipe.strategy}")


def _add_trace(commands: Commands) -> None:
    command = add_command(
        commands, "trace", _trace, "opennmt function.log --target python3.13-arm64",
        help="record what a deployed function used of split libraries",
        description="Read from the log of a deployed function, at log level DEBUG, which code of its split "
        "libraries was unpacked, and record it as hot. The next build leaves it as it is.",
    )  # fmt: skip
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command.add_argument("log", metavar="FILE", help="the log, as `sam logs` prints it; - for standard input")
    command.add_argument("--target", default="host", metavar="TARGET", help=TARGET)
    command.add_argument("--out", type=Path, metavar="DIR",
                         help="folder of the layer that was deployed "
                         "(default: .layers/RECIPE-TARGET)")  # fmt: skip


def _trace(options: argparse.Namespace) -> int:
    recipe, target = load(options.recipe), get_target(options.target)
    out = options.out or builder.default_out(recipe, target)
    source = contextlib.nullcontext(sys.stdin)
    with (
        source if options.log == "-" else Path(options.log).open(encoding="utf-8", errors="replace") as lines
    ):
        touched = observe.read_log(lines)
    if not touched:
        raise BuildError(
            f"{options.log} has no line with cold_code; have the function log at DEBUG (POWERTOOLS_LOG_LEVEL "
            "in template.yaml), deploy it, and send it requests"
        )
    for path, blocks in observe.add(recipe, target, out / "layer" / "python", touched).items():
        say(f"{path}: {blocks} blocks are hot from now on")
    say(f"next: python -m layer build {recipe.name} --target {target.name}")
    return 0


def _add_publish(commands: Commands) -> None:
    command = add_command(
        commands, "publish", _publish,
        "out --region eu-west-1 --region us-east-1 --bucket 'my-layers-{region}' --dry-run",
        help="publish a built layer in one or several regions",
        description="Zip DIR/layer, upload it to S3, publish it as a new version of a Lambda layer in all "
        "regions at the same time, and print the ARNs. The same layer is uploaded only once. You need boto3, "
        "and credentials that boto3 finds: --profile, AWS_PROFILE, or `aws configure`. Exits 0 if it was "
        "published everywhere, and 1 if a region failed, which does not stop the others.",
    )  # fmt: skip
    command.add_argument("folder", type=Path, metavar="DIR", help="the --out of `layer build`")
    command.add_argument("--region", action="append", required=True, metavar="R",
                         help="region to publish in, such as eu-west-1; may be repeated")  # fmt: skip
    command.add_argument("--profile", metavar="NAME", help="AWS profile (default: AWS_PROFILE's)")
    command.add_argument("--bucket", required=True, metavar="NAME",
                         help="bucket for the zip. Lambda takes it only from a bucket of the same region, so "
                         "for several regions write {region} into the name")  # fmt: skip
    command.add_argument("--name", metavar="LAYER",
                         help="name of the layer (default: such as opennmt-python313-arm64)")  # fmt: skip
    command.add_argument("--public", action="store_true",
                         help="let every AWS account use this version; otherwise only yours can")  # fmt: skip
    command.add_argument("--allow-unproven", action="store_true",
                         help="publish although the layer was never run on its target")  # fmt: skip
    command.add_argument("--dry-run", action="store_true",
                         help="print every call of boto3 with its arguments, and change nothing; you need no "
                         "credentials")  # fmt: skip
    command.add_argument("--json", action="store_true",
                         help='print {"region": "ARN"}, and progress on standard error')  # fmt: skip


def _publish(options: argparse.Namespace) -> int:
    def report(message: str) -> None:
        say(message, sys.stderr if options.json else sys.stdout)

    regions = list(dict.fromkeys(options.region))
    checks.check_regions(regions, options.bucket)
    layer = checks.read_publishable(options.folder, allow_unproven=options.allow_unproven)
    name = options.name or checks.default_name(layer)
    checks.check_name(name)
    with tempfile.TemporaryDirectory(prefix="layer-") as folder:
        report(f"zipping {options.folder / 'layer'}")
        packed = package.pack(options.folder / "layer", Path(folder) / f"{name}.zip")
        report(f"{packed.bytes:,} bytes, sha256 {packed.sha256}")
        calls = plan(layer, packed, regions, options.bucket, name, public=options.public)
        if options.dry_run:
            if options.json:
                texts = {name: [str(call) for call in calls if call.region == name] for name in regions}
                print(json.dumps(texts, indent=2))
            else:
                print("\n".join(map(str, calls)))
            return 0
        arns, failures = execute(calls, report, options.profile)
    if options.json:
        print(json.dumps(arns, indent=2))
    else:
        width = max(len(region) for region in regions)
        for region in regions:
            print(f"{region:<{width}}  {arns.get(region, 'FAILED')}")
    for region in failures:
        print(f"error: {region}: {failures[region]}", file=sys.stderr)
    return 1 if failures else 0


def _add_maintenance(commands: Commands) -> None:
    command = add_command(
        commands, "interpreter", _interpreter, "python3.13-arm64",
        description="Fetch a target's Python from Debian, with its C library, into .layers, to trace, prove "
        "and compile for it; nothing is installed. For another architecture than this machine's it runs "
        "under QEMU's user emulation.",
    )  # fmt: skip
    command.add_argument("target", metavar="TARGET", help="runtime and processor, such as python3.13-arm64")
    command = add_command(
        commands, "compile", _compile, "build/python --target python3.13-arm64",
        description="Replace a folder's modules by bytecode for the target's Python, each by a .pyc in its "
        "place, as in the layers, and mark the folder as the target's. If no Python here compiles for it, "
        "the sources stay.",
    )  # fmt: skip
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder that is on Python's path")
    command.add_argument("--target", default="host", metavar="TARGET", help=TARGET)
    for name in ("fix", "mend"):
        command = add_command(
            commands, name, _fix, "opennmt .venv/lib/python3.11/site-packages",
            description="Apply the patches without which a recipe's packages do not run to the folder where "
            "pip installed them. Applying them twice changes nothing.",
        )  # fmt: skip
        command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
        command.add_argument("folder", type=Path, metavar="SITE_PACKAGES", help="folder of the packages")


def _interpreter(options: argparse.Namespace) -> int:
    target = get_target(options.target)
    cache = builder.WORK / "interpreters"
    interpreter.fetch(target, cache, say)
    python, compiler = interpreter.find(target, cache), interpreter.find_compiler(target, cache)
    say(f"runs the prediction: {python.description if python else 'none'}")
    say(f"compiles: {compiler.description if compiler else 'none'}")
    return 0


def _compile(options: argparse.Namespace) -> int:
    target = get_target(options.target)
    marker = {"engine": "", "runtime": target.runtime, "architecture": target.architecture}
    (options.folder / f"compiled.{MARKER}").write_text(json.dumps(marker, indent=2) + "\n")
    compiler = interpreter.find_compiler(target, builder.WORK / "interpreters")
    if compiler is None:
        say(f"no Python here compiles for {target.name}: sources stay, and are compiled at each cold start")
    else:
        compiled = bytecode.compile_tree(options.folder, compiler)
        if compiled.left:
            raise CompileError("\n".join(f"{path}: {error}" for path, error in compiled.left.items()))
        say(f"compiled {compiled.count} modules with {compiler.description}")
    return 0


def _fix(options: argparse.Namespace) -> int:
    if options.command == "mend":
        warnings.warn("`layer mend` is called `layer fix` now", FutureWarning, stacklevel=2)
    for one in load(options.recipe).patches:
        if one.stage != "fix" or patch.is_applied(options.folder, one):
            continue
        # The package that a patch replaces by a stand-in may be installed here.
        if one.action == "content" and (options.folder / one.path).with_suffix("").is_dir():
            continue
        patch.apply(options.folder, [one], "fix")
        say(f"fixed {one.path} ({one.name})")
    return 0
