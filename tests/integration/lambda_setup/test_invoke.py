"""``python -m lambda_setup invoke``: what an operator types, and what is left when it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.events import case
from support.project import ROOT

from lambda_setup.viewer.result import read_records

PNG = b"\x89PNG\r\n\x1a\n"


def command(*arguments) -> list[str]:
    """Return the command line of an operator's command."""
    return [sys.executable, "-m", "lambda_setup", *map(str, arguments)]


def children_of(pid: int) -> set[int]:
    """Return every process below a process."""
    below: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            below |= {child} | children_of(child)
    return below


def alive(pids: set[int]) -> set[int]:
    """Return those of some processes that still run."""
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the demo's event and a warm-up, sent by the command, with everything saved."""
    folder = tmp_path_factory.mktemp("saved")
    done = subprocess.run(
        command("invoke", "-e", case("event").path, "-e", case("valid/warmup").path, "--out", folder),
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, folder


def test_invoke_prints_one_response_a_line(saved):
    """Standard output has the responses in the events' order, and nothing else."""
    done, _ = saved
    assert done.returncode == 0, done.stderr
    responses = [json.loads(line) for line in done.stdout.splitlines()]
    assert [response["statusCode"] for response in responses] == [200, 200]
    assert responses[0]["body"]["count"] == 20
    assert responses[1]["body"] == {"warmup": "confirmed"}


def test_invoke_saves_what_the_answers_name(saved):
    """The objects lie below the folder under their keys, readable with gunzip and numpy."""
    done, folder = saved
    body = json.loads(done.stdout.splitlines()[0])["body"]
    records = list(read_records(folder / body["s3_key"]))
    assert len(records) == 20
    assert all(len(record["hypotheses"]) == 3 for record in records)
    assert np.load(folder / body["attention_key"], allow_pickle=False)["index"].shape == (60, 4)


def test_results_show_a_table_and_a_picture(saved):
    """The table has every translation, and the picture is there."""
    done, folder = saved
    key = json.loads(done.stdout.splitlines()[0])["body"]["s3_key"]
    shown = subprocess.run(
        command("results", "show", folder), cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"COLUMNS": "400"},
    ).stdout  # fmt: skip
    for record in read_records(folder / key):
        assert record["source"] in shown
        assert all(one["text"] in shown for one in record["hypotheses"])
    assert str(folder / key) in shown
    assert (folder / key).with_name("attention-0.png").read_bytes().startswith(PNG)


def test_invoke_fails_unless_every_answer_is_200():
    """One refused event is exit code 1, though every event is answered."""
    done = subprocess.run(
        command("invoke", "-e", case("invalid/beam_bool").path, "-e", case("valid/warmup").path),
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert [json.loads(line)["statusCode"] for line in done.stdout.splitlines()] == [400, 200]


def test_what_cannot_be_sent_is_told_before_anything_starts(tmp_path):
    """A missing event, one that is no JSON and a folder without a model are exit code 2 and one line."""
    (tmp_path / "event.json").write_text("{")
    for arguments in (["-e", "missing.json"], ["-e", tmp_path / "event.json"],
                      ["-e", case("event").path, "--model", tmp_path]):  # fmt: skip
        done = subprocess.run(
            command("invoke", *arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "error: " in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.sample(3)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_invoke_ends_what_it_started(number, tmp_path):
    """However it is ended, no server and no function stay behind."""
    log = tmp_path / "function.log"
    running = subprocess.Popen(
        command("invoke", "-e", case("invalid/inline_too_large").path, "--log-file", log),
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait_until(lambda: log.exists() and "model loaded" in log.read_text())
    started = children_of(running.pid)
    running.send_signal(number)
    assert running.wait(60) != 0
    assert len(started) >= 3
    _wait_until(lambda: not alive(started))


def test_the_commands_teach():
    """Every command has a help with a description."""
    for words in ([], ["invoke"], ["s3"], ["results", "show"]):
        done = subprocess.run(command(*words, "--help"), capture_output=True, text=True, check=True, cwd=ROOT)
        assert len(done.stdout) > 200


def _wait_until(happened) -> None:
    end = time.monotonic() + 90
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
