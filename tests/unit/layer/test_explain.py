"""Why a file is in a layer or not: each reason by a recipe and a trace of one line."""

import pytest

from layer.builder.recipe import parse
from layer.builder.slim import trace
from layer.builder.slim.explain import explain
from layer.builder.target import get_target
from layer.builder.wheels.lock import Lock

COMMANDS = "console scripts; a layer has no shell; the prediction does not open it"
ARM = get_target("python3.13-arm64")
RECIPE = {
    "name": "mine",
    "requirements": ["toy==1"],
    "protect": ["toy/protected/**"],
    "package_data": ["**/*.json"],
    "libraries": {"libx.so.1": "carrier==1"},
    "rules": [{"name": "plots", "reason": "nobody looks", "globs": ["toy/plots/**"]}],
    "patches": [
        {"name": "no net", "reason": "unused", "upstream": "x", "stage": "slim", "path": "toy/net.py",
         "remove": True},
        {"name": "quiet", "reason": "logs", "upstream": "x", "stage": "fix", "path": "toy/log.py",
         "empty": True},
    ],
}  # fmt: skip
OUT = (
    "out: the smoke prediction neither opens nor maps it, and nothing that stays names it; "
    'protect = ["{}"] in the recipe keeps it'
)
DESCRIBED = "in: a licence, or what can be looked up, of a distribution that is used"
OWNERS = {"toy/__init__.py": "great_toy-1.dist-info", "whole/x.py": "whole_thing-1.dist-info"}
OPENED = ["toy/__init__.py", "toy/log.py", "toy/tests/data.txt", "toy/plots/axis.py"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("toy/__init__.pyc", "in: the smoke prediction opens or maps it"),
        ("python/toy/__init__.py", "in: the smoke prediction opens or maps it"),
        ("toy/other.py", OUT.format("toy/other.py")),
        ("toy/net.py", "out: patch 'no net' changes it: unused"),
        ("toy/protected/x.py", "in: toy/protected/** in the recipe's protect"),
        ("toy/plots/axis.py", "out: rule 'plots' of the recipe: nobody looks"),
        ("bin/toy", "out: rule 'commands' of every recipe: " + COMMANDS),
        ("toy/tests/data.txt", "in: the smoke prediction opens or maps it"),
        ("toy/a.json", "in: **/*.json of the recipe's package_data, and toy is used"),
        ("toy-1.dist-info/LICENSE", "in: *.dist-info/**/LICEN[CS]E* of licences, and toy is used"),
        ("spare/a.json", OUT.format("spare/a.json")),
        ("great_toy-1.dist-info/LICENSE", DESCRIBED),
        ("whole_thing-1.dist-info/METADATA", DESCRIBED),
        ("lib/libx.so.1", "in: the recipe's libraries take it from carrier==1"),
        ("base/late.py", "in: the code or the strings of what stays name it"),
        ("whole/x.py", "in: whole/**, of a package in [smoke] imports"),
    ],
)  # fmt: skip
def test_reason(path, reason, tmp_path):
    """The first line is what decides."""
    mine, lock = parse(RECIPE, tmp_path), Lock(tmp_path, ())
    trace.write(mine, ARM, lock, OPENED, OPENED)
    trace.write_named(mine, ARM, lock, "key", ["base/late.py"])

    assert explain(path, mine, ARM, lock, ["whole/**"], OWNERS)[0] == reason


def test_more(tmp_path):
    """A patch of a file that stays is named; so is a trace that is missing."""
    mine, lock = parse(RECIPE, tmp_path), Lock(tmp_path, ())

    assert explain("toy/log.py", mine, ARM, lock, [], {}) == [
        "in: no rule names it",
        "patch 'quiet' changes it: logs",
        "there is no trace of these wheels for python3.13-arm64: build it to have one",
    ]


def test_a_file_that_no_wheel_has(tmp_path):
    """It is said, because the path may be misspelt; of wheels that are not there nobody knows."""
    mine, lock = parse(RECIPE, tmp_path), Lock(tmp_path, ())
    trace.write(mine, ARM, lock, OPENED, OPENED)
    line = "no locked wheel has such a file"
    assert explain("toy/non.py", mine, ARM, lock, [], OWNERS)[1:] == [line]
    assert explain("whole/x.py", mine, ARM, lock, [], OWNERS)[1:] == []
    assert explain("toy/non.py", mine, ARM, lock, [], {})[1:] == []
