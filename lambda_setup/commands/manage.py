"""``model list``, ``show``, ``verify``, ``rollback`` and ``prune``: what is in a model bucket."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

import msgspec

from lambda_setup.deployment.aws import explained
from lambda_setup.models import channels
from lambda_setup.models.bucket import SHOWN, ModelBucket, opened
from lambda_setup.output import print_result, table, transfer


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

    def text() -> None:
        table(
            {"model": "left", "dev": "left", "prod": "left", "versions": "right", "bytes": "right"},
            [
                [one["name"], *(one["channels"].get(channel, "")[:SHOWN] for channel in channels.CHANNELS),
                 f"{one['versions']:,}", f"{one['bytes']:,}"]
                for one in found
            ],
        )  # fmt: skip

    return print_result(options, found, text)


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

    def text() -> None:
        table(
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
        table(
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

    return print_result(options, what, text)


def verify(options: argparse.Namespace) -> int:
    """Read every byte of a version, and compare it with its manifest."""
    with explained("model bucket"):
        store = opened(options)
        if options.version in channels.CHANNELS:
            version = store.pointed(options.name, options.version)
        else:
            version = store.version(options.name, options.version)
        with transfer("reading", version.bytes) as progress:
            faults = store.verify(options.name, version, progress)
    what = {"version": version.version, "faults": faults}
    print_result(options, what, lambda: print("\n".join(faults) or f"{version.version[:SHOWN]} is whole"))
    if faults:
        print("publish it again, which uploads what is missing or differs", file=sys.stderr)
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
        if not options.dry_run:
            channels.move(store.client, store.name, options.name, options.channel, former.version,
                          before=pointer, by=store.who())  # fmt: skip
    what = move(options, options.channel, pointer.version, former.version, moved=not options.dry_run)
    return print_result(
        options, what, lambda: print(("moved" if what["moved"] else "would move"), said(what))
    )


def move(
    options: argparse.Namespace, channel: str, before: str | None, after: str, *, moved: bool
) -> dict[str, Any]:
    """Return what a command tells of a move that it made, or would make."""
    return {"name": options.name, "channel": channel, "from": before, "to": after, "moved": moved}


def said(what: dict[str, Any]) -> str:
    """Return a move in words."""
    before = what["from"] or "nothing"
    return f"{what['channel']} of {what['name']} from {before[:SHOWN]} to {what['to'][:SHOWN]}"


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
    return print_result(options, what, lambda: print(f"together {what['bytes']:,} bytes"))
