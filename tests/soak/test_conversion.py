"""Models of transformers from a folder to their translations, in the environment that the command makes.

It needs a pip that finds torch's CPU build, and fills 1.2 GB.
"""

import subprocess

import pytest
from support.project import ROOT

from lambda_setup.errors import CommandError
from lambda_setup.models import loading
from lambda_setup.models.describe import describe
from lambda_setup.models.toolkits import conversion
from lambda_setup.models.toolkits.environment import make_environment

MAKER = ROOT / "tests" / "support" / "hub_models.py"


@pytest.fixture(scope="module")
def python():
    """Return the Python with transformers."""
    return make_environment()


@pytest.mark.parametrize("kind", ["marian", "marian-many", "m2m_100"])
def test_a_model_translates_as_in_transformers(python, tmp_path, kind):
    """The conversion proves it, and the function loads what comes out, also with 8-bit weights."""
    subprocess.run([python, MAKER, kind, tmp_path / kind], check=True)
    (tmp_path / "out").mkdir()
    conversion.convert(tmp_path / kind, tmp_path / "out", "int8", tmp_path / kind / "sample.txt")
    loading.check(tmp_path / "out", describe(tmp_path / "out"))


def test_a_decoder_that_starts_elsewhere_is_refused(python, tmp_path):
    """CTranslate2 starts Marian's from zero: one whose <pad> has an embedding gave other texts, unnoticed."""
    subprocess.run([python, MAKER, "marian", tmp_path / "marian", "--keep-pad"], check=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(CommandError, match=r"does not start with a <pad> .* whose embedding is zero"):
        conversion.convert(
            tmp_path / "marian", tmp_path / "out", "float32", tmp_path / "marian" / "sample.txt"
        )
