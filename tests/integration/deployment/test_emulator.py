"""The emulator with a function of a few lines: its environment, its limits, and its process."""

import importlib.util
from pathlib import Path

import pytest

from lambda_setup.deployment.local import emulator as module
from lambda_setup.deployment.local.emulator import Emulator, link_runtime
from lambda_setup.errors import CommandError

FUNCTION = """
import importlib.util, os, sys, time
def lambda_handler(event, context):
    if "sleep" in event:
        time.sleep(event["sleep"])
    return {
        "environment": dict(os.environ), "path": sys.path, "pid": os.getpid(), "folder": os.getcwd(),
        "found": {name: bool(importlib.util.find_spec(name)) for name in ("boto3", "pytest", "mine")},
        "left": context.get_remaining_time_in_millis(), "echo": ascii(event),
    }
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory) -> Path:
    """Return a folder with a function."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(FUNCTION)
    return folder


@pytest.fixture(scope="module")
def layer(tmp_path_factory) -> Path:
    """Return the Python folder of a layer with one module."""
    folder = tmp_path_factory.mktemp("layer") / "python"
    folder.mkdir()
    (folder / "mine.py").touch()
    return folder


@pytest.fixture(scope="module")
def running(code, layer):
    """Yield a function that runs."""
    with Emulator(code, layers=[layer], timeout=2) as function:
        yield function


def read_state(pid: int) -> str:
    """Return the state of a process, as ps shows it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_what_a_function_sees(code, layer):
    """Lambda's variables with the given ones, its layers, Lambda's own packages, and no others."""
    given = {"GIVEN": "1", "TMPDIR": "/no", "TZ": ":CET"}
    with Emulator(code, layers=[layer], memory=512, timeout=2, env=given) as running:
        said = running.invoke({"text": "\ud800"})
        assert Path(said["environment"]["TMPDIR"]).is_dir()
    assert said["echo"] == r"{'text': '\ud800'}"
    assert said["found"] == {"boto3": True, "pytest": False, "mine": True}
    assert said["path"][:2] == [str(code), str(layer)]
    assert said["folder"] == str(code)
    assert 1000 < said["left"] <= 2000
    assert said["environment"].items() >= {
        "LANG": "C.UTF-8", "TZ": ":CET", "GIVEN": "1", "_HANDLER": "app.lambda_handler",
        "LAMBDA_TASK_ROOT": str(code), "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_LAMBDA_FUNCTION_TIMEOUT": "2",
        "AWS_LAMBDA_LOG_FORMAT": "JSON", "LD_LIBRARY_PATH": str(layer.parent / "lib"),
    }.items()  # fmt: skip


def test_a_frozen_function(running):
    """It stands still, and goes on."""
    pid = running.invoke({})["pid"]
    running.freeze()
    assert any(read_state(pid) == "T" for _ in range(1_000_000))
    running.thaw()
    assert running.invoke({})["pid"] == pid


def test_a_killed_function(running):
    """The next event starts another process."""
    pid = running.invoke({})["pid"]
    running.kill()
    assert "error" in running.invoke({})["body"]
    assert running.invoke({})["pid"] != pid


def test_a_timeout(running):
    """The answer says so."""
    answer = running.invoke({"sleep": 30})
    assert answer["statusCode"] == 504
    assert "timed out after 2" in answer["body"]["error"]["message"]


def test_what_is_left(code, tmp_path):
    """Neither the process nor its folder; a given temporary folder stays."""
    with Emulator(code, layers=[], temporary=tmp_path) as function:
        said = function.invoke({})
        assert said["environment"]["TMPDIR"] == str(tmp_path)
        runtime = Path(said["path"][1])
        assert read_state(said["pid"]) in "SR"
    assert not Path(f"/proc/{said['pid']}").exists() or read_state(said["pid"]) == "Z"
    assert not runtime.parent.exists()
    assert tmp_path.exists()
    assert function._runtime() == []


def test_an_emulator_that_does_not_start(code, tmp_path, monkeypatch):
    """It is said, and its folder is gone."""
    (tmp_path / "false").symlink_to("/bin/false")
    monkeypatch.setattr(module, "_find_emulator", lambda: tmp_path / "false")
    function = Emulator(code, layers=[])
    with pytest.raises(CommandError, match="false ended with 1 before it was ready"):
        function.__enter__()
    assert not Path(function._folder.name).exists()


def test_the_emulator_is_missing(monkeypatch):
    """The message has the command that installs it."""
    for found in (None, importlib.util.spec_from_loader("samcli", None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, found=found: found)
        with pytest.raises(CommandError, match="run: pip install aws-sam-cli"):
            module._find_emulator()


def test_the_runtimes_packages(tmp_path):
    """Those that the client and boto3 require are there, once each, and nothing else."""
    link_runtime(tmp_path)
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert names >= {"awslambdaric", "boto3", "botocore", "s3transfer", "jmespath", "urllib3", "six.py"}
    assert not names & {"pytest", "numpy", "__pycache__", "..", "crt", "awscrt"}
    assert all(path.is_symlink() and path.exists() for path in tmp_path.iterdir())
    link_runtime(tmp_path)
