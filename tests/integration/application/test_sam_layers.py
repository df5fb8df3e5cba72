"""How ``sam build`` comes by its layers: with its cache, in any folder, by any strategy, and in a container.

The project is a small one of toy wheels; the program, the makefiles and the builder are the real ones.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from support.project import ROOT, SCRIPTS

pytestmark = pytest.mark.check

TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  DependencyLayer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile, BuildArchitecture: x86_64}
    Properties: {ContentUri: layer/recipes/toy/host}
  LambdaInferenceLayer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile, BuildArchitecture: x86_64}
    Properties: {ContentUri: layer/recipes/inference/host}
"""
RECIPES = {
    "inference": 'engine = ""\nrequirements = ["helper==1"]\n',
    "toy": 'base_layer = "inference"\nrequirements = ["toy==1"]\n',
}
SMOKE = '[smoke]\nscript = "smoke.py"\n'


def write_wheel(folder, name, version):
    """Write a wheel of one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return the project's folder, whose name has spaces and another alphabet's letters."""
    top = tmp_path_factory.mktemp("sam")
    folder, wheels = top / "mein  Projekt é ж", top / "wheels"
    wheels.mkdir()
    for name, version in (("helper", 1), ("toy", 1), ("toy", 2)):
        write_wheel(wheels, name, version)
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("builder", "python", "recipes/parts"):
        shutil.copytree(ROOT / "layer" / name, folder / "layer" / name, ignore=skipped)
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "layer" / name, folder / "layer")
    for name, text in RECIPES.items():
        recipe = folder / "layer" / "recipes" / name
        (recipe / "host").mkdir(parents=True)
        (recipe / "recipe.toml").write_text(text + SMOKE)
        module = text.partition('["')[2].partition("==")[0]
        (recipe / "smoke.py").write_text(f"import {module}\n\ndef answer():\n    return {module}.VERSION\n")
        shutil.copy(ROOT / "layer" / "recipes" / "opennmt" / "host" / "Makefile", recipe / "host")
    (folder / "template.yaml").write_text(TEMPLATE)
    (folder / "samconfig.toml").write_text("version = 0.1\n")
    return folder


def build(project, *options, **variables):
    """Run ``sam build``, and return what it built and what was printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    settings = {"SAM_CLI_TELEMETRY": "0", "PYTHON": sys.executable, "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(project.parent / "wheels"), "PIP_CONFIG_FILE": os.devnull}  # fmt: skip
    done = subprocess.run(
        [SCRIPTS / "sam", "build", *options], cwd=project, env=clean | settings | variables,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return project / ".aws-sam" / "build", done.stderr


def answer(built):
    """Return what a Python that has both layers, and nothing else, finds in them."""
    code = "import sys; sys.path += sys.argv[1:]; import helper, toy; print(helper.VERSION, toy.VERSION)"
    paths = [built / name / "python" for name in ("LambdaInferenceLayer", "DependencyLayer")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *paths], capture_output=True, text=True, check=True
    )
    edited = b"EDITED" in (paths[0] / "lambda_inference" / "threads.pyc").read_bytes()
    return done.stdout.split(), edited


def test_edits_are_in(project):
    """``sam build --cached`` builds anew after an edit of shared code or a pin, both layers at once."""
    built, _ = build(project, "--cached", "--parallel")
    assert answer(built) == (["1", "1"], False)

    with (project / "layer" / "python" / "lambda_inference" / "threads.py").open("a") as file:
        file.write("EDITED = 1\n")
    recipe = project / "layer" / "recipes" / "toy" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("toy==1", "toy==2"))
    built, _ = build(project, "--cached", "--parallel")
    assert answer(built) == (["1", "2"], True)

    built, printed = build(project, "--cached")
    assert answer(built) == (["1", "2"], True)
    assert printed.count("nothing has changed since this layer was built") == 3
    assert "Valid cache found" not in printed


def test_strategy(project):
    """STRATEGY reaches the engine's layer alone, and the printed report says who asked."""
    built, printed = build(project, STRATEGY="nested")

    assert (built / "DependencyLayer" / "python" / "layer.tar.zst").is_file()
    assert (built / "LambdaInferenceLayer" / "python" / "helper.pyc").is_file()
    report = json.loads((project / ".layers" / "toy-host" / "report.json").read_text())
    assert "--strategy asks for it" in report["reason"]
    assert "nothing has changed" in printed


def test_other_python(project, tmp_path):
    """A Python that cannot read the layer's bytecode says for which one it was built."""
    built, _ = build(project)
    python = shutil.copytree(built / "LambdaInferenceLayer" / "python", tmp_path / "python")
    marker = python / "compiled.layer_target.json"
    marker.write_text(
        marker.read_text().replace(f"{sys.version_info.major}.{sys.version_info.minor}", "3.99")
    )
    for module in python.rglob("*.pyc"):
        module.write_bytes(b"\0" * 4 + module.read_bytes()[4:])

    code = "import sys; sys.path.append(sys.argv[1]); import lambda_inference"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(python)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "RuntimeError: a layer of this function was built for runtime python3.99, not " in done.stderr


def test_container(project, tmp_path):
    """What a container gets is the target's folder alone: the makefile says to build without one."""
    shutil.copy(project / "layer" / "recipes" / "toy" / "host" / "Makefile", tmp_path)
    done = subprocess.run(
        [shutil.which("make"), "--makefile", tmp_path / "Makefile", "build-DependencyLayer"],
        env={"PATH": os.environ["PATH"], "ARTIFACTS_DIR": str(tmp_path / "artifacts")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "leave out --use-container: sam build\n" in done.stderr
