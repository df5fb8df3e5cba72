"""The Keras example: Keras' own answers from both engines, versions that are told, and files that attack."""

import base64
import gzip
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT

from lambda_setup.deployment.local import LocalDeployment
from lambda_setup.deployment.local.application import MODEL_BUCKET
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.models.upload import publish
from layer.builder import build
from layer.builder.recipe import load
from layer.builder.report import facts as report
from layer.builder.target import get_target

ONNX, KERAS = ROOT / "models" / "tumours", ROOT / "models" / "tumours-keras"
pytestmark = pytest.mark.check
REFERENCE = json.loads(gzip.decompress((ONNX / "reference.json.gz").read_bytes()))
ROWS, EXPECTED = REFERENCE["rows"], REFERENCE["probabilities"]
LABELS = json.loads((ONNX / "labels.json").read_text())["labels"]
ARCHITECTURE = json.loads((KERAS / "architecture.json").read_text())

each_engine = pytest.mark.parametrize(
    "engine", ["onnxruntime", pytest.param("keras", marks=pytest.mark.check)]
)


@pytest.fixture
def function(start_function, engine):
    """Return the function with an engine's model."""
    return start_function("keras") if engine == "onnxruntime" else start_function("keras", KERAS)


def probabilities(function, rows: list[list[float]]) -> list[list[float]]:
    """Return what the function answers, a list of probabilities a row."""
    response = function.invoke({"data": rows, "result": "inline"})
    assert response["statusCode"] == 200, response
    return [list(one["probabilities"].values()) for one in response["body"]["predictions"]]


def farthest(found: list[list[float]], expected: list[list[float]]) -> float:
    """Return the largest difference between two lists of probabilities."""
    assert len(found) == len(expected)
    pairs = zip(found, expected, strict=True)
    return max(abs(one - other) for row in pairs for one, other in zip(*row, strict=True))


@each_engine
def test_answers_are_those_of_keras(function, engine):
    """Both engines predict what the trained model's own predict did, on rows that it was not trained with."""
    response = function.invoke({"data": ROWS, "result": "inline"})
    found = response["body"]["predictions"]
    assert response["body"]["engine"] == engine
    assert [list(one["probabilities"]) for one in found] == [LABELS] * len(ROWS)
    assert farthest([list(one["probabilities"].values()) for one in found], EXPECTED) < 1e-5
    assert [one["label"] for one in found] == [LABELS[row.index(max(row))] for row in EXPECTED]


def test_quality_is_as_stated(start_function):
    """Of the rows that the model was not trained with, so many are right as its card says."""
    found = probabilities(start_function("keras"), ROWS)
    right = sum(row.index(max(row)) == label for row, label in zip(found, REFERENCE["labels"], strict=True))
    assert f"| {right} of {len(ROWS)} " in (ONNX / "README.md").read_text()


@each_engine
def test_neighbours_change_nothing(function):
    """A row has the same answer alone, among a few, and among more than are computed at once."""
    together = probabilities(function, ROWS * 20)
    in_sevens = [row for start in range(0, 35, 7) for row in probabilities(function, ROWS[start : start + 7])]
    alone = [probabilities(function, [row])[0] for row in ROWS[:35]]
    for start in range(0, len(together), len(ROWS)):
        assert farthest(together[start : start + 35], alone) < 1e-6
    assert farthest(in_sevens, alone) < 1e-6


@each_engine
def test_model_is_on_no_disk(function):
    """What the model consists of is read into memory, and no library writes anything beside it."""
    probabilities(function, ROWS[:1])
    assert [path for path in function.stack.temporary.iterdir() if not path.name.startswith("layer-")] == []


def test_more_rows_than_are_taken(start_function):
    """Ten thousand rows are taken, and one more is refused by its number."""
    function = start_function("keras")
    assert len(probabilities(function, [[0.0] * 30] * 10_000)) == 10_000
    response = function.invoke({"data": [[0.0] * 30] * 10_001})
    assert (response["statusCode"], response["body"]["error"]["field"]) == (400, "data")


# The layers.


def built(engine: str) -> report.Report:
    """Return the report of an engine's layer for this machine."""
    build_layers(engine)
    return report.read(build.default_out(load(engine), get_target("host")) / report.REPORT)


def test_layer_of_the_default_engine():
    """ONNX Runtime's layer is small, lies there as it is, and has no code that sends anything home."""
    found = built("onnxruntime")
    assert found.strategy == "direct"
    assert found.budget.layer <= 80_000_000
    [library] = build_layers("onnxruntime")[0].rglob("onnxruntime_pybind11_state*.so")
    content = library.read_bytes()
    assert b"onnxruntime" in content
    assert b"events.data.microsoft.com" not in content


@pytest.mark.check
def test_layer_of_keras():
    """Keras with torch fits into a layer as it is, by its split libraries."""
    found = built("keras")
    assert found.strategy == "direct"
    assert found.budget.layer <= 245_000_000


# What must not be loaded. One cold function is told of one model after the other; none ever serves.


@pytest.fixture(scope="module")
def refusing(tmp_path_factory) -> Callable[[Path], str]:
    """Publish a model that the keras engine must refuse, and return what it says."""
    folder = changed(KERAS, tmp_path_factory.mktemp("first") / "model", {}, keras="2.15.0")
    with LocalDeployment.from_folder(folder, log=subprocess.DEVNULL) as stack, stack.function() as function:

        def publish_whole(model: Path) -> str:
            publish(model, stack.client, MODEL_BUCKET)
            return refusal(function)

        yield publish_whole


def changed(model: Path, folder: Path, files: dict[str, bytes], keras: str | None = "3.15.1") -> Path:
    """Return a folder with a model in which some files are others, saved with another Keras or none."""
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("train", "reference.*"))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    toml = folder / "model.toml"
    stated = f'keras = "{keras}"\n' if keras else ""
    text = toml.read_text()
    assert 'keras = "3.15.1"\n' in text
    toml.write_text(text.replace('keras = "3.15.1"\n', stated))
    return folder


def refusal(function) -> str:
    """Return the message of a function that has no model it can serve."""
    response = function.invoke({"data": ROWS[:1], "result": "inline"})
    assert response["statusCode"] == 503, response
    return response["body"]["error"]["message"]


@pytest.mark.check
def test_manifest_of_another_keras(refusing, tmp_path):
    """A model saved with Keras 2 is refused before its bytes are read: both versions, and what to do."""
    said = refusing(changed(KERAS, tmp_path / "model", {}, keras="2.15.0"))
    assert said == (
        "model tumours-keras was saved with keras 2.15.0, and this function has 3.15.1; save and publish it "
        "again with keras 3.x, or build the layer with 2.x"
    )


@pytest.mark.check
def test_architecture_of_another_keras(refusing, tmp_path):
    """Where the manifest does not say the version, the architecture's own word counts."""
    old = json.dumps(ARCHITECTURE | {"keras_version": "2.15.0", "backend": "tensorflow"}).encode()
    said = refusing(changed(KERAS, tmp_path / "model", {"architecture.json": old}, keras=None))
    assert said == (
        "model tumours-keras was saved with keras 2.15.0, and this function has 3.15.1; save and publish it "
        "again with keras 3.x, or build the layer with 2.x"
    )


MARKER = Path("/tmp/keras-attack-was-here")  # noqa: S108 - what an attack would leave behind
CODE = base64.b64encode(marshal.dumps(compile(f"open({str(MARKER)!r}, 'w')", "attack", "eval"))).decode()
LAMBDA = {"class_name": "__lambda__", "config": {"value": [CODE, None, None]}}
OBJECTS: dict[str, dict[str, Any]] = {
    "a Lambda layer": {"module": "keras.layers", "class_name": "Lambda", "config": {"function": LAMBDA}},
    "a lambda": LAMBDA,
    "a module's function": {"module": "os", "class_name": "system", "config": {"command": f"touch {MARKER}"}},
    "a named function": {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    },
    "a registered class": {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"units": 2},
        "registered_name": "package>Dense",
    },
    "a class without a module": {"class_name": "Dense", "config": {"units": 2}},
    "a download": {
        "module": "keras.utils",
        "class_name": "get_file",
        "config": {"origin": "http://127.0.0.1:1/"},
    },
    "a pickle": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": CODE}},
    "a saved model": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "."}},
    "a vocabulary": {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "/etc/passwd"},
    },
    "private code": {"module": "keras.src.layers.core.dense", "class_name": "Dense", "config": {"units": 2}},
}


@pytest.mark.check
@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("place", ["layer", "activation"])
def test_architecture_that_runs_code(refusing, tmp_path, name, place):
    """An architecture that names what is no layer for computing is refused, and nothing of it runs."""
    hostile = json.loads(json.dumps(ARCHITECTURE))
    if place == "layer":
        hostile["config"]["layers"].append(OBJECTS[name])
    else:
        hostile["config"]["layers"][2]["config"]["activation"] = OBJECTS[name]
    said = refusing(changed(KERAS, tmp_path / "model", {"architecture.json": json.dumps(hostile).encode()}))
    assert f"architecture.json names {OBJECTS[name].get('module', 'NoneType')}." in said
    assert not MARKER.exists()


@pytest.mark.check
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000], ids=lambda data: str(data[:2]))
def test_architecture_that_is_none(refusing, tmp_path, data):
    """A damaged architecture is told by its name."""
    assert "architecture.json" in refusing(changed(KERAS, tmp_path / "model", {"architecture.json": data}))


def labels(features: int, names: list[str]) -> bytes:
    """Return a labels.json."""
    return json.dumps({"features": ["a feature"] * features, "labels": names}).encode()


@pytest.mark.check
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "invalid labels.json of tumours-keras"),
        (labels(30, ["one"]), "invalid labels.json of tumours-keras"),
        (
            labels(30, ["one", "two", "three"]),
            "answers with 2 numbers whose sum is 1.000; expected a probability for each of its 3 labels",
        ),
        (labels(29, ["one", "two"]), "cannot be loaded"),
    ],
    ids=["damaged", "one label", "three labels", "29 features"],
)
def test_labels_of_another_model(refusing, tmp_path, data, words):
    """A network is tried before it serves: it takes the features, and gives the labels, that are named."""
    assert words in refusing(changed(KERAS, tmp_path / "model", {"labels.json": data}))


# With the layer's own Keras and h5py, which this project's environment has not.
HOSTILE = """
import pathlib, shutil, sys
import h5py, numpy
good, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
place = "layers/dense/vars/0"

def made(name):
    path = folder / name
    shutil.copy(good, path)
    return h5py.File(path, "r+")

with h5py.File(folder / "other", "w") as file:
    file["w"] = numpy.ones((30, 32), "f4")
with made("external link") as file:
    del file[place]
    file[place] = h5py.ExternalLink(str(folder / "other"), "w")
with made("soft link") as file:
    del file[place]
    file[place] = h5py.SoftLink("/layers/dense_1/vars/0")
with made("link to nothing") as file:
    file["more"] = h5py.SoftLink("/nowhere")
with made("external dataset") as file:
    del file[place]
    file.create_dataset(place, (30, 32), "f4", external=[("/etc/passwd", 0, 30 * 32 * 4)])
with made("virtual dataset") as file:
    del file[place]
    layout = h5py.VirtualLayout((30, 32), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other"), "w", (30, 32))
    file.create_virtual_dataset(place, layout)
with made("bomb") as file:
    del file[place]
    file.create_dataset(place, (30, 1 << 30), "f4", chunks=(30, 1 << 20), compression="gzip")
with made("objects") as file:
    del file[place]
    file.create_dataset(place, (30, 32), h5py.string_dtype())
with made("circle") as file:
    file["layers/dense/again"] = file["layers"]
with made("named type") as file:
    file["type"] = numpy.dtype("f4")
with made("too many") as file:
    file["optimizer/vars/0"] = numpy.ones(3, "f4")
with made("too few") as file:
    del file[place]
with made("another shape") as file:
    del file[place]
    file[place] = numpy.ones((32, 30), "f4")
with made("another place") as file:
    file.move(place, "layers/dense/vars/7")
"""
WEIGHTS = {
    "external link": "a link (ExternalLink)",
    "soft link": "a link (SoftLink)",
    "link to nothing": "a link (SoftLink)",
    "external dataset": "whose numbers are not in it",
    "virtual dataset": "whose numbers are not in it",
    "bomb": "larger than itself",
    "objects": "whose numbers are not in it",
    "circle": "more than arrays in groups",
    "named type": "more than arrays in groups",
    "too many": "holds 10 arrays, and architecture.json takes 9",
    "too few": "holds 8 arrays, and architecture.json takes 9",
    "another shape": "cannot be loaded (ValueError)",
    "another place": "cannot be loaded (",
}


def in_layer(temporary: Path, code: str, *arguments: Path) -> None:
    """Run Python code with nothing to import but the keras layer."""
    path = os.pathsep.join(map(str, build_layers("keras")))
    own = {"PYTHONPATH": path, "TMPDIR": str(temporary)}
    subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", code, *arguments],
        env={**own, "KERAS_BACKEND": "torch", "KERAS_HOME": "/dev/null"},
        check=True,
    )


@pytest.fixture(scope="module")
def hostile_weights(start_function, tmp_path_factory) -> Path:
    """Return a folder with hostile weights."""
    folder = tmp_path_factory.mktemp("hostile")
    in_layer(start_function("keras", KERAS).stack.temporary, HOSTILE, KERAS / "model.weights.h5", folder)
    return folder


@pytest.mark.check
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_attack(refusing, hostile_weights, tmp_path, name):
    """Weights that name other files, are larger than they look, or are another model's are refused."""
    data = (hostile_weights / name).read_bytes()
    said = refusing(changed(KERAS, tmp_path / "model", {"model.weights.h5": data}))
    assert WEIGHTS[name] in said


@pytest.mark.check
@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n" + bytes(2000)], ids=["empty", "signature"])
def test_weights_that_are_none(refusing, tmp_path, data):
    """Damaged weights end in an error, not in the process."""
    assert "cannot be loaded" in refusing(changed(KERAS, tmp_path / "model", {"model.weights.h5": data}))


LAYERS = """
import json, pathlib, sys
import keras, numpy
from keras import layers as L
folder, ones = pathlib.Path(sys.argv[1]), {"kernel_initializer": "ones"}
inputs = keras.Input((6,))
x = L.Normalization(mean=[0.5] * 6, variance=[2.0] * 6)(inputs)
parts = [
    L.Dense(6, "relu", **ones)(x), L.BatchNormalization()(x), L.LayerNormalization()(x), L.ReLU()(x),
    L.LeakyReLU()(x), L.ELU()(x), L.PReLU()(x), L.Activation("tanh")(x), L.Rescaling(2.0)(x),
    L.Dropout(0.5)(x), L.GaussianNoise(0.5)(x), L.GaussianDropout(0.5)(x),
    L.Flatten()(L.Reshape((2, 3))(x)),
]
two = [L.Average()(parts), L.Maximum()(parts)]
x = L.Concatenate()([*two, L.Minimum()(parts), L.Multiply()(two), L.Subtract()(two), L.Add()(two)])
x = L.Dense(2, kernel_regularizer="l2", kernel_constraint="max_norm", **ones)(x)
model = keras.Model(inputs, L.Softmax()(x))
model.set_weights([numpy.linspace(0.1, 0.9, w.size).reshape(w.shape) for w in model.get_weights()])
rows = numpy.linspace(-2, 3, 60).reshape(10, 6)
model.save_weights(folder / "model.weights.h5")
architecture = json.loads(model.to_json())
architecture["compile_config"] = {"optimizer": {"module": "os", "class_name": "system", "config": {}}}
(folder / "architecture.json").write_text(json.dumps(architecture))
labels = {"features": list("abcdef"), "labels": ["yes", "no"]}
(folder / "labels.json").write_text(json.dumps(labels))

expected = keras.ops.convert_to_numpy(model(rows, training=False)).tolist()
(folder / "expected.json").write_text(json.dumps([rows.tolist(), expected]))
"""


@pytest.mark.check
def test_every_layer_that_is_let_in(start_function, tmp_path):
    """A network of all the layers that may be named loads from the slim layer, and computes what Keras does.

    It says how it was compiled, too, which is not looked at.
    """
    folder = changed(KERAS, tmp_path / "model", {})
    in_layer(start_function("keras", KERAS).stack.temporary, LAYERS, folder)
    rows, expected = json.loads((folder / "expected.json").read_text())
    with LocalDeployment.from_folder(folder, log=subprocess.DEVNULL) as stack, stack.function() as function:
        assert farthest(probabilities(function, rows), expected) < 1e-6


# ONNX: a network that takes its weights from a file beside it.


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a protobuf field: a small integer, or bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def network(weights: bytes) -> bytes:
    """Return an ONNX network, 30 features and two labels; its weights are the rest of a TensorProto."""

    def tensor(name: str, columns: int) -> bytes:
        shape = field(1, field(2, "rows")) + field(1, field(1, columns))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    nodes = [("MatMul", ("x", "w"), "h"), ("Softmax", ("h",), "y")]
    graph = b"".join(
        field(1, b"".join(field(1, one) for one in inputs) + field(2, output) + field(4, kind))
        for kind, inputs, output in nodes
    )
    weights = field(1, 30) + field(1, 2) + field(2, 1) + field(8, "w") + weights
    graph += field(2, "g") + field(5, weights) + field(11, tensor("x", 30)) + field(12, tensor("y", 2))
    return field(1, 9) + field(7, graph) + field(8, field(2, 18))


def elsewhere(path: str) -> bytes:
    """Return what a TensorProto says whose numbers are the first bytes of a file."""
    where = {"location": path, "offset": "0", "length": "240"}
    return b"".join(field(13, field(1, key) + field(2, value)) for key, value in where.items()) + field(14, 1)


def test_onnx_that_reads_files(tmp_path):
    """A network does not get the bytes of a file beside the function, nor of any other; its own it does."""
    files = ["classifier.py", "../keras_function/classifier.py", "/etc/passwd"]
    folders = [
        changed(ONNX, tmp_path / str(number), {"model.onnx": network(weights)})
        for number, weights in enumerate([*map(elsewhere, files), field(9, bytes(240))])
    ]
    with (
        LocalDeployment.from_folder(folders[0], log=subprocess.DEVNULL) as stack,
        stack.function() as function,
    ):
        for folder in folders[:-1]:
            publish(folder, stack.client, MODEL_BUCKET)
            assert "External data path validation failed" in refusal(function)
        publish(folders[-1], stack.client, MODEL_BUCKET)
        assert probabilities(function, ROWS[:1]) == [[0.5, 0.5]]
