"""Make the calls of a plan, all regions at the same time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from layer.builder.errors import PublishError
from layer.builder.publish.aws import readable_errors
from layer.builder.publish.plan import Answer, Call, Progress, UploadPackage

Say = Callable[[str], None]


def execute(
    calls: list[Call], say: Say, profile: str | None = None
) -> tuple[dict[str, str], dict[str, PublishError]]:
    """Make the calls by a profile, and return the new version's ARN or the error of each region."""
    import boto3

    with readable_errors("boto3", PublishError):
        make_client: Any = boto3.Session(profile_name=profile).client
        # Clients may be used by another thread, the session may not.
        clients = {
            (call.region, call.service): make_client(call.service, region_name=call.region) for call in calls
        }
    plans: dict[str, list[Call]] = {}
    for call in calls:
        plans.setdefault(call.region, []).append(call)
    arns, failures = {}, {}
    with ThreadPoolExecutor(len(plans)) as pool:
        profiled = f" --profile {profile}" if profile else ""
        waiting = {
            region: pool.submit(_publish, plans[region], clients, say, f" --region {region}{profiled}")
            for region in plans
        }
        for region, future in waiting.items():
            try:
                arns[region] = future.result()
            except PublishError as error:
                failures[region] = error
    return arns, failures


def _publish(calls: list[Call], clients: dict[tuple[str, str], Any], say: Say, account: str) -> str:
    """Make one region's calls and return the ARN of the new version."""
    progress = Progress(account)
    for call in calls:
        if isinstance(call, UploadPackage) and progress.uploaded:
            say(f"{call.region}: the zip is there already")
            continue
        if call.status:
            say(f"{call.region}: {call.status}")
        arguments = {
            name: progress.version[value.field] if isinstance(value, Answer) else value
            for name, value in call.arguments.items()
        }
        with readable_errors(call.subject(progress), PublishError):
            response = _send(call, getattr(clients[call.region, call.service], call.method), arguments)
        call.take(response, progress)
    say(f"{calls[0].region}: {progress.arn}")
    return progress.arn


def _send(call: Call, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Return a call's response, or that of an error which the call accepts; retry a 404 while it may."""
    from botocore.exceptions import ClientError

    end = time.monotonic() + call.patience
    while True:
        try:
            return method(**arguments)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status in call.accepted:
                return error.response
            if status != 404 or time.monotonic() >= end:  # noqa: PLR2004
                raise
        time.sleep(1)
