"""Measure the rows of results.json, all or some.

Run: ``make bench``, ``make bench ROW=store`` or ``make bench ROW=store.load_time``. Rows that were not
measured stay as they are in the file.
"""

import argparse
import json
import os
import platform
import subprocess
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import show
from bench.row import Measurement, Row, measurements
from bench.show import covers, table

AREAS = ("cold_start", "unpack", "layers", "store", "translate", "encode", "examples", "batch", "scale")
"""The modules of this folder that measure rows, in the order of the table."""

RESULTS = Path(__file__).with_name("results.json")


def registered() -> list[Measurement]:
    """Return every measurement of every area, in the order of the areas."""
    modules = [import_module(f"bench.{area}").__name__ for area in AREAS]
    return sorted(measurements, key=lambda one: modules.index(one.run.__module__))


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    model = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(": ")[2] if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "cpu": model,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def commit() -> str:
    """Return the commit that is checked out."""
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(rows: list[Row]) -> None:
    """Put rows into the file, in the place of those of the same names."""
    found = {row["name"]: row for row in read()["rows"]} | {row.name: row.record() for row in rows}
    names = [name for measurement in registered() for name in measurement.names]
    kept = [found[name] for name in names if name in found]
    RESULTS.write_text(
        json.dumps({"machine": machine(), "commit": commit(), "rows": kept}, indent=1, ensure_ascii=False)
        + "\n"
    )


def read() -> dict[str, Any]:
    """Return what the file has."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    return results


def main() -> None:
    """Measure, write the file and what is made of it, and print the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument("row", nargs="?", default="", metavar="ROW", help="a name or its beginning: store")
    parser.add_argument("--table", action="store_true", help="print what the file has, and measure nothing")
    parser.add_argument("--document", action="store_true", help="write the documents, and measure nothing")
    options = parser.parse_args()
    names = [name for measurement in registered() for name in measurement.names]
    if not any(covers(options.row, name) for name in names):
        parser.error(f"there is no row {options.row}; there are {', '.join(names)}")
    for measurement in registered():
        asked = {name for name in measurement.names if covers(options.row, name)}
        if options.table or options.document or not asked:
            continue
        print(f"measuring {', '.join(sorted(asked))}", flush=True)
        write([row for row in measurement.run() if row.name in asked])
    if not options.table:
        show.write(read(), RESULTS.parent.parent)
    if not options.document:
        print(table([row for row in read()["rows"] if covers(options.row, row["name"])]))


if __name__ == "__main__":
    main()
