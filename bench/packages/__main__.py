"""Build libraries, compare them with what pip installs and the usual slimming leaves, and record it.

Run: ``python -m bench.packages --target python3.13-arm64``. What has a record already, of the same entry and
builder, is not measured again, so a run that was ended goes on where it was.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.packages import catalogue, records
from bench.packages.measure import measure
from layer.builder.build import WORK
from layer.builder.target import get_target


def _say(line: str) -> None:
    print(f"   {line}", flush=True)


def main() -> int:
    """Measure, and return 1 if something is not proven."""
    packages = catalogue.read()
    parser = argparse.ArgumentParser(prog="python -m bench.packages", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="library (default: all)")
    parser.add_argument(
        "--target", choices=catalogue.TARGETS, default="host", help="target (default: %(default)s)"
    )
    parser.add_argument("--missing", action="store_true", help="only libraries that have no record at all")
    parser.add_argument("--upgrade", action="store_true", help="resolve the requirements anew")
    parser.add_argument("--commit", action="store_true", help="commit each record as it is done")
    options = parser.parse_args()
    if unknown := set(options.names) - packages.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(packages)}")
    target = get_target(options.target)
    proven = True
    for name in options.names or packages:
        package = packages[name]
        record = records.read(name, options.target)
        wanted = record is None if options.missing else not records.is_current(record, package)
        if options.target in package.targets and wanted:
            print(f"== {name}, {options.target}", flush=True)
            former = None if options.upgrade else record
            with tempfile.TemporaryDirectory(prefix=".package-", dir=WORK) as folder:
                record = measure(package, target, former, Path(folder), _say)
            path = records.write(record)
            print(f"{name}: {record.verdict}, {record.other}, {record.bytes}\n{record.reason}", flush=True)
            if options.commit:
                subject = f"Record {name} for {options.target}: {record.verdict}"
                subprocess.run(["git", "add", str(path)], check=True)  # noqa: S607
                subprocess.run(["git", "commit", "--quiet", "-m", subject, str(path)], check=True)  # noqa: S607
        proven = proven and (record is None or record.is_proven)
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
