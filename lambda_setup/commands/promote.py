"""``model promote``: what dev has is tried, and prod gets it."""

import argparse
import json
import sys
from typing import Any

from lambda_inference._models import Manifest
from lambda_setup.commands.manage import move, said
from lambda_setup.deployment import aws
from lambda_setup.deployment.aws import explained
from lambda_setup.deployment.responses import body_of
from lambda_setup.models import channels
from lambda_setup.models.bucket import SHOWN, ModelBucket, opened
from lambda_setup.models.describe import PublishedManifest
from lambda_setup.output import print_result, status


def run(options: argparse.Namespace) -> int:
    """Try the candidate with the request that was published with it, then move prod to it."""
    with explained("model bucket"):
        store = opened(options)
        candidate = store.manifest(options.name, "dev")
        prod = channels.read(store.client, store.name, options.name, "prod")
    version, before = candidate.version, prod.version if prod else None
    does = not options.dry_run and version != before
    faults = tried(options, store, candidate) if does else []
    if does and not faults:
        with explained(f"channel prod of {options.name}"):
            channels.move(store.client, store.name, options.name, "prod", version,
                          before=prod, by=store.who())  # fmt: skip
    what = {**move(options, "prod", before, version, moved=does and not faults), "faults": faults}
    print_result(options, what, lambda: _print(what))
    return 1 if faults else 0


def _print(what: dict[str, Any]) -> None:
    if what["faults"]:
        came = (what["from"] or "nothing")[:SHOWN]
        print(f"prod stays at {came}: the candidate does not answer as it was published to", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in what["faults"][:10]), file=sys.stderr)
    elif what["moved"]:
        print("moved", said(what))
    elif what["from"] == what["to"]:
        print(f"prod of {what['name']} has {what['to'][:SHOWN]} already")
    else:
        print(f"would try {what['to'][:SHOWN]} with its smoke request, then move", said(what))


def tried(options: argparse.Namespace, store: ModelBucket, manifest: PublishedManifest) -> list[str]:
    """Return how a candidate's answer differs from the one that was published with it."""
    smoke = manifest.smoke
    event = {**smoke.request, "result": "inline"} if smoke else {"warmup": True}
    if smoke is None:
        status("no smoke request was published with it: it is only loaded")
    function = options.function
    if options.try_on:
        function = aws.stack_output(options.try_on, "FunctionAliasArn")
    if function:
        status(f"asking {function}")
        response = _deployed(function, event)
    else:
        status("starting the function on this machine with the candidate")
        response = _local(store, manifest, event)
    body = body_of(response)
    if not isinstance(response, dict) or response.get("statusCode") != 200:  # noqa: PLR2004
        return [f"it answers {json.dumps(response, ensure_ascii=False)[:500]}"]
    if smoke is None:
        return []
    if (version := body["model"]["version"]) != manifest.version:
        return [f"{version[:SHOWN]} answered: did dev move, or does the function follow another channel?"]
    from layer.builder.verify.compare import TOLERANCE, differences

    return differences(body["predictions"], smoke.predictions, TOLERANCE)


def _deployed(function: str, event: dict[str, Any]) -> Any:
    from lambda_setup.deployment.local.emulator import understood

    return understood(aws.function(function)(event))


def _local(store: ModelBucket, manifest: Manifest, event: dict[str, Any]) -> Any:
    from lambda_setup import functions
    from lambda_setup.deployment.local import Emulator
    from lambda_setup.deployment.local.layers import layers

    environment = {
        **store.environment(),
        "MODEL_NAME": manifest.name,
        "MODEL_CHANNEL": "dev",
        "RESULT_BUCKET": "none",
        "ENGINE": manifest.engine,
    }
    code = functions.running(manifest.engine).code
    with Emulator(code, layers=layers(manifest.engine), env=environment) as function:
        return function.invoke(event)
