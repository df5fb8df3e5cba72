"""The marker of a layer: the function that it was built for.

A build and a deployment get their parameters at different times. If they differ, the function fails while
it initialises with an error that names both, instead of in some import. Layers have this module and the
package's ``__init__`` as sources: another Python than that of the layer could not read their bytecode.
"""

import os
import sys
from typing import Any

MARKER = "layer_target.json"


def check(folder: str, name: str = MARKER) -> dict[str, Any]:
    """Compare the marker of a layer's folder with this process, and return it; without a marker, nothing.

    Raises:
        RuntimeError: the layer was built for another engine, runtime or architecture.

    """
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - fewer imports
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    import json

    built: dict[str, Any] = json.loads(text)
    machine = os.uname().machine
    process = {
        "engine": os.environ.get("ENGINE", built["engine"]) if built["engine"] else "",
        "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "architecture": {"aarch64": "arm64"}.get(machine, machine),
    }
    differences = [
        f"{name} {built[name]}, not {value}" for name, value in process.items() if built[name] != value
    ]
    if differences:
        raise RuntimeError(
            f"a layer of this function was built for {'; '.join(differences)}: run sam build and sam deploy "
            "with the same --config-env and the same parameters"
        )
    return built


check(__file__.rsplit(os.sep, 2)[0], f"compiled.{MARKER}")  # Lambda mounts all layers into one folder
_markers = [check(entry) for entry in sys.path]  # in Lambda the marker is in /opt/python
nested = any("archive" in marker for marker in _markers)
"""Whether a layer has an archive to unpack."""
split = any("split" in marker for marker in _markers)
"""Whether a layer has libraries whose code is unpacked when it is called."""
start = [
    os.path.join(entry, name)  # noqa: PTH118 - fewer imports
    for entry, marker in zip(sys.path, _markers, strict=True)
    for name in marker.get("starts", ())
]
"""Layers' lists of what a start reads."""
libraries: dict[str, str] = {
    name: version for marker in _markers for name, version in marker.get("libraries", {}).items()
}
"""Versions of the layers' libraries, by distribution name in lower case."""
