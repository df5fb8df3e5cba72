"""The step of a build that splits the libraries of a tree, which a recipe names."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import ElfError
from layer.builder.recipe import ROOT, Recipe, SplitLibraries
from layer.builder.report.facts import Split
from layer.builder.slim.elf import is_elf
from layer.builder.slim.globs import matches
from layer.builder.slim.split import layout, pages, record, restore, write
from layer.builder.slim.split.layout import PAGE
from layer.builder.slim.split.pages import GAP, Run, group
from layer.builder.slim.split.write import BLOCK, HANDLER, LEVEL, split
from layer.builder.target import Target

HANDLERS = ROOT / "layer" / "hotcold"

Touched = Mapping[str, Sequence[int]]
"""The pages that were touched, by library."""

LEAST = 1 << 20
"""Bytes of code in a library; of less, packing saves little."""

MOST = 32
"""Libraries that the handler takes in a process."""

_HASH = hashlib.sha256().digest_size
_FAST = 1
"""The level of zstd for a library that is only traced."""


class Splitter:
    """Splits the libraries of a tree; ``sources`` are the originals, by path, moved out of it.

    The handler lies beside each library whose run path has the loader look there, and for the others in the
    layer's ``lib``. Where a recipe names none, or no handler is made for the target, each step does nothing.
    What was split once is in the ``cache``.
    """

    def __init__(
        self,
        wanted: Sequence[SplitLibraries],
        recipe: Recipe,
        target: Target,
        tree: Path,
        lib: Path,
        cache: Path,
        say: Callable[[str], None],
    ) -> None:
        self.wanted, self.recipe, self.target = wanted, recipe, target
        self.tree, self.lib, self.cache, self.say = tree, lib, cache, say
        self.handler = HANDLERS / f"libhotcold-{target.machine}.so"
        self.originals = tree.with_name("whole")
        self.sources = self._move_sources()
        self.hot: dict[str, list[Run]] = {}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each original by its path."""
        return {path: trees.file_sha256(source) for path, source in self.sources.items()}

    @property
    def digest(self) -> str:
        """The sha256 of what makes split libraries of the originals; empty where none is split."""
        if not self.sources:
            return ""
        parts = [trees.file_sha256(self.handler), sorted(self.hashes.items()), sorted(self.hot.items())]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def make_cold(self) -> None:
        """Put libraries into the tree all of whose code is cold, page by page, so that all use is seen."""
        for path in self.sources:
            self._write(path, [], _FAST, 1)

    def undo(self) -> None:
        """Put the whole libraries back, without the handler: nothing is split."""
        for path, source in self.sources.items():
            source.replace(self.tree / path)
            (self.tree / path).with_name(HANDLER).unlink(missing_ok=True)
        (self.lib / HANDLER).unlink(missing_ok=True)
        self.sources, self.hot = {}, {}

    def find_hot(self, touched: Touched, trace: Callable[[Mapping[str, str]], Touched]) -> None:
        """Record which pages are hot.

        Those are what was ``touched``, and what a prediction by ``trace`` touches in each environment that
        the recipe has for the target's architecture.
        """
        if not self.sources:
            return
        found = {path: set(touched.get(path, ())) for path in self.sources}
        for one in self.wanted:
            for environment in one.environments.get(self.target.architecture, ()):
                more = trace(environment)
                for path, own in found.items():
                    own.update(more.get(path, ()))
        self.hot = {path: group(own, GAP) for path, own in found.items()}
        record.write(self.recipe, self.target, self.hashes, self.hot)

    def read_hot(self) -> bool:
        """Read which pages are hot, and return whether that is recorded; without a record, none is."""
        hot = record.read(self.recipe, self.target, self.hashes)
        self.hot = hot or {path: [] for path in self.sources}
        return hot is not None

    def finish(self) -> tuple[Split, ...]:
        """Put the split libraries into the tree and return what the report says about them."""
        return tuple(self._finish(path) for path in self.sources)

    def _move_sources(self) -> dict[str, Path]:
        shutil.rmtree(self.originals, ignore_errors=True)
        sources: dict[str, Path] = {}
        for _, path, beside in sorted(self._find_libraries(), reverse=True)[:MOST]:
            sources[path] = self.originals / path
            sources[path].parent.mkdir(parents=True, exist_ok=True)
            (self.tree / path).rename(sources[path])
            place = (self.tree / path).parent if beside else self.lib
            place.mkdir(exist_ok=True)
            shutil.copyfile(self.handler, place / HANDLER)
        return dict(sorted(sources.items()))

    def _find_libraries(self) -> Iterator[tuple[int, str, bool]]:
        """Yield the libraries to split: pages of code, path, and whether the handler goes beside it.

        Why one is not split is said.
        """
        globs = [glob for one in self.wanted for glob in one.libraries]
        for file in trees.files(self.tree):
            if file.size < LEAST or not matches(file.path, globs) or not is_elf(self.tree / file.path):
                continue
            if not self.handler.is_file():
                self.say(f"{file.path} is not split: there is no handler for {self.target.machine}")
                continue
            try:
                library = layout.parse((self.tree / file.path).read_bytes())
            except ElfError as error:
                self.say(f"{file.path} is not split: {error}")
                continue
            if library.pages * PAGE >= LEAST:
                yield library.pages, file.path, layout.leads_beside(library)

    def _finish(self, path: str) -> Split:
        data = self._write(path, self.hot[path])
        hot = sum(count for _, count in self.hot[path]) * PAGE
        library = layout.parse(self.sources[path].read_bytes())
        cold = library.pages * PAGE - hot
        return Split(path, len(library.data), len(data), hot, cold)

    def _write(self, path: str, hot: Sequence[Run], level: int = LEVEL, block: int = BLOCK) -> bytes:
        """Write a split library into the tree."""
        source, goal = self.sources[path], self.tree / path
        parts = (self.hashes[path], sorted(hot), level, block, _hash_code())
        data = self._split(path, hot, level, block, hashlib.sha256(repr(parts).encode()).hexdigest())
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.unlink(missing_ok=True)
        goal.write_bytes(data)
        goal.chmod(source.stat().st_mode)
        return data

    def _split(self, path: str, hot: Sequence[Run], level: int, block: int, key: str) -> bytes:
        """Return a split library, checked against its original when it is made, and by its hash later."""
        cached = self.cache / key
        if cached.is_file():
            content = cached.read_bytes()
            if hashlib.sha256(content[_HASH:]).digest() == content[:_HASH]:
                return content[_HASH:]
        library = layout.parse(self.sources[path].read_bytes())
        data = split(library, hot, level=level, block=block)
        restore.check_whole(library, data)
        trees.write_atomic(cached, hashlib.sha256(data).digest() + data)
        return data


def _hash_code() -> str:
    """Return a hash of the code that writes split libraries."""
    code = b"".join(Path(module.__file__ or "").read_bytes() for module in (layout, pages, write))
    return hashlib.sha256(code).hexdigest()
