"""Tokenizers: each kind against the tool that made it, over the test split and unusual Unicode."""

import gzip
import hashlib
import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pyonmttok
import pytest
from onmt.constants import DefaultTokens
from sentencepiece import SentencePieceProcessor
from support.project import MODEL, ROOT

import tokenizer
from formats import fit
from lambda_inference import Unavailable

HERE = Path(__file__).parent
ODD = json.loads((HERE / "odd_texts.json").read_text())
RECORDED = json.loads((HERE / "subword_nmt.json").read_text())
"""What subword-nmt 0.3.8 makes of both texts, by its own code."""
CODES = RECORDED["codes"].encode()
OLD_CODES = CODES.partition(b"\n")[2]
PIECES = (MODEL / "enes.model").read_bytes()
SMILES = r"\[[^\]]+\]|Br|Cl|[BCNOSPFIbcnops]|[()=#+\-.\\/:~@?>*$%0-9]"


def split() -> list[str]:
    """Return the test split, both sides."""
    sides = (gzip.decompress((MODEL / f"test.{side}.gz").read_bytes()).decode() for side in ("en", "es"))
    return "".join(sides).split("\n")


def load(table: dict | None = None, **files: bytes) -> tokenizer.Sides:
    """Return the tokenizers of a model with these files; an underscore stands for a dot."""
    views = {name.replace("_", "."): memoryview(data) for name, data in files.items()}
    return tokenizer.load(table or {}, views)


def test_sentencepiece_is_its_own_library():
    """The same pieces, and the same text back."""
    theirs, ours = SentencePieceProcessor(model_proto=PIECES), load(x_model=PIECES).source
    for text in ODD:
        pieces = theirs.encode(text, out_type=str)
        assert ours.encode(text) == pieces
        assert ours.decode(pieces) == theirs.decode(pieces)


@pytest.mark.parametrize(("version", "codes"), [("0.2", CODES), ("0.1", OLD_CODES)])
def test_bpe_is_subword_nmts(version, codes):
    """The same segments, of files of both versions, and the same words back."""
    ours, theirs = load({"kind": "bpe"}, x_codes=codes).source, RECORDED["versions"][version]
    assert [" ".join(ours.encode(text)) for text in ODD] == theirs["odd"]
    tokens = json.dumps([ours.encode(text) for text in split()])
    assert hashlib.sha256(tokens.encode()).hexdigest() == theirs["split"]
    for text in ODD:
        words = [word for word in text.split(" ") if word]
        assert ours.decode(ours.encode(text)) == " ".join(words)


ANNOTATIONS = ({}, {"joiner_annotate": True}, {"spacer_annotate": True})
CASES = ({}, {"case_markup": True}, {"case_markup": True, "soft_case_regions": True})
REST = ({}, {"preserve_placeholders": True, "segment_numbers": True},
        {"preserve_segmented_tokens": True, "segment_case": True, "no_substitution": True})  # fmt: skip
MODES = ("none", "space", "conservative", "aggressive", "char")


@pytest.mark.sample(7)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("subwords", ["", "x.codes", "old.codes", "x.model"])
def test_pyonmttok_is_its_own_library(mode, subwords, tmp_path):
    """The same tokens and the same text back, for each combination of options that are mapped."""
    files = {"x.codes": CODES, "old.codes": OLD_CODES, "x.model": PIECES}
    if subwords:
        (tmp_path / subwords).write_bytes(files[subwords])
    path = (
        {f"{'sp' if subwords == 'x.model' else 'bpe'}_model_path": str(tmp_path / subwords)}
        if subwords
        else {}
    )
    for annotation, case, rest in product(ANNOTATIONS, CASES, REST):
        options = {"mode": mode, **annotation, **case, **rest}
        if case and mode in {"none", "space"}:
            continue
        theirs = pyonmttok.Tokenizer(**options, **path)
        views = {subwords: memoryview(files[subwords])} if subwords else {}
        ours = tokenizer.load({"kind": "pyonmttok", "options": options}, views).source
        for text in [*ODD, "%\ufeff\u0301 ｟\ta", *split()[:20]]:
            tokens = theirs(text)
            assert ours.encode(text) == tokens, options
            assert ours.decode(tokens) == theirs.detokenize(tokens), options


@pytest.mark.parametrize("option", ["case_feature", "segment_alphabet_change", "lang", "with_separators"])
def test_options_of_pyonmttok_that_are_not_mapped_are_refused_by_name(option):
    """Rather than served with other tokens; one that is off changes nothing."""
    with pytest.raises(Unavailable, match=option):
        load({"kind": "pyonmttok", "options": {option: "en"}})
    load({"kind": "pyonmttok", "options": {option: False}})


@pytest.mark.parametrize(
    ("table", "text", "tokens"),
    [
        ({}, " C  ( N ", ["C", "", "(", "N"]),
        ({"kind": "characters"}, "a bé", ["a", "▁", "b", "é"]),
        ({"kind": "regex", "pattern": SMILES}, "C(=O)[nH]Cl", ["C", "(", "=", "O", ")", "[nH]", "Cl"]),
        ({"kind": "regex", "pattern": "(a)|b"}, "axyb", ["a", "xy", "b"]),
    ],
)
def test_plain_kinds(table, text, tokens):
    """Spaces as OpenNMT-py reads them; characters; matches, with what matches nothing as unknown tokens."""
    side = load(table).source
    assert side.encode(text) == tokens
    assert side.decode(tokens) == text.strip()
    assert side.encode("") == side.encode("  ") == []


@pytest.mark.parametrize(
    ("files", "kind", "same"),
    [
        ({}, "space", True),
        ({"x_model": PIECES}, "sentencepiece", True),
        ({"x_spm": PIECES}, "sentencepiece", True),
        ({"source_spm": PIECES, "target_spm": PIECES}, "sentencepiece", False),
        ({"x_codes": OLD_CODES}, "bpe", True),
        ({"anything": CODES}, "bpe", True),
        ({"source_bpe": CODES, "target_bpe": CODES}, "bpe", False),
    ],
)
def test_files_say_the_kind(files, kind, same):
    """One file is for both sides; two are called source and target; none means spaces."""
    sides = load(**files)
    assert (sides.kind, sides.source is sides.target) == (kind, same)


def test_a_table_names_the_sides():
    """Whatever the files are called."""
    sides = load({"source": "en.model", "target": "es.model"}, en_model=PIECES, es_model=PIECES)
    assert sides.source is not sides.target


@pytest.mark.parametrize(
    ("table", "files", "told"),
    [
        ({"kind": "morfessor"}, {}, "kind takes sentencepiece, tokenizers, bpe"),
        ({"kind": "space", "pattern": "a"}, {}, "takes nothing else; got pattern"),
        (
            {"source": "codes.txt"},
            {"codes_txt": OLD_CODES},
            "kind space takes no file, and names 'codes.txt'",
        ),
        ({"kind": "regex"}, {}, "takes pattern"),
        ({"kind": "regex", "pattern": "("}, {}, "not a regular expression"),
        ({"kind": "bpe"}, {}, "0 files"),
        ({}, {"en_model": PIECES, "es_model": PIECES}, r"source\.\* and target\.\*"),
        ({}, {"source_model": PIECES, "target_codes": CODES}, "two kinds"),
        ({"source": "y.model"}, {"x_model": PIECES}, "names 'y.model'"),
        ({"kind": "tokenizers"}, {"x_model": PIECES}, r"0 files for a tokenizers.*expected tokenizer\.json"),
        ({}, {"x_model": b"text"}, "not a SentencePiece model"),
        ({}, {"x_model": b""}, "no pieces"),
        ({}, {"x_codes": b"a b c"}, "line 1 of the tokenizer's codes"),
        ({}, {"x_codes": b"#version: 9.0\na b"}, "version 9.0"),
    ],
)
def test_what_is_wrong_is_told(table, files, told):
    """Before the engine is loaded."""
    with pytest.raises(Unavailable, match=told):
        load(table, **files)


SPECIAL = ["<unk>", "<s>", "</s>", "｟mrk_case_modifier_C｠"]
PADDING = [f"{DefaultTokens.VOCAB_PAD}{number}" for number in range(7)]
WORDS = [token for text in ODD[-4:] for token in load(x_model=PIECES).source.encode(text)]


@pytest.mark.parametrize(
    ("sides", "vocabulary", "told"),
    [
        (load(x_model=PIECES), [*SPECIAL, *"CNO()="], "does not fit"),
        (load(x_codes=CODES), [*SPECIAL, *WORDS], "cannot produce"),
        (load(), [*SPECIAL, "▁the", "s"], "SentencePiece makes"),
        (load(), [*SPECIAL, "th@@", "e"], "subword-nmt makes"),
        (load({"kind": "characters"}), [*SPECIAL, "the"], "characters tokenizer does not fit"),
        (load({"kind": "regex", "pattern": SMILES}), [*SPECIAL, "the"], "regex tokenizer does not fit"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_does_not_fit_is_refused(sides, vocabulary, told):
    """By the tokens that it cannot produce; special ones do not count."""
    with pytest.raises(Unavailable, match=told):
        fit.check_vocabularies(sides, vocabulary, vocabulary)


@pytest.mark.parametrize(
    ("sides", "vocabulary"),
    [
        (load(x_model=PIECES), [*SPECIAL, *dict.fromkeys(WORDS)]),
        (load(x_model=PIECES), [*SPECIAL, "▁the", *"😀😁😂"]),
        (load(x_codes=CODES), [*SPECIAL, "t@@", "h"]),
        (load(), [*SPECIAL, "Cl", "[nH]"]),
        (load({"kind": "space"}), [*SPECIAL, "▁the"]),
        (load({"kind": "regex", "pattern": SMILES}), [*SPECIAL, "Cl", "[nH]"]),
        (load({"kind": "regex", "pattern": "."}), [*SPECIAL, *"CNO", *PADDING]),
        (load({"kind": "characters"}), [*SPECIAL, *"abc", ">>fr<<", ">>es<<", *PADDING]),
    ],
)
def test_a_tokenizer_that_fits_is_accepted(sides, vocabulary):
    """Also tokens of another tokenizer, where the model says that texts come in them."""
    fit.check_vocabularies(sides, vocabulary, vocabulary)


def test_a_model_without_subwords_needs_no_library():
    """A layer without sentencepiece serves it."""
    code = (
        "import sys; sys.modules['sentencepiece'] = None; import tokenizer; "
        "print(tokenizer.load({}, {}).source.encode('a b'))"
    )
    path = f"{ROOT / 'layer' / 'python'}:{ROOT / 'translation_function'}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['a', 'b']\n"


@pytest.mark.parametrize(
    ("library", "table", "files"),
    [
        ("sentencepiece", {}, {"x_model": PIECES}),
        ("tokenizers", {"kind": "tokenizers"}, {"tokenizer_json": b"{}"}),
    ],
)
def test_a_layer_without_a_library_says_so(monkeypatch, library, table, files):
    """With the part of the recipe that it takes."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unavailable, match=f'include = .*"{library}"'):
        load(table, **files)
