"""Cold starts: phases out of times, the table, the picture, and sides that do not answer."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import msgspec
import pytest
from support.project import ROOT

from lambda_setup.__main__ import main
from lambda_setup.deployment.cold_start import measure, timeline
from lambda_setup.deployment.cold_start.folders import count_resident_pages, drop, list_files
from lambda_setup.errors import CommandError

ENDS = {"interpreter": 0.02, "package": 0.1, "imports": 0.4, "model": 0.45, "load": 0.7, "answer": 0.75}
OURS = measure.Measured(
    "a<b", [measure.Start(ENDS, {"model": (0.1, 0.45), "unpack": (0.03, 0.3)})] * 2
)  # fmt: skip
RECIPE = measure.Measured("plain script", [measure.Start({**ENDS, "answer": 1.5}, {})])
SCRIPT = measure.Measured("mine.py", [measure.Start({"interpreter": 0.02, "load": 1.0, "answer": 1.5}, {})])


def test_phases_are_the_pauses_between_ends():
    """They add up to the whole."""
    found = OURS.starts[0].phases
    assert found == pytest.approx(
        {"interpreter": 0.02, "package": 0.08, "imports": 0.3, "model": 0.05, "load": 0.25, "answer": 0.05}
    )
    assert sum(found.values()) == pytest.approx(OURS.seconds)


def test_medians_and_the_typical_start():
    """The picture is of the start nearest to the median."""
    starts = [measure.Start({"answer": seconds}, {}) for seconds in (1.0, 9.0, 2.0)]
    found = measure.Measured("x", starts)
    assert (found.seconds, found.typical, found.median("answer")) == (2.0, starts[2], 2.0)
    assert found.median("load") is None


def test_table_has_each_phase_on_either_side():
    """In milliseconds; a script of one's own has fewer phases, and the row says which it means."""
    rows = timeline.make_rows(measure.Comparison(OURS, RECIPE, 0, 0))
    assert [row[0] for row in rows] == [*timeline.LABELS.values(), "all"]
    assert rows[0] == ["Python starts", "20", "20"]
    assert rows[-1] == ["all", "750", "1,500"]
    rows = timeline.make_rows(measure.Comparison(OURS, SCRIPT, 0, 0))
    assert rows[0] == ["Python starts", "20", "20"]
    assert rows[2][1:] == ["300", ""]
    assert rows[4] == ["load the model; what the script does at its top", "250", "980"]


def test_sentences():
    """The ratio, what went on beside the imports, and a warning where files stayed in memory."""
    found = list(timeline.describe(measure.Comparison(OURS, RECIPE, 90_300_000, 0)))
    assert found == [
        "a<b answers after 750 ms, plain script after 1,500: 0.50 of its time",
        "beside its imports the model comes from S3, 90.3 MB: 350 ms",
        "beside its imports the layer is unpacked: 270 ms",
    ]
    for warm, words in ((20_000_000, ["20 MB of what was read"]), (1_000_000, ["1 MB"]), (999_999, [])):
        said = [*timeline.describe(measure.Comparison(OURS, RECIPE, 90_300_000, warm))]
        assert said[:3] == found
        assert [line[: len(word)] for line, word in zip(said[3:], words, strict=True)] == words


def test_picture_is_to_scale():
    """It is XML, and each bar is as wide as its phase takes."""
    picture = ET.fromstring(timeline.draw(measure.Comparison(OURS, RECIPE, 0, 0)))  # noqa: S314 - our own
    bars = [
        (bar.find("{*}title").text, float(bar.get("width")))
        for bar in picture.iter("{http://www.w3.org/2000/svg}rect")
        if bar.find("{*}title") is not None
    ]
    widths = dict(bars)
    assert len(bars) == 2 * len(measure.PHASES) + 2
    assert widths["wait for the model from S3: 50 ms"] == pytest.approx(0.05 / 1.5 * 700, abs=0.1)
    assert widths["the layer is unpacked, beside: 270 ms"] == pytest.approx(0.27 / 1.5 * 700, abs=0.1)
    assert "Cold starts: a<b and plain script" in [text.text for text in picture.iter()]


def test_the_picture_in_the_docs():
    """Of the same starts the same picture is drawn, to the pixel: somebody has looked at that one."""
    starts = (ROOT / "bench" / "cold_start.json").read_bytes()
    found = msgspec.json.decode(starts, type=measure.Comparison)
    assert timeline.draw(found) == (ROOT / "docs" / "images" / "cold_start.svg").read_text()


def test_json_holds_what_was_measured():
    """A picture can be drawn of it again."""
    found = measure.Comparison(OURS, RECIPE, 5, 0)
    again = msgspec.json.decode(msgspec.json.encode(found), type=measure.Comparison)
    assert timeline.draw(again) == timeline.draw(found)


def make_side(folder: Path, program: str) -> measure.Side:
    """Return a side with a program of ours."""
    for name in ("task", "layer"):
        (folder / name).mkdir()
    (folder / "program.py").write_text(program)
    return measure.Side("mine", folder / "program.py", [folder / "task", folder / "layer"], {}, {"event": 1})


def test_a_side_that_ends_without_an_answer(tmp_path):
    """The message ends with what it wrote last."""
    side = make_side(tmp_path, "print('answer 1'); raise SystemExit('no numpy')")
    with pytest.raises(CommandError, match=r"(?s)mine ended without an answer:\nno numpy$"):
        side.start(tmp_path)


def test_a_side_is_timed_from_before_its_process(tmp_path):
    """Its times are on the parent's clock, and its log is not its answer."""
    program = (
        "import json, os, sys, time; now = time.monotonic_ns(); print('{}'); "
        "print('answer', json.dumps([json.load(open(sys.argv[1]))['event'], os.getcwd(), sys.path[:2], "
        "[os.environ[name] for name in ('LAMBDA_TASK_ROOT', 'LD_LIBRARY_PATH', 'TMPDIR', 'HOME')]])); "
        "print('times', json.dumps({'ends': {'interpreter': now, 'answer': now + 10**9}, "
        "'beside': {'model': [now, now + 5]}}))"
    )
    start, answer = make_side(tmp_path, program).start(tmp_path)
    task, layer = str(tmp_path / "task"), str(tmp_path / "layer")
    places = [task, str(tmp_path / "lib"), str(tmp_path), str(tmp_path)]
    assert answer == [1, task, [task, layer], places]
    assert 0.002 < start.ends["interpreter"] < 10
    assert start.seconds == pytest.approx(start.ends["interpreter"] + 1)
    assert start.beside["model"][0] == start.ends["interpreter"]


NESTED = {
    "app.py": "def lambda_handler(event, context): return event",
    "lambda_inference/__init__.py": "",
    "lambda_inference/_layer_marker.py": "nested = True",
    "lambda_inference/_model_store.py": "class ModelStore: load = None",
    "lambda_inference/_serving.py": "class ModelManager: _start = None\n_load = None",
    "lambda_inference/_unpack.py": "from types import SimpleNamespace\ndef result(): return ",
}
"""A function whose layer says that it is nested."""


@pytest.mark.parametrize(("unpacked", "took"), [("SimpleNamespace(seconds=1.5)", 1_500_000_000), ("None", 0)])
def test_a_nested_layers_unpacking_is_beside_the_imports(tmp_path, unpacked, took):
    """As long as it says; one that was unpacked before has nothing to show."""
    for name, text in NESTED.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + unpacked if "_unpack" in name else text)
    (tmp_path / "asked.json").write_text('{"event": 5}')
    program = Path(measure.__file__).with_name("function_program.py")
    said = subprocess.run(
        [sys.executable, "-S", program, tmp_path / "asked.json"],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    answer, times = said.splitlines()
    assert answer == "answer 5"
    beside = json.loads(times.removeprefix("times "))["beside"]
    assert {name: end - start for name, (start, end) in beside.items()} == ({"unpack": took} if took else {})


def test_the_first_start_of_each_side_does_not_count(tmp_path, monkeypatch):
    """They take turns, each with an empty folder, and nothing that they read is in memory."""
    steps, warm = [], iter([3, 1, 2, 9, 0, 0])

    class Counting:
        def __init__(self, name):
            self.name = name

        def start(self, temporary):
            assert not [*temporary.iterdir()]
            steps.append(self.name)
            return measure.Start({"answer": float(len(steps))}, {}), self.name

    @contextlib.contextmanager
    def deploy(*_):
        yield [Counting("function"), Counting("script")], tmp_path, 5

    def forget(folders):
        steps.append("forget")
        assert folders == [tmp_path]
        return next(warm)

    checked = []
    monkeypatch.setattr(measure, "_deploy", deploy)
    monkeypatch.setattr(measure, "_forget", forget)
    monkeypatch.setattr(measure, "_check", lambda *answers, strict: checked.append((*answers, strict)))
    found = measure.measure(SimpleNamespace(model=tmp_path), {}, 2)
    assert steps == ["forget", "function", "forget", "script"] * 3
    seconds = [[start.seconds for start in side.starts] for side in (found.function, found.script)]
    assert seconds == [[6, 10], [8, 12]]
    assert (found.model_bytes, found.warm_bytes) == (5, 9)
    assert checked == [("function", "script", True)] * 3


def test_different_answers_are_refused():
    """A comparison of two programs that do different things is none."""
    right = {"statusCode": 200, "body": json.dumps({"predictions": [{"a": 1.0}]})}
    measure._check(right, {"predictions": [{"a": 1.0}]}, strict=True)
    measure._check(right, {"anything": 1}, strict=False)
    with pytest.raises(CommandError, match=r"answer differently: answer\[0\]\.a"):
        measure._check(right, {"predictions": [{"a": 2.0}]}, strict=True)
    with pytest.raises(CommandError, match=r"the function answered .*503"):
        measure._check({"statusCode": 503, "body": {}}, {}, strict=True)


def test_pages_in_memory(tmp_path):
    """What was just written is in memory, page by page; an empty file has none."""
    (tmp_path / "a").write_bytes(bytes(3 * 4096 + 1))
    (tmp_path / "b").touch()
    assert [count_resident_pages(path) for path in sorted(list_files([tmp_path]))] == [4, 0]


def test_what_is_dropped_is_the_whole_file(tmp_path, monkeypatch):
    """A length of 0 is up to the file's end."""
    asked = []

    def advise(descriptor, *arguments):
        asked.append((Path(f"/proc/self/fd/{descriptor}").readlink(), *arguments))

    (tmp_path / "a").write_bytes(bytes(4096))
    monkeypatch.setattr(os, "posix_fadvise", advise)
    drop(tmp_path / "a")
    assert asked == [(tmp_path / "a", 0, 0, os.POSIX_FADV_DONTNEED)]


def test_pages_that_cannot_be_counted(tmp_path, monkeypatch):
    """They are not taken for pages that are not in memory."""
    (tmp_path / "a").write_bytes(bytes(4096))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(mincore=lambda *_: -1))
    with pytest.raises(OSError, match="mincore"):
        count_resident_pages(tmp_path / "a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no function 'nothing'"),
        (["embedding", "--script", "missing.py"], "missing.py does not exist"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    """They are refused before anything starts."""
    assert main(["cold-start", *arguments]) == 2
    assert message in capsys.readouterr().err
