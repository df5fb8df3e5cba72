"""Train the tumour classifier, and write it as both engines read it.

::

    python models/tumours/train/train.py                                # both models
    python … --to /tmp/wide --width 4200 --epochs 0    # of 18 million parameters, untrained

The Wisconsin diagnostic breast cancer data come with scikit-learn. Seeds are fixed: on one thread the same
machine writes the same weights.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.model_selection import train_test_split

SEED = 7
HELD_OUT = 0.2
WIDTH = 32
EPOCHS = 60

Floats = NDArray[np.floating[Any]]


def main() -> int:
    """Train, measure, and write both folders."""
    options = _options()
    torch.set_num_threads(1)
    keras.utils.set_random_seed(SEED)
    data = load_breast_cancer()
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        data.data, data.target, test_size=HELD_OUT, stratify=data.target, random_state=SEED
    )
    model = network(train_rows, options.width, len(data.target_names))
    if options.epochs:
        fit(model, train_rows, train_labels, options.epochs)
    probabilities = model.predict(test_rows, verbose=0)
    quality = measure(probabilities, test_labels)
    print(f"{model.count_params():,} parameters; held out: {json.dumps(quality)}")

    labels = {"features": data.feature_names.tolist(), "labels": data.target_names.tolist()}
    onnx, keras_folder = options.to / "tumours", options.to / "tumours-keras"
    for folder in (onnx, keras_folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "labels.json").write_text(json.dumps(labels, indent=1) + "\n")
    write_keras(model, keras_folder)
    write_onnx(model, onnx / "model.onnx")
    write_reference(onnx / "reference.json.gz", test_rows, test_labels, probabilities)
    return 0


def network(rows: Floats, width: int, labels: int) -> keras.Model:
    """Return an untrained network that normalises the features itself."""
    normalise = keras.layers.Normalization(name="normalise")
    normalise.adapt(rows)
    return keras.Sequential(
        [
            keras.Input((rows.shape[1],), name="features"),
            normalise,
            keras.layers.Dense(width, "relu", name="first"),
            keras.layers.Dropout(0.3, name="dropout"),
            keras.layers.Dense(width, "relu", name="second"),
            keras.layers.Dense(labels, "softmax", name="probabilities"),
        ],
        name="tumours",
    )


def fit(model: keras.Model, rows: Floats, labels: NDArray[np.int64], epochs: int) -> None:
    """Train a network."""
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(rows, labels, batch_size=32, epochs=epochs, verbose=0)


def measure(probabilities: Floats, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Return accuracy, AUC (malignant against benign), and who was taken for whom (rows: truth)."""
    found = probabilities.argmax(axis=1)
    return {
        "rows": len(labels),
        "accuracy": round(float((found == labels).mean()), 4),
        "auc": round(float(roc_auc_score(labels, probabilities[:, 1])), 4),
        "confusion": confusion_matrix(labels, found).tolist(),
    }


def write_keras(model: keras.Model, folder: Path) -> None:
    """Write what ``keras.models.model_from_json`` and ``load_weights`` read, without the optimiser.

    Its state is twice as large as the weights, and is saved with them by any model that is compiled, which a
    model is that is made of a compiled one's JSON. That JSON says in Keras 3 no longer which version wrote
    it, as it did in Keras 2; fields that it does not know are ignored.
    """
    architecture = json.loads(model.to_json())
    architecture.pop("compile_config", None)
    plain = keras.models.model_from_json(json.dumps(architecture))
    plain.set_weights(model.get_weights())
    plain.save_weights(folder / "model.weights.h5")
    architecture |= {"keras_version": keras.__version__, "backend": keras.backend.backend()}
    (folder / "architecture.json").write_text(json.dumps(architecture, indent=1) + "\n")


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write the network as one ONNX file that takes any number of rows."""
    rows = keras.InputSpec(shape=(None, model.input_shape[1]), dtype="float32", name="features")
    model.export(path, format="onnx", verbose=False, input_signature=[rows])


def write_reference(path: Path, rows: Floats, labels: NDArray[np.int64], probabilities: Floats) -> None:
    """Write the held-out rows with Keras' own predictions, for the tests."""
    reference = {
        "keras": keras.__version__,
        "torch": version("torch"),
        "rows": rows.tolist(),
        "labels": labels.tolist(),
        "probabilities": probabilities.tolist(),
    }
    path.write_bytes(gzip.compress(json.dumps(reference).encode(), mtime=0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = Path(__file__).resolve().parents[2]
    parser.add_argument("--to", type=Path, default=models, help="the folder that gets both models")
    parser.add_argument("--width", type=int, default=WIDTH, help="units of each of the two hidden layers")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="how often the data are seen")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
