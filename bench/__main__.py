"""Measure the rows of results.json, all or some.

Run: ``make bench``, ``make bench ROW=store`` or ``make bench ROW=store.load_time``. Rows that are not
measured keep their values in the file.
"""

import argparse
import runpy
import sys
from importlib import import_module

from bench import results, table
from bench.row import Measurement, measurements

AREAS = (
    "cold_start", "start", "split", "unpack", "layers", "packages", "store", "translate", "encode",
    "examples", "batch", "scale",
)  # fmt: skip
"""The modules of bench/areas, in the order of the table."""


def collect() -> list[Measurement]:
    """Return every measurement of every area, in the order of the areas."""
    modules = [import_module(f"bench.areas.{area}").__name__ for area in AREAS]
    return sorted(measurements, key=lambda measurement: modules.index(measurement.run.__module__))


def main() -> None:
    """Measure, write the file, and print the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "row", nargs="?", default="", metavar="ROW", help="name of a row or its beginning: store"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of the file, and measure nothing"
    )
    parser.add_argument("--document", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.document:
        print("bench: --document has moved to python -m tools.docs", file=sys.stderr)
        sys.argv = ["tools.docs"]
        runpy.run_module("tools.docs", run_name="__main__")
        return
    found = collect()
    names = [name for measurement in found for name in measurement.names]
    if not any(table.covers(options.row, name) for name in names):
        parser.error(f"there is no row {options.row}; there are {', '.join(names)}")
    for measurement in found:
        wanted = {name for name in measurement.names if table.covers(options.row, name)}
        if options.table or not wanted:
            continue
        print(f"measuring {', '.join(sorted(wanted))}", flush=True)
        results.write([row for row in measurement.run() if row.name in wanted], names)
    print(table.draw([row for row in results.read()["rows"] if table.covers(options.row, row["name"])]))


if __name__ == "__main__":
    main()
