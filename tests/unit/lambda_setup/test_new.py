"""Starting points: what a folder of Hugging Face is recognised as, what is refused, and what undo removes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lambda_setup.__main__ import main
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.scaffold import blank, export, files
from lambda_setup.scaffold.huggingface import Network, recognize
from lambda_setup.scaffold.places import Places, check_free, find_places
from layer.builder.recipe import load

BERT = {"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": 512}
TASKS = sorted(path.name for path in blank.CODE.iterdir() if path.name != "shared")


def write(folder: Path, documents: dict[str, object]) -> Path:
    """Write a model's folder with JSON documents, and a file in place of its weights."""
    for name, document in {"model.safetensors": None, **documents}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if document is None else json.dumps(document))
    return folder


def modules(*types: str) -> list[dict[str, str]]:
    """Return the modules.json of sentence-transformers."""
    return [
        {"type": f"sentence_transformers.models.{one}", "path": f"{number}_{one}" if number else ""}
        for number, one in enumerate(types)
    ]


def test_plain_encoder_is_pooled_as_sentence_transformers_does(tmp_path):
    """A folder without modules gives the mean of its tokens' vectors, not scaled."""
    found = recognize(write(tmp_path, {"config.json": BERT}))
    assert found == Network(tmp_path, "embedding", "bert", 512, pooling=("mean",))


def test_settings_of_sentence_transformers_are_read(tmp_path):
    """Pooling, length, case, layers behind it and scaling are those of the folder."""
    folder = write(
        tmp_path,
        {
            "config.json": BERT,
            "modules.json": modules("Transformer", "Pooling", "Dense", "Normalize"),
            "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": True},
            "1_Pooling/config.json": {
                "word_embedding_dimension": 384,
                "pooling_mode_cls_token": True,
                "pooling_mode_mean_tokens": True,
                "pooling_mode_max_tokens": False,
                "include_prompt": True,
            },
        },
    )
    assert recognize(folder) == Network(
        folder, "embedding", "bert", 256, lowercase=True, pooling=("cls", "mean"), dense=("2_Dense",),
        normalize=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "task", "labels"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "classification", ("LABEL_0", "LABEL_1")),
        (
            {"architectures": ["BertForSequenceClassification"], "id2label": {"1": "good", "0": "bad"}},
            "classification",
            ("bad", "good"),
        ),
        ({"architectures": ["XForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, "pairs",
         ("LABEL_0",)),
        (
            {"architectures": ["XForSequenceClassification"], "id2label": {"0": "contradiction",
             "1": "neutral", "2": "entailment"}},
            "entailment",
            ("contradiction", "neutral", "entailment"),
        ),
        ({"architectures": ["BertForTokenClassification"], "id2label": {"0": "O"}}, "tokens", ("O",)),
        ({"architectures": ["BertForQuestionAnswering"]}, "answers", ("LABEL_0", "LABEL_1")),
    ],
)  # fmt: skip
def test_heads_say_the_task(tmp_path, more, task, labels):
    """The architecture's end and its labels decide, and labels come in the network's order."""
    found = recognize(write(tmp_path, {"config.json": BERT | more}))
    assert (found.task, found.labels) == (task, labels)


@pytest.mark.parametrize(
    ("config", "limit", "longest"),
    [
        ({"max_position_embeddings": 512}, 128, 128),
        ({"max_position_embeddings": 512}, 10**30, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 10**30, 512),
    ],
)
def test_longest_text(tmp_path, config, limit, longest):
    """Positions bound it, of RoBERTa's kin those behind the padding's, and so does the tokenizer."""
    folder = write(
        tmp_path, {"config.json": BERT | config, "tokenizer_config.json": {"model_max_length": limit}}
    )
    assert recognize(folder).longest == longest


PUBLISH = ", which is not .*: python -m lambda_setup model publish [^ ]+ --from transformers --local$"


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({}, "no config.json with a model_type"),
        ({"config.json": []}, "no config.json with a model_type"),
        ({"config.json": {"model_type": "llama"}}, "type llama, which is not exported; these are: alb"),
        ({"config.json": {"model_type": "marian"}}, f"type marian{PUBLISH}"),
        (
            {"config.json": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}},
            f"type t5{PUBLISH}",
        ),
        (
            {"config.json": {"model_type": "bart", "architectures": ["BartForSequenceClassification"]}},
            "type bart, which is not exported; these are: [a-z, 0-9-]*$",
        ),
        ({"config.json": BERT | {"architectures": ["BertForMaskedLM"]}}, "BertForMaskedLM, whose task"),
        ({"config.json": {"model_type": "bert"}}, "network of no architecture"),
        (
            {"config.json": BERT, "modules.json": modules("Transformer", "Pooling", "LSTM")},
            "Transformer, Pooling, LSTM; expected",
        ),
        (
            {"config.json": BERT, "modules.json": modules("Transformer", "Pooling"),
             "1_Pooling/config.json": {"pooling_mode_lasttoken": True}},
            "pools by pooling_mode_lasttoken",
        ),
    ],
)  # fmt: skip
def test_what_is_not_exported_is_refused_by_name(tmp_path, documents, message):
    """The message says what the folder holds and what is taken."""
    with pytest.raises(CommandError, match=message):
        recognize(write(tmp_path, documents))


def test_pickled_weights_are_refused(tmp_path):
    """They could run code."""
    folder = write(tmp_path, {"config.json": BERT})
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CommandError, match="pickled weights alone, which could run code; save it with safe"):
        recognize(folder)


@pytest.mark.parametrize("task", TASKS)
def test_a_blank_is_whole(task):
    """It has the files of every function, and its recipe's parts are there."""
    places = find_places("mine")
    made = {str(path.relative_to(ROOT)): content for path, content in blank.plan(places, task, "x").items()}
    assert {"mine_function/app.py", "mine_function/template.yaml"} <= set(made)
    assert ("mine_function/events/event.json" in made) == (task not in blank.SHARED)
    for part in blank.PARTS.get(task, ("onnxruntime", "tokenizers")):
        assert f'"{part}"' in made["layer/recipes/mine/recipe.toml"]
        assert (load("inference").folder.parent / "parts" / f"{part}.toml").is_file()
    code = [content for path, content in made.items() if path.endswith(".py")]
    assert all(len(path.read_text().splitlines()) <= 120 for path in code)


@pytest.fixture
def places(tmp_path) -> Places:
    """Return a function's places in another folder, where it was just made."""
    places = find_places("mine", tmp_path)
    files.write_files({folder / "a.txt": "as made" for folder in places.all})
    files.remember(places, tmp_path, tmp_path / "records")
    return places


def test_undo_removes_what_was_made(places, tmp_path):
    """And what builds recorded; then the name is free again, and there is nothing to undo."""
    (places.recipe / "host").mkdir()
    (places.recipe / "host" / "wheels.lock").write_text("")
    with pytest.raises(CommandError, match="new mine --undo"):
        check_free(places, tmp_path)
    removed, kept = files.undo(places, root=tmp_path, records=tmp_path / "records")
    assert (len(removed), kept) == (4, [])
    check_free(places, tmp_path)
    with pytest.raises(CommandError, match="no record"):
        files.undo(places, root=tmp_path, records=tmp_path / "records")


def test_undo_keeps_what_is_yours(places, tmp_path):
    """A file that you changed, and one that you wrote."""
    (places.code / "a.txt").write_text("changed")
    (places.model / "b.txt").write_text("written")
    plan = files.undo(places, dry_run=True, root=tmp_path, records=tmp_path / "records")
    assert files.undo(places, root=tmp_path, records=tmp_path / "records") == plan
    assert plan[1] == ["mine_function/a.txt", "models/mine/b.txt"]
    assert (places.code / "a.txt").exists()
    assert not places.recipe.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "translation, text-spacy, image-fastai, table, huggingface PATH, onnx PATH, torch PATH",
        ),
        (["--from", "elsewhere"], "--from takes translation"),
        (["--from", "huggingface"], "--from huggingface takes one path behind it; got none"),
        (["--from", "table", "x"], "--from table takes no path; got x"),
        (["--from", "table", "--int8"], "--int8 is for --from huggingface"),
    ],
)
def test_wrong_starting_points_are_refused(arguments, message, capsys):
    """The message says what is taken."""
    assert main(["new", "mine", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_former_names_warn(capsys):
    """They begin as before, and say what they are called now."""
    assert main(["new", "mine", "--from", "text", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "--from text is deprecated; use --from text-spacy" in printed.err
    assert "would make  mine_function/entities.py" in printed.out


def test_the_example_is_what_new_makes():
    """But for its README, examples/embedding_function is made by the command, and otherwise untouched."""
    made = find_places("embedding")
    places = replace(made, code=ROOT / "examples" / made.code.name)
    for path, content in blank.plan(places, "embedding", "").items():
        if path.name != "README.md":
            expected = content if isinstance(content, str) else content.read_text(encoding="utf-8")
            assert path.read_text(encoding="utf-8") == expected, path


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("", r"runner\.py ended without an answer for .*source, and last wrote 'nothing'\. Run the command"),
        ("print('[] is said'); print('Killed')", "last wrote 'Killed'"),
        (
            "print('a warning'); print('{\"reason\": \"it is too long\"}')",
            "cannot be exported: it is too long",
        ),
        ("import sys; sys.exit('no memory')", "ended with 1: no memory"),
    ],
)
def test_a_runner_that_has_no_answer(tmp_path, program, message):
    """What it said last is in the message, and what to do where it said nothing."""
    (tmp_path / "runner.py").write_text(program)
    with pytest.raises(CommandError, match=message):
        export._run_in(Path(sys.executable), tmp_path / "runner.py", tmp_path / "source", tmp_path, b"")
