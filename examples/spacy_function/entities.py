"""Texts in, named entities, parts of speech and lemmas out, with a spaCy pipeline."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from lambda_inference import BaseRequest, Deadline, Model, Prediction, Unavailable
from lambda_inference.texts import TextRequest

MAX_BATCH = 128
"""Texts in a batch; more are hardly faster."""
MAX_BATCH_CHARS = 10_000
"""Characters in a batch: bounds its memory and the delay of a deadline check."""

_TOKENIZER = "checked"
_CHECK = "deadline_check"


class AnalysisRequest(TextRequest, kw_only=True):
    """Texts to analyse, and whether their tokens come back."""

    tokens: Annotated[bool, Meta(description="true or false")] = True


class TextAnalyser:
    """A spaCy pipeline that tags, lemmatises and recognises entities; answers do not depend on the batch."""

    Request: ClassVar[type[BaseRequest]] = AnalysisRequest

    def __init__(self) -> None:
        # The heavy imports happen here, while the model is downloaded.
        import spacy
        import spacy.lang.en
        from spacy.pipeline import attributeruler, dep_parser, ner, tagger, tok2vec  # noqa: F401
        from spacy.tokenizer import Tokenizer
        from thinc.api import Config

        class CheckedTokenizer(Tokenizer):  # type: ignore[misc] # compiled, without types
            """A tokenizer that can be stopped: for 10,000 characters without a space it takes seconds."""

            check: Callable[[], None] = staticmethod(lambda: None)

            def find_suffix(self, string: str) -> int:
                self.check()
                length: int = super().find_suffix(string)
                return length

        def build_check(nlp: Any, name: str) -> Callable[[Any], Any]:  # noqa: ARG001 - spaCy passes it
            tokenizer = nlp.tokenizer

            def check(doc: Any) -> Any:
                tokenizer.check()
                return doc

            return check

        spacy.registry.tokenizers.register(
            _TOKENIZER, func=lambda: lambda pipeline: CheckedTokenizer(pipeline.vocab)
        )
        spacy.Language.factory(_CHECK, func=build_check)
        self._spacy: Any = spacy
        self._config: Any = Config

    def load(self, model: Model) -> None:
        """Load a pipeline: ``*.cfg`` and ``*.msgpack``, or ``*.txt`` that names a package in the layer.

        Raises:
            Unavailable: the layer has no such package.

        """
        self._pipeline = self._load_pipeline(model)
        # A component takes up to a second for 10,000 characters that are a token each.
        for name in self._pipeline.pipe_names:
            self._pipeline.add_pipe(_CHECK, name=f"{_CHECK} before {name}", before=name)

    def _load_pipeline(self, model: Model) -> Any:
        if any(name.endswith(".txt") for name in model.files):
            return self._load_package(model)
        config = self._config().from_bytes(bytes(model.only(".cfg")), interpolate=False)
        config["nlp"]["tokenizer"] = {"@tokenizers": _TOKENIZER}
        pipeline = self._spacy.util.load_model_from_config(config, validate=False)
        return pipeline.from_bytes(model.only(".msgpack"))

    def _load_package(self, model: Model) -> Any:
        name = bytes(model.only(".txt")).decode("ascii", "replace").strip()
        if not re.fullmatch(r"[a-z0-9_]+", name) or not self._spacy.util.is_package(name):
            raise Unavailable(
                f"model {model.manifest.name} is a package that this function's layer does not hold; build "
                "and deploy the layer with it, or publish the model's own files"
            ) from ModuleNotFoundError(name)
        config = {"nlp": {"tokenizer": {"@tokenizers": _TOKENIZER}}}
        return self._spacy.load(name, exclude=["senter"], config=config)

    def predict(self, request: AnalysisRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield each item's prediction, in input order."""
        texts: Sequence[str] = request.data  # __post_init__ made it a list
        done, total = 0, len(texts)
        for batch in split_batches(texts):

            def check(done: int = done) -> None:
                deadline.check(done, total)

            check()
            yield from self._analyse(batch, done, request.tokens, check)
            done += len(batch)

    def _analyse(
        self, texts: Sequence[str], first: int, tokens: bool, check: Callable[[], None]
    ) -> list[Prediction]:
        """Return the predictions of a batch; ``first`` is its first text's position in the request."""
        pipeline = self._pipeline
        pipeline.tokenizer.check = check
        # Otherwise every new word stays in memory for as long as the process.
        with pipeline.memory_zone():
            docs = pipeline.pipe((text for text in texts if text.strip()), batch_size=MAX_BATCH)
            return [
                _build_prediction(number, text, next(docs) if text.strip() else (), tokens)
                for number, text in enumerate(texts, first)
            ]


def split_batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, in batches within both bounds or of one text."""
    start = characters = 0
    for end, text in enumerate(texts):
        characters += len(text)
        if end > start and (end - start == MAX_BATCH or characters > MAX_BATCH_CHARS):
            yield texts[start:end]
            start, characters = end, len(text)
    yield texts[start:]


def _build_prediction(index: int, text: str, doc: Any, tokens: bool) -> Prediction:
    """Return the prediction of a document; a blank text has an empty one."""
    record: dict[str, Any] = {
        "index": index,
        "text": text,
        "entities": [
            {"text": one.text, "label": one.label_, "start": one.start_char, "end": one.end_char}
            for one in (doc.ents if doc else ())
        ],
    }
    if tokens:
        record["tokens"] = [
            {
                "text": one.text,
                "lemma": one.lemma_,
                "pos": one.pos_,
                "tag": one.tag_,
                "start": one.idx,
                "end": one.idx + len(one),
            }
            for one in doc
        ]
    return Prediction(record, counts={"Tokens": len(doc)})
