"""From wheels to a layer's folder; pip is a stand-in that writes files."""

import json
from pathlib import Path

import pytest

from layer.__main__ import main
from layer.build import LIMIT, BuildError, build, size, verdict
from layer.recipe import parse
from layer.resolve import CudaBuildError, Resolution, ResolveError, Wheel
from layer.target import named

RECIPE = parse({"name": "mine", "engine": "opennmt", "requirements": ["six==1.17.0"]})
TARGET = named("python3.13-arm64")
SIX = Wheel("six", "1.17.0", "six-1.17.0-py3-none-any.whl", "ab" * 32, ())
RESOLUTION = Resolution((SIX,), ("--platform", "any"))


class FakePip:
    """pip, which installs the files that it is given, or fails after them."""

    def __init__(self, files: dict[str, str], failure: Exception | None = None):
        self.files, self.failure = files, failure
        self.pins = ""

    def __call__(self, arguments):
        self.arguments = list(arguments)
        self.pins = Path(arguments[arguments.index("-r") + 1]).read_text()
        target = Path(arguments[arguments.index("--target") + 1])
        for name, text in self.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        if self.failure:
            raise self.failure
        return ""


def built(out, pip):
    """Build the recipe with a pip."""
    return build(RECIPE, TARGET, RESOLUTION, out, lambda _: None, pip)


class TestBuild:
    """The folder ``python``."""

    def test_layer(self, tmp_path):
        """The layer has what pip installed, and says what it was built for."""
        total = built(tmp_path, FakePip({"six.py": "six"}))

        assert sorted(path.name for path in tmp_path.rglob("*")) == ["layer_target.json", "python", "six.py"]
        assert json.loads((tmp_path / "python" / "layer_target.json").read_text()) == {
            "recipe": "mine",
            "engine": "opennmt",
            "runtime": "python3.13",
            "architecture": "arm64",
        }
        assert total == size(tmp_path)

    def test_only_what_was_judged(self, tmp_path):
        """Only the files that were resolved may be installed, each known by its hash."""
        pip = FakePip({"six.py": ""})
        built(tmp_path, pip)

        assert pip.pins == f"six==1.17.0 --hash=sha256:{'ab' * 32}\n"
        assert {"--require-hashes", "--no-deps", "--platform"} <= set(pip.arguments)

    def test_again(self, tmp_path):
        """A layer takes the place of the one before; nothing of that is left."""
        built(tmp_path, FakePip({"old.py": ""}))
        built(tmp_path, FakePip({"new.py": ""}))

        assert sorted(path.name for path in (tmp_path / "python").iterdir()) == [
            "layer_target.json",
            "new.py",
        ]

    def test_whole_or_not_at_all(self, tmp_path):
        """A build that fails leaves nothing, and leaves a layer from before as it was."""
        with pytest.raises(ResolveError):
            built(tmp_path, FakePip({"half.py": ""}, ResolveError("no space")))
        assert not list(tmp_path.iterdir())

        built(tmp_path, FakePip({"six.py": ""}))
        with pytest.raises(ResolveError):
            built(tmp_path, FakePip({"half.py": ""}, ResolveError("no space")))
        assert sorted(path.name for path in (tmp_path / "python").iterdir()) == [
            "layer_target.json",
            "six.py",
        ]

    def test_somebody_elses_folder(self, tmp_path):
        """A folder that is no layer is not replaced."""
        (tmp_path / "python").mkdir()
        (tmp_path / "python" / "precious.py").touch()

        with pytest.raises(BuildError, match="no layer of ours; remove it, or build elsewhere"):
            built(tmp_path, FakePip({"six.py": ""}))
        assert (tmp_path / "python" / "precious.py").exists()

    def test_hidden_cuda(self, tmp_path):
        """A wheel that hides a CUDA library is found out, and no layer is made of it."""
        with pytest.raises(CudaBuildError, match=r"libtorch_cuda.so, which needs a GPU"):
            built(tmp_path, FakePip({"torch/lib/libtorch_cuda.so": ""}))
        assert not list(tmp_path.iterdir())


class TestVerdict:
    """What a size means."""

    def test_fits(self):
        """What Lambda takes is told with its limit, which is 250 MiB."""
        assert (
            verdict(LIMIT)
            == "262,144,000 bytes of the 262,144,000 that Lambda takes for a function and its layers"
        )

    def test_too_large(self):
        """What Lambda does not take is told as a warning."""
        assert verdict(LIMIT + 1).startswith("WARNING: 262,144,001 bytes, and Lambda takes 262,144,000")


class TestCommand:
    """``python -m layer``."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["build", "nothing", "--out", "x"], "there is no recipe"),
            (["build", "opennmt", "--target", "arm64", "--out", "x"], "'arm64' is no target"),
            (
                ["build", "opennmt", "--target", "python3.14-arm64", "--out", "x"],
                "no target python3.14-arm64",
            ),
        ],
    )
    def test_told(self, arguments, message, capsys):
        """A mistake is told in one line, without a traceback, and with an exit code."""
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
