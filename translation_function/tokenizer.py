"""Texts to tokens and back: the only module that knows how a model's texts were tokenised.

A model says it in ``[tokenizer]`` of its ``model.toml``, or by its files::

    kind            files                             module
    sentencepiece   *.model or *.spm                  sentencepiece, where the layer has it
    tokenizers      tokenizer.json                    tokenizers, where the layer has it
    bpe             codes of subword-nmt              formats.subword_nmt
    pyonmttok       either, or none; its options      formats.joiners
    space           none: no file means this kind     formats.plain
    characters      none                              formats.plain
    regex           none; a pattern                   formats.plain

The two sides of a model may have files of their own: ``source`` and ``target``.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

from lambda_inference import Unavailable

Files = Mapping[str, memoryview]

_SUFFIXES = (".model", ".spm")
_CODES = (".codes", ".bpe")
_VERSION = b"#version: "
"""The beginning of subword-nmt's files of codes, whatever their names."""
_JSON = "tokenizer.json"
"""The file of Hugging Face's library tokenizers, which ``[tokenizer]`` has to name: other files say more."""
_KEYS = {
    "sentencepiece": set(),
    "tokenizers": set(),
    "bpe": {"separator"},
    "pyonmttok": {"options"},
    "space": set(),
    "characters": set(),
    "regex": {"pattern"},
}  # fmt: skip
"""Kinds, each with the keys that it takes besides ``kind``, ``source`` and ``target``."""
_WITHOUT_FILES = {"space", "characters", "regex"}


class Tokenizer(Protocol):
    """One side's tokenizer."""

    def encode(self, text: str) -> list[str]:
        """Return a text's tokens."""

    def decode(self, tokens: list[str]) -> str:
        """Return the text of tokens."""

    def can_produce(self, token: str) -> bool:
        """Return whether some text has this token."""


class Sides(NamedTuple):
    """The tokenizers of a model's two sides, and how they were chosen."""

    kind: str
    stated: bool
    source: Tokenizer
    target: Tokenizer


def load(table: Mapping[str, Any], files: Files) -> Sides:
    """Return the tokenizers of a model.

    Args:
        table: ``[tokenizer]`` of the model, empty if its files say it.
        files: the model's files by name.

    Raises:
        Unavailable: the table or a file is invalid, or the layer lacks the tokenizer's library.

    """
    kind = table.get("kind") or _recognize(files)
    if kind not in _KEYS:
        raise Unavailable(f"[tokenizer] kind takes {', '.join(_KEYS)}; got {kind!r}")
    asked = [table[side] for side in ("source", "target") if side in table]
    if asked and kind in _WITHOUT_FILES:
        raise Unavailable(
            f"[tokenizer] of kind {kind} takes no file, and names {asked[0]!r}; write the kind of that file, "
            'such as kind = "bpe"'
        )
    keys = _KEYS[kind] | (set() if kind in _WITHOUT_FILES else {"source", "target"})
    if unknown := table.keys() - keys - {"kind"}:
        takes = ", ".join(sorted(keys)) or "nothing else"
        raise Unavailable(f"[tokenizer] of kind {kind} takes {takes}; got {', '.join(sorted(unknown))}")
    names = None if kind in _WITHOUT_FILES else _find_files(kind, table, files)
    if names is None:
        one = _build(kind, table, b"")
        return Sides(kind, bool(table), one, one)
    source, target = names
    first = _build(kind, table, bytes(files[source]))
    second = first if target == source else _build(kind, table, bytes(files[target]))
    return Sides(kind, bool(table), first, second)


def find_files(
    names: Iterable[str], read_start: Callable[[str], bytes], table: Mapping[str, Any] | None = None
) -> list[str]:
    """Return which of a folder's files are a tokenizer's: by ``[tokenizer]``, their names or first bytes."""
    stated = table or {}
    named = [stated.get("source"), stated.get("target"), _JSON if stated.get("kind") == "tokenizers" else ""]
    return [
        name
        for name in names
        if name in named or name.endswith((*_SUFFIXES, *_CODES)) or read_start(name) == _VERSION
    ]


def _recognize(files: Files) -> str:
    """Return the kind that a model's files say."""
    found = find_files(files, lambda name: bytes(files[name][: len(_VERSION)]))
    if not found:
        return "space"
    kinds = {"bpe" if _has_codes(name, files[name]) else "sentencepiece" for name in found}
    if len(kinds) > 1:
        raise Unavailable(f"{' and '.join(found)} are of two kinds; name one in [tokenizer] of model.toml")
    return kinds.pop()


def _has_codes(name: str, data: memoryview) -> bool:
    """Return whether a tokenizer's file is one of codes, not a SentencePiece model."""
    return name.endswith(_CODES) or bytes(data[: len(_VERSION)]) == _VERSION


def _find_files(kind: str, table: Mapping[str, Any], files: Files) -> tuple[str, str] | None:
    """Return the names of the source's and the target's file; None where pyonmttok has no subwords."""
    if "source" in table or "target" in table:
        source = table.get("source", table.get("target"))
        target = table.get("target", source)
        for name in (source, target):
            if name not in files:
                raise Unavailable(
                    f"[tokenizer] names {name!r}, and the model's files are {', '.join(files)}; put it "
                    "beside the checkpoint, and into files of model.toml if that has any"
                )
        return source, target
    found = find_files(files, lambda name: bytes(files[name][: len(_VERSION)]))
    if kind == "tokenizers":
        found = [name for name in files if name == _JSON]
    by_stem = {PurePath(name).stem: name for name in found}
    if len(found) == 2 and by_stem.keys() == {"source", "target"}:  # noqa: PLR2004 - the two sides
        return by_stem["source"], by_stem["target"]
    if len(found) == 1:
        return found[0], found[0]
    if not found and kind == "pyonmttok":
        return None
    raise Unavailable(
        f"the model has {len(found)} files for a {kind} tokenizer{': ' if found else ''}{', '.join(found)}; "
        f"expected {_JSON if kind == 'tokenizers' else 'one, or two called source.* and target.*'}, or their "
        "names in [tokenizer] of model.toml"
    )


def _build(kind: str, table: Mapping[str, Any], data: bytes) -> Tokenizer:
    """Return the tokenizer of one side, whose module is imported now, not by models without it."""
    if kind == "sentencepiece":
        return SentencePiece(data)
    if kind == "tokenizers":
        return Tokenizers(data)
    if kind == "bpe":
        from formats.subword_nmt import SubwordNmt

        return SubwordNmt(data, table.get("separator", "@@"))
    if kind == "pyonmttok":
        from formats.joiners import build

        pieces = SentencePiece(data) if data[:1] == b"\n" else None  # the tag of a first piece
        return build(table.get("options", {}), data, pieces)
    from formats import plain

    if kind == "regex":
        return plain.Pattern(table.get("pattern"))
    return plain.Characters() if kind == "characters" else plain.Space()


class SentencePiece:
    """SentencePiece's own library, over a model in memory."""

    def __init__(self, data: bytes) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ModuleNotFoundError as error:
            raise Unavailable(
                "the model has a SentencePiece tokenizer, and this function's layer no sentencepiece; build "
                'the layer with include = [..., "sentencepiece"] in its recipe'
            ) from error
        try:
            self._processor: Any = SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise Unavailable(f"the tokenizer is not a SentencePiece model: {error}") from error
        if not self._processor.get_piece_size():
            raise Unavailable("the SentencePiece model has no pieces; save and publish it again")
        self._pieces: set[str] | None = None

    def encode(self, text: str) -> list[str]:
        """Return a text's pieces."""
        # One text: for a list SentencePiece starts threads, which take longer than most texts.
        pieces: list[str] = self._processor.encode(text, out_type=str)
        return pieces

    def decode(self, tokens: list[str]) -> str:
        """Return the text of pieces."""
        text: str = self._processor.decode(tokens)
        return text

    def can_produce(self, token: str) -> bool:
        """Return whether a token is a piece, or a character that no piece has, which comes out as it is."""
        if self._pieces is None:
            pieces = range(self._processor.get_piece_size())
            self._pieces = {self._processor.id_to_piece(number) for number in pieces}
            self._characters = set("".join(self._pieces))
        return token in self._pieces or (len(token) == 1 and token not in self._characters)


class Tokenizers:
    """Hugging Face's library tokenizers, over a ``tokenizer.json`` in memory, without special tokens."""

    def __init__(self, data: bytes) -> None:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise Unavailable(
                "the model has a tokenizer.json, and this function's layer no tokenizers; build the layer "
                'with include = [..., "tokenizers"] in its recipe'
            ) from error
        try:
            self._tokenizer: Any = Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare ones
            raise Unavailable(f"the tokenizer is not one of the library tokenizers: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: str) -> list[str]:
        """Return a text's tokens."""
        tokens: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    def decode(self, tokens: list[str]) -> str:
        """Return the text of tokens; those of no text, as the end of a sentence, are left out."""
        numbers = [number for token in tokens if (number := self._tokenizer.token_to_id(token)) is not None]
        text: str = self._tokenizer.decode(numbers, skip_special_tokens=True)
        return text

    def can_produce(self, token: str) -> bool:
        """Return whether a token is in the vocabulary."""
        return self._tokenizer.token_to_id(token) is not None
