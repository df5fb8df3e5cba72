"""Build the parallel corpus from LibreOffice's English and Spanish packages in Debian.

Pairs come from two places: the help pages, whose paragraphs carry the same HTML id in every language, and
the translation catalogues of the user interface. Both are split by a hash of the document, or of the
interface text, so that nothing changes its split when the corpus grows.
"""

from __future__ import annotations

import hashlib
import html as entities
import random
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import polib
from lxml import etree, html

Pair = tuple[str, str]

ENGLISH_HELP = "libreoffice-help-en-us"
SPANISH_HELP = "libreoffice-help-es"
SPANISH_INTERFACE = "libreoffice-l10n-es"
PACKAGES = (ENGLISH_HELP, SPANISH_HELP, SPANISH_INTERFACE)

PARAGRAPHS = ("p", "h1", "h2", "h3", "h4", "h5", "h6", "li")
SENTENCE_BREAK = re.compile(r'(?<=[.!?:]) (?=[A-ZÁÉÍÓÚÑ¿¡"(])')
TAG = re.compile(r"<[^>]+>")
SPACES = re.compile(r"\s+")
WORD = re.compile(r"[A-Za-z]{2}")

# Percent of the hash space up to which a document, or an interface text, belongs to a split; the rest trains.
# Reserved text is written nowhere: it stays unseen, for whoever wants to judge a model later.
HELP_BOUNDS = {"reserved": 2, "test": 4, "valid": 6}
INTERFACE_BOUNDS = {"reserved": 1, "test": 2, "valid": 3}
WRITTEN = ("train", "valid", "test")
MOST_VALID = 1500
SHUFFLE_SEED = 1
MOST_WORDS = {"en": 60, "es": 70}
LENGTH_RATIO = 0.4, 2.2  # English to Spanish, in characters, with 5 added to both


def build(work: Path) -> dict[str, int]:
    """Download the packages and write `{train,valid,test}.{en,es}` into a work folder, one sentence a line.

    Args:
        work: the folder to write to; packages are kept in its `debs` folder, and fetched once.

    Returns:
        The number of pairs in each split.

    Raises:
        SystemExit: the machine cannot fetch or unpack Debian packages; the message says what to do.

    """
    for package in PACKAGES:
        print(fetch(package, work / "debs").name)
    root = work / "debs" / "root"
    help_root = root / "usr/share/libreoffice/help"
    splits = split(documents(help_root / "en-US/text", help_root / "es/text"), interface(root))
    write(splits, work)
    return {name: len(pairs) for name, pairs in splits.items()}


def fetch(package: str, folder: Path) -> Path:
    """Download a Debian package into a folder, unless it is there, and unpack it into `root` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        run(["apt-get", "download", package], folder, "run `apt-get update` and try again")
        found = sorted(folder.glob(f"{package}_*.deb"))
    run(["dpkg-deb", "-x", found[-1].name, "root"], folder, f"delete {found[-1]} and try again")
    return found[-1]


def run(command: list[str], folder: Path, remedy: str) -> None:
    """Run a command in a folder, or exit with what went wrong and what to do about it."""
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is missing: build the corpus on Debian or its like") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"`{' '.join(command)}` failed with status {error.returncode}: {remedy}") from None


def documents(english: Path, spanish: Path) -> dict[str, list[Pair]]:
    """Return the sentence pairs of every help page that both languages have, by its path below the folder."""
    return {
        page.relative_to(english).as_posix(): list(page_pairs(page.read_bytes(), other.read_bytes()))
        for page in sorted(english.rglob("*.html"))
        if (other := spanish / page.relative_to(english)).exists()
    }


def page_pairs(english: bytes, spanish: bytes) -> Iterator[Pair]:
    """Yield the usable sentence pairs of one page, aligned by the HTML id of their paragraphs."""
    ours, theirs = paragraphs(english), paragraphs(spanish)
    for name, text in ours.items():
        if name in theirs and text != theirs[name]:
            for source, target in sentences(text, theirs[name]):
                pair = clean(source), clean(target)
                if usable(*pair):
                    yield pair


def paragraphs(page: bytes) -> dict[str, str]:
    """Return the text of each paragraph that has an HTML id and is not empty; the first of an id counts."""
    try:
        tree = html.document_fromstring(page)
    except etree.ParserError:  # an empty page
        return {}
    texts: dict[str, str] = {}
    for element in tree.iter(*PARAGRAPHS):
        name, text = element.get("id"), single_spaced(str(element.xpath("string()")))
        if name and text:
            texts.setdefault(name, text)
    return texts


def sentences(source: str, target: str) -> list[Pair]:
    """Split a pair of paragraphs into sentences where both sides have as many, else keep it whole."""
    ours, theirs = SENTENCE_BREAK.split(source), SENTENCE_BREAK.split(target)
    return list(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else [(source, target)]


def interface(root: Path) -> list[Pair]:
    """Return the usable, distinct pairs of all translation catalogues below a folder, sorted."""
    pairs: set[Pair] = set()
    for path in root.rglob("*.mo"):
        pairs.update(catalogue_pairs(polib.mofile(str(path))))
    return sorted(pairs)


def catalogue_pairs(entries: Iterable[polib.MOEntry]) -> Iterator[Pair]:
    """Yield the usable pairs of a catalogue, without markup, entities and the marks of keyboard shortcuts."""
    for entry in entries:
        if entry.msgid_plural:
            plurals = entry.msgstr_plural
            pairs = [(entry.msgid, plurals.get(0, "")), (entry.msgid_plural, plurals.get(1, ""))]
        else:
            pairs = [(entry.msgid, entry.msgstr)]
        for source, target in pairs:
            pair = label(source), label(target)
            if usable(*pair) and pair[0] != pair[1]:
                yield pair


def label(text: str) -> str:
    """Return an interface text as a reader sees it: no markup, no entities, no shortcut mark."""
    text = clean(entities.unescape(TAG.sub("", text)))
    return text.replace("_", "") if text.count("_") == 1 else text


def clean(text: str) -> str:
    """Return a text without `~` and with single spaces."""
    return single_spaced(text.replace("~", ""))


def single_spaced(text: str) -> str:
    """Return a text with each run of whitespace made one space, and none at its ends."""
    return SPACES.sub(" ", text).strip()


def usable(source: str, target: str) -> bool:
    """Tell whether a pair is worth training on: some words, not too many, and lengths that fit each other."""
    if not source or not target or not WORD.search(source):
        return False
    if len(source.split()) > MOST_WORDS["en"] or len(target.split()) > MOST_WORDS["es"]:
        return False
    low, high = LENGTH_RATIO
    return low < (len(source) + 5) / (len(target) + 5) < high


def bucket(key: str, bounds: dict[str, int]) -> str:
    """Return the split a document or a text belongs to, by its MD5 hash."""
    percent = int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    return next((name for name, bound in bounds.items() if percent < bound), "train")


def split(pages: dict[str, list[Pair]], labels: list[Pair]) -> dict[str, list[Pair]]:
    """Divide pairs among train, valid and test, shuffled, the same way for the same pairs.

    Help pages go as a whole, by their path; interface texts by themselves. A source sentence that trains
    stands in no other split.

    Args:
        pages: sentence pairs of each help page, by its path.
        labels: the pairs of the interface.

    Returns:
        The pairs of each written split; reserved ones are in none.

    """
    divided: dict[str, set[Pair]] = {name: set() for name in (*WRITTEN, "reserved")}
    for path, pairs in pages.items():
        divided[bucket(path, HELP_BOUNDS)].update(pairs)
    for pair in labels:
        divided[bucket(pair[0], INTERFACE_BOUNDS)].add(pair)
    trained = {source for source, _ in divided["train"]}
    shuffle = random.Random(SHUFFLE_SEED).shuffle  # noqa: S311 - the same order each time is the point
    splits: dict[str, list[Pair]] = {}
    for name in WRITTEN:
        pairs = sorted(pair for pair in divided[name] if name == "train" or pair[0] not in trained)
        shuffle(pairs)
        splits[name] = pairs[:MOST_VALID] if name == "valid" else pairs
    return splits


def write(splits: dict[str, list[Pair]], folder: Path) -> None:
    """Write each split as two files of parallel lines."""
    for name, pairs in splits.items():
        for side, language in enumerate(("en", "es")):
            text = "".join(f"{pair[side]}\n" for pair in pairs)
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
