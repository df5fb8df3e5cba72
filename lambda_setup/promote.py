"""``model promote``: what dev has is tried, and prod gets it."""

import argparse
import json
import os
import sys
from typing import Any

from lambda_inference.models import Manifest
from lambda_setup import channels
from lambda_setup.aws import explained, identity
from lambda_setup.invoke import say
from lambda_setup.manage import SHOWN, ModelBucket, opened
from lambda_setup.models import Published
from lambda_setup.responses import body_of

TOLERANCE = 1e-4
"""How far a score may be from the expected one: between processors, and numbers of threads."""


def run(options: argparse.Namespace) -> int:
    """Try the candidate with the request that was published with it, then move prod to it."""
    with explained("model bucket"):
        store = opened(options)
        dev, prod = (channels.read(store.client, store.name, options.name, one) for one in channels.CHANNELS)
        if dev is None:
            raise RuntimeError(f"{options.name} has no channel dev; publish it first")
        candidate = store.version(options.name, dev.version)
        if candidate.manifest is None:
            raise RuntimeError(
                f"version {dev.version[:SHOWN]} of {options.name} is not whole; publish it again"
            )
        if prod and prod.version == dev.version:
            print(f"prod of {options.name} has {dev.version[:SHOWN]} already")
            return 0
    came = prod.version[:SHOWN] if prod else "nothing"
    said = f"prod of {options.name} from {came} to {dev.version[:SHOWN]}"
    if options.dry_run:
        print(f"would try {dev.version[:SHOWN]} with its smoke request, then move {said}")
        return 0
    if faults := tried(options, store, candidate.manifest):
        print(f"prod stays at {came}: the candidate does not answer as it was published to", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in faults[:10]), file=sys.stderr)
        return 1
    with explained(f"channel prod of {options.name}"):
        channels.move(store.client, store.name, options.name, "prod", dev.version, before=prod, by=identity())
    print(f"moved {said}")
    return 0


def tried(options: argparse.Namespace, store: ModelBucket, manifest: Published) -> list[str]:
    """Return how a candidate's answer differs from the one that was published with it."""
    smoke = manifest.smoke
    event = {**smoke.request, "result": "inline"} if smoke else {"warmup": True}
    if smoke is None:
        say("no smoke request was published with it: it is only loaded")
    if options.function:
        say(f"asking {options.function}")
        response = _deployed(options.function, event)
    else:
        say("starting the function on this machine with the candidate")
        response = _local(store, manifest, event)
    body = body_of(response)
    if not isinstance(response, dict) or response.get("statusCode") != 200:  # noqa: PLR2004
        return [f"it answers {json.dumps(response, ensure_ascii=False)[:500]}"]
    if smoke is None:
        return []
    if (version := body["model"]["version"]) != manifest.version:
        return [f"{version[:SHOWN]} answered: did dev move, or does the function follow another channel?"]
    from layer.smoke import differences

    text, expected = (json.dumps(one) for one in (body["predictions"], smoke.predictions))
    return differences(text, expected, TOLERANCE)


def _deployed(function: str, event: dict[str, Any]) -> Any:
    import boto3

    from lambda_setup.local.emulator import understood

    with explained(f"function {function}"):
        answer = boto3.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        return understood(answer["Payload"].read().decode())


def _local(store: ModelBucket, manifest: Manifest, event: dict[str, Any]) -> Any:
    import boto3

    from lambda_setup.local import Emulator
    from lambda_setup.local.dependencies import layers
    from lambda_setup.local.stack import ROOT

    session = boto3.Session()
    credentials = session.get_credentials()
    found = credentials.get_frozen_credentials() if credentials else None
    environment = {
        "AWS_ACCESS_KEY_ID": found.access_key if found else None,
        "AWS_SECRET_ACCESS_KEY": found.secret_key if found else None,
        "AWS_SESSION_TOKEN": found.token if found else None,
        "AWS_REGION": session.region_name,
        "AWS_ENDPOINT_URL_S3": os.environ.get("AWS_ENDPOINT_URL_S3"),
        "MODEL_BUCKET": store.name,
        "MODEL_NAME": manifest.name,
        "MODEL_CHANNEL": "dev",
        "RESULT_BUCKET": "none",
        "ENGINE": manifest.engine,
    }
    with Emulator(
        ROOT / "translation_function",
        layers=layers(manifest.engine),
        env={name: value for name, value in environment.items() if value},
    ) as function:
        return function.invoke(event)
