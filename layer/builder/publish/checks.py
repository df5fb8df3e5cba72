"""What is refused before anything is asked of AWS."""

import difflib
import re
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import PublishError, ReportError
from layer.builder.pack.plan import LIMIT
from layer.builder.publish.aws import readable_errors
from layer.builder.report.facts import REPORT, Report, read


def check_regions(regions: list[str], bucket: str) -> None:
    """Refuse regions that Lambda does not have, and one bucket for several of them."""
    try:
        import boto3
    except ImportError:
        raise PublishError("publishing needs boto3, building does not: pip install boto3") from None
    with readable_errors("boto3", PublishError):
        session = boto3.Session()
        partitions = session.get_available_partitions()
        known = {region for name in partitions for region in session.get_available_regions("lambda", name)}
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
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name := bucket.replace("{region}", regions[0])):
        raise PublishError(
            f"invalid bucket name {name!r}: it takes 3 to 63 lower-case letters, digits, - and ."
        )


def check_name(name: str) -> None:
    """Refuse a layer's name that Lambda does not take."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise PublishError(f"invalid layer name {name!r}: it takes at most 64 letters, digits, - and _")


def default_name(report: Report) -> str:
    """Return a layer's name that tells layers for different targets apart."""
    name = f"{report.recipe}-{report.runtime.replace('.', '')}-{report.architecture}"
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def read_publishable(out: Path, *, allow_unproven: bool) -> Report:
    """Return the report of a layer, unless it was changed since, is unproven, too big, or not for Lambda."""
    folder = out / "layer"
    try:
        report = read(out / REPORT)
    except ReportError as error:
        raise PublishError(str(error)) from None
    if links := sorted(path for path in folder.rglob("*") if path.is_symlink()):
        raise PublishError(f"{links[0]} is a link, which the builder never makes; build the layer again")
    if trees.folder_sha256(folder) != report.layer_sha256:
        raise PublishError(f"{folder} was changed since {out / REPORT} was written; build it again")
    if report.target == "host":
        raise PublishError("this layer is for the machine that built it; build one with a --target of Lambda")
    if (total := trees.size(folder)) > LIMIT:
        raise PublishError(f"{total:,} bytes, and Lambda takes {LIMIT:,} for a function and all its layers")
    if not (report.proven or allow_unproven):
        raise PublishError(
            f"this layer is {report.proof.status} ({report.proof.how}). To prove it, build it on a "
            f"machine that runs {report.runtime} on {report.architecture}, or with qemu-user installed. "
            "--allow-unproven publishes it as it is"
        )
    return report
