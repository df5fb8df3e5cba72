"""The functions that the configurations of pipelines for tagging, parsing, lemmas and entities name."""

REGISTRY_POPULATED = False

_SCORERS = ("attribute_ruler", "lemmatizer", "morphologizer", "ner", "parser", "senter", "tagger")


def populate_registry() -> None:
    """Register them, once."""
    global REGISTRY_POPULATED  # noqa: PLW0603 - spacy.util reads it
    if REGISTRY_POPULATED:
        return
    REGISTRY_POPULATED = True
    from .language import create_tokenizer, load_lookups_data
    from .ml.models import parser, tagger, tok2vec
    from .util import registry

    registry.tokenizers("spacy.Tokenizer.v1")(create_tokenizer)
    registry.misc("spacy.LookupsDataLoader.v1")(load_lookups_data)
    for name, function in {
        "HashEmbedCNN.v2": tok2vec.build_hash_embed_cnn_tok2vec,
        "MaxoutWindowEncoder.v2": tok2vec.MaxoutWindowEncoder,
        "MultiHashEmbed.v2": tok2vec.MultiHashEmbed,
        "Tagger.v2": tagger.build_tagger_model,
        "Tok2Vec.v2": tok2vec.build_Tok2Vec_model,
        "Tok2VecListener.v1": tok2vec.tok2vec_listener_v1,
        "TransitionBasedParser.v2": parser.build_tb_parser_model,
    }.items():
        registry.architectures(f"spacy.{name}")(function)
    for name in _SCORERS:
        registry.scorers(f"spacy.{name}_scorer.v1")(_no_scorer)


def _no_scorer() -> None:
    """Return what measures a component: nothing, since nobody measures here."""
