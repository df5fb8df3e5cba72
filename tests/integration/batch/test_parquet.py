"""Arrays of a run as Parquet: written with pyarrow, which has a folder of its own here, and read by it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

from lambda_setup.batch.parquet import ParquetWriter
from lambda_setup.errors import CommandError

PYARROW = "pyarrow==25.0.1"
WRITE = """
import json, resource, struct, sys
from pathlib import Path
from lambda_inference import Array
from lambda_setup.batch.parquet import ParquetWriter

def vector(*numbers):
    return Array(struct.pack(f"<{len(numbers)}f", *numbers), "f", (len(numbers),))

LINES = {
    0: {"vector": [vector(0.5, 2)]},
    3: {"vector": [vector(3)], "mask": [Array(bytes([1, 2]), "B", (2, 1)), Array(bytes([3]), "B", (1, 1))]},
    4: {"vector": [vector()]},
    6: {"count": [Array(struct.pack("<2q", 1, -2), "q", (2,))]},
}
folder = Path(sys.argv[1])
with ParquetWriter(folder / "arrays.parquet") as writer:
    for line, arrays in LINES.items():
        writer.add(line, arrays)
    counts = writer.finish()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
large = Array(bytes(range(256)) * 16, "f", (1024,))
with ParquetWriter(folder / "large.parquet") as writer:
    for line in range(100_000):
        writer.add(line, {"vector": [large]})
    writer.finish()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([counts, grown * 1024]))
"""
READ = """
import json, sys
import pyarrow.parquet

file = pyarrow.parquet.ParquetFile(sys.argv[1] + "/large.parquet")
print(json.dumps([
    str(pyarrow.parquet.read_schema(sys.argv[1] + "/arrays.parquet")).split("\\n"),
    pyarrow.parquet.read_table(sys.argv[1] + "/arrays.parquet").to_pylist(),
    [file.metadata.num_rows, file.metadata.num_row_groups],
]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return what runs code with pyarrow, and returns the JSON that it prints."""
    packages = tmp_path_factory.mktemp("pyarrow")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, PYARROW]
    subprocess.run(pip, check=True)

    def run(code: str, *arguments: object):
        path = os.pathsep.join(map(str, (packages, ROOT, ROOT / "layer" / "python")))
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], env=os.environ | {"PYTHONPATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.check
def test_what_is_written_is_read(run, tmp_path):
    """Every array by its line, its number and its kind, in its own type, and much of it in little memory."""
    counts, grown = run(WRITE, tmp_path)
    assert counts == {"vector": 3, "mask": 2, "count": 1}
    assert grown < 200e6  # of 410 MB of numbers
    schema, rows, [lines, groups] = run(READ, tmp_path)
    assert [line for line in schema if ":" in line and not line.startswith(" ")] == [
        "index: int64", "item: int64", "vector_values: list<element: float>",
        "vector_shape: list<element: int64>", "mask_values: list<element: uint8>",
        "mask_shape: list<element: int64>", "count_values: list<element: int64>",
        "count_shape: list<element: int64>",
    ]  # fmt: skip
    found = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert found == [
        {"index": 0, "item": 0, "vector_values": [0.5, 2], "vector_shape": [2]},
        {"index": 3, "item": 0, "vector_values": [3], "vector_shape": [1], "mask_values": [1, 2],
         "mask_shape": [2, 1]},
        {"index": 3, "item": 1, "mask_values": [3], "mask_shape": [1, 1]},
        {"index": 4, "item": 0, "vector_values": [], "vector_shape": [0]},
        {"index": 6, "item": 0, "count_values": [1, -2], "count_shape": [2]},
    ]  # fmt: skip
    assert lines == 100_000
    assert groups > 10
    page = (ROOT / "docs" / "how-to" / "batch.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import pyarrow.*?)```", page, re.DOTALL)[1]
    code = code.replace("arrays.parquet", str(tmp_path / "arrays.parquet"))
    assert run(f"{code}\nprint(table.num_rows)") == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.parquet", "large.parquet"]


def test_without_pyarrow(monkeypatch):
    """The error says what to install, before anything is fetched."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        CommandError, match=r"arrays\.parquet: Parquet is written by pyarrow.*install pyarrow$"
    ):
        ParquetWriter(Path("arrays.parquet"))
