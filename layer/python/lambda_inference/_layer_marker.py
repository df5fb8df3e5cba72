"""Whether the layers were built for the function that runs.

What is built and what is deployed are chosen by the same parameters at two moments. The dependency
layer says inside what it was built for; a function that is another fails while it initialises, with
both named, instead of somewhere in an import.
"""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

MARKER = "layer_target.json"


def check(folder: Path) -> dict[str, Any]:
    """Compare what a layer's folder says of itself with this process, and return it; it may say nothing.

    Raises:
        RuntimeError: the layer was built for another engine, runtime or architecture.

    """
    marker = folder / MARKER
    if not marker.exists():
        return {}
    built: dict[str, Any] = json.loads(marker.read_text())
    machine = platform.machine()
    here = {
        "engine": os.environ.get("ENGINE", built["engine"]) if built["engine"] else "",
        "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "architecture": {"aarch64": "arm64", "AMD64": "x86_64"}.get(machine, machine),
    }
    differences = [
        f"{name} {built[name]}, not {value}" for name, value in here.items() if built[name] != value
    ]
    if differences:
        raise RuntimeError(
            f"the dependency layer was built for {'; '.join(differences)}: run sam build and sam deploy with "
            "the same --config-env and the same parameters"
        )
    return built


_markers = [check(Path(entry)) for entry in sys.path]  # in Lambda it is in /opt/python
nested = any("archive" in marker for marker in _markers)
"""Whether some layer is to be unpacked."""
libraries: dict[str, str] = {
    name: version for marker in _markers for name, version in marker.get("libraries", {}).items()
}
"""The versions of what the layers were made of, by distribution name in lower case."""
