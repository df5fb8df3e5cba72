"""``layer publish``: a built layer to AWS, as a version in every region that is named.

First comes the plan, the list of all calls of boto3 with their arguments; then they are done, region
by region at the same time. A dry run prints the plan and stops there.

What everybody may use is recorded in ``layer/builder/publish/published.json``, and ``layer arns`` makes a table of it.
"""

import argparse
import base64
import contextlib
import difflib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from layer.builder.errors import PublishError, ReportError
from layer.builder.files import lock_exclusive, write_atomic
from layer.builder.recipe import ROOT
from layer.builder.report.facts import LIMIT, REPORT, Report, folder_sha256, read

RECORD = Path(__file__).with_name("published.json")
"""The layers that everybody may use: those that were published from here, the newest of each."""
DOCUMENT = ROOT / "docs" / "layer_arns.md"
MARKERS = ("<!-- arns -->\n", "<!-- end arns -->")

_DATE = (1980, 1, 1, 0, 0, 0)
_DESCRIPTION = 256
_PATIENCE = 60
"""Seconds that a new version may take until Lambda knows it."""

_DOING = {
    "upload_file": "uploading",
    "publish_layer_version": "publishing",
    "get_layer_version": "waiting until Lambda knows it",
    "add_layer_version_permission": "letting everybody use it",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Zip:
    """A layer's zip: where it is, its hash in hexadecimal, and its bytes."""

    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Answer:
    """A value that is not known before an earlier call has answered."""

    field: str

    def __repr__(self) -> str:
        return f"<{self.field}>"


VERSION = Answer("Version")


@dataclass(frozen=True)
class Published:
    """A layer that everybody may use.

    Attributes:
        arn: of the version.
        bytes: unpacked, as Lambda counts them.
        digest: of the tree that gave the right answers; see ``proof.py``.
        date: when it was published, in UTC.

    """

    recipe: str
    runtime: str
    architecture: str
    region: str
    arn: str
    bytes: int
    digest: str
    date: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is the newest of."""
        return self.recipe, self.runtime, self.architecture, self.region


@dataclass(frozen=True)
class Call:
    """A call of boto3; the note says when it is left out or repeated."""

    region: str
    service: str
    method: str
    arguments: dict[str, object]
    note: str = ""

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        note = f"  # {self.note}" if self.note else ""
        return f"boto3.client({self.service!r}, region_name={self.region!r}).{self.method}({arguments}){note}"


def add_parser(commands: Any) -> None:
    """Add the command to those of ``python -m layer``."""
    command = commands.add_parser(
        "publish",
        help="publish a built layer in one or several regions",
        description="Zip DIR/layer, upload it to S3 and publish it as a new version of a Lambda layer, in "
        "all regions at the same time. The same layer is uploaded only once. It needs boto3, and the "
        "credentials that boto3 finds: AWS_PROFILE, or `aws configure`. Exits 0 if it was published "
        "everywhere, and 1 if a region failed, which does not stop the others.",
        epilog="example: python -m layer publish out --region eu-west-1 --region us-east-1 "
        "--bucket 'my-layers-{region}' --dry-run",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the --out of `layer build`")
    command.add_argument("--region", action="append", required=True, metavar="R",
                         help="where to publish, such as eu-west-1; may be repeated")  # fmt: skip
    command.add_argument("--bucket", required=True, metavar="NAME",
                         help="the bucket for the zip. Lambda takes it only from a bucket of the same "
                         "region, so for several regions write {region} into the name")  # fmt: skip
    command.add_argument("--name", metavar="LAYER",
                         help="the layer's name (default: such as opennmt-python313-arm64)")  # fmt: skip
    command.add_argument("--public", action="store_true",
                         help="let every AWS account use this version; otherwise only yours can")  # fmt: skip
    command.add_argument("--record", type=Path, default=RECORD, metavar="FILE",
                         help="where a public version that is proven is written down "
                         "(default: layer/builder/publish/published.json)")  # fmt: skip
    command.add_argument("--allow-unproven", action="store_true",
                         help="publish although nobody has run the layer on its target")  # fmt: skip
    command.add_argument("--dry-run", action="store_true",
                         help="print every call of boto3 with its arguments, and change nothing; "
                         "no credentials are needed")  # fmt: skip
    command.add_argument("--json", action="store_true",
                         help='print {"region": "ARN"}, and progress on standard error')  # fmt: skip
    command.set_defaults(command=run)

    command = commands.add_parser(
        "arns",
        help="print the layers that everybody may use",
        description="Print a table of the layers that were published with --public, the newest version "
        "for each recipe, runtime, architecture and region.",
        epilog="example: python -m layer arns --document",
    )
    command.add_argument("--record", type=Path, default=RECORD, metavar="FILE",
                         help="what `layer publish` wrote (default: layer/builder/publish/published.json)")  # fmt: skip
    command.add_argument("--document", action="store_true",
                         help="put the table into docs/layer_arns.md instead")  # fmt: skip
    command.set_defaults(command=run_arns)


def run(options: argparse.Namespace) -> int:
    """Publish a layer and return the exit code: 1 if a region failed.

    Raises:
        PublishError: nothing was done, because the layer or what was asked for is not right.

    """

    def say(message: str) -> None:
        print(f"· {message}", file=sys.stderr if options.json else sys.stdout, flush=True)

    regions = list(dict.fromkeys(options.region))
    check_regions(regions, options.bucket)
    report = checked(options.folder, allow_unproven=options.allow_unproven)
    name = options.name or default_name(report)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise PublishError(f"{name!r} is no name for a layer: at most 64 letters, digits, - and _")
    with tempfile.TemporaryDirectory(prefix="layer-") as folder:
        say(f"zipping {options.folder / 'layer'}")
        packed = pack(options.folder / "layer", Path(folder) / f"{name}.zip")
        say(f"{packed.bytes:,} bytes, sha256 {packed.sha256}")
        calls = plan(report, packed, regions, options.bucket, name, public=options.public)
        if options.dry_run:
            planned = {region: [str(call) for call in calls if call.region == region] for region in regions}
            print(json.dumps(planned, indent=2) if options.json else "\n".join(map(str, calls)))
            return 0
        arns, failures = execute(calls, packed, say)
    if options.public and arns:
        if report.proven:
            record(options.record, published(report, arns))
            say(f"recorded in {options.record}; next: python -m layer arns --document")
        else:
            say("an unproven layer is not recorded")
    if options.json:
        print(json.dumps(arns, indent=2))
    else:
        width = max(len(region) for region in regions)
        for region in regions:
            print(f"{region:<{width}}  {arns.get(region, 'FAILED')}")
    for region in failures:
        print(f"error: {region}: {failures[region]}", file=sys.stderr)
    return 1 if failures else 0


def run_arns(options: argparse.Namespace) -> int:
    """Print the table of public layers, or put it into its document.

    Raises:
        PublishError: the record is damaged.

    """
    drawn = markdown(recorded(options.record))
    if not options.document:
        print(drawn, end="")
        return 0
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    write_atomic(DOCUMENT, f"{before}{MARKERS[0]}{drawn}{MARKERS[1]}{after}")
    return 0


def published(report: Report, arns: dict[str, str]) -> list[Published]:
    """Return what is to be recorded of a layer that has just been published in some regions."""
    today = datetime.now(UTC).date().isoformat()
    return [
        Published(report.recipe, report.runtime, report.architecture, region, arn,
                  report.budget.layer, report.digest, today)
        for region, arn in arns.items()
    ]  # fmt: skip


def recorded(path: Path) -> list[Published]:
    """Return the layers that a record names; none where there is no record.

    Raises:
        PublishError: it is none.

    """
    if not path.is_file():
        return []
    try:
        return [Published(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        names = ", ".join(field.name for field in fields(Published))
        raise PublishError(f"{path} is damaged: it takes a list of objects with {names}; {error}") from None


def record(path: Path, new: list[Published]) -> None:
    """Add layers to a record, in place of older versions; others see it whole or not at all."""
    with lock_exclusive(path.parent):
        newest = {one.key: one for one in (*recorded(path), *new)}
        found = [asdict(newest[key]) for key in sorted(newest)]
        write_atomic(path, json.dumps(found, indent=2) + "\n")


def markdown(layers: list[Published]) -> str:
    """Return the table of public layers."""
    if not layers:
        return "None has been published yet.\n"
    lines = [["recipe", "runtime", "processor", "region", "bytes", "published", "ARN"], ["---"] * 7]
    lines += [
        [one.recipe, one.runtime, one.architecture, one.region, f"{one.bytes:,}", one.date, f"`{one.arn}`"]
        for one in layers
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def check_regions(regions: list[str], bucket: str) -> None:
    """Refuse regions that Lambda does not have, and one bucket for several of them.

    Raises:
        PublishError: it names the regions, with what was probably meant.

    """
    try:
        import boto3
    except ImportError:
        raise PublishError("publishing needs boto3, building does not: pip install boto3") from None
    with explained("boto3"):
        session = boto3.Session()
        partitions = session.get_available_partitions()
        known = {one for name in partitions for one in session.get_available_regions("lambda", name)}
    for region in regions:
        if region not in known:
            close = difflib.get_close_matches(region, known, 1)
            meant = f"did you mean {close[0]}?" if close else "eu-west-1 is one."
            raise PublishError(f"boto3 knows no region {region!r}; {meant} A newer boto3 knows newer regions")
    if len(regions) > 1 and "{region}" not in bucket:
        raise PublishError(
            f"one bucket, {bucket}, cannot serve {len(regions)} regions: Lambda takes a layer's zip only "
            f"from a bucket of the same region. Make one in each, and write --bucket '{bucket}-{{region}}'"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", named := bucket.replace("{region}", regions[0])):
        raise PublishError(f"{named!r} is no name for a bucket")


def checked(out: Path, *, allow_unproven: bool) -> Report:
    """Return the report of a built layer that may be published.

    Raises:
        PublishError: it is not what was built, unproven, too big, or not for Lambda.

    """
    folder = out / "layer"
    try:
        report = read(out / REPORT)
    except ReportError as error:
        raise PublishError(str(error)) from None
    if links := sorted(path for path in folder.rglob("*") if path.is_symlink()):
        raise PublishError(f"{links[0]} is a link, which no layer of ours has; build it again")
    if folder_sha256(folder) != report.layer_sha256:
        raise PublishError(f"{folder} was changed since {out / REPORT} was written; build it again")
    if report.target == "host":
        raise PublishError("this layer is for the machine that built it; build one with a --target of Lambda")
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > LIMIT:
        raise PublishError(f"{total:,} bytes, and Lambda takes {LIMIT:,} for a function and all its layers")
    if not (report.proven or allow_unproven):
        raise PublishError(
            f"this layer is unproven ({report.proof.how}). To prove it, build it on a machine that runs "
            f"{report.runtime} on {report.architecture}, or with qemu-user installed. --allow-unproven "
            "publishes it as it is"
        )
    return report


def default_name(report: Report) -> str:
    """Return a layer's name that tells layers for different targets apart."""
    name = f"{report.recipe}-{report.runtime.replace('.', '')}-{report.architecture}"
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def pack(folder: Path, target: Path) -> Zip:
    """Zip a folder; the same files give the same bytes, whenever and by whomever they were made."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DATE)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            # Lambda's functions run as another user than the one who owns a layer's files.
            entry.external_attr = (0o100755 if path.stat().st_mode & 0o111 else 0o100644) << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, file.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    with target.open("rb") as done:
        return Zip(target, hashlib.file_digest(done, "sha256").hexdigest(), target.stat().st_size)


def plan(
    report: Report, packed: Zip, regions: list[str], bucket: str, name: str, *, public: bool
) -> list[Call]:
    """Return all calls that publish a layer, in their order."""
    unproven = "" if report.proven else ", UNPROVEN"
    description = f"{report.recipe} for {report.runtime} on {report.architecture}"
    description = f"{description[: _DESCRIPTION - 40]}, tree {report.digest[:16]}{unproven}"
    calls = []
    for region in regions:
        place = {"Bucket": bucket.replace("{region}", region), "Key": f"layers/{name}/{packed.sha256}.zip"}
        version = {"LayerName": name, "VersionNumber": VERSION}
        calls += [
            Call(region, "s3", "head_bucket", {"Bucket": place["Bucket"]}, "it must be of this region"),
            Call(region, "s3", "head_object", {**place}),
            Call(region, "s3", "upload_file", {"Filename": str(packed.path), **place}, "unless it is there"),
            Call(region, "lambda", "publish_layer_version", {
                "LayerName": name,
                "Description": description,
                "Content": {"S3Bucket": place["Bucket"], "S3Key": place["Key"]},
                "CompatibleRuntimes": [report.runtime],
                "CompatibleArchitectures": [report.architecture],
            }),
            Call(region, "lambda", "get_layer_version", {**version}, "again, until it answers"),
        ]  # fmt: skip
        if public:
            statement = {"StatementId": "public", "Action": "lambda:GetLayerVersion", "Principal": "*"}
            calls.append(Call(region, "lambda", "add_layer_version_permission", {**version, **statement}))
    return calls


def execute(calls: list[Call], packed: Zip, say: Say) -> tuple[dict[str, str], dict[str, PublishError]]:
    """Do the calls, all regions at the same time, and return every region's ARN or why it has none."""
    import boto3

    regions = list(dict.fromkeys(call.region for call in calls))
    with explained("boto3"):
        make: Any = boto3.Session().client
        # Clients may be used by another thread, the session may not.
        clients = {(one.region, one.service): make(one.service, region_name=one.region) for one in calls}
    arns, failures = {}, {}
    with ThreadPoolExecutor(len(regions)) as pool:
        plans = {region: [call for call in calls if call.region == region] for region in regions}
        waiting = {region: pool.submit(_publish, plans[region], clients, packed, say) for region in plans}
        for region, one in waiting.items():
            try:
                arns[region] = one.result()
            except PublishError as error:
                failures[region] = error
    return arns, failures


def _publish(calls: list[Call], clients: dict[tuple[str, str], Any], packed: Zip, say: Say) -> str:
    """Do one region's calls and return the ARN of the new version."""
    uploaded, arn = False, ""
    answers: dict[str, Any] = {}
    for call in calls:
        if call.method == "upload_file" and uploaded:
            say(f"{call.region}: the zip is there already")
            continue
        method = getattr(clients[call.region, call.service], call.method)
        arguments = {
            name: answers[value.field] if isinstance(value, Answer) else value
            for name, value in call.arguments.items()
        }
        if call.method == "head_bucket":
            _check_bucket(method, call)
            continue
        if call.method == "head_object":
            uploaded = _there(method, arguments)
            continue
        say(f"{call.region}: {_DOING[call.method]}")
        if call.method == "get_layer_version":
            answer = _patiently(method, arguments, f"{arn} was published")
            if answer["Content"]["CodeSha256"] != base64.b64encode(bytes.fromhex(packed.sha256)).decode():
                raise PublishError(f"{arn} was published, and S3 had other bytes than were zipped")
            continue
        with explained(f"{arn} was published, and then: {call.method}" if arn else call.method):
            answer = method(**arguments)
        if call.method == "publish_layer_version":
            answers, arn = answer, answer["LayerVersionArn"]
    say(f"{calls[0].region}: {arn}")
    return arn


def _check_bucket(method: Callable[..., Any], call: Call) -> None:
    """Refuse a bucket that is not there, or of another region."""
    from botocore.exceptions import ClientError

    bucket = str(call.arguments["Bucket"])
    with explained(f"s3://{bucket}"):
        try:
            answer = method(**call.arguments)
        except ClientError as error:
            if _status(error) == 404:  # noqa: PLR2004
                raise PublishError(
                    f"there is no bucket {bucket}; make one: aws s3 mb s3://{bucket} --region {call.region}"
                ) from None
            # Whoever may write into a bucket need not be allowed to look at it.
            if _status(error) not in {301, 403}:
                raise
            answer = error.response
    found = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", call.region)
    if found != call.region:
        raise PublishError(
            f"bucket {bucket} is in {found}; Lambda takes a layer's zip only from a bucket of the same region"
        )


def _there(method: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    """Return whether an object is there, as far as one is allowed to know."""
    from botocore.exceptions import ClientError

    with explained(f"s3://{arguments['Bucket']}"):
        try:
            method(**arguments)
        except ClientError as error:
            if _status(error) in {403, 404}:
                return False
            raise
    return True


def _patiently(method: Callable[..., Any], arguments: dict[str, Any], what: str) -> Any:
    """Return the answer of a call once what it asks for is there."""
    from botocore.exceptions import ClientError

    end = time.monotonic() + _PATIENCE
    with explained(f"{what}, and cannot be read"):
        while True:
            try:
                return method(**arguments)
            except ClientError as error:
                if _status(error) != 404 or time.monotonic() > end:  # noqa: PLR2004
                    raise
            time.sleep(1)


def _status(error: Any) -> int:
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn boto3's errors into one line that says what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise PublishError(f"{what}: no AWS credentials; run `aws configure`, or set AWS_PROFILE") from None
    except ClientError as error:
        reason = error.response.get("Error", {})
        raise PublishError(f"{what}: {reason.get('Code')}: {reason.get('Message')}") from None
    except (Boto3Error, BotoCoreError) as error:
        raise PublishError(f"{what}: {error}") from None
