"""The builder's commands, and what they do with errors."""

import errno
import io
import os
import re
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from layer.builder import cli
from layer.builder.cli import main, recipes
from layer.builder.errors import ResolveError, TargetError
from layer.builder.verify.imports import get_folders
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


@pytest.mark.parametrize(
    ("path", "line"),
    [("a.py", "its 12 bytes"), ("b.py", "its 34 bytes"), ("c.py", "no such file")],
    ids=["a source", "compiled", "neither"],
)
def test_explain_what_was_built(path, line, monkeypatch, capsys):
    """Where the layer is there, it is said what it has of the file."""
    files = [SimpleNamespace(path="a.py", bytes=12), SimpleNamespace(path="b.pyc", bytes=34)]
    read = []

    def read_report(place):
        read.append(place)
        return SimpleNamespace(files=files)

    monkeypatch.setattr(recipes.facts, "read", read_report)
    assert main(["explain", path, "--recipe", "inference", "--target", "python3.13-arm64"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"the layer that was built has {line}"
    assert read == [cli.builder.WORK / "inference-python3.13-arm64" / "report.json"]


@pytest.mark.parametrize(("imports", "whole"), [(("a.b",), get_folders(["a.b"])), (None, ())])
def test_explain_packages_that_stay_whole(imports, whole, monkeypatch):
    """They are those whose public modules the recipe imports, if it has a prediction at all."""
    recipe = replace(recipes.load("inference"), smoke=imports and SimpleNamespace(imports=imports))
    asked = []
    monkeypatch.setattr(recipes, "load", lambda _: recipe)
    monkeypatch.setattr(recipes, "explain", lambda *given: asked.append(given[4]) or [])
    assert main(["explain", "a/b/c.py", "--recipe", "inference", "--target", "python3.13-arm64"]) == 0
    assert asked == [whole]


def test_fix(tmp_path, monkeypatch, capsys):
    """What is not applied yet is, and said; not what a layer alone gets, nor in place of a whole package."""
    (tmp_path / "whole").mkdir()
    patches = [
        SimpleNamespace(name=name, path=path, stage=stage, action=action)
        for name, path, stage, action in (
            ("one", "a.py", "fix", "replace"), ("applied", "b.py", "fix", "replace"),
            ("layer's", "c.py", "slim", "replace"), ("stand-in", "whole.py", "fix", "content"),
            ("missing", "d.py", "fix", "content"),
        )
    ]  # fmt: skip
    applied = []
    monkeypatch.setattr(cli, "load", lambda _: SimpleNamespace(patches=patches))
    monkeypatch.setattr(cli.patch, "is_applied", lambda _, one: one.name == "applied")
    monkeypatch.setattr(cli.patch, "apply", lambda *given: applied.append(given))
    assert main(["fix", "any", str(tmp_path)]) == 0
    assert applied == [(tmp_path, [patches[number]], "fix") for number in (0, 4)]
    assert capsys.readouterr().out.splitlines() == ["· fixed a.py (one)", "· fixed d.py (missing)"]


def test_no_command(capsys):
    """The usage is printed, and nothing done."""
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(("debug", "expected"), [([], 130), (["--debug"], None)])
def test_interrupted_with_debug(debug, expected, monkeypatch):
    """The traceback of an interruption is shown, too."""
    monkeypatch.setattr(cli, "load", Mock(side_effect=KeyboardInterrupt))
    if expected:
        assert main([*debug, "build", "opennmt"]) == expected
    else:
        with pytest.raises(KeyboardInterrupt):
            main([*debug, "build", "opennmt"])


EXCLUDE = 'in the recipe: exclude = ["spare"]'


@pytest.mark.parametrize(
    ("lock", "unused", "proposal"),
    [
        (
            "the lock",
            ["spare"],
            ['proposal nothing of these is left in the layer; in the recipe: exclude = ["spare"]'],
        ),
        ("the lock", [], []),
        (None, ["spare"], []),
    ],
)
def test_build(lock, unused, proposal, tmp_path, monkeypatch, capsys):
    """The job is what the options say; the table, the places and a proposal are printed."""
    jobs = []
    monkeypatch.setattr(cli.builder, "build", lambda job, _: jobs.append(job) or "the report")
    monkeypatch.setattr(cli, "format_table", lambda report: f"table of {report}")
    monkeypatch.setattr(cli.locks, "read", lambda *_: lock)
    monkeypatch.setattr(cli, "list_unused", lambda *_: unused)
    monkeypatch.setenv("ALLOW_UNPROVEN", "0")

    assert main(["build", "inference", "--out", str(tmp_path), "--strategy", "direct", "--trace"]) == 0

    [job] = jobs
    assert (job.recipe.name, job.target.name, job.out) == ("inference", "host", tmp_path)
    assert (job.strategy, job.retrace, job.allow_unproven) == ("direct", True, False)
    assert capsys.readouterr().out.splitlines() == [
        "table of the report",
        "",
        f"layer    {tmp_path / 'layer'}",
        f"report   {tmp_path / 'report.html'}",
        *proposal,
    ]


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("", False), ("0", False), (None, False)])
def test_the_environment_allows_what_is_unproven(value, allowed, monkeypatch):
    """As the option does, where `sam build` builds; the folder has the recipe's and the target's name."""
    jobs = []
    monkeypatch.setattr(cli.builder, "build", lambda job, _: jobs.append(job))
    monkeypatch.setattr(cli, "format_table", str)
    monkeypatch.setattr(cli, "list_unused", lambda *_: [])
    monkeypatch.setenv("ALLOW_UNPROVEN", value) if value is not None else monkeypatch.delenv(
        "ALLOW_UNPROVEN", raising=False
    )
    assert main(["build", "inference", "--target", "python3.13-arm64"]) == 0
    assert jobs[0].allow_unproven == allowed
    assert jobs[0].out == cli.builder.WORK / "inference-python3.13-arm64"
    assert (jobs[0].strategy, jobs[0].retrace) == ("", False)


@pytest.mark.parametrize("place", ["file", "-"])
def test_trace(place, tmp_path, monkeypatch, capsys):
    """The log is a file or standard input; what became hot is printed, and the next command."""
    log = '{"cold_code": {"/opt/python/a.so": {"pages": 9, "touched": [1, 2]}}}\n'
    (tmp_path / "file").write_bytes(b"\xff\n" + log.encode())
    monkeypatch.setattr("sys.stdin", io.StringIO(log))
    asked = []
    monkeypatch.setattr(cli.observe, "add", lambda *arguments: asked.append(arguments) or {"a.so": 3})

    source = "-" if place == "-" else str(tmp_path / place)
    assert main(["trace", "inference", source, "--target", "python3.13-arm64"]) == 0

    [(recipe, target, python, touched)] = asked
    assert (recipe.name, target.name) == ("inference", "python3.13-arm64")
    assert python == cli.builder.WORK / "inference-python3.13-arm64" / "layer" / "python"
    assert touched == {"/opt/python/a.so": (9, {1, 2})}
    assert capsys.readouterr().out.splitlines() == [
        "· a.so: 3 blocks are hot from now on",
        "· next: python -m layer build inference --target python3.13-arm64",
    ]


@pytest.mark.parametrize(
    ("found", "words"), [(SimpleNamespace(description="a Python"), "a Python"), (None, "none")]
)
def test_interpreter(found, words, monkeypatch, capsys):
    """It is fetched, and what runs and what compiles for the target is printed."""
    fetched = []
    monkeypatch.setattr(cli.interpreter, "fetch", lambda target, *_: fetched.append(target.name))
    for name in ("find", "find_compiler"):
        monkeypatch.setattr(cli.interpreter, name, lambda *_: found)
    assert main(["interpreter", "python3.13-arm64"]) == 0
    assert fetched == ["python3.13-arm64"]
    assert capsys.readouterr().out.splitlines() == [f"· runs the prediction: {words}", f"· compiles: {words}"]


def test_new_without_packages_to_import(tmp_path, monkeypatch, capsys):
    """They are found; where some are given, these are taken. The next command is printed."""
    written = []
    monkeypatch.setattr(recipes.drafts, "check", lambda _: None)
    monkeypatch.setattr(recipes.drafts, "resolve_targets", lambda *_: {"host": ()})
    monkeypatch.setattr(recipes.drafts, "find_imports", lambda *_: ("found",))
    monkeypatch.setattr(recipes.drafts, "write", lambda draft, *_: written.append(draft))
    for option, imports in ([], ("found",)), (["--import", " a,, b "], ("a", "b")):
        assert main(["new", "mine", str(tmp_path), *option]) == 0
        draft = written.pop()
        assert (draft.folder, draft.requirements, draft.smoke) == (recipes.RECIPES / "mine", tmp_path, None)
        assert draft.imports == imports
        assert capsys.readouterr().out.splitlines() == [
            f"recipe   {recipes.RECIPES / 'mine' / 'recipe.toml'}",
            "next     python -m layer build mine",
        ]


@pytest.mark.parametrize(
    ("changes", "line"), [(["- a==1", "+ a==2"], "- a==1\n+ a==2"), ([], "the pins are the newest")]
)
def test_pin(changes, line, monkeypatch, capsys):
    """What changed is printed, or that nothing did."""
    monkeypatch.setattr(recipes.drafts, "renew", lambda *_: changes)
    assert main(["pin", "inference"]) == 0
    assert capsys.readouterr().out == f"{line}\n"
