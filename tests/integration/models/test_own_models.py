"""Models of somebody else's: published with no file written by hand, or refused before a byte is uploaded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import model_matrix, tiny_models
from support.applications import create_bucket
from support.project import MODEL, ROOT

from lambda_setup.__main__ import main
from lambda_setup.deployment.local.process import free_ports

BUCKET = "own-models"
PAGE = (ROOT / "docs" / "how-to" / "models.md").read_text()
WALK = re.search(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def publish(stack, moto, monkeypatch, capsys):
    """Run ``model publish`` on an empty bucket; return the exit code, the errors, and the bucket's keys."""
    create_bucket(stack, BUCKET)
    for name, value in (stack.s3.environment() | {"AWS_ENDPOINT_URL_STS": moto}).items():
        monkeypatch.setenv(name, value)

    def run(folder, *arguments: str) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = main(["model", "publish", str(folder), "--bucket", BUCKET, *arguments])
        contents = stack.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return code, capsys.readouterr().err, [one["Key"] for one in contents]

    yield run
    for one in stack.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        stack.client.delete_object(Bucket=BUCKET, Key=one["Key"])


def put_beside(checkpoint, folder, toml: str = ""):
    """Return a folder with a checkpoint, and a model.toml with a table alone."""
    tiny_models.save(checkpoint, folder)
    if toml:
        (folder / "model.toml").write_text(toml)
    return folder


@pytest.mark.check
@pytest.mark.parametrize(
    ("architecture", "age"),
    [("transformer", tiny_models.age), ("LSTM", dict)],
    ids=["old transformer", "LSTM"],
)
def test_a_checkpoint_alone_is_served(publish, stack, tmp_path, architecture, age):
    """Its tokens are separated by spaces, and the answers are those of OpenNMT-py's own command."""
    folder = tiny_models.save(age(model_matrix.build((architecture, "space"))), tmp_path / "mine")
    code, errors, _ = publish(folder)
    assert code == 0, errors
    data = [" ".join(tokens) for tokens in tiny_models.SENTENCES]
    with stack.function(env={"MODEL_BUCKET": BUCKET, "MODEL_NAME": "mine"}) as function:
        response = function.invoke({"data": data, "n_best": 3, "result": "inline"})
    assert response["statusCode"] == 200, response
    [expected] = model_matrix.expect([(architecture, "space")], tmp_path)
    for one, right in zip(response["body"]["predictions"], expected, strict=True):
        assert [found["tokens"] for found in one["hypotheses"]] == [tokens for tokens, _ in right.hypotheses]


@pytest.mark.check
def test_the_walk(tmp_path):
    """From a folder to an answer in three commands, as the page says; a regex takes raw SMILES."""
    put_beside(model_matrix.build(("GRU", "space")), tmp_path / "models" / "mine")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    clean |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    [port] = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-m", "lambda_setup", "s3", "--port", str(port)],
        cwd=tmp_path, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        assert any("serving" in line for line in serving.stderr)
        clean["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
        done = subprocess.run(
            ["/bin/sh", "-euc", WALK], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        serving.terminate()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    [prediction] = answer["body"]["predictions"]
    assert len(prediction["hypotheses"]) == 1
    assert all(one["text"] == " ".join(one["tokens"]) for one in prediction["hypotheses"])


@pytest.mark.check
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("copy attention", "copy_attn = True"),
        ("tokenizer", "tokenizer does not fit"),
        ("pyonmttok", "segment_alphabet"),
    ],
)
def test_what_would_not_be_served_is_not_uploaded(publish, tmp_path, case, told):
    """The function's own message stands in the last line."""
    checkpoint = tiny_models.build(**tiny_models.TRANSFORMER)
    if case == "copy attention":
        checkpoint["opt"].copy_attn = True
    toml = (
        '[tokenizer]\nkind = "pyonmttok"\noptions = { segment_alphabet = ["Han"] }\n'
        if case == "pyonmttok"
        else ""
    )
    folder = put_beside(checkpoint, tmp_path / "mine", toml)
    if case == "tokenizer":
        (folder / "x.model").write_bytes((MODEL / "enes.model").read_bytes())
    code, errors, keys = publish(folder)
    assert (code, keys) == (2, [])
    assert told in errors.splitlines()[-1]


def test_a_version_2_checkpoint_is_refused_with_its_converter(publish, tmp_path, monkeypatch):
    """It holds torchtext's classes, which are not loaded."""
    import types

    import torch

    for name in ("torchtext", "torchtext.data", "torchtext.data.field"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    field = type("Field", (), {"__module__": "torchtext.data.field"})
    monkeypatch.setattr(sys.modules["torchtext.data.field"], "Field", field, raising=False)
    torch.save({"vocab": {"src": field()}, "opt": None}, tmp_path / "model.pt")
    code, errors, keys = publish(tmp_path)
    assert (code, keys) == (2, [])
    assert "convertv2_v3.py" in errors.splitlines()[-1]


def test_a_table_warns_of_functions_that_do_not_know_it(publish, tmp_path):
    """Those deployed before take the version for damaged."""
    toml = "[tokenizer]\nkind = 'regex'\npattern = 'Cl|.'\n"
    folder = put_beside(tiny_models.build(**tiny_models.TRANSFORMER), tmp_path / "mine", toml)
    code, errors, keys = publish(folder)
    assert code == 0, errors
    assert "it requires tokenizer: functions deployed from an earlier release" in errors
    assert "models/mine/channels/dev.json" in keys
