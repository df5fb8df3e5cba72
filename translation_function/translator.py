"""Sentences in, hypotheses with scores and attention out, whichever engine does the search."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

import tokenizer
from decoding import MAX_LENGTH, Decoding, DecodingRequest, read_defaults, replace_unknown, resolve
from lambda_inference import (
    Array,
    BadRequest,
    BaseRequest,
    Deadline,
    Model,
    Prediction,
    Unavailable,
    load_engine_module,
)
from lambda_inference.texts import plan_batches
from lambda_inference.threads import thread_count

MAX_BEAM = 20

MAX_BATCH = 32
"""Sentences searched at once; more of them are not faster on a processor without a GPU."""
MAX_BATCH_TOKENS = 8192
"""Source tokens times beams in one batch, padding included: bounds the memory of a search."""


Language = Annotated[
    str, Meta(pattern="^[A-Za-z0-9_-]{1,32}$", description="a code of up to 32 of A-Z, a-z, 0-9, _ and -")
]


class TranslationRequest(DecodingRequest, kw_only=True):
    """Texts to translate, and how."""

    beam: Annotated[int, Meta(ge=1, le=MAX_BEAM, description=f"an integer from 1 to {MAX_BEAM}")] = 5
    n_best: Annotated[int, Meta(ge=1, le=MAX_BEAM, description="an integer from 1 to beam")] = 1
    return_attention: Annotated[bool, Meta(description="true or false")] = False
    source_language: Language | UnsetType = UNSET
    target_language: Language | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.n_best > self.beam:
            raise BadRequest(
                f"n_best takes an integer from 1 to beam, which is {self.beam}; got {self.n_best}",
                field="n_best",
            )
        super().__post_init__()


class Hypothesis(Struct, frozen=True):
    """One translation of one sentence.

    Attributes:
        tokens: target pieces, without the end of the sentence.
        score: log-probability, normalised as OpenNMT-py's ``length_penalty avg``.
        attention: float32, row-major, a row a target token and a column a source token; the first
            head of the last decoder layer, as OpenNMT-py has it. None unless it was asked for.
        truncated: whether it ended at its cap, not at an end of the sentence.

    """

    tokens: list[str]
    score: float
    attention: bytes | None = None
    truncated: bool = False


class Engine(Protocol):
    """A beam search: each module ``engine_*.py`` has one."""

    positions: int
    """Tokens of the longest sentence that the model has positions for."""
    vocabularies: tuple[list[str], list[str]]
    """Tokens of the source and the target, special ones included; for checks before publishing."""
    unknown: str
    """The target's token for what its vocabulary lacks."""

    def translate(
        self,
        batch: Sequence[list[str]],
        beam: int,
        n_best: int,
        attention: bool,
        check: Callable[[], None],
        decoding: Decoding,
        prefixes: Sequence[list[str]],
    ) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each tokenised sentence.

        Args:
            batch: the sentences' tokens.
            beam: how many hypotheses a search keeps, or how many are drawn at random.
            n_best: how many of them to return.
            attention: whether to return attention, too.
            check: raises when the time is up.
            decoding: how to search.
            prefixes: the tokens that each sentence's hypotheses begin with, none at all for no sentence.

        """


class Translator:
    """OpenNMT translation: tokens, batches by length, n-best lists in input order."""

    Request: ClassVar[type[BaseRequest]] = TranslationRequest

    def __init__(self) -> None:
        # The heavy imports happen here, while the model is downloaded.
        self._engine_module: Any = load_engine_module()
        with suppress(ModuleNotFoundError):  # models without it need not have it in their layer
            import sentencepiece  # noqa: F401
        with suppress(ModuleNotFoundError):
            import tokenizers  # noqa: F401

    def load(self, model: Model) -> None:
        """Load a model: its tokenizers, and the engine's own files."""
        self._tokenizers = tokenizer.load(model.manifest.tokenizer, model.files)
        self._engine: Engine = self._engine_module.load(model, thread_count())
        self._decoding = read_defaults(model.manifest.decoding)
        self._languages: Any = None
        if model.manifest.languages:
            from formats.languages import Languages

            self._languages = Languages(model.manifest.languages, *self._engine.vocabularies)

    def check(self) -> None:
        """Check that a loaded model translates, and its tokenizers fit it; for publishing, not for requests.

        Raises:
            Unavailable: it does not translate a token, or was trained with other tokenizers.

        """
        from formats.fit import check_vocabularies

        source, target = self._engine.vocabularies
        tags = {"is_tag": self._languages.is_tag} if self._languages else {}
        check_vocabularies(self._tokenizers, source, target, **tags)
        decoding = self._decoding
        try:
            self._engine.translate([source[-1:]], 1, 1, decoding.replace_unk, lambda: None, decoding, ())
        except Exception as error:
            raise Unavailable(
                f"the model loads, and does not translate: {type(error).__name__}: {error}; change its "
                "[decoding], or train it with options that OpenNMT-py's own command translates with"
            ) from error

    def predict(self, request: TranslationRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield each item's prediction, in input order."""
        texts: Sequence[str] = request.data  # __post_init__ made it a list
        sources = [self._tokenizers.source.encode(text) for text in texts]
        forced: list[str] = []
        if tags := self._resolve_languages(request):
            sources = [[*tags.before, *tokens, *tags.after] if tokens else [] for tokens in sources]
            forced = tags.forced
        for index, tokens in enumerate(sources):
            if len(tokens) > self._engine.positions:
                raise BadRequest(
                    f"data[{index}] is {len(tokens):,} tokens long, and the model takes at most "
                    f"{self._engine.positions:,}; split it into sentences",
                    field=f"data[{index}]",
                )
        decoding = resolve(self._decoding, request)
        prefixes = self._encode_prefixes(decoding.target_prefix, len(texts))
        if forced:
            prefixes = [forced + prefix for prefix in prefixes or [[]] * len(texts)]
        attention = request.return_attention or decoding.replace_unk
        results: list[list[Hypothesis]] = [[] for _ in sources]
        done = sum(not tokens for tokens in sources)
        for batch in plan_batches([*map(len, sources)], MAX_BATCH_TOKENS // request.beam, MAX_BATCH):

            def check(done: int = done) -> None:
                deadline.check(done, len(sources))

            check()
            hypotheses = self._engine.translate(
                [sources[index] for index in batch],
                request.beam,
                request.n_best,
                attention,
                check,
                decoding,
                [prefixes[index] for index in batch] if prefixes else (),
            )
            for index, best in zip(batch, hypotheses, strict=True):
                results[index] = [_drop(one, len(forced), len(sources[index])) for one in best]
            done += len(batch)
        for index, (text, source, found) in enumerate(zip(texts, sources, results, strict=True)):
            best = found
            if decoding.replace_unk:
                unknown = self._engine.unknown
                best = [
                    replace(one, tokens=replace_unknown(one.tokens, unknown, source, one.attention))
                    for one in best
                ]
            yield self._prediction(index, text, source, best, request.return_attention)

    def _resolve_languages(self, request: TranslationRequest) -> Any:
        """Return the tokens of a request's languages, None for a model without any."""
        if self._languages:
            return self._languages.resolve(request.source_language, request.target_language)
        for field in ("source_language", "target_language"):
            if getattr(request, field) is not UNSET:
                raise BadRequest(f"this model takes no {field}; leave it out", field=field)
        return None

    def _encode_prefixes(self, texts: str | list[str], count: int) -> list[list[str]]:
        """Return the tokens that each item's hypotheses begin with, nothing if none does."""
        if not texts:
            return []
        every = isinstance(texts, str)
        most = min(MAX_LENGTH, self._engine.positions - 1)
        each: list[str] = [texts] if isinstance(texts, str) else texts
        prefixes = [self._tokenizers.target.encode(text) for text in each]
        for index, tokens in enumerate(prefixes):
            field = "target_prefix" if every else f"target_prefix[{index}]"
            if len(tokens) > most:
                raise BadRequest(
                    f"{field} is {len(tokens):,} tokens long, and takes at most {most:,}; shorten it",
                    field=field,
                )
        return prefixes * count if every else prefixes

    def _prediction(
        self, index: int, text: str, source: list[str], best: list[Hypothesis], attention: bool
    ) -> Prediction:
        record: dict[str, Any] = {
            "index": index,
            "source": text,
            "hypotheses": [
                {
                    "text": self._tokenizers.target.decode(one.tokens),
                    "tokens": one.tokens,
                    "score": one.score,
                    **({"truncated": True} if one.truncated else {}),
                }
                for one in best
            ],
        }
        arrays = {}
        if attention:
            record["source_tokens"] = source
            if best:
                arrays["attention"] = [
                    Array(one.attention or b"", "f", (len(one.tokens), len(source)), ("hypotheses", number))
                    for number, one in enumerate(best)
                ]
        counts = {"Tokens": len(source) + sum(len(one.tokens) for one in best)}
        return Prediction(record, arrays, counts, sum(one.truncated for one in best))


def _drop(hypothesis: Hypothesis, count: int, columns: int) -> Hypothesis:
    """Return a hypothesis without its first tokens, which name its language."""
    if not count:
        return hypothesis
    rows = hypothesis.attention
    attention = None if rows is None else rows[4 * count * columns :]
    return replace(hypothesis, tokens=hypothesis.tokens[count:], attention=attention)
