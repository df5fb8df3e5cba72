"""The examples: what their layers hold, and how long they take to a first answer beside the usual functions.

Run: ``make bench ROW=cold_start.spacy``, or another row's name. The usual functions are those of
``bench/baselines/usual_*.py``, what they are made of is in bench/usual.py, and everything is timed as in
bench/areas/cold_start.py.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import usual as usual_functions
from bench.areas.cold_start import BUCKET, REPETITIONS, USUAL, Deploy, Place, Side, compare, deploy, ours
from bench.areas.layers import install
from bench.row import OF_TIME, ROOT, Row, make_size_row, measures, ratio
from bench.usual import BASELINES, LEARNER, MODELS, ZIP
from lambda_setup.deployment.cold_start.folders import copy
from layer.builder import build, tree
from layer.builder.recipe import load
from layer.builder.report.treemap import format_bytes
from layer.builder.target import HOST, get_target

Read = Callable[[dict[str, Any]], Any]


def usual(
    module: str, packages: Path, keys: Mapping[str, Path], event: Mapping[str, Any], read: Read
) -> Deploy:
    """Return how a usual function is deployed, from its zip or layer; the first key is the model's."""

    def prepare(place: Place) -> Side:
        task, layer = place.scratch / module, place.scratch / f"{module}-layer"
        copy(BASELINES, task)
        if (packages / ZIP).exists():
            shutil.copyfile(packages / ZIP, task / ZIP)
        else:
            copy(packages, layer)
        for key, file in keys.items():
            place.server.client().upload_file(str(file), BUCKET, key)
        of_model = {"MODEL_KEY": next(iter(keys), ""), "OMP_NUM_THREADS": "1"}
        environment = place.server.environment() | of_model
        folders = (task, layer, place.runtime) if layer.exists() else (task, place.runtime)
        return Side(module, folders, environment, event, read)

    return prepare


def prediction(answer: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return fields of the one prediction of an answer, ours or a usual function's."""
    match answer:
        case {"statusCode": 200, "body": {"predictions": [dict(found)]}} | {"predictions": [dict(found)]}:
            return {field: found[field] for field in fields}
    raise RuntimeError(f"this is not a prediction: {answer}")


def classes(answer: dict[str, Any]) -> Any:
    """Return an image's label and the probability of each class, in no order."""
    found = prediction(answer, ("label", "classes"))
    return found | {"classes": {one["label"]: one["probability"] for one in found["classes"]}}


@measures("cold_start.spacy")
def measure_spacy() -> Iterator[Row]:
    """Compare spaCy's cold start with the usual function's."""
    event = {"data": ["Anna bought two tickets in Paris."], "result": "inline"}
    entities = partial(prediction, fields=("entities", "tokens"))
    layer = usual_functions.spacy_layer()
    yield from compare(
        {"spacy": partial(ours, model=MODELS / "en-web-sm", event=event, read=entities)},
        usual("usual_spacy", layer, {}, event, entities),
        {"spacy": 2},
        baseline=f"the usual function: spaCy, all it declares and the model in a layer of "
        f"{format_bytes(tree.size(layer))}, stripped by hand, and spacy.load, which has no S3 to ask "
        "(bench/baselines/usual_spacy.py)",
    )


@measures("cold_start.embedding", "cold_start.embedding_bare", "cold_start.embedding_usual")
def measure_embedding() -> Iterator[Row]:
    """Compare the embedding function's cold start with plain scripts', and with the usual function's."""
    event = {"data": ["The train to the coast leaves at nine."], "result": "inline"}
    vector = partial(prediction, fields=("vector",))
    model = MODELS / "embedding"
    sides = {
        "embedding": partial(ours, model=model, event=event, read=vector),
        "plain": partial(network_script, name="plain", event=event, read=vector),
        USUAL: partial(network_script, name=USUAL, event=event, read=vector),
        "bare": partial(network_script, name="bare", event=event, read=vector),
    }
    with deploy(sides) as bench:
        times = bench.take_turns(REPETITIONS)
    for name, taken in times.items():
        print(f"{name}: {median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})", flush=True)
    packages = "ONNX Runtime, numpy and tokenizers as pip installs them, the same network"
    yield Row(
        name="cold_start.embedding",
        **ratio(times["embedding"], times["plain"]),
        unit=OF_TIME,
        baseline=f"a plain script: {packages}, on local disk without any S3 (bench/baselines/usual_onnx.py)",
        goal=1.1,
        cause="a model in S3 has to come first, which a local disk spares the script: one that fetches it by "
        "bare sockets beside its imports, without a hash, takes "
        f"{median(times['bare']) / median(times['plain']):.2f} times as long; transfer, server and imports "
        f"share {os.cpu_count()} cores",
    )
    yield Row(
        name="cold_start.embedding_bare",
        **ratio(times["embedding"], times["bare"]),
        unit=OF_TIME,
        baseline=f"a plain script: {packages}, by bare sockets from S3 beside the imports, unsigned and "
        "unchecked (bench/baselines/usual_onnx.py)",
        goal=1.25,
        cause="its own imports, hashes, and a pointer and a manifest that are read before the model",
    )
    yield Row(
        name="cold_start.embedding_usual",
        **ratio(times["embedding"], times[USUAL]),
        unit=OF_TIME,
        baseline=f"the usual function: {packages}, by boto3 into a BytesIO (bench/baselines/usual_onnx.py)",
        goal=0.6,
    )


def network_script(place: Place, *, name: str, event: Mapping[str, Any], read: Read) -> Side:
    """Return a script with the embedding's network: from local disk, or from S3 by boto3 or bare sockets."""
    folder = place.scratch / name
    folder.mkdir()
    packages, task = install(folder, "embedding"), folder / "task"
    copy(BASELINES, task)
    (task / "model").mkdir()
    client, urls = place.server.client(), {}
    for file in ("network.onnx", "network.onnx.data", "tokenizer.json"):
        source, key = MODELS / "embedding" / file, f"{name}/{file}"
        if name == "plain":
            shutil.copyfile(source, task / "model" / file)
        else:
            client.upload_file(str(source), BUCKET, key)
        signed = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
        urls[file] = signed, source.stat().st_size
    environment = {
        "plain": {"MODEL_FOLDER": str(task / "model")},
        "bare": {"MODEL_URLS": json.dumps(urls)},
        USUAL: {**place.server.environment(), "MODEL_PREFIX": name},
    }[name]
    return Side("usual_onnx", (task, packages, place.runtime), environment, event, read)


@measures("cold_start.fastai")
def measure_fastai() -> Iterator[Row]:
    """Compare fastai's cold start with the usual function's."""
    model, zipped = MODELS / "digits", usual_functions.fastai_zip()
    reference = json.loads(gzip.decompress((model / "reference.json.gz").read_bytes()))
    data = [{"image": reference["items"][0]["image"]}]
    event = {"data": data, "top": len(reference["vocabulary"]), "result": "inline"}
    yield from compare(
        {"fastai": partial(ours, model=model, event=event, read=classes)},
        usual("usual_fastai", zipped, {LEARNER: usual_functions.learner()}, event, classes),
        {"fastai": 2},
        baseline="the usual function: fastai and all it declares but spaCy in a nested zip of "
        f"{format_bytes((zipped / ZIP).stat().st_size)}, boto3 into a BytesIO, and load_learner "
        "(bench/baselines/usual_fastai.py)",
    )


@measures("cold_start.onnxruntime", "cold_start.keras")
def measure_keras() -> Iterator[Row]:
    """Compare the cold starts of both engines with the usual function's, for the shipped network."""
    yield from compare_keras(MODELS, {"onnxruntime": 8, "keras": 2}, "the shipped network, 2,175 parameters")


@measures("cold_start.onnxruntime_wide", "cold_start.keras_wide")
def measure_wide_keras() -> Iterator[Row]:
    """Compare them for a network of 18 million parameters."""
    models = usual_functions.wide_models()
    yield from compare_keras(models, {"onnxruntime_wide": 5, "keras_wide": 2}, "18 million parameters")


def compare_keras(models: Path, goals: Mapping[str, float], network: str) -> Iterator[Row]:
    """Compare engines with the usual function with Keras; a goal's name begins with the engine."""
    shipped = json.loads((ROOT / "examples" / "keras_function" / "events" / "event.json").read_text())
    event = {"data": shipped["data"][:1], "result": "inline"}
    folders = {"onnxruntime": models / "tumours", "keras": models / "tumours-keras"}
    keys = {name: folders["keras"] / name for name in ("architecture.json", "model.weights.h5")}
    zipped = usual_functions.keras_zip()
    probabilities = partial(prediction, fields=("label", "probabilities"))
    functions: dict[str, Deploy] = {
        name: partial(ours, model=folders[name.partition("_")[0]], event=event, read=probabilities)
        for name in goals
    }
    yield from compare(
        functions,
        usual("usual_keras", zipped, keys, event, probabilities),
        goals,
        baseline="the usual function: Keras, torch and all they declare in a nested zip of "
        f"{format_bytes((zipped / ZIP).stat().st_size)}, architecture and weights by boto3, and "
        f"model.predict (bench/baselines/usual_keras.py); {network}",
    )


@measures("layer.size.spacy", "layer.size.fastai_own", "layer.size.onnxruntime", "layer.size.keras")
def measure_sizes() -> Iterator[Row]:
    """Count what the builder makes for this machine."""
    goals = {
        "spacy": (140_000_000, "the layer"),
        "fastai_own": (102_000_000, "the layer without torch"),
        "onnxruntime": (80_000_000, "the layer"),
        "keras": (245_000_000, "the layer"),
    }
    for name, (goal, what) in goals.items():
        recipe, target = load(name.partition("_")[0]), get_target(HOST)
        job = build.Job(recipe, target, build.default_out(recipe, target))
        build.build(job, print)
        of_torch = ("torch", "torchgen") if name == "fastai_own" else ()
        files = tree.files(job.out / "layer" / "python")
        size = sum(file.size for file in files if file.package not in of_torch)
        yield make_size_row(name, size, goal, what)


@measures("layer.size.embedding_arm64", "layer.size.embedding_x86_64")
def measure_embedding_sizes() -> Iterator[Row]:
    """Count what the builder makes for Lambda's processors; RuntimeError unless it is direct and proven."""
    for architecture, goal in (("arm64", 70_000_000), ("x86_64", 80_000_000)):
        recipe, target = load("embedding"), get_target(f"python3.13-{architecture}")
        job = build.Job(recipe, target, build.default_out(recipe, target))
        report = build.build(job, print)
        if not report.proven or report.strategy != "direct":
            raise RuntimeError(f"the layer for {target.name} is {report.strategy} and {report.proof.label}")
        what = f"the layer for {architecture}, direct and proven"
        yield make_size_row(f"embedding_{architecture}", tree.size(job.out / "layer"), goal, what)
