"""Models of other toolkits on their way into a bucket: converted for CTranslate2, and proved."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from lambda_setup.errors import CommandError
from lambda_setup.models import loading
from lambda_setup.models.describe import derive_name, read_description
from lambda_setup.models.toolkits import proof
from lambda_setup.models.toolkits.environment import make_environment, run_command
from lambda_setup.output import status

SENTENCES = Path(__file__).with_name("sentences.txt")
_OWN = ("name", "card", "decoding", "smoke")
"""What a model.toml beside the model may say."""


def run_toolkit(toolkit: str, folder: Path, target: Path, asked: bytes) -> dict[str, Any]:
    """Convert a model in its toolkit's environment; returns what the toolkit's runner prints."""
    python = make_environment(toolkit)
    status(f"converting it, and translating with {toolkit}")
    runner = Path(__file__).with_name(f"{toolkit}_runner.py")
    lines = run_command([str(python), "-I", str(runner), str(folder.resolve()), str(target)], asked)
    result: dict[str, Any] = json.loads(lines.decode().splitlines()[-1])
    return result


def retranslate(folder: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Translate with a converted model, by its function's own modules."""
    runner = Path(__file__).with_name("retranslation_runner.py")
    return loading.run(runner, folder, "ctranslate2", json.dumps(cases).encode())


class Steps(NamedTuple):
    """The programs that a conversion runs; tests have others."""

    run_toolkit: Callable[[str, Path, Path, bytes], dict[str, Any]] = run_toolkit
    retranslate: Callable[[Path, list[dict[str, Any]]], dict[str, Any]] = retranslate


STEPS = Steps()


def convert(
    toolkit: str,
    folder: Path,
    target: Path,
    quantization: str,
    sample: Path | None = None,
    steps: Steps = STEPS,
) -> None:
    """Write a converted model, with its ``model.toml``, into an empty folder.

    Args:
        toolkit: whose model it is, transformers or eole.
        folder: a model as the toolkit saves it; its ``model.toml`` may have what ``_OWN`` names.
        target: the empty folder.
        quantization: of the weights, float32 or int8.
        sample: a file of sentences, a line each; None for those of the smoke request, or our 50.
        steps: the programs to run.

    Raises:
        CommandError: the model cannot be converted, or what came out translates otherwise.

    """
    own = _read_own(folder)
    sentences = _read_sentences(sample, own)
    asked = {"sentences": sentences, "quantizations": ["float32", *({quantization} - {"float32"})]}
    with tempfile.TemporaryDirectory(prefix="converted-") as name:
        converted = Path(name)
        result = steps.run_toolkit(toolkit, folder, converted, json.dumps(asked).encode())
        if "reason" in result:
            raise CommandError(f"{folder} cannot be converted: {result['reason']}")
        status(f"comparing {len(sentences)} translations with those of {toolkit}")
        for precision in asked["quantizations"]:
            made = converted / precision
            _describe(made, precision, result, {"name": derive_name(folder)} | own)
            again = steps.retranslate(made, result["cases"])
            if "reason" in again:
                raise CommandError(f"{folder} cannot be served: {again['reason']}")
            found = proof.compare(result["cases"], again["made"])
            if precision == "float32":
                proof.check(found, len(result["cases"]), toolkit)
            else:
                status(f"{precision} changes {len(found.different)} of {found.compared} translations")
        shutil.copytree(converted / quantization, target, dirs_exist_ok=True)


def _read_own(folder: Path) -> dict[str, Any]:
    path = folder / "model.toml"
    own = read_description(path)
    if unknown := own.keys() - set(_OWN):
        raise CommandError(
            f"{path} takes {', '.join(_OWN)} beside a model of another toolkit; remove "
            f"{', '.join(sorted(unknown))}, which the conversion says itself"
        )
    return own


def _read_sentences(sample: Path | None, own: dict[str, Any]) -> list[str]:
    smoke = own.get("smoke", {}).get("request", {}).get("data")
    if sample is None and smoke:
        return [smoke] if isinstance(smoke, str) else list(smoke)
    lines = (sample or SENTENCES).read_text(encoding="utf-8").splitlines()
    if sentences := [line for line in lines if line.strip()]:
        return sentences
    raise CommandError(f"{sample} holds no sentences; write some, a line each")


def _describe(folder: Path, precision: str, result: dict[str, Any], own: dict[str, Any]) -> None:
    """Write the ``model.toml`` of a converted model."""
    description = {
        **{name: value for name, value in own.items() if name != "smoke" or precision == "float32"},
        "engine": "ctranslate2",
        "precision": precision,
        "files": sorted(path.name for path in folder.iterdir()),
        "libraries": result["libraries"],
        **result["tables"],
        "decoding": result["tables"]["decoding"] | own.get("decoding", {}),
    }
    (folder / "model.toml").write_text(tomlkit.dumps(description), encoding="utf-8")
