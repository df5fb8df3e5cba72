"""A prediction under an emulator, in a folder with an unusual name: on the same terms, and traced as well."""

import json

import pytest
from support.project import ROOT
from support.toy import Toy

from layer.builder.errors import SmokeError
from layer.builder.pack import interpreter
from layer.builder.target import get_target
from layer.builder.verify.terms import find_terms

TARGET = get_target("python3.13-arm64")


@pytest.mark.check
def test_emulated(tmp_path):
    """The emulated interpreter starts, has the terms, and what its native code opens is traced."""
    python = interpreter.find(TARGET, ROOT / ".layers" / "interpreters")
    if python is None or not find_terms().mounts:
        pytest.skip("no Python for arm64, or no namespaces: python -m layer interpreter python3.13-arm64")
    toy = Toy(tmp_path / "ein Ordner für é")
    body = (
        "import ctypes, platform\nctypes.CDLL(None).open(str(pkg.HERE / 'data.json').encode(), 0)\n"
        "hidden = [os.path.exists('/dev/shm'), len(os.sched_getaffinity(0)), platform.machine()]\n"
        "try:\n    open('/sys/devices/system/cpu/possible')\nexcept OSError:\n    return hidden"
    )

    done = toy.run(body, python=python, architecture=TARGET.architecture)
    assert json.loads(done.answer) == [False, 1, "aarch64"]
    assert done.opened == {"pkg/__init__.py", "pkg/data.json"}
    with pytest.raises(SmokeError, match=r"the prediction writes to ~/x: on Lambda only /tmp"):
        toy.run("open(os.path.expanduser('~/x'), 'w')", python=python)
