"""Models of transformers on their way into a bucket: converted for CTranslate2, and proved."""

import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit

from lambda_setup.errors import CommandError
from lambda_setup.models.describe import derive_name
from lambda_setup.models.toolkits import proof
from lambda_setup.models.toolkits.environment import make_environment, run_command
from lambda_setup.output import status

SENTENCES = Path(__file__).with_name("sentences.txt")
_RUNNER = Path(__file__).with_name("transformers_runner.py")
_OWN = ("name", "card", "decoding", "smoke")
"""What a model.toml beside the model may say."""


def convert(
    folder: Path,
    target: Path,
    quantization: str,
    sample: Path | None = None,
    run: Callable[[Path, Path, bytes], bytes] | None = None,
) -> None:
    """Write a converted model, with its ``model.toml``, into an empty folder.

    Args:
        folder: a model as transformers saves it; its ``model.toml`` may have what ``_OWN`` names.
        target: the empty folder.
        quantization: of the weights, float32 or int8.
        sample: a file of sentences, a line each; None for those of the smoke request, or our 50.
        run: converts in the environment, for tests.

    Raises:
        CommandError: the model cannot be converted, or what came out translates otherwise.

    """
    own = _read_own(folder)
    sentences = _read_sentences(sample, own)
    asked = {"sentences": sentences, "quantizations": ["float32", *({quantization} - {"float32"})]}
    with tempfile.TemporaryDirectory(prefix="converted-") as name:
        converted = Path(name)
        result = json.loads(
            (run or _run)(folder, converted, json.dumps(asked).encode()).decode().splitlines()[-1]
        )
        if "reason" in result:
            raise CommandError(f"{folder} cannot be converted: {result['reason']}")
        status(f"comparing {len(sentences)} translations with transformers' own")
        for precision in asked["quantizations"]:
            _describe(converted / precision, precision, result, {"name": derive_name(folder)} | own)
            found = proof.compare(result["cases"], result["made"][precision])
            if precision == "float32":
                proof.check(found, len(result["cases"]))
            else:
                status(f"{precision} changes {len(found.different)} of {found.compared} translations")
        shutil.copytree(converted / quantization, target, dirs_exist_ok=True)


def _run(folder: Path, target: Path, asked: bytes) -> bytes:
    python = make_environment()
    status("converting it, and translating with transformers")
    return run_command([str(python), "-I", str(_RUNNER), str(folder.resolve()), str(target)], asked)


def _read_own(folder: Path) -> dict[str, Any]:
    path = folder / "model.toml"
    own = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if unknown := own.keys() - set(_OWN):
        raise CommandError(
            f"{path} takes {', '.join(_OWN)} beside a model of transformers; remove "
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
        "languages": result["languages"],
        # transformers caps the length alone.
        "decoding": {"max_length_ratio": 250, **own.get("decoding", {})},
    }
    (folder / "model.toml").write_text(tomlkit.dumps(description), encoding="utf-8")
