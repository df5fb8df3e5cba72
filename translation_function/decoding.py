"""How a search goes: a request's fields, a model's defaults for them, and what engines make of both.

The names and meanings are those of OpenNMT-py's command, whose defaults hold where a model's ``[decoding]``
and a request say nothing.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lambda_inference import BadRequest, Unavailable
from lambda_inference.texts import MAX_CHARS, TextRequest, check_unicode

MAX_LENGTH = 250
"""Tokens of the longest hypothesis, a forced beginning aside."""
EXTRA_LENGTH = 5
ARGMAX_TEMPERATURE = 0.01
"""Below this temperature sampling takes the likeliest token: floats hold no logarithms divided by less."""
_MAX_SEED = 2**32 - 1
_LENGTH = f"an integer from {{}} to {MAX_LENGTH}"
_PREFIX = f"a string, or a list of one string an item, of at most {MAX_CHARS:,} characters each"


class DecodingRequest(TextRequest, kw_only=True):
    """Texts, and how to search; what is not set is up to the model."""

    length_penalty: (
        Annotated[Literal["avg", "wu", "none"], Meta(description='one of "avg", "wu" and "none"')] | UnsetType
    ) = UNSET
    alpha: Annotated[float, Meta(ge=0, le=10, description="a number from 0 to 10")] | UnsetType = UNSET
    min_length: Annotated[int, Meta(ge=0, le=MAX_LENGTH, description=_LENGTH.format(0))] | UnsetType = UNSET
    max_length: Annotated[int, Meta(ge=1, le=MAX_LENGTH, description=_LENGTH.format(1))] | UnsetType = UNSET
    max_length_ratio: (
        Annotated[float, Meta(gt=0, le=MAX_LENGTH, description=f"a number above 0, up to {MAX_LENGTH}")]
        | UnsetType
    ) = UNSET
    block_ngram_repeat: (
        Annotated[int, Meta(ge=0, le=20, description="0, or an integer from 2 to 20")] | UnsetType
    ) = UNSET
    ban_unk: Annotated[bool, Meta(description="true or false")] | UnsetType = UNSET
    replace_unk: Annotated[bool, Meta(description="true or false")] | UnsetType = UNSET
    target_prefix: (
        Annotated[
            Annotated[str, Meta(max_length=MAX_CHARS)] | list[Annotated[str, Meta(max_length=MAX_CHARS)]],
            Meta(description=_PREFIX),
        ]
        | UnsetType
    ) = UNSET
    sampling_topk: (
        Annotated[
            int,
            Meta(ge=-1, le=1000, description="an integer from 1 to 1,000, -1 for all tokens, or 0 for none"),
        ]
        | UnsetType
    ) = UNSET
    sampling_topp: Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")] | UnsetType = UNSET
    sampling_temp: Annotated[float, Meta(ge=0, le=10, description="a number from 0 to 10")] | UnsetType = (
        UNSET
    )
    seed: (
        Annotated[int, Meta(ge=0, le=_MAX_SEED, description=f"an integer from 0 to {_MAX_SEED:,}")]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_prefix is UNSET:
            return
        if isinstance(self.target_prefix, str):
            check_unicode(self.target_prefix, "target_prefix")
            return
        if len(self.target_prefix) != len(self.data):
            raise BadRequest(
                f"target_prefix takes {_PREFIX}; got a list of {len(self.target_prefix)} for "
                f"{len(self.data)} items",
                field="target_prefix",
            )
        for index, prefix in enumerate(self.target_prefix):
            check_unicode(prefix, f"target_prefix[{index}]")


class Decoding(Struct, frozen=True, kw_only=True):
    """A search with every value decided; the defaults are OpenNMT-py's."""

    length_penalty: Literal["avg", "wu", "none"] = "avg"
    alpha: float = 1.0
    min_length: int = 0
    max_length: int = MAX_LENGTH
    max_length_ratio: float = 1.25
    block_ngram_repeat: int = 0
    ban_unk: bool = False
    replace_unk: bool = False
    target_prefix: str | list[str] = ""
    sampling_topk: int = 0
    sampling_topp: float = 0.0
    sampling_temp: float = 1.0
    seed: int | None = None

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn at random, in place of a beam search."""
        return bool(self.sampling_topk or self.sampling_topp)

    @property
    def takes_likeliest(self) -> bool:
        """Whether there is one token only that can be drawn."""
        return self.sampling_topk == 1 or self.sampling_temp < ARGMAX_TEMPERATURE

    @property
    def has_rules(self) -> bool:
        """Whether what precedes a token may ban it."""
        return bool(self.min_length or self.block_ngram_repeat)

    @property
    def caps_early(self) -> bool:
        """Whether the cap ends more hypotheses than by default."""
        return self.max_length < DEFAULT.max_length or self.max_length_ratio < DEFAULT.max_length_ratio

    def cap(self, source_tokens: int) -> int:
        """Return the most tokens that a hypothesis may have after its forced beginning, its end included."""
        return min(self.max_length, int(source_tokens * self.max_length_ratio) + EXTRA_LENGTH)

    def caps(self, batch: Sequence[list[str]], prefixes: Sequence[list[str]], positions: int) -> list[int]:
        """Return the most tokens of each sentence's hypotheses, forced beginnings and ends included."""
        forced = [len(prefix) for prefix in prefixes] or [0] * len(batch)
        return [
            min(self.cap(len(tokens)) + prefix, positions)
            for tokens, prefix in zip(batch, forced, strict=True)
        ]

    def normalise(self, total: float, steps: int) -> float:
        """Return the score of a log-probability that took so many steps, as ``onmt.translate.penalties``."""
        if self.length_penalty == "none":
            return total
        length = float(steps + 1)
        score: float = total / (length if self.length_penalty == "avg" else (5 + length) / 6) ** self.alpha
        return score

    def item_seed(self, tokens: list[str]) -> int:
        """Return the seed of an item's random numbers: the same in any batch; without one, another."""
        if self.seed is None:
            return int.from_bytes(os.urandom(4))
        data = f"{self.seed} {' '.join(tokens)}".encode()
        return int.from_bytes(hashlib.sha256(data).digest()[:4]) % _MAX_SEED


DEFAULT = Decoding()


def resolve(defaults: Decoding, request: DecodingRequest) -> Decoding:
    """Return the search that a request asks for.

    Raises:
        BadRequest: its fields and the model's defaults do not go together.

    """
    given = {
        name: value for name in Decoding.__struct_fields__ if (value := getattr(request, name)) is not UNSET
    }
    if not given:
        return defaults
    decoding = msgspec.structs.replace(defaults, **given)
    if decoding.block_ngram_repeat == 1:
        raise BadRequest(
            "block_ngram_repeat takes 0, or an integer from 2 to 20; got 1", field="block_ngram_repeat"
        )
    if decoding.min_length > decoding.max_length:
        raise BadRequest(
            f"min_length takes an integer from 0 to max_length, which is {decoding.max_length}; got "
            f"{decoding.min_length}",
            field="min_length",
        )
    return decoding


def read_defaults(table: Mapping[str, Any]) -> Decoding:
    """Return the search of a model's ``[decoding]``.

    Raises:
        Unavailable: it holds something else than a request's fields.

    """
    if not table:
        return DEFAULT
    try:
        if unknown := table.keys() - set(Decoding.__struct_fields__):
            raise BadRequest(f"{', '.join(sorted(unknown))}")  # noqa: TRY301 - one message for all
        if not isinstance(table.get("target_prefix", ""), str):
            raise BadRequest("target_prefix takes a string")  # noqa: TRY301 - one message for all
        return resolve(DEFAULT, msgspec.convert({**table, "data": [""]}, DecodingRequest))
    except (msgspec.ValidationError, BadRequest) as error:
        raise Unavailable(
            f"[decoding] of the model takes {', '.join(Decoding.__struct_fields__)}, as a request does; "
            f"got: {error}"
        ) from None


def replace_unknown(
    tokens: list[str], unknown: str, source: Sequence[str], attention: bytes | None
) -> list[str]:
    """Return tokens with each unknown one replaced by the source's token that it attends to most.

    Args:
        tokens: of a hypothesis.
        unknown: the token that stands for what the vocabulary lacks.
        source: the sentence's tokens.
        attention: float32, a row a target token and a column a source token.

    """
    if unknown not in tokens or not attention:
        return tokens
    weights, width = memoryview(attention).cast("f").tolist(), len(source)
    rows = (weights[start : start + width] for start in range(0, len(weights), width))
    return [
        source[row.index(max(row))] if token == unknown else token
        for token, row in zip(tokens, rows, strict=True)
    ]
