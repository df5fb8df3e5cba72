"""Patches: each kind is done, or refused because upstream is not what it was."""

import hashlib

import pytest

from layer.builder import tree as trees
from layer.builder.cli import main
from layer.builder.errors import PatchError
from layer.builder.slim.patch import Patch, apply, is_applied

SOURCE = "import heavy\nx = 1\n"
SHA = hashlib.sha256(SOURCE.encode()).hexdigest()


TOML = """
name = "mine"
[[patches]]
name = "no heavy"
reason = "43 MB"
upstream = "https://up/stream"
path = "pkg/mod.py"
old = "import heavy\\n"
new = ""
stage = "fix"
[[patches]]
name = "no module"
reason = "unused"
upstream = "https://up/stream"
path = "pkg/mod.py"
remove = true
stage = "slim"
"""


@pytest.fixture
def tree(tmp_path):
    """Return a package of one module."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(SOURCE)
    (tmp_path / "pkg" / "mod.py").chmod(0o755)
    return tmp_path


def patch(action, path="pkg/mod.py", stage="slim", **fields) -> Patch:
    """Return a patch of that module."""
    return Patch("no heavy", "43 MB", "https://up/stream", stage, path, action, **fields)


KINDS = {
    "remove": (patch("remove"), None),
    "empty": (patch("empty"), ""),
    "content": (patch("content", content="new = 1\n"), "new = 1\n"),
    "content, new": (patch("content", path="top/new.py", content="é\n"), "é\n"),
    "replace": (patch("replace", old="import heavy\n", new="heavy = None\n"), "heavy = None\nx = 1\n"),
    "replace by nothing": (patch("replace", old="import heavy\n"), "x = 1\n"),
}


class TestDone:
    """Patches that fit."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_kind(self, kind, tree):
        """A patch leaves the file as it says, and tells that it did."""
        one, text = KINDS[kind]
        assert not is_applied(tree, one)

        assert apply(tree, [one], "slim") == ["no heavy"]

        path = tree / one.path
        assert (path.read_text(encoding="utf-8") if path.exists() else None) == text
        assert is_applied(tree, one)

    def test_stage(self, tree):
        """Each stage has its own patches, done in their order."""
        first = patch("replace", old="x = 1", new="x = 2", stage="fix")
        second = patch("replace", old="x = 2", new="x = 3", stage="fix")

        assert apply(tree, [patch("remove"), first, second], "fix") == ["no heavy"] * 2
        assert (tree / "pkg" / "mod.py").read_text() == "import heavy\nx = 3\n"

    @pytest.mark.parametrize("kind", ["empty", "content", "replace"])
    def test_links(self, kind, tree, tmp_path_factory):
        """A file that is linked from elsewhere is left there as it was; the new one has its mode."""
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "mod.py"
        elsewhere.hardlink_to(tree / "pkg" / "mod.py")
        apply(tree, [KINDS[kind][0]], "slim")

        assert elsewhere.read_text() == SOURCE
        assert (tree / "pkg" / "mod.py").stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("expected", [SHA, ("import heavy", "x = 1")])
    def test_expected(self, expected, tree):
        """A patch whose expectations are met is done."""
        assert apply(tree, [patch("empty", expects={"pkg/mod.py": expected})], "slim")


class TestRefused:
    """Patches that do not fit: upstream has changed."""

    @pytest.mark.parametrize(
        ("one", "what"),
        [
            (patch("empty", expects={"pkg/mod.py": "0" * 64}), rf"pkg/mod\.py has the sha256 {SHA}, not 000"),
            (
                patch("empty", expects={"pkg/mod.py": ("x = 1", "y = 1")}),
                r"pkg/mod\.py no longer contains 'y = 1'",
            ),
            (patch("empty", expects={"pkg/gone.py": SHA}), r"pkg/gone\.py is missing"),
            (patch("remove", path="pkg/gone.py"), r"pkg/gone\.py is missing"),
            (patch("empty", path="pkg"), r"pkg is missing"),
            (patch("replace", path="pkg/gone.py", old="x"), r"pkg/gone\.py is missing"),
            (patch("replace", old="import light"), r"pkg/mod\.py contains 'import light' 0 times, not once"),
            (patch("replace", old="\n"), r"pkg/mod\.py contains '\\n' 2 times, not once"),
        ],
        ids=["sha256", "text", "other file", "remove", "empty", "replace", "none", "two"],
    )
    def test_told(self, one, what, tree):
        """The error names patch, file and reference, and nothing is done."""
        before = trees.digest(tree)

        with pytest.raises(
            PatchError, match=rf"patch 'no heavy' does not fit: {what}.*read https://up/stream"
        ):
            apply(tree, [one], "slim")
        assert trees.digest(tree) == before


class TestCommand:
    """``layer fix``, for a development environment."""

    @pytest.mark.parametrize("command", ["fix", "mend"])
    def test_fix(self, command, tree, tmp_path, recwarn):
        """The patches of stage fix are applied once, those of stage slim never; the old name warns."""
        recipe = tmp_path / "mine.toml"
        recipe.write_text(TOML)
        for _ in range(2):
            assert main([command, str(recipe), str(tree)]) == 0
            assert (tree / "pkg" / "mod.py").read_text() == "x = 1\n"
        expected = {"`layer mend` is called `layer fix` now"} if command == "mend" else set()
        assert {str(one.message) for one in recwarn} == expected


@pytest.mark.parametrize(("targets", "changed"), [((), True), (("a", "b"), True), (("b",), False)])
def test_targets(targets, changed):
    """A patch is for those that it names, or for all."""
    assert patch("remove", targets=targets).is_for("a") is changed
