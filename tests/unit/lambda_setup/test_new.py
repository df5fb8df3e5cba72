"""Starting points: what a folder of Hugging Face is recognised as, what is refused, and what undo removes."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lambda_setup.__main__ import main
from lambda_setup.commands import new
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.scaffold import blank, export, files
from lambda_setup.scaffold.huggingface.modules import read_prompts
from lambda_setup.scaffold.huggingface.recognition import Network, recognize
from lambda_setup.scaffold.places import Places, check_free, find_places
from layer.builder.pack import start
from layer.builder.recipe import load
from layer.builder.slim import trace
from layer.builder.slim.split import record
from layer.builder.target import get_target
from layer.builder.verify import proof
from layer.builder.wheels import draft
from layer.builder.wheels import lock as locks
from layer.builder.wheels.wheel import Wheel

BERT = {"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": 512}
NAMES = {"recipe.toml", "requirements.txt"}
TASKS = sorted(path.name for path in blank.CODE.iterdir() if path.name != "shared")


def write(folder: Path, documents: dict[str, object]) -> Path:
    """Write a model's folder with JSON documents, and files in place of its weights and its tokenizer."""
    for name, document in {"model.safetensors": None, "tokenizer.json": {}, **documents}.items():
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
            "2_Dense/model.safetensors": None,
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
        ({"tokenizer.json": {}}, "no config.json with a model_type"),
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


HEAD = BERT | {"architectures": ["BertForSequenceClassification"]}


@pytest.mark.parametrize(
    ("documents", "pickled", "message"),
    [
        (
            {"config.json": HEAD},
            "pytorch_model.bin",
            r"pickled weights alone, which .*: BertForSequenceClassification\.from_pretrained\('",
        ),
        (
            {"config.json": BERT, "modules.json": modules("Transformer", "Pooling")},
            "pytorch_model.bin",
            r"SentenceTransformer\('.*'\)\.save_pretrained\(FOLDER\) in sentence_transformers",
        ),
        ({"config.json": BERT}, "training_args.bin", "has no weights; save it"),
        ({"config.json": BERT, "onnx/model.onnx": None}, "x.bin", "--from onnx .*/onnx/model.onnx; save it"),
        ({"config.json": BERT, "other.safetensors": None}, "x.bin", "no model.safetensors, but other.safe"),
    ],
)
def test_weights_that_are_not_in_safetensors(tmp_path, documents, pickled, message):
    """Pickled ones could run code; the message has the way to others, whose class keeps the head."""
    folder = write(tmp_path, documents)
    (folder / "model.safetensors").rename(folder / pickled)
    with pytest.raises(CommandError, match=message):
        recognize(folder)


POOLING = {"config.json": BERT, "modules.json": modules("Transformer", "Pooling")}
DENSE = POOLING | {"modules.json": modules("Transformer", "Pooling", "Dense"), "2_Dense/config.json": {}}


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "x"}},
            r"an adapter \(LORA\) for x, and no network.*merge_and_unload",
        ),
        ({"snapshots/a1/config.json": BERT}, "a cache's folder; name the one inside: .*/snapshots/a1$"),
        ({"config.json": BERT | {"auto_map": {"AutoModel": "x.Y"}}}, r"code of its own \(auto_map\)"),
        (
            {"config.json": BERT | {"quantization_config": {"quant_method": "gptq"}}},
            "weights that gptq quantised; name the folder of the model before that",
        ),
        ({"config.json": BERT | {"position_embedding_type": "relative_key"}}, "of the type relative_key"),
        (
            {"config.json": BERT, "model.safetensors.index.json": {"weight_map": {"a": "a.safetensors"}}},
            r"lacks a\.safetensors of its weights",
        ),
        ({"config.json": HEAD | {"id2label": {"a": "b"}}}, "an id2label whose keys are not numbers"),
        (
            {"config.json": HEAD | {"id2label": {"0": "x"}}, "config_sentence_transformers.json":
             {"activation_fn": "torch.nn.modules.activation.Tanh"}},
            "scores pairs by torch.nn.modules.activation.Tanh.*: Identity, Sigmoid",
        ),
        (
            {"config.json": HEAD, "config_sentence_transformers.json":
             {"prompts": {"query": "q: "}, "default_prompt_name": "query"}},
            "puts the prompt 'q: ' in front of texts, which is exported for embeddings alone",
        ),
        (
            POOLING
            | {"1_Pooling/config.json": {"include_prompt": False}, "config_sentence_transformers.json":
             {"prompts": {"query": "q: "}, "default_prompt_name": "query"}},
            "leaves its prompt 'q: ' out of the pooling",
        ),
        (
            POOLING | {"modules.json": modules("Transformer", "Pooling", "Normalize", "Dense")},
            "has a Dense behind Normalize",
        ),
        (DENSE, r"2_Dense has no model\.safetensors; save the model with safetensors"),
        (
            DENSE | {"2_Dense/config.json": {"use_residual": True}, "2_Dense/model.safetensors": None},
            "is not a plain layer",
        ),
    ],
)  # fmt: skip
def test_folders_of_other_forms_are_refused_by_name(tmp_path, documents, message):
    """The message says what the folder holds, and the way to one that is exported."""
    with pytest.raises(CommandError, match=message):
        recognize(write(tmp_path, documents))


def test_what_is_no_folder(tmp_path):
    """A name on the hub, or a package without a version: the message has the way to a folder."""
    with pytest.raises(CommandError, match=r"bert-base is not a folder\. Download the model.*NAME==VERSION"):
        recognize(tmp_path / "bert-base")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_pointers_are_no_files(tmp_path, file):
    """What git cloned without LFS says so, in place of an error in its middle."""
    folder = write(tmp_path, {"config.json": BERT})
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(CommandError, match=f"{file} is a pointer of Git LFS.*run git lfs pull in"):
        recognize(folder)


def test_a_folder_without_a_tokenizer(tmp_path):
    """It is refused, because transformers would make an empty one, whose texts are all unknown words."""
    folder = write(tmp_path, {"config.json": BERT})
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CommandError, match=r"has no tokenizer, such as tokenizer\.json; save the one"):
        recognize(folder)
    (folder / "vocab.txt").write_text("[PAD]\n")
    assert recognize(folder).kind == "bert"


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),  # as sentence-transformers 6 joins them
        ({"pooling_mode": "mean_sqrt_len_tokens"}, ("mean_sqrt_len_tokens",)),
        (
            {"pooling_mode_mean_sqrt_len_tokens": True, "pooling_mode_max_tokens": True},
            ("max", "mean_sqrt_len_tokens"),
        ),
        ({}, ("mean",)),
    ],
)
def test_poolings(tmp_path, pooling, expected):
    """Several are joined in sentence-transformers' order, which was its own before release 6."""
    assert recognize(write(tmp_path, POOLING | {"1_Pooling/config.json": pooling})).pooling == expected


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({"sentence_roberta_config.json": {"max_seq_length": 75}}, 75),
        ({"sentence_bert_config.json": {"processing_kwargs": {"text": {"max_length": 64}}}}, 64),
        ({"sentence_bert_config.json": {"max_seq_length": 4096}}, 512),  # beyond its positions
        ({"sentence_bert_config.json": {"max_seq_length": None}}, 512),
        ({"tokenizer_config.json": {"model_max_length": None}}, 512),
    ],
)
def test_length_settings(tmp_path, documents, expected):
    """They are found where each release wrote them, and a network's positions bound them."""
    assert recognize(write(tmp_path, POOLING | documents)).longest == expected


def test_a_network_in_its_own_folder(tmp_path):
    """Early releases of sentence-transformers put it into one, and the layers beside it."""
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Dense", "path": "2_Dense"},
    ]
    documents = {"config.json": BERT, "model.safetensors": None, "tokenizer.json": {}}
    folder = write(tmp_path, {"config.json": {}, "modules.json": modules, "2_Dense/model.safetensors": None})
    write(folder / "0_Transformer", documents)
    found = recognize(folder)
    assert (found.folder, found.dense) == (folder / "0_Transformer", ("../2_Dense",))


def test_prompts(tmp_path):
    """The default one stands in front of every text; without one, texts are sent as they are."""
    saved = {"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": "query"}
    folder = write(tmp_path, POOLING | {"config_sentence_transformers.json": saved})
    assert recognize(folder).prompt == "q: "
    assert read_prompts(folder) == {"query": "q: "}
    write(folder, {"config_sentence_transformers.json": saved | {"default_prompt_name": None}})
    assert recognize(folder).prompt == ""


@pytest.mark.parametrize(
    ("documents", "activation"),
    [
        ({}, "Sigmoid"),
        ({"config.json": {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}},
         "Identity"),
        ({"config.json": {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}},
         "Identity"),
        ({"config_sentence_transformers.json": {"activation_fn": "torch.nn.modules.linear.Identity"}},
         "Identity"),
        ({"config.json": {"problem_type": "regression"}}, "Identity"),
        ({"modules.json": modules("Transformer")}, "Sigmoid"),  # of sentence-transformers 6
    ],
)  # fmt: skip
def test_scores_of_cross_encoders(tmp_path, documents, activation):
    """What makes a score of the network's number is found where each release wrote it."""
    config = HEAD | {"id2label": {"0": "LABEL_0"}} | documents.get("config.json", {})
    found = recognize(write(tmp_path, documents | {"config.json": config}))
    assert (found.task, found.activation) == ("pairs", activation)


@pytest.mark.parametrize("task", TASKS)
def test_a_blank_is_whole(task):
    """It has the files of every function, and its recipe's parts are there."""
    places = find_places("mine")
    made = {str(path.relative_to(ROOT)): content for path, content in blank.plan(places, task, "x").items()}
    assert {"mine_function/app.py", "mine_function/template.yaml"} <= set(made)
    assert ("mine_function/events/event.json" in made) == (blank.CODE / task / "event.json").exists()
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
    target = get_target("host")
    recorded = {one.path_of(load("opennmt"), target).name for one in (locks, trace, proof, record)}
    for name in (*recorded, start.RECORD):
        (places.recipe / "host" / name).write_text("")
    with pytest.raises(CommandError, match="new mine --undo"):
        check_free(places, tmp_path)
    removed, kept = files.undo(places, root=tmp_path, records=tmp_path / "records")
    assert (len(removed), kept) == (8, [])
    check_free(places, tmp_path)
    with pytest.raises(CommandError, match="no record"):
        files.undo(places, root=tmp_path, records=tmp_path / "records")


def test_undo_removes_layers(places, tmp_path):
    """Of the function alone, and what `sam build` made in its folder."""
    for name in ("mine-host", "mine-python3.13-arm64", "mine2-host"):
        (tmp_path / name / "layer").mkdir(parents=True)
    (places.code / ".aws-sam" / "build").mkdir(parents=True)
    (places.recipe / ".aws-sam-stamp").write_text("")
    files.undo(places, root=tmp_path, records=tmp_path / "records")
    assert not any(folder.exists() for folder in places.all)
    assert {path.name for path in tmp_path.glob("mine*")} == {"mine2-host"}


def test_a_name_of_an_example_is_taken(tmp_path):
    """The message names the example, which is not to be undone."""
    (tmp_path / "examples" / "mine_function").mkdir(parents=True)
    with pytest.raises(CommandError, match="function mine already, examples/mine_function; choose another"):
        check_free(find_places("mine", tmp_path), tmp_path)


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
        (["--from", "table", "--requirements", "gone.txt"], "the requirements file gone.txt does not exist"),
        (["--from", "image", "--requirements", "x"], "yours into layer/recipes/mine/recipe.toml then"),
    ],
)
def test_wrong_starting_points_are_refused(arguments, message, capsys):
    """The message says what is taken."""
    assert main(["new", "mine", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_requirements(tmp_path, monkeypatch, capsys):
    """What is yours is pinned beside the parts' pins, and no records of other packages come along."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("rapidfuzz\n")
    wheel = Wheel("rapidfuzz", "3.14.3", "", "", requested=True)
    monkeypatch.setattr(draft, "resolve_file", lambda *_, **__: (wheel,))
    monkeypatch.setattr(draft, "find_imports", lambda *_: ("rapidfuzz",))
    assert main(["new", "mine", "--from", "table", "--requirements", str(requirements), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "would make  layer/recipes/mine/requirements.txt" in printed
    assert not {"wheels.lock", "files.trace"} & set(re.findall(r"[^/\n]+$", printed, re.MULTILINE))

    path = tmp_path / "mine" / "recipe.toml"
    made = blank.plan(find_places("mine"), "torch", "", requirements)
    files.write_files({path.parent / one.name: text for one, text in made.items() if one.name in NAMES})
    recipe = load(str(path))
    assert recipe.contents("python3.13-arm64").requirements[0] == "rapidfuzz==3.14.3"
    assert "torch==2.10.0" in recipe.contents("python3.13-arm64").requirements
    assert recipe.smoke.imports == ("rapidfuzz",)
    assert new._describe_pins(path.parent) == (
        "rapidfuzz==3.14.3, resolved of requirements.txt; the rest is complete in its parts torch"
    )
    (path.parent / "requirements.txt").unlink()
    assert new._describe_pins(path.parent) == "complete in its parts torch, so nothing was resolved"


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
