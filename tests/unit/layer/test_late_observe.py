"""What the observer of late imports sees: registries, names, and modules that are imported later."""

import json
import subprocess
import sys

import pytest

from layer.builder.slim.late import gate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes of their own are forked")

REGISTERS = """\
import atexit, codecs, copyreg, json, logging, os, signal, sys, threading, warnings
import toy.plain
class Odd:
    pass
class Handler(logging.Handler):
    pass
class Finder:
    pass
def leave(*_):
    pass
copyreg.pickle(Odd, leave)
atexit.register(leave)
codecs.register(lambda name: None)
os.register_at_fork(before=leave, after_in_child=toy.plain.double)
logging.getLogger("toy").addHandler(Handler(30))
signal.signal(signal.SIGUSR1, leave)
warnings.filterwarnings("ignore", "odd.*", UserWarning, "toy", 3)
sys.meta_path.append(Finder())
for name in ("waits", "asyncio_0"):
    threading.Thread(target=threading.Event().wait, name=name, daemon=True).start()
"""
LATE = """\
def __getattr__(name):
    import importlib
    if name == "late":
        return importlib.import_module("toy.late")
    raise AttributeError(name)
"""
FILES = {
    "toy/__init__.py": REGISTERS,
    "toy/plain.py": "def double(x):\n    return 2 * x\n",
    "toy/late.py": "import toy\nTHREE = 3\n",
    "toy/unreached.py": "",
    "toy/broken.py": "raise SystemExit\n",
    "smoke.py": "def answer(word, prepared=''):\n    import copyreg, toy.late\n"
    "    copyreg.pickle(toy.Handler, toy.leave)\n    return [word, prepared, toy.plain.double(2)]\n",
    "operations.py": "def answer():\n    print('noise')\n    return toy.late.THREE\nimport toy.late\n",
    "crash.py": "def answer():\n    import os\n    os._exit(3)\n",
}
PROGRAM = """\
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("observing", sys.argv[1])
observe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(observe)
sys.path.insert(0, sys.argv[2])
print(json.dumps(observe.answer(**json.loads(sys.argv[3]))))
"""


@pytest.fixture
def look(tmp_path):
    """Return a function that observes a tree with these files changed."""

    def look(changes=(), **arguments):
        for name, text in (FILES | dict(changes)).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        for name in {"script", "operations"} & arguments.keys():
            arguments[name] = str(tmp_path / arguments[name])
        asked = {"script": "", "arguments": {}, "packages": ["toy"], "modules": [], **arguments}
        command = [sys.executable, "-c", PROGRAM, str(gate.SCRIPT), str(tmp_path), json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return look


def test_what_imports_and_a_prediction_register(look):
    """Entries of each registry have names that are the same in every process."""
    seen = look(script="smoke.py", arguments={"word": "a"}, prepared="/folder")
    imported, predicted = seen["imported"], seen["predicted"]
    assert {"toy.leave"} == set(imported["atexit"])
    assert imported["codecs"] == ["toy.<lambda>"]
    assert imported["fork hooks"] == ["toy.leave", "toy.plain.double"]
    assert "toy.Odd" in imported["copyreg"]
    assert "toy.Finder" in imported["import hooks"]
    assert "toy: Handler 30" in imported["logging handlers"]
    assert "SIGUSR1: toy.leave" in imported["signals"]
    assert imported["threads"] == ["MainThread", "waits"]
    assert "ignore odd.* UserWarning toy 3" in imported["warnings filters"]
    assert set(predicted["copyreg"]) - set(imported["copyreg"]) == {"toy.Handler"}
    assert all(entries == sorted(set(entries)) for entries in imported.values())
    assert seen["answer"] == ["a", "/folder", 4]


def test_the_names_of_loaded_modules(look):
    """Those of a package's modules, and none of modules from elsewhere."""
    seen = look(modules=["toy.plain", "toy.late", "toy.broken"])
    assert seen["loaded"] == ["toy", "toy.plain"]
    assert seen["names"]["toy.plain"][-1] == "double"
    assert {"Odd", "leave", "plain"} <= {*seen["names"]["toy"]}
    assert not {"json", "atexit"} & {*seen["names"]["toy"]}
    assert seen["late"] == {"toy.late": "", "toy.broken": "SystemExit"}
    assert seen["attributes"] == ["toy.plain"]
    assert (seen["missing"], seen["threads"], seen["operations"], seen["answer"]) == ([], [], None, None)


def test_modules_that_are_imported_later(look):
    """The observer reports names that are found, missing attributes, and failures in several threads."""
    names = {"toy": ["Odd", "gone"], "toy.late": ["THREE", "four"], "toy.unreached": [], "toy.broken": ["x"]}
    changes = {"toy/__init__.py": REGISTERS + LATE, "toy/broken.py": "raise KeyError\n"}
    seen = look(changes, names=names, operations="operations.py")
    assert seen["names"] == {}
    assert seen["missing"] == ["toy.gone", "toy.late.four", "toy.broken (KeyError)"]
    assert seen["late"] == {"toy.broken": "KeyError", "toy.late": "", "toy.unreached": ""}
    assert seen["attributes"] == ["toy.plain", "toy.late"]
    assert seen["threads"] == ["toy.broken: KeyError"]
    assert seen["operations"] == 3


def test_a_process_that_ends(look):
    """It is said with what it ended."""
    assert look(operations="crash.py")["operations"] == "ends with 3"


def test_a_top_that_nobody_imported(look):
    """Its modules are reached by no attribute."""
    seen = look(packages=[], names={"toy.late": []})
    assert (seen["late"], seen["attributes"]) == ({"toy.late": ""}, [])
