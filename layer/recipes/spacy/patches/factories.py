"""The components of pipelines for tags, parses, lemmas and entities, each imported when it is named."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any

from spacy.language import Language

_COMPONENTS = {
    "tok2vec": ("tok2vec.Tok2Vec", "model"),
    "tagger": ("tagger.Tagger", "model overwrite scorer neg_prefix label_smoothing"),
    "morphologizer": ("morphologizer.Morphologizer", "model overwrite extend label_smoothing scorer"),
    "senter": ("senter.SentenceRecognizer", "model overwrite scorer"),
    "parser": (
        "dep_parser.DependencyParser",
        "model moves update_with_oracle_cut_size learn_tokens min_action_freq scorer",
    ),
    "ner": (
        "ner.EntityRecognizer",
        "model moves update_with_oracle_cut_size incorrect_spans_key scorer",
    ),
    "attribute_ruler": ("attributeruler.AttributeRuler", "validate scorer"),
    "lemmatizer": ("lemmatizer.Lemmatizer", "model mode overwrite scorer"),
    "trainable_lemmatizer": (
        "edit_tree_lemmatizer.EditTreeLemmatizer",
        "model backoff min_tree_freq overwrite top_k scorer",
    ),
}


@cache
def register_factories() -> None:
    """Register the components; the settings of each are those that a saved pipeline states."""
    for name, (path, settings) in _COMPONENTS.items():
        Language.factory(name)(_factory(path, settings.split()))


def _factory(path: str, settings: Sequence[str]) -> Callable[..., Any]:
    module, _, component = path.partition(".")

    def make(nlp: Any, name: str, **settings: Any) -> Any:
        return getattr(import_module(f"spacy.pipeline.{module}"), component)(nlp.vocab, name=name, **settings)

    parameters = ("nlp", "name", *settings)
    make.__signature__ = Signature([Parameter(one, Parameter.KEYWORD_ONLY) for one in parameters])
    return make
