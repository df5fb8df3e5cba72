"""Two tutorials are walked as they are written; a policy in operations.md is what functions need."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.project import ROOT

from lambda_setup.deployment.local import SHIPPED_MODEL
from lambda_setup.deployment.local.process import free_ports
from lambda_setup.models.describe import describe

PAGE = (ROOT / "docs" / "how-to" / "operations.md").read_text()
TUTORIALS = ROOT / "docs" / "tutorial"
WALK = (TUTORIALS / "model_swap.md").read_text()
FIRST = (TUTORIALS / "first_function.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SERVE, *BLOCKS = (text for language, text in BLOCK.findall(WALK) if not language)


@pytest.fixture
def project(tmp_path) -> Path:
    """Return what the walk uses of the project, where files may be made."""
    (tmp_path / "models").mkdir()
    for path in (ROOT / "events", SHIPPED_MODEL):
        (tmp_path / path.relative_to(ROOT)).symlink_to(path)
    return tmp_path


@pytest.fixture
def environment(project, tmp_path_factory):
    """Somebody's environment who has no account, and the first terminal's command at a free port."""
    assert SERVE == "make s3\n"
    assert "\ns3: $(VENV)/ready" in (ROOT / "Makefile").read_text()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    clean |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    [port] = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-m", "lambda_setup", "s3", "--port", str(port)],
        cwd=project, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        assert any("serving" in line for line in serving.stderr)
        yield clean | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}
        serving.terminate()


@pytest.mark.check
def test_the_walk(project, environment):
    """Every command of it works; production answers as it says, changes, and changes back."""
    before = {path.name for path in project.iterdir()}
    said = ""
    for block in BLOCKS:
        done = subprocess.run(
            ["/bin/sh", "-euc", block], cwd=project, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    answers = [json.loads(line)["body"] for line in said.splitlines() if line.startswith('{"statusCode"')]
    [mine] = re.findall(r"^version +([0-9a-f]{64})$", said, re.MULTILINE)
    shipped = describe(SHIPPED_MODEL).version

    texts = [one["predictions"][1]["hypotheses"][0]["text"] for one in answers]
    assert texts == re.findall(r"`(Se ha cambiado .*?)`", WALK)
    assert len(set(texts)) == 2
    assert [one["model"]["version"] for one in answers] == [shipped, mine, shipped]
    assert {path.name for path in project.iterdir()} == before
    assert [path.name for path in (project / "models").iterdir()] == ["en-es"]


@pytest.mark.check
def test_the_first_function(project, environment):
    """A request of one's own is answered, a mistake as the page quotes it, and the answer is shown."""
    (project / ".venv").symlink_to(ROOT / ".venv")
    demo, *blocks = (text for language, text in BLOCK.findall(FIRST) if not language)
    assert demo == "make demo\n"
    blocks.remove(SERVE)
    tables = [block for block in blocks if "│" in block]
    assert "predictions  .demo/" in tables[0]
    said = ""
    for block in [block for block in blocks if block not in tables]:
        done = subprocess.run(
            ["/bin/bash", "-euc", block.replace("source .venv/bin/activate\n", "")], cwd=project,
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == ("mistake" in block), f"{block}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    responses = [json.loads(line) for line in said.splitlines() if line.startswith('{"statusCode"')]
    assert [one["statusCode"] for one in responses] == [200, 400, 200]
    first, mistake = map(json.loads, re.findall(r"```json\n(.*?)```", FIRST, re.DOTALL))
    assert (first.keys(), first["body"].keys()) == (responses[0].keys(), responses[0]["body"].keys())
    assert responses[1] == mistake
    for row in tables[1].splitlines():
        assert row in said
    assert (project / "result.html").is_file()


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("data", "out", "told"),
    [
        ("The table.\tLa mesa.\nThe chair. La silla.\n", "mine", "line 2 of pairs.tsv is not a pair"),
        ("", "mine", "line 1 of pairs.tsv is not a pair"),
        ("The table.\tLa mesa.\n", "models", "models is there already"),
    ],
)
def test_what_cannot_be_trained_on(project, data, out, told):
    """It is told in a line before the training starts, and leaves nothing behind."""
    (project / "pairs.tsv").write_text(data)
    done = subprocess.run(
        [sys.executable, "models/en-es/train/finetune.py", "--data", "pairs.tsv", "--out", out],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert told in done.stderr
    assert {path.name for path in project.iterdir()} == {"events", "models", "pairs.tsv"}


def test_the_policy_for_another_account():
    """It allows what the template's role is allowed on models, and nothing else."""
    policy = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    template = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - a SafeLoader
    role = template["Resources"]["ModelPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert [(one["Action"], one.get("Condition")) for one in policy] == [
        (one["Action"], json.loads(json.dumps(one.get("Condition")).replace("${ModelName}", "en-es")))
        for one in role
    ]


class _Loader(yaml.SafeLoader):
    """Reads a template, with CloudFormation's functions as their arguments."""


_Loader.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    ),
)  # fmt: skip
