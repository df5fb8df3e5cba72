"""Cold starts of a function of a few lines and of scripts beside it, each in a process of its own."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import msgspec
import obstore
import pytest

from lambda_setup.deployment.cold_start import folders, measure
from lambda_setup.deployment.local import application
from lambda_setup.errors import CommandError
from layer.builder.recipe import ROOT

FUNCTION = """
import os
from lambda_inference import BaseRequest, Prediction, serve

class Request(BaseRequest):
    data: list[str]

class Shout:
    Request = Request

    def load(self, model):
        self.word = bytes(model.files["word.txt"]).decode()

    def predict(self, request, deadline):
        different = request.data == ["?"] and "AWS_LAMBDA_RUNTIME_API" in os.environ
        for index, text in enumerate(request.data):
            yield Prediction({"index": index, "text": text + self.word * (1 + different)})

lambda_handler = serve(Shout)
"""
SCRIPT = """
import os, json, boto3
from beside import WORD
key = os.environ["MODEL_PREFIX"] + "/word.txt"
body = boto3.client("s3").get_object(Bucket=os.environ["MODEL_BUCKET"], Key=key)["Body"].read()
with open(os.path.join(os.environ["MODEL_FOLDER"], "word.txt"), "rb") as file:
    assert body == file.read() == b"hey"
assert os.environ["OMP_NUM_THREADS"] == "1"
def lambda_handler(event, context):
    assert event == {"data": ["a"], "result": "inline"} and context is None
    return WORD
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory, model, share):
    """Yield a function, whose layer has nothing but what every function needs."""
    code, layer = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("layer") / "python"
    (code / "app.py").write_text(FUNCTION)
    layer.mkdir()
    for package in (msgspec, obstore):
        folder = Path(package.__file__).parent
        (layer / folder.name).symlink_to(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "build_layers", lambda _: [layer, ROOT / "layer" / "python"])
        patch.setattr(measure, "S3Server", lambda **_: share())
        patch.setattr(measure, "find_function", lambda _: SimpleNamespace(code=code))
        yield SimpleNamespace(name="shout", model=model)


def test_a_function_and_the_usual_recipe(function, monkeypatch):
    """Every phase of both is timed, in its order; the first start does not count; no file stays warm."""
    dropped: Counter[str] = Counter()
    monkeypatch.setattr(measure, "drop", lambda path: dropped.update([path.name]) or folders.drop(path))
    found = measure.measure(function, {"data": ["a", "b"]}, 1)
    assert (found.function.name, found.script.name, found.model_bytes) == ("shout", "plain script", 3)
    for side in (found.function, found.script):
        assert [list(start.phases) for start in side.starts] == [list(measure.PHASES)]
        assert all(seconds > 0 for start in side.starts for seconds in start.phases.values())
    for start in found.function.starts:
        begin, end = start.beside["model"]
        assert start.ends["interpreter"] < begin < end < start.ends["load"]
    assert [start.beside for start in found.script.starts] == [{}]
    assert found.warm_bytes % 4096 == 0
    assert dropped["app.py"] == 4


def test_a_function_and_a_script(function, tmp_path):
    """The script finds the model in both places, and what lies beside it; it may answer anything."""
    (tmp_path / "beside.py").write_text("WORD = 'anything'")
    (tmp_path / "mine.py").write_text(SCRIPT)
    found = measure.measure(function, {"data": ["a"]}, 1, tmp_path / "mine.py")
    [start] = found.script.starts
    assert (found.script.name, list(start.phases)) == ("mine.py", ["interpreter", "load", "answer"])


def test_different_answers(function):
    """They are seen at the first start."""
    with pytest.raises(CommandError, match=r"answer differently: answer\[0\]\.text"):
        measure.measure(function, {"data": ["?"]}, 1)


def test_layers_are_merged(tmp_path):
    """As Lambda mounts them: one folder, with bytecode for sources, and the libraries beside it."""
    first, second = tmp_path / "1" / "python", tmp_path / "2" / "python"
    for folder, name in ((first, "a.py"), (second, "b.py"), (second / "__pycache__", "old.pyc")):
        folder.mkdir(parents=True)
        (folder / name).write_text("A = 1")
    (tmp_path / "2" / "lib").mkdir()
    (tmp_path / "2" / "lib" / "c.so").touch()
    folders.merge_layers([first, second], tmp_path / "opt" / "python")
    found = {path.relative_to(tmp_path / "opt").as_posix() for path in (tmp_path / "opt").rglob("*.*")}
    assert found == {"python/a.pyc", "python/b.pyc", "lib/c.so"}
