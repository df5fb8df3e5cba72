"""Multilingual models: a request names its languages, and one function answers in each."""

import pytest
from support import tiny_models
from support.tiny_models import TOKENS

from formats.languages import Languages
from lambda_inference import BadRequest, Deadline, Model, Unavailable
from lambda_inference._requests import parse
from lambda_setup.models.convert import convert
from lambda_setup.models.describe import describe
from translator import TranslationRequest, Translator

TAGS = ["__en__", "__es__", "__fr__"]
TABLE = 'source_prefix = "__{source}__"\ntarget_prefix = "__{target}__"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a multilingual model of random weights."""
    folder = tiny_models.save(
        tiny_models.build([*TOKENS, *TAGS], **tiny_models.RELATIVE, max_relative_positions=4),
        tmp_path_factory.mktemp("models") / "many",
    )
    (folder / "model.toml").write_text(
        f'name = "many"\nengine = "opennmt"\nprecision = "float32"\nfiles = ["model.pt"]\n[libraries]\n'
        f"[languages]\n{TABLE}"
    )
    return folder


@pytest.fixture(params=["opennmt", "ctranslate2"])
def translator(request, folder, tmp_path, monkeypatch) -> Translator:
    """Return the translator with the model, on each engine."""
    place = folder
    if request.param == "ctranslate2":
        convert(folder, describe(folder), tmp_path, "ctranslate2", "float32")
        place = tmp_path
    monkeypatch.setenv("ENGINE", request.param)
    manifest = describe(place)
    files = {file.name: memoryview((place / file.name).read_bytes()) for file in manifest.files}
    loaded = Translator()
    loaded.load(Model(manifest, manifest.version, files))
    return loaded


def answer(translator, **fields) -> list[dict]:
    """Return the records of a request."""
    request = parse({"data": ["C ( N", ""], "return_attention": True, **fields}, TranslationRequest)
    return [one.record | {"arrays": one.arrays} for one in translator.predict(request, Deadline.after(60))]


def test_one_function_answers_in_two_languages(translator):
    """The answers differ, and name no language; attention has a column for each token that the model saw."""
    found = {
        target: answer(translator, source_language="en", target_language=target) for target in ("es", "fr")
    }
    for target, (full, empty) in found.items():
        [best] = full["hypotheses"]
        assert full["source_tokens"] == ["__en__", "C", "(", "N"]
        assert best["tokens"][0] != f"__{target}__"
        [attention] = full["arrays"]["attention"]
        assert attention.shape == (len(best["tokens"]), 4)
        assert len(attention.data) == 4 * len(best["tokens"]) * 4
        assert empty["hypotheses"] == []
    assert found["es"][0]["hypotheses"] != found["fr"][0]["hypotheses"]


@pytest.mark.parametrize(
    ("languages", "told"),
    [
        ({"source_language": "en"}, "needs target_language"),
        ({"source_language": "xx", "target_language": "es"}, "source_language takes .* lacks '__xx__'"),
        ({"source_language": "en", "target_language": "xx"}, "target_language takes .* lacks '__xx__'"),
    ],
)
def test_languages_that_the_model_lacks_are_refused(translator, languages, told):
    """With the field's name."""
    with pytest.raises(BadRequest, match=told):
        answer(translator, **languages)


def test_a_language_is_a_code():
    """What could be several tokens is none."""
    with pytest.raises(BadRequest, match="target_language takes a code"):
        parse({"data": ["a"], "target_language": "e s"}, TranslationRequest)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"prefix": "a"}, "takes source_prefix"),
        ({"source_prefix": 1}, "takes a string"),
        ({"source_suffix": "</e> {source}"}, "source_suffix has '</e>', which the model's vocabulary lacks"),
    ],
)
def test_a_wrong_table_is_refused(table, told):
    """When the model is loaded."""
    with pytest.raises(Unavailable, match=told):
        Languages(table, TOKENS, TOKENS)


def test_a_model_of_one_language_takes_none(tmp_path, monkeypatch):
    """A request that names one is told so."""
    monkeypatch.setenv("ENGINE", "opennmt")
    folder = tiny_models.save(tiny_models.build(**tiny_models.TRANSFORMER), tmp_path)
    manifest = describe(folder)
    loaded = Translator()
    loaded.load(
        Model(manifest, manifest.version, {"model.pt": memoryview((folder / "model.pt").read_bytes())})
    )
    with pytest.raises(BadRequest, match="takes no source_language"):
        answer(loaded, source_language="en")


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        ("__{source}__", {"__en__", "__es__"}),
        ("{source} x", {"en", "x", "fra_Latn", "pt_BR", "the"}),
        (">>{target}<< </s>", {">>fra<<", "</s>"}),
        ("", set()),
    ],
)
def test_tokens_that_name_languages_are_not_the_tokenizers(template, tags):
    """A vocabulary is compared with its tokenizer without them."""
    vocabulary = ["__en__", "__es__", "en", "x", "fra_Latn", "pt_BR", ">>fra<<", "</s>", "the", "▁the", "C"]
    languages = Languages({"source_prefix": template}, vocabulary, vocabulary)
    assert {token for token in vocabulary if languages.is_tag(token)} == tags
