"""The builder's commands, and what they do with errors."""

import pytest

from layer.builder import cli
from layer.builder.cli import main
from layer.builder.errors import TargetError


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
