"""What ``sam`` makes of the template, with the real program and real wheels."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.project import ROOT, SCRIPTS

from layer.builder import tree
from layer.builder.recipe import load
from layer.builder.report import facts as reports
from layer.builder.target import get_target
from layer.builder.verify import proof

ENVIRONMENT = os.environ | {"SAM_CLI_TELEMETRY": "0", "PYTHON": sys.executable, "PYTHONPATH": ""}
ELF_MACHINES = {"arm64": 183, "x86_64": 62}  # EM_AARCH64, EM_X86_64


def run(*command, **variables):
    """Run a program in the project and return how it ended."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


class TestLint:
    """The template as it stands."""

    @pytest.mark.check
    def test_sam(self):
        """``sam validate --lint`` finds nothing."""
        done = run(SCRIPTS / "sam", "validate", "--lint", "--region", "eu-central-1")

        assert (done.returncode, done.stderr) == (0, "")

    def test_cfn_lint(self):
        """``cfn-lint`` finds nothing."""
        done = run(SCRIPTS / "cfn-lint", "--regions", "us-east-1", "eu-central-1", "--", "template.yaml")

        assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(
    scope="class",
    params=[("ctranslate2", "x86_64"), ("ctranslate2", "arm64"), ("opennmt", "arm64")],
    ids="-".join,
)
def build(request):
    """Yield what ``sam build`` leaves, for an engine and an architecture."""
    engine, architecture = request.param
    with tempfile.TemporaryDirectory() as folder:
        done = run(
            SCRIPTS / "sam", "build", "--build-dir", folder,
            "--parameter-overrides", f"Engine={engine} Architecture={architecture}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield engine, architecture, Path(folder), done.stderr


@pytest.mark.check
class TestBuild:
    """``sam build``, for every engine and architecture that the ordinary package index has CPU wheels for."""

    def test_layers(self, build):
        """The engine's layer has the engine and says what it was built for; the other has the rest."""
        engine, architecture, folder, _ = build
        python = folder / "DependencyLayer" / "python"

        marker = json.loads((python / "layer_target.json").read_text())
        assert {"sentencepiece", *({"opennmt": ["torch", "opennmt-py"]}.get(engine, [engine]))} <= marker.pop(
            "libraries"
        ).keys()
        assert marker.pop("split", []) == (
            ["torch/lib/libtorch_cpu.so", "torch/lib/libtorch_python.so"] if engine == "opennmt" else []
        )
        assert marker == {
            "recipe": engine,
            "engine": engine,
            "runtime": "python3.13",
            "architecture": architecture,
            "starts": ["layer_start.inference.txt", f"layer_start.{engine}.txt"],
        }
        lines = [
            line.split(" ", 1) for line in (python / f"layer_start.{engine}.txt").read_text().splitlines()
        ]
        for pieces, path in lines:
            starts = [int(piece.split("+")[0]) for piece in pieces.split(",")]
            assert max(starts) < (python / path).stat().st_size
        beside = folder / "LambdaInferenceLayer" / "python"
        assert "obstore/_obstore.abi3.so" in (beside / "layer_start.inference.txt").read_text()
        assert f"{engine if engine != 'opennmt' else 'torch'}/__init__.pyc" in {path for _, path in lines}
        packages = {"opennmt": {"onmt", "torch"}, "ctranslate2": {"ctranslate2"}}[engine]
        assert packages | {"sentencepiece"} <= {path.name for path in python.iterdir()}
        assert {"lambda_inference", "msgspec", "obstore"} <= {path.name for path in beside.iterdir()}

    def test_machine(self, build):
        """Every shared library in the layers is for the architecture, and none for a GPU."""
        _, architecture, folder, _ = build

        libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
        assert libraries
        for library in libraries:
            header = library.read_bytes()[:20]
            assert header[:4] == b"\x7fELF"
            assert int.from_bytes(header[18:20], "little") == ELF_MACHINES[architecture], library
        assert not [path for path in libraries if "cuda" in path.name]

    def test_deployed_as_another(self, build):
        """Where the function runs on another Python or processor than its layer is for, it says which."""
        _, architecture, folder, _ = build
        layers = [folder / name / "python" for name in ("DependencyLayer", "LambdaInferenceLayer")]
        done = subprocess.run(
            [sys.executable, "-B", "-S", "-c", "import lambda_inference"],
            env={"PYTHONPATH": ":".join(map(str, layers))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

        here = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        facts = {
            "runtime": ("python3.13", f"python{sys.version_info.major}.{sys.version_info.minor}"),
            "architecture": (architecture, here),
        }
        said = "; ".join(f"{name} {one}, not {other}" for name, (one, other) in facts.items() if one != other)
        assert said
        assert f"RuntimeError: a layer of this function was built for {said}: run sam build and sam" in (
            done.stderr
        )

    def test_size(self, build):
        """Everything together is what Lambda takes, unpacked as it is; the engine is as small as promised."""
        engine, _, folder, printed = build

        size = tree.size(folder / "DependencyLayer")
        assert f"{size:,} layer" in printed
        assert f"| {size:,} |" in (ROOT / "docs" / "layers.md").read_text()
        assert size <= {"opennmt": 262_144_000, "ctranslate2": 85_000_000}[engine]
        deployed = [
            folder / name for name in ("DependencyLayer", "LambdaInferenceLayer", "TranslationFunction")
        ]
        assert sum(map(tree.size, deployed)) <= 262_144_000
        assert not list(folder.rglob("*.zst"))

    def test_proven(self, build):
        """Both layers are the trees whose answers the records prove, byte-compiled for their runtime."""
        engine, architecture, folder, printed = build

        assert printed.count("proof    proven: ") == 2
        assert "WARNING" not in printed
        for recipe in (engine, "inference"):
            report = reports.read(ROOT / ".layers" / f"{recipe}-python3.13-{architecture}" / "report.json")
            recorded = proof.read(load(recipe), get_target(f"python3.13-{architecture}"))
            assert (report.proven, report.digest) == (True, recorded.digest)
        assert not list((folder / "DependencyLayer").rglob("*.py"))

    def test_again(self, build, tmp_path):
        """A second build fetches nothing and makes nothing: it finds the same layers."""
        engine, architecture, folder, _ = build
        again = run(
            SCRIPTS / "sam", "build", "--build-dir", tmp_path,
            "--parameter-overrides", f"Engine={engine} Architecture={architecture}",
            PIP_NO_INDEX="1", PIP_FIND_LINKS="",
        )  # fmt: skip

        assert again.returncode == 0, again.stderr
        assert again.stderr.count("nothing has changed since this layer was built") == 3
        for name in ("DependencyLayer", "LambdaInferenceLayer"):
            assert tree.digest(tmp_path / name) == tree.digest(folder / name)

    def test_code(self, build):
        """The function is copied as it is, and what it imports is compiled; nothing else is beside them."""
        _, _, folder, _ = build

        source, copy = ROOT / "translation_function", folder / "TranslationFunction"
        modules = {path.relative_to(source) for path in source.rglob("*.py")}
        deployed = modules - {Path("show.py"), Path("publishing.py")}
        assert {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()} == deployed
        assert all((copy / path).read_bytes() == (source / path).read_bytes() for path in deployed)
        # Another Python cannot read the others: these tell it so.
        kept = {"__init__.py", "_layer_marker.py"}
        modules = {path.name for path in (ROOT / "layer" / "python" / "lambda_inference").glob("*.py")}
        names = kept | {f"{name}c" for name in modules - kept}
        copy = folder / "LambdaInferenceLayer" / "python" / "lambda_inference"
        assert {path.name for path in copy.rglob("*") if path.is_file()} == names


@pytest.mark.check
class TestOtherBuilds:
    """What ``sam build`` does where there is nothing to build, or nothing to build from."""

    def test_published_layer(self, tmp_path):
        """With LambdaLayerArn, nothing is fetched."""
        arn = "arn:aws:lambda:eu-central-1:123456789012:layer:opennmt-x86_64:3"
        done = run(
            SCRIPTS / "sam", "build", "--build-dir", tmp_path,
            "--parameter-overrides", f"Engine=opennmt Architecture=x86_64 LambdaLayerArn={arn}",
            PIP_NO_INDEX="1",
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        assert not list((tmp_path / "DependencyLayer" / "python").iterdir())

    def test_python(self, tmp_path):
        """A Python that cannot build the layer is told by its name, with how to name another."""
        done = run(SCRIPTS / "sam", "build", "--build-dir", tmp_path, PYTHON="/usr/bin/false")

        assert done.returncode != 0
        assert "/usr/bin/false is no Python 3.11 or newer with pip; name one" in done.stderr

    def test_cuda(self, tmp_path):
        """Where only a CUDA build exists, the build ends with what to do, and no wheel was fetched."""
        recipe = tmp_path / "torch.toml"
        recipe.write_text('name = "torch"\nengine = "opennmt"\nno_deps = ["torch==2.13.0"]\n')
        cache = tmp_path / "cache"
        variables = {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_CACHE_DIR": str(cache)}

        done = run(
            sys.executable, "-m", "layer", "build", recipe,
            "--target", "python3.13-x86_64", "--out", tmp_path / "out", **variables,
        )  # fmt: skip

        assert done.returncode == 2
        assert "for python3.13-x86_64 pip finds only wheels that are built for a GPU" in done.stderr
        assert "Set PIP_EXTRA_INDEX_URL to an index with CPU builds" in done.stderr
        assert not (tmp_path / "out" / "layer").exists()
        assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 10_000_000
