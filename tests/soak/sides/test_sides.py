"""Old and new beside each other: the table in docs/how-to/upgrade.md, line by line."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

from lambda_setup.deployment.local.s3 import S3Server

OLD = "d9c8673"
HERE = Path(__file__).parent
TOML = 'name = "{name}"\nengine = "shout"\nprecision = "none"\nfiles = ["word.txt"]\n[libraries]\n'
SIDES = [("old", "new"), ("new", "old")]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Return the import paths of both releases."""
    folder = tmp_path_factory.mktemp("old")
    git = ["/usr/bin/env", "git", "-C", str(ROOT)]
    if subprocess.run([*git, "cat-file", "-e", OLD], check=False, capture_output=True).returncode:
        pytest.skip(f"this clone has no commit {OLD}")
    archive = subprocess.run([*git, "archive", OLD, "lambda_setup", "layer"], check=True, capture_output=True)
    subprocess.run(["/usr/bin/env", "tar", "xf", "-", "-C", str(folder)], input=archive.stdout, check=True)
    packages, lock = folder / "packages", folder / "layer/recipes/inference/python3.13-x86_64.lock"
    missing = [line for line in lock.read_text().splitlines() if line.startswith("aws-lambda-powertools")]
    (folder / "requirements.txt").write_text("\n".join(missing))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*pip, "--require-hashes", "--target", packages, "--requirement", folder / "requirements.txt"],
        check=True,
    )
    return {"old": [folder, folder / "layer", packages], "new": [ROOT, ROOT / "layer" / "python"]}


@pytest.fixture(scope="module")
def sides(roots):
    """Return what runs a program of either release against one S3."""
    with S3Server() as s3:
        for bucket in ("models", "results"):
            s3.client().create_bucket(Bucket=bucket)

        def run(side, program, *arguments, name="m"):
            environment = {
                **s3.environment(),
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(map(str, roots[side])),
                "MODEL_BUCKET": "models", "MODEL_NAME": name, "MODEL_CHANNEL": "dev", "ENGINE": "shout",
                "RESULT_BUCKET": "results", "MODEL_REFRESH_SECONDS": "0",
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, HERE / program, *arguments],
                env=environment, capture_output=True, text=True, check=False, cwd=roots[side][0],
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
            lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
            return [json.loads(line.removeprefix("ANSWER ")) for line in lines]

        run.client = s3.client()
        yield run


@pytest.fixture
def publish(sides, tmp_path):
    """Return what publishes a word by either side's operator, and returns the version."""

    def run(side, name, word, more=""):
        folder = tmp_path / word
        folder.mkdir()
        (folder / "word.txt").write_text(word)
        (folder / "model.toml").write_text(TOML.format(name=name) + more)
        return sides(side, "operator_commands.py", "publish", str(folder))[0]

    return run


@pytest.mark.parametrize(("operator", "function"), SIDES)
def test_a_model_is_served(sides, publish, operator, function):
    """What one release's operator publishes, the other's function serves; a rollback, too."""
    name = f"served-{operator}"
    first, second = publish(operator, name, "one"), publish(function, name, "two")
    event = json.dumps({"data": ["a"], "result": "inline"})
    [answer] = sides(function, "function.py", event, name=name)
    assert answer["body"]["predictions"] == [{"index": 0, "text": "a two"}]
    assert sides(operator, "operator_commands.py", "show", name) == [[second, 2, [second, first]]]
    assert sides(operator, "operator_commands.py", "rollback", name) == [first]
    [answer] = sides(function, "function.py", event, name=name)
    assert answer["body"]["model"]["version"] == first
    assert sides(function, "operator_commands.py", "rollback", name) == [second]


def test_what_only_this_release_reads_is_refused_by_the_old_function(sides, publish):
    """A model with a table is not served wrongly: 503, and 200 by the new function."""
    publish("new", "table", "one", '[tokenizer]\nkind = "regex"\n')
    event = json.dumps({"data": ["a"], "result": "inline"})
    [answer] = sides("old", "function.py", event, name="table")
    assert (answer.get("raised"), "503" in answer.get("message", "")) == ("Unavailable", True)
    [answer] = sides("new", "function.py", event, name="table")
    assert answer["statusCode"] == 200


@pytest.mark.parametrize(("first", "second"), SIDES)
def test_a_result_is_found_by_the_other_release(sides, publish, first, second):
    """A retry that meets another release of the function gets the stored result."""
    name = f"results-{first}"
    publish("old", name, "one")
    event = json.dumps({"data": ["a"], "id": f"again-{first}"})
    [before] = sides(first, "function.py", event, name=name)
    [after] = sides(second, "function.py", event, name=name)
    assert before["body"]["s3_key"] == after["body"]["s3_key"]
    assert after["statusCode"] == 200


@pytest.mark.parametrize(("format_", "status"), [({}, 200), ({"format": "text"}, 400)])
def test_shards_of_this_release_need_its_function(sides, publish, format_, status):
    """An old function answers old shards, and refuses those that say their format."""
    name = f"shards-{status}"
    publish("old", name, "one")
    data = b"a\nb\n"
    sides.client.put_object(Bucket="results", Key="inputs/c.txt", Body=data)
    source = {
        "key": "inputs/c.txt",
        "start": 0,
        "end": 4,
        "sha256": hashlib.sha256(data).hexdigest(),
        **format_,
    }
    event = json.dumps({"source": source, "id": f"shard-{status}"})
    [old] = sides("old", "function.py", event, name=name)
    assert old["statusCode"] == status
    if status == 200:
        [new] = sides("new", "function.py", event, name=name)
        assert new["body"]["s3_key"] == old["body"]["s3_key"]
