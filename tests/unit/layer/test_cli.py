"""The builder's commands, and what they do with errors."""

import errno
import os
import re
from unittest.mock import Mock

import pytest

from layer.builder import cli
from layer.builder.cli import main
from layer.builder.errors import ResolveError, TargetError
from layer.builder.wheels.tool import describe_failure


def test_help(capsys):
    """The help lists users' commands; maintainers' work without being listed."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m layer")
    assert "build" in text
    assert "publish" in text
    for name in ("interpreter", "compile", "fix", "mend"):
        assert name not in text
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize("arguments", [["--debug", "build"], ["build", "--debug"]])
def test_debug(arguments):
    """An error that is the user's to mend shows its traceback, wherever the option stands."""
    with pytest.raises(TargetError):
        main([*arguments, "opennmt", "--target", "arm64"])


def test_a_bug(monkeypatch):
    """A bug of the builder is not presented as the user's mistake."""

    def fail(_):
        raise ValueError("a bug")

    monkeypatch.setattr(cli, "load", fail)
    with pytest.raises(ValueError, match="a bug"):
        main(["build", "opennmt"])


def test_interrupted(monkeypatch):
    """Ctrl-C ends a command as a shell expects, without a traceback."""

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load", interrupt)
    assert main(["build", "opennmt"]) == 130


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ResolveError(f"pip failed:\nOSError: [Errno 28] {os.strerror(errno.ENOSPC)}"),
    ],
    ids=["ours", "pip's"],
)
def test_a_full_disk(error, monkeypatch, capsys):
    """The error says how much is free, and where the builder can write instead."""
    monkeypatch.setattr(cli, "load", Mock(side_effect=error))

    assert main(["build", "opennmt"]) == 2

    message = capsys.readouterr().err
    assert re.search(r"no space left: free are [\d,]+ MB in .* and [\d,]+ MB in ", message)
    assert "TMPDIR" in message


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "WARNING: x\nERROR: No matching distribution found for a\n",
            "ERROR: No matching distribution found for a",
        ),
        ("ERROR: Exception:\nTraceback (most recent call last):\n  File x\nOSError: full\n", "OSError: full"),
        ("", "it printed no error"),
    ],
)
def test_what_pip_says(output, expected):
    """Its lines of error; of a traceback, which pip announces without saying what it is, the last line."""
    assert describe_failure(output) == expected


def test_explain(capsys):
    """The reason is printed; a recipe that was never locked for a target is an error."""
    assert main(["explain", "bin/toy", "--recipe", "inference", "--target", "python3.13-arm64"]) == 0
    assert capsys.readouterr().out.startswith("out: rule 'commands' of every recipe")
    assert main(["explain", "x.py", "--recipe", "inference", "--target", "python3.12-arm64"]) == 2
    assert "recipe inference has no lock for python3.12-arm64; build it first" in capsys.readouterr().err
