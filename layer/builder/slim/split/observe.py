"""What a deployed function unpacked of split libraries, taken from its log into the record of hot pages."""

import json
from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path

from layer.builder.errors import BuildError
from layer.builder.recipe import Recipe
from layer.builder.slim.split import record
from layer.builder.slim.split.pages import GAP, group
from layer.builder.slim.split.restore import read_index
from layer.builder.target import Target


def read_log(lines: Iterable[str]) -> dict[str, tuple[int, set[int]]]:
    """Return from a function's log how many pages of code each library has, and the pages that were touched.

    A line may have something before its JSON, as those of ``sam logs`` do. Other lines are passed over.
    """
    found: dict[str, tuple[int, set[int]]] = {}
    for line in lines:
        try:
            fields = json.loads(line[line.index("{") :])["cold_code"]
            read = [
                (path, index(one["pages"]), set(map(index, one["touched"]))) for path, one in fields.items()
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue
        for path, size, touched in read:
            pages, known = found.setdefault(path, (size, set()))
            if pages != size:
                raise BuildError(f"{path} has another size in another line; give the log of one layer")
            known.update(touched)
    return found


def add(
    recipe: Recipe, target: Target, python: Path, touched: Mapping[str, tuple[int, set[int]]]
) -> dict[str, int]:
    """Record as hot every page of the blocks that were unpacked, and return how many blocks, by library.

    Which pages of a block were read is not known. ``python`` is the folder of the layer that was deployed.

    Raises:
        BuildError: the log is another layer's, or nothing is recorded for the layer.

    """
    try:
        table = json.loads(record.path_of(recipe, target).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BuildError(
            f"no hot pages of {recipe.name} for {target.name} are recorded; build the layer first, with: "
            f"python -m layer build {recipe.name} --target {target.name}"
        ) from None
    hashes = {path: one["sha256"] for path, one in table.items()}
    hot = record.read(recipe, target, hashes) or {}
    added = {}
    for path, runs in hot.items():
        total, pages = next(
            (one for name, one in touched.items() if name.endswith(f"/{path}")), (0, set[int]())
        )
        if not pages:
            continue
        index = read_index((python / path).read_bytes())
        if total != index.pages:
            raise BuildError(
                f"the log is of another layer: {path} has {total:,} pages of code there, and "
                f"{index.pages:,} in {python}"
            )
        blocks = [
            runs
            for _, _, runs in index.blocks
            if any(first <= page < first + count for first, count in runs for page in pages)
        ]
        own = {
            page
            for block in (runs, *blocks)
            for first, count in block
            for page in range(first, first + count)
        }
        hot[path] = group(own, GAP)
        added[path] = len(blocks)
    record.write(recipe, target, hashes, hot)
    return added
