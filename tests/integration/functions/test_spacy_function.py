"""The spaCy example: the package's own answers, whatever the batch, the text and the place of the model."""

import gzip
import json
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from support.project import ROOT

from lambda_setup import functions
from lambda_setup.deployment.local import Emulator, LocalDeployment
from lambda_setup.deployment.local.layers import build_layers
from layer.builder import build
from layer.builder.recipe import load
from layer.builder.report import facts as report
from layer.builder.slim.prune import prune
from layer.builder.target import get_target

pytestmark = pytest.mark.check
MODEL = ROOT / "models" / "en-web-sm"
IN_LAYER = MODEL / "in-layer"
CODE = ROOT / "examples" / "spacy_function"
LARGEST = 140_000_000
"""Bytes of a layer, unpacked: what a hand-made layer for spaCy may have and still be worth sharing."""

HOSTILE = {
    "words": "Anna's dog isn't in Rome. " * 384,
    "no spaces": "a" * 10_000,
    "emoji": "👩‍👩‍👧‍👦😀" * 250,
    "punctuation": "!?…“”—()'\"." * 200,
    "dashes": "-" * 10_000,
    "combining marks": "e" + "\u0301" * 9_999,
    "bidi": "\u202eabc\u202c مرحبا \u2067אבג\u2069 x" * 400,
    "scripts": "北京 東京 서울 Москва Αθήνα กรุงเทพ दिल्ली " * 200,
    "controls": "\x00\x01\x7f\u0085\u2028\ufeff\ufffe\U0010ffff a " * 900,
    "blanks": " \t\n\u3000" * 2_499 + "Rome",
    "digits": "1.2,3" * 2_000,
    "address": "https://example.org/" + "a./" * 3_000,
    "contractions": "I'd've y'all'd " * 600,
}


@pytest.fixture(scope="module")
def spacy(start_function):
    """Return the function, warm from the second test on."""
    return start_function("spacy")


@pytest.fixture(scope="module")
def reference():
    """Answers of the package, loaded in the ordinary way; models/en-web-sm/train/repack.py wrote them."""
    lines = gzip.decompress((MODEL / "reference.jsonl.gz").read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def analyse(function, texts, **fields):
    """Return the records of texts."""
    response = function.invoke({"data": texts, "result": "inline", **fields})
    assert response["statusCode"] == 200, response
    return response["body"]["predictions"]


def flat(record):
    """Return a record as the reference has it."""
    return {
        "text": record["text"],
        "entities": [[one[name] for name in ("text", "label", "start", "end")] for one in record["entities"]],
        "tokens": [
            [one[name] for name in ("text", "lemma", "pos", "tag", "start", "end")]
            for one in record["tokens"]
        ],
    }


def in_layer(code):
    """Run code with what the function has, and nothing of this machine's packages; return what it prints."""
    folders = [str(folder) for folder in (CODE, *build_layers("spacy"))]
    files = {name: str(MODEL / name) for name in ("config.cfg", "pipeline.msgpack")}
    before = f"import sys\nsys.path[:0] = {folders!r}\nFILES = {files!r}\n{PREPARED}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", before + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PREPARED = """
from entities import AnalysisRequest, TextAnalyser
from lambda_inference import Deadline, Manifest, Model

def loaded(files):
    analyser = TextAnalyser()
    manifest = Manifest(name="mine", engine="spacy", precision="float32", libraries={}, files=[])
    analyser.load(Model(manifest, "", {name: memoryview(data) for name, data in files.items()}))
    return analyser

def shipped():
    return {name: open(path, "rb").read() for name, path in FILES.items()}

def texts(analyser, found):
    return [one.record for one in analyser.predict(AnalysisRequest(data=found), Deadline.after(600))]
"""


def test_answers_are_the_packages(spacy, reference):
    """Entities, lemmas, tags and offsets are those of the whole package, over 247 English texts."""
    assert len(reference) >= 240
    records = analyse(spacy, [one["text"] for one in reference])
    for record, expected in zip(records, reference, strict=True):
        assert flat(record) == expected


def test_answers_do_not_depend_on_the_batch(spacy, reference):
    """Alone, in another order and among long neighbours a text gets the same answer."""
    texts = [one["text"] for one in reference[::6]]
    together = [flat(record) for record in analyse(spacy, texts)]
    assert [flat(analyse(spacy, [text])[0]) for text in texts] == together
    assert [flat(one) for one in analyse(spacy, texts[::-1])][::-1] == together
    between = [other for text in texts[:8] for other in ("Rome. " * 1_600, text)]
    assert [flat(one) for one in analyse(spacy, between)][1::2] == together[:8]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_offsets_slice_the_text(spacy, text):
    """Whatever the text, it comes back whole, and so does what every offset names."""
    assert 1_000 < len(text) <= 10_000
    [record] = analyse(spacy, [text])
    assert record["text"] == text
    for one in (*record["tokens"], *record["entities"]):
        assert text[one["start"] : one["end"]] == one["text"] != ""
    ends = [(one["start"], one["end"]) for one in record["tokens"]]
    assert ends == sorted(ends)
    assert "".join(one["text"] for one in record["tokens"]).replace(" ", "") == text.replace(" ", "")


def test_many_texts_come_in_order(spacy):
    """A thousand texts, blank ones among them, are answered in their order."""
    texts = [f"Anna bought {number} books in Rome." if number % 7 else " \n" for number in range(1_000)]
    records = analyse(spacy, texts, tokens=False)
    assert [(one["index"], one["text"]) for one in records] == list(enumerate(texts))
    assert [bool(one["entities"]) for one in records] == [number % 7 > 0 for number in range(1_000)]
    assert not any("tokens" in one for one in records)


def test_a_text_that_takes_too_long_is_told(spacy):
    """A tokenizer that would take longer than the function may is stopped, and the function goes on."""
    texts = ["Anna is in Rome.", *["😀" * 10_000, "(" * 10_000] * 10]
    with spacy.stack.function(timeout=25) as function:
        analyse(function, texts[:1])
        response = function.invoke({"data": texts, "result": "inline"})
        assert (response["statusCode"], response["body"]["error"]["code"]) == (504, "OutOfTime")
        assert [one["text"] for one in analyse(function, texts[:1])[0]["entities"]] == ["Anna", "Rome"]


def test_time_may_run_out_before_any_component():
    """Tokens that are many, and made at once, do not hide the deadline; afterwards answers are the same."""
    code = """
from lambda_inference import OutOfTime

class Countdown:
    def __init__(self, checks):
        self.left = checks

    def check(self, done, total):
        self.left -= 1
        if self.left < 0:
            raise OutOfTime("")

def analyse(analyser, checks):
    deadline = Countdown(checks)
    try:
        return deadline, list(analyser.predict(AnalysisRequest(data=["Anna is in Rome."]), deadline))
    except OutOfTime:
        return deadline, None

first, second = loaded(shipped()), loaded(shipped())
deadline, answer = analyse(first, 1000)
analyse(second, 1000)  # the tokenizer knows the words: what is left are the components' checks
components = [name for name in second._pipeline.pipe_names if not name.startswith("deadline_check")]
print(len(components), all(analyse(first, checks)[1] is None for checks in range(1000 - deadline.left)))
print(1000 - analyse(second, 1000)[0].left > len(components), analyse(first, 1000)[1] == answer)
"""
    assert in_layer(code) == "6 True\nTrue True\n"


def test_nothing_is_unpickled():
    """The model loads without a pickle, and the layer's srsly could not load one."""
    code = """
found = []
sys.addaudithook(lambda event, arguments: found.append(event) if event.startswith("pickle") else None)
loaded(shipped())
import srsly
print(found, hasattr(srsly, "pickle_loads"), "srsly.cloudpickle" in sys.modules)
"""
    assert in_layer(code) == "[] False False\n"


def test_a_hostile_array_runs_nothing():
    """A pipeline whose array says that it holds Python objects is refused before one is made."""
    code = """
import pickle
import srsly

class Evil:
    def __reduce__(self):
        return print, ("UNPICKLED",)

files = shipped()
parts = srsly.msgpack_loads(files["pipeline.msgpack"])
parts["tok2vec"] = srsly.msgpack_dumps({
    "model": srsly.msgpack_dumps({b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1],
                                  b"data": pickle.dumps(Evil())}),
})
files["pipeline.msgpack"] = srsly.msgpack_dumps(parts)
try:
    loaded(files)
except ValueError as error:
    print(type(error).__name__, error)
"""
    assert "OBJECT array" in (said := in_layer(code))
    assert "UNPICKLED" not in said


def test_words_do_not_stay_in_memory():
    """A warm function's vocabulary does not grow with what it reads."""
    code = """
analyser = loaded(shipped())
sizes = []
for number in range(3):
    texts(analyser, [" ".join(f"word{number}x{other}" for other in range(900))])
    sizes.append(len(analyser._pipeline.vocab.strings))
print(len(set(sizes)))
"""
    assert in_layer(code) == "1\n"


class TestLayer:
    """What the recipe makes."""

    def test_small_and_direct(self, spacy):
        """The layer is used as it is, and lies well below what others share."""
        assert spacy
        recipe, host = load("spacy"), get_target("host")
        found = report.read(build.default_out(recipe, host) / report.REPORT)
        assert found.strategy == "direct"
        assert found.budget.layer < LARGEST
        assert {one.path.split("/")[2] for one in found.files if one.path.startswith("spacy/lang/")} == {
            "__init__.pyc", "char_classes.pyc", "en", "lex_attrs.pyc", "norm_exceptions.pyc",
            "punctuation.pyc", "tokenizer_exceptions.pyc",
        }  # fmt: skip

    def test_a_language_is_a_line(self, tmp_path):
        """What protect names stays, and every other language goes."""
        for name in ("de", "en", "fr"):
            (tmp_path / "spacy" / "lang" / name).mkdir(parents=True)
            (tmp_path / "spacy" / "lang" / name / "stop_words.py").touch()
        (tmp_path / "spacy" / "lang" / "punctuation.py").touch()
        recipe = load("spacy")
        more = replace(recipe, protect=(*recipe.protect, "spacy/lang/de/**"))
        prune(tmp_path, more.rules, more.protect)
        kept = sorted(path.name for path in (tmp_path / "spacy" / "lang").iterdir())
        assert kept == ["de", "en", "punctuation.py"]
        prune(tmp_path, recipe.rules, recipe.protect)
        kept = sorted(path.name for path in (tmp_path / "spacy" / "lang").iterdir())
        assert kept == ["en", "punctuation.py"]


class TestModelInTheLayer:
    """The option that the layer holds the package."""

    @pytest.mark.check
    def test_same_answers(self, reference, tmp_path):
        """The function finds the package that a file in the model bucket names, and answers as ever."""
        with (tmp_path / "log").open("wb") as log, LocalDeployment.from_folder(IN_LAYER, log=log) as stack:
            options = {"env": stack.environment(), "log": log}
            with Emulator(CODE, layers=build_layers("spacy_model"), **options) as function:
                records = analyse(function, [one["text"] for one in reference])
                assert [flat(record) for record in records] == reference
                smoke = stack.manifest.smoke
                assert analyse(function, smoke.request["data"]) == smoke.predictions
        found = report.read(build.default_out(load("spacy_model"), get_target("host")) / report.REPORT)
        assert found.strategy == "direct"
        assert found.budget.layer < LARGEST

    @pytest.mark.check
    def test_without_the_package(self, tmp_path):
        """In a layer without it the function says what to do."""
        with (
            (tmp_path / "log").open("wb") as log,
            LocalDeployment.from_folder(IN_LAYER, log=log) as stack,
            stack.function() as one,
        ):
            response = one.invoke({"data": ["Rome"]})
        assert response["statusCode"] == 503
        message = response["body"]["error"]["message"]
        assert "is a package that this function's layer does not hold" in message

    @pytest.mark.parametrize("name", ["os", "en_core", "../models", "/opt/python", "en_core_web_sm\x00", ""])
    def test_a_name_is_a_package(self, name):
        """No path, and no module that is no installed package, is taken for a model."""
        code = f"""
from lambda_inference import Unavailable
try:
    loaded({{"package.txt": {name.encode()!r}}})
except Unavailable:
    print("refused")
"""
        assert in_layer(code) == "refused\n"


def test_model_is_small_enough_for_git():
    """What is committed of the model is what is published, and no more than its source and licences."""
    assert (MODEL / "pipeline.msgpack").stat().st_size < 15_000_000
    stated = tomllib.loads((MODEL / "model.toml").read_text())
    assert set(stated["sha256"]) == set(stated["files"])
    assert functions.get("spacy").model == MODEL
