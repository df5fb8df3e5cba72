"""What an operator's commands and the layer builder read: model.toml, recipes, logs, corpora, results."""

import io
import json
import os
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.libraries import make_library
from support.project import ROOT

from lambda_inference._predictor import Array, Prediction
from lambda_inference._results import encode_lines, encode_npz
from lambda_setup.batch.formats import recognize
from lambda_setup.costs import usage
from lambda_setup.errors import CommandError
from lambda_setup.models import channels
from lambda_setup.models.describe import describe
from lambda_setup.viewer.result import ArrayFile, Result, load_saved
from layer.builder import recipe as recipes
from layer.builder.errors import ElfError, LayerError
from layer.builder.slim.split import layout
from layer.builder.slim.split.observe import read_log
from layer.builder.slim.split.restore import read_index
from layer.builder.slim.split.write import split
from layer.builder.verify import proof
from soak.fuzz.documents import JSON, draw_damage, draw_mutation

TRIED = int(os.environ.get("FUZZ_EXAMPLES") or 2000)
TRIES = settings(max_examples=TRIED, deadline=None, database=None)
_TEMPORARY = tempfile.TemporaryDirectory(prefix="fuzz-")  # removed at the end of the process
FOLDER = Path(_TEMPORARY.name)
MODEL = {
    "name": "m",
    "engine": "opennmt",
    "precision": "float16",
    "files": ["a.bin"],
    "card": "a card",
    "libraries": {"torch": "2.13.0"},
    "tokenizer": {"kind": "regex", "pattern": "a"},
    "decoding": {"beam": 5},
    "languages": {"default": "en"},
    "smoke": {"request": {"data": ["a"]}, "predictions": [{"index": 0}]},
}


def write_toml(path: Path, document: Any) -> None:
    """Write a document as TOML, if it is one that TOML can hold."""
    assume(isinstance(document, dict))
    try:
        text = tomlkit.dumps(document)
        tomllib.loads(text)
        path.write_text(text, encoding="utf-8")
    except (ValueError, TypeError, AttributeError, RecursionError, tomlkit.exceptions.TOMLKitError):
        assume(False)


@TRIES
@given(document=draw_mutation([MODEL]))
def test_models(document: Any) -> None:
    """A model.toml becomes a manifest that a function reads, or an error that names the file."""
    folder = FOLDER / "model"
    folder.mkdir(exist_ok=True)
    (folder / "a.bin").write_bytes(b"1")
    write_toml(folder / "model.toml", document)
    try:
        manifest = describe(folder)
    except (CommandError, OSError):
        return
    import msgspec

    from lambda_inference._models import Manifest

    read = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)
    assert read.version == manifest.version


RECIPES = [
    tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("layer/recipes/*/recipe.toml"))
]


@TRIES
@given(document=draw_mutation(RECIPES))
def test_recipes(document: Any) -> None:
    """A recipe is read, or refused with the path of its file."""
    folder = FOLDER / "recipes" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    write_toml(folder / "recipe.toml", document)
    try:
        recipes.load(str(folder / "recipe.toml"))
    except LayerError as error:
        if "recipe.toml" not in str(error):
            raise


LOG = {"message": "code was unpacked", "cold_code": {"/opt/python/a.so": {"pages": 10, "touched": [1, 2]}}}


@TRIES
@given(lines=st.lists(draw_mutation([LOG]).map(json.dumps) | st.text(max_size=20), max_size=3))
def test_logs(lines: list[str]) -> None:
    """Lines that are none of the layer's are passed over; two layers in one log are refused."""
    try:
        found = read_log(lines)
    except LayerError:
        return
    assert all(isinstance(page, int) for _, touched in found.values() for page in touched)


REPORT = {
    "type": "platform.report",
    "record": {
        "metrics": {"durationMs": 1.5, "billedDurationMs": 2, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    },
}
METRICS = {"_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "Items"}]}]}, "Items": [1.0]}


@TRIES
@given(line=draw_mutation([REPORT, METRICS]).map(json.dumps) | st.text(max_size=20))
def test_usage(line: str) -> None:
    """A line of a log is a report, metrics, or passed over."""
    report = usage.parse_report(line)
    assert report is None or isinstance(report.memory_mb, int)
    assert all(isinstance(one, float) for values in usage.parse_metrics(line).values() for one in values)


@TRIES
@given(
    document=draw_mutation(
        [{"answer": [1], "digest": "a", "interpreter": "b", "prediction": "c", "terms": "d"}]
    )
)
def test_proofs(document: Any) -> None:
    """A record that is not whole is none."""
    recipe = recipes.load("inference")
    from dataclasses import replace

    from layer.builder.target import get_target

    folder, target = FOLDER / "proofs", get_target("python3.13-arm64")
    path = proof.path_of(replace(recipe, folder=folder), target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    proof.read(replace(recipe, folder=folder), target)


CORPORA = [
    b'[{"a": 1}, {"b": 2}]',
    b'{"a": 1}\n{"b": 2}\n',
    b"one\ntwo\n",
    b'["a",\n"b"]',
    b"\xef\xbb\xbf[1, 2]",
]


@TRIES
@given(data=draw_damage(CORPORA))
def test_corpora(data: bytes) -> None:
    """A corpus has a format, whatever its name, or an error says which it may have."""
    for name in ("c.txt", "c.json", "c", "c.jsonl", "c.tsv"):
        try:
            found = recognize(name, lambda: io.BytesIO(data), len(data), None)
        except CommandError:
            continue
        assert isinstance(found, bytes) or found in {"text", "jsonl"}


RESULT = encode_lines(
    [Prediction({"index": 0, "text": "a"}), Prediction({"index": 1, "error": {"code": "x"}})]
)


@TRIES
@given(data=draw_damage([RESULT, b'{"index": 0}\n']))
def test_saved_results(data: bytes) -> None:
    """A result on this machine is shown, or named as damaged."""
    path = FOLDER / "result" / "predictions.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        records = load_saved(path).records
    except (CommandError, OSError):
        return
    assert all(isinstance(record, dict) for record in records)


ARRAYS = encode_npz("v", [Prediction({"index": 0}, {"v": [Array(b"\0" * 8, "f", (2,), ("hypotheses", 0))]})])


@TRIES
@given(data=draw_damage([ARRAYS]))
def test_saved_arrays(data: bytes) -> None:
    """A result's arrays on this machine are shown, or named as damaged."""
    file = ArrayFile("v", "v.npz", lambda: io.BytesIO(data))
    with suppress(CommandError):
        Result("r", "r", [], [file], []).arrays()


class Pointers:
    """An S3 that holds one object."""

    class exceptions:  # noqa: N801 - boto3's name
        """Boto3's."""

        class NoSuchKey(Exception):
            """Boto3's."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def get_object(self, **_: str) -> dict[str, Any]:
        """Return it."""
        return {"Body": io.BytesIO(self.data), "ETag": "e"}


STEP = {"from": None, "to": "1", "when": "2026", "by": "me", "id": "i"}


@TRIES
@given(document=draw_mutation([{"version": "1", "history": [STEP]}]) | JSON)
def test_pointers(document: Any) -> None:
    """A pointer says where its channel was before, or is damaged."""
    try:
        pointer = channels.read(Pointers(json.dumps(document).encode()), "b", "m", "dev")
    except CommandError:
        return
    assert isinstance(pointer.version, str)
    assert pointer.previous is None or isinstance(pointer.previous, str)


SPLIT = split(layout.parse(make_library()), [(0, 2)], level=1, block=4)


@TRIES
@given(data=draw_damage([SPLIT]))
def test_split_libraries(data: bytes) -> None:
    """A split library's index is read, or the library is refused as none."""
    try:
        read_index(data)
    except ElfError:
        return
