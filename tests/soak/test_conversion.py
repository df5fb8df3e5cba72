"""Models of other toolkits from a folder to their translations, in the environments that the command makes.

It needs a pip that finds torch's CPU build, and fills 2.3 GB.
"""

import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

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


@pytest.mark.parametrize("kind", ["marian", "marian-many", "m2m_100", "nllb", "nllb-legacy"])
def test_a_model_translates_as_in_transformers(tmp_path, kind):
    """The conversion proves it, and the function loads what comes out, also with 8-bit weights."""
    make("transformers", "hub_models.py", tmp_path / kind, kind)
    convert("transformers", tmp_path / kind, "int8")


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
