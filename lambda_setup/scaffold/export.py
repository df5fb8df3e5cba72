"""Networks of Hugging Face on their way into a function: exported to ONNX, and compared with the original."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomlkit

from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits import packages
from lambda_setup.models.toolkits.conversion import SENTENCES
from lambda_setup.models.toolkits.environment import make_environment, run_command
from lambda_setup.output import status
from lambda_setup.scaffold.huggingface.recognition import Network

_GRAPH_RUNNER = Path(__file__).with_name("onnx_runner.py")
_MODULE_RUNNER = Path(__file__).with_name("torch_runner.py")
_RUNNER = Path(__file__).with_name("export_runner.py")
_ODD = ("", "?", "Ünïcödé, 東京 🙂", "word " * 2_000)
"""Texts that a network may answer otherwise: empty, short, of other scripts, too long."""
_READABLE = 100_000
"""Characters of a smoke test that is laid out for people."""
OUTPUTS = {
    "huggingface": ("network.onnx", "network.onnx.data", "settings.json", "tokenizer.json"),
    "onnx": ("network.onnx", "network.onnx.data"),
    "torch": ("settings.json", "weights.safetensors"),
}
"""The files that a starting point makes of a network."""
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "README.md")


def list_outputs(kind: str, source: Path, *, package: bool = False) -> list[str]:
    """Return the names of the files that a model's folder will have.

    Args:
        kind: the starting point, of ``OUTPUTS``.
        source: the folder with the network.
        package: whether the weights come from a package again.

    """
    papers = [path.name for path in _list_papers(source)]
    return ["model.toml", *OUTPUTS[kind], *([packages.FILE] if package else []), *papers]


def export(
    network: Network,
    target: Path,
    name: str,
    request: dict[str, Any],
    *,
    int8: bool = False,
    package: tuple[str, str] | None = None,
) -> str:
    """Write an exported network with its ``model.toml`` into a folder, and return how far it is off.

    Args:
        network: what is exported.
        target: an empty folder.
        name: of the function; the model's is the same with - for _.
        request: the one whose answer by the original network is the smoke test's.
        int8: whether the weights have 8 bits, and answers differ.
        package: name==version and sha256 of what the network came in; then the weights need not be kept.

    Raises:
        CommandError: it cannot be exported, or answers otherwise.

    """
    samples = _make_samples(network, request)
    asked = {**asdict(network), "folder": "", "request": request, "samples": samples, "int8": int8}
    python = make_environment("onnx")
    status(f"exporting a {network.kind} network for {network.task}; about a minute")
    result = _run_in(python, _RUNNER, network.folder, target, json.dumps(asked).encode())
    precision = "int8" if int8 else "float32"
    (target / "model.toml").write_text(_describe(target, name, precision, request, result), encoding="utf-8")
    if package and result["weights"]:
        (target / packages.FILE).write_text(_describe_fetch(package, result["weights"], target))
    for path in _list_papers(network.folder):
        shutil.copyfile(path, target / path.name)
    what = "1 - cosine" if network.task == "embedding" else "difference"
    return f"{precision}: {what} to the original at most {result['loss']:.1e}, of {len(samples)} texts"


def _make_samples(network: Network, request: dict[str, Any]) -> Sequence[Any]:
    texts = [*SENTENCES.read_text(encoding="utf-8").splitlines(), *_ODD]
    if network.task in {"pairs", "entailment", "answers"}:
        return [[text, other] for text, other in zip(texts, reversed(texts), strict=True)]
    return [*request["data"], *texts]


def _describe(
    folder: Path, name: str, precision: str, request: dict[str, Any], result: dict[str, Any]
) -> str:
    """Return the text of the exported model's ``model.toml``."""
    description: dict[str, Any] = {
        "name": name.replace("_", "-"),
        "engine": name,
        "precision": precision,
        "files": sorted(path.name for path in folder.iterdir()),
        "libraries": result["libraries"],
    }
    if precision != "float32":  # int8 answers a little otherwise on each kind of processor
        return tomlkit.dumps(description)
    smoke = {"request": request, "predictions": result["predictions"]}
    if len(json.dumps(smoke)) < _READABLE:
        return tomlkit.dumps(description | {"smoke": smoke})
    lines = [f"{key} = {format_value(value)}" for key, value in smoke.items()]
    return "\n".join([tomlkit.dumps(description), "[smoke]", *lines]) + "\n"


def format_value(value: Any) -> str:
    """Return a value as TOML has it in one line; of a hundred thousand numbers in no time."""
    match value:
        case dict():
            pairs = [f"{json.dumps(key)} = {format_value(one)}" for key, one in value.items()]
            return f"{{{', '.join(pairs)}}}"
        case list():
            return f"[{', '.join(map(format_value, value))}]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _describe_fetch(package: tuple[str, str], weights: dict[str, Any], target: Path) -> str:
    """Return the text of ``fetch.json``, by which the weights come from the package again."""
    plan = {
        "package": package[0],
        "sha256": package[1],
        "files": {"tokenizer.json": "tokenizer.json"},
        "results": {name: packages.hash_file(target / name) for name in (weights["file"], "tokenizer.json")},
        "weights": weights,
    }
    return json.dumps(plan) + "\n"


def _list_papers(folder: Path) -> list[Path]:
    """Return a model's licence and card, wherever they are."""
    return sorted({path for pattern in _LICENCES for path in folder.glob(pattern) if path.is_file()})


def export_graph(path: Path, target: Path, name: str) -> tuple[str, dict[str, Any], list[str]]:
    """Write a network in ONNX with its ``model.toml`` into an empty folder.

    Returns how far it is off, the example that it was tried with, and the kinds of arrays in its answer.

    Raises:
        CommandError: it is not a network, or one whose inputs or outputs have no way into a request.

    """
    python = make_environment("onnx")
    status(f"optimising {path.name}")
    result = _run_in(python, _GRAPH_RUNNER, path, target, b"")
    request = {"data": result["data"]}
    text = _describe(target, name, result["precision"], request, result)
    (target / "model.toml").write_text(text, encoding="utf-8")
    for paper in _list_papers(path.parent):
        shutil.copyfile(paper, target / paper.name)
    return f"difference to the original at most {result['loss']:.1e}", request, result["arrays"]


def list_modules(folder: Path) -> list[Path]:
    """Return a module's code: the files beside ``network.py``, and packages there.

    Raises:
        CommandError: a file that ``export_module`` needs is missing.

    """
    for file in ("network.py", "example.json"):
        if not (folder / file).is_file():
            raise CommandError(f"{folder} has no {file}; docs/forking.md says what the folder holds")
    if len(found := list(folder.glob("*.safetensors"))) != 1:
        raise CommandError(
            f"{folder} has {len(found)} files *.safetensors; expected one, as by "
            "safetensors.torch.save_file(network.state_dict(), FILE)"
        )
    packages = {path.parent for path in folder.glob("*/__init__.py")}
    return sorted([*folder.glob("*.py"), *(path for one in packages for path in one.rglob("*.py"))])


def export_module(folder: Path, target: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """Write a module's weights and settings with its ``model.toml`` into an empty folder.

    Args:
        folder: with ``network.py``, whose class ``Network`` is the module, one ``*.safetensors``,
            ``example.json`` (``{"data": [{INPUT: numbers, …}, …]}``), and ``config.json`` with the class's
            arguments, if it takes any.
        target: the empty folder.
        name: of the function.

    Returns the example, and the kinds of arrays in its answer.

    Raises:
        CommandError: a file is missing, or the module does not answer its example.

    """
    list_modules(folder)
    status("asking the module for its answer to example.json")
    result = _run_in(make_environment("onnx"), _MODULE_RUNNER, folder, target, b"")
    request = {"data": result["data"]}
    (target / "model.toml").write_text(_describe(target, name, "float32", request, result), encoding="utf-8")
    for paper in _list_papers(folder):
        shutil.copyfile(paper, target / paper.name)
    return request, result["arrays"]


def _run_in(python: Path, runner: Path, source: Path, target: Path, data: bytes) -> dict[str, Any]:
    """Run a runner and return what it says.

    Raises:
        CommandError: it refuses the source, and says why; or it ended without an answer.

    """
    command = [str(python), "-I", str(runner), str(source.resolve()), str(target)]
    last = run_command(command, data).decode(errors="replace").strip().rpartition("\n")[2]
    try:
        result: dict[str, Any] = json.loads(last)
    except ValueError:
        raise CommandError(
            f"{runner.name} ended without an answer for {source}, and last wrote "
            f"{last[:200] or 'nothing'!r}. "
            f"Run the command again; if it ends so again, remove {python.parents[1]}, the environment "
            "with its packages, which is then made anew"
        ) from None
    if "reason" in result:
        raise CommandError(f"{source} cannot be exported: {result['reason']}")
    return result


@contextlib.contextmanager
def make_model(model: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes the model's if all goes well."""
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".exported-", dir=model.parent) as temporary:
        target = Path(temporary) / "model"
        target.mkdir()
        yield target
        target.rename(model)
