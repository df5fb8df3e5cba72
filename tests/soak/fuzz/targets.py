"""Every test of this folder as a target: what tries some bytes, for a fuzzer that follows coverage.

A test whose only argument is ``data`` reads a file: the bytes are that file. The bytes of any other
test are its arguments as a JSON object.
"""

import inspect
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import msgspec

from soak.fuzz import test_function, test_operators

TESTS: dict[str, Any] = {
    f"{module.__name__.rpartition('test_')[2]}.{name.removeprefix('test_')}": test
    for module in (test_function, test_operators)
    for name, test in vars(module).items()
    if name.startswith("test_")
}
CORPORA = Path(__file__).parent / "corpora"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def get_target(name: str) -> Callable[[bytes], bool]:
    """Return what runs a test on some bytes, and returns whether they can be its arguments.

    It raises what the test raises.
    """
    inner = TESTS[name].hypothesis.inner_test
    arguments = inspect.get_annotations(inner)
    arguments.pop("return")
    if list(arguments) == ["data"]:
        return lambda data: inner(data) is None
    struct = msgspec.defstruct("Arguments", list(arguments.items()), forbid_unknown_fields=True)

    def run(data: bytes) -> bool:
        try:
            read = msgspec.convert(json.loads(data), struct)
        except (ValueError, RecursionError):
            return False
        try:
            inner(**msgspec.structs.asdict(read))
        except hypothesis.errors.UnsatisfiedAssumption:
            return False
        return True

    return run


def draw_inputs(name: str, seed: int, count: int = 300) -> list[bytes]:
    """Return inputs that hypothesis draws for the test, for a target without a corpus."""
    test = TESTS[name]
    drawn: list[dict[str, Any]] = []
    inner = test.hypothesis.inner_test
    test.hypothesis.inner_test = lambda **arguments: drawn.append(arguments)
    try:
        draw, chance = test.hypothesis.fuzz_one_input, random.Random(seed)  # noqa: S311 - no secret
        for _ in range(count):
            draw(chance.randbytes(8192))
    finally:
        test.hypothesis.inner_test = inner
    if drawn[0].keys() == {"data"}:
        return [one["data"] for one in drawn]
    return [json.dumps(one, default=str).encode() for one in drawn]


def read_corpus(name: str) -> dict[str, bytes]:
    """Return the committed inputs of a target by their names; none if it is new."""
    path = CORPORA / f"{name}.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def write_corpus(name: str, inputs: dict[str, bytes]) -> None:
    """Write a target's inputs: the same ones make the same file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for one, data in sorted(inputs.items()):
            archive.writestr(zipfile.ZipInfo(one, _LONG_AGO), data, zipfile.ZIP_DEFLATED, 9)
    CORPORA.mkdir(exist_ok=True)
    partial = CORPORA / f"{name}.partial"
    partial.write_bytes(file.getvalue())
    partial.replace(CORPORA / f"{name}.zip")
