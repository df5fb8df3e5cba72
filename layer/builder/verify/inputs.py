"""What a prediction consists of beside the tree: its code, its inputs, and what is made for it."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from layer.builder.errors import RecipeError
from layer.builder.recipe import ROOT, Smoke

RUNNER = Path(__file__).with_name("smoke_runner.py")
_NOT_DEPLOYED = {"show.py", "publishing.py"}
"""As in recipes/parts/code/Makefile."""


def list_code_files(smoke: Smoke) -> list[Path]:
    """Return the files that the prediction consists of, apart from the tree.

    Raises:
        RecipeError: one of its inputs is not there.

    """
    for path in smoke.inputs:
        if not path.is_file() and (path.parent / "fetch.json").is_file():
            raise RecipeError(f"there is no {path}. {_advise(path.parent)}")
        if not path.is_file():
            raise RecipeError(
                f"there is no {path}: correct `inputs` below [smoke] in the recipe, or leave it out, which "
                "takes the files that the model's model.toml names; train or download the model if it is new"
            )
    code = [path for folder in smoke.code for path in _list_modules(folder)]
    events = [one for path in smoke.arguments.get("events", []) for one in _list_events(ROOT / path)]
    prepare = [smoke.prepare] if smoke.prepare else []
    script = [smoke.script] if smoke.script else []
    return [*script, RUNNER, *prepare, *code, *events, *smoke.inputs]


def check_model(smoke: Smoke) -> None:
    """Refuse a prediction whose model's files are not all there; a script makes others by itself.

    Raises:
        RecipeError: the message ends with what brings them.

    """
    folder = ROOT / str(smoke.arguments.get("model", ""))
    description = folder / "model.toml"
    if smoke.prepare or "model" not in smoke.arguments or not description.is_file():
        return
    names = tomllib.loads(description.read_text(encoding="utf-8")).get("files", [])
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise RecipeError(
            f"{folder.relative_to(ROOT)} lacks {' and '.join(missing)}, which the prediction of the layer's "
            f"proof loads. {_advise(folder)}"
        )


def _advise(folder: Path) -> str:
    """Return what brings the files that a model's folder lacks."""
    if (folder / "fetch.json").is_file():
        return (
            "They are not in git; this fetches them: "
            f"python -m lambda_setup model fetch {folder.relative_to(ROOT)}"
        )
    return "Put them there from where your training keeps them, or correct `files` in its model.toml"


def digest(smoke: Smoke, base_digest: str) -> str:
    """Return the sha256 of all that the prediction consists of, apart from the tree but with its base's."""
    what = [smoke.arguments, base_digest, *([list(smoke.imports)] if smoke.imports else [])]
    total = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for path in list_code_files(smoke):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def count_code_bytes(smoke: Smoke) -> int:
    """Return the bytes that the function's own code takes, apart from the layer."""
    return sum(path.stat().st_size for folder in smoke.function for path in _list_modules(folder))


def _list_modules(folder: Path) -> list[Path]:
    """Return a function's modules, without builds and without those that only operators' commands load."""
    found = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*.py")))
    return [path for path, parts in found if parts[-1] not in _NOT_DEPLOYED and not parts[0].startswith(".")]


def _list_events(path: Path) -> list[Path]:
    """Return an event's file, or a folder's events without the answers beside them."""
    return [one for one in sorted(path.rglob("*.json")) if ".answer" not in one.name] or [path]


def prepare(smoke: Smoke, folder: Path) -> bool:
    """Make what the prediction needs, once for each state of its sources; return whether it is there.

    It is made by the running Python, which may lack the libraries for it.
    """
    if smoke.prepare is None:
        return True
    stamp = folder.with_name(f".{folder.name}.sha256")
    sources = hashlib.sha256()
    for path in (smoke.prepare, *smoke.inputs):
        sources.update(hashlib.sha256(path.read_bytes()).digest())
    if folder.is_dir() and stamp.is_file() and stamp.read_text(encoding="utf-8") == sources.hexdigest():
        return True
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".prepare-", dir=folder.parent) as name:
        made = Path(name) / "made"
        made.mkdir()
        done = subprocess.run([sys.executable, smoke.prepare, made], capture_output=True, check=False)
        if done.returncode == 0:
            made.rename(folder)
            stamp.write_text(sources.hexdigest(), encoding="utf-8")
    return folder.is_dir()


def list_folders(smoke: Smoke) -> list[Path]:
    """Return the folders that hold what the prediction consists of."""
    return [ROOT, *([smoke.script.parent] if smoke.script else []), *smoke.code, *smoke.inputs]


def link_code(smoke: Smoke, folder: Path) -> list[str]:
    """Return the folders to import the function's code from; a package's neighbours stay out."""
    packages = folder / "packages"
    packages.mkdir()
    paths = []
    for code in smoke.code:
        if (code / "__init__.py").is_file():
            (packages / code.name).symlink_to(code)
        else:
            paths.append(str(code))
    return [*paths, str(packages)]
