"""What the code of a layer names, beyond what a prediction opened, stays in it."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from layer.builder.slim.reach import follow, list_documented


@pytest.fixture
def plant(tmp_path):
    """Return a function that writes files by their paths, and returns the tree."""

    def write(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


def test_imports(plant):
    """Imports within functions count, of whatever package, with the packages that they lead through."""
    tree = plant(
        {
            "app/__init__.py": "def f():\n    from base.deep import late\n",
            "app/other.py": "",
            "base/__init__.py": "def __getattr__(name):\n    import base.lazy as lazy\n    return lazy\n",
            "base/lazy.py": "from . import sibling",
            "base/sibling.py": "",
            "base/deep/__init__.py": "",
            "base/deep/late.py": "import importlib\nimportlib.import_module('.further', 'base.deep')",
            "base/deep/further.py": "import nowhere",
            "base/unused.py": "",
        }
    )
    found = follow(tree, ["app/__init__.py", "gone.py"])
    assert found == {
        "app/__init__.py", "base/__init__.py", "base/lazy.py", "base/sibling.py", "base/deep/__init__.py",
        "base/deep/late.py", "base/deep/further.py",
    }  # fmt: skip


def test_types(plant):
    """What is imported for type checkers alone does not count."""
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {0}\nelse:\n    import {1}\n"
    tree = plant({"app.py": source.format("one", "two"), "one.py": "", "two.py": "", "three.py": ""})
    assert follow(tree, ["app.py"]) == {"app.py", "two.py"}


def test_strings(plant):
    """Data stays where a string of its package names it or its folder; so do modules of registries."""
    tree = plant(
        {
            "app/__init__.py": "import os\nPATH = os.path.join(os.path.dirname(__file__), 'words')\n",
            "app/core.py": "f'{0}/certificates.pem'\nNAMES = ['app.formats.csv.Reader', 'far.away']\n",
            "app/formats/__init__.py": "",
            "app/formats/csv.py": "",
            "app/formats/xml.py": "",
            "app/certificates.pem": "",
            "app/words/en/all.txt": "",
            "app/left.txt": "",
            "far/away.py": "",
            "far/words/en.txt": "",
        }
    )
    assert follow(tree, ["app/__init__.py"]) == {"app/__init__.py", "app/words/en/all.txt"}
    assert follow(tree, ["app/core.py"]) == {
        "app/core.py", "app/__init__.py", "app/certificates.pem", "app/formats/__init__.py",
        "app/formats/csv.py", "app/words/en/all.txt",
    }  # fmt: skip


@pytest.mark.parametrize("dynamic", ["import_module(name)", "__import__(f'app.{name}')"])
def test_computed_names(plant, dynamic):
    """Where a package computes names to import, its strings lead to folders' modules, and by prefix."""
    files = {
        "app/__init__.py": "from app.load import load\nload('plugins')",
        "app/load.py": f"def load(name):\n    {dynamic}\nclass A:\n    def __getattr__(self, name): pass\n",
        "app/chosen.py": "from app import load\nf'app.kinds.kind_{load}'",
        "app/lazy.py": "from app import load\ndef __getattr__(name):\n    'spare'\n",
        "app/plugins/__init__.py": "", "app/plugins/one.py": "", "app/plugins/deep/two.py": "",
        "app/kinds/__init__.py": "", "app/kinds/kind_a.py": "", "app/kinds/other.py": "",
        "app/spare/x.py": "", "app/named.py": "", "app/deep/__init__.py": "", "app/deep/named.py": "",
        "app/registry.py": "from app import load\nload('named')",
        "other/plugins/one.py": "",
    }  # fmt: skip
    tree = plant(files)
    plugins = {"app/plugins/__init__.py", "app/plugins/one.py", "app/plugins/deep/two.py"}
    base = {"app/__init__.py", "app/load.py"}
    assert follow(tree, ["app/__init__.py"]) == base | plugins
    assert follow(tree, ["app/lazy.py"]) == base | plugins | {"app/lazy.py"}
    kinds = {"app/chosen.py", "app/kinds/__init__.py", "app/kinds/kind_a.py"}
    assert follow(tree, ["app/chosen.py"]) == base | plugins | kinds
    assert follow(tree, ["app/registry.py"]) == base | plugins | {"app/registry.py", "app/named.py"}
    (tree / "app/load.py").write_text("def load(name):\n    return name\n")
    assert follow(tree, ["app/__init__.py"]) == base


def test_metadata(plant):
    """A distribution that code asks about keeps what is looked up, and no other file of its metadata."""
    own = "from importlib.metadata import version\nversion(__name__)\nversion('Some.Thing')\nversion(other)"
    named = {f"{name}-1.0.dist-info/{file}": "" for name in ("some_thing", "app", "other")
             for file in ("METADATA", "entry_points.txt", "RECORD")}  # fmt: skip
    assert follow(plant({"app/__init__.py": own, **named}), ["app/__init__.py"]) == {
        "app/__init__.py", "app-1.0.dist-info/METADATA", "app-1.0.dist-info/entry_points.txt",
        "some_thing-1.0.dist-info/METADATA", "some_thing-1.0.dist-info/entry_points.txt",
    }  # fmt: skip


def test_libraries(plant, monkeypatch):
    """A library leads to those that it is linked to; a folder's name leads to no program in it."""
    core = Path(find_spec("msgspec._core").origin).read_bytes()
    tree = plant({"app/__init__.py": "from app import core\n'bin'", "app/bin/words.txt": ""})
    for path in (
        "app/core.so",
        "app/bin/test",
        "app.libs/libdeep-1.so.1",
        "app.libs/liblast.so",
        "app.libs/no.so",
    ):
        (tree / path).parent.mkdir(exist_ok=True)
        (tree / path).write_bytes(core)
    needs = {"core.so": ("libdeep-1.so.1", "libc.so.6"), "libdeep-1.so.1": ("liblast.so",)}
    monkeypatch.setattr("layer.builder.slim.reach._list_needs", lambda path: needs.get(path.name, ()))
    assert follow(tree, ["app/__init__.py"]) == {
        "app/__init__.py", "app/core.so", "app/bin/words.txt", "app.libs/libdeep-1.so.1",
        "app.libs/liblast.so",
    }  # fmt: skip


def test_data_of_extensions(plant, monkeypatch):
    """Data stays that an extension of its package names, or its folder, but short names do not count."""
    tree = plant(
        {
            "app/__init__.py": "", "app/words_data/en.txt": "", "app/zone.table": "", "app/en.t": "",
            "app/left.table": "", "other/words_data/en.txt": "", "app.libs/libzone.so": "left.table",
            "app/_core.cpython-311-x86_64-linux-gnu.so": "init_words_data zone.table en.t",
        }
    )  # fmt: skip
    monkeypatch.setattr("layer.builder.slim.reach._list_needs", lambda _: ())
    core = "app/_core.cpython-311-x86_64-linux-gnu.so"
    expected = {core, "app/words_data/en.txt", "app/zone.table", "app.libs/libzone.so"}
    assert follow(tree, [core, "app.libs/libzone.so"]) == expected


def test_time_zones(plant):
    """Code that asks for time zones keeps those that a wheel brings: a system need not have them."""
    names = {"tzdata/__init__.py": "", "tzdata/zoneinfo/Europe/Berlin": ""}
    tree = plant({"app.py": "def f():\n    from zoneinfo import ZoneInfo\n", "other.py": "", **names})
    assert follow(tree, ["app.py"]) == {"app.py", *names}
    assert follow(tree, ["other.py"]) == {"other.py"}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ("return self.__doc__.strip()", True),
        ("return self.__doc__ % 1", True),
        ("return f.__doc__[:3]", True),
        ("return self.__doc__", False),
        ("return self.__doc__ and self.__doc__.strip()", False),
        ("if f.__doc__:\n        return f.__doc__.strip()", False),
        ("try:\n        return f.__doc__.strip()\n    except AttributeError:\n        pass", False),
    ],
)
def test_documented(plant, body, needs):
    """A package whose functions take docstrings for strings, without asking, keeps them."""
    tree = plant({"app/one.py": f"def f(self):\n    {body}\n", "other.py": "x.__doc__.strip()\n"})
    assert list_documented(tree, ["app/one.py", "other.py", "gone.py"]) == ({"app"} if needs else set())


def test_newer_syntax(plant):
    """Of a module that this Python cannot read, plain imports and strings count."""
    source = (
        "type nothing = = 1\ndef f():\n    from base import (\n        one,\n    )\n"
        "import base.two as two  # yes\nDATA = 'words.txt'\n"
    )
    names = {
        "base/__init__.py": "",
        "base/one.py": "",
        "base/two.py": "",
        "base/three.py": "",
        "app/words.txt": "",
    }
    assert follow(plant({"app/new.py": source, **names}), ["app/new.py"]) == {
        "app/new.py", "base/__init__.py", "base/one.py", "base/two.py", "app/words.txt"
    }  # fmt: skip


def test_lazy_names(plant):
    """A name that a package imports when it is asked for leads to its module, through other such packages."""
    table = "NAMES = {'Soft': '._soft', 'Other': '.other'}\n"
    lazy = "def __getattr__(name):\n    return _import(NAMES[name])\n"
    tree = plant(
        {
            "app.py": "import hub as h\nfrom locks import Soft\ndef f():\n    return h.fetch()\n",
            "hub/__init__.py": "TABLE = {'_fetch': ['fetch', 'put'], '_api': ['Api']}\n"
            "__getattr__, __dir__ = attach(__name__, TABLE)\n",
            "hub/_fetch.py": "",
            "hub/_api.py": "",
            "locks/__init__.py": lazy + table,
            "locks/other.py": "",
            "locks/_soft/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from ._file import Soft\n    from ._lease import Lease\ndef __getattr__(name): ...\n",
            "locks/_soft/_file.py": "",
            "locks/_soft/_lease.py": "",
        }
    )
    assert follow(tree, ["app.py"]) == {
        "app.py", "hub/__init__.py", "hub/_fetch.py", "locks/__init__.py", "locks/_soft/__init__.py",
        "locks/_soft/_file.py",
    }  # fmt: skip


def test_attributes(plant):
    """A module that is an attribute of an imported one stays: packages may import it when it is asked for."""
    tree = plant(
        {
            "app.py": "import base.core\nfrom base import deep as d\nbase.signal.resample()\nd.late.f()\n"
            "x.gone\n",
            "base/__init__.py": "",
            "base/core.py": "",
            "base/signal.py": "",
            "base/gone.py": "",
            "base/deep/__init__.py": "",
            "base/deep/late.py": "",
        }
    )
    assert follow(tree, ["app.py"]) == {
        "app.py", "base/__init__.py", "base/core.py", "base/signal.py", "base/deep/__init__.py",
        "base/deep/late.py",
    }  # fmt: skip


def test_source_of_an_extension(plant):
    """An extension leads to what the source beside it imports; the source itself goes."""
    tree = plant(
        {
            "app/__init__.py": "from app import stream",
            "app/stream.abi3.so": "",
            "app/stream.py": "def f():\n    from app.subtitles import one",
            "app/subtitles/__init__.py": "",
            "app/subtitles/one.abi3.so": "",
            "app/subtitles/one.py": "",
        }
    )
    assert follow(tree, ["app/__init__.py"]) == {
        "app/__init__.py", "app/stream.abi3.so", "app/subtitles/__init__.py", "app/subtitles/one.abi3.so",
    }  # fmt: skip
