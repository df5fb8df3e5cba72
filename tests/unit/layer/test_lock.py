"""Locks: made once, read from then on; pip is a stand-in that knows every wheel."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from layer.builder.errors import ResolveError
from layer.builder.pack.kept import SOURCES, Kept
from layer.builder.recipe import RECIPES, load, parse
from layer.builder.target import get_target
from layer.builder.wheels import lock as locks
from layer.builder.wheels.lock import Lock

CACHE = Path("unused")
ARM, X86 = get_target("python3.13-arm64"), get_target("python3.13-x86_64")


def pip(arguments):
    """Answer what pip would to a dry run: a wheel for every pin."""
    pins = [argument.split("==") for argument in arguments if "==" in argument]
    return json.dumps(
        {
            "install": [
                {
                    "metadata": {"name": name, "version": version},
                    "download_info": {
                        "url": f"https://host/{name}-{version}-py3-none-any.whl",
                        "archive_info": {"hashes": {"sha256": hashlib.sha256(name.encode()).hexdigest()}},
                    },
                }
                for name, version in pins
            ]
        }
    )


@pytest.fixture
def recipe(tmp_path):
    """Return a function that returns a recipe with these pins, whose locks are the test's own."""

    def make(*requirements, **fields):
        return parse({"name": "mine", "requirements": list(requirements), **fields}, tmp_path / "mine")

    return make


class TestLock:
    """One lock for a recipe and a target."""

    def test_read(self, recipe):
        """What was made is read again, in pip's own form, and nothing lies beside it."""
        mine = recipe("six==1.17.0", "Jinja2==3.1")
        made = locks.make(mine, ARM, CACHE, pip)

        assert locks.read(mine, ARM) == made
        assert [one.pin() for one in made.wheels] == [
            f"{name}=={version} --hash=sha256:{hashlib.sha256(key).hexdigest()}"
            for name, version, key in (("jinja2", "3.1", b"Jinja2"), ("six", "1.17.0", b"six"))
        ]
        assert [path.name for path in (mine.folder / "python3.13-arm64").iterdir()] == ["wheels.lock"]

    def test_host(self, recipe):
        """The lock of a host says which interpreter and machine it is for."""
        assert locks.path_of(recipe(), get_target("host")).parent.name.startswith("python3.")

    @pytest.mark.parametrize(
        "other", [("six==1.16.0",), ("six==1.17.0", "a==1"), ()], ids=["version", "one more", "none"]
    )
    def test_other_requirements(self, other, recipe):
        """A lock of other requirements does not count, nor one of another target."""
        locks.make(recipe("six==1.17.0"), ARM, CACHE, pip)

        assert locks.read(recipe(*other), ARM) is None
        assert locks.read(recipe("six==1.17.0", exclude=["x"]), ARM) is None
        assert locks.read(recipe("six==1.17.0"), X86) is None

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-10],
            lambda text: text.replace("sha256:", "md5:"),
            lambda text: "".join(text.splitlines(keepends=True)[:-1]),
            lambda text: "<<<<<<< ours\n" + text,
            lambda _: "",
        ],
        ids=["cut off", "another hash", "a wheel lost", "a merge", "empty"],
    )
    def test_damaged(self, damage, recipe):
        """A lock that is not whole does not count: the wheels are looked for anew."""
        mine = recipe("six==1.17.0", "a==1")
        made = locks.make(mine, ARM, CACHE, pip)
        made.path.write_text(damage(made.path.read_text()))

        assert locks.read(mine, ARM) is None

    def test_not_found(self, recipe):
        """Where there are no such wheels, the lock from before stays as it was."""
        made = locks.make(recipe("six==1.17.0"), ARM, CACHE, pip)
        before = made.path.read_text()

        def fail(_):
            raise ResolveError("no such wheel")

        with pytest.raises(ResolveError, match="no such wheel"):
            locks.make(recipe("six==9"), ARM, CACHE, fail)
        assert made.path.read_text() == before

    def test_digest(self, recipe, tmp_path):
        """The digest is of the files' hashes alone, in whatever order."""
        made = locks.make(recipe("six==1.17.0", "a==1"), ARM, CACHE, pip)
        turned = Lock(tmp_path / "elsewhere", made.wheels[::-1])
        other = Lock(made.path, (replace(made.wheels[0], sha256="0" * 64), made.wheels[1]))

        assert made.digest == turned.digest
        assert made.digest != other.digest


@pytest.mark.parametrize(
    "path", sorted(RECIPES.glob("*/python*/wheels.lock")), ids=lambda path: "-".join(path.parts[-3:-1])
)
def test_shipped(path):
    """The locks that come with the project are of what its recipes require today."""
    assert locks.read(load(path.parts[-3]), get_target(path.parts[-2]))


def test_a_guess_of_what_is_kept(recipe):
    """The guess is what another target has recorded; the target's own record is not used."""
    mine = recipe("six==1.17.0")
    assert locks.guess_kept(mine, ARM) is None
    other = locks.make(mine, X86, CACHE, pip)
    assert locks.guess_kept(mine, ARM) is None
    kept = Kept({"six": SOURCES})
    assert locks.record_kept(mine, X86, other, kept).kept == kept
    assert locks.guess_kept(mine, ARM) == kept
    assert locks.guess_kept(mine, X86) is None
    assert locks.read(mine, X86).kept == kept
