"""Packages without a wheel: a source distribution of pure Python is built, in pip's isolation, into a wheel.

The wheel is written anew from its contents, so that the same bytes come out on every machine: setuptools puts
its own version, dates and a changing set of fields into what it builds.
"""

import hashlib
import json
import re
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from email.parser import HeaderParser
from pathlib import Path

from layer.builder.errors import ResolveError
from layer.builder.wheels.tool import Pip
from layer.builder.wheels.wheel import Source, Wheel, cache_path, parse_install

_FIELDS = ("Name", "Version", "Requires-Python", "Requires-Dist", "Provides-Extra")
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors).*", re.IGNORECASE)
_OTHERS = {"entry_points.txt", "top_level.txt"}
_WHEEL = "Wheel-Version: 1.0\nGenerator: layer\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def build(requirement: str, cache: Path, run: Pip) -> Wheel:
    """Choose a source distribution, build it into the cache, and return its wheel.

    Where there is none, or it has code to compile, it is a ResolveError that says what to do.
    """
    match = _NAME.match(requirement)
    name = match[0] if match else requirement
    try:
        report = run(
            ["install", "--quiet", "--dry-run", "--report", "-", "--ignore-installed", "--no-deps",
             "--no-binary", name, requirement]
        )  # fmt: skip
    except ResolveError as error:
        raise ResolveError(_describe_ways_out(requirement, str(error))) from None
    (install,) = json.loads(report)["install"]
    chosen = parse_install(install)
    return make(chosen.name, chosen.version, Source(chosen.file, chosen.sha256), cache, run)


def make(name: str, version: str, source: Source, cache: Path, run: Pip) -> Wheel:
    """Build a source distribution that is known by its hash into the cache, and return its wheel."""
    pin = f"{name}=={version}"
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text(f"{pin} --hash=sha256:{source.sha256}\n")
        try:
            run(
                ["wheel", "--quiet", "--no-deps", "--no-binary", name, "--require-hashes",
                 "--wheel-dir", folder, "-r", str(pins)]
            )  # fmt: skip
        except ResolveError as error:
            raise ResolveError(_describe_ways_out(pin, str(error))) from None
        (built,) = Path(folder).glob("*.whl")
        if not built.name.endswith("-none-any.whl"):
            reason = f"{source.file} has code to compile: it builds {built.name}"
            raise ResolveError(_describe_ways_out(pin, reason))
        data = rewrite(built)
    wheel = Wheel(name, version, built.name, hashlib.sha256(data).hexdigest(), source=source)
    path = cache_path(cache, wheel)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return wheel


def rewrite(wheel: Path) -> bytes:
    """Return a pure wheel with the same modules, and of its metadata what every build tool writes."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    info = next(name.partition("/")[0] for name in contents if name.endswith(".dist-info/METADATA"))
    files = {name: data for name, data in contents.items() if not name.startswith(f"{info}/")}
    fields = HeaderParser().parsestr(contents[f"{info}/METADATA"].decode())
    lines = [f"{field}: {value}" for field in _FIELDS for value in sorted(fields.get_all(field, []))]
    for name, data in contents.items():
        base = name.rpartition("/")[2]
        if name.startswith(f"{info}/") and _LICENCE.fullmatch(base):
            files[f"{info}/licenses/{base}"] = data
        elif name.removeprefix(f"{info}/") in _OTHERS:
            files[name] = data
    files[f"{info}/METADATA"] = "\n".join(["Metadata-Version: 2.1", *lines, ""]).encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},{_format_hash(files[name])},{len(files[name])}\n" for name in sorted(files))
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with tempfile.TemporaryFile() as file:
        # Stored: compressors differ.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                member = zipfile.ZipInfo(name)
                member.external_attr = 0o644 << 16
                archive.writestr(member, files[name])
        file.seek(0)
        return file.read()


def _format_hash(data: bytes) -> str:
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _describe_ways_out(requirement: str, reason: str) -> str:
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    if "No matching distribution found" in reason:
        return (
            f"{requirement} has no wheel for the target, and no source distribution: {reason}\n"
            f"  - ask for a version that is there: `pip index versions {name}` lists them"
        )
    return (
        f"{requirement} has no wheel for the target, and cannot be built without a compiler: {reason}\n"
        f"  - ask for a version that has one: `pip index versions {name}` lists them\n"
        f"  - or build it on a machine like the target's, `pip wheel --no-deps {requirement} -w FOLDER`, and "
        "set PIP_FIND_LINKS=FOLDER"
    )
