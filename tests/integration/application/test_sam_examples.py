"""``sam build`` and ``sam deploy`` of functions that include the root's template, from their folders.

Here one of them stands for all, the quickest to build; tests/soak takes the others.
"""

import json

import boto3
import pytest
from integration.application.test_sam_deploy import succeeded
from support import cloud
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.__main__ import main
from layer.builder import tree
from layer.builder.pack.plan import LIMIT
from layer.builder.recipe import load
from layer.builder.report import facts as report

SAMPLE = "keras"
BESIDE = {
    "README.md",
    "template.yaml",
    "samconfig.toml",
    "show.py",
    "publishing.py",
    "events",
    "__pycache__",
    ".aws-sam",
}

pytestmark = [
    pytest.mark.check,
    pytest.mark.filterwarnings("ignore:Tried to parse AWS.*S3.*BucketPolicy:UserWarning"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the sample."""
    metafunc.parametrize("built", [SAMPLE], indirect=True, scope="module")


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    """Return a function, and what ``sam build`` made in its folder."""
    one = functions.get(request.param)
    folder = tmp_path_factory.mktemp(one.name) / "build"
    printed = succeeded("build", "--build-dir", folder, cwd=one.home)
    return one, folder, printed


def test_function_alone(built):
    """The function is its modules; what stands beside them in its folder stays here."""
    one, folder, _ = built
    deployed = {path.name for path in (folder / "Application" / "TranslationFunction").iterdir()}
    assert deployed == {path.name for path in one.code.iterdir()} - BESIDE
    assert "app.py" in deployed


def test_layers_fit(built):
    """They are for arm64 and the function's engine, and fit into what Lambda takes."""
    one, folder, _ = built
    parts = [folder / "Application" / name for name in
             ("DependencyLayer", "LambdaInferenceLayer", "TranslationFunction")]  # fmt: skip
    marker = json.loads((parts[0] / "python" / "layer_target.json").read_text())
    assert (marker["engine"], marker["runtime"], marker["architecture"]) == (
        one.engine,
        "python3.13",
        "arm64",
    )
    assert sum(map(tree.size, parts)) <= LIMIT
    stated = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    assert f"| {tree.size(parts[0]):,} |" in stated


def test_layer_is_proven(built):
    """The records say that this tree answered on arm64 what the full one does, unless nobody made any yet."""
    one, folder, _ = built
    target = report.read(ROOT / ".layers" / f"{one.engine}-python3.13-arm64" / report.REPORT)
    assert target.layer_sha256 == tree.folder_sha256(folder / "Application" / "DependencyLayer")
    recorded = (load(one.engine).folder / "python3.13-arm64" / "proof.json").exists()
    assert target.proven == recorded


def test_lint(built):
    """``sam validate --lint`` finds nothing."""
    one, _, _ = built
    assert "valid SAM Template" in succeeded("validate", "--lint", cwd=one.home)


def test_deployed(built, tmp_path, monkeypatch, capsys):
    """A deployment creates the root's stack inside the function's own, whose outputs the commands find."""
    one, folder, _ = built
    # The built template names the state machine's definition by its place: it cannot be moved.
    with cloud.account() as aws:
        succeeded("deploy", "--no-confirm-changeset", "--template-file", folder / "template.yaml",
                  "--config-file", one.home / "samconfig.toml", cwd=tmp_path, **aws.environment)  # fmt: skip
        formation = aws.client("cloudformation")
        [stack] = formation.describe_stacks(StackName=one.name.replace("_", "-"))["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        [inner] = [
            resolved
            for name, resolved in aws.resolved.items()
            if name.startswith(f"{stack['StackName']}-App")
        ]
        variables = inner["TranslationFunction"]["Environment"]["Variables"]
        assert (variables["ENGINE"], variables["MODEL_NAME"]) == (one.engine, one.model.name)
        assert variables["MODEL_BUCKET"] == outputs["ModelBucketName"]
        for name, value in (aws.environment | {"AWS_DEFAULT_REGION": cloud.REGION}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        # The command that the stack prints, as it prints it, without writing.
        command = outputs["PublishCommand"].removeprefix("python -m lambda_setup ").split()
        monkeypatch.chdir(ROOT)
        assert main([*command, "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["bucket"] == outputs["ModelBucketName"]
