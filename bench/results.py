"""The files with measured numbers: results.json, and engines.json with seconds and bytes of each engine."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.row import Row

RESULTS = Path(__file__).with_name("results.json")
ENGINES = Path(__file__).with_name("engines.json")


def read() -> dict[str, Any]:
    """Return the content of results.json."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    return results


def write(rows: Iterable[Row], names: Sequence[str]) -> None:
    """Put rows into results.json in place of those of the same names, in the order of all names."""
    records = {row["name"]: row for row in read()["rows"]} | {row.name: row.record() for row in rows}
    content = {
        "machine": machine(),
        "commit": commit(),
        "rows": [records[name] for name in names if name in records],
    }
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """Return the hardware and the versions that numbers depend on."""
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
