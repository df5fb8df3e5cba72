"""Models of other toolkits: recognised, refused with the way, and published only with their translations."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from support.project import ROOT

from lambda_setup.__main__ import main
from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits import conversion, environment, proof, recognition

CASE = {"data": "a", "languages": {}, "text": "b", "tokens": ["▁b"], "sum": -1.0, "truncated": False}


def translation(text: str, score: float = -1.0, **more: bool) -> dict:
    """Return a translation of a converted model."""
    return {"text": text, "tokens": [f"▁{text}"], "sum": score, "truncated": False, **more}


@pytest.fixture
def model(tmp_path) -> Path:
    """Return a folder that looks like an OPUS-MT model of transformers."""
    folder = tmp_path / "Opus_MT.en-es"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "marian"}')
    return folder


@pytest.fixture
def convert(model, tmp_path):
    """Convert with a converter that answers what is given."""

    def run(made, *, cases=(CASE,), quantization="float32", sample=None) -> dict:
        target = tmp_path / "target"
        target.mkdir(exist_ok=True)
        asked = []

        def run_toolkit(_, __, converted: Path, data: bytes) -> dict:
            asked.append(json.loads(data))
            for name in asked[0]["quantizations"]:
                (converted / name).mkdir()
                (converted / name / "model.bin").write_bytes(name.encode())
            tables = {"languages": {"source_suffix": "</s>"}, "decoding": {"max_length_ratio": 250}}
            return {"tables": tables, "libraries": {"ctranslate2": "4"}, "cases": cases}

        steps = conversion.Steps(run_toolkit, lambda *_: {"made": made} if isinstance(made, list) else made)
        conversion.convert("transformers", model, target, quantization, sample, steps)
        return asked[0] | {"toml": tomllib.loads((target / "model.toml").read_text())}

    return run


@pytest.mark.parametrize(
    ("files", "toolkit", "message"),
    [
        (["model.npz", "decoder.yml"], "transformers", "Marian's own .*convert_marian_to_pytorch.*--from tr"),
        (["model.npz", "decoder.yml"], "opennmt", "Marian's own"),
        (["dict.en.txt", "checkpoint.pt"], "opennmt", "fairseq's own .*convert_m2m100.*--from transformers"),
        (["model.pt"], "transformers", "no config.json with model_type.*without --from"),
        (["model.pt"], "eole", "no config.json with model and training.*without --from"),
    ],
)
def test_a_folder_of_another_toolkit_is_refused(tmp_path, files, toolkit, message):
    """By its name, with the way."""
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(CommandError, match=message):
        recognition.check_toolkit(tmp_path, toolkit)


@pytest.mark.parametrize(
    ("config", "toolkit", "message"),
    [
        ({"model_type": "marian"}, "opennmt", "publish it with --from transformers"),
        ({"model_type": "led"}, "transformers", "a led model .*of the types marian, m2m_100, mbart, bart"),
        (
            {"model_type": "bart", "architectures": ["BartForSequenceClassification"]},
            "transformers",
            r"a bart model \(BartForSequenceClassification\); .*that write texts",
        ),
        ({"model_type": "t5"}, "opennmt", "publish it with --from transformers"),
        ({"model": {}, "training": {}}, "opennmt", "a model of eole; publish it with --from eole"),
        ({"model_type": "marian"}, "eole", "a model of transformers; publish it with --from transformers"),
        ({"model": "print(1)", "training": {}}, "eole", "model in .*config.json is a string.* run as Python"),
        (
            {"model": {}, "training": {}, "x": [{"src_onmttok_kwargs": "x"}]},
            "eole",
            "kwargs in .* is a string",
        ),
    ],
)
def test_a_config_is_recognised(tmp_path, config, toolkit, message):
    """It names the toolkit."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CommandError, match=message):
        recognition.check_toolkit(tmp_path, toolkit)


@pytest.mark.parametrize("content", ["", "[]", '{"unk_token": "<unk>"}'])
def test_a_checkpoint_is_nobody_elses(tmp_path, content):
    """OpenNMT-py's has no config.json, or one that is nothing to do with it."""
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.pt").touch()
    recognition.check_toolkit(tmp_path, "opennmt")


def test_a_model_that_names_its_engine_is_its_functions(model):
    """A fork may serve transformers' own files."""
    (model / "model.toml").write_text('engine = "mine"')
    recognition.check_toolkit(model, "opennmt")


def test_equal_translations_prove_a_model(convert):
    """It has the languages of the conversion, no cap but the longest length, and its folder's name."""
    made = convert([translation("b")])
    assert made["quantizations"] == ["float32"]
    assert len(made["sentences"]) == 50
    assert made["toml"] == {
        "name": "opus-mt-en-es",
        "engine": "ctranslate2",
        "precision": "float32",
        "files": ["model.bin"],
        "libraries": {"ctranslate2": "4"},
        "languages": {"source_suffix": "</s>"},
        "decoding": {"max_length_ratio": 250},
    }


def test_another_translation_is_refused(convert):
    """The message has the sentence."""
    with pytest.raises(CommandError, match=r"1 of 1 sentences otherwise than transformers, such as 'a'"):
        convert([translation("c", -1.002)])


def test_a_tokenizer_that_is_not_served_is_refused(convert):
    """The message is the function's."""
    with pytest.raises(CommandError, match="cannot be served: an option is not mapped"):
        convert({"reason": "an option is not mapped", "missing": False})


def test_translations_that_do_not_end_prove_nothing(convert):
    """They are cut, each by its toolkit."""
    with pytest.raises(CommandError, match=r"1 of 1 translations did not end.*--sample FILE"):
        convert([translation("b", truncated=True)])


@pytest.mark.parametrize(
    ("found", "compared", "different"),
    [
        (translation("b", -9.0), 1, []),
        (translation("c", -1.0009), 1, []),
        (translation("c", -1.0011), 1, ["a"]),
        (translation("b", truncated=True), 0, []),
    ],
)
def test_a_tie_may_go_either_way(found, compared, different):
    """Texts may differ where the sums lie within 1e-3, and are compared where both ended."""
    assert proof.compare([CASE], [found]) == (compared, different)


@pytest.mark.parametrize(("text", "compared"), [("b", 1), ("c", 0)])
def test_what_the_cap_cut_proves_something_where_it_is_equal(text, compared):
    """Token by token, up to the cap; what differs may be how a toolkit ends a search."""
    found = translation(text, truncated=True)
    assert proof.compare([CASE | {"truncated": True}], [found]) == (compared, [])


def test_int8_reports_its_loss(convert, capsys):
    """It is not refused for what quantization changes, and its smoke request is dropped."""
    made = convert([translation("b")], quantization="int8")
    assert made["quantizations"] == ["float32", "int8"]
    assert made["toml"]["precision"] == "int8"
    assert "int8 changes 0 of 1 translations" in capsys.readouterr().err


def test_the_sample_is_the_smoke_requests_or_a_files(convert, model, tmp_path):
    """A file goes first."""
    (model / "model.toml").write_text(
        'name = "mine"\n[smoke]\npredictions = []\n[smoke.request]\ndata = ["x"]\n[decoding]\nalpha = 0.5\n'
    )
    made = convert([translation("b")])
    assert made["sentences"] == ["x"]
    assert made["toml"]["name"] == "mine"
    assert made["toml"]["smoke"]["request"] == {"data": ["x"]}
    assert made["toml"]["decoding"] == {"max_length_ratio": 250, "alpha": 0.5}
    sample = tmp_path / "sample.txt"
    sample.write_text("y\n\n")
    assert convert([translation("b")], sample=sample)["sentences"] == ["y"]


def test_what_the_conversion_says_is_not_said_beside(convert, model):
    """The languages and files of a converted model are its converter's."""
    (model / "model.toml").write_text('files = ["x"]')
    with pytest.raises(CommandError, match="remove files, which the conversion says itself"):
        convert([translation("b")])


def test_a_program_that_fails_says_why():
    """The message ends with its last lines."""
    program = [sys.executable, "-c", "import sys; sys.exit('one\\ntwo\\nthree\\nfour')"]
    with pytest.raises(CommandError, match=r"ended with 1: two / three / four$"):
        environment.run_command(program)


def test_an_environment_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    """One whose installation fails leaves nothing; a complete one is used again."""
    calls = []

    def install(command, _=b""):
        calls.append(command)
        if command[1:3] == ["-m", "venv"]:
            (Path(command[3]) / "bin").mkdir(parents=True)
            (Path(command[3]) / "bin" / "python").touch()
        if environment.TORCH in command and fails:
            raise CommandError("no such wheel")
        return b""

    monkeypatch.setattr(environment, "run_command", install)
    fails = True
    with pytest.raises(CommandError, match="no such wheel"):
        environment.make_environment("eole", tmp_path)
    assert environment.CPU_INDEX in calls[-1]
    assert list(tmp_path.iterdir()) == []
    fails = False
    python = environment.make_environment("eole", tmp_path)
    assert python.exists()
    calls.clear()
    assert environment.make_environment("eole", tmp_path) == python
    assert calls == []


def test_the_environments_pins_are_the_projects():
    """A model is converted by the CTranslate2 and the torch that everything else has."""
    project = (ROOT / "pyproject.toml").read_text()
    names = {pin.partition("==")[0] for pin in environment._CONVERTER} | {"pyonmttok"}
    pins = {pin for packages in environment.PACKAGES.values() for pin in packages}
    for pin in pins:
        assert pin.partition("==")[0] not in names or f'"{pin}"' in project
    [torch] = re.findall(r"^TORCH := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert environment.TORCH.partition("+")[0] == f"torch=={torch}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "transformers", "--engine", "opennmt"], "leave --engine out"),
        (["--sample", "x"], "--from transformers, too"),
        ([], "publish it with --from transformers"),
    ],
)
def test_options_that_do_not_go_together(model, capsys, arguments, message):
    """They are refused before anything is converted."""
    assert main(["model", "publish", str(model), "--bucket", "none", *arguments]) == 2
    assert message in capsys.readouterr().err
