"""Options that mean the same in every command."""

import argparse
import subprocess
import sys

import pytest
from support.project import ROOT

from lambda_setup.__main__ import main
from lambda_setup.commands import options
from lambda_setup.commands.parser import build_parser
from lambda_setup.deployment.aws import open_session
from layer.builder import cli


def leaves(parser: argparse.ArgumentParser, name: str = ""):
    """Yield each command with its parser."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield name.strip(), parser
    for group in groups:
        for verb, below in group.choices.items():
            yield from leaves(below, f"{name} {verb}")


COMMANDS = {name: parser for name, parser in leaves(build_parser()) if name != "layer"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_debug_and_runs_something(name):
    """A command is declared in one way: it has a function that runs it, and --debug."""
    parser = COMMANDS[name]
    assert callable(parser.get_default("run"))
    assert "--debug" in parser.format_help()


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if "--stack" in one.format_help()])
def test_commands_that_talk_to_aws_take_an_account(name):
    """With --stack come --region and --profile."""
    text = COMMANDS[name].format_help()
    assert "--region" in text
    assert "--profile" in text


def test_every_option_has_a_help_text():
    """No option is left without a word, but for those that are hidden."""
    for parser in COMMANDS.values():
        assert all(action.help for action in parser._actions)


def test_former_options_work_and_warn(capsys):
    """An option under a former name has the value of its successor, and the warning names that."""
    parser = argparse.ArgumentParser()
    options.add_out(parser, "DIR", "folder", former="--save")
    assert str(parser.parse_args(["--save", "x"]).out) == "x"
    assert capsys.readouterr().err == "warning: --save is deprecated; use --out\n"
    assert "--save" not in parser.format_help()
    assert parser.parse_args([]).out is None


def test_debug_shows_the_traceback(tmp_path, capsys):
    """Without --debug an error is one line; with it the traceback stands before."""
    missing = str(tmp_path / "missing")
    assert main(["results", "show", missing]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert main(["results", "show", missing, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_layer_is_the_builder(capsys):
    """``lambda-inference layer`` is ``python -m layer``."""
    with pytest.raises(SystemExit) as ended:
        main(["layer", "--help"])
    assert ended.value.code == 0
    assert "build" in capsys.readouterr().out


@pytest.mark.parametrize("fault", [ValueError, KeyError, TypeError, RuntimeError])
@pytest.mark.parametrize("extra", [[], ["--debug"]])
def test_a_fault_of_ours_is_no_error_of_the_users(monkeypatch, capsys, fault, extra):
    """An exception that nobody raised for the user propagates with its traceback, never as error:."""

    def run(*_):
        raise fault("ours")

    monkeypatch.setattr("lambda_setup.commands.batch.delete_local_store", run)
    with pytest.raises(fault, match="ours"):
        main(["batch", "clean", *extra])
    assert "error:" not in capsys.readouterr().err


def test_unknown_profiles_are_refused(monkeypatch, tmp_path, capsys):
    """--profile chooses the session's profile, and a wrong one is the user's error."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    arguments = ["model", "list", "--bucket", "b", "--profile", "nobody"]
    assert main(arguments) == 2
    assert "nobody" in capsys.readouterr().err


def test_region_and_profile_choose_the_session(monkeypatch, tmp_path):
    """Credentials are the profile's, the region the one that is given."""
    config = tmp_path / "config"
    config.write_text(
        "[profile mine]\nregion = eu-west-1\naws_access_key_id = A\naws_secret_access_key = B\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    session = open_session(profile="mine")
    assert (session.region_name, session.get_credentials().access_key) == ("eu-west-1", "A")
    assert open_session("eu-central-1", "mine").region_name == "eu-central-1"


def test_what_reaches_an_account_takes_region_and_profile():
    """Every command that finds a stack or a bucket, this package's and the layer builder's."""
    parsers = [*leaves(build_parser(), "lambda_setup"), *leaves(cli.build_parser(), "layer")]
    found = {
        name: {option for action in parser._actions for option in action.option_strings}
        for name, parser in parsers
    }
    reaching = {name for name, options in found.items() if options & {"--stack", "--bucket"}}
    assert reaching > {"lambda_setup teardown", "lambda_setup batch fetch", "layer publish"}
    assert {name for name in reaching if not found[name] > {"--region", "--profile"}} == set()


def test_a_python_without_the_packages_is_told_of_the_environment():
    """It is the first command that somebody types who has not taken the environment."""
    command = [sys.executable, "-S", "-m", "lambda_setup", "new", "mine"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: {sys.executable} has no lambda_inference; `make demo` makes" in done.stderr
    assert "source .venv/bin/activate" in done.stderr
