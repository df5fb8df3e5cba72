"""Resolve requirements to wheels: the files that pip would install, checked before they are fetched."""

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.recipe import Contents, Recipe, normalise
from layer.builder.target import Target
from layer.builder.wheels import sdist
from layer.builder.wheels.tool import Pip, get_pip
from layer.builder.wheels.wheel import Wheel, cache_path, parse_install

_CUDA = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-.*)?")
_NO_WHEEL = re.compile(r"No matching distribution found for (?P<requirement>\S+)")

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's index of CPU builds, for requirements whose wheels on the ordinary index are CUDA builds."""


def resolve(recipe: Recipe, target: Target, cache: Path, run: Pip | None = None) -> tuple[Wheel, ...]:
    """Return the wheels of a recipe for a target; pip fetches only wheels whose index lacks their metadata.

    One whose package has only a source distribution is built into the cache. If neither pip's indexes nor
    the recipe's have a CPU build of one, it is a CudaBuildError.
    """
    contents = recipe.contents(target.name)
    arguments = ["--no-deps", *contents.requirements]
    wheels, cuda = _choose(arguments, target, recipe.cpu_index, cache, run or get_pip(target))
    if cuda:
        others = [name for name in recipe.targets if name not in {target.name, "host"}]
        raise CudaBuildError(_describe_ways_out(cuda, recipe.cpu_index, target, others))
    check_complete(contents, wheels)
    return wheels


def resolve_file(
    file: Path, target: Target, cache: Path, run: Pip | None = None, constraints: Sequence[str] = ()
) -> tuple[Wheel, ...]:
    """Return the wheels of a requirements file and of all that it depends on, for a target.

    Packages that ``constraints`` pin have these versions, if they are needed at all.
    """
    run = run or get_pip(target)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as pins:
        pins.write("\n".join(constraints))
        pins.flush()
        wheels, cuda = _choose(["-r", str(file), "-c", pins.name], target, CPU_INDEX, cache, run)
    if cuda:
        raise CudaBuildError(_describe_ways_out(cuda, CPU_INDEX, target, []))
    return wheels


def _choose(
    arguments: Sequence[str], target: Target, cpu_index: str, cache: Path, run: Pip
) -> tuple[tuple[Wheel, ...], dict[Wheel, list[str]]]:
    """Return the wheels that pip chooses, and which are CUDA builds although CPU builds were asked for."""
    wheels = _query([*arguments, *target.pip_options()], target, cache, run)
    cuda = find_cuda(wheels)
    if cuda and cpu_index:
        options = [*target.pip_options(), "--extra-index-url", cpu_index, "--retries", "1", "--timeout", "15"]
        wheels = _query([*arguments, *options], target, cache, run)
        cuda = find_cuda(wheels)
    return wheels, cuda


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


def _query(arguments: Sequence[str], target: Target, cache: Path, run: Pip) -> tuple[Wheel, ...]:
    """Ask pip which wheels it would install; what has none is built, and pip asked again."""
    built: dict[str, Wheel] = {}
    links: list[str] = []
    while True:
        try:
            with tempfile.TemporaryDirectory() as folder:
                report = run(
                    ["install", "--quiet", "--dry-run", "--report", "-", "--ignore-installed",
                     "--target", folder, *arguments, *links]
                )  # fmt: skip
        except ResolveError as error:
            missing = _NO_WHEEL.search(str(error))
            if not missing or missing["requirement"] in built:
                raise
            wheel = sdist.build(missing["requirement"], cache, run)
            built[missing["requirement"]] = wheel
            links += ["--find-links", str(cache_path(cache, wheel).parent)]
            continue
        sources = {wheel.file: wheel.source for wheel in built.values()}
        wheels = [_parse_wheel(install, target) for install in json.loads(report)["install"]]
        wheels = [replace(wheel, source=sources.get(wheel.file)) for wheel in wheels]
        return tuple(sorted(wheels, key=lambda wheel: wheel.name))


def _parse_wheel(install: dict[str, Any], target: Target) -> Wheel:
    declared = install["metadata"].get("requires_dist", [])
    return replace(parse_install(install), requires=_parse_requires(declared, target))


def _parse_requires(declared: Iterable[str], target: Target) -> tuple[str, ...]:
    # The reference parser comes with pip; the standard library has none.
    from pip._vendor.packaging.requirements import Requirement

    requirements = (Requirement(text) for text in declared)
    markers = target.markers()
    names = {normalise(one.name) for one in requirements if not one.marker or one.marker.evaluate(markers)}
    return tuple(sorted(names))


def _describe_ways_out(
    cuda: dict[Wheel, list[str]], cpu_index: str, target: Target, others: Sequence[str]
) -> str:
    lines = [f"for {target.name} pip finds only wheels that are built for a GPU, which Lambda does not have:"]
    lines += [
        f"  {wheel.file} ({', '.join(signs[:3])}{', …' if len(signs) > 3 else ''})"  # noqa: PLR2004
        for wheel, signs in cuda.items()
    ]
    if cpu_index:
        lines += [
            f"{cpu_index} was asked too, and did not answer or has no CPU build. One of these helps:",
            f"  - reach it, or a mirror of it: PIP_EXTRA_INDEX_URL={cpu_index}",
            "  - fetch the CPU wheel elsewhere into a folder: PIP_FIND_LINKS=that/folder",
        ]
    else:
        lines.append("Set PIP_EXTRA_INDEX_URL to an index with CPU builds, or cpu_index in the recipe.")
    if others:
        lines.append(f"  - or build for another target: {', '.join(others)}")
    return "\n".join(lines)
