"""Resolve pins to wheels: the files that pip would install for a target, checked before they are fetched."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.recipe import Contents, Recipe, normalise
from layer.builder.target import Target

_CUDA = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-.*)?")

Pip = Callable[[Sequence[str]], str]
"""A function that runs pip with arguments and returns its output."""


@dataclass(frozen=True)
class Wheel:
    """A wheel that pip chose, or that a lock names; names are normalised.

    ``version`` has its local part, such as ``2.13.0+cpu``. A lock does not record ``requires``, the names
    of its dependencies on the target.
    """

    name: str
    version: str
    file: str
    sha256: str
    requires: tuple[str, ...] = field(default=(), compare=False)

    def pin(self) -> str:
        """Return the requirement that only this file meets."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def run_pip(arguments: Sequence[str]) -> str:
    """Run this interpreter's pip, and return its output; its errors become a ResolveError."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    # Settings for installing elsewhere than into the folder that is asked for.
    environment = {key: value for key, value in os.environ.items() if key not in {"PIP_TARGET", "PIP_USER"}}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ResolveError("pip failed:\n" + "\n".join(errors or [done.stderr.strip()]))
    return done.stdout


def resolve(recipe: Recipe, target: Target, run: Pip = run_pip) -> tuple[Wheel, ...]:
    """Return the wheels of a recipe for a target; pip fetches only wheels whose index lacks their metadata.

    If neither pip's indexes nor the recipe's have a CPU build of one, it is a CudaBuildError.
    """
    contents = recipe.contents(target.name)
    options = target.pip_options()
    wheels = _query(contents, target, options, run)
    if cuda := find_cuda(wheels):
        if recipe.cpu_index:
            options += ["--extra-index-url", recipe.cpu_index, "--retries", "1", "--timeout", "15"]
            wheels = _query(contents, target, options, run)
            cuda = find_cuda(wheels)
        if cuda:
            raise CudaBuildError(_describe_ways_out(cuda, recipe, target))
    check_complete(contents, wheels)
    return wheels


def find_cuda(wheels: Iterable[Wheel]) -> dict[Wheel, list[str]]:
    """Return the wheels that are built for a GPU, each with the evidence."""
    evidence = {}
    for wheel in wheels:
        signs = [name for name in wheel.requires if _CUDA.fullmatch(name)]
        if _CUDA.fullmatch(wheel.name) or re.search(r"\+cu\d", wheel.version):
            signs.append(f"{wheel.name} {wheel.version} itself")
        if signs:
            evidence[wheel] = signs
    return evidence


def check_complete(contents: Contents, wheels: Iterable[Wheel]) -> None:
    """Refuse a set of wheels if a declared dependency is neither in it nor excluded."""
    wheels = list(wheels)
    known = {wheel.name for wheel in wheels} | contents.exclude
    missing = [
        f"{wheel.name} {wheel.version} requires {name}"
        for wheel in wheels
        if wheel.name not in contents.no_deps
        for name in wheel.requires
        if name not in known
    ]
    if missing:
        raise ResolveError(
            f"the recipe is incomplete: {'; '.join(missing)}. Pin each of them, or add it to exclude"
        )


def _query(contents: Contents, target: Target, options: Sequence[str], run: Pip) -> tuple[Wheel, ...]:
    """Ask pip which wheels it would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            ["install", "--quiet", "--dry-run", "--report", "-", "--ignore-installed", "--no-deps",
             "--target", folder, *options, *contents.requirements]
        )  # fmt: skip
    wheels = [_parse_wheel(install, target) for install in json.loads(report)["install"]]
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))


def _parse_wheel(install: dict[str, Any], target: Target) -> Wheel:
    metadata, download = install["metadata"], install["download_info"]
    return Wheel(
        name=normalise(metadata["name"]),
        version=metadata["version"],
        file=download["url"].rpartition("/")[2].replace("%2B", "+"),
        sha256=download["archive_info"]["hashes"]["sha256"],
        requires=_parse_requires(metadata.get("requires_dist", []), target),
    )


def _parse_requires(declared: Iterable[str], target: Target) -> tuple[str, ...]:
    # The reference parser comes with pip; the standard library has none.
    from pip._vendor.packaging.requirements import Requirement

    requirements = (Requirement(text) for text in declared)
    markers = target.markers()
    names = {normalise(one.name) for one in requirements if not one.marker or one.marker.evaluate(markers)}
    return tuple(sorted(names))


def _describe_ways_out(cuda: dict[Wheel, list[str]], recipe: Recipe, target: Target) -> str:
    lines = [f"for {target.name} pip finds only wheels that are built for a GPU, which Lambda does not have:"]
    lines += [
        f"  {wheel.file} ({', '.join(signs[:3])}{', …' if len(signs) > 3 else ''})"  # noqa: PLR2004
        for wheel, signs in cuda.items()
    ]
    if recipe.cpu_index:
        lines += [
            f"{recipe.cpu_index} was asked too, and did not answer or has no CPU build. One of these helps:",
            f"  - reach it, or a mirror of it: PIP_EXTRA_INDEX_URL={recipe.cpu_index}",
            "  - fetch the CPU wheel elsewhere into a folder: PIP_FIND_LINKS=that/folder",
        ]
    else:
        lines.append("Set PIP_EXTRA_INDEX_URL to an index with CPU builds, or cpu_index in the recipe.")
    others = [name for name in recipe.targets if name not in {target.name, "host"}]
    if others:
        lines.append(f"  - or build for another target: {', '.join(others)}")
    return "\n".join(lines)
