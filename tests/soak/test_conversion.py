"""Models of other toolkits from a folder to their translations, in the environments that the command makes.

It needs a pip that finds torch's CPU build, and fills 2.3 GB.
"""

import json
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

import tokenizer
from lambda_setup.errors import CommandError
from lambda_setup.models import loading
from lambda_setup.models.describe import describe
from lambda_setup.models.toolkits import conversion
from lambda_setup.models.toolkits.environment import make_environment

SUPPORT = ROOT / "tests" / "support"


def make(toolkit: str, script: str, folder: Path, *arguments: str) -> None:
    """Write a small model."""
    subprocess.run([make_environment(toolkit), SUPPORT / script, folder, *arguments], check=True)


def convert(toolkit: str, folder: Path, quantization: str = "float32") -> None:
    """Convert a model, and load what comes out."""
    out = folder.with_name("out")
    out.mkdir()
    conversion.convert(toolkit, folder, out, quantization, folder / "sample.txt")
    loading.check(out, describe(out))


@pytest.fixture(autouse=True)
def layer(monkeypatch, tmp_path_factory):
    """Load models as with a layer whose recipe includes the library tokenizers."""
    folder = tmp_path_factory.mktemp("layer")
    [library] = make_environment("transformers").parents[1].glob("lib/python*/site-packages/tokenizers")
    for package in (library, ROOT / "layer" / "python" / "lambda_inference"):
        (folder / package.name).symlink_to(package)
    monkeypatch.setattr(loading, "_LAYER", folder)
    return folder


NEWER = ["mbart", "mbart-25", "bart", "pegasus", "t5", "t5-json", "t5-v1_1", "mt5", "umt5"]


@pytest.mark.parametrize("kind", ["marian", "marian-many", "m2m_100", "nllb", "nllb-legacy", *NEWER])
def test_a_model_translates_as_in_transformers(tmp_path, kind):
    """The conversion proves it, and the function loads what comes out, also with 8-bit weights."""
    make("transformers", "hub_models.py", tmp_path / kind, kind)
    convert("transformers", tmp_path / kind, "int8")


@pytest.mark.parametrize("kind", ["bart", "t5-json"])
def test_tokens_are_those_of_transformers(tmp_path, layer, monkeypatch, kind):
    """Of unusual Unicode, too, and so are the texts that come of them."""
    make("transformers", "hub_models.py", tmp_path / kind, kind)
    convert("transformers", tmp_path / kind)
    texts = json.loads((ROOT / "tests" / "unit" / "functions" / "odd_texts.json").read_text())
    script = (
        "import json, sys; from transformers import AutoTokenizer; "
        "made = AutoTokenizer.from_pretrained(sys.argv[1]); texts = json.load(sys.stdin); "
        "ids = [made(text, add_special_tokens=False)['input_ids'] for text in texts]; "
        "print(json.dumps([[made(text).tokens(), made.decode(one, skip_special_tokens=True)] "
        "for text, one in zip(texts, ids)]))"
    )
    done = subprocess.run(
        [make_environment("transformers"), "-c", script, tmp_path / kind],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    monkeypatch.syspath_prepend(layer)
    file = memoryview((tmp_path / "out" / "tokenizer.json").read_bytes())
    ours = tokenizer.load({"kind": "tokenizers"}, {"tokenizer.json": file}).source
    for text, (tokens, decoded) in zip(texts, json.loads(done.stdout.splitlines()[-1]), strict=True):
        found = ours.encode(text)
        assert found == (tokens[1:-1] if kind == "bart" else tokens[:-1])
        assert ours.decode(found) == decoded


def test_a_decoder_that_starts_elsewhere_is_refused(tmp_path):
    """CTranslate2 starts Marian's from zero: one whose <pad> has an embedding gave other texts, unnoticed."""
    make("transformers", "hub_models.py", tmp_path / "marian", "marian", "--keep-pad")
    with pytest.raises(CommandError, match=r"does not start with a <pad> .* whose embedding is zero"):
        convert("transformers", tmp_path / "marian")


@pytest.mark.parametrize("kind", ["transformer", "rms", "bpe", "onmt_tokenize", "spaces"])
def test_a_model_translates_as_in_eole(tmp_path, kind):
    """Each kind of norms and tokenizers that is converted."""
    make("eole", "eole_models.py", tmp_path / kind, kind)
    convert("eole", tmp_path / kind, "int8" if kind == "transformer" else "float32")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("language model", "its encoder is missing; only translation by transformers"),
        ("rnn", "its encoder is rnn; only translation by transformers"),
        ("relative", "position_encoding_type = Relative is not converted"),
        ("alibi", "position_encoding_type = Alibi is not converted"),
        ("experts", "num_experts = 2 is not converted"),
        ("prefix", "its transforms are sentencepiece, prefix"),
        ("alphabet", "holds segment_alphabet, and of pyonmttok's options only"),
    ],
)
def test_a_model_of_eole_that_cannot_be_converted_is_refused(tmp_path, kind, message):
    """By the name of what is in the way."""
    make("eole", "eole_models.py", tmp_path / "model", kind)
    with pytest.raises(CommandError, match=message):
        convert("eole", tmp_path / "model")
