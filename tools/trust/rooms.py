"""The share of lines that tests run, by room: ``make coverage`` writes what this prints."""

import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "layer/python/lambda_inference",
    "layer/builder",
    "lambda_setup/commands",
    "lambda_setup/models",
    "lambda_setup/deployment",
    "lambda_setup/batch",
    "lambda_setup/costs",
    "lambda_setup/scaffold",
    "lambda_setup/viewer",
    "translation_function",
)


def sum_rooms(
    files: Mapping[str, tuple[int, int]], rooms: Iterable[str] = ROOMS
) -> list[tuple[str, int, int]]:
    """Return each room with its statements and those that ran; ``files`` has both by path."""
    table = []
    for room in rooms:
        own = [counts for path, counts in files.items() if fnmatch.fnmatch(path, f"{room}/*")]
        if own:
            table.append((room, sum(total for total, _ in own), sum(ran for _, ran in own)))
    return table


def main() -> None:
    """Print the table of the data that coverage has combined."""
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    data = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    files = {
        path: (one["summary"]["num_statements"], one["summary"]["covered_lines"])
        for path, one in json.loads(data)["files"].items()
    }
    print(f"{'room':32} {'statements':>10} {'ran':>7} {'share':>6}")
    for room, total, ran in sum_rooms(files):
        print(f"{room:32} {total:10,} {ran:7,} {ran / total:6.0%}")


if __name__ == "__main__":
    main()
